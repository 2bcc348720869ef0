//! Through which interface, from which addresses, to which gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use targets::AddressRange;
use wire::packet::{LinkHeader, MacAddr, VlanTags};

use super::attachment::{Attachment, NetworkRequest};
use super::next_hops::{NextHops, is_own, own_address};
use super::on_link::OnLinkPlan;
use super::{PlanError, TargetPlan, parse};
use crate::cli::{Args, IoMode};
use crate::engine::Hop;
use crate::nic::{self, Interface};

/// How long the kernel may take to resolve the gateway. Lower: a slow gateway counts as missing. Higher: a missing
/// gateway is reported later.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// The network side of a scan.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// The interface; `None` in a dry run that found none.
    pub interface: Option<Interface>,
    /// If it is a VLAN, the interface below it, through which its frames go.
    pub parent: Option<Interface>,
    /// VLAN tags of the frames.
    pub tags: VlanTags,
    /// RX queues to read, of the interface or of the one below it; ascending, never empty.
    pub queues: Vec<u32>,
    /// How many of these queues can also send. Each worker needs one.
    pub senders: u32,
    /// Why XDP cannot be used here and only AF_PACKET remains, if so.
    pub no_xdp: Option<&'static str>,
    /// Source addresses.
    pub sources: Vec<Ipv4Addr>,
    /// The first header of its frames.
    pub link: LinkHeader,
    /// Our MAC address, on Ethernet.
    pub source_mac: MacAddr,
    /// Destination MAC address of probes, except for those to neighbours; all zeros if all targets are neighbours.
    pub gateway_mac: MacAddr,
    /// The gateway's address, if it was looked up.
    pub gateway_ip: Option<IpAddr>,
    /// Further gateways, for those in `networks`, from number 1 on.
    pub other_gateways: Vec<(IpAddr, MacAddr)>,
    /// Networks whose targets are not reached through the gateway; ascending and disjoint.
    pub networks: Vec<(AddressRange, Hop)>,
    /// The targets that are neighbours; `None` if there are none, or the gateway's MAC address was given for all.
    pub on_link: Option<OnLinkPlan>,
    /// Whether the gateway's MAC address was resolved rather than given.
    pub gateway_resolved: bool,
}

impl NetworkPlan {
    /// The interface that frames go through: the one below, if the scan's interface is a VLAN.
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

    /// The network side of a scan of `targets` through an interface that was found.
    ///
    /// # Errors
    /// What is missing on the interface.
    pub(super) fn new(
        args: &Args,
        attachment: Attachment,
        request: &NetworkRequest<'_>,
        targets: &TargetPlan,
        rate_pps: f64,
        warnings: &mut Vec<String>,
    ) -> Result<Self, PlanError> {
        let Attachment { interface, parent, tags, link, no_xdp } = attachment;
        let Some(interface) = interface else { return Self::of_nothing(args, request, link) };
        let is_dry = args.scan.is_dry();
        // If a next hop is given, all probes go there. A tunnel needs none.
        let asks = request.gateway_mac.is_none() && link == LinkHeader::Ethernet;
        let hops = match asks {
            true => NextHops::find(&interface, targets, request.sources.as_deref(), is_dry)?,
            false => NextHops::given(&interface, targets),
        };
        let sources = sources(&interface, request, hops.source)?;
        let on_link = match asks && !is_dry {
            true => on_link(args, &interface, targets, &hops.on_link, sources[0], rate_pps)?,
            false => None,
        };
        warnings.extend(hops.warnings);
        warnings.extend(strangers(&interface, link, &sources));
        let mut gateways = gateways(&interface, &hops.gateways, is_dry || args.scan.plan)?.into_iter();
        let gateway = gateways.next();
        let device = parent.as_ref().unwrap_or(&interface);
        let queues = parse::queues(args.engine.queues.as_deref(), &device.name, device.rx_queues)?;
        let has_queues = args.engine.io_mode != IoMode::Packet && no_xdp.is_none() && !is_dry;
        let senders = if has_queues { senders(device, &queues)? } else { queues.len() as u32 };
        warnings.extend((senders < queues.len() as u32).then(|| few_senders(device, &queues, senders)));
        Ok(Self {
            parent,
            tags,
            queues,
            senders,
            no_xdp,
            sources,
            link,
            source_mac: request.source_mac.or(interface.mac).unwrap_or_default(),
            gateway_mac: request.gateway_mac.or(gateway.map(|(_, mac)| mac)).unwrap_or_default(),
            gateway_ip: gateway.map(|(ip, _)| ip),
            other_gateways: gateways.collect(),
            networks: hops.networks,
            gateway_resolved: request.gateway_mac.is_none(),
            on_link,
            interface: Some(interface),
        })
    }

    /// The network side of a dry run without an interface.
    fn of_nothing(args: &Args, request: &NetworkRequest<'_>, link: LinkHeader) -> Result<Self, PlanError> {
        // A fast dry run does not print source addresses.
        let any = args.scan.fast_dryrun.then(|| vec![Ipv4Addr::UNSPECIFIED]);
        let sources = request.sources.clone().or(any).ok_or_else(|| {
            PlanError::usage(
                "--interface",
                "without a default route it is not known; give -i, or -S for a dry run",
            )
        })?;
        Ok(Self {
            interface: None,
            parent: None,
            tags: VlanTags::default(),
            queues: vec![0],
            senders: 1,
            no_xdp: None,
            sources,
            link,
            source_mac: request.source_mac.unwrap_or_default(),
            gateway_mac: request.gateway_mac.unwrap_or_default(),
            gateway_ip: None,
            other_gateways: Vec::new(),
            networks: Vec::new(),
            on_link: None,
            gateway_resolved: false,
        })
    }
}

/// The source addresses: those requested, or the one that the kernel prefers.
fn sources(
    interface: &Interface,
    request: &NetworkRequest<'_>,
    preferred: Option<Ipv4Addr>,
) -> Result<Vec<Ipv4Addr>, PlanError> {
    match &request.sources {
        Some(sources) if request.own_sources => own_among(interface, sources),
        Some(sources) => Ok(sources.clone()),
        None => Ok(vec![own_address(interface, preferred)?]),
    }
}

/// Those `sources` that are addresses of `interface`.
fn own_among(interface: &Interface, sources: &[Ipv4Addr]) -> Result<Vec<Ipv4Addr>, PlanError> {
    let own: Vec<Ipv4Addr> =
        sources.iter().copied().filter(|source| interface.has_address(*source)).collect();
    if own.is_empty() {
        let what = format!("none of them is an address of {}; add one", interface.name);
        return Err(PlanError::usage("--source-ip", what));
    }
    Ok(own)
}

/// A warning for each source address that no interface of this host has.
fn strangers<'a>(
    interface: &'a Interface,
    link: LinkHeader,
    sources: &'a [Ipv4Addr],
) -> impl Iterator<Item = String> + 'a {
    let unless = match link {
        LinkHeader::Ethernet => "a host on the link answers ARP for it",
        LinkHeader::Bare => "the other end sends to it this way",
    };
    let strange = sources.iter().filter(|source| !is_own(interface, **source));
    strange.map(move |source| {
        let name = &interface.name;
        format!("--source-ip: {source} is not an address of {name}; unless {unless}, no reply arrives")
    })
}

/// The targets on the link that need ARP, if there are any.
fn on_link(
    args: &Args,
    interface: &Interface,
    targets: &TargetPlan,
    networks: &[AddressRange],
    source: Ipv4Addr,
    rate_pps: f64,
) -> Result<Option<OnLinkPlan>, PlanError> {
    let most_pps = if rate_pps == 0.0 { f64::MAX } else { rate_pps };
    let arp_pps = (args.network.arp_rate as f64).min(most_pps);
    OnLinkPlan::new(interface, targets, networks, source, arp_pps)
}

/// The MAC address of each gateway. If nothing may be sent, none is resolved: it is the one that the kernel knows, or
/// all zeros.
fn gateways(
    interface: &Interface,
    gateways: &[IpAddr],
    sends_nothing: bool,
) -> Result<Vec<(IpAddr, MacAddr)>, PlanError> {
    let resolve = |&gateway: &IpAddr| {
        let mac = match sends_nothing {
            true => nic::neighbor::lookup(interface, gateway).ok().flatten().unwrap_or_default(),
            false => nic::neighbor::resolve(interface, gateway, RESOLVE_TIMEOUT)?,
        };
        Ok((gateway, mac))
    };
    gateways.iter().map(resolve).collect()
}

/// How many of `queues` can also send.
fn senders(device: &Interface, queues: &[u32]) -> Result<u32, PlanError> {
    let Interface { name, tx_queues, .. } = device;
    match queues.iter().filter(|queue| *queue < tx_queues).count() {
        0 => {
            let what = format!(
                "{name} sends on its first {tx_queues} queues only, and none of these is named; name one of them as well"
            );
            Err(PlanError::usage("--queues", what))
        }
        senders => Ok(senders as u32),
    }
}

fn few_senders(device: &Interface, queues: &[u32], senders: u32) -> String {
    let Interface { name, rx_queues, tx_queues, .. } = device;
    let all = queues.len();
    format!(
        "{name} has {rx_queues} RX queues and {tx_queues} TX queues, so at most {senders} can send; replies are \
         received on all {all}"
    )
}

pub(super) fn mac(text: Option<&str>, flag: &'static str) -> Result<Option<MacAddr>, PlanError> {
    let parse =
        |text: &str| text.parse().map_err(|error| PlanError::usage(flag, format!("'{text}': {error}")));
    text.map(parse).transpose()
}
