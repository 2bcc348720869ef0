//! Which targets are on the interface's own network, and for which of them ARP is sent.

use std::net::Ipv4Addr;

use targets::{AddressRange, Cursor, RangeSet, TargetBatch};
use wire::packet::BATCH_MAX;

use super::{PlanError, TargetPlan};
use crate::nic::Interface;

/// Most targets on the interface's own network: those of a /12. Each is looked up by a broadcast ARP request that every
/// host there receives. Lower: refuses large networks that could be scanned. Higher: more broadcasts, and more memory
/// for addresses.
const TARGETS_MAX: u64 = 1 << 20;
/// Longest part of an order that is walked to see which targets this scan needs. Lower: more scans look up addresses
/// that they do not probe. Higher: planning takes longer.
const WALK_MAX: u64 = 1 << 24;

/// The targets of a scan on the interface's own network.
#[derive(Clone, Debug, PartialEq)]
pub struct OnLinkPlan {
    /// The interface's networks, and those that routes without a gateway lead to.
    pub networks: Vec<AddressRange>,
    /// These networks, each with our address there, from which ARP requests are sent.
    pub askers: Vec<(AddressRange, Ipv4Addr)>,
    /// The targets there that are looked up.
    pub targets: RangeSet,
    /// How many targets there cannot be a host: the interface's own addresses, network and broadcast addresses.
    pub nobody: u64,
    /// ARP requests per second.
    pub rate_pps: f64,
}

impl OnLinkPlan {
    /// The targets on the own network of `interface`, if there are any. `on_link` is on the link according to the
    /// routes. For addresses outside the interface's own networks, ARP requests come from `source`.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn new(
        interface: &Interface,
        targets: &TargetPlan,
        on_link: &[AddressRange],
        source: Ipv4Addr,
        rate_pps: f64,
    ) -> Result<Option<Self>, PlanError> {
        let there = needed(targets, &allowed_in(targets, on_link), on_link);
        if there.is_empty() {
            return Ok(None);
        }
        if there.len() > TARGETS_MAX {
            let what = format!(
                "{} targets are on this interface's own network, where each is looked up by ARP, and {TARGETS_MAX} is \
                 the most; name fewer, leave some out with --blocklist-file, or name the next hop of all probes with \
                 --gateway-mac",
                there.len()
            );
            return Err(PlanError::Interface { interface: interface.name.clone(), what });
        }
        let own: Vec<AddressRange> = interface.on_link_prefixes().collect();
        let nobody: RangeSet = own
            .iter()
            .filter(|network| network.len() > 2) // RFC 3021
            .flat_map(|network| [network.first(), network.last()])
            .chain(interface.addresses.iter().map(|own| own.address.to_bits()))
            .filter_map(|address| AddressRange::new(address, address))
            .collect();
        let targets = there.subtract(&nobody);
        let is_other = |network: &&AddressRange| !own.iter().any(|own| own.contains(network.first()));
        let others: Vec<AddressRange> = on_link.iter().filter(is_other).copied().collect();
        let askers = own.iter().copied().zip(interface.addresses.iter().map(|own| own.address));
        let networks = own.iter().chain(&others).copied().collect();
        Ok(Some(Self {
            askers: askers.chain(others.into_iter().map(|other| (other, source))).collect(),
            nobody: there.len() - targets.len(),
            networks,
            targets,
            rate_pps,
        }))
    }
}

/// The allowed addresses in `networks`.
fn allowed_in(targets: &TargetPlan, networks: &[AddressRange]) -> RangeSet {
    let addresses = targets.space.addresses();
    let holds_some = |network: &&AddressRange| {
        addresses.first_from(network.first()).is_some_and(|address| network.contains(address))
    };
    let inside = |network: &AddressRange| {
        let network = *network;
        let ranges = addresses.ranges().skip_while(move |range| range.last() < network.first());
        let ranges = ranges.take_while(move |range| range.first() <= network.last());
        ranges.filter_map(move |range| range.intersection(network))
    };
    networks.iter().filter(holds_some).flat_map(inside).collect()
}

/// The part of `allowed` that this scan will reach: a shard, or a scan of the first N targets, need not look up all.
fn needed(targets: &TargetPlan, allowed: &RangeSet, networks: &[AddressRange]) -> RangeSet {
    let most = targets.max_targets.unwrap_or(u64::MAX);
    let is_part = targets.arc.len() < targets.permutation.order() || most < targets.arc.len();
    let mut left = most.min(targets.arc.len());
    // What is left of a scan that goes on may be anywhere.
    let goes_on = targets.open != [targets.arc];
    if allowed.is_empty() || !is_part || left > WALK_MAX || goes_on {
        return allowed.clone();
    }
    let mut cursor = Cursor::new(&targets.permutation, targets.arc);
    let (mut indices, mut batch) = ([0; BATCH_MAX], TargetBatch::default());
    let mut found = Vec::new();
    while left > 0 {
        let wanted = left.min(BATCH_MAX as u64) as usize;
        let count = cursor.fill(&mut indices[..wanted]);
        if count == 0 {
            break;
        }
        left -= count as u64;
        targets.space.resolve(&indices[..count], &mut batch);
        let here = batch.addresses[..count].iter();
        let here = here.filter(|&&address| networks.iter().any(|network| network.contains(address)));
        found.extend(here.filter_map(|&address| AddressRange::new(address, address)));
    }
    found.into_iter().collect()
}
