//! Facts about an interface and its route: addresses, gateway, queues, driver, what holds XDP now.
//!
//! Everything is read over rtnetlink, sysfs and procfs. Nothing is changed, but that the kernel's own neighbour discovery is
//! asked for gateways' MAC addresses when its table does not have them.

mod gateways;
mod interface;
pub mod neighbor;
mod neighborhood;
mod netlink;
mod route;
mod sockets;
pub mod watch;

use std::net::IpAddr;

use crate::packet::MacAddr;
pub use gateways::Gateways;
pub use interface::{
    Dropped, Interface, InterfaceAddress, Vlan, XdpHolder, defers_interrupts, kernel_version,
    wait_for_carrier,
};
pub use neighborhood::{Hop, Neighborhood};
pub use route::{NoWay, Prefixes, Route, default_interface, is_local, prefixes, route_to};
pub use sockets::{OwnSocket, own_sockets, udp_owners};

/// Why the network cannot be used. Every text is one line with the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NicError {
    /// The kernel could not be asked.
    #[error("asking the kernel about the network ({what}): {source}")]
    Netlink {
        /// What was asked.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
    /// There is no interface of that name.
    #[error("--interface: there is no interface '{name}'; there is {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// There is no default route.
    #[error("there is no default route to take the interface from; name one with --interface")]
    NoDefaultRoute,
    /// The gateway did not answer.
    #[error(
        "{interface}: gateway {gateway} does not answer {}; check the cable and the address, or give its MAC address with \
         --gateway-mac", if .gateway.is_ipv4() { "ARP" } else { "neighbour solicitations" }
    )]
    Unresolved {
        /// The interface.
        interface: String,
        /// The gateway.
        gateway: IpAddr,
    },
    /// The gateway has nobody's MAC address.
    #[error(
        "{interface}: the kernel has {mac} as the MAC address of gateway {gateway}, which is nobody's there (ARP is off, or an \
         entry was made by hand); `ip neigh replace` or `ip link set dev {interface} arp on` corrects it, or give --gateway-mac"
    )]
    Nobody {
        /// The interface.
        interface: String,
        /// The gateway.
        gateway: IpAddr,
        /// What the table has.
        mac: MacAddr,
    },
    /// The kernel would not look for the gateway.
    #[error(
        "{interface}: the MAC address of gateway {gateway} is not known, and asking for it needs root or the capability \
         NET_ADMIN; or give it with --gateway-mac"
    )]
    MayNotResolve {
        /// The interface.
        interface: String,
        /// The gateway.
        gateway: IpAddr,
    },
}

impl NicError {
    /// The exit code of the design's table.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::MayNotResolve { .. } => 3,
            _ => 4,
        }
    }
}
