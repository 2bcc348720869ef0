//! What a worker does with a batch of targets: leaves out those that must not or cannot be probed, and hands the probes
//! of the others to the port.

use wire::proof::Numbers;

use super::super::neighborhood::Neighborhood;
use super::super::received::unix_ns;
use super::Worker;
use crate::io::Stream;
use crate::probe::Probe;

impl<P: Probe> Worker<'_, P> {
    /// Probes the targets whose `found` indices are in `indices`. Returns how many have been handled.
    pub(super) fn probe_targets(&mut self, found: usize, is_again: bool, now_ps: u64) -> usize {
        if found == 0 {
            return 0;
        }
        self.shared.space.resolve(&self.indices[..found], &mut self.targets);
        if self.excluded.is_some() {
            self.leave_excluded_out(is_again, now_ps);
        }
        if let Some(neighborhood) = self.assignment.neighborhood {
            self.leave_unreachable_out(neighborhood, is_again, now_ps);
        }
        if self.assignment.probe.tells_time() {
            self.targets.time_ns = unix_ns();
        }
        let copies = self.assignment.probe.check().copies.ordinary();
        self.assignment.probe.emit(&self.targets, copies, &mut self.patches);
        self.address_patches(copies);
        let sent = self.patches.len as u64;
        self.shared.reset_budget.add_probes(sent);
        self.port.transmit(Stream::Probe, &self.patches);
        let probed = if is_again { &mut self.counts.targets_again } else { &mut self.counts.targets };
        *probed += self.targets.len as u64;
        self.counts.tx_submitted += sent;
        self.canaries.owe(sent, self.shared.control.canary_share_ppm());
        found
    }

    /// Leaves out targets for which no host answers ARP. They do not use any of the rate.
    fn leave_unreachable_out(&mut self, neighborhood: &Neighborhood, is_again: bool, now_ps: u64) {
        let unreachable = neighborhood.route(&mut self.targets, &mut self.next_hops) as u64;
        if unreachable > 0 {
            // Counted once: targets that are probed again have been counted before.
            self.counts.targets_unreachable += if is_again { 0 } else { unreachable };
            self.shared.pacer.refund(unreachable * u64::from(self.assignment.probe.check().copies.probes()));
            self.ask_at_ps = now_ps;
        }
    }

    /// Gives each patch the next hop of its target, whose copies are adjacent.
    pub(super) fn address_patches(&mut self, copies: Numbers) {
        let patches = self.patches.next_hops.chunks_mut(copies.count as usize);
        for (patches, next_hop) in patches.zip(&self.next_hops[..self.targets.len]) {
            patches.fill(*next_hop);
        }
    }
}
