//! What a worker handed over and when, so that what may have been lost in a link that went down can be probed again.
//!
//! A ring of intervals of exponents with their times. Recording allocates nothing and costs one comparison a batch;
//! intervals that follow each other within [`SLOT_PS`] share an entry.

use super::pace::PS_PER_S;
use crate::targets::Interval;

/// Entries of the ring. At 14.88 million probes a second two workers take some 1,800 leases a second each, and each lease is
/// an entry at least: the ring then holds four seconds.
const ENTRIES: usize = 1 << 13;
/// What follows the interval before it within this time joins it: 5 ms.
const SLOT_PS: u64 = PS_PER_S / 200;

/// An interval that was handed over from `first_ps` to `last_ps`.
#[derive(Clone, Copy, Debug)]
struct Entry {
    interval: Interval,
    first_ps: u64,
    last_ps: u64,
}

/// The last intervals that a worker has handed over.
#[derive(Debug)]
pub(super) struct History {
    entries: Vec<Entry>,
    /// Where the next entry goes once the ring is full.
    next: usize,
    /// When what is no longer here was handed over.
    forgotten_ps: Option<u64>,
}

impl History {
    pub(super) fn new() -> Self {
        Self { entries: Vec::with_capacity(ENTRIES), next: 0, forgotten_ps: None }
    }

    /// Notes that `interval` was handed over at `now_ps`.
    #[inline]
    pub(super) fn push(&mut self, interval: Interval, now_ps: u64) {
        let newest = if self.next == 0 { self.entries.len() } else { self.next };
        if let Some(entry) = newest.checked_sub(1).and_then(|newest| self.entries.get_mut(newest))
            && entry.interval.end == interval.start
            && now_ps.saturating_sub(entry.first_ps) < SLOT_PS
        {
            (entry.interval.end, entry.last_ps) = (interval.end, now_ps);
            return;
        }
        let entry = Entry { interval, first_ps: now_ps, last_ps: now_ps };
        if self.entries.len() < ENTRIES {
            self.entries.push(entry);
            return;
        }
        self.forgotten_ps = Some(self.entries[self.next].last_ps);
        self.entries[self.next] = entry;
        self.next = (self.next + 1) % ENTRIES;
    }

    /// Adds to `out` what was handed over at `from_ps` or later. False if the ring no longer holds all of it.
    pub(super) fn since(&self, from_ps: u64, out: &mut Vec<Interval>) -> bool {
        out.extend(self.entries.iter().filter(|entry| entry.last_ps >= from_ps).map(|entry| entry.interval));
        self.forgotten_ps.is_none_or(|forgotten| forgotten < from_ps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = PS_PER_S / 1_000;

    fn since(history: &History, from_ps: u64) -> (Vec<(u64, u64)>, bool) {
        let mut out = Vec::new();
        let all = history.since(from_ps, &mut out);
        (out.iter().map(|interval| (interval.start, interval.end)).collect(), all)
    }

    #[test]
    fn neighbours_in_time_and_order_share_an_entry() {
        let mut history = History::new();
        for (start, end, at) in [(0, 10, 0), (10, 20, 4), (20, 30, 6), (90, 95, 7), (95, 99, 8)] {
            history.push(Interval { start, end }, at * MS);
        }
        assert_eq!(history.entries.len(), 3);
        assert_eq!(since(&history, 0), (vec![(0, 20), (20, 30), (90, 99)], true));
        assert_eq!(since(&history, 5 * MS).0, [(20, 30), (90, 99)], "what was over by then is not in it");
        assert_eq!(since(&history, 4 * MS).0, [(0, 20), (20, 30), (90, 99)], "what was not, is, as a whole");
        assert_eq!(since(&history, 9 * MS).0, []);
    }

    /// A ring that has gone round says so where it matters, and neighbours still join over its end.
    #[test]
    fn a_full_ring_forgets_the_oldest() {
        let mut history = History::new();
        let count = ENTRIES as u64 * 2 + 3;
        for i in 0..count {
            history.push(Interval { start: 10 * i, end: 10 * i + 5 }, i * MS);
            history.push(Interval { start: 10 * i + 5, end: 10 * i + 6 }, i * MS);
        }
        assert_eq!(history.entries.len(), ENTRIES);
        let oldest = count - ENTRIES as u64;
        let (mut all, complete) = since(&history, oldest * MS);
        all.sort_unstable();
        assert!(complete && all.len() == ENTRIES);
        assert_eq!(all[0], (10 * oldest, 10 * oldest + 6));
        assert!(!since(&history, (oldest - 1) * MS).1);
    }
}
