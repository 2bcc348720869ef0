//! The route of packets to an address.
//!
//! The kernel is queried with the interface and the source address that packets will have, so that its rules apply. The
//! prefixes of its routes and rules show where answers may differ from one address to the next.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use targets::{AddressRange, RangeSet};

use super::{Interface, NicError, netlink};

/// The route to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface's number.
    pub interface: u32,
    /// The next hop; `None` where the address is on the link. It may have an IPv6 address (RFC 8950).
    pub gateway: Option<IpAddr>,
    /// How many next hops the route has. The kernel chooses one of them for each destination.
    pub gateways: usize,
    /// The source address that the kernel would choose.
    pub preferred_source: Option<Ipv4Addr>,
}

/// Why there is no route to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWay {
    /// No route leads there, or none through the interface.
    NoRoute,
    /// The route says that nothing is sent there (`blackhole`).
    Blackhole,
    /// The route also reports this to the sender (`unreachable`).
    Unreachable,
    /// The route says that it is forbidden (`prohibit`).
    Prohibited,
    /// The address belongs to this host.
    Own,
}

impl NoWay {
    /// The reason, as the end of a sentence about targets.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NoRoute => "no route leads there",
            Self::Blackhole => "their route is a blackhole",
            Self::Unreachable => "their route says that they are unreachable",
            Self::Prohibited => "their route says that they are prohibited",
            Self::Own => "they are this host's own addresses",
        }
    }
}

/// The interface of the default route.
///
/// # Errors
/// There is none, or the kernel could not be queried.
pub fn default_interface() -> Result<Interface, NicError> {
    // Any address without a special meaning to a host; the query sends no packet.
    let anywhere = Ipv4Addr::new(8, 8, 8, 8);
    let answer = get(anywhere, None, None, RouteFlags::empty()).map_err(|_| NicError::NoDefaultRoute)?;
    let index = answer.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    Interface::by_index(index.ok_or(NicError::NoDefaultRoute)?)
}

/// The route to `destination` through the interface with number `interface`, for packets from `source`, which must be
/// one of this host's addresses.
///
/// # Errors
/// The kernel could not be queried.
pub fn route_to(
    destination: Ipv4Addr,
    interface: u32,
    source: Option<Ipv4Addr>,
) -> Result<Result<Route, NoWay>, NicError> {
    // If no route matches, the kernel assumes that the address is on the link of the named interface. So the query also
    // requests the matching route.
    let Ok(matched) = get(destination, Some(interface), source, RouteFlags::FibMatch) else {
        return why_not(destination, source).map(Err);
    };
    if is_own(matched.header.kind) {
        return Ok(Err(NoWay::Own));
    }
    let answer = get(destination, Some(interface), source, RouteFlags::empty()).map_err(failed)?;
    let preferred = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::PrefSource(RouteAddress::Inet(source)) => Some(*source),
        _ => None,
    };
    let hops = matched.attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    let hops = hops.flatten().filter(|hop| hop.interface_index == interface).count();
    Ok(Ok(Route {
        interface,
        gateway: answer.attributes.iter().find_map(gateway),
        gateways: hops.max(1),
        preferred_source: answer.attributes.iter().find_map(preferred).or(source),
    }))
}

/// Why no route through the interface matches.
fn why_not(destination: Ipv4Addr, source: Option<Ipv4Addr>) -> Result<NoWay, NicError> {
    // `fib_props` in net/ipv4/fib_semantics.c.
    match get(destination, None, source, RouteFlags::empty()) {
        Ok(_) => Ok(NoWay::NoRoute),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENETUNREACH) => Ok(NoWay::NoRoute),
            Some(libc::EINVAL) => Ok(NoWay::Blackhole),
            Some(libc::EHOSTUNREACH) => Ok(NoWay::Unreachable),
            Some(libc::EACCES) => Ok(NoWay::Prohibited),
            _ => Err(failed(error)),
        },
    }
}

/// Whether `address` belongs to this host: then a packet to it goes to the host itself.
pub fn is_local(address: Ipv4Addr) -> bool {
    get(address, None, None, RouteFlags::empty()).is_ok_and(|route| route.header.kind == RouteType::Local)
}

/// The networks in the kernel's routes and rules, in all tables.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    /// Destinations. All addresses inside one and outside all smaller ones in it have the same route.
    pub networks: Vec<AddressRange>,
    /// The host's addresses, and broadcast addresses.
    pub own: RangeSet,
}

/// The prefixes of the kernel's routes and rules.
///
/// # Errors
/// The kernel could not be queried.
pub fn prefixes() -> Result<Prefixes, NicError> {
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet;
    let routes = netlink::dump(RouteNetlinkMessage::GetRoute(question)).map_err(failed)?;
    let (mut networks, mut own) = (Vec::new(), Vec::new());
    for answer in routes {
        let RouteNetlinkMessage::NewRoute(route) = answer else { continue };
        if route.header.flags.contains(RouteFlags::Cloned) {
            continue;
        }
        let destination = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
            _ => None,
        });
        let range = AddressRange::prefix(
            destination.unwrap_or(Ipv4Addr::UNSPECIFIED),
            route.header.destination_prefix_length.into(),
        );
        if is_own(route.header.kind) { own.push(range) } else { networks.push(range) }
    }
    let mut question = RuleMessage::default();
    question.header.family = AddressFamily::Inet;
    for answer in netlink::dump(RouteNetlinkMessage::GetRule(question)).map_err(failed)? {
        let RouteNetlinkMessage::NewRule(rule) = answer else { continue };
        networks.extend(rule.attributes.iter().find_map(|attribute| match attribute {
            RuleAttribute::Destination(IpAddr::V4(address)) => {
                Some(AddressRange::prefix(*address, rule.header.dst_len.into()))
            }
            _ => None,
        }));
    }
    Ok(Prefixes { networks, own: own.into_iter().collect() })
}

fn is_own(kind: RouteType) -> bool {
    use RouteType::{Anycast, Broadcast, Local, Multicast};
    matches!(kind, Local | Broadcast | Anycast | Multicast)
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(gateway))
        | RouteAttribute::Via(RouteVia::Inet(gateway)) => Some((*gateway).into()),
        RouteAttribute::Via(RouteVia::Inet6(gateway)) => Some((*gateway).into()),
        _ => None,
    }
}

fn failed(source: io::Error) -> NicError {
    NicError::Netlink { what: "the route to the targets", source }
}

fn get(
    destination: Ipv4Addr,
    interface: Option<u32>,
    source: Option<Ipv4Addr>,
    flags: RouteFlags,
) -> io::Result<RouteMessage> {
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet;
    question.header.destination_prefix_length = 32;
    question.header.flags = flags;
    question.attributes.push(RouteAttribute::Destination(IpAddr::V4(destination).into()));
    if let Some(source) = source {
        question.header.source_prefix_length = 32;
        question.attributes.push(RouteAttribute::Source(IpAddr::V4(source).into()));
    }
    question.attributes.extend(interface.map(RouteAttribute::Oif));
    match netlink::get(RouteNetlinkMessage::GetRoute(question))? {
        Some(RouteNetlinkMessage::NewRoute(answer)) => Ok(answer),
        _ => Err(io::Error::other("no answer")),
    }
}
