//! Distributions of durations: how often each was seen, to a percent, in memory of a fixed size.
//!
//! Recording allocates nothing, and costs a few instructions.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Significant decimal digits of a duration. Fewer make percentiles coarse; each more takes ten times the memory.
const DIGITS: u8 = 2;

/// Durations of any unit, and how often each was seen.
#[derive(Clone, Debug)]
pub struct Distribution {
    histogram: Histogram<u64>,
    longest: u64,
}

/// A distribution in numbers. The unit is that of what was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many were recorded.
    pub count: u64,
    /// The shortest.
    pub min: u64,
    /// The average.
    pub mean: f64,
    /// Half of them are not longer.
    pub p50: u64,
    /// 90 % of them are not longer.
    pub p90: u64,
    /// 99 % of them are not longer.
    pub p99: u64,
    /// 99.9 % of them are not longer.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
}

impl Distribution {
    /// One without any duration. Those above `longest`, which is at least 2, count as that.
    pub fn new(longest: u64) -> Self {
        let histogram = Histogram::new_with_max(longest.max(2), DIGITS);
        Self {
            histogram: histogram.expect("two digits, and bounds that are not too close together"),
            longest,
        }
    }

    /// Records that a duration was seen this many times.
    #[inline]
    pub fn record(&mut self, duration: u64, times: u64) {
        self.histogram.saturating_record_n(duration.min(self.longest), times);
    }

    /// Adds another one with the same bound.
    pub fn add(&mut self, other: &Self) {
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok(), "their bounds are the same");
    }

    /// It in numbers; `None` if nothing was recorded.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let histogram = Some(&self.histogram).filter(|histogram| !histogram.is_empty())?;
        let [p50, p90, p99, p99_9] =
            [0.5, 0.9, 0.99, 0.999].map(|quantile| histogram.value_at_quantile(quantile));
        Some(Percentiles {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            p50,
            p90,
            p99,
            p99_9,
            max: histogram.max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with a sorted list: each percentile is within a percent of the one in the list, also of a sum.
        #[test]
        fn agrees_with_a_list(
            durations in prop::collection::vec((0u64..2_000_000, 1u64..5), 1..200),
            at in any::<prop::sample::Index>(),
        ) {
            const LONGEST: u64 = 1_000_000;
            let (mut all, mut other) = (Distribution::new(LONGEST), Distribution::new(LONGEST));
            prop_assert_eq!(all.percentiles(), None);
            let first = at.index(durations.len());
            for (place, (duration, times)) in durations.iter().enumerate() {
                if place < first { &mut all } else { &mut other }.record(*duration, *times);
            }
            all.add(&other);
            let mut list: Vec<u64> = durations
                .iter()
                .flat_map(|(duration, times)| std::iter::repeat_n((*duration).min(LONGEST), *times as usize))
                .collect();
            list.sort_unstable();
            let found = all.percentiles().unwrap();
            prop_assert_eq!(found.count, list.len() as u64);
            for (quantile, found) in [(0.5, found.p50), (0.9, found.p90), (0.99, found.p99), (1.0, found.max)] {
                let rank = (quantile * list.len() as f64).ceil() as usize;
                let expected = list[rank.max(1) - 1];
                prop_assert!(found.abs_diff(expected) <= 1 + expected / 100, "{quantile}: {found}, {expected}");
            }
        }
    }
}
