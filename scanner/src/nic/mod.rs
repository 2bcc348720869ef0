//! Facts about an interface and its route: addresses, gateway, queues, driver and its features, and the attached XDP
//! program.
//!
//! Everything is read over netlink, ethtool's ioctl, sysfs and procfs. Only two things are changed: the kernel's own
//! neighbour discovery is asked for gateways' MAC addresses when its table does not have them, and [`ethtool`] can
//! set what it reads: `steering` does so with the RSS indirection table, `doctor` on demand with the rest.

mod counts;
pub mod ethtool;
mod generic_netlink;
mod interface;
pub mod neighbor;
mod netlink;
mod route;
mod sockets;
pub mod watch;
mod xdp_features;

use std::net::IpAddr;

pub use counts::InterfaceCounts;

use crate::exit::Exit;
pub use interface::{
    Interface, InterfaceAddress, Vlan, XdpHolder, defers_interrupts, kernel_version, wait_for_carrier,
};
pub use route::{NoWay, Prefixes, Route, default_interface, is_local, prefixes, route_to};
pub use sockets::{OwnSocket, own_sockets, udp_owners};
use wire::packet::MacAddr;
pub use xdp_features::XdpFeatures;

/// Why the network is not usable. Each text is one line with the remedy, as far as it lies outside the scan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NicError {
    /// The kernel could not be queried.
    #[error("cannot query the kernel about the network ({what}): {source}")]
    Netlink {
        /// The subject of the query.
        what: &'static str,
        /// The kernel's error.
        source: std::io::Error,
    },
    /// There is no interface of that name.
    #[error("there is no interface '{name}'; there is {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The interfaces that exist.
        known: String,
    },
    /// There is no default route.
    #[error("there is no default route that gives an interface")]
    NoDefaultRoute,
    /// The gateway did not answer.
    #[error(
        "{interface}: gateway {gateway} does not answer {}; check the cable and the address",
        if .gateway.is_ipv4() { "ARP" } else { "neighbour solicitations" }
    )]
    Unresolved {
        /// The interface.
        interface: String,
        /// The gateway.
        gateway: IpAddr,
    },
    /// The kernel's table has a MAC address for the gateway that cannot belong to it.
    #[error(
        "{interface}: the kernel has {mac} as the MAC address of gateway {gateway}, which no neighbour can have (ARP is \
         off, or an entry was made by hand); correct it with `ip neigh replace` or `ip link set dev {interface} arp on`"
    )]
    Nobody {
        /// The interface.
        interface: String,
        /// The gateway.
        gateway: IpAddr,
        /// The MAC address in the table.
        mac: MacAddr,
    },
    /// The kernel refused to look for the gateway.
    #[error(
        "{interface}: the MAC address of gateway {gateway} is unknown, and looking for it needs root or the capability \
         NET_ADMIN"
    )]
    MayNotResolve {
        /// The interface.
        interface: String,
        /// The gateway.
        gateway: IpAddr,
    },
}

impl NicError {
    /// The exit code for it.
    pub fn exit_code(&self) -> Exit {
        match self {
            Self::MayNotResolve { .. } => Exit::Privilege,
            _ => Exit::Interface,
        }
    }
}
