//! What a worker does when more targets are excluded while the scan runs: it takes the new set, hands nothing over
//! until everything before it has left, and reports that.
//!
//! A frame that the kernel refused is handed over again and may leave after later ones. So the number of frames that
//! have left says nothing about one of them: only a port without any frame does.

use std::sync::Arc;

use targets::RangeSet;

use super::super::counters::Counts;
use super::Worker;
use super::probing::Visit;
use crate::probe::Probe;

/// Whether no reset may go to `responder` now. If so, it is counted.
#[inline]
pub(super) fn withholds_reset(
    excluded: Option<&RangeSet>,
    drains: bool,
    responder: u32,
    counts: &mut Counts,
) -> bool {
    let is_excluded = excluded.is_some_and(|excluded| excluded.contains(responder));
    counts.rst_excluded_late += u64::from(is_excluded);
    // A flood of replies would keep the port from ever being empty.
    counts.rst_no_room += u64::from(drains && !is_excluded);
    is_excluded || drains
}

impl<P: Probe> Worker<'_, P> {
    /// Takes the present set, if it has grown.
    #[cold]
    pub(super) fn follow_exclusions(&mut self) {
        let generation = self.shared.exclusions.generation();
        if generation != self.exclusions_seen {
            self.exclusions_seen = generation;
            self.excluded = Some(self.shared.exclusions.excluded());
            self.drains = true;
        }
    }

    /// Reports that what had been handed over before has left, once it has.
    #[cold]
    pub(super) fn drain(&mut self) {
        if self.port.outstanding() == 0 {
            self.drains = false;
            self.shared.exclusions.has_left(self.number, self.exclusions_seen);
        }
    }

    /// Leaves out targets that the block list has gained.
    pub(super) fn leave_excluded_out(&mut self, visit: Visit, now_ps: u64) {
        let Some(excluded) = self.excluded.as_ref().map(Arc::as_ref) else { return };
        let left_out = self.targets.retain(|address, _| !excluded.contains(address));
        let counted = match visit.is_second {
            false => &mut self.counts.targets_excluded_late,
            true => &mut self.counts.second_excluded_late,
        };
        *counted += if visit.is_again { 0 } else { left_out as u64 };
        self.give_back(left_out, visit, now_ps);
    }
}
