//! One interface or several: which parts of the command line apply to which.

use std::net::Ipv4Addr;

use wire::packet::{MacAddr, VlanTags};

use super::attachment::{Attachment, NetworkRequest, below, settled, usable};
use super::network::mac;
use super::{LimitPlan, NetworkPlan, PlanError, TargetPlan, parse};
use crate::cli::{Args, IoMode};
use crate::io::bpf::abi::SOURCES_MAX;
use crate::nic::Interface;

/// The network side of a scan, and its limits for the frames that its interfaces carry.
pub(super) struct Interfaces {
    /// At least one.
    pub(super) networks: Vec<NetworkPlan>,
    /// Another interface on which replies may arrive.
    pub(super) replies: Option<ReplyPlan>,
    pub(super) limits: LimitPlan,
    /// Why the scan could not start now.
    pub(super) obstacle: Option<String>,
}

impl Interfaces {
    /// Finds what the command line names. What an interface lacks at present is no error for a plan that is only
    /// printed: then it is as a dry run would find it.
    ///
    /// # Errors
    /// What is missing, or makes no sense.
    pub(super) fn find(
        args: &Args,
        targets: &TargetPlan,
        limits: LimitPlan,
        frame_len: usize,
        warnings: &mut Vec<String>,
    ) -> Result<Self, PlanError> {
        let so_far = warnings.len();
        let error = match Self::now(args, targets, limits, frame_len, warnings) {
            Err(error @ (PlanError::Nic(_) | PlanError::Interface { .. })) if args.scan.plan => error,
            found => return found,
        };
        warnings.truncate(so_far);
        let mut dry = args.clone();
        (dry.scan.dryrun, dry.scan.fast_dryrun) = (true, true);
        let found = Self::now(&dry, targets, limits, frame_len, warnings)?;
        Ok(Self { obstacle: Some(error.to_string()), ..found })
    }

    fn now(
        args: &Args,
        targets: &TargetPlan,
        limits: LimitPlan,
        frame_len: usize,
        warnings: &mut Vec<String>,
    ) -> Result<Self, PlanError> {
        let attachments = attachments(args)?;
        let tags = attachments.iter().map(|(_, found)| found.tags.len()).max().unwrap_or(0);
        let limits = limits.of_frames(frame_len + 4 * tags)?;
        let networks = networks(args, attachments, targets, limits.rate_pps, warnings)?;
        if networks.iter().any(|network| network.no_xdp.is_some()) && !args.scan.is_dry() {
            parse::refuse_queue_flags(args)?;
        }
        let replies = replies(args, &networks)?;
        Ok(Self { networks, replies, limits, obstacle: None })
    }
}

/// The interfaces of the scan, in the order in which they are named, each with what the command line says about it.
///
/// # Errors
/// One does not exist or cannot be used, or the options do not fit the interfaces.
fn attachments(args: &Args) -> Result<Vec<(NetworkRequest<'_>, Attachment)>, PlanError> {
    let mut found: Vec<(NetworkRequest<'_>, Attachment)> = Vec::new();
    for request in requests(args)? {
        let attachment = Attachment::find(args, request.interface)?;
        let device = |attachment: &Attachment| attachment.device().map(|device| device.index);
        if let Some((_, other)) = found.iter().find(|(_, other)| device(other) == device(&attachment)) {
            return Err(shared(&attachment, other));
        }
        found.push((request, attachment));
    }
    Ok(found)
}

fn requests(args: &Args) -> Result<Vec<NetworkRequest<'_>>, PlanError> {
    let names: Vec<Option<&str>> = match &args.network.interface {
        None => vec![None],
        Some(names) => names.split(',').map(|name| Some(name.trim())).collect(),
    };
    let own_sources = names.len() > 1;
    if own_sources && args.network.source_mac.is_some() {
        return Err(PlanError::usage("--source-mac", "each of several interfaces has its own; leave it out"));
    }
    let gateways = gateway_macs(args, names.len())?;
    let sources = args.network.source_ip.as_deref().map(parse::source_addresses).transpose()?;
    let source_mac = mac(args.network.source_mac.as_deref(), "--source-mac")?;
    let request = |(interface, gateway_mac)| {
        let sources = sources.clone();
        NetworkRequest { interface, sources, own_sources, source_mac, gateway_mac }
    };
    Ok(names.into_iter().zip(gateways).map(request).collect())
}

/// The network side of each interface.
///
/// # Errors
/// What is missing on one of the interfaces.
fn networks(
    args: &Args,
    attachments: Vec<(NetworkRequest<'_>, Attachment)>,
    targets: &TargetPlan,
    rate_pps: f64,
    warnings: &mut Vec<String>,
) -> Result<Vec<NetworkPlan>, PlanError> {
    let asked = attachments.first().and_then(|(request, _)| request.sources.clone());
    let network = |(request, found)| NetworkPlan::new(args, found, &request, targets, rate_pps, warnings);
    let networks: Vec<NetworkPlan> = attachments.into_iter().map(network).collect::<Result<_, _>>()?;
    if networks.len() > 1 {
        check_sources(&networks, &asked.unwrap_or_default())?;
    }
    Ok(networks)
}

/// An interface on which replies are received, in addition to the one that probes leave by.
#[derive(Clone, Debug)]
pub struct ReplyPlan {
    /// Its name.
    pub name: String,
    /// The interface that its frames come through: itself or, if it is a VLAN, the one below it.
    pub device: Interface,
    /// VLAN tags of the replies.
    pub tags: VlanTags,
}

/// The interface of `--reply-interface`.
fn replies(args: &Args, networks: &[NetworkPlan]) -> Result<Option<ReplyPlan>, PlanError> {
    const FLAG: &str = "--reply-interface";
    let Some(name) = args.network.reply_interface.as_deref() else { return Ok(None) };
    if networks.len() > 1 {
        let what = "replies are received on each of several interfaces; name it in --interface, or one interface there";
        return Err(PlanError::usage(FLAG, what));
    }
    if args.engine.io_mode == IoMode::Packet || networks.iter().any(|network| network.no_xdp.is_some()) {
        return Err(PlanError::usage(
            FLAG,
            "AF_PACKET receives on one interface; leave it out, or use another --io-mode",
        ));
    }
    let interface = settled(Interface::by_name(name)?)?;
    let (parent, tags) = below(&interface)?;
    let called = interface.name.clone();
    let device = parent.unwrap_or(interface);
    if networks.iter().filter_map(NetworkPlan::device).any(|own| own.index == device.index) {
        let what = format!("probes leave by {name}, and replies are received there anyway; leave it out");
        return Err(PlanError::usage(FLAG, what));
    }
    if device.is_bond() {
        let what =
            format!("{} is a bond, whose packets do not reach AF_XDP sockets; name its members", device.name);
        return Err(PlanError::usage(FLAG, what));
    }
    if !args.scan.is_dry() {
        usable(&device, args.engine.io_mode)?;
    }
    Ok(Some(ReplyPlan { name: called, device, tags }))
}

/// The gateways' MAC addresses: none given, or one for each interface.
fn gateway_macs(args: &Args, interfaces: usize) -> Result<Vec<Option<MacAddr>>, PlanError> {
    const FLAG: &str = "--gateway-mac";
    let Some(text) = args.network.gateway_mac.as_deref() else { return Ok(vec![None; interfaces]) };
    let macs: Vec<_> = text.split(',').map(|text| mac(Some(text.trim()), FLAG)).collect::<Result<_, _>>()?;
    if macs.len() != interfaces {
        let what = match interfaces {
            1 => "give one; several gateways need as many interfaces".to_owned(),
            _ => format!("give one for each of the {interfaces} interfaces, in their order"),
        };
        return Err(PlanError::usage(FLAG, what));
    }
    Ok(macs)
}

fn shared(attachment: &Attachment, other: &Attachment) -> PlanError {
    let device = attachment.device().map_or("", |device| &device.name);
    let what = format!("its frames go through {device}, as those of {} do; name one of them", other.name());
    PlanError::Interface { interface: attachment.name().to_owned(), what }
}

/// Checks that every source address belongs to one of the interfaces, and that there are not too many.
fn check_sources(networks: &[NetworkPlan], asked: &[Ipv4Addr]) -> Result<(), PlanError> {
    const FLAG: &str = "--source-ip";
    let known = |source: &&Ipv4Addr| networks.iter().any(|network| network.sources.contains(source));
    if let Some(stranger) = asked.iter().find(|source| !known(source)) {
        let what = format!(
            "{stranger} is not an address of any of the interfaces, so it is not known which one sends from it; add it \
             to one"
        );
        return Err(PlanError::usage(FLAG, what));
    }
    let count: usize = networks.iter().map(|network| network.sources.len()).sum();
    if count > SOURCES_MAX {
        return Err(PlanError::usage(
            FLAG,
            format!("the interfaces have {count} together, and {SOURCES_MAX} is the most"),
        ));
    }
    Ok(())
}
