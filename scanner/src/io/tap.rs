//! A port that keeps a copy of each probe, for a file of the sent packets. No packet tap of the kernel sees frames that
//! leave over AF_XDP or as live frames.
//!
//! The copies go through a byte ring (one producer, one consumer, one ring per worker) to the thread that writes the
//! file. The worker does not wait for that thread: a probe whose copy finds no room is counted as missed, and is sent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use rtrb::{Consumer, Producer};
use wire::packet::{PatchBatch, RxBatch, Template};

use super::{Port, PortCounts, PortStatistics, Stream};

/// Bytes in front of each copy: the time of the copy, in nanoseconds since the Unix epoch, and its length.
const HEAD_LEN: usize = 16;

/// A port around another.
pub struct TappedPort {
    port: Box<dyn Port>,
    template: Template,
    /// Header and frame of one copy.
    copy: Vec<u8>,
    ring: Producer<u8>,
    missed: Arc<AtomicU64>,
    /// Whether to wait for room: in a dry run nothing can be late.
    waits: bool,
}

impl TappedPort {
    /// A port that forwards to `port` and puts copies of the probes, made from `template`, into `ring`. Copies that
    /// find no room are counted in `missed`, unless `waits`.
    pub fn new(
        port: Box<dyn Port>,
        template: &Template,
        ring: Producer<u8>,
        missed: Arc<AtomicU64>,
        waits: bool,
    ) -> Self {
        let copy = Vec::with_capacity(HEAD_LEN + template.bytes().len());
        Self { port, template: template.clone(), copy, ring, missed, waits }
    }

    fn keep(&mut self, patches: &PatchBatch) {
        let now = clock_gettime(ClockId::CLOCK_REALTIME).map(Duration::from).unwrap_or_default();
        let time_ns = now.as_nanos() as u64;
        let mut missed = 0;
        for i in 0..patches.len {
            self.copy.clear();
            self.copy.extend([0; HEAD_LEN]);
            self.copy.extend(self.template.bytes());
            let len = self.template.layout().finish(&mut self.copy[HEAD_LEN..], patches, i);
            self.copy.truncate(HEAD_LEN + len);
            self.copy[..8].copy_from_slice(&time_ns.to_le_bytes());
            self.copy[8..HEAD_LEN].copy_from_slice(&(len as u64).to_le_bytes());
            while self.ring.slots() < self.copy.len() && self.waits && !self.ring.is_abandoned() {
                std::thread::yield_now();
            }
            let kept = self.ring.push_entire_slice(&self.copy).is_ok();
            missed += u64::from(!kept);
        }
        if missed > 0 {
            self.missed.fetch_add(missed, Ordering::Relaxed);
        }
    }
}

/// Takes the oldest copy out of a ring and returns its time, in nanoseconds since the Unix epoch. The frame goes into
/// `frame` (cleared first).
pub fn pop(ring: &mut Consumer<u8>, frame: &mut Vec<u8>) -> Option<u64> {
    frame.clear();
    let mut head = [0; HEAD_LEN];
    ring.pop_entire_slice(&mut head).ok()?;
    let [time, len] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|i| head[at + i])));
    frame.resize(len as usize, 0);
    let rest = ring.pop_entire_slice(frame);
    debug_assert!(rest.is_ok(), "a copy is put there whole");
    Some(time)
}

impl Port for TappedPort {
    fn room(&mut self, stream: Stream, wanted: usize) -> usize {
        self.port.room(stream, wanted)
    }

    fn transmit(&mut self, stream: Stream, patches: &PatchBatch) {
        if stream == Stream::Probe {
            self.keep(patches);
        }
        self.port.transmit(stream, patches);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.port.flush()
    }

    fn outstanding(&self) -> u64 {
        self.port.outstanding()
    }

    fn left_in_order(&self) -> u64 {
        self.port.left_in_order()
    }

    fn is_kernel_behind(&self) -> bool {
        self.port.is_kernel_behind()
    }

    fn give_up(&mut self) -> u64 {
        self.port.give_up()
    }

    fn receive(&mut self, batch: &mut RxBatch) {
        self.port.receive(batch);
    }

    fn wait(&mut self, timeout: Duration) {
        self.port.wait(timeout);
    }

    fn counts(&self) -> PortCounts {
        self.port.counts()
    }

    fn socket_drops(&self) -> u64 {
        self.port.socket_drops()
    }

    fn statistics(&self) -> PortStatistics {
        self.port.statistics()
    }
}
