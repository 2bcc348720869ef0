//! The cap on resets: one for each SYN-ACK, but not for a host that keeps answering.
//!
//! A host that answers a hundred times must not make us send it a hundred packets. And all resets together must not
//! outnumber the probes of the scan, whichever workers sent them, because replies arrive on any queue. The memory of
//! resets per responder is a small table in which a new entry replaces an old one: a forgotten responder gets a few
//! more, but the total cap still holds.

use crossbeam_utils::CachePadded;

use crate::sync::atomic::{AtomicI64, Ordering};

/// Resets for one responder's port while the table remembers it: enough for the probe's copies and a retransmission or
/// two. Lower: connections stay half open. Higher: more packets to a host that answers often.
const PER_RESPONDER: u8 = 4;
/// Entries of the table, a power of two: 128 KiB per worker. Lower: responders are forgotten sooner and get more
/// resets. Higher: more memory and cache misses.
const ENTRIES: usize = 1 << 14;

#[derive(Clone, Copy, Debug, Default)]
struct ResponderSlot {
    responder: u32,
    port: u16,
    sent: u8,
}

/// The total cap: probes of all workers, minus their resets. Accessed once per batch of probes and once per reset.
#[derive(Debug, Default)]
pub(super) struct ResetBudget(CachePadded<AtomicI64>);

impl ResetBudget {
    /// Adds probes that are about to leave.
    #[inline]
    pub(super) fn add_probes(&self, probes: u64) {
        self.0.fetch_add(probes as i64, Ordering::Relaxed);
    }

    /// Takes one reset out of the budget, if it is not empty.
    #[inline]
    pub(super) fn take(&self) -> bool {
        let took = self.0.fetch_sub(1, Ordering::Relaxed) > 0;
        if !took {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        took
    }
}

/// A worker's memory of the resets it has sent.
#[derive(Debug)]
pub(super) struct ResetCap {
    entries: Box<[ResponderSlot]>,
}

impl ResetCap {
    pub(super) fn new() -> Self {
        Self { entries: vec![ResponderSlot::default(); ENTRIES].into_boxed_slice() }
    }

    /// Whether another reset may be sent to `responder:port`. If so, it is counted and taken from the budget.
    #[inline]
    pub(super) fn allows(&mut self, responder: u32, port: u16, budget: &ResetBudget) -> bool {
        // Fibonacci hashing: similar keys get distant places, and there is no need to resist an attacker here.
        let key = u64::from(responder) << 16 | u64::from(port);
        let slot = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ENTRIES.trailing_zeros());
        let entry = &mut self.entries[slot as usize];
        if (entry.responder, entry.port) != (responder, port) {
            *entry = ResponderSlot { responder, port, sent: 0 };
        }
        let allowed = entry.sent < PER_RESPONDER && budget.take();
        entry.sent += u8::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(probes: u64) -> ResetBudget {
        let budget = ResetBudget::default();
        budget.add_probes(probes);
        budget
    }

    #[test]
    fn a_chatty_host_gets_four() {
        let (mut cap, budget) = (ResetCap::new(), budget(1_000));
        let sent = (0..100).filter(|_| cap.allows(7, 80, &budget)).count();
        assert_eq!(sent, usize::from(PER_RESPONDER));
        assert!(cap.allows(7, 443, &budget) && cap.allows(8, 80, &budget));
    }

    /// Two workers, one of which has sent nothing, share one budget.
    #[test]
    fn resets_never_outnumber_probes() {
        let (mut caps, budget) = ([ResetCap::new(), ResetCap::new()], budget(500));
        let allowed = (0..10_000u32).filter(|&i| caps[i as usize % 2].allows(i, 80, &budget)).count();
        assert_eq!(allowed, 500);
        budget.add_probes(1);
        assert!(caps[1].allows(77_777, 80, &budget) && !caps[0].allows(88_888, 80, &budget));
    }
}
