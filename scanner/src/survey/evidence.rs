//! What a scan's counters say for its estimates.

use crate::engine::Counts;
use crate::estimate::{Dispersion, Estimates, Evidence, Probed};
use crate::plan::{DedupPlan, Plan};
use crate::results::counts::Counts as Collected;

/// Targets whose probes have left. Those that the kernel lost are not among them, unless they were probed again.
pub(super) fn probed(plan: &Plan, counts: &Counts) -> u64 {
    let lost = counts.port.probes_lost.div_ceil(u64::from(plan.probe.copies.probes().max(1)));
    counts.targets.saturating_sub(lost.saturating_sub(counts.targets_again))
}

/// The estimates from the counters of this run. `None` before the first probe, in a dry run, and if hosts are counted
/// once for each of their answers.
pub(super) fn estimates(
    plan: &Plan,
    counts: &Counts,
    results: &Collected,
    stretches: Dispersion,
) -> Option<Estimates> {
    if plan.dryrun || plan.output.dedup == DedupPlan::None {
        return None;
    }
    let covered = counts.targets_done() as f64 / plan.targets.space.len().max(1) as f64;
    let probed = Probed { targets: probed(plan, counts), found: results.success_unique, covered };
    Estimates::of(Evidence { probed, stretches, ..Evidence::default() })
}
