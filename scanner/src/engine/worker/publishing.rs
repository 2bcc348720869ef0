//! What a worker publishes of its counters.

use super::Worker;
use crate::probe::Probe;

impl<P: Probe> Worker<'_, P> {
    /// Makes the counters visible, and how many probes have left. Between two calls they may disagree; at a call they
    /// are of one moment.
    pub(super) fn publish(&mut self) {
        self.counts.targets_generated = self.walk.generated();
        self.counts.port = self.port.counts();
        self.teller.gone(self.port.left_in_order());
        self.published.publish(&self.counts);
        self.shared.control.beat(self.number);
    }
}
