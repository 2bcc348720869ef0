//! What a collector is given, and what it leaves.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rtrb::Consumer;

use super::barrier::{Barrier, Places};
use crate::distribution::Distribution;
use crate::reply::fields::Field;
use crate::results::counts::{Counts, OutputCounts};
use crate::results::dedup::{Dedup, PortLimit, Seen};
use crate::results::filter::Filter;
use crate::results::output::OutputError;
use crate::results::ports::SuccessesByPort;
use crate::results::sink::Sink;
use crate::results::twice::Recheck;

/// Why the collector requests the end of the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The requested number of results (`--max-results`).
    MaxResults,
    /// The reader of the results has gone.
    OutputClosed,
    /// The results cannot be written.
    OutputFailed,
}

/// The input of a collector.
pub struct CollectorConfig {
    /// The workers' rings of records.
    pub rings: Vec<Consumer<u8>>,
    /// Which replies become results.
    pub filter: Filter,
    /// How repeats are found.
    pub dedup: Dedup,
    /// The journal of repeats, for a scan that keeps a checkpoint.
    pub seen: Option<Seen>,
    /// How many ports of a host are wanted, if not all.
    pub port_limit: Option<PortLimit>,
    /// What tells the answers to second probes, for a scan that has these.
    pub recheck: Option<Recheck>,
    /// The sinks of the results: at least one, and all have begun.
    pub sinks: Vec<Box<dyn Sink>>,
    /// End the scan after this many results.
    pub max_results: Option<NonZeroU64>,
    /// Set when no worker will add a record any more.
    pub finished: Arc<AtomicBool>,
    /// Set before that if the scan has done all that it should: files with an interim name then get their own.
    pub is_whole: Arc<AtomicBool>,
    /// Through which another thread learns how far the outputs are.
    pub barrier: Arc<Barrier>,
    /// The field that has the round-trip time in microseconds, if the probe module has one.
    pub rtt_us: Option<Field>,
    /// Called at most once, when the scan should end because of the results. Must not block.
    pub stop: Box<dyn FnOnce(StopReason) + Send>,
    /// Where successes are counted by port, if that is wanted.
    pub ports: Option<Arc<SuccessesByPort>>,
}

/// The outcome of a collector.
#[derive(Debug)]
pub struct Collected {
    /// The final counts.
    pub counts: Counts,
    /// Of each output what it has; none if the collector has not ended by itself.
    pub outputs: Vec<OutputCounts>,
    /// Round-trip times of first answers, in microseconds.
    pub rtt: Distribution,
    /// Whether all results are in the output.
    pub output: Result<(), OutputError>,
    /// How far the outputs are at their end; none if one of them has failed.
    pub reached: Option<Places>,
    /// Whether files that had an interim name have got their own.
    pub is_in_place: bool,
}
