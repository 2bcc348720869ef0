//! A slot of time: what the scan did in it, and what became of the canaries that were sent in it.

use std::time::Duration;

use super::rtts::Rtts;

/// What is known of a slot of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// When it began, since the start of the scan.
    pub start: Duration,
    /// How long it is, or has been so far.
    pub length: Duration,
    /// Probes that were completed in it, canaries included.
    pub probes: u64,
    /// Canaries that were handed over in it.
    pub sent: u64,
    /// Of those, answered as the first time, whenever the answer came.
    pub answered: u64,
    /// Of those, answered by their host in another way, such as by a RST. They were not lost.
    pub refused: u64,
    /// Of those, answered by an ICMP error.
    pub errors: u64,
    /// Round-trip times of the answers, if the probe module takes them.
    pub rtts: Rtts,
    /// Frames that the workers received in it.
    pub received: u64,
    /// Frames for the workers that this host is known to have lost in it: at its sockets, with their rings full.
    pub own_losses: u64,
}

impl Slot {
    /// Canaries that got any answer. Answers that nobody asked for do not count: there are never more than were sent.
    pub fn replied(&self) -> u64 {
        (self.answered + self.refused + self.errors).min(self.sent)
    }

    /// Canaries without an answer. Those of a slot that has just ended may be answered later.
    pub fn unanswered(&self) -> u64 {
        self.sent - self.replied()
    }

    /// The share of canaries without an answer, from 0 to 1; 0 if none was sent.
    pub fn loss(&self) -> f64 {
        share(self.unanswered(), self.sent)
    }

    /// The share of received frames that this host is known to have lost, from 0 to 1.
    pub fn own_loss(&self) -> f64 {
        share(self.own_losses, self.received + self.own_losses)
    }

    /// When it ends, or is now.
    pub fn end(&self) -> Duration {
        self.start + self.length
    }

    /// Makes one slot of it and the one that follows.
    pub fn extend(&mut self, next: &Self) {
        self.length = next.end().saturating_sub(self.start);
        self.probes += next.probes;
        self.sent += next.sent;
        self.answered += next.answered;
        self.refused += next.refused;
        self.errors += next.errors;
        self.rtts.add(&next.rtts);
        self.received += next.received;
        self.own_losses += next.own_losses;
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
