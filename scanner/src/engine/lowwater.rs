//! Which targets of a scan are done, so that nobody has to probe them again: all of their probes have left, and their
//! answers have had the time to come. And which have been probed for so long that their second probes are due.
//!
//! The scan's thread takes samples of what is still open. A sample has left once every frame that had been handed over
//! when it was taken has left or is lost: not only as many, since a refused frame is overtaken by later ones. An
//! overlap later, everything that was not open in it is done, if every worker has received what had arrived by then.
//! What always holds: whatever is done stays done, and nothing is done whose probes may have been lost in an outage.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use targets::Interval;

/// Samples in one overlap. Lower: more targets are probed twice after an interruption. Higher: more memory and time.
const SAMPLES: u32 = 64;

/// What was open at one moment, as `T` says it.
#[derive(Debug)]
struct Sample<T> {
    /// When it was taken, since the scan's start.
    at: Duration,
    open: T,
    /// Frames that each worker had handed over.
    submitted: Vec<u64>,
    /// When all of them had left.
    left_at: Option<Duration>,
}

/// The samples of a scan that may still count.
#[derive(Debug)]
pub(super) struct Samples<T> {
    overlap: Duration,
    waiting: VecDeque<Sample<T>>,
}

impl<T> Samples<T> {
    /// For what counts `overlap` after it has left.
    pub(super) fn new(overlap: Duration) -> Self {
        Self { overlap, waiting: VecDeque::new() }
    }

    /// Whether it is time for the next one.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.waiting.back().is_none_or(|last| now.saturating_sub(last.at) >= self.overlap / SAMPLES)
    }

    /// Takes a sample: `submitted` has one number a worker.
    pub(super) fn take(&mut self, at: Duration, open: T, submitted: Vec<u64>) {
        self.waiting.push_back(Sample { at, open, submitted, left_at: None });
    }

    /// Of each worker's frames, in the order in which they were handed over, this many have all left by now.
    pub(super) fn leave(&mut self, now: Duration, gone: &[u64]) {
        let has_left = |sample: &Sample<T>| sample.submitted.iter().zip(gone).all(|(all, some)| some >= all);
        for sample in self.waiting.iter_mut().filter(|sample| sample.left_at.is_none()) {
            if !has_left(sample) {
                break;
            }
            sample.left_at = Some(now);
        }
    }

    /// Probes that were handed over since `from` may have been lost.
    pub(super) fn doubt(&mut self, from: Duration) {
        self.waiting.retain(|sample| sample.at < from);
    }

    /// What is still open, if that has changed since the last call. Every worker has passed on what had arrived by
    /// `received`.
    pub(super) fn settle(&mut self, received: Duration) -> Option<T> {
        let mut open = None;
        let overlap = self.overlap;
        let is_done =
            |sample: &mut Sample<T>| sample.left_at.is_some_and(|left_at| left_at + overlap <= received);
        while let Some(sample) = self.waiting.pop_front_if(is_done) {
            open = Some(sample.open);
        }
        open
    }
}

/// The intervals that are not done, ascending and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Of the walk through all targets.
    pub first: Vec<Interval>,
    /// Of the second walk; empty without one.
    pub second: Vec<Interval>,
}

/// What is still open, for other threads to read.
#[derive(Debug)]
pub struct LowWater(Mutex<Open>);

impl LowWater {
    /// At the start all of `open` is.
    pub fn new(open: Open) -> Self {
        Self(Mutex::new(open))
    }

    /// What is not done.
    pub fn open(&self) -> Open {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, open: Open) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = open;
    }
}

/// What a scan keeps for checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// What is still open.
    pub low_water: &'a LowWater,
    /// How long answers take at most.
    pub overlap: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn from(start: u64) -> Vec<Interval> {
        vec![Interval { start, end: 100 }]
    }

    #[test]
    fn done_an_overlap_after_it_has_left() {
        let mut samples = Samples::new(ms(64));
        assert!(samples.is_due(ms(0)));
        samples.take(ms(0), from(10), vec![10, 5]);
        assert!(!samples.is_due(ms(0)) && samples.is_due(ms(1)));
        samples.take(ms(10), from(30), vec![20, 15]);
        samples.leave(ms(20), &[20, 4]);
        assert_eq!(samples.settle(ms(500)), None, "one frame of the second worker is still there");
        samples.leave(ms(30), &[20, 5]);
        assert_eq!(samples.settle(ms(93)), None);
        assert_eq!(samples.settle(ms(94)), Some(from(10)));
        assert_eq!(samples.settle(ms(95)), None, "nothing new");
        samples.leave(ms(100), &[25, 15]);
        samples.take(ms(110), from(50), vec![25, 15]);
        samples.leave(ms(120), &[25, 15]);
        assert_eq!(samples.settle(ms(300)), Some(from(50)), "the last one counts");
    }

    #[test]
    fn what_may_be_lost_is_not_done() {
        let mut samples = Samples::new(ms(64));
        samples.take(ms(0), from(10), vec![10]);
        samples.take(ms(50), from(30), vec![30]);
        samples.leave(ms(60), &[30]);
        samples.doubt(ms(50));
        assert_eq!(samples.settle(ms(1000)), Some(from(10)));
        samples.take(ms(1000), from(50), vec![50]);
        samples.leave(ms(1000), &[50]);
        assert_eq!(samples.settle(ms(1064)), Some(from(50)));
    }
}
