//! The MAC address of a neighbour, from the kernel's table or by the kernel's neighbour discovery.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;
use wire::packet::MacAddr;

use super::{Interface, NicError, netlink};

/// How often to check the table while the kernel's discovery runs. More often costs CPU time; less often delays the
/// start of a scan.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// The kernel's entry for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its MAC address.
    pub mac: MacAddr,
    /// How certain the kernel is about it.
    pub belief: Belief,
}

/// How certain the kernel is about what it knows of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// It answered recently, or an administrator entered it.
    Sure,
    /// It has answered once, and the kernel has not checked since.
    Stale,
    /// The kernel is checking whether it still holds.
    Doubted,
}

/// The kernel's entry for `address` on `interface`. A MAC address that no neighbour can have does not count: all zeros,
/// or the interface's own, which is in the table where ARP is off.
///
/// # Errors
/// The kernel could not be queried.
pub fn find(interface: &Interface, address: IpAddr) -> Result<Option<Neighbor>, NicError> {
    use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    let Some((entry, mac)) = entry(interface, address)? else { return Ok(None) };
    let belief = match entry.header.state {
        Reachable | Permanent | Noarp => Belief::Sure,
        Stale => Belief::Stale,
        Delay | Probe => Belief::Doubted,
        _ => return Ok(None),
    };
    Ok(mac.filter(|mac| is_somebodys(interface, *mac)).map(|mac| Neighbor { mac, belief }))
}

/// The MAC address of `address` in the kernel's table.
///
/// # Errors
/// The kernel could not be queried.
pub fn lookup(interface: &Interface, address: IpAddr) -> Result<Option<MacAddr>, NicError> {
    Ok(find(interface, address)?.map(|neighbor| neighbor.mac))
}

fn is_somebodys(interface: &Interface, mac: MacAddr) -> bool {
    mac != MacAddr::default() && Some(mac) != interface.mac
}

/// The table's entry for `address` on `interface`, and the MAC address in it.
fn entry(
    interface: &Interface,
    address: IpAddr,
) -> Result<Option<(NeighbourMessage, Option<MacAddr>)>, NicError> {
    let mut question = NeighbourMessage::default();
    question.header.family = family(address);
    question.header.ifindex = interface.index;
    question.attributes.push(NeighbourAttribute::Destination(address.into()));
    let entry = match netlink::get(RouteNetlinkMessage::GetNeighbour(question)) {
        Ok(Some(RouteNetlinkMessage::NewNeighbour(entry))) => entry,
        Ok(_) => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(source) => return Err(NicError::Netlink { what: "neighbours", source }),
    };
    let mac = entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes[..].try_into().ok().map(MacAddr),
        _ => None,
    });
    Ok(Some((entry, mac)))
}

/// The MAC address of `address`. If the kernel's table does not have it, the kernel is requested to discover it
/// (`NTF_USE`).
///
/// # Errors
/// The neighbour does not answer within `timeout`; its entry has an impossible address that the kernel will not
/// replace; or the request needs privileges.
pub fn resolve(interface: &Interface, address: IpAddr, timeout: Duration) -> Result<MacAddr, NicError> {
    let start = Instant::now();
    if let Some(mac) = settled(interface, address)? {
        return Ok(mac);
    }
    discover(interface, address)?;
    while start.elapsed() < timeout {
        if let Some(mac) = settled(interface, address)? {
            return Ok(mac);
        }
        thread::sleep(POLL_EVERY);
    }
    Err(NicError::Unresolved { interface: interface.name.clone(), gateway: address })
}

/// The MAC address of `address`, if the kernel knows it. An error if it never will, because the entry was made by hand
/// or ARP is off, and the entry has an impossible address.
fn settled(interface: &Interface, address: IpAddr) -> Result<Option<MacAddr>, NicError> {
    use NeighbourState::{Noarp, Permanent};
    if let Some(mac) = lookup(interface, address)? {
        return Ok(Some(mac));
    }
    match entry(interface, address)? {
        Some((entry, Some(mac)))
            if matches!(entry.header.state, Permanent | Noarp) && !is_somebodys(interface, mac) =>
        {
            Err(NicError::Nobody { interface: interface.name.clone(), gateway: address, mac })
        }
        _ => Ok(None),
    }
}

/// Makes the kernel look for the MAC address of `address` without any privilege: it sends an empty datagram to the
/// discard port, which leaves once the address is known. The address appears in the table later, if at all.
///
/// # Errors
/// No socket is available, or there is no route to the address.
pub fn knock(interface: &Interface, address: IpAddr) -> io::Result<()> {
    const DISCARD: u16 = 9;
    let (from, to): (IpAddr, SocketAddr) = match address {
        IpAddr::V4(address) => (Ipv4Addr::UNSPECIFIED.into(), (address, DISCARD).into()),
        IpAddr::V6(address) => {
            // Next hops are link-local, and such an address needs the link.
            (Ipv6Addr::UNSPECIFIED.into(), SocketAddrV6::new(address, DISCARD, 0, interface.index).into())
        }
    };
    let socket = UdpSocket::bind((from, 0))?;
    setsockopt(&socket, BindToDevice, &interface.name.clone().into())?;
    socket.send_to(&[], to).map(drop)
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn discover(interface: &Interface, address: IpAddr) -> Result<(), NicError> {
    let mut request = NeighbourMessage::default();
    request.header.family = family(address);
    request.header.ifindex = interface.index;
    request.header.flags = NeighbourFlags::Use;
    request.attributes.push(NeighbourAttribute::Destination(address.into()));
    match netlink::tell(RouteNetlinkMessage::NewNeighbour(request), NLM_F_CREATE | NLM_F_REPLACE) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(NicError::MayNotResolve { interface: interface.name.clone(), gateway: address })
        }
        Err(source) => Err(NicError::Netlink { what: "neighbour discovery", source }),
    }
}
