//! What a worker does with received frames: it records replies, counts answers to canaries, and resets half-open
//! connections.

use wire::proof::CopyKind;

use super::super::received::{count, header, unix_ns};
use super::Worker;
use super::excluding::withholds_reset;
use crate::engine::control::Phase;
use crate::probe::Probe;
use crate::reply::{Reply, record};

impl<P: Probe> Worker<'_, P> {
    /// Processes a batch of received frames. Returns how many there were.
    pub(super) fn receive(&mut self, now_ps: u64) -> usize {
        self.received.clear();
        self.port.receive(&mut self.received);
        if self.received.is_empty() {
            return 0;
        }
        let time_ns = unix_ns();
        let cooldown = self.shared.control.phase() == Phase::Cooldown;
        let repeats_give_way = self.repeats.give_way(self.records.slots());
        self.reset_patches.len = 0;
        let excluded = self.excluded.as_deref();
        let probe = self.assignment.probe;
        let copies = probe.check().copies;
        for frame in self.received.frames() {
            let Some(reply) = probe.classify(frame) else {
                self.counts.rx_invalid += 1;
                continue;
            };
            if !self.shared.space.holds(reply.target, reply.asked_port()) {
                self.counts.rx_unasked += 1;
                continue;
            }
            let header =
                header(&reply, time_ns, cooldown, frame.queue, frame.frame_len, frame.captured.len());
            let mut is_new_canary = false;
            let kind = copies.kind(reply.probe);
            if let CopyKind::Canary(number) = kind {
                let rtt_us = || probe.rtt_us(&Reply::new(&header, frame.captured, false));
                is_new_canary = self.canaries.note(&reply, number, rtt_us, &mut self.counts);
            } else {
                count(&mut self.counts, &reply);
                self.counts.rx_second += u64::from(kind == CopyKind::Second);
                self.canaries.offer(&reply);
                if repeats_give_way && self.repeats.knows(&reply) {
                    self.repeats.count(&mut self.counts, &reply, cooldown);
                } else if !record::push(&mut self.records, &header, frame.captured) {
                    self.counts.rx_record_drops += 1;
                } else if repeats_give_way {
                    self.repeats.note(&reply);
                }
            }
            if reply.wants_reset {
                let budget = self.shared.reset_budget;
                if self.shared.kernel_resets.contains(&reply.source) {
                    self.counts.rst_by_kernel += 1;
                } else if withholds_reset(excluded, self.drains, reply.responder, &mut self.counts) {
                    // It is counted.
                } else if match is_new_canary {
                    // It was asked for: it does not count as a host that keeps answering.
                    true => budget.take(),
                    false => self.resets.allows(reply.responder, reply.responder_port, budget),
                } {
                    let at = self.reset_patches.len;
                    probe.reset(&reply, &mut self.reset_patches);
                    if let Some(neighborhood) = self.assignment.neighborhood {
                        self.reset_patches.next_hops[at] = neighborhood.way_back(reply.responder);
                    }
                } else {
                    self.counts.rst_capped += 1;
                }
            }
        }
        self.send_resets(now_ps);
        self.received.len()
    }
}
