//! The sleep of the thread that sends live frames: it misses nothing that a worker publishes.

#[path = "../../../scanner/src/io/live/doze.rs"]
mod doze;

use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use crate::{Depth, Model};
use doze::Doze;

pub(crate) const MODELS: &[Model] = &[("live-sleep", Depth::All, || nothing_is_missed(2))];

/// The worker publishes as often as that, each time by the ring's head. A sleep has no limit here, so a wake-up that is
/// missed leaves the thread asleep, which loom reports.
fn nothing_is_missed(times: u64) {
    let shared = Arc::new((Doze::default(), AtomicU64::new(0)));
    let sender = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (doze, head) = &*shared;
            let mut tail = 0;
            while tail < times {
                let pending = head.load(Ordering::Acquire) - tail;
                tail += pending;
                if pending == 0 {
                    doze.sleep(Duration::MAX, || head.load(Ordering::Acquire) > tail);
                }
            }
        })
    };
    let (doze, head) = &*shared;
    for published in 1..=times {
        head.store(published, Ordering::Release);
        doze.wake(sender.thread());
    }
    sender.join().expect("the sender");
}
