//! A share, from how many of how many.

use super::Interval;

/// E. B. Wilson's interval for a share that was seen in so many trials ("Probable Inference, the Law of Succession, and
/// Statistical Inference", JASA 22, 1927); `quantile` is how far it reaches, in standard errors. Unlike the share plus
/// and minus two standard errors it stays within 0 and 1, and holds for few hits and for none. The number of trials
/// does not have to be whole: those that were not independent are worth fewer than they were, and those of all that
/// there is endlessly many.
pub(super) fn wilson(share: f64, trials: f64, quantile: f64) -> Interval {
    if trials <= 0.0 {
        return Interval { lower: 0.0, upper: 1.0 };
    }
    let part = quantile * quantile / trials;
    let middle = (share + part / 2.0) / (1.0 + part);
    let reach = (share * (1.0 - share) * part + part * part / 4.0).sqrt() / (1.0 + part);
    // Rounding must not put a bound on the wrong side of the share.
    Interval { lower: (middle - reach).clamp(0.0, share), upper: (middle + reach).clamp(share, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::NORMAL;
    use proptest::prelude::*;

    /// The values are those of R 4.2, `binom::binom.wilson`, and of R. G. Newcombe, "Two-sided confidence intervals for
    /// the single proportion", Statistics in Medicine 17, 1998, table I.
    #[test]
    fn published_values() {
        for (hits, trials, lower, upper) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
            (29, 29, 0.8830, 1.0),
        ] {
            let interval = wilson(f64::from(hits) / f64::from(trials), trials.into(), NORMAL);
            let is_near = (interval.lower - lower).abs() < 5e-5 && (interval.upper - upper).abs() < 5e-5;
            assert!(is_near, "{hits} of {trials}: {interval:?}");
        }
    }

    proptest! {
        #[test]
        fn it_contains_the_share(trials in 0.0f64..1e9, share in 0.0f64..=1.0) {
            let interval = wilson(share, trials, NORMAL);
            prop_assert!(0.0 <= interval.lower && interval.lower <= interval.upper && interval.upper <= 1.0);
            prop_assert!(interval.contains(share));
        }

        #[test]
        fn more_trials_narrow_it(trials in 1.0f64..1e6, share in 0.0f64..=1.0) {
            let width = |trials: f64| {
                let interval = wilson(share, trials, NORMAL);
                interval.upper - interval.lower
            };
            prop_assert!(width(4.0 * trials) < width(trials));
        }
    }

    #[test]
    fn nothing_and_everything() {
        assert_eq!(wilson(0.0, 0.0, NORMAL), Interval { lower: 0.0, upper: 1.0 });
        assert_eq!(wilson(0.25, f64::INFINITY, NORMAL), Interval { lower: 0.25, upper: 0.25 });
    }
}
