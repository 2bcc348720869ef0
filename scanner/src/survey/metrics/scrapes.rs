//! When the metrics were fetched, and how long to wait for the last time.

use std::time::{Duration, Instant};

/// Longest wait for the last fetch: Prometheus' usual interval. Lower: the last counts are lost to it. Higher: a scan
/// whose monitoring has gone takes longer to end.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// What a fetch may be later than the interval between two. Lower: one that is a little late is missed. Higher: as
/// above.
const LATE_MAX: Duration = Duration::from_secs(2);

/// The times of fetches.
#[derive(Debug, Default)]
pub(super) struct Scrapes {
    last: Option<Instant>,
    /// The longest time between two.
    interval: Option<Duration>,
    /// Whether the last counts were fetched.
    has_last: bool,
}

impl Scrapes {
    /// The metrics were fetched; `is_last` says whether they were those of the end.
    pub(super) fn note(&mut self, now: Instant, is_last: bool) {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        self.interval = self.interval.max(since);
        self.last = Some(now);
        self.has_last |= is_last;
    }

    /// Whether the last counts were fetched.
    pub(super) fn has_last(&self) -> bool {
        self.has_last
    }

    /// Until when to wait for that. `None`: not at all, because nothing has fetched them twice.
    pub(super) fn wait_until(&self) -> Option<Instant> {
        Some(self.last? + self.interval?.min(WAIT_MAX) + LATE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut scrapes = Scrapes::default();
        assert_eq!(scrapes.wait_until(), None, "nobody fetches them");
        scrapes.note(at(1), false);
        assert_eq!(scrapes.wait_until(), None, "once may be by hand");
        scrapes.note(at(16), false);
        assert_eq!(scrapes.wait_until(), Some(at(33)));
        // By hand, or by a second Prometheus.
        scrapes.note(at(18), false);
        assert_eq!(scrapes.wait_until(), Some(at(35)));
        scrapes.note(at(1_000), false);
        assert_eq!(scrapes.wait_until(), Some(at(1_062)));
        assert!(!scrapes.has_last());
        scrapes.note(at(1_001), true);
        scrapes.note(at(1_002), false);
        assert!(scrapes.has_last());
    }
}
