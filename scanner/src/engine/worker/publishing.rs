//! What a worker publishes of its counters.

use targets::{Cursor, Interval};

use super::Worker;
use crate::probe::Probe;

/// How many targets a cursor has given of its lease so far.
#[inline]
pub(super) fn given(lease: Interval, cursor: &Cursor) -> u64 {
    cursor.position().saturating_sub(lease.start).saturating_sub(cursor.skipped())
}

impl<P: Probe> Worker<'_, P> {
    /// Makes the counters visible, and how many probes have left. Between two calls they may disagree; at a call they
    /// are of one moment.
    pub(super) fn publish(&mut self) {
        let lease = self.lease.as_ref();
        self.counts.targets_generated =
            self.generated + lease.map_or(0, |(interval, cursor)| given(*interval, cursor));
        self.counts.port = self.port.counts();
        self.teller.gone(self.port.left_in_order());
        self.published.publish(&self.counts);
        self.shared.control.beat(self.number);
    }
}
