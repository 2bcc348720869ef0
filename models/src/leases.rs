//! The lease table: each exponent is granted once; with a limit the granted targets are the first ones; nobody waits
//! for ever.

use std::sync::atomic::{AtomicBool, Ordering};

use loom::sync::Arc;
use loom::thread;

use crate::shard::{Interval, Lease, Leases};
use crate::{Depth, Model};

pub(crate) const MODELS: &[Model] = &[
    ("leases", Depth::All, || all_is_granted(2, 5, 2)),
    ("leases-of-three", Depth::Interruptions(2), || all_is_granted(3, 3, 1)),
    ("leases-limit", Depth::Interruptions(2), || the_first_are_granted(2, 3, 2)),
    ("leases-limit-short", Depth::Interruptions(1), || the_first_are_granted(2, 2, 1)),
    ("leases-limit-scarce", Depth::All, || the_first_are_granted(2, 9, 4)),
    ("leases-behind", Depth::Interruptions(3), || what_is_released_is_granted(2)),
    ("leases-behind-short", Depth::Interruptions(2), || what_is_released_is_granted(1)),
    ("leases-progress", Depth::Interruptions(2), progress_is_never_ahead),
];

/// Where the arc begins: not at 0, which a forgotten offset would not show.
const START: u64 = 40;

/// What a worker has been granted, and walks. With `over`, nothing is granted after any worker was told that all is
/// done; the flag is not one of loom's, so it adds no orders and hides none.
fn walk(leases: &Leases, is_target: fn(u64) -> bool, over: Option<&AtomicBool>) -> Vec<u64> {
    let mut walked = Vec::new();
    loop {
        match leases.lease() {
            Lease::Grant(granted) => {
                let is_over = over.is_some_and(|over| over.load(Ordering::SeqCst));
                assert!(!is_over, "{granted:?} is granted after all was done");
                let exponents = granted.start..granted.end;
                let skipped = exponents.clone().filter(|&exponent| !is_target(exponent)).count();
                walked.extend(exponents);
                leases.finish(granted, skipped as u64);
            }
            Lease::Wait => thread::yield_now(),
            Lease::Done => {
                over.inspect(|over| over.store(true, Ordering::SeqCst));
                return walked;
            }
        }
    }
}

/// All workers walk; returns what they have walked, in order.
fn walk_together(
    workers: usize,
    leases: &Arc<Leases>,
    is_target: fn(u64) -> bool,
    over: Option<std::sync::Arc<AtomicBool>>,
) -> Vec<u64> {
    let others: Vec<_> = (1..workers)
        .map(|_| {
            let (leases, over) = (Arc::clone(leases), over.clone());
            thread::spawn(move || walk(&leases, is_target, over.as_deref()))
        })
        .collect();
    let mut walked = walk(leases, is_target, over.as_deref());
    others.into_iter().for_each(|other| walked.extend(other.join().expect("a worker")));
    walked.sort_unstable();
    walked
}

fn all_is_granted(workers: usize, len: u64, lease_len: u64) {
    let arc = Interval { start: START, end: START + len };
    let leases = Arc::new(Leases::new(arc, None, lease_len));
    assert!(walk_together(workers, &leases, |_| true, None).into_iter().eq(arc.start..arc.end));
    assert!(leases.unleased().is_empty());
    let progress = leases.progress();
    assert_eq!((progress.finished, progress.total, progress.targets), (len, len, len));
}

/// Of eight exponents, the first, third and fourth are not a target.
fn is_target(exponent: u64) -> bool {
    ![0, 2, 3].contains(&(exponent - START))
}

fn the_first_are_granted(workers: usize, limit: usize, lease_len: u64) {
    let arc = Interval { start: START, end: START + 8 };
    let leases = Arc::new(Leases::new(arc, Some(limit as u64), lease_len));
    // Where the arc's end comes before the limit, workers are done while others still walk.
    let over = (limit <= 5).then(std::sync::Arc::<AtomicBool>::default);
    let walked = walk_together(workers, &leases, is_target, over);
    let targets: Vec<u64> = walked.iter().copied().filter(|&exponent| is_target(exponent)).collect();
    let first: Vec<u64> = (arc.start..arc.end).filter(|&exponent| is_target(exponent)).take(limit).collect();
    assert_eq!(targets, first);
    // Nothing behind the last of them was granted, unless there are fewer.
    let end = if first.len() == limit { first[limit - 1] + 1 } else { arc.end };
    assert!(walked.into_iter().eq(arc.start..end));
    let rest = Interval { start: end, end: arc.end };
    assert!(leases.unleased().into_iter().eq(Some(rest).filter(|rest| !rest.is_empty())));
    assert_eq!(leases.progress().targets, first.len() as u64);
    assert_eq!(leases.lease(), Lease::Done);
}

/// A table that holds back grants each exponent once, none before it is released, and is over only after the last.
fn what_is_released_is_granted(lease_len: u64) {
    let arc = Interval { start: START, end: START + 4 };
    let leases = Arc::new(Leases::behind(&[arc], lease_len));
    let over = std::sync::Arc::<AtomicBool>::default();
    let releaser = {
        let (leases, over) = (Arc::clone(&leases), std::sync::Arc::clone(&over));
        thread::spawn(move || {
            assert!(!leases.is_over() && !over.load(Ordering::SeqCst));
            leases.release(START + 1, false);
            assert!(!leases.is_over() && !over.load(Ordering::SeqCst));
            leases.release(START + 3, true);
        })
    };
    let walked = walk(&leases, |_| true, Some(&*over));
    releaser.join().expect("the releaser");
    assert!(walked.into_iter().eq(arc.start..START + 3));
    assert!(leases.is_over());
    assert!(leases.unleased().into_iter().eq([Interval { start: START + 3, end: arc.end }]));
}

/// A reader sees no more finished than is, no less than before, and never more targets than there are.
fn progress_is_never_ahead() {
    let arc = Interval { start: START, end: START + 5 };
    let leases = Arc::new(Leases::new(arc, Some(2), 2));
    let worker = {
        let leases = Arc::clone(&leases);
        thread::spawn(move || walk(&leases, is_target, None))
    };
    let mut before = 0;
    for _ in 0..2 {
        let progress = leases.progress();
        assert!((before..=5).contains(&progress.finished) && progress.finished <= progress.total);
        assert!(progress.targets <= 2);
        before = progress.finished;
    }
    worker.join().expect("a worker");
}
