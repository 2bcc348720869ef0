//! Which replies have been seen before, for the time in which the collector does not keep up.
//!
//! A host may answer fifty times, and its fifty records must not displace the only records of fifty other hosts. So
//! once a worker's ring is filling up, it drops a reply if the same reply from the same target has gone into the ring
//! since. What always holds: a reply is dropped only if one with the same target, port, kind and success is in the ring
//! or has been taken from it, and if both answer first probes or both second ones. The memory of replies is a table of
//! fixed size in which a new entry replaces an old one, so a forgotten entry costs room in the ring, but never an
//! answer.

use wire::proof::{Copies, CopyKind};

use super::counters::Counts;
use crate::probe::ProvenReply;
use crate::reply::record::{APP_SUCCESS, ICMP_ERROR, SUCCESS};

/// Entries of the table, a power of two: 1 MiB per worker, which is not touched before a ring fills up. Lower: more
/// repeats are forgotten and take room in the ring. Higher: more memory, and more cache misses per reply.
const ENTRIES: usize = 1 << 17;

/// How repeats are handled while the collector does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatPolicy {
    /// Like any other reply: the scan does not distinguish repeats from first answers.
    Alike,
    /// They are dropped. They would not have been results.
    LeaveOut,
    /// They are dropped, although they would have been results, so each counts as a loss.
    Lose,
}

/// A worker's memory of earlier replies.
#[derive(Debug)]
pub(super) struct Repeats {
    policy: RepeatPolicy,
    /// Repeats are dropped if the ring has less room than this.
    room_needed: usize,
    copies: Copies,
    entries: Box<[u64]>,
}

impl Repeats {
    /// For a ring of `ring_len` bytes, and replies to probes with these copy numbers.
    pub(super) fn new(policy: RepeatPolicy, ring_len: usize, copies: Copies) -> Self {
        let entries = if policy == RepeatPolicy::Alike { 0 } else { ENTRIES };
        let room_needed = ring_len - ring_len / 4;
        Self { policy, room_needed, copies, entries: vec![0; entries].into_boxed_slice() }
    }

    /// Whether repeats are dropped if the ring has this much room.
    #[inline]
    pub(super) fn give_way(&self, room: usize) -> bool {
        room < self.room_needed && self.policy != RepeatPolicy::Alike
    }

    /// Whether the same reply went into the ring before.
    pub(super) fn knows(&self, reply: &ProvenReply) -> bool {
        let key = self.key(reply);
        self.entries[place(key)] == key
    }

    /// Remembers that this reply went into the ring.
    pub(super) fn note(&mut self, reply: &ProvenReply) {
        let key = self.key(reply);
        self.entries[place(key)] = key;
    }

    /// All that makes two replies the same. Never 0, because kinds begin at 1.
    fn key(&self, reply: &ProvenReply) -> u64 {
        let flags = reply.flags & (SUCCESS | APP_SUCCESS | ICMP_ERROR);
        let is_second = self.copies.kind(reply.probe) == CopyKind::Second;
        u64::from(reply.target) << 32
            | u64::from(reply.target_port) << 16
            | u64::from(reply.kind as u8) << 8
            | u64::from(is_second) << 7
            | u64::from(flags)
    }

    /// Counts a reply that was dropped.
    pub(super) fn count(&self, counts: &mut Counts, reply: &ProvenReply, cooldown: bool) {
        let [success, app_success] = [SUCCESS, APP_SUCCESS].map(|flag| reply.flags & flag != 0);
        counts.rx_repeats += 1;
        counts.rx_repeats_success += u64::from(success);
        counts.rx_repeats_app_success += u64::from(app_success);
        counts.rx_repeats_success_cooldown += u64::from(success && cooldown);
        counts.rx_record_drops += u64::from(self.policy == RepeatPolicy::Lose);
    }
}

// The bit of second probes is none of the flags.
const _: () = assert!((SUCCESS | APP_SUCCESS | ICMP_ERROR) >> 7 == 0);

/// Fibonacci hashing: similar keys get distant places, and there is no need to resist an attacker here.
fn place(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ENTRIES.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::record::ReplyKind;

    fn reply(target: u32, target_port: u16, kind: ReplyKind, flags: u8) -> ProvenReply {
        ProvenReply {
            kind,
            responder: target,
            source: 1,
            target,
            target_port,
            tells_port: true,
            responder_port: target_port,
            local_port: 2,
            probe: 0,
            ip_offset: 14,
            acknowledgement: 3,
            flags,
            wants_reset: false,
        }
    }

    /// Only the same reply is a repeat. One with another port, kind or success is a first answer, and so is one that
    /// was forgotten.
    #[test]
    fn only_the_like_is_a_repeat() {
        let mut repeats = Repeats::new(RepeatPolicy::LeaveOut, 4096, Copies::of(1).with_seconds());
        let first = reply(7, 80, ReplyKind::SynAck, SUCCESS);
        assert!(!repeats.knows(&first));
        repeats.note(&first);
        assert!(repeats.knows(&first));
        for other in [
            reply(8, 80, ReplyKind::SynAck, SUCCESS),
            reply(7, 81, ReplyKind::SynAck, SUCCESS),
            reply(7, 80, ReplyKind::Rst, SUCCESS),
            reply(7, 80, ReplyKind::SynAck, 0),
            reply(7, 80, ReplyKind::SynAck, SUCCESS | APP_SUCCESS),
            ProvenReply { probe: 1, ..first },
        ] {
            assert!(!repeats.knows(&other), "{other:?}");
        }
        let many = (0..4 * ENTRIES as u32).map(|target| reply(target, 80, ReplyKind::SynAck, SUCCESS));
        many.clone().for_each(|reply| repeats.note(&reply));
        let known = many.filter(|reply| repeats.knows(reply)).count();
        assert!((ENTRIES / 2..=ENTRIES).contains(&known), "{known}");
    }

    #[test]
    fn repeats_give_way_in_a_ring_that_fills_up() {
        let gives_way = |policy, room| Repeats::new(policy, 4096, Copies::of(1)).give_way(room);
        assert!(!gives_way(RepeatPolicy::LeaveOut, 3072) && gives_way(RepeatPolicy::LeaveOut, 3071));
        assert!(gives_way(RepeatPolicy::Lose, 0) && !gives_way(RepeatPolicy::Alike, 0));
    }
}
