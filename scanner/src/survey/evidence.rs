//! What a scan's counters say for its estimates.
//!
//! They are of the last run alone, but in a scan with second probes of all runs: the second probe of a target may be
//! sent in a later run than its first.

use crate::engine::Counts;
use crate::estimate::{Dispersion, Estimates, Evidence, Probed, Second};
use crate::plan::{DedupPlan, Plan};
use crate::results::counts::Counts as Collected;
use crate::results::twice::AnsweredTwice;

/// Targets whose probes have left. Those that the kernel lost are not among them, unless they were probed again.
pub(super) fn probed(plan: &Plan, counts: &Counts) -> u64 {
    let seconds = counts.second_probed + counts.second_again;
    // Nobody knows which probes were lost: as many of the first ones as are among all.
    let lost = match counts.tx_submitted {
        0 => 0,
        all => {
            let firsts = u128::from(all.saturating_sub(seconds));
            (u128::from(counts.port.probes_lost) * firsts).div_ceil(u128::from(all)) as u64
        }
    };
    let lost = lost.div_ceil(u64::from(plan.probe.copies.probes().max(1)));
    counts.targets.saturating_sub(lost.saturating_sub(counts.targets_again))
}

/// The estimates from the counters of this run. `None` before the first probe, in a dry run, and if hosts are counted
/// once for each of their answers.
pub(super) fn estimates(
    plan: &Plan,
    counts: &Counts,
    results: &Collected,
    stretches: Dispersion,
    twice: Option<&AnsweredTwice>,
) -> Option<Estimates> {
    if plan.dryrun || plan.output.dedup == DedupPlan::None {
        return None;
    }
    let known = twice.and_then(AnsweredTwice::read);
    let [targets_before, found_before] = match &known {
        Some((_, found_before)) => [plan.targets.expected_before(), *found_before],
        None => [0; 2],
    };
    let found = found_before + results.success_unique;
    // What was probed in two runs counts once.
    let most = plan.targets.expected_before() + plan.targets.expected();
    let of_all = |count: u64| (targets_before + count).min(most.max(count));
    let covered = of_all(counts.targets_done()) as f64 / plan.targets.space.len().max(1) as f64;
    let second = known.map(|(networks, _)| {
        let hosts = networks.total();
        Second { hosts, once: found.saturating_sub(hosts.found()), networks: networks.dispersion() }
    });
    let probed = Probed { targets: of_all(probed(plan, counts)), found, covered };
    Estimates::of(Evidence { probed, stretches, second })
}
