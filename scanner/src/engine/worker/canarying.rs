//! What a worker does for canaries: it keeps hosts that have answered, sends canaries to them among its probes, and
//! counts their answers.
//!
//! Sending costs one addition and one comparison per batch of probes until a canary is due. Canaries leave through the
//! path of all probes: the same template, the same port, and the pacer counts them.

use std::sync::Arc;

use wire::packet::BATCH_MAX;
use wire::proof::{Check, ProbeForm};

use super::super::canaries::{AT_ONCE, Answer, Answers, Cells, PPM, Reservoir, SLOT};
use super::super::counters::Counts;
use super::super::received::unix_ns;
use super::Worker;
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
    /// How many canaries are due, in millionths.
    due_ppm: u64,
}

impl Canaries {
    /// That of worker `number` of `workers`, which counts in `cells`.
    pub(super) fn new(check: &Check, workers: usize, number: usize, cells: Arc<Cells>) -> Self {
        let has_canaries = check.copies.has_canaries();
        // Hosts and routers limit how often they answer ICMP.
        let once = check.form == ProbeForm::IcmpEcho;
        Self {
            reservoir: Reservoir::new(workers, number, once, has_canaries),
            answers: Answers::new(has_canaries),
            cells,
            due_ppm: 0,
        }
    }

    /// Adds what so many more probes owe at this share.
    #[inline]
    pub(super) fn owe(&mut self, probes: u64, share_ppm: u64) {
        self.due_ppm += probes * share_ppm;
    }

    /// Whether it is time for a canary.
    #[inline]
    pub(super) fn are_due(&self) -> bool {
        self.due_ppm >= PPM
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
    /// Sends the canaries that are due, as far as there is room and there are hosts for them.
    #[cold]
    pub(super) fn send_canaries(&mut self, now_ps: u64) {
        // While there is no room, no backlog grows.
        self.canaries.due_ppm = self.canaries.due_ppm.min(AT_ONCE as u64 * PPM);
        let slot = now_ps / SLOT_PS;
        let Some(copies) = self.assignment.probe.check().copies.canary(slot) else { return };
        let due = (self.canaries.due_ppm / PPM) as usize;
        let most = due.min(self.shared.batch).min(BATCH_MAX);
        let wanted = self.port.room(Stream::Probe, most).min(most);
        let excluded = self.excluded.as_deref();
        self.counts.canaries_excluded_late +=
            self.canaries.reservoir.draw(slot, wanted, excluded, &mut self.targets);
        // Each is looked for once: without hosts, to look again after every batch would cost more than the probes.
        self.canaries.due_ppm -= wanted as u64 * PPM;
        if let Some(neighborhood) = self.assignment.neighborhood {
            neighborhood.route(&mut self.targets, &mut self.next_hops);
        }
        if self.targets.len == 0 {
            return;
        }
        if self.assignment.probe.tells_time() {
            self.targets.time_ns = unix_ns();
        }
        self.assignment.probe.emit(&self.targets, copies, &mut self.patches);
        self.address_patches(copies);
        let sent = self.patches.len as u64;
        self.shared.reset_budget.add_probes(sent);
        self.port.transmit(Stream::Probe, &self.patches);
        self.shared.pacer.spend(sent);
        self.counts.canaries += sent;
        self.counts.tx_submitted += sent;
        self.canaries.cells.sent(slot, sent);
    }
}
