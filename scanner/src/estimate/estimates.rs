//! The estimates of a scan, and the counts that they are made of: in the summary, in the metadata, and read back when
//! shards are merged.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CONFIDENCE, Dispersion, HitRate, Interval, Missed, Probed, Twice};

/// What the estimates of a scan are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// What was probed and found.
    #[serde(flatten)]
    pub probed: Probed,
    /// How much more the hits differ between stretches of the order than by chance.
    pub stretches: Dispersion,
    /// The second probes; absent if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<Second>,
}

/// What second probes found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// Hosts among the targets that were probed twice.
    #[serde(flatten)]
    pub hosts: Twice,
    /// Hosts among the others.
    pub once: u64,
    /// How much more the share that is missed differs between networks than by chance.
    pub networks: Dispersion,
}

impl Evidence {
    /// That of several parts of one scan together.
    pub fn pooled(parts: &[Self]) -> Self {
        let mut all = Self::default();
        for Self { probed, second, .. } in parts {
            // Metadata may have any number.
            all.probed.targets = all.probed.targets.saturating_add(probed.targets);
            all.probed.found = all.probed.found.saturating_add(probed.found);
            all.probed.covered += probed.covered;
            if let Some(second) = second {
                let sum = all.second.get_or_insert_default();
                sum.hosts = sum.hosts.and(second.hosts);
                sum.once = sum.once.saturating_add(second.once);
            }
        }
        // A sum of shares may miss 1 by rounding.
        if (all.probed.covered - 1.0).abs() < 1e-9 {
            all.probed.covered = 1.0;
        }
        all.stretches = Dispersion::pooled(&parts.iter().map(|part| part.stretches).collect::<Vec<_>>());
        if let Some(second) = &mut all.second {
            let networks = parts.iter().filter_map(|part| Some(part.second?.networks));
            second.networks = Dispersion::pooled(&networks.collect::<Vec<_>>());
        }
        all
    }
}

/// A share or a number with its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// The most likely value.
    pub value: f64,
    /// Its interval.
    #[serde(flatten)]
    pub interval: Interval,
}

impl Estimate {
    /// The same in percent, of a share.
    fn percent(value: f64, interval: Interval) -> Self {
        Self { value: 100.0 * value, interval: interval.percent() }
    }
}

/// The estimates of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimates {
    /// How often an interval contains the truth.
    pub confidence: f64,
    /// Successes in percent of the targets. If loss was measured, this counts the hosts that were missed.
    pub hit_rate_percent: Estimate,
    /// Whether the hit rate counts hosts that were missed.
    pub counts_missed: bool,
    /// Hosts that one probe misses, in percent; absent if there were no second probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_by_one_percent: Option<Estimate>,
    /// At least so many hosts no probe found; absent if there were no second probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_hosts: Option<Estimate>,
    /// What they are made of.
    pub evidence: Evidence,
}

impl Estimates {
    /// The estimates from this evidence; `None` if no target was probed.
    pub fn of(evidence: Evidence) -> Option<Self> {
        let missed =
            evidence.second.and_then(|second| Missed::estimate(second.hosts, second.once, &second.networks));
        let hit_rate = HitRate::estimate(&evidence.probed, &evidence.stretches, missed.as_ref())?;
        Some(Self {
            confidence: CONFIDENCE,
            hit_rate_percent: Estimate::percent(hit_rate.rate, hit_rate.interval),
            counts_missed: missed.is_some(),
            missed_by_one_percent: missed
                .map(|missed| Estimate::percent(missed.share, missed.share_interval)),
            missed_hosts: missed
                .map(|missed| Estimate { value: missed.hosts, interval: missed.hosts_interval }),
            evidence,
        })
    }
}

/// In one line.
impl fmt::Display for Estimates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimate { value, interval: Interval { lower, upper } } = self.hit_rate_percent;
        write!(f, "hit rate {value:.4} %")?;
        if lower < upper {
            write!(f, " ({lower:.4} to {upper:.4} %)")?;
        }
        if let Some(Estimate { value, interval }) = self.missed_by_one_percent {
            let Interval { lower, upper } = interval;
            write!(f, "; one probe misses {value:.2} % of the hosts ({lower:.2} to {upper:.2} %)")?;
        }
        match self.missed_hosts {
            Some(Estimate { value, interval: Interval { lower, upper } }) => {
                write!(f, "; no probe found at least {value:.0} hosts ({lower:.0} to {upper:.0})")?;
            }
            None => f.write_str("; hosts whose probes were lost are not counted")?,
        }
        let has_interval = lower < upper || self.missed_by_one_percent.is_some();
        f.write_str(if has_interval { "; intervals of 95 %" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dispersion() -> impl Strategy<Value = Dispersion> {
        (any::<f64>().prop_filter("in JSON", |measured| measured.is_finite()), any::<u64>())
            .prop_map(|(measured, groups)| Dispersion { measured, groups })
    }

    fn any_evidence() -> impl Strategy<Value = Evidence> {
        let covered = any::<f64>().prop_filter("in JSON", |covered| covered.is_finite());
        let probed = (any::<u64>(), any::<u64>(), prop_oneof![covered, 0.0f64..=1.0])
            .prop_map(|(targets, found, covered)| Probed { targets, found, covered });
        let hosts = any::<[u64; 3]>();
        let hosts = hosts.prop_map(|[both, first_only, second_only]| Twice { both, first_only, second_only });
        let second = (hosts, any::<u64>(), dispersion()).prop_map(|(hosts, once, networks)| Second {
            hosts,
            once,
            networks,
        });
        (probed, dispersion(), prop::option::of(second)).prop_map(|(probed, stretches, second)| Evidence {
            probed,
            stretches,
            second,
        })
    }

    proptest! {
        /// Whatever stands in metadata that are read, there are estimates within their bounds.
        #[test]
        fn any_counts(parts in prop::collection::vec(any_evidence(), 0..4)) {
            if let Some(estimates) = Estimates::of(Evidence::pooled(&parts)) {
                let Estimate { value, interval } = estimates.hit_rate_percent;
                prop_assert!((0.0..=100.0).contains(&value) && interval.contains(value), "{:?}", estimates);
                if let Some(Estimate { value, interval }) = estimates.missed_hosts {
                    prop_assert!(interval.contains(value) && interval.lower >= 0.0, "{:?}", estimates);
                }
                prop_assert!(!estimates.to_string().contains("NaN"), "{}", estimates);
            }
        }
    }

    fn evidence(targets: u64, found: u64, covered: f64) -> Evidence {
        Evidence { probed: Probed { targets, found, covered }, ..Evidence::default() }
    }

    #[test]
    fn in_words() {
        let sample = Estimates::of(evidence(1_000_000, 13_000, 0.0)).unwrap();
        assert_eq!(
            sample.to_string(),
            "hit rate 1.3000 % (1.2780 to 1.3224 %); hosts whose probes were lost are not counted; intervals of 95 %"
        );
        let all = Estimates::of(evidence(1_000_000, 13_000, 1.0)).unwrap();
        assert_eq!(all.to_string(), "hit rate 1.3000 %; hosts whose probes were lost are not counted");
        let hosts = Twice { both: 950, first_only: 50, second_only: 50 };
        let second = Second { hosts, once: 99_000, ..Second::default() };
        let corrected = Evidence { second: Some(second), ..evidence(10_000_000, 100_050, 1.0) };
        let corrected = Estimates::of(corrected).unwrap().to_string();
        assert!(corrected.starts_with("hit rate 1.0526 % (1.0"), "{corrected}");
        assert!(
            corrected.contains("; one probe misses 5.00 % of the hosts (3.8")
                && corrected.contains("at least 5213 hosts"),
            "{corrected}"
        );
        assert_eq!(Estimates::of(Evidence::default()), None);
    }

    /// What is written is read back, and shards together are the whole.
    #[test]
    fn shards_together() {
        let second =
            Second { hosts: Twice { both: 95, first_only: 4, second_only: 5 }, once: 7, ..Second::default() };
        let part = Evidence { second: Some(second), ..evidence(1_000, 111, 1.0 / 7.0) };
        let text = serde_json::to_string(&Estimates::of(part).unwrap()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["hit_rate_percent"]["lower"].as_f64() < value["hit_rate_percent"]["value"].as_f64());
        let read: Evidence = serde_json::from_value(value["evidence"].clone()).unwrap();
        assert_eq!(read, part);
        let all = Evidence::pooled(&[part; 7]);
        assert_eq!((all.probed.targets, all.probed.found, all.probed.covered), (7_000, 777, 1.0));
        assert_eq!(all.second.unwrap().hosts, Twice { both: 665, first_only: 28, second_only: 35 });
    }
}
