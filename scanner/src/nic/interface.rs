//! One network interface.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
    Prop, VlanProtocol, XdpAttached,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use targets::AddressRange;
use wire::packet::{ETHERTYPES_VLAN, LinkHeader, MacAddr};

use super::ethtool::{DriverInfo, Ethtool};
use super::{NicError, netlink};

/// How often to check the carrier. More often costs CPU time; less often delays the start of a scan.
const CARRIER_LOOK: Duration = Duration::from_millis(20);

/// An IPv4 address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Length of its network's prefix.
    pub prefix_len: u8,
}

/// The program that holds XDP on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpHolder {
    /// The program's id in the kernel.
    pub id: u32,
    /// `native`, `generic`, `offloaded` or `several`.
    pub mode: &'static str,
}

/// The kernel's facts about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the kernel, in libraries and in `/sys`.
    pub name: String,
    /// Other names, which may be longer (`ip link property add altname`).
    pub other_names: Vec<String>,
    /// Its number.
    pub index: u32,
    /// The header that its frames begin with; `None` if they have a header other than Ethernet's.
    pub link: Option<LinkHeader>,
    /// Whether it leads back to this host.
    pub is_loopback: bool,
    /// Its MAC address; `None` where packets have no Ethernet header.
    pub mac: Option<MacAddr>,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Whether it has been set up.
    pub is_up: bool,
    /// Whether its other end is connected: a cable, a peer.
    pub has_carrier: bool,
    /// The driver, or for a virtual interface its kind.
    pub driver: Option<String>,
    /// What the driver says of itself.
    pub driver_info: DriverInfo,
    /// RX queues in use.
    pub rx_queues: u32,
    /// TX queues in use; some drivers have fewer of them.
    pub tx_queues: u32,
    /// NUMA node of the device.
    pub numa_node: Option<u32>,
    /// IPv4 addresses, the primary one first.
    pub addresses: Vec<InterfaceAddress>,
    /// The XDP program that is attached.
    pub xdp: Option<XdpHolder>,
    /// Its VLAN, if it is a VLAN interface.
    pub vlan: Option<Vlan>,
}

/// A VLAN interface's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The number of the interface below it, in the same namespace.
    pub parent: u32,
    /// EtherType of its tag.
    pub ethertype: u16,
    /// The VLAN's number.
    pub id: u16,
}

impl Interface {
    /// The interface with this name, or with this alternative name.
    ///
    /// # Errors
    /// There is none, or the kernel could not be queried.
    pub fn by_name(name: &str) -> Result<Self, NicError> {
        let links = links()?;
        let has_other = |link: &&LinkMessage| other_names(link).any(|other| other == name);
        let named = links.iter().find(|link| name_of(link) == Some(name));
        let Some(link) = named.or_else(|| links.iter().find(has_other)) else {
            let known: Vec<&str> =
                links.iter().flat_map(|link| name_of(link).into_iter().chain(other_names(link))).collect();
            return Err(NicError::Unknown { name: name.to_owned(), known: known.join(", ") });
        };
        Self::from_link(link)
    }

    /// The interface with this number.
    ///
    /// # Errors
    /// There is none, or the kernel could not be queried.
    pub fn by_index(index: u32) -> Result<Self, NicError> {
        match links()?.iter().find(|link| link.header.index == index) {
            Some(link) => Self::from_link(link),
            None => Err(NicError::Unknown { name: format!("number {index}"), known: "no such".to_owned() }),
        }
    }

    fn from_link(link: &LinkMessage) -> Result<Self, NicError> {
        let name = name_of(link).unwrap_or_default().to_owned();
        let mut interface = Self {
            index: link.header.index,
            link: link_type(link.header.link_layer_type),
            is_loopback: link.header.flags.contains(LinkFlags::Loopback),
            mac: None,
            mtu: 0,
            is_up: link.header.flags.contains(LinkFlags::Up),
            has_carrier: has_carrier(link),
            driver: driver(&name),
            driver_info: Ethtool::new(&name).and_then(|nic| nic.driver_info()).unwrap_or_default(),
            rx_queues: queues_in_use(&name, Side::Receive).unwrap_or(0),
            tx_queues: queues_in_use(&name, Side::Transmit).unwrap_or(0),
            numa_node: read(&name, "device/numa_node").and_then(|text| text.parse().ok()),
            addresses: addresses(link.header.index)?,
            xdp: None,
            vlan: vlan(&link.attributes),
            other_names: other_names(link).map(str::to_owned).collect(),
            name,
        };
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::Address(bytes) => interface.mac = bytes[..].try_into().ok().map(MacAddr),
                LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
                LinkAttribute::NumRxQueues(count) if interface.rx_queues == 0 => interface.rx_queues = *count,
                LinkAttribute::NumTxQueues(count) if interface.tx_queues == 0 => interface.tx_queues = *count,
                LinkAttribute::LinkInfo(info) if interface.driver.is_none() => interface.driver = kind(info),
                LinkAttribute::Xdp(xdp) => interface.xdp = xdp_holder(xdp),
                _ => {}
            }
        }
        interface.rx_queues = interface.rx_queues.max(1);
        interface.tx_queues = interface.tx_queues.max(1);
        Ok(interface)
    }

    /// Whether it has hardware whose link takes time to come up, rather than being only software in the kernel.
    pub fn is_hardware(&self) -> bool {
        folder(&self.name).join("device").exists()
    }

    /// Why live frames must not be redirected to this interface: faults of its driver that silently lose them or crash
    /// the kernel.
    pub fn redirect_hazard(&self) -> Option<String> {
        self.redirect_hazard_on(possible_processors()?, kernel_version()?)
    }

    fn redirect_hazard_on(&self, processors: u32, (major, minor): (u32, u32)) -> Option<String> {
        if self.driver.as_deref() != Some("virtio_net") {
            return None;
        }
        // The driver puts a header before a frame and leaves it there. From Linux 6.4 on the kernel accounts for it
        // when it reuses the frame (commit e5995bc7e2ba).
        if (major, minor) < (6, 4) {
            return Some(format!(
                "virtio_net silently loses many of them before Linux 6.4, and this is Linux {major}.{minor}"
            ));
        }
        // With more queues than processors, `virtnet_xdp_get_sq` expects a separate transmit queue for each processor.
        // A device with too few queues for that makes it use one that does not exist (seen on 7.3).
        (self.rx_queues > processors).then(|| {
            format!(
                "virtio_net with more queues than processors crashes the kernel; `ethtool -L {} combined \
                 {processors}` makes it safe",
                self.name
            )
        })
    }

    /// Whether it is a bond. A bond has no queues; its members have.
    pub fn is_bond(&self) -> bool {
        self.driver.as_deref() == Some("bond")
    }

    /// Whether `address` is an address of this interface.
    pub fn has_address(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// Its directly connected networks, whose hosts are reached without a gateway.
    pub fn on_link_prefixes(&self) -> impl Iterator<Item = AddressRange> + '_ {
        self.addresses.iter().map(|own| AddressRange::prefix(own.address, own.prefix_len.into()))
    }
}

/// Whether the administrator has set the interface called `name` to defer its interrupts in favour of polling.
pub fn defers_interrupts(name: &str) -> bool {
    let is_set = |file: &str| read(name, file).is_some_and(|value| value.parse::<u64>().is_ok_and(|n| n > 0));
    is_set("napi_defer_hard_irqs") && is_set("gro_flush_timeout")
}

/// Waits until the interface has a carrier, for `patience` at most. Returns how long that took; `None` if it still has
/// none.
///
/// # Errors
/// The kernel could not be queried.
pub fn wait_for_carrier(index: u32, patience: Duration) -> Result<Option<Duration>, NicError> {
    let start = Instant::now();
    for looks in 0.. {
        if links()?.iter().any(|link| link.header.index == index && has_carrier(link)) {
            return Ok(Some(if looks == 0 { Duration::ZERO } else { start.elapsed() }));
        }
        if start.elapsed() >= patience {
            break;
        }
        std::thread::sleep(CARRIER_LOOK);
    }
    Ok(None)
}

fn has_carrier(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::LowerUp)
}

pub(super) fn links() -> Result<Vec<LinkMessage>, NicError> {
    let answers = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
        .map_err(|source| NicError::Netlink { what: "interfaces", source })?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    });
    Ok(links.collect())
}

/// The header that frames of this type of interface (`ARPHRD_...`) begin with, as AF_PACKET shows them.
fn link_type(layer: LinkLayerType) -> Option<LinkHeader> {
    use LinkLayerType::{Ether, Ipgre, Loopback, Ppp, Rawip, Sit, Tunnel};
    match layer {
        Ether | Loopback => Some(LinkHeader::Ethernet),
        // The driver handles PPP's two bytes.
        LinkLayerType::None | Ppp | Rawip | Tunnel | Ipgre | Sit => Some(LinkHeader::Bare),
        _ => None,
    }
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn other_names(link: &LinkMessage) -> impl Iterator<Item = &str> {
    let lists = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::PropList(list) => Some(list),
        _ => None,
    });
    lists.flatten().filter_map(|property| match property {
        Prop::AltIfName(name) => Some(name.as_str()),
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

/// The place of a VLAN interface whose parent is in the same namespace.
fn vlan(attributes: &[LinkAttribute]) -> Option<Vlan> {
    let (mut parent, mut place) = (None, None);
    for attribute in attributes {
        match attribute {
            LinkAttribute::Link(index) => parent = Some(*index),
            LinkAttribute::LinkNetNsId(_) => return None,
            LinkAttribute::LinkInfo(info) => place = place.or_else(|| vlan_place(info)),
            _ => {}
        }
    }
    let ((ethertype, id), parent) = (place?, parent?);
    Some(Vlan { parent, ethertype, id })
}

/// EtherType and number of a VLAN.
fn vlan_place(info: &[LinkInfo]) -> Option<(u16, u16)> {
    let data = info.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(data)) => Some(data),
        _ => None,
    })?;
    let id = data.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })?;
    let is_service = data.contains(&InfoVlan::Protocol(VlanProtocol::Ieee8021Ad));
    Some((ETHERTYPES_VLAN[usize::from(is_service)], id))
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

/// How many processors the kernel supports: its `nr_cpu_ids`.
fn possible_processors() -> Option<u32> {
    let ranges = fs::read_to_string("/sys/devices/system/cpu/possible").ok()?;
    let last = ranges.trim().rsplit(['-', ',']).next()?;
    last.parse::<u32>().ok().map(|last| last + 1)
}

/// The first two numbers of the kernel's version.
pub fn kernel_version() -> Option<(u32, u32)> {
    let name = nix::sys::utsname::uname().ok()?;
    let mut numbers = name.release().to_str()?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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

/// The direction of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Receive,
    Transmit,
}

/// How many queues of this direction sysfs lists: those in use. Netlink only reports how many were allocated.
pub(super) fn queues_in_use(name: &str, side: Side) -> Option<u32> {
    let prefix = match side {
        Side::Receive => "rx-",
        Side::Transmit => "tx-",
    };
    let entries = fs::read_dir(folder(name).join("queues")).ok()?;
    let own = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    Some(own.count() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_virtio() {
        let hazard = |driver: &str, rx_queues, version| {
            let interface = Interface {
                link: Some(LinkHeader::Ethernet),
                is_loopback: false,
                name: "eth7".to_owned(),
                other_names: Vec::new(),
                index: 7,
                mac: None,
                mtu: 1500,
                is_up: true,
                has_carrier: true,
                driver: Some(driver.to_owned()),
                driver_info: DriverInfo::default(),
                rx_queues,
                tx_queues: rx_queues,
                numa_node: None,
                addresses: Vec::new(),
                xdp: None,
                vlan: None,
            };
            interface.redirect_hazard_on(4, version)
        };
        assert_eq!(hazard("virtio_net", 4, (6, 4)), None);
        assert_eq!(hazard("igb", 5, (5, 18)), None);
        let what = hazard("virtio_net", 5, (7, 3)).unwrap();
        assert!(what.ends_with("crashes the kernel; `ethtool -L eth7 combined 4` makes it safe"), "{what}");
        let what = hazard("virtio_net", 1, (6, 3)).unwrap();
        assert!(what.ends_with("before Linux 6.4, and this is Linux 6.3"), "{what}");
        assert!(kernel_version().unwrap() > (4, 0) && possible_processors().unwrap() > 0);
    }
}
