//! Who has answered before, for the time in which the collector does not keep up.
//!
//! A host may answer fifty times, and fifty records of it must not cost fifty others their only one. So once a worker's ring
//! is filling up, a reply whose like from the same target has gone into the ring since does not. What always holds: a reply
//! is left out only if one of the same target, port, kind and success is in the ring or has been taken from it; the memory
//! of them is a table of fixed size in which a newcomer takes an old one's place, so what is forgotten costs room, and never
//! an answer.

use super::counters::Counts;
use crate::probe::Reply;
use crate::results::record::{APP_SUCCESS, ICMP_ERROR, SUCCESS};

/// Entries of the table, a power of two: 1 MiB a worker, of which nothing is touched before a ring fills up.
const ENTRIES: usize = 1 << 17;

/// What becomes of repeats while the collector does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatPolicy {
    /// They are replies like any other: the scan does not tell repeats from first answers.
    Alike,
    /// They give way. They would have been no results.
    LeaveOut,
    /// They give way, though they would have been results: each is one that is lost.
    Lose,
}

/// A worker's memory of who has answered.
#[derive(Debug)]
pub(super) struct Repeats {
    policy: RepeatPolicy,
    /// The ring's room below which repeats give way.
    room_needed: usize,
    entries: Box<[u64]>,
}

impl Repeats {
    /// For a ring of `ring_len` bytes.
    pub(super) fn new(policy: RepeatPolicy, ring_len: usize) -> Self {
        let entries = if policy == RepeatPolicy::Alike { 0 } else { ENTRIES };
        Self { policy, room_needed: ring_len - ring_len / 4, entries: vec![0; entries].into_boxed_slice() }
    }

    /// Whether repeats give way in a ring with so much room.
    #[inline]
    pub(super) fn give_way(&self, room: usize) -> bool {
        room < self.room_needed && self.policy != RepeatPolicy::Alike
    }

    /// Whether such a reply went into the ring before.
    pub(super) fn knows(&self, reply: &Reply) -> bool {
        let key = key(reply);
        self.entries[place(key)] == key
    }

    /// This reply went into the ring.
    pub(super) fn note(&mut self, reply: &Reply) {
        let key = key(reply);
        self.entries[place(key)] = key;
    }

    /// Counts a reply that was left out.
    pub(super) fn count(&self, counts: &mut Counts, reply: &Reply, cooldown: bool) {
        let [success, app_success] = [SUCCESS, APP_SUCCESS].map(|flag| reply.flags & flag != 0);
        counts.rx_repeats += 1;
        counts.rx_repeats_success += u64::from(success);
        counts.rx_repeats_app_success += u64::from(app_success);
        counts.rx_repeats_success_cooldown += u64::from(success && cooldown);
        counts.rx_record_drops += u64::from(self.policy == RepeatPolicy::Lose);
    }
}

/// All that makes a reply the like of another, and never 0: kinds begin at 1.
fn key(reply: &Reply) -> u64 {
    let flags = reply.flags & (SUCCESS | APP_SUCCESS | ICMP_ERROR);
    u64::from(reply.target) << 32
        | u64::from(reply.target_port) << 16
        | u64::from(reply.kind as u8) << 8
        | u64::from(flags)
}

/// Fibonacci hashing: neighbours fall apart, and nothing here needs to resist an attacker.
fn place(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ENTRIES.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::record::Kind;

    fn reply(target: u32, target_port: u16, kind: Kind, flags: u8) -> Reply {
        Reply {
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

    /// Only the very same is a repeat: another port, kind or success is an answer of its own, and what was forgotten is a
    /// first answer again.
    #[test]
    fn only_the_like_is_a_repeat() {
        let mut repeats = Repeats::new(RepeatPolicy::LeaveOut, 4096);
        let first = reply(7, 80, Kind::SynAck, SUCCESS);
        assert!(!repeats.knows(&first));
        repeats.note(&first);
        assert!(repeats.knows(&first));
        for other in [
            reply(8, 80, Kind::SynAck, SUCCESS),
            reply(7, 81, Kind::SynAck, SUCCESS),
            reply(7, 80, Kind::Rst, SUCCESS),
            reply(7, 80, Kind::SynAck, 0),
            reply(7, 80, Kind::SynAck, SUCCESS | APP_SUCCESS),
        ] {
            assert!(!repeats.knows(&other), "{other:?}");
        }
        let many = (0..4 * ENTRIES as u32).map(|target| reply(target, 80, Kind::SynAck, SUCCESS));
        many.clone().for_each(|reply| repeats.note(&reply));
        let known = many.filter(|reply| repeats.knows(reply)).count();
        assert!((ENTRIES / 2..=ENTRIES).contains(&known), "{known}");
    }

    #[test]
    fn repeats_give_way_in_a_ring_that_fills_up() {
        let gives_way = |policy, room| Repeats::new(policy, 4096).give_way(room);
        assert!(!gives_way(RepeatPolicy::LeaveOut, 3072) && gives_way(RepeatPolicy::LeaveOut, 3071));
        assert!(gives_way(RepeatPolicy::Lose, 0) && !gives_way(RepeatPolicy::Alike, 0));
    }
}
