//! Which targets a worker has handed over and when, so that those whose probes may have been lost in a link outage can
//! be probed again.
//!
//! A ring of intervals of exponents with their times. Recording allocates nothing and costs one comparison per batch.
//! Consecutive intervals within [`SLOT_PS`] share an entry.

use targets::Interval;

use super::pace::PS_PER_S;

/// Entries of the ring. At 14.88 million probes per second, two workers take some 1,800 leases per second each, and
/// each lease is at least one entry, so the ring holds four seconds. Lower: after an outage that is noticed late, some
/// lost probes are not repeated. Higher: more memory per worker.
const ENTRIES: usize = 1 << 13;
/// An interval joins the one before it within this time: 5 ms. Lower: the ring holds a shorter time. Higher: more
/// targets are probed twice after an outage.
const SLOT_PS: u64 = PS_PER_S / 200;

/// An interval that was handed over from `first_ps` to `last_ps`.
#[derive(Clone, Copy, Debug)]
struct SentInterval {
    interval: Interval,
    first_ps: u64,
    last_ps: u64,
}

/// The last intervals that a worker has handed over.
#[derive(Debug)]
pub(super) struct History {
    entries: Vec<SentInterval>,
    /// The place of the next entry once the ring is full.
    next: usize,
    /// The latest time of an entry that has been overwritten.
    forgotten_ps: Option<u64>,
}

impl History {
    pub(super) fn new() -> Self {
        Self { entries: Vec::with_capacity(ENTRIES), next: 0, forgotten_ps: None }
    }

    /// Records that `interval` was handed over at `now_ps`.
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
        let entry = SentInterval { interval, first_ps: now_ps, last_ps: now_ps };
        if self.entries.len() < ENTRIES {
            self.entries.push(entry);
            return;
        }
        self.forgotten_ps = Some(self.entries[self.next].last_ps);
        self.entries[self.next] = entry;
        self.next = (self.next + 1) % ENTRIES;
    }

    /// Adds to `out` the intervals that were handed over at `from_ps` or later. Returns false if some of them have been
    /// overwritten.
    pub(super) fn since(&self, from_ps: u64, out: &mut Vec<Interval>) -> bool {
        out.extend(self.entries.iter().filter(|entry| entry.last_ps >= from_ps).map(|entry| entry.interval));
        self.forgotten_ps.is_none_or(|forgotten| forgotten < from_ps)
    }

    /// Adds to `out` the latest intervals: `count` exponents or more, or all that the ring holds.
    pub(super) fn newest(&self, count: u64, out: &mut Vec<Interval>) {
        let (newer, older) = self.entries.split_at(self.next);
        let mut found = 0;
        for entry in newer.iter().rev().chain(older.iter().rev()) {
            if found >= count {
                return;
            }
            found += entry.interval.end - entry.interval.start;
            out.push(entry.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use targets::merged;

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

    #[test]
    fn the_newest_come_from_both_sides_of_the_ring() {
        let mut history = History::new();
        let newest = |history: &History, count| {
            let mut out = Vec::new();
            history.newest(count, &mut out);
            out.iter().map(|interval| interval.start).collect::<Vec<_>>()
        };
        assert!(newest(&history, 5).is_empty());
        for i in 0..ENTRIES as u64 + 2 {
            if i == 3 {
                assert!(newest(&history, 0).is_empty());
                assert_eq!(newest(&history, 4), [20, 10]);
                assert_eq!(newest(&history, 100), [20, 10, 0]);
            }
            history.push(Interval { start: 10 * i, end: 10 * i + 3 }, i * 10 * MS);
        }
        let last = 10 * (ENTRIES as u64 + 1);
        assert_eq!(newest(&history, 10), [last, last - 10, last - 20, last - 30]);
        assert_eq!(newest(&history, u64::MAX).len(), ENTRIES);
    }

    /// A ring that has wrapped reports it where it matters, and intervals still join across its end.
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

    /// How many exponents the intervals hold.
    fn len(intervals: &[Interval]) -> u64 {
        intervals.iter().map(Interval::len).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// Compared with a list of all that was handed over: what is returned for a time is all that was handed over
        /// since and nothing that was long before, or the ring says that it has forgotten some; and the newest are the
        /// newest.
        #[test]
        fn agrees_with_a_list(
            steps in prop::collection::vec((0_u64..3, 1_u64..5, 0_u64..8), 1..200),
            pushes in 0_usize..2 * ENTRIES + 100,
            times in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
            newest in 0_u64..60_000,
        ) {
            let (mut history, mut list, mut next, mut now_ps) = (History::new(), Vec::new(), 0, 0);
            for (gap, len, wait) in steps.into_iter().cycle().take(pushes) {
                let interval = Interval { start: next + gap, end: next + gap + len };
                (next, now_ps) = (interval.end, now_ps + wait * MS);
                history.push(interval, now_ps);
                list.push((interval, now_ps));
            }
            for from_ps in times.into_iter().map(|time| time.index(now_ps as usize / 1_000 + 1) as u64 * 1_000) {
                let mut out = Vec::new();
                let is_all = history.since(from_ps, &mut out);
                let out = merged(out);
                let holds = |interval: &Interval| {
                    let at = out.partition_point(|one| one.end < interval.end);
                    out.get(at).is_some_and(|one| one.start <= interval.start)
                };
                let mut wanted = list.iter().filter(|(_, at_ps)| *at_ps >= from_ps);
                prop_assert_eq!(is_all, wanted.all(|(interval, _)| holds(interval)));
                let mut long_before = list.iter().filter(|(_, at_ps)| at_ps + SLOT_PS <= from_ps);
                prop_assert!(!long_before.any(|(interval, _)| holds(interval)));
            }
            let (mut held, mut out) = (Vec::new(), Vec::new());
            history.since(0, &mut held);
            history.newest(newest, &mut out);
            let enough = newest.min(len(&held));
            prop_assert!(len(&out) >= enough && (out.is_empty() || len(&out[..out.len() - 1]) < newest));
            let first = out.iter().map(|interval| interval.start).min().unwrap_or(u64::MAX);
            held.retain(|interval| interval.start >= first);
            prop_assert_eq!(merged(out), merged(held));
        }
    }
}
