//! Which targets are on the interface's own network, and who of them is asked for by ARP.

use std::net::Ipv4Addr;

use super::{PlanError, TargetPlan};
use crate::nic::Interface;
use crate::targets::{AddressRange, BATCH_MAX, Cursor, RangeSet, TargetBatch};

/// Most targets on the own network: those of a /12. Each is asked for, and every host there hears it.
const TARGETS_MAX: u64 = 1 << 20;
/// Longest part of an order that is walked to see which targets this scan needs.
const WALK_MAX: u64 = 1 << 24;

/// The targets of a scan on the interface's own network.
#[derive(Clone, Debug, PartialEq)]
pub struct OnLinkPlan {
    /// The interface's networks, and those that routes without a gateway lead to.
    pub networks: Vec<AddressRange>,
    /// These networks, each with our address there: who asks.
    pub askers: Vec<(AddressRange, Ipv4Addr)>,
    /// The targets there that are asked for.
    pub targets: RangeSet,
    /// Targets there that are nobody's: the interface's own addresses, network and broadcast addresses.
    pub nobody: u64,
    /// ARP requests a second.
    pub rate_pps: f64,
}

impl OnLinkPlan {
    /// The targets on the own network of `interface`, if there are any. Routes say that `on_link` is there; from what is not
    /// in one of its own networks, `source` asks.
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
                "{} targets are on this interface's own network, where each is asked for by ARP, and {TARGETS_MAX} can \
                 be; name fewer, leave some out with --blocklist-file, or name the next hop of all probes with \
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

/// Those of `allowed` that this scan will come to: a shard, or the first so many targets, need not ask for all.
fn needed(targets: &TargetPlan, allowed: &RangeSet, networks: &[AddressRange]) -> RangeSet {
    let most = targets.max_targets.unwrap_or(u64::MAX);
    let is_part = targets.arc.len() < targets.permutation.order() || most < targets.arc.len();
    let mut left = most.min(targets.arc.len());
    if allowed.is_empty() || !is_part || left > WALK_MAX {
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
