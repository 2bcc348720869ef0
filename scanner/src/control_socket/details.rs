//! What a screen shows of a scan beside its status.

use serde::{Deserialize, Serialize};

/// More about a scan than its status has. As a line of the protocol it has to stay short, so each list has its limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// The workers, the first ones of many.
    pub workers: Vec<WorkerLine>,
    /// What is known to be lost, most first.
    pub losses: Vec<LossLine>,
    /// The ports with most successes, most first; none if the scan probes a single one.
    pub ports: Vec<PortLine>,
}

/// What a worker did in the last second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerLine {
    /// Its interface.
    pub interface: String,
    /// Its queue, or the first of several; absent if it has none of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Probes sent per second.
    pub sent_pps: f64,
    /// Replies received per second.
    pub received_pps: f64,
}

/// A loss, by the name that it has in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossLine {
    /// What was lost, and where.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// The successes of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortLine {
    /// The port.
    pub port: u16,
    /// Its targets with a success.
    pub successes: u64,
}

/// Most workers, losses and ports in it.
pub const LINES_MAX: usize = 8;
/// Most characters of a loss's name.
pub const NAME_LEN_MAX: usize = 60;
