//! What a scan says about what it did not see: the hit rate and the missed hosts, each with an interval of 95 %.
//!
//! Pure functions over counts, one file for each estimator; `estimates` has those of a scan together. What always
//! holds: an interval contains its estimate, lies within what is possible, and contains the truth in 95 of 100 scans
//! under the assumptions that `docs/reference/estimates.md` states. `coverage` tries that with simulated scans.

#[cfg(test)]
mod coverage;
mod dispersion;
mod estimates;
mod hit_rate;
mod missed;
mod networks;
mod stretches;
mod wilson;

pub use dispersion::{Dispersion, Group};
pub use estimates::{Estimate, Estimates, Evidence, Second};
pub use hit_rate::{HitRate, Probed};
pub use missed::{Missed, Twice};
pub use networks::{GROUPS, Networks};
pub use stretches::{Reading, Stretches};

use serde::{Deserialize, Serialize};

/// How often an interval contains the truth.
pub const CONFIDENCE: f64 = 0.95;

/// The standard normal distribution is within this distance of 0 with probability [`CONFIDENCE`].
pub const NORMAL: f64 = 1.959_963_984_540_054;

/// Between which bounds something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
}

impl Interval {
    #[cfg(test)]
    fn contains(&self, value: f64) -> bool {
        (self.lower..=self.upper).contains(&value)
    }

    /// The same in percent, if it is one of shares.
    #[must_use]
    pub fn percent(&self) -> Self {
        Self { lower: 100.0 * self.lower, upper: 100.0 * self.upper }
    }
}

/// The interval around a sum or difference of independent estimates, of which these are the distances to the own bounds
/// (G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27, 2008:
/// the variance is recovered on each side from each interval's own bound).
fn around(estimate: f64, below: [f64; 2], above: [f64; 2]) -> Interval {
    let length = |[one, other]: [f64; 2]| one.hypot(other);
    Interval { lower: estimate - length(below), upper: estimate + length(above) }
}
