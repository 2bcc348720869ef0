//! Through which interface, from which addresses, to which gateway.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::interfaces::Asked;
use super::on_link::{OnLinkPlan, first_outside};
use super::{PlanError, TargetPlan, parse};
use crate::cli::{Args, IoMode};
use crate::io::bpf::holder;
use crate::nic::{self, Interface};
use crate::packet::{Link, MacAddr, VlanTags};

/// How long an XDP program may take to go with its scan.
const PROGRAM_PATIENCE: Duration = Duration::from_millis(300);
/// How long the link of a NIC may take to come back after an XDP program has gone: some drivers reset the NIC then.
const LINK_PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel may take to resolve the gateway.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

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
    /// Source addresses.
    pub sources: Vec<Ipv4Addr>,
    /// What its frames begin with.
    pub link: Link,
    /// Our MAC address, on Ethernet.
    pub source_mac: MacAddr,
    /// Where probes go on the link, but for those to neighbours; all zeros where all targets are neighbours.
    pub gateway_mac: MacAddr,
    /// The gateway's address, if it was looked up.
    pub gateway_ip: Option<Ipv4Addr>,
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

    pub(super) fn new(
        args: &Args,
        given: &Asked<'_>,
        targets: &TargetPlan,
        rate_pps: u64,
        warnings: &mut Vec<String>,
    ) -> Result<Self, PlanError> {
        let most_pps = if rate_pps == 0 { u64::MAX } else { rate_pps };
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
                sources,
                link,
                source_mac,
                gateway_mac,
                gateway_ip: None,
                on_link: None,
                gateway_resolved: false,
            });
        };
        let mode = args.engine.io_mode;
        // To a packet socket a VLAN is an interface like any other.
        let (parent, tags) = match mode {
            IoMode::Packet => (None, VlanTags::default()),
            _ => below(&interface)?,
        };
        if !args.scan.is_dry() {
            usable(&interface, mode)?;
            parent.as_ref().map_or(Ok(()), |parent| usable(parent, mode))?;
        }
        // A tunnel has no neighbours.
        let on_link = match gateway_mac.is_none() && !args.scan.is_dry() && link == Link::Ethernet {
            true => OnLinkPlan::new(&interface, targets, args.network.arp_rate.min(most_pps))?,
            false => None,
        };
        // Without a target behind the gateway none is needed.
        let networks = on_link.as_ref().map_or(&[][..], |on_link| &on_link.networks);
        let first_behind = first_outside(targets, networks);
        let first_target = first_behind.unwrap_or(targets.space.addresses().address(0).into());
        let route = nic::route_to(first_target, interface.index).ok();
        let sources = match asked {
            Some(sources) if given.own_sources => own_among(&interface, sources)?,
            Some(sources) => sources,
            None => vec![own_address(&interface, route.as_ref().and_then(|route| route.preferred_source))?],
        };
        for source in sources.iter().filter(|source| !interface.has_address(**source)) {
            let name = &interface.name;
            let unless = match link {
                Link::Ethernet => "somebody answers ARP for it",
                Link::Bare => "the other end sends to it this way",
            };
            warnings.push(format!(
                "--source-ip: {source} is not an address of {name}; unless {unless}, no reply arrives"
            ));
        }
        let has_gateway = first_behind.is_some() && link == Link::Ethernet;
        let gateway_ip = route.as_ref().and_then(|route| route.gateway).filter(|_| has_gateway);
        let gateway_resolved = gateway_mac.is_none();
        let gateway_mac = match (gateway_mac, args.scan.is_dry()) {
            (Some(mac), _) => mac,
            (None, _) if link == Link::Bare => MacAddr::default(),
            (None, false) if first_behind.is_none() => MacAddr::default(),
            (None, true) => gateway_ip
                .and_then(|ip| nic::neighbor::lookup(interface.index, ip).ok().flatten())
                .unwrap_or_default(),
            (None, false) => {
                let gateway = gateway_ip.ok_or_else(|| PlanError::Interface {
                    interface: interface.name.clone(),
                    what: format!(
                        "there is no route through it to {first_target}; add one, or give --gateway-mac"
                    ),
                })?;
                let gateways = nic::gateways_to(first_target, interface.index).map_or(1, |all| all.len());
                if gateways > 1 {
                    warnings.push(format!(
                        "{}: its route has {gateways} gateways; all probes go to {gateway}, unless --gateway-mac \
                         names another",
                        interface.name
                    ));
                }
                nic::neighbor::resolve(&interface, gateway, RESOLVE_TIMEOUT)?
            }
        };
        let source_mac = source_mac.or(interface.mac).unwrap_or_default();
        let device = parent.as_ref().unwrap_or(&interface);
        let queues = parse::queues(args.engine.queues.as_deref(), &device.name, device.rx_queues)?;
        Ok(Self {
            interface: Some(interface),
            parent,
            tags,
            queues,
            sources,
            link,
            source_mac,
            gateway_mac,
            gateway_ip,
            gateway_resolved,
            on_link,
        })
    }
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
    // Beside one, AF_PACKET works.
    let takes_xdp = mode != IoMode::Packet && interface.link != Some(Link::Bare);
    if let Some(program) = interface.xdp.as_ref().filter(|_| takes_xdp) {
        return refuse(holder::describe(Some(program), &interface.name));
    }
    Ok(())
}

fn own_address(interface: &Interface, preferred: Option<Ipv4Addr>) -> Result<Ipv4Addr, PlanError> {
    let first = interface.addresses.first().map(|address| address.address);
    preferred.filter(|address| interface.has_address(*address)).or(first).ok_or_else(|| {
        PlanError::Interface {
            interface: interface.name.clone(),
            what: "it has no IPv4 address; give one with --source-ip".to_owned(),
        }
    })
}
