//! What counts as done for a checkpoint: nothing whose probe has not left.
//!
//! The reader does what the scan's thread does: it looks up what is not leased, then where the worker is, then how much
//! has been completed. It is a thread of its own: in the thread that starts the worker, loom lets it be first in every
//! order. What a probe has become is in a word that is only changed, also by who reads it, and without an order: a
//! change sees the newest value, and hides no fence that is missing. So it is what is true, not what a thread sees. It
//! is loom's, because loom goes on with another thread only where the next step is one that it knows.

use std::time::Duration;

use loom::sync::Arc;
// As counters are published.
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;

use super::lowwater::Samples;
use super::standing::{Stand, Standing, Teller};
use crate::shard::{Interval, Lease, Leases};

/// Exponents of the scan.
const EXPONENTS: u64 = 2;

/// Which probes were handed over, or have left: a bit each.
#[derive(Clone, Default)]
struct Probes(Arc<AtomicU64>);

impl Probes {
    fn set(&self, exponent: u64) {
        self.0.fetch_or(1 << exponent, Relaxed);
    }

    fn has(&self, exponent: u64) -> bool {
        self.0.fetch_or(0, Relaxed) >> exponent & 1 == 1
    }
}

/// An interval as the project's other crates have it.
fn outside(interval: Interval) -> targets::Interval {
    targets::Interval { start: interval.start, end: interval.end }
}

/// Probes all that is left, one exponent after the other.
fn work(leases: &Leases, mut teller: Teller, handed_over: &Probes, then: impl Fn(&Teller, u64)) {
    let mut submitted = 0;
    loop {
        teller.begin();
        let Lease::Grant(granted) = leases.lease() else { break };
        let mut left = outside(granted);
        while !left.is_empty() {
            handed_over.set(left.start);
            (submitted, left.start) = (submitted + 1, left.start + 1);
            teller.tell(Stand { left, submitted, ..Stand::default() });
            then(&teller, submitted);
        }
        leases.finish(granted, 0);
    }
    teller.tell(Stand { submitted, ..Stand::default() });
}

/// What is open, as a reader finds it; `None` while the worker leases.
fn open(leases: &Leases, standing: &Standing) -> Option<(Vec<targets::Interval>, Stand)> {
    let mut open: Vec<_> = leases.unleased().into_iter().map(outside).collect();
    let stand = standing.read()?;
    open.push(stand.left);
    Some((targets::merged(open), stand))
}

fn is_in(open: &[targets::Interval], exponent: u64) -> bool {
    open.iter().any(|interval| (interval.start..interval.end).contains(&exponent))
}

fn all() -> Interval {
    Interval { start: 0, end: EXPONENTS }
}

/// What a reader does not find has been handed over.
pub(super) fn what_is_not_open_was_handed_over() {
    // One lease for each exponent, so that a reader may meet the worker while it leases.
    let (leases, probes) = (Arc::new(Leases::new(all(), None, 1)), Probes::default());
    let teller = Teller::default();
    let standing = teller.standing();
    let worker = {
        let (leases, probes) = (Arc::clone(&leases), probes.clone());
        thread::spawn(move || work(&leases, teller, &probes, |_, _| ()))
    };
    let reader = {
        let (leases, standing) = (Arc::clone(&leases), std::sync::Arc::clone(&standing));
        thread::spawn(move || {
            let Some((open, _)) = open(&leases, &standing) else { return };
            for exponent in (0..EXPONENTS).filter(|&exponent| !is_in(&open, exponent)) {
                assert!(probes.has(exponent), "{exponent} is not open, and was not handed over: {open:?}");
            }
        })
    };
    worker.join().expect("the worker");
    reader.join().expect("the reader");
    let (open, stand) = self::open(&leases, &standing).expect("the worker has ended");
    assert!(open.is_empty() && stand.submitted == EXPONENTS);
}

/// What counts as done has left: the kernel has completed its frame.
pub(super) fn what_is_done_has_left() {
    // One lease, so that a reader may meet the worker between two exponents of it.
    let leases = Arc::new(Leases::new(all(), None, EXPONENTS));
    let (probes, gone) = (Probes::default(), Probes::default());
    let teller = Teller::default();
    let standing = teller.standing();
    let worker = {
        let (leases, gone) = (Arc::clone(&leases), gone.clone());
        thread::spawn(move || {
            // A frame is completed once the next one has been handed over, and the last one never.
            let complete = |teller: &Teller, submitted: u64| {
                if let Some(frame) = submitted.checked_sub(2) {
                    gone.set(frame);
                    teller.gone(frame + 1);
                }
            };
            work(&leases, teller, &probes, complete);
        })
    };
    let reader = thread::spawn(move || {
        let mut samples = Samples::new(Duration::ZERO);
        let now = Duration::from_secs(1);
        if let Some((open, stand)) = open(&leases, &standing) {
            samples.take(now, open, vec![stand.submitted]);
        }
        samples.leave(now, &[standing.gone()]);
        let Some(open) = samples.settle(now) else { return };
        for exponent in (0..EXPONENTS).filter(|&exponent| !is_in(&open, exponent)) {
            assert!(gone.has(exponent), "{exponent} is done, and has not left");
        }
    });
    worker.join().expect("the worker");
    reader.join().expect("the reader");
}
