//! What a worker needs to start, and what it reports at its end.

use rtrb::Producer;

use super::counters::Counts;
use super::{Gateways, Neighborhood};
use crate::io::{Placement, Port, PortStatistics};

/// The probe of a worker and its destinations: the same for all workers of an interface.
#[derive(Debug)]
pub struct Assignment<'a, P> {
    /// Name of the interface, for messages.
    pub interface: &'a str,
    /// The probe.
    pub probe: &'a P,
    /// The next hops of targets, if they are not all behind one gateway.
    pub neighborhood: Option<&'a Neighborhood>,
    /// The current MAC addresses of gateways. The probe's template has the first gateway's address as of the start.
    pub gateways: &'a Gateways,
}

impl<P> Clone for Assignment<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Assignment<'_, P> {}

/// A worker that has not been started yet.
pub struct WorkerConfig<'a, P> {
    /// Its interface, as an index into those of the scan.
    pub interface: usize,
    /// Its probe and destinations.
    pub assignment: Assignment<'a, P>,
    /// Its queues and cores.
    pub placement: Placement,
    /// The port that it sends and receives through.
    pub port: Box<dyn Port>,
    /// The ring for its records.
    pub records: Producer<u8>,
}

/// The report of a worker that has ended.
#[derive(Clone, Debug)]
pub struct WorkerReport {
    /// Its interface, as an index into those of the scan.
    pub interface: usize,
    /// Its queues and cores.
    pub placement: Placement,
    /// Its counters.
    pub counts: Counts,
    /// The statistics of its port; empty if the worker panicked.
    pub statistics: PortStatistics,
}
