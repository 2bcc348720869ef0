//! Where a worker is in its lease, as other threads read it: what a checkpoint needs to know which targets are done.
//!
//! One writer, many readers, no lock (a sequence lock: the version is odd while the other cells change). What always
//! holds: an exponent that a worker has leased is in what a reader finds, or among the unleased ones that the reader
//! looked up before, until the probes of its target have been handed to the port. So a worker makes the version odd
//! before it asks for a lease, and even again once it has handed over what it took. It does the same before it reports
//! that it has followed a hold, so that whoever finds it then finds its doubts as well.

use crate::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use targets::Interval;

/// Where a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// The part of its lease whose targets it has not probed.
    pub(super) left: Interval,
    /// The part of its lease of the second walk that it has not walked.
    pub(super) second_left: Interval,
    /// Probe frames that it has handed over so far.
    pub(super) submitted: u64,
    /// Whether it has targets to probe again.
    pub(super) has_doubts: bool,
}

impl Default for Stand {
    fn default() -> Self {
        let nothing = Interval { start: 0, end: 0 };
        Self { left: nothing, second_left: nothing, submitted: 0, has_doubts: false }
    }
}

#[derive(Debug, Default)]
struct Cells {
    version: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    second_start: AtomicU64,
    second_end: AtomicU64,
    submitted: AtomicU64,
    has_doubts: AtomicU64,
    /// This and the next one are not under the version.
    received_ps: AtomicU64,
    gone: AtomicU64,
}

/// What readers see of a worker.
#[derive(Debug, Default)]
pub(super) struct Standing(CachePadded<Cells>);

impl Standing {
    /// Everything that had arrived by then, in picoseconds since the scan's start, is in the worker's records.
    pub(super) fn received_ps(&self) -> u64 {
        self.0.received_ps.load(Ordering::Acquire)
    }

    /// Of its probe frames, in the order in which they were handed over, how many have all left or are lost.
    pub(super) fn gone(&self) -> u64 {
        self.0.gone.load(Ordering::Acquire)
    }

    /// Where the worker is; `None` while that changes.
    pub(super) fn read(&self) -> Option<Stand> {
        let cells = &*self.0;
        let version = cells.version.load(Ordering::Acquire);
        let stand = Stand {
            left: Interval {
                start: cells.start.load(Ordering::Relaxed),
                end: cells.end.load(Ordering::Relaxed),
            },
            second_left: Interval {
                start: cells.second_start.load(Ordering::Relaxed),
                end: cells.second_end.load(Ordering::Relaxed),
            },
            submitted: cells.submitted.load(Ordering::Relaxed),
            has_doubts: cells.has_doubts.load(Ordering::Relaxed) != 0,
        };
        fence(Ordering::Acquire);
        let is_same = cells.version.load(Ordering::Relaxed) == version;
        (is_same && version.is_multiple_of(2)).then_some(stand)
    }
}

/// The worker's side.
#[derive(Debug, Default)]
pub(super) struct Teller {
    standing: Arc<Standing>,
    told: Stand,
    version: u64,
}

impl Teller {
    /// What other threads read.
    pub(super) fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// From now on readers find nothing, until [`Self::tell`].
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.version.is_multiple_of(2) {
            self.version += 1;
            self.standing.0.version.store(self.version, Ordering::Relaxed);
            // Whoever sees one of the cells changed, or the lease granted, sees the odd version as well.
            fence(Ordering::Release);
        }
    }

    /// All that had arrived by then has been passed on.
    #[inline]
    pub(super) fn received(&self, until_ps: u64) {
        self.standing.0.received_ps.store(until_ps, Ordering::Release);
    }

    /// The first so many of its probe frames have all left or are lost.
    #[inline]
    pub(super) fn gone(&self, frames: u64) {
        self.standing.0.gone.store(frames, Ordering::Release);
    }

    /// Readers find this from now on.
    #[inline]
    pub(super) fn tell(&mut self, stand: Stand) {
        if stand == self.told && self.version.is_multiple_of(2) {
            return;
        }
        self.begin();
        let cells = &*self.standing.0;
        cells.start.store(stand.left.start, Ordering::Relaxed);
        cells.end.store(stand.left.end, Ordering::Relaxed);
        // Without a second walk these never change.
        if stand.second_left != self.told.second_left {
            cells.second_start.store(stand.second_left.start, Ordering::Relaxed);
            cells.second_end.store(stand.second_left.end, Ordering::Relaxed);
        }
        cells.submitted.store(stand.submitted, Ordering::Relaxed);
        cells.has_doubts.store(stand.has_doubts.into(), Ordering::Relaxed);
        self.told = stand;
        self.version += 1;
        cells.version.store(self.version, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use targets::{Lease, Leases};

    use super::*;

    #[test]
    fn nothing_is_found_while_it_changes() {
        let mut teller = Teller::default();
        let standing = teller.standing();
        assert_eq!(standing.read(), Some(Stand::default()));
        teller.begin();
        teller.begin();
        assert_eq!(standing.read(), None);
        let second_left = Interval { start: 4, end: 5 };
        let stand =
            Stand { left: Interval { start: 7, end: 9 }, second_left, submitted: 3, has_doubts: true };
        teller.tell(stand);
        assert_eq!(standing.read(), Some(stand));
        teller.tell(stand);
        assert_eq!(standing.read(), Some(stand));
    }

    /// Whatever a reader takes for done has been handed over by then, with as many readers and workers at once as the
    /// machine runs.
    #[test]
    fn what_is_not_found_has_been_handed_over() {
        const EXPONENTS: u64 = 200_000;
        let leases = Leases::new(Interval { start: 0, end: EXPONENTS }, None, 7);
        let handed_over: Vec<AtomicBool> = (0..EXPONENTS).map(|_| AtomicBool::new(false)).collect();
        let mut tellers = [Teller::default(), Teller::default()];
        let standings = [tellers[0].standing(), tellers[1].standing()];
        let samples = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let (leases, handed_over, samples) = (&leases, &handed_over, &samples);
            for teller in &mut tellers {
                scope.spawn(move || {
                    let mut submitted = 0;
                    loop {
                        teller.begin();
                        let Lease::Grant(mut left) = leases.lease() else { break };
                        while !left.is_empty() {
                            let end = left.end.min(left.start + 3);
                            for exponent in left.start..end {
                                handed_over[exponent as usize].store(true, Ordering::Relaxed);
                            }
                            (submitted, left.start) = (submitted + end - left.start, end);
                            teller.tell(Stand { left, submitted, ..Stand::default() });
                            // A busy machine lets the reader run late.
                            while end > EXPONENTS / 2 && samples.load(Ordering::Relaxed) < 2 {
                                std::thread::yield_now();
                            }
                        }
                    }
                    teller.tell(Stand { submitted, ..Stand::default() });
                });
            }
            loop {
                let mut open = leases.unleased();
                let is_over = open.is_empty();
                let stands = [standings[0].read(), standings[1].read()];
                if let [Some(one), Some(other)] = stands {
                    samples.fetch_add(1, Ordering::Relaxed);
                    open.extend([one.left, other.left]);
                    let open = targets::merged(open);
                    let mut at = 0;
                    for interval in open.iter().chain([&Interval { start: EXPONENTS, end: EXPONENTS }]) {
                        // A walk over all of it would see few samples.
                        for exponent in (at..interval.start).rev().take(64) {
                            assert!(handed_over[exponent as usize].load(Ordering::Relaxed), "{exponent}");
                        }
                        at = interval.end;
                    }
                    if is_over && one.submitted + other.submitted == EXPONENTS {
                        break;
                    }
                }
                std::hint::spin_loop();
            }
        });
        assert!(handed_over.iter().all(|is_over| is_over.load(Ordering::Relaxed)));
    }
}
