//! What a worker does when the sending was held: it walks once more what may have been lost.

use tracing::warn;

use super::super::control::Hold;
use super::{Remains, Sending, Worker};
use crate::probe::Probe;
use crate::targets::{Cursor, Interval, merged};

impl<P: Probe> Worker<'_, P> {
    /// What is left when the worker leaves.
    pub(super) fn remains(mut self) -> Remains {
        if self.shared.control.is_held() {
            self.doubt();
        }
        let unwalked =
            |cursor: Option<&Cursor>| cursor.map_or(Interval { start: 0, end: 0 }, Cursor::remaining);
        let mut in_doubt = self.again;
        in_doubt.push(unwalked(self.again_cursor.as_ref()));
        let left = unwalked(self.lease.as_ref().map(|(_, cursor)| cursor));
        Remains { port: self.port, left, in_doubt }
    }

    /// Notes a change of the hold. When one has ended, what may have been lost before it is probed again.
    #[cold]
    pub(super) fn follow(&mut self, hold: Hold, now_ps: u64) {
        let changes = hold.0.wrapping_sub(self.hold.0);
        self.hold = hold;
        if !hold.is_held() {
            self.follow_gateway();
            self.doubt();
            if !self.again.is_empty() && !self.shared.control.is_stopping() {
                if self.sending == Sending::Finished {
                    self.shared.control.sender_resumes();
                }
                self.sending = Sending::Open;
                self.ask_at_ps = now_ps;
            }
        }
        self.shared.control.saw(changes);
    }

    /// Sends to where the gateway is now. Where targets have next hops of their own, these are looked up anyway.
    #[cold]
    fn follow_gateway(&mut self) {
        let gateway = self.way.gateways.mac(0);
        if self.way.neighborhood.is_some() || gateway == self.gateway {
            return;
        }
        self.gateway = gateway;
        self.next_hops.fill(gateway);
        self.patches.send_all_to(gateway);
        self.reset_patches.send_all_to(gateway);
    }

    /// Puts what may have been lost among what is to be probed again.
    #[cold]
    fn doubt(&mut self) {
        let from = self.shared.control.doubt_from().saturating_duration_since(self.shared.started);
        if !self.history.since(from.as_nanos() as u64 * 1_000, &mut self.again) {
            warn!(target: "send", "what may have been lost left so long ago that not all probes of that time are remembered");
        }
        self.again.extend(self.again_cursor.take().map(|cursor| cursor.remaining()));
        self.again = merged(std::mem::take(&mut self.again));
    }

    /// Whether there is something to be probed again.
    #[inline]
    pub(super) fn has_doubts(&self) -> bool {
        self.again_cursor.is_some() || !self.again.is_empty()
    }

    /// Fills `indices` with up to `count` targets of those to be probed again.
    #[cold]
    pub(super) fn indices_again(&mut self, count: usize, now_ps: u64) -> usize {
        let mut found = 0;
        while found < count {
            let Some(cursor) = &mut self.again_cursor else {
                let Some(interval) = self.again.pop() else { break };
                self.again_cursor = Some(Cursor::new(self.shared.permutation, interval));
                continue;
            };
            let start = cursor.position();
            found += cursor.fill(&mut self.indices[found..count]);
            self.history.push(Interval { start, end: cursor.position() }, now_ps);
            if cursor.remaining().is_empty() {
                self.again_cursor = None;
            }
        }
        found
    }
}
