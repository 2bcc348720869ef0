//! What finds the rate of a scan: the governor of `--rate auto`, or the ladder of `xdpmap calibrate`.

use std::time::Duration;

use tracing::info;

use crate::governor::{Decision, Governor, Ladder, Slot, State, Wish};

/// What finds the rate of a scan.
pub(super) enum Finder {
    /// Finds the fastest rate that loses nothing, and holds it.
    Auto(Box<Governor>),
    /// Measures the loss at one rate after the other.
    Ladder(Box<Ladder>),
}

impl Finder {
    /// What it wants at the moment.
    pub(super) fn wish(&self) -> Wish {
        match self {
            Self::Auto(governor) => governor.wish(),
            Self::Ladder(ladder) => ladder.wish(),
        }
    }

    /// Takes the facts of a slot. Returns what the governor has decided. A ladder's stage is logged when it ends.
    pub(super) fn observe(&mut self, now: Duration, slot: &Slot) -> Vec<Decision> {
        match self {
            Self::Auto(governor) => governor.observe(now, slot),
            Self::Ladder(ladder) => {
                if let Some(stage) = ladder.observe(now, slot) {
                    info!(target: "calibrate", "{stage}");
                }
                vec![]
            }
        }
    }

    /// Nothing was sent for a while, until `now`.
    pub(super) fn interrupt(&mut self, now: Duration) {
        match self {
            Self::Auto(governor) => governor.interrupt(now),
            Self::Ladder(ladder) => ladder.interrupt(now),
        }
    }

    /// From `now` on the rate is at most `cap_pps`; 0: no cap.
    pub(super) fn cap(&mut self, now: Duration, cap_pps: f64) {
        match self {
            Self::Auto(governor) => governor.cap(now, cap_pps),
            Self::Ladder(ladder) => ladder.cap(now, cap_pps),
        }
    }

    /// The last target was probed. Returns since when targets are to be probed again, if any are.
    pub(super) fn finish(&mut self, now: Duration) -> Option<Duration> {
        match self {
            Self::Auto(governor) => governor.finish(now),
            Self::Ladder(_) => None,
        }
    }

    /// Whether nothing more is to be sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Ladder(ladder) if ladder.is_done())
    }

    /// How it stands.
    pub(super) fn state(&self) -> State {
        match self {
            Self::Auto(governor) => governor.state(),
            Self::Ladder(ladder) => ladder.state(),
        }
    }

    /// The ladder, if it is one.
    pub(super) fn into_ladder(self) -> Option<Ladder> {
        match self {
            Self::Auto(_) => None,
            Self::Ladder(ladder) => Some(*ladder),
        }
    }
}
