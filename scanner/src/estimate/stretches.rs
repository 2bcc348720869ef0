//! Stretches of the order, with the targets and the hits of each: the groups whose variance the hit rate's interval is
//! made of.
//!
//! Targets are drawn one by one from all of them, in random order. So networks in which every address answers are
//! spread over the whole scan, and do not make the sampling error larger. What is next to each other in the order has
//! the time in common: a burst of loss, a busy hour, a slow drift. A stretch is therefore one of the order, which is
//! one of time. Hits are counted when they come, which is a round trip later than their probes. While the rate is
//! steady, as many are late at the end of a stretch as at its beginning; moments at which it is not are left out.
//!
//! What always holds: there are at most [`STRETCHES_MAX`], all of as many moments.

use std::time::Duration;

use super::dispersion::Group;

/// Most stretches. When there are as many, each two neighbours become one. Fewer: the variance between them is less
/// exactly known. More: more memory, and shorter stretches.
const STRETCHES_MAX: usize = 128;
/// By how much the rate may differ between a moment and the one before. Lower: rates that vary a little leave too few
/// moments. Higher: hits that are on their way when the rate changes look like variance.
const STEADY: f64 = 0.05;

/// How far the scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Time since its start.
    pub at: Duration,
    /// Targets that were probed.
    pub probed: u64,
    /// Those of them that have answered.
    pub found: u64,
}

/// The stretches of a scan so far.
#[derive(Clone, Debug)]
pub struct Stretches {
    whole: Vec<Group>,
    /// Moments in each of them.
    moments: u32,
    /// The one that is growing, and the moments in it.
    open: (Group, u32),
    last: Reading,
    /// Targets per second in the last moment.
    rate: f64,
}

impl Default for Stretches {
    fn default() -> Self {
        Self {
            whole: Vec::with_capacity(STRETCHES_MAX),
            moments: 1,
            open: <_>::default(),
            last: <_>::default(),
            rate: 0.0,
        }
    }
}

impl Stretches {
    /// Notes how far the scan is; a moment is the time since the last note.
    pub fn note(&mut self, now: Reading) {
        let last = std::mem::replace(&mut self.last, now);
        let seconds = now.at.saturating_sub(last.at).as_secs_f64();
        let moment = Group {
            trials: now.probed.saturating_sub(last.probed),
            hits: now.found.saturating_sub(last.found),
        };
        let rate = if seconds > 0.0 { moment.trials as f64 / seconds } else { 0.0 };
        let before = std::mem::replace(&mut self.rate, rate);
        // The first moment lacks the hits that are on their way.
        if rate > 0.0 && (rate - before).abs() <= STEADY * before {
            self.take(moment);
        }
    }

    fn take(&mut self, moment: Group) {
        let (group, moments) = self.open;
        self.open = (group.and(moment), moments + 1);
        if self.open.1 < self.moments {
            return;
        }
        self.whole.push(std::mem::take(&mut self.open).0);
        if self.whole.len() == STRETCHES_MAX {
            self.whole = self.whole.chunks(2).map(|two| two[0].and(two[1])).collect();
            self.moments *= 2;
        }
    }

    /// Those that are whole, in their order.
    pub fn groups(&self) -> &[Group] {
        &self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(readings: impl Iterator<Item = (u64, u64, u64)>) -> Stretches {
        let mut stretches = Stretches::default();
        for (second, probed, found) in readings {
            stretches.note(Reading { at: Duration::from_secs(second), probed, found });
        }
        stretches
    }

    #[test]
    fn there_are_never_too_many() {
        for seconds in [0, 1, 2, 63, 64, 127, 128, 129, 130, 1_000, 100_000] {
            let stretches = noted((1..=seconds).map(|second| (second, 1_000 * second, 13 * second)));
            let groups = stretches.groups();
            assert!(groups.len() < STRETCHES_MAX, "{seconds}: {}", groups.len());
            assert!(seconds < 200 || groups.len() >= STRETCHES_MAX / 2, "{seconds}: {}", groups.len());
            assert!(groups.iter().all(|group| *group == groups[0]));
            let trials: u64 = groups.iter().map(|group| group.trials).sum();
            let left_out = 1_000 * (1 + u64::from(stretches.moments));
            assert!(trials + left_out >= 1_000 * seconds, "{seconds}: {trials}");
        }
    }

    /// With round trips of half a second, the hits of a moment are half of its own targets and half of those before.
    #[test]
    fn changes_of_the_rate_are_left_out() {
        let probed = |half: u64| 500 * half.min(20) + 2_000 * half.clamp(20, 60).saturating_sub(20);
        let found = |half: u64| probed(half.saturating_sub(1)) / 10;
        let stretches = noted((1..40).map(|second| (second, probed(2 * second), found(2 * second))));
        assert!(stretches.groups().len() > 20);
        for group in stretches.groups() {
            assert_eq!(10 * group.hits, group.trials, "{:?}", stretches.groups());
        }
    }

    #[test]
    fn pauses_and_clocks_that_stand_still() {
        let stretches = noted([(1, 100, 1), (1, 100, 1), (2, 200, 2), (9, 200, 2), (10, 300, 3)].into_iter());
        assert_eq!(stretches.groups(), []);
    }
}
