//! How the rate was found (`--rate auto`): the statistics that were used, and each decision.

use serde::Serialize;

use crate::governor::{ALARM, FALSE_ALARM, MISSED, State, WATCHED_LOSS};
use crate::survey::governing::Governed;

/// How the rate was found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RateAuto {
    /// How the governor stood at the end.
    pub(super) state: State,
    /// How often the test of a step finds a loss where there is none.
    pub(super) false_alarm: f64,
    /// How often it misses one.
    pub(super) missed: f64,
    /// The share of loss that the watch over a held rate is tuned for.
    pub(super) watched_loss: f64,
    /// Its alarm: the logarithm of the slots between two false ones.
    pub(super) alarm: f64,
    /// The decisions, the oldest first; of many the last ones.
    pub(super) log: Vec<RateDecision>,
}

/// A decision about the rate.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RateDecision {
    /// When, since the first probe.
    pub(super) seconds: f64,
    /// What was decided, in a word.
    pub(super) decision: &'static str,
    /// Probes and canaries per second from then on.
    pub(super) rate_pps: f64,
    /// The line of the log.
    pub(super) text: String,
}

impl RateAuto {
    pub(super) fn of(governed: &Governed) -> Self {
        let decisions = governed.decisions.iter().map(|decision| RateDecision {
            seconds: decision.at.as_secs_f64(),
            decision: decision.name(),
            rate_pps: decision.rate_pps,
            text: decision.to_string(),
        });
        Self {
            state: governed.state.clone(),
            false_alarm: FALSE_ALARM,
            missed: MISSED,
            watched_loss: WATCHED_LOSS,
            alarm: ALARM,
            log: decisions.collect(),
        }
    }
}
