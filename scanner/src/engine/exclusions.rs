//! Targets that must not be probed although they are in the order: what the block list has gained since the scan first
//! started. It may gain more while the scan runs.
//!
//! One thread adds to the set, and the workers follow: each takes the new set when its orders change, sends nothing
//! until what it had handed over before has left, and reports that. What always holds: once all workers have reported a
//! generation, no frame to an address of that generation's set leaves any more. The set only grows, and targets keep
//! their numbers.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;
use targets::RangeSet;

use crate::sync::atomic::{AtomicU64, Ordering};

/// The set of a scan, and how far its workers are.
#[derive(Debug)]
pub struct Exclusions {
    /// How often the set has grown. Written after the set.
    generation: AtomicU64,
    excluded: Mutex<Arc<RangeSet>>,
    /// For each worker a generation: everything that it had handed over before it followed that one has left.
    left: Box<[CachePadded<AtomicU64>]>,
}

impl Exclusions {
    /// The exclusions of a scan with this many workers, which begins with `excluded`.
    pub fn new(excluded: RangeSet, workers: usize) -> Self {
        Self {
            generation: AtomicU64::new(0),
            excluded: Mutex::new(Arc::new(excluded)),
            left: (0..workers).map(|_| CachePadded::default()).collect(),
        }
    }

    /// The present set.
    pub fn excluded(&self) -> Arc<RangeSet> {
        Arc::clone(&self.excluded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds to the set. Returns the generation that has all of it. The workers look for it once they get new orders:
    /// see [`Control::restart_pace`](super::Control::restart_pace). Only one thread calls this.
    pub fn extend(&self, more: &RangeSet) -> u64 {
        let before = self.excluded();
        if more.subtract(&before).is_empty() {
            return self.generation();
        }
        *self.excluded.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(before.union(more));
        self.generation.fetch_add(1, Ordering::Release) + 1
    }

    /// Whether no frame to an address of this generation's set leaves any more.
    pub fn is_certain(&self, generation: u64) -> bool {
        self.left.iter().all(|left| left.load(Ordering::Acquire) >= generation)
    }

    /// The generation at present. A set that is asked for afterwards has all of it.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Everything that `worker` had handed over before it followed this generation has left.
    pub(crate) fn has_left(&self, worker: usize, generation: u64) {
        self.left[worker].store(generation, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use targets::AddressRange;

    use super::*;

    fn set(first: u32, last: u32) -> RangeSet {
        AddressRange::new(first, last).into_iter().collect()
    }

    #[test]
    fn certain_when_all_have_reported() {
        let exclusions = Exclusions::new(set(1, 3), 2);
        assert!(exclusions.is_certain(0));
        assert_eq!(exclusions.extend(&set(7, 9)), 1);
        assert_eq!((exclusions.generation(), exclusions.excluded().len()), (1, 6));
        exclusions.has_left(0, 1);
        assert!(!exclusions.is_certain(1));
        assert_eq!(exclusions.extend(&set(10, 10)), 2);
        exclusions.has_left(1, 2);
        assert!(exclusions.is_certain(1) && !exclusions.is_certain(2));
        exclusions.has_left(0, 2);
        assert!(exclusions.is_certain(2));
    }

    /// What is excluded already is no new generation: it is certain as soon as the one that has it.
    #[test]
    fn nothing_new() {
        let exclusions = Exclusions::new(RangeSet::default(), 1);
        assert_eq!(exclusions.extend(&RangeSet::default()), 0);
        assert_eq!(exclusions.extend(&set(5, 9)), 1);
        assert_eq!(exclusions.extend(&set(6, 7)), 1);
        assert!(!exclusions.is_certain(1));
    }
}
