//! The cap on resets: one for each SYN-ACK, but not for a host that goes on answering.
//!
//! A host that answers a hundred times must not make us send it a hundred packets, and all resets together must not
//! outnumber the probes. Memory of who had how many is a small table in which a newcomer takes an old one's place: a
//! forgotten responder gets a few more, never more than the cap on all.

/// Resets that one responder's port gets while the table remembers it: the probe's copies and a retransmission or two.
const PER_RESPONDER: u8 = 4;
/// Entries of the table, a power of two: 64 KiB of memory a worker.
const ENTRIES: usize = 1 << 14;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    responder: u32,
    port: u16,
    sent: u8,
}

/// A worker's memory of the resets it has sent.
#[derive(Debug)]
pub(super) struct ResetCap {
    entries: Box<[Entry]>,
}

impl ResetCap {
    pub(super) fn new() -> Self {
        Self { entries: vec![Entry::default(); ENTRIES].into_boxed_slice() }
    }

    /// Whether `responder:port` may be sent another reset, given how many probes and resets have left so far; if so,
    /// it is counted.
    #[inline]
    pub(super) fn allows(&mut self, responder: u32, port: u16, probes: u64, resets: u64) -> bool {
        if resets >= probes {
            return false;
        }
        // Fibonacci hashing: neighbours fall apart, and nothing here needs to resist an attacker.
        let key = u64::from(responder) << 16 | u64::from(port);
        let slot = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ENTRIES.trailing_zeros());
        let entry = &mut self.entries[slot as usize];
        if (entry.responder, entry.port) != (responder, port) {
            *entry = Entry { responder, port, sent: 0 };
        }
        let allowed = entry.sent < PER_RESPONDER;
        entry.sent += u8::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chatty_host_gets_four() {
        let mut cap = ResetCap::new();
        let sent = (0..100).filter(|sent| cap.allows(7, 80, 1_000, *sent)).count();
        assert_eq!(sent, usize::from(PER_RESPONDER));
        assert!(cap.allows(7, 443, 1_000, 4) && cap.allows(8, 80, 1_000, 5));
    }

    #[test]
    fn resets_never_outnumber_probes() {
        let mut cap = ResetCap::new();
        let mut resets = 0;
        for responder in 0..10_000 {
            resets += u64::from(cap.allows(responder, 80, 500, resets));
        }
        assert_eq!(resets, 500);
    }
}
