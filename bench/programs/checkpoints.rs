//! A checkpoint every 5 s beside a measured scan: what a scan's own thread does, without outputs.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use targets::RangeSet;
use xdpmap::checkpoint::file::Held;
use xdpmap::checkpoint::{Checkpoint, Request, SavedOutput, digits};
use xdpmap::engine::LowWater;

/// The scanner's default.
const EVERY: Duration = Duration::from_secs(5);

/// Writes a checkpoint from time to time.
pub(crate) struct Writer {
    thread: JoinHandle<io::Result<u32>>,
    end: Sender<()>,
}

impl Writer {
    /// Writes the first one, and starts the thread.
    pub(crate) fn start(file: &Path, low_water: Arc<LowWater>) -> io::Result<Self> {
        let request = Request {
            options: "target-ports 80\n".repeat(20),
            targets: vec![],
            folder: "/".into(),
            inputs: vec![],
            blocked: RangeSet::default(),
            blocked_sha256: None,
            targets_hash: digits(&[0; 32]),
            plan_hash: digits(&[0; 32]),
            plan: vec![],
            origins: vec![],
            seed: 1,
            key: Some(digits(&[9; 16])),
            timestamp: 0,
        };
        let outputs = vec![SavedOutput::empty(file.with_extension("csv"), false)];
        let started = "2026-01-31T12:00:00Z".to_owned();
        let mut checkpoint = Checkpoint::new(request, &low_water.open().first, outputs, started);
        let mut held = Held::at(file.to_owned());
        held.write(&checkpoint)?;
        let (end, ended) = mpsc::channel();
        let run = move || {
            let mut count = 1;
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                checkpoint.set_open(&low_water.open().first, None);
                held.write(&checkpoint)?;
                count += 1;
            }
            Ok(count)
        };
        Ok(Self { thread: thread::Builder::new().name("checkpoint".to_owned()).spawn(run)?, end })
    }

    /// Ends it; returns how many checkpoints there were.
    pub(crate) fn finish(self) -> io::Result<u32> {
        drop(self.end);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    }
}
