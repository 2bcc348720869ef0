//! What happens to repeats when the collector does not keep up.

use crate::engine::RepeatPolicy;
use crate::plan::{DedupPlan, OutputPlan};

/// A worker may drop repeats if the scan distinguishes them from first answers. If repeats would be results, those
/// dropped count as lost.
///
/// A window is shorter than a worker's memory of repeats, so it may forget a success that the worker still knows. With
/// a window, repeats are therefore treated like first answers.
pub(super) fn policy(output: &OutputPlan) -> RepeatPolicy {
    match (output.dedup, output.filter.wants_repeats()) {
        (DedupPlan::None | DedupPlan::Window(_), _) => RepeatPolicy::Alike,
        (DedupPlan::Full | DedupPlan::Targets, false) => RepeatPolicy::LeaveOut,
        (DedupPlan::Full | DedupPlan::Targets, true) => RepeatPolicy::Lose,
    }
}
