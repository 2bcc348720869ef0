//! What a worker does with a batch of targets: leaves out those that must not or cannot be probed, and hands the probes
//! of the others to the port.

use wire::packet::{MacAddr, PatchBatch};
use wire::proof::{Copies, Numbers};

use super::super::neighborhood::Neighborhood;
use super::super::received::unix_ns;
use super::Worker;
use crate::io::Stream;
use crate::probe::Probe;

/// Why targets are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// For their second probes.
    pub(super) is_second: bool,
    /// Once more: such targets have been counted before.
    pub(super) is_again: bool,
}

impl Visit {
    /// The numbers of the probes that each target gets.
    #[inline]
    pub(super) fn numbers(self, copies: Copies) -> Numbers {
        if self.is_second { copies.second() } else { copies.ordinary() }
    }
}

impl<P: Probe> Worker<'_, P> {
    /// Probes the targets whose `found` indices are in `indices`. Returns how many have been handled.
    pub(super) fn probe_targets(&mut self, found: usize, visit: Visit, now_ps: u64) -> usize {
        if found == 0 && !self.canaries.are_due() {
            return 0;
        }
        self.shared.space.resolve(&self.indices[..found], &mut self.targets);
        if visit.is_second {
            self.leave_unsampled_out(visit, now_ps);
        }
        if self.excluded.is_some() {
            self.leave_excluded_out(visit, now_ps);
        }
        if let Some(neighborhood) = self.assignment.neighborhood {
            self.leave_unreachable_out(neighborhood, visit, now_ps);
        }
        if self.assignment.probe.tells_time() {
            self.targets.time_ns = unix_ns();
        }
        let copies = visit.numbers(self.assignment.probe.check().copies);
        self.assignment.probe.emit(&self.targets, copies, &mut self.patches);
        address(&mut self.patches, &self.next_hops[..self.targets.len], copies);
        if self.canaries.are_due() {
            self.insert_canaries(now_ps);
        }
        let sent = self.patches.len as u64;
        self.shared.reset_budget.add_probes(sent);
        self.port.transmit(Stream::Probe, &self.patches);
        let counts = &mut self.counts;
        *match visit {
            Visit { is_second: false, is_again: false } => &mut counts.targets,
            Visit { is_second: false, is_again: true } => &mut counts.targets_again,
            Visit { is_second: true, is_again: false } => &mut counts.second_probed,
            Visit { is_second: true, is_again: true } => &mut counts.second_again,
        } += self.targets.len as u64;
        self.counts.tx_submitted += sent;
        found
    }

    /// Leaves out targets for which no host answers ARP.
    fn leave_unreachable_out(&mut self, neighborhood: &Neighborhood, visit: Visit, now_ps: u64) {
        let unreachable = neighborhood.route(&mut self.targets, &mut self.next_hops);
        let counted = match visit.is_second {
            false => &mut self.counts.targets_unreachable,
            true => &mut self.counts.second_unreachable,
        };
        *counted += if visit.is_again { 0 } else { unreachable as u64 };
        self.give_back(unreachable, visit, now_ps);
    }

    /// Targets of a visit that are left out: they use none of the rate, and others may have their turn at once.
    #[inline]
    pub(super) fn give_back(&mut self, left_out: usize, visit: Visit, now_ps: u64) {
        if left_out > 0 {
            let cost = visit.numbers(self.assignment.probe.check().copies).count;
            let probes = left_out as u64 * u64::from(cost);
            self.shared.pacer.refund(probes);
            self.canaries.forgive(probes, self.canary_share_ppm);
            self.ask_at_ps = now_ps;
        }
    }
}

/// Gives each patch the next hop of its target, whose copies are adjacent.
#[inline]
pub(super) fn address(patches: &mut PatchBatch, next_hops: &[MacAddr], copies: Numbers) {
    let patches = patches.next_hops.chunks_mut(copies.count as usize);
    for (patches, next_hop) in patches.zip(next_hops) {
        patches.fill(*next_hop);
    }
}
