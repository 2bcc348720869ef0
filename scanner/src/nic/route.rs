//! Which way packets go.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Interface, NicError, netlink};

/// The way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface's number.
    pub interface: u32,
    /// The next hop; `None` where the address is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// The source address that the kernel would choose.
    pub preferred_source: Option<Ipv4Addr>,
}

/// The interface that leads to most of the Internet.
///
/// # Errors
/// None does, or the kernel could not be asked.
pub fn default_interface() -> Result<Interface, NicError> {
    // Any address that no host owns specially; the question sends nothing.
    let anywhere = Ipv4Addr::new(8, 8, 8, 8);
    let route = ask(anywhere, None).map_err(|_| NicError::NoDefaultRoute)?;
    Interface::by_index(route.interface)
}

/// The way to `destination` through the interface with number `interface`.
///
/// # Errors
/// There is none, or the kernel could not be asked.
pub fn route_to(destination: Ipv4Addr, interface: u32) -> Result<Route, NicError> {
    ask(destination, Some(interface))
}

/// Whether `address` is one of this host's own: a packet to it goes to the host itself.
pub fn is_local(address: Ipv4Addr) -> bool {
    get(address, None, RouteFlags::empty()).is_ok_and(|route| route.header.kind == RouteType::Local)
}

/// The gateways of the route to `destination` through the interface with number `interface`, which may have several: the
/// kernel chooses one of them for each destination.
///
/// # Errors
/// There is no route, or the kernel could not be asked.
pub fn gateways_to(destination: Ipv4Addr, interface: u32) -> Result<Vec<Ipv4Addr>, NicError> {
    let route = get(destination, Some(interface), RouteFlags::FibMatch)?;
    let gateway = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => Some(*gateway),
        _ => None,
    };
    let of_hops = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.clone(),
        _ => Vec::new(),
    };
    let hops = route.attributes.iter().flat_map(of_hops).filter(|hop| hop.interface_index == interface);
    let of_hops = hops.filter_map(|hop| hop.attributes.iter().find_map(gateway));
    Ok(route.attributes.iter().filter_map(gateway).chain(of_hops).collect())
}

fn get(destination: Ipv4Addr, interface: Option<u32>, flags: RouteFlags) -> Result<RouteMessage, NicError> {
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet;
    question.header.destination_prefix_length = 32;
    question.header.flags = flags;
    question.attributes.push(RouteAttribute::Destination(IpAddr::V4(destination).into()));
    question.attributes.extend(interface.map(RouteAttribute::Oif));
    let failed = |source| NicError::Netlink { what: "the route to the targets", source };
    let answer = netlink::get(RouteNetlinkMessage::GetRoute(question)).map_err(failed)?;
    match answer {
        Some(RouteNetlinkMessage::NewRoute(answer)) => Ok(answer),
        _ => Err(failed(std::io::Error::other("no answer"))),
    }
}

fn ask(destination: Ipv4Addr, interface: Option<u32>) -> Result<Route, NicError> {
    let answer = get(destination, interface, RouteFlags::empty())?;
    let mut route = Route { interface: interface.unwrap_or(0), gateway: None, preferred_source: None };
    for attribute in answer.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => route.gateway = Some(gateway),
            RouteAttribute::PrefSource(RouteAddress::Inet(source)) => route.preferred_source = Some(source),
            RouteAttribute::Oif(index) => route.interface = index,
            _ => {}
        }
    }
    Ok(route)
}
