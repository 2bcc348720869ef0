//! The fast dry run: the bare targets, in binary, for tests of coverage and order. Needs no privileges.
//!
//! Six bytes a probe, as ZMap writes them: the address, then the port, both in network order; nothing between.

use std::io::{self, Write};
use std::time::Duration;

use super::{Port, PortCounts, RxBatch, Stream};
use crate::packet::PatchBatch;

/// A port that writes each probe's target: what "sent" means here is "written".
pub struct FastDryRunPort<W> {
    out: W,
    counts: PortCounts,
    failure: Option<io::Error>,
}

impl<W: Write + Send> FastDryRunPort<W> {
    /// A fast dry run to `out`.
    pub fn new(out: W) -> Self {
        Self { out, counts: PortCounts::default(), failure: None }
    }
}

impl<W: Write + Send> Port for FastDryRunPort<W> {
    fn room(&mut self, _stream: Stream, wanted: usize) -> usize {
        wanted
    }

    fn transmit(&mut self, stream: Stream, patches: &PatchBatch) {
        debug_assert!(stream == Stream::Probe, "nothing answers a dry run");
        for i in 0..patches.len {
            let patch = patches.get(i);
            let [a, b, c, d] = patch.destination.to_be_bytes();
            let [_, _, high, low] = patch.ports.to_be_bytes();
            if let Err(failure) = self.out.write_all(&[a, b, c, d, high, low]) {
                self.failure.get_or_insert(failure);
                return;
            }
            self.counts.probes_sent += 1;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.out.flush(),
        }
    }

    fn outstanding(&self) -> u64 {
        0
    }

    fn receive(&mut self, _batch: &mut RxBatch) {}

    fn wait(&mut self, timeout: Duration) {
        std::thread::sleep(timeout);
    }

    fn counts(&self) -> PortCounts {
        self.counts
    }
}
