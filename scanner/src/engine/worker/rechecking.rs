//! What a worker does for second probes: it walks what is released for them, in turn with the walk through all targets,
//! and skips targets that are not in the sample.

use targets::Lease;

use super::probing::Visit;
use super::{Sending, Worker};
use crate::probe::Probe;

impl<P: Probe> Worker<'_, P> {
    /// Which targets are next in a scan of two walks. Targets in doubt come first, and then the walks take turns, so
    /// that second probes neither displace the first ones nor wait for their end.
    pub(super) fn next_of_two(&mut self, now_ps: u64) -> Option<Visit> {
        if self.walk.has_doubts() {
            return Some(Visit { is_second: false, is_again: true });
        }
        if self.has_doubts() {
            return Some(Visit { is_second: true, is_again: true });
        }
        // Looked up first: while a worker leases, nobody finds where it is.
        let has_first = self.walk.has_lease() || !self.shared.leases.is_over() && self.has_lease(now_ps);
        let second = self.second_lease();
        match (has_first, second) {
            // The last is released once the first walk is over.
            (false, Lease::Done) => {
                self.sending = Sending::Draining(now_ps);
                None
            }
            (false, Lease::Wait) => None,
            (true, Lease::Wait | Lease::Done) => Some(Visit { is_second: false, is_again: false }),
            (has_first, Lease::Grant(_)) => {
                self.is_seconds_turn = !has_first || !self.is_seconds_turn;
                Some(Visit { is_second: self.is_seconds_turn, is_again: false })
            }
        }
    }

    /// The lease of the second walk, after taking the next one if needed.
    fn second_lease(&mut self) -> Lease {
        let (Some(walk), Some(second)) = (&mut self.second_walk, self.shared.second) else {
            return Lease::Done;
        };
        if walk.has_lease() {
            return Lease::Grant(walk.left());
        }
        // As with the first walk.
        if second.leases.waits_for_release() {
            return Lease::Wait;
        }
        if second.leases.is_over() {
            return Lease::Done;
        }
        self.teller.begin();
        walk.take_lease(&second.leases, self.shared.permutation)
    }

    /// Fills `indices` with up to `count` targets of the second walk, whether they are in the sample or not.
    pub(super) fn second_indices(&mut self, is_again: bool, count: usize, now_ps: u64) -> usize {
        let (Some(walk), Some(second)) = (&mut self.second_walk, self.shared.second) else { return 0 };
        let indices = &mut self.indices[..count];
        match is_again {
            true => walk.fill_again(self.shared.permutation, indices, now_ps),
            false => walk.fill(&second.leases, indices, now_ps),
        }
    }

    /// Leaves out the targets that are not in the sample.
    pub(super) fn leave_unsampled_out(&mut self, visit: Visit, now_ps: u64) {
        let Some(second) = self.shared.second else { return };
        let left_out = self.targets.retain(|address, port| second.sample.holds(address, port));
        self.counts.second_generated += if visit.is_again { 0 } else { self.targets.len as u64 };
        self.give_back(left_out, visit, now_ps);
    }
}
