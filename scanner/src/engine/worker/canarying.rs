//! What a worker does for canaries: it keeps hosts that have answered, sends canaries to them among its probes, and
//! counts their answers.
//!
//! Sending costs a multiplication and a few comparisons per batch of probes until a canary is due. Canaries leave
//! through the path of all probes: the same template, the same port, the same batch, and the pacer counts them.

use std::sync::Arc;

use targets::{RangeSet, TargetBatch};
use wire::packet::{BATCH_MAX, MacAddr, PatchBatch};
use wire::proof::{Check, ProbeForm};

use super::super::canaries::{Answer, Answers, Cells, Reservoir, SLOT, Schedule};
use super::super::counters::Counts;
use super::Worker;
use super::probing::{Visit, address};
use crate::io::Stream;
use crate::probe::{Probe, ProvenReply};
use crate::reply::record::{ICMP_ERROR, ReplyKind, SUCCESS};

const SLOT_PS: u64 = SLOT.as_nanos() as u64 * 1_000;

/// A worker's part in the canaries of a scan.
#[derive(Debug)]
pub(super) struct Canaries {
    reservoir: Reservoir,
    answers: Answers,
    cells: Arc<Cells>,
    schedule: Schedule,
    /// The hosts of the canaries that leave with the present batch, and their frames.
    hosts: TargetBatch,
    patches: PatchBatch,
}

impl Canaries {
    /// That of worker `number` of `workers`, which counts in `cells`, in a scan with this seed. `patches` are empty.
    pub(super) fn new(
        check: &Check,
        (workers, number): (usize, usize),
        seed: u64,
        cells: Arc<Cells>,
        patches: PatchBatch,
    ) -> Self {
        let has_canaries = check.copies.has_canaries();
        // Hosts and routers limit how often they answer ICMP.
        let once = check.form == ProbeForm::IcmpEcho;
        Self {
            reservoir: Reservoir::new(workers, number, once, has_canaries),
            answers: Answers::new(has_canaries),
            cells,
            schedule: Schedule::new(seed, number),
            hosts: TargetBatch::default(),
            patches,
        }
    }

    /// Takes back what this many frames owe, which do not leave.
    #[inline]
    pub(super) fn forgive(&mut self, frames: u64, share_ppm: u64) {
        self.schedule.forgive(frames, share_ppm);
    }

    /// Whether it is time for canaries.
    #[inline]
    pub(super) fn are_due(&self) -> bool {
        self.schedule.waiting() > 0
    }

    /// Takes hosts for the canaries that are due, as far as there is `room`. Returns how many are left out because they
    /// are `excluded`.
    fn draw(&mut self, slot: u64, room: usize, excluded: Option<&RangeSet>) -> u64 {
        // Each is looked for once: without hosts, to look again after every batch would cost more than the probes.
        let wanted = self.schedule.take(room);
        self.reservoir.draw(slot, wanted, excluded, &mut self.hosts)
    }

    /// Sends all canaries to this MAC address.
    pub(super) fn send_all_to(&mut self, gateway: MacAddr) {
        self.patches.send_all_to(gateway);
    }

    /// Takes the sender of a reply as a host for canaries, if its success proves that it is the target. Only copy 0
    /// counts, so that a target comes to one worker.
    #[inline]
    pub(super) fn offer(&mut self, reply: &ProvenReply) {
        let is_host = reply.responder == reply.target && reply.tells_port && reply.probe == 0;
        if is_host && reply.flags & SUCCESS != 0 {
            self.reservoir.offer(reply.target, reply.target_port);
        }
    }

    /// Counts an answer to a canary with this number. Returns whether it is the first one.
    #[cold]
    pub(super) fn note(
        &mut self,
        reply: &ProvenReply,
        number: u32,
        rtt_us: impl FnOnce() -> Option<u64>,
        counts: &mut Counts,
    ) -> bool {
        counts.rx_canary += 1;
        counts.rx_canary_synack += u64::from(reply.kind == ReplyKind::SynAck);
        if !self.answers.is_first(reply.target, number) {
            counts.rx_canary_repeats += 1;
            return false;
        }
        let (answer, count) = if reply.flags & ICMP_ERROR != 0 {
            (Answer::Error, &mut counts.rx_canary_error)
        } else if reply.flags & SUCCESS != 0 {
            (Answer::Alike, &mut counts.rx_canary_answered)
        } else {
            (Answer::Refused, &mut counts.rx_canary_refused)
        };
        *count += 1;
        self.cells.answered(number, answer, rtt_us());
        true
    }
}

impl<P: Probe> Worker<'_, P> {
    /// Fills `indices` with up to `count` targets for a visit, each with `cost` probes, and returns how many. Canaries
    /// that are due leave in the place of some, which have to wait for the next batch: if a batch with a canary were
    /// longer than others, more of it would be lost where the path is full, and the canary more often than a probe.
    #[inline]
    pub(super) fn take_targets(&mut self, visit: Visit, count: usize, cost: u32, now_ps: u64) -> usize {
        let (cost, share_ppm) = (cost as usize, self.shared.control.canary_share_ppm());
        self.canary_share_ppm = share_ppm;
        let before = self.canaries.schedule;
        let replaced = match self.canaries.schedule.owe(count * cost, share_ppm) {
            true => self.canaries.schedule.replaced(cost).min(count),
            false => 0,
        };
        let found = self.indices_of(visit, count - replaced, now_ps);
        let schedule = &mut self.canaries.schedule;
        if found + replaced < count {
            // There are no more: only these owe canaries.
            *schedule = before;
            schedule.owe(found * cost, share_ppm);
        } else {
            schedule.forgive((replaced * cost) as u64, share_ppm);
        }
        found
    }

    /// Puts the canaries that are due between the frames of the present batch, as far as there is room and there are
    /// hosts for them.
    #[cold]
    pub(super) fn insert_canaries(&mut self, now_ps: u64) {
        let slot = now_ps / SLOT_PS;
        let check = self.assignment.probe.check();
        let Some(copies) = check.copies.canary(slot) else { return };
        let frames = self.patches.len;
        let room = self.port.room(Stream::Probe, BATCH_MAX).min(BATCH_MAX).saturating_sub(frames);
        let canaries = &mut self.canaries;
        self.counts.canaries_excluded_late += canaries.draw(slot, room, self.excluded.as_deref());
        if let Some(neighborhood) = self.assignment.neighborhood {
            neighborhood.route(&mut canaries.hosts, &mut self.next_hops);
        }
        if canaries.hosts.len == 0 {
            return;
        }
        canaries.hosts.time_ns = self.targets.time_ns;
        self.assignment.probe.emit(&canaries.hosts, copies, &mut canaries.patches);
        address(&mut canaries.patches, &self.next_hops[..canaries.hosts.len], copies);
        let count = canaries.patches.len;
        let places = canaries.schedule.places(count, frames);
        self.patches.insert(&canaries.patches, &places[..count]);
        self.shared.pacer.spend(count as u64);
        self.counts.canaries += count as u64;
        canaries.cells.sent(slot, count as u64);
    }
}
