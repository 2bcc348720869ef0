//! Published counters: a reader sees each counter as it once was, and none that shrinks.
//!
//! Nothing is promised of two counters together, and readers rely on nothing: what they subtract, they subtract with
//! saturation, or after the thread that counts has ended.

use loom::sync::Arc;
use loom::thread;

use crate::counters::counters;
use crate::{Depth, Model};

pub(crate) const MODELS: &[Model] = &[("published", Depth::All, counters_only_grow)];

counters! {
    {
        /// Two counters.
        Counts,
        /// They as other threads see them.
        Published
    }
    /// One in the lower half of its word.
    low,
    /// One in the upper half of its word.
    high,
}

const fn counts(number: u64) -> Counts {
    Counts { low: number, high: number << 32 | number }
}

fn counters_only_grow() {
    let published = Arc::new(Published::default());
    let worker = {
        let published = Arc::clone(&published);
        thread::spawn(move || (1..=2).for_each(|number| published.publish(&counts(number))))
    };
    let mut before = counts(0);
    for _ in 0..2 {
        let seen = published.read();
        assert!(
            seen.low <= 2 && seen.high == counts(seen.high & 0xffff_ffff).high,
            "{seen:?} was never published"
        );
        assert!(seen.low >= before.low && seen.high >= before.high, "{seen:?} after {before:?}");
        before = seen;
    }
    worker.join().expect("the worker");
    assert_eq!(published.read(), counts(2), "exact once the thread that counts has ended");
}
