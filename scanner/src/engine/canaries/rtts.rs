//! Round-trip times, counted in buckets of fixed bounds: small enough that each slot of time has its own.

use std::time::Duration;

/// Buckets for each doubling of the time. Fewer: percentiles are coarser. More: more memory for each slot.
const PER_DOUBLING: f64 = 4.0;
/// The upper bound of the first bucket. Lower: short times are told apart that only a network in a lab has.
const FIRST_US: f64 = 64.0;
/// How many buckets: the last one begins at 3.5 seconds, and answers that take longer are not counted for their slot.
pub const BUCKETS: usize = 64;

/// How often round-trip times were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtts(pub [u64; BUCKETS]);

impl Default for Rtts {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Rtts {
    /// The bucket of a time.
    pub fn bucket(time_us: u64) -> usize {
        let above = (time_us as f64 / FIRST_US).max(1.0).log2();
        ((above * PER_DOUBLING).ceil() as usize).min(BUCKETS - 1)
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that this share of them did not exceed, to a fifth: the upper bound of its bucket. `None` if there are
    /// none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share * self.count() as f64).ceil().max(1.0) as u64;
        let mut counted = 0;
        let bucket = self.0.iter().position(|count| {
            counted += count;
            counted >= rank
        })?;
        Some(Duration::from_secs_f64(FIRST_US * (bucket as f64 / PER_DOUBLING).exp2() / 1e6))
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own += other);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with a sorted list: a quantile is not below that of the list, and above it by a fifth at most.
        #[test]
        fn agrees_with_a_list(mut times in prop::collection::vec(64u64..3_000_000, 1..200), share in 0.0f64..=1.0) {
            let mut rtts = Rtts::default();
            times.iter().for_each(|time| rtts.0[Rtts::bucket(*time)] += 1);
            times.sort_unstable();
            let rank = (share * times.len() as f64).ceil().max(1.0) as usize;
            let (found, expected) = (rtts.quantile(share).unwrap().as_secs_f64(), times[rank - 1] as f64 / 1e6);
            prop_assert!(found >= expected * 0.999 && found <= expected * 1.2, "{found} {expected}");
        }
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Rtts::default().quantile(0.5), None);
        assert_eq!((Rtts::bucket(0), Rtts::bucket(64), Rtts::bucket(u64::MAX)), (0, 0, BUCKETS - 1));
    }
}
