//! Resets and the room for them: nothing is probed or received whose resets would find none, if room comes soon.
//!
//! Frames for resets come back when they have left, behind all probes that were handed over before. If most hosts
//! answer a scan at full rate, the worker would take in more SYN-ACKs in a turn than such frames come back. So replies
//! stay in the RX rings meanwhile, which hold more of them than the TX ring has probes, and no probes are added. What
//! always holds: a ring that does not move delays replies for a moment and no longer, because they are worth more than
//! resets.

use wire::packet::{BATCH_MAX, RX_BATCH_MAX};

use super::super::pace::PS_PER_S;
use super::Worker;
use crate::io::Stream;
use crate::probe::Probe;

/// How long to wait for room while no frame leaves. A ring that does not move for so long is blocked, for example by a
/// link that is down. Lower: connections stay half open although there is room soon. Higher: RX rings may overflow.
const PATIENCE_PS: u64 = PS_PER_S / 1_000;
/// For how many turns to wait at least, because a worker may have been off its core for longer than that. Lower: it
/// gives up before it has looked. Higher: as with [`PATIENCE_PS`].
const PATIENCE_TURNS: u32 = 64;

/// A lack of room for the resets of a whole batch of replies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shortage {
    /// When a frame was last seen to have left, or when the shortage began.
    moved_at_ps: u64,
    /// Turns since then.
    turns: u32,
    /// Frames in the port at the last look.
    outstanding: u64,
    /// Whether the ring has not moved for too long.
    is_blocked: bool,
}

impl<P: Probe> Worker<'_, P> {
    /// Whether probes and replies wait, because the resets of a batch of replies would find no room.
    #[inline]
    pub(super) fn waits_for_reset_room(&self) -> bool {
        self.shortage.is_some_and(|shortage| !shortage.is_blocked)
    }

    /// Looks once per turn, after frames have come back, whether a shortage is over.
    #[inline]
    pub(super) fn watch_reset_room(&mut self, now_ps: u64) {
        if let Some(shortage) = self.shortage {
            self.shortage = self.still_short(shortage, now_ps);
        }
    }

    fn still_short(&mut self, before: Shortage, now_ps: u64) -> Option<Shortage> {
        let outstanding = self.port.outstanding();
        // A port without frames has all the room that it will ever have.
        if outstanding == 0 || self.port.room(Stream::Reset, RX_BATCH_MAX) >= RX_BATCH_MAX {
            return None;
        }
        if outstanding < before.outstanding {
            return Some(Shortage { moved_at_ps: now_ps, turns: 0, outstanding, is_blocked: false });
        }
        let turns = before.turns.saturating_add(1);
        let is_blocked = turns > PATIENCE_TURNS && now_ps.saturating_sub(before.moved_at_ps) > PATIENCE_PS;
        Some(Shortage { turns, outstanding, is_blocked, ..before })
    }

    /// Sends the resets in `reset_patches`. Those that find no room are counted; the responder's own timer closes the
    /// connection.
    pub(super) fn send_resets(&mut self, now_ps: u64) {
        const { assert!(RX_BATCH_MAX <= BATCH_MAX) }
        let wanted = self.reset_patches.len;
        if wanted == 0 {
            return;
        }
        self.reset_patches.len = self.port.room(Stream::Reset, wanted).min(wanted);
        self.counts.rst_no_room += (wanted - self.reset_patches.len) as u64;
        self.counts.rst_submitted += self.reset_patches.len as u64;
        self.port.transmit(Stream::Reset, &self.reset_patches);
        self.shared.pacer.charge(self.reset_patches.len as u64);
        if self.shortage.is_none() && self.port.room(Stream::Reset, RX_BATCH_MAX) < RX_BATCH_MAX {
            let outstanding = self.port.outstanding();
            self.shortage = Some(Shortage { moved_at_ps: now_ps, turns: 0, outstanding, is_blocked: false });
        }
    }
}
