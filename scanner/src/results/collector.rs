//! The one thread that turns records into results.
//!
//! Takes records from the workers' rings in turn, finds repeats, counts, filters, writes. Always holds: every record
//! that a worker put into a ring is counted, even after the output failed or the wanted number of results was
//! reached; then only nothing more is written. The collector ends when the workers have ended and their rings are
//! empty.

use std::io;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use rtrb::Consumer;
use zerocopy::FromZeros;

use super::counts::{Counts, Published};
use super::dedup::Dedup;
use super::fields::{Extractor, FieldSet};
use super::format::{Format, RecordWriter};
use super::output::{Output, OutputError};
use super::record::{self, Header};
use super::reply::Reply;

/// Most records taken from one ring before the next ring has its turn.
const TURN_RECORDS: usize = 1024;

/// Records that are taken out of a ring together, so that the places in memory where their repeats are looked up are
/// fetched side by side: over all of IPv4 each is a cache miss.
const BATCH_RECORDS: usize = 32;

/// How long an idle collector sleeps at first, and at most when nothing comes for a while: less than a worker's ring
/// takes to fill.
const IDLE_SLEEP: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(4);

/// Longest time that a result stays in the buffer. An idle collector writes out at once.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Which replies become results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filter {
    /// Successes, each target once: ZMap's `success = 1 && repeat = 0`, when nothing else is asked for.
    Default,
    /// All replies.
    All,
}

impl Filter {
    fn passes(self, success: bool, repeat: bool) -> bool {
        match self {
            Self::Default => success && !repeat,
            Self::All => true,
        }
    }
}

/// Why the collector asks for the end of the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// As many results as wanted (`--max-results`).
    MaxResults,
    /// Nobody reads the results any more.
    OutputClosed,
    /// The results cannot be written.
    OutputFailed,
}

/// All that a collector needs.
pub struct CollectorConfig {
    /// The workers' rings of records.
    pub rings: Vec<Consumer<u8>>,
    /// The columns of the output.
    pub fields: FieldSet,
    /// The output's format.
    pub format: Format,
    /// Whether the names of the fields come first, where the format has such a row.
    pub header_row: bool,
    /// Which replies become results.
    pub filter: Filter,
    /// How repeats are found.
    pub dedup: Dedup,
    /// Where results go.
    pub output: Output,
    /// End the scan after so many results.
    pub max_results: Option<NonZeroU64>,
    /// Set once no worker will add a record.
    pub finished: Arc<AtomicBool>,
    /// Called at most once, when the scan should end because of the results. Must not block.
    pub stop: Box<dyn FnOnce(StopReason) + Send>,
}

/// How a collector ended.
#[derive(Debug)]
pub struct Collected {
    /// The final counts.
    pub counts: Counts,
    /// Whether all results are in the output.
    pub output: Result<(), OutputError>,
}

/// The collector; [`Collector::run`] is the body of its thread.
pub struct Collector {
    rings: Vec<Consumer<u8>>,
    finished: Arc<AtomicBool>,
    published: Arc<Published>,
    batch: [Taken; BATCH_RECORDS],
    sink: Sink,
}

/// A record that is out of its ring.
struct Taken {
    header: Header,
    captured: Vec<u8>,
    repeat: bool,
}

impl Default for Taken {
    fn default() -> Self {
        let captured = Vec::with_capacity(record::ring_len(record::CAPTURE_MAX));
        Self { header: Header::new_zeroed(), captured, repeat: false }
    }
}

/// Everything a record goes through once it is out of its ring.
struct Sink {
    counts: Counts,
    dedup: Dedup,
    filter: Filter,
    extractor: Extractor,
    /// `None` once no more may be written.
    writer: Option<RecordWriter<Output>>,
    output_name: String,
    error: Option<OutputError>,
    max_results: Option<NonZeroU64>,
    stop: Option<Box<dyn FnOnce(StopReason) + Send>>,
    /// Something may be in the writer's buffer.
    dirty: bool,
    flushed: Instant,
}

impl Collector {
    /// A collector that has written the header row, if there is one.
    ///
    /// # Errors
    /// When the output takes not even that.
    pub fn new(config: CollectorConfig) -> Result<Self, OutputError> {
        let output_name = config.output.name().to_owned();
        let writer = RecordWriter::new(config.format, config.fields, config.header_row, config.output);
        let mut writer = writer.map_err(|error| OutputError::from_write(&output_name, error))?;
        writer.flush().map_err(|error| OutputError::from_write(&output_name, error))?;
        Ok(Self {
            rings: config.rings,
            finished: config.finished,
            published: Arc::default(),
            batch: std::array::from_fn(|_| Taken::default()),
            sink: Sink {
                counts: Counts::default(),
                dedup: config.dedup,
                filter: config.filter,
                extractor: Extractor::new(TimeZone::system()),
                writer: Some(writer),
                output_name,
                error: None,
                max_results: config.max_results,
                stop: Some(config.stop),
                dirty: false,
                flushed: Instant::now(),
            },
        })
    }

    /// The counts for the monitor to read while the collector runs.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Collects until the workers have ended, or dropped their ends of the rings, and every ring is empty.
    pub fn run(mut self) -> Collected {
        let mut nap = *IDLE_SLEEP.start();
        loop {
            // Asked before the rings are drained: what was put in before the end is then seen after it.
            let last = self.finished.load(Ordering::Acquire) || self.rings.iter().all(Consumer::is_abandoned);
            let mut idle = true;
            for ring in &mut self.rings {
                for _ in 0..TURN_RECORDS / BATCH_RECORDS {
                    let taken = fill(&mut self.batch, ring);
                    self.sink.take(&mut self.batch[..taken]);
                    idle &= taken == 0;
                    if taken < BATCH_RECORDS {
                        break;
                    }
                }
            }
            self.published.publish(&self.sink.counts);
            self.sink.flush_if_due(idle);
            if idle && last {
                break;
            }
            if idle {
                thread::sleep(nap);
                nap = (nap * 2).min(*IDLE_SLEEP.end());
            } else {
                nap = *IDLE_SLEEP.start();
            }
        }
        Collected { counts: self.sink.counts, output: self.sink.error.map_or(Ok(()), Err) }
    }
}

/// Takes the oldest records out of a ring, and says how many there were.
fn fill(batch: &mut [Taken], ring: &mut Consumer<u8>) -> usize {
    for (number, taken) in batch.iter_mut().enumerate() {
        let Some(header) = record::pop(ring, &mut taken.captured) else { return number };
        taken.header = header;
    }
    batch.len()
}

impl Sink {
    fn take(&mut self, batch: &mut [Taken]) {
        for taken in batch.iter_mut() {
            taken.repeat = self.dedup.check(&taken.header, taken.header.is_success());
        }
        for Taken { header, captured, repeat } in batch {
            self.count(header, *repeat);
            if self.filter.passes(header.is_success(), *repeat) {
                self.write(&Reply::new(header, captured, *repeat));
            }
        }
    }

    fn count(&mut self, header: &Header, repeat: bool) {
        let (success, app_success, cooldown) =
            (header.is_success(), header.is_app_success(), header.cooldown != 0);
        let counts = &mut self.counts;
        counts.total_valid += 1;
        counts.success_total += u64::from(success);
        counts.success_unique += u64::from(success && !repeat);
        counts.app_success_total += u64::from(app_success);
        counts.app_success_unique += u64::from(app_success && !repeat);
        counts.success_cooldown_total += u64::from(success && cooldown);
        counts.success_cooldown_unique += u64::from(success && cooldown && !repeat);
        counts.failure_total += u64::from(!success);
    }

    fn write(&mut self, reply: &Reply<'_>) {
        let Some(writer) = &mut self.writer else { return };
        if let Err(error) = writer.write(reply, &mut self.extractor) {
            return self.fail(error);
        }
        self.dirty = true;
        self.counts.written += 1;
        if self.max_results.is_some_and(|max| self.counts.written >= max.get()) {
            self.flush();
            self.writer = None;
            self.ask_to_stop(StopReason::MaxResults);
        }
    }

    fn flush_if_due(&mut self, idle: bool) {
        if self.dirty && (idle || self.flushed.elapsed() >= FLUSH_INTERVAL) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        if let Err(error) = writer.flush() {
            return self.fail(error);
        }
        self.dirty = false;
        self.flushed = Instant::now();
    }

    fn fail(&mut self, error: io::Error) {
        let error = OutputError::from_write(&self.output_name, error);
        self.ask_to_stop(match error {
            OutputError::BrokenPipe { .. } => StopReason::OutputClosed,
            _ => StopReason::OutputFailed,
        });
        self.error = Some(error);
        self.writer = None;
        self.dirty = false;
    }

    fn ask_to_stop(&mut self, reason: StopReason) {
        if let Some(stop) = self.stop.take() {
            stop(reason);
        }
    }
}

#[cfg(test)]
mod tests;
