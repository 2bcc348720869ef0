//! The thread that turns records into results.
//!
//! Takes records from the workers' rings in turn, finds repeats, counts, filters, and passes results to the sinks. What
//! always holds: every record that a worker put into a ring is counted, even after an output failed or the wanted
//! number of results was reached. After that nothing more is written to that output, and the results that it should
//! have received count as lost. The collector ends when the workers have ended and their rings are empty.

mod barrier;
mod ends;

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rtrb::Consumer;
use wire::packet::CAPTURE_MAX;
use zerocopy::FromZeros;

use super::counts::{Counts, OutputCounts, Published};
use super::dedup::{Dedup, PortLimit, Seen};
use super::filter::Filter;
use super::output::OutputError;
use super::ports::SuccessesByPort;
use super::sink::Sink;
use super::twice::{Recheck, Which};
use crate::distribution::Distribution;
use crate::local_time;
use crate::reply::Reply;
use crate::reply::fields::{Extractor, Field, Value};
use crate::reply::record::{self, Header};
use barrier::Answering;
pub use barrier::{Barrier, Places, Reached};
pub use ends::{Collected, CollectorConfig, StopReason};

/// Most records to take from one ring before the next ring's turn. Fewer cost more switches between rings; more let the
/// other rings fill up.
const TURN_RECORDS: usize = 1024;

/// Records to take out of a ring together, so that the memory where their repeats are looked up is prefetched side by
/// side: over all of IPv4 each is a cache miss. Fewer wait for more misses one by one; more only take memory.
const BATCH_RECORDS: usize = 32;

/// The first and the longest sleep of an idle collector. The longest is half the time in which a million short replies
/// per second fill a worker's ring: longer could lose records, shorter costs wake-ups.
const IDLE_SLEEP: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(16);

/// Longest time that a result stays in the buffer; an idle collector writes at once. Shorter costs more writes; longer
/// delays results.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// The longest round-trip time that is told apart: an hour. Lower: answers that come very late look earlier. Higher:
/// more memory.
pub const RTT_MAX_US: u64 = 3_600_000_000;

/// The collector; [`Collector::run`] is the body of its thread.
pub struct Collector {
    rings: Vec<Consumer<u8>>,
    finished: Arc<AtomicBool>,
    is_whole: Arc<AtomicBool>,
    published: Arc<Published>,
    barrier: Arc<Barrier>,
    /// While another thread waits at the barrier: bytes in each ring that have been there since it asked.
    before_barrier: Option<Vec<usize>>,
    batch: [Taken; BATCH_RECORDS],
    pipeline: Pipeline,
}

/// A record that is out of its ring.
struct Taken {
    header: Header,
    captured: Vec<u8>,
    repeat: bool,
    /// Whether it is a success of a host that has had as many ports as are wanted.
    is_past_ports: bool,
}

impl Default for Taken {
    fn default() -> Self {
        let captured = Vec::with_capacity(record::ring_len(CAPTURE_MAX));
        Self { header: Header::new_zeroed(), captured, repeat: false, is_past_ports: false }
    }
}

/// What was known of an output when it failed.
#[derive(Clone, Copy)]
struct FailedOutput {
    /// Replies that had gone to the outputs.
    passed: u64,
    /// Those of them that it lost.
    lost: u64,
}

/// The steps that a record goes through once it is out of its ring.
struct Pipeline {
    counts: Counts,
    dedup: Dedup,
    seen: Option<Seen>,
    port_limit: Option<PortLimit>,
    recheck: Option<Recheck>,
    filter: Filter,
    extractor: Extractor,
    rtt_us: Option<Field>,
    rtt: Distribution,
    ports: Option<Arc<SuccessesByPort>>,
    /// The sinks that still accept results, with their places among all.
    sinks: Vec<(usize, Box<dyn Sink>)>,
    /// All that there were at the start, and when they failed.
    outputs: Vec<Option<FailedOutput>>,
    /// How many have failed since the outputs were last completed.
    failed: u64,
    /// The first error. That of a reader that has gone is kept only while there is no other.
    error: Option<OutputError>,
    max_results: Option<NonZeroU64>,
    stop: Option<Box<dyn FnOnce(StopReason) + Send>>,
    /// How far the outputs were when they were completed.
    reached: Option<Places>,
    /// Whether files with an interim name have got their own.
    is_in_place: bool,
    /// Something may be in a sink's buffer.
    dirty: bool,
    flushed: Instant,
}

impl Collector {
    /// A collector that has not taken any record yet.
    pub fn new(config: CollectorConfig) -> Self {
        Self {
            rings: config.rings,
            finished: config.finished,
            is_whole: config.is_whole,
            published: Arc::default(),
            barrier: config.barrier,
            before_barrier: None,
            batch: std::array::from_fn(|_| Taken::default()),
            pipeline: Pipeline {
                counts: Counts::default(),
                dedup: config.dedup,
                seen: config.seen,
                port_limit: config.port_limit,
                recheck: config.recheck,
                filter: config.filter,
                extractor: Extractor::new(local_time::zone()),
                rtt_us: config.rtt_us,
                rtt: Distribution::new(RTT_MAX_US),
                ports: config.ports,
                outputs: vec![None; config.sinks.len()],
                sinks: config.sinks.into_iter().enumerate().collect(),
                failed: 0,
                error: None,
                max_results: config.max_results,
                stop: Some(config.stop),
                reached: None,
                is_in_place: false,
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
        let _answering = Answering(Arc::clone(&self.barrier));
        let mut nap = *IDLE_SLEEP.start();
        loop {
            // Read before the rings are drained, so that records from before the end are still found.
            let last = self.finished.load(Ordering::Acquire) || self.rings.iter().all(Consumer::is_abandoned);
            let mut idle = true;
            if self.before_barrier.is_none() && self.barrier.is_wanted() {
                self.before_barrier = Some(self.rings.iter().map(Consumer::slots).collect());
            }
            for (number, ring) in self.rings.iter_mut().enumerate() {
                for _ in 0..TURN_RECORDS / BATCH_RECORDS {
                    let (taken, bytes) = fill(&mut self.batch, ring);
                    if let Some(before) = &mut self.before_barrier {
                        before[number] = before[number].saturating_sub(bytes);
                    }
                    self.pipeline.take(&mut self.batch[..taken]);
                    idle &= taken == 0;
                    if taken < BATCH_RECORDS {
                        break;
                    }
                }
            }
            self.published.publish(self.pipeline.count_up());
            self.pipeline.flush_if_due(idle);
            if self.before_barrier.take_if(|before| before.iter().all(|&bytes| bytes == 0)).is_some() {
                let reached = self.pipeline.reached();
                self.barrier.pass(reached);
            }
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
        // Workers drop their ends of the rings a moment before it is known whether the scan is whole.
        if self.pipeline.sinks.iter().any(|(_, sink)| sink.waits_for_name()) {
            while !self.finished.load(Ordering::Acquire) {
                thread::sleep(*IDLE_SLEEP.start());
            }
        }
        // Before steps that may take long.
        self.published.publish(self.pipeline.count_up());
        self.pipeline.finish(self.is_whole.load(Ordering::Acquire));
        self.published.publish(self.pipeline.count_up());
        let outputs = self.pipeline.output_counts();
        let Pipeline { counts, rtt, error, reached, is_in_place, .. } = self.pipeline;
        Collected { counts, outputs, rtt, output: error.map_or(Ok(()), Err), reached, is_in_place }
    }
}

/// Takes the oldest records out of a ring; returns how many, and how many bytes they took there.
fn fill(batch: &mut [Taken], ring: &mut Consumer<u8>) -> (usize, usize) {
    let mut bytes = 0;
    for (number, taken) in batch.iter_mut().enumerate() {
        let Some(header) = record::pop(ring, &mut taken.captured) else { return (number, bytes) };
        taken.header = header;
        bytes += record::ring_len(taken.captured.len());
    }
    (batch.len(), bytes)
}

impl Pipeline {
    fn take(&mut self, batch: &mut [Taken]) {
        for taken in batch.iter_mut() {
            let is_success = taken.header.is_success();
            taken.repeat = self.dedup.check(&taken.header, is_success);
            if is_success {
                self.remember(&taken.header, taken.repeat);
            }
            let limit = self.port_limit.as_mut().filter(|_| is_success);
            taken.is_past_ports = limit.is_some_and(|limit| limit.is_past(&taken.header, taken.repeat));
        }
        for Taken { header, captured, repeat, is_past_ports } in batch {
            self.count(header, *repeat);
            let reply = Reply::new(header, captured, *repeat);
            self.time(&reply);
            if self.filter.passes(&reply, &mut self.extractor) {
                if *is_past_ports {
                    self.counts.past_ports += 1;
                } else {
                    self.write(&reply);
                }
            } else if *repeat && header.is_success() {
                self.counts.filtered_repeats += 1;
            } else {
                self.counts.filtered += 1;
            }
        }
    }

    /// Notes a success for the journal, and for the estimate of missed hosts.
    fn remember(&mut self, header: &Header, repeat: bool) {
        let which = self.recheck.as_ref().map_or(Which::First, |recheck| recheck.which(header));
        let is_news = self.recheck.as_mut().is_some_and(|recheck| recheck.note(header, which));
        if let Some(seen) = self.seen.as_mut().filter(|_| is_news || !repeat) {
            seen.note(header, which == Which::Second);
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
        if let Some(ports) = self.ports.as_ref().filter(|_| success && !repeat) {
            ports.count(header.target_port);
        }
    }

    /// Records the round-trip time of a first answer, if it tells it.
    fn time(&mut self, reply: &Reply<'_>) {
        if let Some(field) = self.rtt_us.filter(|_| !reply.repeat())
            && let Value::U64(rtt_us) = (field.value)(reply, &mut self.extractor)
        {
            self.rtt.record(rtt_us, 1);
        }
    }

    /// The counts, including those that are kept elsewhere.
    fn count_up(&mut self) -> &Counts {
        self.counts.output_pending = self.sinks.iter().map(|(_, sink)| sink.pending()).sum();
        self.counts.deduplicated_by_window = self.dedup.by_window();
        self.counts.hosts_past_ports = self.port_limit.as_ref().map_or(0, PortLimit::hosts);
        &self.counts
    }

    /// What became of the replies that went to each output.
    fn output_counts(&self) -> Vec<OutputCounts> {
        let passed = self.counts.passed;
        let counts = |failed: &Option<FailedOutput>| match failed {
            None => OutputCounts { written: passed, lost: 0 },
            Some(FailedOutput { passed: before, lost }) => {
                OutputCounts { written: before - lost, lost: passed - before + lost }
            }
        };
        self.outputs.iter().map(counts).collect()
    }

    fn write(&mut self, reply: &Reply<'_>) {
        if self.sinks.is_empty() && self.failed == 0 {
            self.counts.past_limit += 1;
            return;
        }
        self.counts.passed += 1;
        self.counts.output_lost += self.failed;
        if self.sinks.is_empty() {
            return;
        }
        let is_only = self.outputs.len() == 1;
        // The only output. Counted before `settle` subtracts the results that were lost with it, because this result
        // may be one of them.
        self.counts.written += u64::from(is_only);
        let extractor = &mut self.extractor;
        let outcomes = self.sinks.iter_mut().map(|(_, sink)| sink.write(reply, extractor));
        if let Some(outcomes) = failures(outcomes) {
            self.settle(outcomes);
        }
        self.dirty = true;
        self.counts.written += u64::from(!is_only && !self.sinks.is_empty());
        if self.max_results.is_some_and(|max| self.counts.written >= max.get()) {
            self.finish(true);
            self.ask_to_stop(StopReason::MaxResults);
        }
    }

    fn flush_if_due(&mut self, idle: bool) {
        if self.dirty && idle || self.flushed.elapsed() >= FLUSH_INTERVAL {
            let outcomes = self.sinks.iter_mut().map(|(_, sink)| sink.flush()).collect();
            self.settle(outcomes);
            self.dirty = false;
            self.flushed = Instant::now();
        }
    }

    /// How far the outputs are.
    fn reached(&mut self) -> Reached {
        let outcomes = self.sinks.iter_mut().map(|(_, sink)| sink.flush()).collect();
        self.settle(outcomes);
        self.flushed = Instant::now();
        self.dirty = false;
        match (self.places(), &self.error) {
            (Some(places), _) => Reached::Places(places),
            (None, None) if self.sinks.is_empty() => Reached::Over,
            (None, _) => Reached::Trouble,
        }
    }

    /// How far the outputs are; `None` if one of them does not accept results any more, or the journal cannot be
    /// written.
    fn places(&mut self) -> Option<Places> {
        let mut outputs = Vec::new();
        let places = self.sinks.iter_mut().map(|(_, sink)| sink.place().map(|place| outputs.push(place)));
        let outcomes = places.collect();
        self.settle(outcomes);
        let seen = self.seen.as_mut().map(Seen::place).transpose().ok()?;
        let is_whole = outputs.len() == self.outputs.len();
        is_whole.then_some(Places { outputs, seen, results: self.counts.written })
    }

    /// Nothing more is written. If the scan `is_whole` and no result is lost with a file, files get their names.
    fn finish(&mut self, is_whole: bool) {
        let outcomes = self.sinks.iter_mut().map(|(_, sink)| sink.finish()).collect();
        self.settle(outcomes);
        if !self.sinks.is_empty() {
            self.reached = self.places();
        }
        let has_failed = !matches!(self.error, None | Some(OutputError::BrokenPipe { .. }));
        if is_whole && !has_failed && !self.sinks.is_empty() {
            let outcomes: Vec<_> = self.sinks.iter_mut().map(|(_, sink)| sink.put_in_place()).collect();
            self.is_in_place = outcomes.iter().all(Result::is_ok);
            self.settle(outcomes);
        }
        self.sinks.clear();
        self.failed = 0;
    }

    /// Removes the sinks that failed. If the reader of one has gone, the scan ends only if it was the last sink; any
    /// other failure ends the scan.
    fn settle(&mut self, outcomes: Vec<Result<(), OutputError>>) {
        let mut outcomes = outcomes.into_iter();
        let mut failed = vec![];
        let mut lost = 0;
        let (outputs, passed) = (&mut self.outputs, self.counts.passed);
        self.sinks.retain(|(number, sink)| match outcomes.next() {
            Some(Err(error)) => {
                // An error of what comes before the first result loses none.
                let pending = sink.pending().min(passed);
                outputs[*number] = Some(FailedOutput { passed, lost: pending });
                lost += pending;
                failed.push(error);
                false
            }
            _ => true,
        });
        self.failed += failed.len() as u64;
        self.counts.output_lost += lost;
        // If there is another output, it has these results.
        if self.outputs.len() == 1 {
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

/// Collects all outcomes if one of them is an error. Every sink is still called.
fn failures(outcomes: impl Iterator<Item = Result<(), OutputError>>) -> Option<Vec<Result<(), OutputError>>> {
    let mut outcomes = outcomes.enumerate();
    // Allocates nothing while there is no error.
    let (place, error) = outcomes.by_ref().find(|(_, outcome)| outcome.is_err())?;
    let before = (0..place).map(|_| Ok(()));
    Some(before.chain([error]).chain(outcomes.map(|(_, outcome)| outcome)).collect())
}

#[cfg(test)]
mod tests;
