//! What is to become of repeats when the collector does not keep up.

use crate::engine::RepeatPolicy;
use crate::plan::{DedupPlan, OutputPlan};

/// Repeats give way where the scan tells them from first answers at all. They are a loss where they would be results.
///
/// A window is shorter than what a worker remembers, so it may forget what the worker does not: its repeats are left alone.
pub(super) fn policy(output: &OutputPlan) -> RepeatPolicy {
    match (output.dedup, output.filter.wants_repeats()) {
        (DedupPlan::None | DedupPlan::Window(_), _) => RepeatPolicy::Alike,
        (DedupPlan::Full | DedupPlan::Targets, false) => RepeatPolicy::LeaveOut,
        (DedupPlan::Full | DedupPlan::Targets, true) => RepeatPolicy::Lose,
    }
}
