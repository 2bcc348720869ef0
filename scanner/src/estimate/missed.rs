//! Hosts that no probe found, from hosts that were probed twice (capture and recapture).
//!
//! Of the hosts that the second probe found, the share that the first had found estimates what share of all hosts the
//! first finds, if the two find independently. For each host that one probe found there are then `odds` that it
//! missed, where the odds are those of the second probe's finds. With all targets probed twice this is Lincoln's and
//! Petersen's estimate, and the variance is D. G. Chapman's ("Some properties of the hypergeometric distribution with
//! applications to zoological sample censuses", 1951) to the first order. As the truth is a whole number, the interval
//! reaches half a host further on each side: the correction for continuity (W. G. Cochran, "Sampling Techniques", 3rd
//! edition, 1977, section 3.6). Without it an interval for a mean of 0.1 hosts would end below 1, and miss the truth
//! in one scan of ten. Probes do not find independently: what hides a host from one hides it from the other, so the
//! truth is more likely above the estimate than below: it is "at least" that.

use serde::{Deserialize, Serialize};

use super::wilson::wilson;
use super::{Dispersion, Interval, around};

/// How much further an interval of a whole number reaches than one of a normal distribution.
const CONTINUITY: f64 = 0.5;

/// Hosts that were probed twice, by which of the probes they answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Twice {
    /// Both.
    pub both: u64,
    /// The first alone.
    pub first_only: u64,
    /// The second alone.
    pub second_only: u64,
}

impl Twice {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            both: self.both.saturating_add(other.both),
            first_only: self.first_only.saturating_add(other.first_only),
            second_only: self.second_only.saturating_add(other.second_only),
        }
    }

    /// The same with the probes in the other order.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { first_only: self.second_only, second_only: self.first_only, ..self }
    }

    /// Hosts that one of the probes found.
    pub fn found(&self) -> u64 {
        self.both.saturating_add(self.first_only).saturating_add(self.second_only)
    }
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Missed {
    /// The share of hosts that one probe misses.
    pub share: f64,
    /// Its interval.
    pub share_interval: Interval,
    /// Hosts that no probe found.
    pub hosts: f64,
    /// Their interval.
    pub hosts_interval: Interval,
}

impl Missed {
    /// The estimate from hosts that were probed twice. `once` are those that were probed once and found. `None` if no
    /// host has answered both probes: then any number may be missing.
    pub fn estimate(twice: Twice, once: u64, dispersion: &Dispersion) -> Option<Self> {
        let found_by_second = twice.both as f64 + twice.second_only as f64;
        if twice.both == 0 {
            return None;
        }
        let quantile = dispersion.quantile();
        let share = twice.second_only as f64 / found_by_second;
        let finds = wilson(1.0 - share, found_by_second / dispersion.factor(), quantile);
        let odds_of = |finds: f64| (1.0 - finds) / finds;
        let odds = odds_of(1.0 - share);
        let odds_interval = Interval { lower: odds_of(finds.upper), upper: odds_of(finds.lower) };
        let others = once as f64 + twice.first_only as f64;
        let hosts = others * odds;
        // The hosts that the estimate is made for are a matter of chance as well.
        let chance = quantile * (dispersion.factor() * (others + 1.0) * odds * (1.0 + odds)).sqrt();
        let below = (hosts - others * odds_interval.lower).max(0.0);
        let above = ((others + 1.0) * odds_interval.upper - hosts).max(0.0);
        let interval = around(hosts, [below, chance], [above, chance]);
        let [lower, upper] = [interval.lower - CONTINUITY, interval.upper + CONTINUITY];
        Some(Self {
            share,
            share_interval: Interval { lower: 1.0 - finds.upper, upper: 1.0 - finds.lower },
            hosts,
            hosts_interval: Interval { lower: lower.max(0.0), upper },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::NORMAL;
    use proptest::prelude::*;

    fn estimate(both: u64, first_only: u64, second_only: u64, once: u64) -> Missed {
        let twice = Twice { both, first_only, second_only };
        Missed::estimate(twice, once, &Dispersion::INDEPENDENT).unwrap()
    }

    /// 10,000 hosts, and probes that find 98 % each: 4 are missed by both, with a standard error of 2 (Chapman).
    #[test]
    fn as_chapman() {
        let missed = estimate(9_604, 196, 196, 0);
        assert!((missed.hosts - 4.0).abs() < 0.02, "{missed:?}");
        assert!((missed.share - 0.02).abs() < 1e-9, "{missed:?}");
        let (n1, n2, both) = (9_800.0, 9_800.0, 9_604.0);
        let variance =
            (n1 + 1.0) * (n2 + 1.0) * (n1 - both) * (n2 - both) / ((both + 1.0f64).powi(2) * (both + 2.0));
        let [below, above] =
            [missed.hosts - missed.hosts_interval.lower, missed.hosts_interval.upper - missed.hosts];
        let reach = NORMAL * variance.sqrt() + CONTINUITY;
        assert!(
            (below - reach.min(missed.hosts)).abs() < 0.1 * reach && (above - reach).abs() < 0.1 * reach,
            "{missed:?} {reach}"
        );
    }

    #[test]
    fn from_a_sample_to_all() {
        let missed = estimate(950, 50, 50, 99_000);
        assert!((missed.hosts - 99_050.0 * 50.0 / 950.0).abs() < 5.0, "{missed:?}");
        assert!(missed.hosts_interval.lower > 3_800.0 && missed.hosts_interval.upper < 7_100.0, "{missed:?}");
    }

    #[test]
    fn what_was_never_missed_may_still_be() {
        let missed = estimate(100, 0, 0, 10_000);
        assert_eq!((missed.share, missed.share_interval.lower), (0.0, 0.0));
        assert_eq!(missed.hosts_interval.lower, 0.0);
        assert!(missed.hosts_interval.upper > 300.0, "100 that were found allow for 3.7 %: {missed:?}");
        assert_eq!(Missed::estimate(Twice::default(), 7, &Dispersion::INDEPENDENT), None);
        let never = Twice { second_only: 5, ..Twice::default() };
        assert_eq!(Missed::estimate(never, 7, &Dispersion::INDEPENDENT), None);
    }

    proptest! {
        #[test]
        fn an_interval_contains_its_estimate(
            (both, first, second, once) in (0u64..10_000, 0u64..10_000, 0u64..10_000, 0u64..1_000_000),
            (measured, groups) in (0.1f64..100.0, 8u64..128),
        ) {
            let twice = Twice { both, first_only: first, second_only: second };
            if let Some(missed) = Missed::estimate(twice, once, &Dispersion { measured, groups }) {
                prop_assert!(missed.hosts >= 0.0 && missed.hosts_interval.contains(missed.hosts), "{:?}", missed);
                prop_assert!(missed.share_interval.contains(missed.share), "{:?}", missed);
                prop_assert!(missed.hosts_interval.lower >= 0.0 && missed.hosts_interval.upper.is_finite());
            }
        }

        /// What varies more than by chance is known less exactly.
        #[test]
        fn dispersion_widens(both in 100u64..10_000, second in 10u64..100, measured in 1.5f64..20.0) {
            let twice = Twice { both, first_only: second, second_only: second };
            let width = |dispersion| {
                let interval = Missed::estimate(twice, 0, &dispersion).unwrap().hosts_interval;
                interval.upper - interval.lower
            };
            let dispersion = Dispersion { measured, groups: 64 };
            prop_assert!(width(dispersion) > width(Dispersion::INDEPENDENT));
        }
    }
}
