//! A port for tests of the engine: frames go to a network in memory whose answers the test defines.
//!
//! It keeps the same accounts as a real back end (room, outstanding, sent). Its ring can be made short, slow or stuck.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wire::packet::{PatchBatch, RxBatch, Template};

use super::{Port, PortCounts, PortStatistics, Stream};

/// The log of a network: every frame that was sent into it, in order.
#[derive(Debug, Default)]
pub(crate) struct FakeNetwork {
    pub(crate) probes: Vec<Vec<u8>>,
    pub(crate) resets: Vec<Vec<u8>>,
    /// How many probes left at each flush that had any.
    pub(crate) bursts: Vec<usize>,
}

/// Makes the answers to a frame.
pub(crate) type Responder = Arc<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync>;

/// One worker's end of the network.
pub(crate) struct MemoryPort {
    wire: Arc<Mutex<FakeNetwork>>,
    responder: Responder,
    templates: [Option<Template>; 2],
    ring_len: u64,
    /// Frames for resets, at most the ring's length.
    pub(crate) reset_frames: u64,
    queued: VecDeque<(Stream, Vec<u8>)>,
    answers: VecDeque<Vec<u8>>,
    counts: PortCounts,
    /// A port that lags sends only at every eighth flush.
    pub(crate) lags: bool,
    flushes: u32,
    /// A stuck port accepts frames and never sends them.
    pub(crate) stuck: bool,
    /// A port that accepts resets and never sends them.
    pub(crate) keeps_resets: bool,
    /// A broken port fails to flush.
    pub(crate) broken: bool,
    /// The place among its probes of one that it refuses for ever, while later ones leave.
    pub(crate) refuses: Option<u64>,
    /// Probes that it was handed.
    accepted: u64,
}

impl MemoryPort {
    pub(crate) fn new(
        wire: &Arc<Mutex<FakeNetwork>>,
        responder: &Responder,
        probe: &Template,
        reset: Option<&Template>,
        ring_len: u64,
    ) -> Self {
        Self {
            wire: Arc::clone(wire),
            responder: Arc::clone(responder),
            templates: [Some(probe.clone()), reset.cloned()],
            ring_len,
            reset_frames: ring_len,
            queued: VecDeque::new(),
            answers: VecDeque::new(),
            counts: PortCounts::default(),
            lags: false,
            flushes: 0,
            stuck: false,
            keeps_resets: false,
            broken: false,
            refuses: None,
            accepted: 0,
        }
    }

    /// Whether the refused probe is in line.
    fn is_refusing(&self) -> bool {
        self.refuses.is_some_and(|place| self.accepted > place)
    }

    fn resets_queued(&self) -> u64 {
        self.queued.iter().filter(|(stream, _)| *stream == Stream::Reset).count() as u64
    }
}

impl Port for MemoryPort {
    fn room(&mut self, stream: Stream, wanted: usize) -> usize {
        let free = self.ring_len - self.outstanding();
        let free = match stream {
            Stream::Probe => free,
            Stream::Reset => free.min(self.reset_frames - self.resets_queued()),
        };
        wanted.min(free as usize)
    }

    fn transmit(&mut self, stream: Stream, patches: &PatchBatch) {
        let template = self.templates[stream as usize].as_ref().expect("a stream with a template");
        for i in 0..patches.len {
            let mut frame = template.bytes().to_vec();
            let len = template.layout().finish(&mut frame, patches, i);
            frame.truncate(len);
            if stream == Stream::Probe {
                self.accepted += 1;
                if self.refuses == Some(self.accepted - 1) {
                    continue;
                }
            }
            self.queued.push_back((stream, frame));
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("broken on purpose"));
        }
        self.flushes += 1;
        if self.stuck || self.lags && !self.flushes.is_multiple_of(8) {
            return Ok(());
        }
        let mut wire = self.wire.lock().expect("no test panics while it holds the wire");
        let before = wire.probes.len();
        for (stream, frame) in std::mem::take(&mut self.queued) {
            match stream {
                Stream::Reset if self.keeps_resets => self.queued.push_back((stream, frame)),
                Stream::Probe => {
                    self.counts.probes_sent += 1;
                    self.answers.extend((self.responder)(&frame));
                    wire.probes.push(frame);
                }
                Stream::Reset => {
                    self.counts.resets_sent += 1;
                    wire.resets.push(frame);
                }
            }
        }
        let burst = wire.probes.len() - before;
        wire.bursts.extend((burst > 0).then_some(burst));
        Ok(())
    }

    fn outstanding(&self) -> u64 {
        self.queued.len() as u64 + u64::from(self.is_refusing())
    }

    fn left_in_order(&self) -> u64 {
        let over = self.counts.probes_over();
        self.refuses.filter(|_| self.is_refusing()).map_or(over, |place| over.min(place))
    }

    fn give_up(&mut self) -> u64 {
        0
    }

    fn receive(&mut self, batch: &mut RxBatch) {
        while batch.room() > 0 {
            let Some(frame) = self.answers.pop_front() else { break };
            batch.push(&frame, 0);
            self.counts.rx_frames += 1;
        }
    }

    fn wait(&mut self, timeout: Duration) {
        std::thread::sleep(timeout);
    }

    fn counts(&self) -> PortCounts {
        self.counts
    }

    fn socket_drops(&self) -> u64 {
        0
    }

    fn statistics(&self) -> PortStatistics {
        PortStatistics::default()
    }
}
