//! The file of probes (`--probes-file`): copies that the ports keep, as pcap, written by a thread of their own.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, RingBuffer};
use tracing::warn;

use super::SurveyError;
use crate::io::Port;
use crate::io::tap::{TappedPort, pop};
use crate::packet::{Link, Template};
use crate::printable::printable;
use crate::results::format::pcap;
use crate::results::output::{Output, OutputError, Patience};

/// Bytes of a worker's ring of copies: some 40,000 probes.
const RING_LEN: usize = 1 << 22;
/// Bytes that are gathered before they are written in one call.
const BUFFER_LEN: usize = 1 << 16;
/// Probes that are taken from a ring before the next one's turn.
const RING_TURN: usize = 4096;
/// How often an empty ring is looked at.
const IDLE: Duration = Duration::from_millis(2);

/// Opens the file, and leaves what it holds.
///
/// # Errors
/// It is not to be had.
pub(super) fn open(path: &Path) -> Result<Output, SurveyError> {
    Output::open(path).map_err(|error| {
        let error = error.into_source();
        let path = printable(path);
        let what =
            format!("cannot open {path} for writing ({error}); name a file in a directory you may write to");
        SurveyError::Output(OutputError::Refused { flag: "--probes-file", what })
    })
}

/// What writes the file.
pub(super) struct Tap {
    thread: JoinHandle<io::Result<()>>,
    finished: Arc<AtomicBool>,
    missed: Arc<AtomicU64>,
}

/// What has become of the file.
pub(super) struct Tapped {
    /// Probes that are not in it.
    pub(super) missed: u64,
    /// Why it could not be written to its end.
    pub(super) failure: Option<io::Error>,
}

/// Has the ports keep copies of what they send, made from a template each, and writes them to `file`. With `waits` none is
/// missed, and the ports wait for the file.
///
/// # Errors
/// The file takes not even its beginning, or there is no thread to be had.
pub(super) fn start<'a>(
    mut file: Output,
    ports: &mut Vec<Box<dyn Port>>,
    templates: impl Iterator<Item = &'a Template>,
    waits: bool,
    patience: &Arc<Patience>,
) -> Result<Tap, SurveyError> {
    file.begin(0)?;
    file.be_patient(patience);
    let missed = Arc::<AtomicU64>::default();
    let mut rings = Vec::with_capacity(ports.len());
    let mut templates = templates.peekable();
    // All have the same, or the plan would have been refused.
    let link = templates.peek().map_or(Link::Ethernet, |template| template.link());
    let tapped = std::mem::take(ports).into_iter().zip(templates).map(|(port, template)| {
        let (copies, ring) = RingBuffer::new(RING_LEN);
        rings.push(ring);
        let port = TappedPort::new(port, template, copies, Arc::clone(&missed), waits);
        Box::new(port) as Box<dyn Port>
    });
    *ports = tapped.collect();
    let finished = Arc::new(AtomicBool::new(false));
    let ending = Arc::clone(&finished);
    let thread = std::thread::Builder::new()
        .name("probes".to_owned())
        .spawn(move || write(file, link, &mut rings, &ending))
        .map_err(|source| SurveyError::Setup { what: "starting the writer of probes", source })?;
    Ok(Tap { thread, finished, missed })
}

impl Tap {
    /// The ports are done: what is in the rings is all.
    pub(super) fn complete(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// Whether the file is complete, or will never be.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// What has become of the file.
    pub(super) fn finish(self) -> Tapped {
        let written = match self.thread.is_finished() {
            true => self.thread.join().unwrap_or_else(|_| Err(io::Error::other("ended by a panic"))),
            false => Err(io::ErrorKind::TimedOut.into()),
        };
        let missed = self.missed.load(Ordering::Relaxed);
        if missed > 0 {
            warn!(target: "output", "{missed} probes were sent and are not in the file of probes, which was too slow");
        }
        Tapped { missed, failure: written.err() }
    }
}

fn write(mut file: Output, link: Link, rings: &mut [Consumer<u8>], finished: &AtomicBool) -> io::Result<()> {
    let mut buffer = pcap::head(link);
    let mut frame = Vec::new();
    loop {
        // Asked before the rings are: what was put there until then is found.
        let last = finished.load(Ordering::Acquire);
        let before = buffer.len();
        for ring in &mut *rings {
            // So many that the other rings get their turn, too.
            for _ in 0..RING_TURN {
                let Some(time_ns) = pop(ring, &mut frame) else { break };
                pcap::frame(time_ns, &frame, frame.len() as u32, &mut buffer);
                if buffer.len() >= BUFFER_LEN {
                    file.write_all(&buffer)?;
                    buffer.clear();
                }
            }
        }
        if last || buffer.len() == before {
            file.write_all(&buffer)?;
            buffer.clear();
            if last {
                return file.finish().map_err(OutputError::into_source);
            }
            std::thread::sleep(IDLE);
        }
    }
}
