//! How far an output is, so that a scan can go on from there.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks at work that other threads have to end. Shorter costs wake-ups; longer delays a checkpoint.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How far an output is.
#[derive(Debug, Default)]
pub struct Place {
    /// Where results go on.
    pub reach: Reach,
    /// Its present file, for syncing it to the disk. None if it is not a file.
    pub file: Option<File>,
    /// What other threads have to end before everything is where it belongs.
    pub under_way: Option<UnderWay>,
}

/// Where the results of a scan go on after an interruption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The number of the file in its series; 1 if there is only one.
    pub number: u32,
    /// How many of its bytes count. They end with a whole record.
    pub bytes: u64,
    /// What makes a whole file of these bytes, if its format cannot be continued: then results go on in the next file.
    pub footer: Vec<u8>,
}

/// Work that another thread does in order, such as closing files.
#[derive(Clone, Debug)]
pub struct UnderWay {
    /// How much of it is done.
    pub done: Arc<AtomicU64>,
    /// How much of it there was.
    pub all: u64,
}

impl UnderWay {
    /// Waits until `deadline` for its end. Returns whether it has come.
    pub fn wait(&self, deadline: Instant) -> bool {
        loop {
            if self.done.load(Ordering::Acquire) >= self.all {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_the_end_and_no_longer_than_allowed() {
        let under_way = UnderWay { done: Arc::default(), all: 2 };
        assert!(!under_way.wait(Instant::now()));
        let done = Arc::clone(&under_way.done);
        let worker = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            done.store(2, Ordering::Release);
        });
        assert!(under_way.wait(Instant::now() + Duration::from_secs(20)));
        worker.join().unwrap();
    }
}
