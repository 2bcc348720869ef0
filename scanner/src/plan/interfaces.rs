//! One interface or several: what of the command line is whose.

use std::net::Ipv4Addr;

use super::network::{below, mac, settled, usable};
use super::{NetworkPlan, PlanError, TargetPlan, parse};
use crate::cli::{Args, IoMode};
use crate::io::bpf::abi::SOURCES_MAX;
use crate::nic::Interface;
use crate::packet::{MacAddr, VlanTags};

/// What is asked of one interface.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    /// Its name; `None` for that of the default route.
    pub(super) interface: Option<&'a str>,
    /// Source addresses of the scan.
    pub(super) sources: Option<Vec<Ipv4Addr>>,
    /// Whether only those are used that are the interface's own.
    pub(super) own_sources: bool,
    pub(super) source_mac: Option<MacAddr>,
    pub(super) gateway_mac: Option<MacAddr>,
}

/// The network side of each interface of the scan, in the order in which they are named.
pub(super) fn networks(
    args: &Args,
    targets: &TargetPlan,
    rate_pps: f64,
    warnings: &mut Vec<String>,
) -> Result<Vec<NetworkPlan>, PlanError> {
    let names: Vec<Option<&str>> = match &args.network.interface {
        None => vec![None],
        Some(names) => names.split(',').map(|name| Some(name.trim())).collect(),
    };
    let several = names.len() > 1;
    if several && args.network.source_mac.is_some() {
        return Err(PlanError::usage("--source-mac", "each of several interfaces has its own; leave it out"));
    }
    let gateways = gateway_macs(args, names.len())?;
    let sources = args.network.source_ip.as_deref().map(parse::source_addresses).transpose()?;
    let mut networks: Vec<NetworkPlan> = Vec::with_capacity(names.len());
    for (interface, gateway_mac) in names.into_iter().zip(gateways) {
        let asked = Asked {
            interface,
            sources: sources.clone(),
            own_sources: several,
            source_mac: mac(args.network.source_mac.as_deref(), "--source-mac")?,
            gateway_mac,
        };
        let network = NetworkPlan::new(args, &asked, targets, rate_pps, warnings)?;
        let device = |network: &NetworkPlan| network.device().map(|device| device.index);
        if let Some(other) = networks.iter().find(|other| device(other) == device(&network)) {
            return Err(shared(&network, other));
        }
        networks.push(network);
    }
    if several {
        check_sources(&networks, sources.as_deref().unwrap_or_default())?;
    }
    Ok(networks)
}

/// An interface on which replies are taken, beside that which probes leave by.
#[derive(Clone, Debug)]
pub struct ReplyPlan {
    /// Its name.
    pub name: String,
    /// The interface that frames come through: the one below it, where it is a VLAN.
    pub device: Interface,
    /// VLAN tags of the replies.
    pub tags: VlanTags,
}

/// What `--reply-interface` asks for.
pub(super) fn replies(args: &Args, networks: &[NetworkPlan]) -> Result<Option<ReplyPlan>, PlanError> {
    const FLAG: &str = "--reply-interface";
    let Some(name) = args.network.reply_interface.as_deref() else { return Ok(None) };
    if networks.len() > 1 {
        let what =
            "replies are taken on each of several interfaces; name it in --interface, or one interface there";
        return Err(PlanError::usage(FLAG, what));
    }
    if args.engine.io_mode == IoMode::Packet || networks.iter().any(|network| network.no_xdp.is_some()) {
        return Err(PlanError::usage(
            FLAG,
            "AF_PACKET hears one interface; leave it out, or use another --io-mode",
        ));
    }
    let interface = settled(Interface::by_name(name)?)?;
    let (parent, tags) = below(&interface)?;
    let called = interface.name.clone();
    let device = parent.unwrap_or(interface);
    if networks.iter().filter_map(NetworkPlan::device).any(|own| own.index == device.index) {
        let what = format!("probes leave by {name}, and replies are taken there anyway; leave it out");
        return Err(PlanError::usage(FLAG, what));
    }
    if device.is_bond() {
        let what =
            format!("{} is a bond, whose packets no AF_XDP socket gets; name its members", device.name);
        return Err(PlanError::usage(FLAG, what));
    }
    if !args.scan.is_dry() {
        usable(&device, args.engine.io_mode)?;
    }
    Ok(Some(ReplyPlan { name: called, device, tags }))
}

/// The gateways' MAC addresses: none, or one for each interface.
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

fn shared(network: &NetworkPlan, other: &NetworkPlan) -> PlanError {
    let name =
        |network: &NetworkPlan| network.interface.as_ref().map_or("", |own| own.name.as_str()).to_owned();
    let device = network.device().map_or("", |device| device.name.as_str());
    let what = format!("its frames go through {device}, as those of {} do; name one of them", name(other));
    PlanError::Interface { interface: name(network), what }
}

/// Every source address belongs to one of the interfaces, and there are not too many.
fn check_sources(networks: &[NetworkPlan], asked: &[Ipv4Addr]) -> Result<(), PlanError> {
    const FLAG: &str = "--source-ip";
    let known = |source: &&Ipv4Addr| networks.iter().any(|network| network.sources.contains(source));
    if let Some(stranger) = asked.iter().find(|source| !known(source)) {
        let what = format!(
            "{stranger} is an address of none of the interfaces, so nobody knows where it belongs; give it to one"
        );
        return Err(PlanError::usage(FLAG, what));
    }
    let count: usize = networks.iter().map(|network| network.sources.len()).sum();
    if count > SOURCES_MAX {
        return Err(PlanError::usage(
            FLAG,
            format!("the interfaces have {count} together, and {SOURCES_MAX} can be"),
        ));
    }
    Ok(())
}
