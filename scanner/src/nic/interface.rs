//! One network interface.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{NicError, netlink};
use crate::packet::MacAddr;
use crate::targets::AddressRange;

/// An IPv4 address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Length of its network's prefix.
    pub prefix_len: u8,
}

/// Who holds XDP on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpHolder {
    /// The kernel's number of the program.
    pub id: u32,
    /// `native`, `generic`, `offloaded` or `several`.
    pub mode: &'static str,
}

/// What the kernel says of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Its MAC address; `None` where packets have no Ethernet header.
    pub mac: Option<MacAddr>,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Whether it has been set up.
    pub is_up: bool,
    /// Whether its other end is there, too: a cable, a peer.
    pub has_carrier: bool,
    /// The driver, or for a virtual interface its kind.
    pub driver: Option<String>,
    /// RX queues in use.
    pub rx_queues: u32,
    /// NUMA node of the device.
    pub numa_node: Option<u32>,
    /// IPv4 addresses, the primary one first.
    pub addresses: Vec<InterfaceAddress>,
    /// The XDP program that is attached.
    pub xdp: Option<XdpHolder>,
}

impl Interface {
    /// The interface of this name.
    ///
    /// # Errors
    /// There is none, or the kernel could not be asked.
    pub fn by_name(name: &str) -> Result<Self, NicError> {
        let links = links()?;
        let Some(link) = links.iter().find(|link| name_of(link) == Some(name)) else {
            let known: Vec<&str> = links.iter().filter_map(name_of).collect();
            return Err(NicError::Unknown { name: name.to_owned(), known: known.join(", ") });
        };
        Self::from_link(link)
    }

    /// The interface with this number.
    pub(super) fn by_index(index: u32) -> Result<Self, NicError> {
        match links()?.iter().find(|link| link.header.index == index) {
            Some(link) => Self::from_link(link),
            None => Err(NicError::Unknown { name: format!("number {index}"), known: "no such".to_owned() }),
        }
    }

    fn from_link(link: &LinkMessage) -> Result<Self, NicError> {
        let name = name_of(link).unwrap_or_default().to_owned();
        let mut interface = Self {
            index: link.header.index,
            mac: None,
            mtu: 0,
            is_up: link.header.flags.contains(LinkFlags::Up),
            has_carrier: link.header.flags.contains(LinkFlags::LowerUp),
            driver: driver(&name),
            rx_queues: queues_in_use(&name).unwrap_or(0),
            numa_node: read(&name, "device/numa_node").and_then(|text| text.parse().ok()),
            addresses: addresses(link.header.index)?,
            xdp: None,
            name,
        };
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::Address(bytes) => interface.mac = bytes[..].try_into().ok().map(MacAddr),
                LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
                LinkAttribute::NumRxQueues(count) if interface.rx_queues == 0 => interface.rx_queues = *count,
                LinkAttribute::LinkInfo(info) if interface.driver.is_none() => interface.driver = kind(info),
                LinkAttribute::Xdp(xdp) => interface.xdp = xdp_holder(xdp),
                _ => {}
            }
        }
        interface.rx_queues = interface.rx_queues.max(1);
        Ok(interface)
    }

    /// Frames that the interface has dropped on their way in, for want of memory or of somebody to take them; `None`
    /// if the kernel does not tell.
    pub fn rx_dropped(&self) -> Option<u64> {
        let links = links().ok()?;
        let link = links.iter().find(|link| link.header.index == self.index)?;
        link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Stats64(counts) => Some(counts.rx_dropped + counts.rx_missed_errors),
            _ => None,
        })
    }

    /// Whether `address` is one of its own.
    pub fn has_address(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// Its own networks, whose hosts are reached without a gateway.
    pub fn on_link_prefixes(&self) -> impl Iterator<Item = AddressRange> + '_ {
        self.addresses.iter().map(|own| AddressRange::prefix(own.address, own.prefix_len.into()))
    }
}

fn links() -> Result<Vec<LinkMessage>, NicError> {
    let answers = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
        .map_err(|source| NicError::Netlink { what: "interfaces", source })?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    });
    Ok(links.collect())
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn kind(info: &[LinkInfo]) -> Option<String> {
    info.iter().find_map(|info| match info {
        LinkInfo::Kind(InfoKind::Other(name)) => Some(name.clone()),
        LinkInfo::Kind(kind) => Some(format!("{kind:?}").to_lowercase()),
        _ => None,
    })
}

fn xdp_holder(attributes: &[LinkXdp]) -> Option<XdpHolder> {
    let mode = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::Driver) => Some("native"),
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some("generic"),
        LinkXdp::Attached(XdpAttached::Hardware) => Some("offloaded"),
        LinkXdp::Attached(XdpAttached::Multiple) => Some("several"),
        _ => None,
    })?;
    let id = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    });
    Some(XdpHolder { id: id.unwrap_or(0), mode })
}

fn addresses(index: u32) -> Result<Vec<InterfaceAddress>, NicError> {
    let mut question = AddressMessage::default();
    question.header.family = AddressFamily::Inet;
    let answers = netlink::dump(RouteNetlinkMessage::GetAddress(question))
        .map_err(|source| NicError::Netlink { what: "addresses", source })?;
    let own = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(own) if own.header.index == index => Some(own),
        _ => None,
    });
    let local = |own: AddressMessage| {
        let address = own.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        })?;
        Some(InterfaceAddress { address, prefix_len: own.header.prefix_len })
    };
    Ok(own.filter_map(local).collect())
}

fn folder(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

fn read(name: &str, file: &str) -> Option<String> {
    fs::read_to_string(folder(name).join(file)).ok().map(|text| text.trim().to_owned())
}

fn driver(name: &str) -> Option<String> {
    let link = fs::read_link(folder(name).join("device/driver")).ok()?;
    link.file_name().map(|driver| driver.to_string_lossy().into_owned())
}

/// How many RX queues sysfs lists: those in use, where netlink tells only how many were set aside.
fn queues_in_use(name: &str) -> Option<u32> {
    let entries = fs::read_dir(folder(name).join("queues")).ok()?;
    let rx = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-"));
    Some(rx.count() as u32)
}
