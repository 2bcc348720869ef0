//! Divides the order: a shard is an arc of it, and a shard's workers lease short intervals of that arc from one table.
//! A scan that goes on after an interruption leases from the intervals of the arc that are still open.
//!
//! Neither the arc nor the targets of a scan limited to `n` depend on the number of workers or their speed.

use std::cmp::Ordering as Compare;

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The exponents `start..end` of a permutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    /// The first exponent.
    pub start: u64,
    /// One past the last exponent.
    pub end: u64,
}

impl Interval {
    /// How many exponents it holds.
    #[inline]
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }
}

/// The same exponents as ascending intervals with gaps between them, each exponent once.
pub fn merged(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.retain(|interval| !interval.is_empty());
    intervals.sort_unstable();
    intervals.dedup_by(|later, earlier| {
        let joins = later.start <= earlier.end;
        if joins {
            earlier.end = earlier.end.max(later.end);
        }
        joins
    });
    intervals
}

/// The arc of shard `index` of `shards`: exponents from `floor(order * index / shards)` to
/// `floor(order * (index + 1) / shards)`. The arcs of all shards are disjoint, cover the order, and differ by one
/// exponent at most.
///
/// # Panics
/// If `index` is not below `shards`.
pub fn shard(order: u64, index: u32, shards: u32) -> Interval {
    assert!(index < shards, "shard {index} of {shards}");
    let bound = |i: u32| (u128::from(order) * u128::from(i) / u128::from(shards)) as u64;
    Interval { start: bound(index), end: if index + 1 == shards { order } else { bound(index + 1) } }
}

/// The answer to a worker that requests work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Walk this interval, then [`Leases::finish`] it.
    Grant(Interval),
    /// Nothing now; request again once another worker has finished its lease, in a scan with a limit, near its end; or
    /// once more is released.
    Wait,
    /// Nothing, now or later.
    Done,
}

/// The progress of the leases, in exponents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseProgress {
    /// Exponents in finished leases.
    pub finished: u64,
    /// Exponents to walk, as far as known: with a limit it may still grow by the few that are skipped.
    pub total: u64,
    /// Targets in finished leases.
    pub targets: u64,
}

/// The lease table of one arc, or of those of its intervals that are open, shared by its workers, without locks.
///
/// The table counts the open exponents from 0; such a number is a *place*. With a limit of `n` targets it grants places
/// up to a *safe end*, which can hold at most `n` targets: at first `n` places. Some of them are not a target. When all
/// leases up to the safe end are finished, their number is known, and the safe end moves on by as many exponents as
/// targets are missing. So the granted targets are exactly the first `n` that are open, whichever workers walk them.
///
/// A table of a second walk ([`Leases::behind`]) grants nothing before it is released: there the safe end moves on with
/// the exponents whose turn has come.
///
/// A worker that stops before it has finished its lease leaves others waiting near the end of a limited scan. So a
/// worker that gets [`Lease::Wait`] must also watch the scan's stop flag.
#[derive(Debug)]
pub struct Leases {
    /// The open intervals, ascending and disjoint, none of them empty, each with the place of its first exponent.
    open: Box<[(u64, Interval)]>,
    /// How many exponents are open.
    places: u64,
    max_targets: Option<u64>,
    lease_len: u64,
    /// The first place not granted. `next <= safe_end`.
    next: AtomicU64,
    /// Grants stop at this place. Only grows, up to `places`.
    safe_end: AtomicU64,
    /// Whether more will be released. Becomes false once, after the last change of `safe_end`.
    is_held_back: AtomicBool,
    /// Skipped exponents in finished leases; added to before `finished` is.
    skipped: AtomicU64,
    /// Exponents in finished leases.
    finished: AtomicU64,
}

/// How many exponents a worker should lease at a time, of `exponents` that `workers` share. Few enough that each has a
/// turn even in a small scan; otherwise one of several interfaces would send all of it.
pub fn lease_len(exponents: u64, workers: usize) -> u64 {
    /// Leases for each worker if all are equally fast. Fewer let one worker finish late; more cost more leases.
    const SHARE: u64 = 8;
    /// Fewest exponents per lease. A lease costs some powers modulo a prime, so shorter ones waste time.
    const MIN: u64 = 64;
    /// Most exponents per lease. With longer ones, one worker may end long after the others; shorter ones cost more
    /// leases.
    const MAX: u64 = 4096;
    (exponents / (SHARE * workers.max(1) as u64)).clamp(MIN, MAX)
}

impl Leases {
    /// A table over `arc` that grants `lease_len` exponents at a time (at least 1), and `max_targets` targets in all.
    pub fn new(arc: Interval, max_targets: Option<u64>, lease_len: u64) -> Self {
        Self::over(&[arc], max_targets, lease_len)
    }

    /// A table over the intervals `open`, which are ascending and disjoint. No grant spans two of them.
    pub fn over(open: &[Interval], max_targets: Option<u64>, lease_len: u64) -> Self {
        debug_assert!(open.windows(2).all(|pair| pair[0].end <= pair[1].start));
        let mut places = 0;
        let with_place = |interval: &Interval| {
            let place = places;
            places += interval.len();
            (place, *interval)
        };
        let open = open.iter().filter(|interval| !interval.is_empty()).map(with_place).collect();
        Self {
            open,
            places,
            max_targets,
            lease_len: lease_len.max(1),
            next: AtomicU64::new(0),
            safe_end: AtomicU64::new(max_targets.map_or(places, |max| max.min(places))),
            is_held_back: AtomicBool::new(false),
            skipped: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    /// A table over the intervals `open`, as in [`Self::over`], that grants only what is released.
    pub fn behind(open: &[Interval], lease_len: u64) -> Self {
        let all = Self::over(open, None, lease_len);
        Self { safe_end: AtomicU64::new(0), is_held_back: AtomicBool::new(true), ..all }
    }

    /// Lets the exponents below `end` be granted, in a table that holds back. With `is_last` nothing more is released:
    /// then the walk ends there. One thread calls this, with an `end` that does not shrink.
    pub fn release(&self, end: u64, is_last: bool) {
        let before = self.open.partition_point(|(_, interval)| interval.start < end);
        let places = before.checked_sub(1).map_or(0, |last| {
            let (first, interval) = self.open[last];
            first + interval.end.min(end) - interval.start
        });
        self.safe_end.fetch_max(places, Ordering::Relaxed);
        if is_last {
            // Release: who sees that nothing is held back sees the last safe end as well.
            self.is_held_back.store(false, Ordering::Release);
        }
    }

    /// Whether nothing is granted any more, now or later. Workers may still walk what they were granted.
    pub fn is_over(&self) -> bool {
        let next = self.next.load(Ordering::Acquire);
        // As in `lease`: the lease that a worker would get is not asked for.
        if self.is_held_back.load(Ordering::Acquire) || next < self.safe_end.load(Ordering::Relaxed) {
            return false;
        }
        let Some(max_targets) = self.max_targets else { return true };
        let safe_end = self.safe_end.load(Ordering::Relaxed);
        let finished = self.finished.load(Ordering::Acquire);
        let targets = safe_end.saturating_sub(self.skipped.load(Ordering::Relaxed));
        safe_end == self.places || finished == safe_end && targets == max_targets
    }

    /// Whether nothing can be granted before more is released.
    pub fn waits_for_release(&self) -> bool {
        self.is_held_back.load(Ordering::Relaxed)
            && self.next.load(Ordering::Relaxed) >= self.safe_end.load(Ordering::Relaxed)
    }

    /// The exponents from this place on, as far as they are in one interval. The place is below `places`.
    fn rest_at(&self, place: u64) -> Interval {
        let (first, interval) = self.open[self.open.partition_point(|(first, _)| *first <= place) - 1];
        Interval { start: interval.start + (place - first), end: interval.end }
    }

    /// Requests the next interval.
    pub fn lease(&self) -> Lease {
        loop {
            // Relaxed: a stale bound only causes another round of the loop, or fails a check below.
            let safe_end = self.safe_end.load(Ordering::Relaxed);
            let next = self.next.load(Ordering::Relaxed);
            if next < safe_end {
                let rest = self.rest_at(next);
                let len = self.lease_len.min(safe_end - next).min(rest.len());
                // Release, for `unleased`. A grant passes on only the exponents, and the exchange gives each to one
                // worker. `next` only grows, so an exchange that succeeds has seen the current value.
                if self
                    .next
                    .compare_exchange_weak(next, next + len, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
                {
                    return Lease::Grant(Interval { end: rest.start + len, ..rest });
                }
                continue;
            }
            let Some(max_targets) = self.max_targets else {
                if self.is_held_back.load(Ordering::Acquire) {
                    return Lease::Wait;
                }
                // More may have been released between the two loads.
                match self.safe_end.load(Ordering::Relaxed) {
                    end if end == safe_end => return Lease::Done,
                    _ => continue,
                }
            };
            if safe_end == self.places {
                return Lease::Done;
            }
            // Acquire, with the release in `finish`: a thread that sees a lease finished also sees its skipped
            // exponents. All writes to `finished` are read-modify-writes, so the value read carries every earlier one's
            // release.
            match self.finished.load(Ordering::Acquire).cmp(&safe_end) {
                Compare::Less => return Lease::Wait,
                Compare::Greater => continue,
                Compare::Equal => {}
            }
            // If the safe end moved on in the meantime, `skipped` may hold more than these leases': the deficit is then
            // too large, never too small, and the exchange fails. The safe end only grows, so it cannot return to an
            // old value.
            let missing = max_targets - safe_end.saturating_sub(self.skipped.load(Ordering::Relaxed));
            if missing == 0 {
                return Lease::Done;
            }
            let extended = self.places.min(safe_end + missing);
            // Relaxed: the safe end only gives the right to lease up to it. Failure means that another worker extended
            // it: look again.
            let _ = self.safe_end.compare_exchange(safe_end, extended, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Returns a lease that was walked to its end; `skipped` of its exponents were not a target
    /// ([`super::LaneCursor::skipped`]). Call it once for each grant, with the interval as granted.
    pub fn finish(&self, granted: Interval, skipped: u64) {
        debug_assert!(skipped <= granted.len());
        self.skipped.fetch_add(skipped, Ordering::Relaxed);
        // Release: publishes the line above to every thread that sees this lease finished.
        self.finished.fetch_add(granted.len(), Ordering::Release);
    }

    /// The progress of the leases.
    pub fn progress(&self) -> LeaseProgress {
        // Acquire: the skipped exponents of the finished leases are in `skipped`. A lease that finishes between the two
        // loads may be in `skipped` alone, hence the saturation.
        let finished = self.finished.load(Ordering::Acquire);
        let targets = finished.saturating_sub(self.skipped.load(Ordering::Relaxed));
        let total = self.safe_end.load(Ordering::Relaxed);
        LeaseProgress { finished, total: total.max(finished), targets }
    }

    /// The exponents that no worker has leased yet, as ascending intervals. Together with the cursors'
    /// [`super::LaneCursor::remaining`] they are all that remains. A limit may end the scan before all of it is walked.
    pub fn unleased(&self) -> Vec<Interval> {
        // Acquire: whoever sees a place granted also sees what its worker did before it asked.
        let next = self.next.load(Ordering::Acquire);
        if next == self.places {
            return Vec::new();
        }
        let behind = self.open.iter().filter(|(first, _)| *first > next).map(|(_, interval)| *interval);
        std::iter::once(self.rest_at(next)).chain(behind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shards_cover_the_order(order in 0u64..=1 << 48, shards in 1u32..=1_000) {
            let mut next = 0;
            for index in 0..shards {
                let arc = shard(order, index, shards);
                prop_assert_eq!(arc.start, next);
                prop_assert!(arc.len().abs_diff(order / u64::from(shards)) <= 1);
                next = arc.end;
            }
            prop_assert_eq!(next, order);
        }
    }

    proptest! {
        /// A table that holds back grants each open exponent once, and none before it is released, however releases and
        /// leases follow each other.
        #[test]
        fn what_is_released_is_granted_once(
            gaps in prop::collection::vec((1u64..9, 1u64..20), 1..6),
            releases in prop::collection::vec((0u64..30, 0usize..4), 0..20),
            lease_len in 1u64..7,
        ) {
            let mut end = 3;
            let open: Vec<Interval> = gaps.iter().map(|&(gap, len)| {
                let start = end + gap;
                end = start + len;
                Interval { start, end }
            }).collect();
            let all: Vec<u64> = open.iter().flat_map(|part| part.start..part.end).collect();
            let leases = Leases::behind(&open, lease_len);
            prop_assert!(leases.lease() == Lease::Wait && leases.waits_for_release() && !leases.is_over());
            let (mut granted, mut released) = (Vec::new(), 0);
            let lasts = releases.len();
            for (place, (more, requests)) in releases.into_iter().chain([(0, usize::MAX)]).enumerate() {
                let is_last = place == lasts;
                released += more;
                leases.release(released, is_last);
                for _ in 0..requests {
                    let lease = leases.lease();
                    let Lease::Grant(interval) = lease else {
                        prop_assert_eq!(lease, if is_last { Lease::Done } else { Lease::Wait });
                        prop_assert_eq!((leases.is_over(), leases.waits_for_release()), (is_last, !is_last));
                        break;
                    };
                    prop_assert!(interval.end <= released && interval.len() <= lease_len);
                    granted.extend(interval.start..interval.end);
                    leases.finish(interval, 0);
                }
                let left: Vec<u64> =
                    leases.unleased().iter().flat_map(|part| part.start..part.end).collect();
                prop_assert_eq!([&granted[..], &left[..]].concat(), all.clone());
            }
            granted.retain(|exponent| *exponent >= released);
            prop_assert!(granted.is_empty());
        }
    }

    proptest! {
        #[test]
        fn merging_keeps_each_exponent_once(pieces in prop::collection::vec((0u64..60, 0u64..8), 0..20)) {
            let intervals: Vec<_> = pieces.iter().map(|&(start, len)| Interval { start, end: start + len }).collect();
            let holds = |intervals: &[Interval], e: u64| {
                intervals.iter().filter(|interval| (interval.start..interval.end).contains(&e)).count()
            };
            let merged = merged(intervals.clone());
            for exponent in 0..70 {
                prop_assert_eq!(holds(&merged, exponent), usize::from(holds(&intervals, exponent) > 0));
            }
            prop_assert!(merged.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }

    #[test]
    fn small_scans_are_shared_too() {
        assert_eq!([0, 4_096, u64::MAX].map(|exponents| lease_len(exponents, 2)), [64, 256, 4_096]);
        assert_eq!([lease_len(4_096, 0), lease_len(4_096, 64), lease_len(1 << 32, 64)], [512, 64, 4_096]);
    }

    #[test]
    fn largest_shard_numbers_do_not_overflow() {
        let arc = shard(u64::MAX, u32::MAX - 1, u32::MAX);
        assert_eq!(arc.end, u64::MAX);
        assert!(arc.len() <= 1 << 32 | 1);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let leases = Leases::new(Interval { start: 10, end: 35 }, None, 10);
        assert_eq!(leases.lease(), Lease::Grant(Interval { start: 10, end: 20 }));
        assert_eq!(leases.lease(), Lease::Grant(Interval { start: 20, end: 30 }));
        assert_eq!(leases.unleased(), [Interval { start: 30, end: 35 }]);
        assert_eq!(leases.lease(), Lease::Grant(Interval { start: 30, end: 35 }));
        assert_eq!(leases.lease(), Lease::Done);
        leases.finish(Interval { start: 20, end: 30 }, 3);
        assert_eq!(leases.progress(), LeaseProgress { finished: 10, total: 25, targets: 7 });
    }

    #[test]
    fn limit_extends_by_what_was_skipped() {
        let leases = Leases::new(Interval { start: 100, end: 200 }, Some(10), 6);
        let first = Interval { start: 100, end: 106 };
        let second = Interval { start: 106, end: 110 };
        assert_eq!(leases.lease(), Lease::Grant(first));
        assert_eq!(leases.lease(), Lease::Grant(second));
        assert_eq!(leases.lease(), Lease::Wait);
        leases.finish(second, 1);
        assert_eq!(leases.lease(), Lease::Wait);
        leases.finish(first, 2);
        let third = Interval { start: 110, end: 113 };
        assert_eq!(leases.lease(), Lease::Grant(third));
        assert_eq!(leases.lease(), Lease::Wait);
        leases.finish(third, 1);
        let fourth = Interval { start: 113, end: 114 };
        assert_eq!(leases.lease(), Lease::Grant(fourth));
        leases.finish(fourth, 0);
        assert_eq!(leases.lease(), Lease::Done);
        assert_eq!(leases.progress(), LeaseProgress { finished: 14, total: 14, targets: 10 });
    }

    proptest! {
        /// Whatever is open is granted once and in order, and nothing else; what is not yet granted is unleased.
        #[test]
        fn open_intervals_are_granted_once(
            pieces in prop::collection::vec((0u64..20, 0u64..30), 0..8),
            lease_len in 1u64..20,
            max_targets in prop::option::of(0u64..200),
        ) {
            let mut at = 5;
            let open: Vec<Interval> = pieces
                .iter()
                .map(|&(gap, len)| {
                    let start = at + gap;
                    at = start + len;
                    Interval { start, end: at }
                })
                .collect();
            let all: Vec<u64> = open.iter().flat_map(|interval| interval.start..interval.end).collect();
            let leases = Leases::over(&open, max_targets, lease_len);
            let mut granted = vec![];
            loop {
                let rest: Vec<u64> =
                    leases.unleased().iter().flat_map(|interval| interval.start..interval.end).collect();
                prop_assert_eq!(&rest, &all[granted.len()..]);
                match leases.lease() {
                    Lease::Grant(interval) => {
                        prop_assert!(!interval.is_empty() && interval.len() <= lease_len);
                        granted.extend(interval.start..interval.end);
                        leases.finish(interval, 0);
                    }
                    Lease::Wait => prop_assert!(false, "all leases are finished"),
                    Lease::Done => break,
                }
            }
            let most = max_targets.map_or(all.len(), |max| (max as usize).min(all.len()));
            prop_assert_eq!(&granted[..], &all[..most]);
        }
    }

    #[test]
    fn limits_of_zero_and_beyond_the_arc() {
        let arc = Interval { start: 5, end: 9 };
        assert_eq!(Leases::new(arc, Some(0), 10).lease(), Lease::Done);
        let all = Leases::new(arc, Some(u64::MAX), u64::MAX);
        assert_eq!(all.lease(), Lease::Grant(arc));
        assert_eq!(all.lease(), Lease::Done);
        assert_eq!(Leases::new(Interval { start: 5, end: 5 }, Some(3), 10).lease(), Lease::Done);
        // A length of 0 would grant nothing for ever.
        assert_eq!(Leases::new(arc, None, 0).lease(), Lease::Grant(Interval { start: 5, end: 6 }));
    }
}
