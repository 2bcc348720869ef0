//! The facts that the metadata is made from.

use crate::engine::Counts;
use crate::plan::Plan;
use crate::results::counts::Counts as ResultCounts;
use crate::survey::finished::Finished;
use crate::survey::nics::Verdicts;

/// A scan's plan and end, and values that several keys need.
pub(super) struct Facts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) finished: &'a Finished<'a>,
    /// The counters of all workers, added up.
    pub(super) total: Counts,
    pub(super) results: ResultCounts,
    /// The verdicts of all XDP programs, added up.
    pub(super) verdicts: Verdicts,
}

impl<'a> Facts<'a> {
    pub(super) fn of(finished: &'a Finished<'a>) -> Self {
        Self {
            plan: finished.plan,
            finished,
            total: finished.end.total(),
            results: finished.outputs.collected.counts,
            verdicts: finished.nics.verdicts(),
        }
    }

    /// How many packets have this verdict of the XDP programs.
    pub(super) fn verdict(&self, name: &str) -> u64 {
        self.verdicts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}
