//! The hit rate: which share of all targets would answer a probe that is not lost.
//!
//! Two errors add up. The sampling error is there while not all targets are probed: those that were are a random
//! sample, drawn without replacement, so its variance is the binomial one times the share that was not probed (W. G.
//! Cochran, "Sampling Techniques", 3rd edition, 1977, section 2.6), times the dispersion between stretches of the
//! order. The other error is that of the missed hosts, if they were measured. If not, the hit rate is that of targets
//! that answer in spite of all loss, which the name of its source says.

use serde::{Deserialize, Serialize};

use super::wilson::wilson;
use super::{Dispersion, Interval, Missed, around};

/// What was probed, and what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probed {
    /// Targets that were probed.
    pub targets: u64,
    /// Those of them that answered, each once.
    pub found: u64,
    /// Which share of all targets of the scan, in all of its shards, they are: 0 to 1.
    pub covered: f64,
}

/// The hit rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HitRate {
    /// The share.
    pub rate: f64,
    /// Its interval.
    pub interval: Interval,
}

impl HitRate {
    /// The estimate. `missed` are hosts among the targets that were probed. `None` if no target was.
    pub fn estimate(probed: &Probed, dispersion: &Dispersion, missed: Option<&Missed>) -> Option<Self> {
        let targets = probed.targets as f64;
        if probed.targets == 0 {
            return None;
        }
        let found = probed.found.min(probed.targets) as f64;
        let covered = probed.covered.clamp(0.0, 1.0);
        // As many targets, drawn from endlessly many, would tell as much; all that there are tell all.
        let worth = targets / (dispersion.factor() * (1.0 - covered));
        let missed_hosts = missed.map_or(0.0, |missed| missed.hosts.min(targets - found));
        // Rounding must not make it more than all.
        let rate = ((found + missed_hosts) / targets).min(1.0);
        let sampled = wilson(rate, worth, dispersion.quantile());
        let [fewer, more] = missed.map_or([0.0; 2], |missed| {
            let interval = missed.hosts_interval;
            [(missed_hosts - interval.lower) / targets, (interval.upper - missed_hosts) / targets]
        });
        let interval =
            around(rate, [rate - sampled.lower, fewer.max(0.0)], [sampled.upper - rate, more.max(0.0)]);
        // What was found is there, and of all other targets each may be.
        let known = covered * found / targets;
        Some(Self {
            rate,
            interval: Interval {
                lower: interval.lower.max(known).min(rate),
                upper: interval.upper.min(1.0).max(rate),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Twice;
    use proptest::prelude::*;

    fn estimate(targets: u64, found: u64, covered: f64) -> HitRate {
        let probed = Probed { targets, found, covered };
        HitRate::estimate(&probed, &Dispersion::INDEPENDENT, None).unwrap()
    }

    #[test]
    fn a_small_sample_is_wilsons() {
        let hit_rate = estimate(1_000_000, 13_000, 0.0);
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-6;
        assert!(near(hit_rate.rate, 0.013), "{hit_rate:?}");
        assert!(
            near(hit_rate.interval.lower, 0.012_780) && near(hit_rate.interval.upper, 0.013_224),
            "{hit_rate:?}"
        );
    }

    #[test]
    fn all_targets_leave_no_sampling_error() {
        let width = |covered| {
            let interval = estimate(1_000_000, 13_000, covered).interval;
            interval.upper - interval.lower
        };
        assert_eq!(width(1.0), 0.0);
        assert!((width(0.75) / width(0.0) - 0.5).abs() < 0.01, "the root of what is left");
    }

    /// 5 % of the hosts were lost, which second probes have shown.
    #[test]
    fn loss_is_made_up_for() {
        let twice = Twice { both: 9_500, first_only: 500, second_only: 500 };
        let missed = Missed::estimate(twice, 89_500, &Dispersion::INDEPENDENT).unwrap();
        let probed = Probed { targets: 1_000_000, found: 100_000, covered: 1.0 };
        let hit_rate = HitRate::estimate(&probed, &Dispersion::INDEPENDENT, Some(&missed)).unwrap();
        assert!((hit_rate.rate - 0.104_736).abs() < 1e-4, "{hit_rate:?}");
        assert!(hit_rate.interval.lower > 0.1 && hit_rate.interval.contains(0.1047), "{hit_rate:?}");
    }

    proptest! {
        #[test]
        fn an_interval_contains_its_estimate(
            (targets, part, covered) in (1u64..1_000_000_000, 0.0f64..=1.0, 0.0f64..=1.0),
            (measured, groups) in (0.1f64..100.0, 8u64..128),
            (both, second, once) in (1u64..1_000, 0u64..1_000, 0u64..100_000),
        ) {
            let probed = Probed { targets, found: (part * targets as f64) as u64, covered };
            let dispersion = Dispersion { measured, groups };
            let twice = Twice { both, first_only: second, second_only: second };
            let missed = Missed::estimate(twice, once, &dispersion);
            for missed in [None, missed.as_ref()] {
                let hit_rate = HitRate::estimate(&probed, &dispersion, missed).unwrap();
                prop_assert!(hit_rate.interval.contains(hit_rate.rate), "{:?}", hit_rate);
                prop_assert!(hit_rate.interval.lower >= 0.0 && hit_rate.interval.upper <= 1.0, "{:?}", hit_rate);
            }
        }
    }
}
