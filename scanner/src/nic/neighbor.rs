//! The MAC address of a neighbour, from the kernel's table or by the kernel's own discovery.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;

use super::{Interface, NicError, netlink};
use crate::packet::MacAddr;

/// How often the table is looked at while the kernel asks around.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// The MAC address of `address` as the kernel's table has it for the interface with number `interface`.
///
/// # Errors
/// The kernel could not be asked.
pub fn lookup(interface: u32, address: Ipv4Addr) -> Result<Option<MacAddr>, NicError> {
    use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    let mut question = NeighbourMessage::default();
    question.header.family = AddressFamily::Inet;
    let answers = netlink::dump(RouteNetlinkMessage::GetNeighbour(question))
        .map_err(|source| NicError::Netlink { what: "neighbours", source })?;
    let mac = answers.into_iter().find_map(|answer| {
        let RouteNetlinkMessage::NewNeighbour(entry) = answer else { return None };
        let usable = matches!(entry.header.state, Reachable | Stale | Delay | Probe | Permanent | Noarp);
        let wanted = NeighbourAttribute::Destination(NeighbourAddress::Inet(address));
        if entry.header.ifindex != interface || !usable || !entry.attributes.contains(&wanted) {
            return None;
        }
        entry.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => bytes[..].try_into().ok().map(MacAddr),
            _ => None,
        })
    });
    Ok(mac)
}

/// The MAC address of `address`, which the kernel is asked to discover (`NTF_USE`) if its table does not have it.
///
/// # Errors
/// The neighbour does not answer within `timeout`, or the kernel may not be asked without privileges.
pub fn resolve(interface: &Interface, address: Ipv4Addr, timeout: Duration) -> Result<MacAddr, NicError> {
    if let Some(mac) = lookup(interface.index, address)? {
        return Ok(mac);
    }
    let start = Instant::now();
    discover(interface, address)?;
    while start.elapsed() < timeout {
        if let Some(mac) = lookup(interface.index, address)? {
            return Ok(mac);
        }
        thread::sleep(POLL_EVERY);
    }
    Err(NicError::Unresolved { interface: interface.name.clone(), gateway: address })
}

/// Makes the kernel look for the MAC address of `address` without any privilege: by an empty datagram to its discard port, which
/// leaves once the address is known. It comes into the table later, if at all.
///
/// # Errors
/// No socket is to be had, or there is no way to the address.
pub fn knock(interface: &Interface, address: Ipv4Addr) -> io::Result<()> {
    const DISCARD: u16 = 9;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    setsockopt(&socket, BindToDevice, &interface.name.clone().into())?;
    socket.send_to(&[], (address, DISCARD)).map(drop)
}

fn discover(interface: &Interface, address: Ipv4Addr) -> Result<(), NicError> {
    let mut request = NeighbourMessage::default();
    request.header.family = AddressFamily::Inet;
    request.header.ifindex = interface.index;
    request.header.flags = NeighbourFlags::Use;
    request.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
    match netlink::tell(RouteNetlinkMessage::NewNeighbour(request), NLM_F_CREATE | NLM_F_REPLACE) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(NicError::MayNotResolve { interface: interface.name.clone(), gateway: address })
        }
        Err(source) => Err(NicError::Netlink { what: "neighbour discovery", source }),
    }
}
