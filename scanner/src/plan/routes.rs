//! Which gateway each target is reached through, according to the kernel's routes.
//!
//! The address space is cut into pieces that hold targets and that no route or rule divides. The kernel is queried once
//! per piece. If there are few pieces, each target uses its own route. A wide scan uses the default route for all
//! targets, so that its probes need no look-up; a warning names other routes that it ignores. If a route prohibits
//! sending, nothing is sent.

use std::net::{IpAddr, Ipv4Addr};

use targets::reserved::floor;
use targets::{AddressRange, RangeSet};

use super::{PlanError, TargetPlan};
use crate::nic::{self, Interface, NoWay, Prefixes, Route};

/// Most pieces that the kernel is queried about. Lower: more scans use the default route only. Higher: more queries
/// before the scan, and more networks to look up per probe.
const PIECES_MAX: usize = 256;
/// A scan with more targets than this, a sixteenth of all addresses, is wide. Lower: more scans ignore routes other
/// than the default. Higher: more scans pay a look-up per probe.
const WIDE: u64 = 1 << 28;
/// Most networks that one log line names. Lower: users learn of fewer. Higher: the line gets too long to read.
const NAMED_MAX: usize = 4;

/// Where the probes to a network are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toward {
    /// To this gateway.
    Gateway(IpAddr),
    /// To the targets themselves, which are on the link.
    Neighbors,
    /// Nowhere.
    Nowhere(NoWay),
}

/// The routes of a scan's targets through one interface.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    /// The route of all targets outside `pieces`; `None` if there are no such targets, or they have no gateway.
    pub(super) main: Option<Route>,
    /// Networks that use another route; ascending and disjoint.
    pub(super) pieces: Vec<(AddressRange, Toward)>,
    /// The source address that the kernel prefers.
    pub(super) preferred_source: Option<Ipv4Addr>,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

impl Routes {
    /// The routes of `targets` through `interface`, for packets from `source` if this host has that address.
    ///
    /// # Errors
    /// The kernel could not be queried.
    pub(super) fn of(
        interface: &Interface,
        targets: &TargetPlan,
        source: Option<Ipv4Addr>,
    ) -> Result<Self, PlanError> {
        let ask = |address| nic::route_to(address, interface.index, source);
        let prefixes = nic::prefixes()?;
        let own: Vec<AddressRange> = interface.on_link_prefixes().collect();
        let mut asked = Vec::new();
        let default = ask(anywhere(&prefixes))?.ok().filter(|route| route.gateway.is_some());
        let is_own = |address: u32| own.iter().any(|own| own.contains(address));
        let pieces = pieces(targets, &prefixes, &own);
        for &(range, address) in pieces.iter().flatten() {
            let found = match (ask(address)?, default) {
                // The host routes these to itself. They are probed like all targets that are not on the link.
                (Err(NoWay::Own), Some(default)) if !is_own(range.first()) => Ok(default),
                (found, _) => found,
            };
            asked.push((range, found));
        }
        let is_wide = pieces.is_none() || targets.space.addresses().len() > WIDE;
        let mut routes = asked.iter().filter_map(|(_, found)| found.as_ref().ok());
        let is_used =
            routes.clone().any(|route| Some(route.gateway) == default.map(|default| default.gateway));
        let main = default.filter(|_| is_wide || is_used);
        let main = main.or_else(|| routes.find(|route| route.gateway.is_some()).copied());
        let is_wide = is_wide && main == default;
        let mut all = Self { main, pieces: Vec::new(), preferred_source: None, warnings: Vec::new() };
        let mut aside = Vec::new();
        for (range, found) in &asked {
            let toward = match *found {
                Err(NoWay::NoRoute | NoWay::Own) if is_own(range.first()) => Toward::Neighbors,
                Err(why) => Toward::Nowhere(why),
                Ok(Route { gateway: None, .. }) => Toward::Neighbors,
                Ok(Route { gateway, .. }) if gateway == main.and_then(|main| main.gateway) => continue,
                Ok(Route { gateway: Some(gateway), .. }) if is_wide => {
                    aside.push(format!("{range} via {gateway}"));
                    continue;
                }
                Ok(Route { gateway: Some(gateway), .. }) => Toward::Gateway(gateway),
            };
            all.push(*range, toward);
        }
        // The kernel has not been queried about them.
        if pieces.is_none() {
            let addresses = targets.space.addresses();
            let own: RangeSet = own.iter().copied().collect();
            let holds_some = |own: &&AddressRange| {
                addresses.first_from(own.first()).is_some_and(|first| own.contains(first))
            };
            own.ranges().iter().filter(holds_some).for_each(|own| all.push(*own, Toward::Neighbors));
        }
        let any = asked.iter().find_map(|(_, found)| found.ok());
        all.preferred_source = main.or(any).and_then(|route| route.preferred_source);
        all.warn(interface, &aside, pieces.is_none());
        Ok(all)
    }

    /// Whether no target can be reached, and why the first one cannot.
    pub(super) fn refusal(&self) -> Option<NoWay> {
        let is_reached = |(_, toward): &(_, Toward)| !matches!(toward, Toward::Nowhere(_));
        if self.main.is_some() || self.pieces.iter().any(is_reached) {
            return None;
        }
        self.pieces.iter().find_map(|(_, toward)| match toward {
            Toward::Nowhere(why) => Some(*why),
            _ => None,
        })
    }

    /// The networks that are on the link.
    pub(super) fn on_link(&self) -> Vec<AddressRange> {
        let on_link = self.pieces.iter().filter(|(_, toward)| *toward == Toward::Neighbors);
        on_link.map(|(range, _)| *range).collect()
    }

    fn push(&mut self, range: AddressRange, toward: Toward) {
        if let Some((last, same)) = self.pieces.last_mut()
            && *same == toward
            && last.last().checked_add(1) == Some(range.first())
            && let Some(both) = AddressRange::new(last.first(), range.last())
        {
            *last = both;
            return;
        }
        self.pieces.push((range, toward));
    }

    fn warn(&mut self, interface: &Interface, aside: &[String], too_many: bool) {
        let name = &interface.name;
        let gateway = self.main.and_then(|main| main.gateway);
        let by_default = gateway.map_or_else(String::new, |gateway| format!(", via {gateway}"));
        if too_many {
            self.warnings.push(format!(
                "{name}: its routes cut the targets into more than {PIECES_MAX} pieces, so all of them use the default \
                 route{by_default}; scan networks with another route separately"
            ));
        }
        if !aside.is_empty() {
            self.warnings.push(format!(
                "{name}: a scan this wide uses the default route{by_default}, even for networks with another route: {}; \
                 scan these separately, or leave them out with --blocklist-file",
                named(aside)
            ));
        }
        for why in [NoWay::NoRoute, NoWay::Blackhole, NoWay::Unreachable, NoWay::Prohibited, NoWay::Own] {
            let nowhere = self.pieces.iter().filter(|(_, toward)| *toward == Toward::Nowhere(why));
            let nowhere: Vec<String> = nowhere.map(|(range, _)| range.to_string()).collect();
            if !nowhere.is_empty() {
                let (which, why) = (named(&nowhere), why.describe());
                self.warnings.push(format!("{name}: targets in {which} are left out: {why}"));
            }
        }
        if let Some(main) = self.main.filter(|main| main.gateways > 1) {
            let gateways = main.gateways;
            self.warnings.push(format!(
                "{name}: its route has {gateways} gateways; all probes go to {}, unless --gateway-mac names another",
                gateway.map_or_else(String::new, |gateway| gateway.to_string())
            ));
        }
    }
}

/// The first few of them.
pub(super) fn named(all: &[String]) -> String {
    let some = all[..all.len().min(NAMED_MAX)].join(", ");
    match all.len().saturating_sub(NAMED_MAX) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}

/// The pieces of the address space that hold targets and in which all targets have the same route, each with one
/// target, or with any address if the host has all of them; `None` if there are too many.
fn pieces(
    targets: &TargetPlan,
    prefixes: &Prefixes,
    own: &[AddressRange],
) -> Option<Vec<(AddressRange, Ipv4Addr)>> {
    let addresses = targets.space.addresses();
    let mut starts: Vec<u32> = prefixes
        .networks
        .iter()
        .chain(own)
        .flat_map(|network| [Some(network.first()), network.last().checked_add(1)])
        .chain([Some(0)])
        .flatten()
        .collect();
    starts.sort_unstable();
    starts.dedup();
    let mut pieces = Vec::new();
    let mut next = addresses.first_from(0);
    while let Some(first) = next {
        let after = starts.partition_point(|start| *start <= first);
        let last = starts.get(after).map_or(u32::MAX, |start| start - 1);
        if pieces.len() == PIECES_MAX {
            return None;
        }
        let mut asked = first;
        while let Some(mine) = prefixes.own.ranges().iter().find(|mine| mine.contains(asked)) {
            let beyond = mine.last().checked_add(1).and_then(|beyond| addresses.first_from(beyond));
            match beyond.filter(|beyond| *beyond <= last) {
                Some(beyond) => asked = beyond,
                None => break,
            }
        }
        pieces.push((AddressRange::new(starts[after - 1], last)?, asked.into()));
        next = last.checked_add(1).and_then(|beyond| addresses.first_from(beyond));
    }
    Some(pieces)
}

/// An address that only the default route matches.
fn anywhere(prefixes: &Prefixes) -> Ipv4Addr {
    let routed = prefixes.networks.iter().filter(|network| network.len() <= u32::MAX.into());
    let routed: RangeSet = routed.copied().collect();
    let free = RangeSet::all().subtract(&routed).subtract(&prefixes.own).subtract(&floor(false));
    free.ranges().first().map_or(Ipv4Addr::new(8, 8, 8, 8), |range| range.first().into())
}
