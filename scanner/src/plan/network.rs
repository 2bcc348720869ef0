//! Through which interface, from which addresses, to which gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::interfaces::Asked;
use super::on_link::OnLinkPlan;
use super::routes::{Routes, Toward};
use super::{PlanError, TargetPlan, parse};
use crate::cli::{Args, IoMode};
use crate::io::bpf::holder;
use crate::nic::{self, Hop, Interface, NoWay};
use crate::packet::{Link, MacAddr, VlanTags};
use crate::targets::AddressRange;

/// How long an XDP program may take to go with its scan.
const PROGRAM_PATIENCE: Duration = Duration::from_millis(300);
/// How long the link of a NIC may take to come back after an XDP program has gone: some drivers reset the NIC then.
const LINK_PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel may take to resolve the gateway.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a tunnel is not for XDP.
const NO_HEADER: &str = "XDP needs an Ethernet header, and this interface has none";
/// Why a bond is not for XDP. Its program runs on the members, and `xsk_rcv_check` refuses what did not arrive on the very
/// device that a socket is bound to: replies are redirected, and neither socket nor host gets them.
const BOND: &str =
    "it is a bond, and an XDP program there runs on its members, whose packets reach no socket of the bond's";

/// The network side of a scan.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// The interface; `None` in a dry run that found none.
    pub interface: Option<Interface>,
    /// The interface below it, through which frames go, where it is a VLAN.
    pub parent: Option<Interface>,
    /// VLAN tags of the frames.
    pub tags: VlanTags,
    /// RX queues to listen on, of the interface or of the one below it; ascending, never empty.
    pub queues: Vec<u32>,
    /// How many of these can also send: workers need one each.
    pub senders: u32,
    /// Why XDP is of no use here, if it is not, so that AF_PACKET is all there is.
    pub no_xdp: Option<&'static str>,
    /// Source addresses.
    pub sources: Vec<Ipv4Addr>,
    /// What its frames begin with.
    pub link: Link,
    /// Our MAC address, on Ethernet.
    pub source_mac: MacAddr,
    /// Where probes go on the link, but for those to neighbours; all zeros where all targets are neighbours.
    pub gateway_mac: MacAddr,
    /// The gateway's address, if it was looked up.
    pub gateway_ip: Option<IpAddr>,
    /// Further gateways, for those in `networks`, from number 1 on.
    pub other_gateways: Vec<(IpAddr, MacAddr)>,
    /// Networks whose targets do not go to the gateway; ascending and disjoint.
    pub networks: Vec<(AddressRange, Hop)>,
    /// The targets that are neighbours; `None` if there are none, or the gateway's MAC address was given for all.
    pub on_link: Option<OnLinkPlan>,
    /// Whether the gateway's MAC address is what it answered, and not one that was given.
    pub gateway_resolved: bool,
}

impl NetworkPlan {
    /// The interface that frames go through: the one below, where the scan's is a VLAN.
    pub fn device(&self) -> Option<&Interface> {
        self.parent.as_ref().or(self.interface.as_ref())
    }

    /// Whether all targets are neighbours, so that no gateway is needed.
    pub fn has_neighbors_only(&self) -> bool {
        self.on_link.is_some() && self.gateway_ip.is_none()
    }

    /// The gateways that were looked up, in the order of their numbers.
    pub fn gateways(&self) -> impl Iterator<Item = (IpAddr, MacAddr)> + '_ {
        let main = self.gateway_ip.map(|ip| (ip, self.gateway_mac)).filter(|_| self.gateway_resolved);
        main.into_iter().chain(self.other_gateways.iter().copied())
    }

    pub(super) fn new(
        args: &Args,
        given: &Asked<'_>,
        targets: &TargetPlan,
        rate_pps: f64,
        warnings: &mut Vec<String>,
    ) -> Result<Self, PlanError> {
        let most_pps = if rate_pps == 0.0 { f64::MAX } else { rate_pps };
        let interface = match (given.interface, args.scan.is_dry()) {
            (Some(name), _) => Some(settled(Interface::by_name(name)?)?),
            (None, false) => Some(settled(nic::default_interface()?)?),
            (None, true) => nic::default_interface().ok(),
        };
        let Asked { source_mac, gateway_mac, .. } = *given;
        let asked = given.sources.clone();
        let link = link(args, interface.as_ref())?;
        let Some(interface) = interface else {
            // Sources are not what a fast dry run prints.
            let any = args.scan.fast_dryrun.then(|| vec![Ipv4Addr::UNSPECIFIED]);
            let sources = asked.or(any).ok_or_else(|| {
                PlanError::usage(
                    "--interface",
                    "there is no default route to take it from; give -i, or -S for a dry run",
                )
            })?;
            let (source_mac, gateway_mac) = (source_mac.unwrap_or_default(), gateway_mac.unwrap_or_default());
            return Ok(Self {
                interface: None,
                parent: None,
                tags: VlanTags::default(),
                queues: vec![0],
                senders: 1,
                no_xdp: None,
                sources,
                link,
                source_mac,
                gateway_mac,
                gateway_ip: None,
                other_gateways: Vec::new(),
                networks: Vec::new(),
                on_link: None,
                gateway_resolved: false,
            });
        };
        let mode = args.engine.io_mode;
        // To a packet socket a VLAN is an interface like any other.
        let (mut parent, mut tags) = match mode {
            IoMode::Packet => (None, VlanTags::default()),
            _ => below(&interface)?,
        };
        let mut no_xdp = (link == Link::Bare).then_some(NO_HEADER);
        if mode == IoMode::Auto && parent.as_ref().unwrap_or(&interface).is_bond() {
            (parent, tags, no_xdp) = (None, VlanTags::default(), Some(BOND));
        }
        if !args.scan.is_dry() {
            usable(&interface, mode)?;
            parent.as_ref().map_or(Ok(()), |parent| usable(parent, mode))?;
        }
        // A next hop that is given is that of all probes, and a tunnel needs none.
        let asks = gateway_mac.is_none() && link == Link::Ethernet;
        let mut way = match asks {
            true => Way::find(&interface, targets, asked.as_deref(), args.scan.is_dry())?,
            false => Way { source: preferred(&interface, targets), ..Way::default() },
        };
        warnings.append(&mut way.warnings);
        let sources = match asked {
            Some(sources) if given.own_sources => own_among(&interface, sources)?,
            Some(sources) => sources,
            None => vec![own_address(&interface, way.source)?],
        };
        let on_link = match asks && !args.scan.is_dry() {
            true => {
                let rate_pps = (args.network.arp_rate as f64).min(most_pps);
                OnLinkPlan::new(&interface, targets, &way.on_link, sources[0], rate_pps)?
            }
            false => None,
        };
        for source in sources.iter().filter(|source| !is_own(&interface, **source)) {
            let name = &interface.name;
            let unless = match link {
                Link::Ethernet => "somebody answers ARP for it",
                Link::Bare => "the other end sends to it this way",
            };
            warnings.push(format!(
                "--source-ip: {source} is not an address of {name}; unless {unless}, no reply arrives"
            ));
        }
        let gateway_resolved = gateway_mac.is_none();
        let gateway_ip = way.gateways.first().copied();
        let mac_of = |gateway: IpAddr| match args.scan.is_dry() {
            true => Ok(nic::neighbor::lookup(&interface, gateway).ok().flatten().unwrap_or_default()),
            false => nic::neighbor::resolve(&interface, gateway, RESOLVE_TIMEOUT),
        };
        let mut gateways = Vec::with_capacity(way.gateways.len());
        for &gateway in &way.gateways {
            gateways.push((gateway, mac_of(gateway)?));
        }
        let gateway_mac = gateway_mac.or(gateways.first().map(|(_, mac)| *mac)).unwrap_or_default();
        let other_gateways = gateways.into_iter().skip(1).collect();
        let source_mac = source_mac.or(interface.mac).unwrap_or_default();
        let device = parent.as_ref().unwrap_or(&interface);
        let queues = parse::queues(args.engine.queues.as_deref(), &device.name, device.rx_queues)?;
        let has_queues = mode != IoMode::Packet && no_xdp.is_none() && !args.scan.is_dry();
        let senders = if has_queues { senders(device, &queues, warnings)? } else { queues.len() as u32 };
        Ok(Self {
            interface: Some(interface),
            parent,
            tags,
            queues,
            senders,
            no_xdp,
            sources,
            link,
            source_mac,
            gateway_mac,
            gateway_ip,
            other_gateways,
            networks: way.networks,
            gateway_resolved,
            on_link,
        })
    }
}

/// How many of `queues` have a transmit side as well.
fn senders(device: &Interface, queues: &[u32], warnings: &mut Vec<String>) -> Result<u32, PlanError> {
    let Interface { name, rx_queues, tx_queues, .. } = device;
    let senders = queues.iter().filter(|queue| *queue < tx_queues).count() as u32;
    if senders == 0 {
        let what = format!(
            "{name} sends on its first {tx_queues} queues only, and none of these is named; name one of them as well"
        );
        return Err(PlanError::usage("--queues", what));
    }
    if senders < queues.len() as u32 {
        warnings.push(format!(
            "{name} has {rx_queues} RX queues and {tx_queues} to send on, so no more than {senders} can; replies are taken on \
             all {}",
            queues.len()
        ));
    }
    Ok(senders)
}

/// The interface that lies below a VLAN, or below two, and their tags.
pub(super) fn below(interface: &Interface) -> Result<(Option<Interface>, VlanTags), PlanError> {
    let Some(vlan) = interface.vlan else { return Ok((None, VlanTags::default())) };
    let parent = settled(Interface::by_index(vlan.parent)?)?;
    let (deeper, outer) = below(&parent)?;
    let tags = outer.with(vlan.ethertype, vlan.id).ok_or_else(|| PlanError::Interface {
        interface: interface.name.clone(),
        what: "it is a VLAN in a VLAN in a VLAN, and frames can have two tags; scan through the one below it"
            .to_owned(),
    })?;
    Ok((Some(deeper.unwrap_or(parent)), tags))
}

/// The interface once a scan that has just ended there has left it: the kernel takes its program off a moment later, and
/// then the link may be down for a while.
pub(super) fn settled(interface: Interface) -> Result<Interface, PlanError> {
    let start = Instant::now();
    let mut now = interface;
    while now.xdp.is_some() && start.elapsed() < PROGRAM_PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        now = Interface::by_name(&now.name)?;
    }
    if now.is_up && !now.has_carrier && now.is_hardware() {
        nic::wait_for_carrier(now.index, LINK_PATIENCE)?;
        now = Interface::by_name(&now.name)?;
    }
    Ok(now)
}

/// Those of `sources` that are addresses of `interface`.
fn own_among(interface: &Interface, mut sources: Vec<Ipv4Addr>) -> Result<Vec<Ipv4Addr>, PlanError> {
    sources.retain(|source| interface.has_address(*source));
    if sources.is_empty() {
        let what = format!("none of them is an address of {}; add one", interface.name);
        return Err(PlanError::usage("--source-ip", what));
    }
    Ok(sources)
}

pub(super) fn mac(text: Option<&str>, flag: &'static str) -> Result<Option<MacAddr>, PlanError> {
    let parse =
        |text: &str| text.parse().map_err(|error| PlanError::usage(flag, format!("'{text}': {error}")));
    text.map(parse).transpose()
}

/// What the frames of a scan begin with.
fn link(args: &Args, interface: Option<&Interface>) -> Result<Link, PlanError> {
    let Some(interface) = interface.filter(|_| !args.scan.is_dry()) else {
        let found = interface.and_then(|interface| interface.link).unwrap_or_default();
        return Ok(if args.network.iplayer { Link::Bare } else { found });
    };
    let refuse = |what: &str| {
        let interface = interface.name.clone();
        Err(PlanError::Interface { interface, what: what.to_owned() })
    };
    match interface.link {
        None => refuse("its frames have a header that is not Ethernet's, and probes cannot be sent with one"),
        Some(Link::Ethernet) if args.network.iplayer => {
            refuse("its frames have an Ethernet header, which --iplayer would leave out; leave the flag out")
        }
        Some(Link::Bare) if !matches!(args.engine.io_mode, IoMode::Auto | IoMode::Packet) => refuse(
            "its packets have no Ethernet header (a tunnel), and XDP needs one; use --io-mode packet, or auto",
        ),
        Some(link) => Ok(link),
    }
}

pub(super) fn usable(interface: &Interface, mode: IoMode) -> Result<(), PlanError> {
    let refuse = |what: String| Err(PlanError::Interface { interface: interface.name.clone(), what });
    if interface.is_loopback {
        return refuse(
            "it leads back to this host, whose kernel takes nothing there that comes from one of its own addresses; \
             name another interface with -i, with this host's services in a network namespace behind it if need be"
                .to_owned(),
        );
    }
    if !interface.is_up {
        return refuse(format!("the interface is down; `ip link set dev {} up` starts it", interface.name));
    }
    if !interface.has_carrier {
        return refuse("it has no carrier; plug the cable in, or set its other end up".to_owned());
    }
    if interface.is_bond() && !matches!(mode, IoMode::Auto | IoMode::Packet) {
        return refuse(format!("{BOND}; use --io-mode packet, or scan through one of its members"));
    }
    // Beside one, AF_PACKET works.
    let takes_xdp = mode != IoMode::Packet && interface.link != Some(Link::Bare) && !interface.is_bond();
    if let Some(program) = interface.xdp.as_ref().filter(|_| takes_xdp) {
        return refuse(holder::describe(Some(program), &interface.name));
    }
    Ok(())
}

fn own_address(interface: &Interface, preferred: Option<Ipv4Addr>) -> Result<Ipv4Addr, PlanError> {
    let first = interface.addresses.first().map(|address| address.address);
    preferred.filter(|address| is_own(interface, *address)).or(first).ok_or_else(|| PlanError::Interface {
        interface: interface.name.clone(),
        what: "it has no IPv4 address; give one with --source-ip".to_owned(),
    })
}

/// Whether the host answers ARP for `address` there: for what is on its other interfaces, `lo` among them, it does as well.
fn is_own(interface: &Interface, address: Ipv4Addr) -> bool {
    interface.has_address(address) || nic::is_local(address)
}

/// The source address that the kernel prefers for the first target.
fn preferred(interface: &Interface, targets: &TargetPlan) -> Option<Ipv4Addr> {
    let first = targets.space.addresses().address(0).into();
    nic::route_to(first, interface.index, None).ok()?.ok()?.preferred_source
}

/// The way of the targets through an interface, as its routes have it.
#[derive(Debug, Default)]
struct Way {
    /// The gateways; first that of all targets that are in none of `networks`, if there are any with a gateway.
    gateways: Vec<IpAddr>,
    /// What does not go to the first gateway.
    networks: Vec<(AddressRange, Hop)>,
    /// What of it is on the link.
    on_link: Vec<AddressRange>,
    /// The source address that the kernel prefers.
    source: Option<Ipv4Addr>,
    warnings: Vec<String>,
}

impl Way {
    /// The way for packets from the first of `sources`, or from the address that the kernel would choose.
    fn find(
        interface: &Interface,
        targets: &TargetPlan,
        sources: Option<&[Ipv4Addr]>,
        is_dry: bool,
    ) -> Result<Self, PlanError> {
        // The kernel knows no routes from strangers' addresses.
        let asked = sources.and_then(|sources| sources.iter().find(|source| is_own(interface, **source)));
        let mut routes = Routes::of(interface, targets, asked.copied())?;
        // Rules may ask for a source address before they show the way (`ip rule add from`).
        if let (Some(_), None, Some(own)) = (routes.refusal(), sources, interface.addresses.first()) {
            routes = Routes::of(interface, targets, Some(own.address))?;
        }
        if is_dry && routes.refusal().is_some() {
            return Ok(Self { source: routes.preferred_source, ..Self::default() });
        }
        if let Some(why) = routes.refusal() {
            // Where there is no address there are few routes, and it is the address that is missing.
            if sources.is_none() {
                own_address(interface, routes.preferred_source)?;
            }
            let first = Ipv4Addr::from_bits(targets.space.addresses().address(0));
            let what = match why {
                NoWay::NoRoute => {
                    format!("there is no route through it to {first}; add one, or give --gateway-mac")
                }
                _ => format!(
                    "nothing is sent to the targets, from {first} on: {}; take that route away (`ip route get {first}` \
                     names it), or give --gateway-mac",
                    why.describe()
                ),
            };
            return Err(PlanError::Interface { interface: interface.name.clone(), what });
        }
        let mut gateways: Vec<IpAddr> = routes.main.iter().filter_map(|main| main.gateway).collect();
        let mut networks = Vec::new();
        for &(range, toward) in &routes.pieces {
            let hop = match toward {
                Toward::Neighbors => Hop::Neighbor,
                Toward::Nowhere(_) => Hop::Nowhere,
                Toward::Gateway(gateway) => {
                    let known = gateways.iter().position(|known| *known == gateway);
                    Hop::Gateway(known.unwrap_or_else(|| {
                        gateways.push(gateway);
                        gateways.len() - 1
                    }))
                }
            };
            // A dry run asks nobody.
            if !(is_dry && hop == Hop::Neighbor) {
                networks.push((range, hop));
            }
        }
        let (on_link, source) = (routes.on_link(), routes.preferred_source);
        Ok(Self { gateways, networks, on_link, source, warnings: routes.warnings })
    }
}
