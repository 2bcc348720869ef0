//! What a worker does when sending is held or paused, and afterwards. After an outage it probes targets again whose
//! probes may have been lost; after a pause it goes on.

use targets::Interval;
use tracing::warn;

use super::super::orders::Orders;
use super::walk::Walk;
use super::{Sending, Worker, WorkerEnd};
use crate::probe::Probe;

impl<P: Probe> Worker<'_, P> {
    /// The report of a worker at its end. Probes that have not been completed by now are lost.
    pub(super) fn end(mut self) -> WorkerEnd {
        if self.shared.control.is_held() {
            self.doubt();
        }
        self.publish();
        let outstanding = self.port.outstanding();
        let unconfirmed = self.counts.tx_submitted - self.counts.port.probes_over();
        self.counts.port.probes_lost += unconfirmed;
        self.published.publish(&self.counts);
        let delayed = self.gave_up.unwrap_or(0);
        // Frames of both walks leave in one order, so the last ones may be of either.
        let frames = unconfirmed + delayed;
        let copies = u64::from(self.assignment.probe.check().copies.probes());
        let left = self.walk.left();
        let second_left = self.second_walk.as_ref().map_or(Interval { start: 0, end: 0 }, Walk::left);
        let in_doubt = self.walk.in_doubt(frames.div_ceil(copies));
        // How many exponents a frame of the second walk stands for, the sample decides: all that is known is in doubt.
        let second_frames = if frames > 0 { u64::MAX } else { 0 };
        let second_in_doubt = self.second_walk.map(|walk| walk.in_doubt(second_frames)).unwrap_or_default();
        let is_stalled = self.gave_up.is_some() && frames > 0;
        WorkerEnd {
            port: self.port,
            left,
            in_doubt,
            second_left,
            second_in_doubt,
            unconfirmed,
            outstanding,
            lateness: self.lateness,
            is_stalled,
        }
    }

    /// Follows a change of what the workers are told.
    #[cold]
    pub(super) fn follow(&mut self, orders: Orders, now_ps: u64) {
        let before = std::mem::replace(&mut self.orders, orders);
        if orders.restarts() != before.restarts() {
            self.shared.pacer.restart(now_ps);
            self.ask_at_ps = now_ps;
        }
        self.follow_exclusions();
        if !orders.is_paused() && std::mem::take(&mut self.is_quiet) {
            self.shared.control.set_quiet(false);
        }
        if orders.holds() != before.holds() {
            self.follow_hold(orders, orders.holds().wrapping_sub(before.holds()), now_ps);
        }
    }

    /// Reports, once, that a pause is complete here: nothing is sent any more, and no frame is under way.
    pub(super) fn quiet_down(&mut self) {
        if !self.is_quiet && self.port.outstanding() == 0 {
            self.is_quiet = true;
            self.shared.control.set_quiet(true);
        }
    }

    /// Follows that many changes of the hold. When a hold has ended, probes that may have been lost before it are
    /// repeated.
    fn follow_hold(&mut self, orders: Orders, changes: u32, now_ps: u64) {
        // Nobody may find it without doubts once it has said that it has seen the change.
        self.teller.begin();
        if !orders.is_held() {
            self.follow_gateway();
            self.doubt();
            if self.has_doubts() && !self.shared.control.is_stopping() {
                if self.sending == Sending::Finished {
                    self.shared.control.sender_resumes();
                }
                self.sending = Sending::Open;
                self.ask_at_ps = now_ps;
            }
        }
        self.shared.control.saw(changes);
    }

    /// Sends to the gateway's current MAC address. If targets have individual next hops, these are looked up anyway.
    #[cold]
    fn follow_gateway(&mut self) {
        let gateway = self.assignment.gateways.mac(0);
        if self.assignment.neighborhood.is_some() || gateway == self.gateway {
            return;
        }
        self.gateway = gateway;
        self.next_hops.fill(gateway);
        self.patches.send_all_to(gateway);
        self.reset_patches.send_all_to(gateway);
        self.canaries.send_all_to(gateway);
    }

    /// Adds the intervals that may have been lost to those that are probed again.
    #[cold]
    fn doubt(&mut self) {
        let from = self.shared.control.doubt_from().saturating_duration_since(self.shared.started);
        let from_ps = from.as_nanos() as u64 * 1_000;
        let mut is_all = self.walk.doubt(from_ps);
        if let Some(second) = &mut self.second_walk {
            is_all &= second.doubt(from_ps);
        }
        if !is_all {
            warn!(
                target: "send",
                "the outage was noticed so late that not all probes that may have been lost can be repeated"
            );
        }
    }

    /// Whether there are targets to probe again.
    #[inline]
    pub(super) fn has_doubts(&self) -> bool {
        self.walk.has_doubts() || self.second_walk.as_ref().is_some_and(Walk::has_doubts)
    }
}
