//! The file of probes (`--probes-file`): copies that the ports keep, written as pcap by a separate thread.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, RingBuffer};
use tracing::warn;
use wire::packet::{LinkHeader, Template};

use super::error::SurveyError;
use super::nics::OpenPort;
use crate::io::tap::{TappedPort, pop};
use crate::printable::printable;
use crate::results::format::pcap;
use crate::results::output::{Output, OutputError, Patience};
use crate::sandbox::{self, Class};
use crate::units::{are, counted, were};

/// Bytes of a worker's ring of copies: some 40,000 probes. Lower: probes are missing when the file is slow for a
/// moment. Higher: more memory per worker.
const RING_LEN: usize = 1 << 22;
/// Bytes that are collected before one write. Lower: more system calls. Higher: more copies are lost if the process is
/// killed.
const BUFFER_LEN: usize = 1 << 16;
/// Probes that are taken from one ring before the next one's turn. Lower: more switches between rings. Higher: the
/// other rings overflow meanwhile.
const RING_TURN: usize = 4096;
/// How often an empty ring is checked. Lower: more CPU time. Higher: a ring overflows between two checks.
const IDLE: Duration = Duration::from_millis(2);

/// Opens the file, and keeps its contents for now.
///
/// # Errors
/// It cannot be opened.
pub(super) fn open(path: &Path) -> Result<Output, SurveyError> {
    Output::open(path).map_err(|error| {
        let error = error.into_source();
        let path = printable(path);
        let what =
            format!("cannot open {path} for writing ({error}); name a file in a directory you may write to");
        SurveyError::Refused { flag: "--probes-file", what }
    })
}

/// The thread that writes the file.
pub(super) struct Tap {
    thread: JoinHandle<io::Result<()>>,
    finished: Arc<AtomicBool>,
    missed: Arc<AtomicU64>,
}

/// The outcome of the file.
pub(super) struct Tapped {
    /// Probes that are not in it.
    pub(super) missed: u64,
    /// Why it could not be written completely.
    pub(super) failure: Option<io::Error>,
}

/// Makes the ports keep copies of what they send, made from the template of their interface, and writes the copies to
/// `file`. With `waits` none is missed, because the ports wait for the file.
///
/// # Errors
/// The file refuses even the header, or no thread can be started.
pub(super) fn start<'a>(
    mut file: Output,
    ports: &mut Vec<OpenPort>,
    template: impl Fn(usize) -> &'a Template,
    waits: bool,
    patience: &Arc<Patience>,
) -> Result<Tap, SurveyError> {
    file.begin(0)?;
    file.be_patient(patience);
    let missed = Arc::<AtomicU64>::default();
    let mut rings = Vec::with_capacity(ports.len());
    // All interfaces have the same one. The plan refuses a mixture.
    let link = ports.first().map_or(LinkHeader::Ethernet, |port| template(port.interface).link());
    let tapped = std::mem::take(ports).into_iter().map(|OpenPort { interface, placement, port }| {
        let (copies, ring) = RingBuffer::new(RING_LEN);
        rings.push(ring);
        let port = TappedPort::new(port, template(interface), copies, Arc::clone(&missed), waits);
        OpenPort { interface, placement, port: Box::new(port) }
    });
    *ports = tapped.collect();
    let finished = Arc::new(AtomicBool::new(false));
    let ending = Arc::clone(&finished);
    let thread = std::thread::Builder::new()
        .name("probes".to_owned())
        .spawn(move || {
            sandbox::enter(Class::Collector);
            write(file, link, &mut rings, &ending)
        })
        .map_err(|source| SurveyError::Setup { what: "starting the writer of probes", source })?;
    Ok(Tap { thread, finished, missed })
}

impl Tap {
    /// Tells the thread that the ports have ended, so that it stops once the rings are empty.
    pub(super) fn complete(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// Whether the file is complete, or will never be.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// The outcome of the file.
    pub(super) fn finish(self) -> Tapped {
        let written = match self.thread.is_finished() {
            true => self.thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked"))),
            false => Err(io::ErrorKind::TimedOut.into()),
        };
        let missed = self.missed.load(Ordering::Relaxed);
        if missed > 0 {
            warn!(target: "output", "{} {} sent and {} not in the file of probes, which was too slow", counted(missed, "probe"), were(missed), are(missed));
        }
        Tapped { missed, failure: written.err() }
    }
}

fn write(
    mut file: Output,
    link: LinkHeader,
    rings: &mut [Consumer<u8>],
    finished: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = pcap::head(link);
    let mut frame = Vec::new();
    loop {
        // Read before the rings, so that everything that was put there by then is found.
        let last = finished.load(Ordering::Acquire);
        let before = buffer.len();
        for ring in &mut *rings {
            // A limited number, so that the other rings get their turn.
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
