//! The stages of a ladder: which rates they have, what they show, and what all of them together have found.

use std::fmt;
use std::time::Duration;

use super::held::below;
use super::{Bound, Knee, LAG_SLOTS, SLOT};
use crate::estimate::Interval;

/// The first rate, in probes per second, unless the cap is near it. Lower: it takes longer. Higher: a slow path loses
/// from the start, and then there is nothing to compare with.
const FIRST_PPS: f64 = 2_500.0;
/// The first rate is no more than this share of the cap, so that there are some stages.
const FIRST_SHARE: f64 = 1.0 / 8.0;
/// How much faster each stage is, at most: two stages for each doubling. Lower: it takes longer. Higher: the first
/// stage above the knee loses more.
pub(super) const STEP: f64 = std::f64::consts::SQRT_2;
/// Slots of a stage: three seconds. Fewer: too few canaries at slow rates, so that a stage has to go on for longer.
/// More: it takes longer.
pub(super) const STAGE_SLOTS: u32 = 15;

/// The rates of a ladder, the slowest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps(pub(super) Vec<f64>);

impl Steps {
    /// Those up to `cap_pps` probes per second, which is the last one.
    pub fn up_to(cap_pps: f64) -> Self {
        let first = FIRST_PPS.min(FIRST_SHARE * cap_pps);
        let count = ((cap_pps / first).ln() / STEP.ln()).ceil().max(1.0) as u32;
        let rate = |step: u32| match step {
            step if step == count => cap_pps,
            step => first * (cap_pps / first).powf(f64::from(step) / f64::from(count)),
        };
        Self((0..=count).map(rate).collect())
    }

    /// The rates.
    pub fn rates_pps(&self) -> &[f64] {
        &self.0
    }

    /// How long a stage takes if it has enough answers. The answers to its last slot are waited for.
    pub fn stage() -> Duration {
        SLOT * (STAGE_SLOTS + LAG_SLOTS + 1)
    }

    /// How long all of them take if each has enough answers, with the two around the knee.
    pub fn longest(&self) -> Duration {
        Self::stage() * (self.0.len() as u32 + 2)
    }

    /// Probes and canaries that all of them take.
    pub fn most_probes(&self) -> u64 {
        let around = 2.0 * self.0.last().copied().unwrap_or_default();
        ((self.0.iter().sum::<f64>() + around) * Self::stage().as_secs_f64()).ceil() as u64
    }
}

/// What a stage has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The rate that it was to have, in probes and canaries per second.
    pub rate_pps: f64,
    /// That of what left.
    pub sent_pps: f64,
    /// How long it was looked at.
    pub seconds: f64,
    /// Ordinary probes that left in that time.
    pub probes: u64,
    /// Valid replies to ordinary probes that arrived in that time.
    pub replies: u64,
    /// Canaries that left.
    pub canaries: u64,
    /// Those that were answered.
    pub answered: u64,
    /// The share of canaries without an answer, whatever the cause; `None` without canaries.
    pub unanswered: Option<(f64, Interval)>,
    /// The share that is lost because of the rate: compared with the slower stages that lose nothing. `None` where
    /// there is nothing to compare.
    pub lost: Option<(f64, Interval)>,
    /// The share of replies that were lost at our side, by our own counters. It is a part of the loss.
    pub own: f64,
    /// The median of the round-trip times, if the probe module measures them.
    pub rtt: Option<Duration>,
    /// What follows from it.
    pub finding: Finding,
}

/// What follows from a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What faster stages are compared with.
    Base,
    /// Nothing is lost because of the rate.
    Clean,
    /// Something is.
    Lossy,
    /// There were too few answers to see it.
    Unknown,
    /// This host did not keep the rate.
    Short,
}

impl Finding {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Clean => "clean",
            Self::Lossy => "loss",
            Self::Unknown => "unknown",
            Self::Short => "short",
        }
    }
}

/// The line of the log.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.rate_pps;
        match (self.finding, self.lost) {
            (Finding::Base, _) => {
                write!(f, "{rate:.0} probes per second: what faster stages are compared with")
            }
            (Finding::Unknown, _) => write!(f, "{rate:.0} probes per second: too few answers to see a loss"),
            (Finding::Short, _) => {
                write!(f, "{rate:.0} probes per second: this host sends {:.0}", self.sent_pps)
            }
            (Finding::Clean, _) => write!(f, "{rate:.0} probes per second: nothing is lost"),
            (Finding::Lossy, lost) => {
                let share = lost.map_or(self.own, |(share, _)| share);
                write!(f, "{rate:.0} probes per second: {:.1} % is lost", 100.0 * share)
            }
        }
    }
}

/// What a ladder has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// From this rate on more is lost.
    Knee(Knee),
    /// Nothing is lost up to this rate, and it did not go on, for this reason.
    Clean(f64, Bound),
    /// So few targets answer that nothing can be said.
    TooFew,
    /// It has ended before a loss was seen. Up to this rate nothing is lost, if that is known of any.
    Unfinished(Option<f64>),
}

impl Outcome {
    /// The rate to scan with, in probes per second.
    pub fn recommended_pps(&self) -> Option<f64> {
        match *self {
            Self::Knee(knee) => Some(below(knee)),
            // What a host sends at most it sends at any rate above.
            Self::Clean(pps, _) => Some(pps),
            Self::Unfinished(pps) => pps,
            Self::TooFew => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_plain() {
        for cap_pps in [1_000.0, 40_000.0, 100_000.0, 5e6] {
            let steps = Steps::up_to(cap_pps);
            let rates = steps.rates_pps();
            assert!(rates.len() >= 7 && rates[rates.len() - 1] == cap_pps, "{rates:?}");
            assert!(rates.windows(2).all(|pair| pair[0] < pair[1] && pair[1] / pair[0] <= STEP + 1e-9));
            assert!(rates[0] <= FIRST_PPS && rates[0] <= cap_pps / 8.0);
        }
        let steps = Steps::up_to(100_000.0);
        assert_eq!((steps.rates_pps().len(), steps.longest()), (12, Duration::from_millis(53_200)));
        assert!((1_500_000..3_000_000).contains(&steps.most_probes()), "{}", steps.most_probes());
    }
}
