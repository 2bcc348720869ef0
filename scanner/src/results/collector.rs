//! The one thread that turns records into results.
//!
//! Takes records from the workers' rings in turn, finds repeats, counts, filters, hands over to the sinks. Always holds:
//! every record that a worker put into a ring is counted, even after an output failed or the wanted number of results
//! was reached; then only nothing more is written to it, and what an output should have had is counted as lost. The
//! collector ends when the workers have ended and their rings are
//! empty.

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
use super::fields::Extractor;
use super::filter::Filter;
use super::output::OutputError;
use super::record::{self, Header};
use super::reply::Reply;
use super::sink::Sink;

/// Most records taken from one ring before the next ring has its turn.
const TURN_RECORDS: usize = 1024;

/// Records that are taken out of a ring together, so that the places in memory where their repeats are looked up are
/// fetched side by side: over all of IPv4 each is a cache miss.
const BATCH_RECORDS: usize = 32;

/// How long an idle collector sleeps at first, and at most when nothing comes for a while: half as long as a worker's ring
/// takes to fill with a million short replies a second.
const IDLE_SLEEP: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(16);

/// Longest time that a result stays in the buffer. An idle collector writes out at once.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Which replies become results.
    pub filter: Filter,
    /// How repeats are found.
    pub dedup: Dedup,
    /// Where results go: one at least, which have begun.
    pub sinks: Vec<Box<dyn Sink>>,
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
    way: Way,
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
struct Way {
    counts: Counts,
    dedup: Dedup,
    filter: Filter,
    extractor: Extractor,
    /// Those that still take results.
    sinks: Vec<Box<dyn Sink>>,
    /// How many there were.
    outputs: usize,
    /// How many no longer do, and should.
    failed: u64,
    /// The first error; of a reader that went away only while there is no worse.
    error: Option<OutputError>,
    max_results: Option<NonZeroU64>,
    stop: Option<Box<dyn FnOnce(StopReason) + Send>>,
    /// Something may be in a sink's buffer.
    dirty: bool,
    flushed: Instant,
}

impl Collector {
    /// A collector that has yet to take its first record.
    pub fn new(config: CollectorConfig) -> Self {
        Self {
            rings: config.rings,
            finished: config.finished,
            published: Arc::default(),
            batch: std::array::from_fn(|_| Taken::default()),
            way: Way {
                counts: Counts::default(),
                dedup: config.dedup,
                filter: config.filter,
                extractor: Extractor::new(TimeZone::system()),
                outputs: config.sinks.len(),
                sinks: config.sinks,
                failed: 0,
                error: None,
                max_results: config.max_results,
                stop: Some(config.stop),
                dirty: false,
                flushed: Instant::now(),
            },
        }
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
                    self.way.take(&mut self.batch[..taken]);
                    idle &= taken == 0;
                    if taken < BATCH_RECORDS {
                        break;
                    }
                }
            }
            self.published.publish(self.way.count_up());
            self.way.flush_if_due(idle);
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
        // Before what may take its time.
        self.published.publish(self.way.count_up());
        self.way.finish();
        self.published.publish(self.way.count_up());
        Collected { counts: self.way.counts, output: self.way.error.map_or(Ok(()), Err) }
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

impl Way {
    fn take(&mut self, batch: &mut [Taken]) {
        for taken in batch.iter_mut() {
            taken.repeat = self.dedup.check(&taken.header, taken.header.is_success());
        }
        for Taken { header, captured, repeat } in batch {
            self.count(header, *repeat);
            let reply = Reply::new(header, captured, *repeat);
            if self.filter.passes(&reply, &mut self.extractor) {
                self.write(&reply);
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

    /// The counts, with those that are kept elsewhere.
    fn count_up(&mut self) -> &Counts {
        self.counts.output_pending = self.sinks.iter().map(|sink| sink.pending()).sum();
        self.counts.deduplicated_by_window = self.dedup.by_window();
        &self.counts
    }

    fn write(&mut self, reply: &Reply<'_>) {
        self.counts.output_lost += self.failed;
        if self.sinks.is_empty() {
            return;
        }
        let is_only = self.outputs == 1;
        // Of the only output, before `settle` takes back what was lost with it: this result may be among that.
        self.counts.written += u64::from(is_only);
        let extractor = &mut self.extractor;
        let outcomes = self.sinks.iter_mut().map(|sink| sink.write(reply, extractor));
        if let Some(outcomes) = failures(outcomes) {
            self.settle(outcomes);
        }
        self.dirty = true;
        self.counts.written += u64::from(!is_only && !self.sinks.is_empty());
        if self.max_results.is_some_and(|max| self.counts.written >= max.get()) {
            self.finish();
            self.ask_to_stop(StopReason::MaxResults);
        }
    }

    fn flush_if_due(&mut self, idle: bool) {
        if self.dirty && idle || self.flushed.elapsed() >= FLUSH_INTERVAL {
            let outcomes = self.sinks.iter_mut().map(|sink| sink.flush()).collect();
            self.settle(outcomes);
            self.dirty = false;
            self.flushed = Instant::now();
        }
    }

    /// Nothing more is written.
    fn finish(&mut self) {
        let outcomes = self.sinks.iter_mut().map(|sink| sink.finish()).collect();
        self.settle(outcomes);
        self.sinks.clear();
        self.failed = 0;
    }

    /// Does without the sinks that failed. One whose reader went away is missed when it is the last; any other failure
    /// ends the scan.
    fn settle(&mut self, outcomes: Vec<Result<(), OutputError>>) {
        let mut outcomes = outcomes.into_iter();
        let mut failed = vec![];
        let mut lost = 0;
        self.sinks.retain(|sink| match outcomes.next() {
            Some(Err(error)) => {
                lost += sink.pending();
                failed.push(error);
                false
            }
            _ => true,
        });
        self.failed += failed.len() as u64;
        self.counts.output_lost += lost;
        // Where there is another output, that one has them.
        if self.outputs == 1 {
            self.counts.written = self.counts.written.saturating_sub(lost);
        }
        for error in failed {
            let quiet = matches!(error, OutputError::BrokenPipe { .. });
            if !quiet {
                self.ask_to_stop(StopReason::OutputFailed);
            } else if self.sinks.is_empty() {
                self.ask_to_stop(StopReason::OutputClosed);
            }
            if !quiet && matches!(self.error, Some(OutputError::BrokenPipe { .. })) || self.error.is_none() {
                self.error = Some(error);
            }
        }
    }

    fn ask_to_stop(&mut self, reason: StopReason) {
        if let Some(stop) = self.stop.take() {
            stop(reason);
        }
    }
}

/// All outcomes if one of them is an error; what there is to write goes to every sink all the same.
fn failures(outcomes: impl Iterator<Item = Result<(), OutputError>>) -> Option<Vec<Result<(), OutputError>>> {
    let mut outcomes = outcomes.enumerate();
    // Nothing is allocated while all goes well.
    let (place, error) = outcomes.by_ref().find(|(_, outcome)| outcome.is_err())?;
    let before = (0..place).map(|_| Ok(()));
    Some(before.chain([error]).chain(outcomes.map(|(_, outcome)| outcome)).collect())
}

#[cfg(test)]
mod tests;
