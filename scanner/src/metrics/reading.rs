//! The numbers that the metrics are made of.

use crate::control_socket::Status;
use crate::engine::Counts;
use crate::ledger::Ledger;

/// How a scan stands.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// As for those who ask through the control socket.
    pub status: Status,
    /// Targets with a success of the application; `None` if the probe module does not distinguish it.
    pub app_successes: Option<u64>,
    /// Workers that are sending.
    pub senders: u64,
    /// What became of everything so far.
    pub ledger: Ledger,
    /// The workers.
    pub workers: Vec<WorkerReading>,
}

/// Where a worker is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerPlace {
    /// Its interface; empty in a dry run.
    pub interface: String,
    /// Its TX queue; `None` where frames belong to no queue.
    pub queue: Option<u32>,
}

/// A worker and what it has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerReading {
    /// Where it is.
    pub place: WorkerPlace,
    /// Its counters.
    pub counts: Counts,
}
