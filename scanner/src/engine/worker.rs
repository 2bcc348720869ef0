//! The worker loop: one thread, one core, one TX queue, a set of RX queues.
//!
//! A turn: read the clock, send what the pacer grants, let the port flush, take what has been received. What always
//! holds: a turn allocates, locks, logs and formats nothing, and reads the clock once (once more for each batch
//! received, and for a batch of probes that tell when they leave); a record that finds its ring full is counted and dropped, never waited for.

mod again;
mod stall;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtrb::Producer;
use stall::Stall;
use tracing::error;

use super::control::{Control, EndReason, Hold, Phase};
use super::counters::{Counts, Published};
use super::history::History;
use super::pace::{Grant, PS_PER_S, Pacer};
use super::received::{count, header, unix_ns};
use super::repeats::{RepeatPolicy, Repeats};
use super::resets::{ResetBudget, ResetCap};
use super::scan::Way;
use crate::io::{Port, RX_BATCH_MAX, RxBatch, Stream};
use crate::nic::Neighborhood;
use crate::packet::{MacAddr, PatchBatch};
use crate::probe::Probe;
use crate::results::record;
use crate::targets::{BATCH_MAX, Cursor, Interval, Lease, Leases, Permutation, TargetBatch, TargetSpace};

/// Longest sleep of a worker that has nothing to do: how late it may notice a change of phase.
const NAP: Duration = Duration::from_millis(5);
/// Longest sleep while frames are with the kernel, which may need to be woken again for them.
const NAP_OUTSTANDING: Duration = Duration::from_micros(200);
/// A wait shorter than this is spun through: going to sleep and coming back takes as long.
const SPIN_PS: u64 = 20 * PS_PER_S / 1_000_000;
/// How long a full ring is spun on before a worker sleeps between looks at it: longer than line rate takes to empty it,
/// so what does not move by then is held up by something that spinning does not mend, such as a link that is down.
const PATIENCE_PS: u64 = 1_000 * PS_PER_S / 1_000_000;
/// How long none of the last frames may be reported as sent before they are given up as unconfirmed.
const DRAIN_PS: u64 = 2 * PS_PER_S;
/// Turns between two publications of the counters while the worker is busy.
const PUBLISH_TURNS: u32 = 16;
/// Batches that a turn takes from the RX rings at most: twice as many replies as a turn has probes. With fewer than one
/// for each probe the rings run over wherever every host answers as fast as it is probed.
const RECEIVE_BATCHES: usize = 2 * BATCH_MAX / RX_BATCH_MAX;
/// How often the kernel is asked what it dropped.
const STATISTICS_PS: u64 = PS_PER_S;

/// What all workers of a scan share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared<'a> {
    pub(super) space: &'a TargetSpace,
    pub(super) permutation: &'a Permutation,
    pub(super) leases: &'a Leases,
    pub(super) pacer: &'a Pacer,
    pub(super) batch: usize,
    pub(super) control: &'a Control,
    pub(super) reset_budget: &'a ResetBudget,
    pub(super) kernel_resets: &'a [u32],
    pub(super) repeats: RepeatPolicy,
    pub(super) started: Instant,
}

/// Where a worker's sending stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// There may be more targets.
    Open,
    /// No more targets; frames may still be on their way. Some arrived there at the time given, or it was then that the
    /// last were handed over.
    Draining(u64),
    /// All that was handed over has been sent or given up.
    Finished,
}

/// What a worker leaves behind.
pub(super) struct Remains {
    /// Its port, for the last statistics.
    pub(super) port: Box<dyn Port>,
    /// Of its lease, what was not walked.
    pub(super) left: Interval,
    /// What was probed when the link may have been down already, and not again.
    pub(super) in_doubt: Vec<Interval>,
}

/// One worker.
pub(super) struct Worker<'a, P> {
    shared: Shared<'a>,
    way: Way<'a, P>,
    port: Box<dyn Port>,
    records: Producer<u8>,
    published: Arc<Published>,
    counts: Counts,
    lease: Option<(Interval, Cursor)>,
    history: History,
    /// What is to be probed again, the last first, and where the walk through it stands.
    again: Vec<Interval>,
    again_cursor: Option<Cursor>,
    /// The hold as last seen.
    hold: Hold,
    sending: Sending,
    /// When to ask the pacer again.
    ask_at_ps: u64,
    /// Whether more was due than the pacer gave.
    behind: bool,
    /// Frames with the port, as seen while draining.
    outstanding: u64,
    /// Whether the port has failed.
    failed: bool,
    stall: Stall,
    /// When probes were last handed over.
    sent_at_ps: u64,
    /// When to ask the kernel again what it dropped.
    statistics_at_ps: u64,
    resets: ResetCap,
    repeats: Repeats,
    indices: [u64; BATCH_MAX],
    targets: TargetBatch,
    /// Where the gateway of all targets is.
    gateway: MacAddr,
    /// Where each of `targets` goes, in a scan that has several next hops, or whose gateway has moved.
    next_hops: [MacAddr; BATCH_MAX],
    patches: PatchBatch,
    reset_patches: PatchBatch,
    received: RxBatch,
}

impl<'a, P: Probe> Worker<'a, P> {
    pub(super) fn new(
        shared: Shared<'a>,
        way: Way<'a, P>,
        port: Box<dyn Port>,
        records: Producer<u8>,
        published: Arc<Published>,
    ) -> Self {
        let ring_len = records.buffer().capacity();
        let patches = way.probe.template().batch();
        let reset_patches = PatchBatch::default();
        let (patches, reset_patches) = match way.neighborhood {
            Some(_) => (patches.with_next_hops(), reset_patches.with_next_hops()),
            None => (patches.with_room_for_next_hops(), reset_patches.with_room_for_next_hops()),
        };
        Self {
            shared,
            way,
            port,
            records,
            published,
            counts: Counts::default(),
            lease: None,
            history: History::new(),
            again: Vec::new(),
            again_cursor: None,
            hold: Hold::default(),
            sending: Sending::Open,
            ask_at_ps: 0,
            behind: false,
            outstanding: 0,
            failed: false,
            stall: Stall::default(),
            sent_at_ps: 0,
            statistics_at_ps: STATISTICS_PS,
            resets: ResetCap::new(),
            repeats: Repeats::new(shared.repeats, ring_len),
            indices: [0; BATCH_MAX],
            targets: TargetBatch::default(),
            gateway: way.gateways.mac(0),
            next_hops: [MacAddr::default(); BATCH_MAX],
            patches,
            reset_patches,
            received: RxBatch::new(way.probe.capture_len()),
        }
    }

    /// Runs until the scan is done.
    pub(super) fn run(mut self) -> Remains {
        let mut turns = 0u32;
        while self.shared.control.phase() != Phase::Done {
            let now_ps = self.now_ps();
            let sent = self.send(now_ps);
            if let Err(error) = self.port.flush() {
                self.fail(&error);
            }
            let received = self.receive_all();
            self.settle(now_ps);
            turns = turns.wrapping_add(1);
            if sent > 0 {
                self.sent_at_ps = now_ps;
            }
            let idle = sent == 0 && received == 0;
            if idle || turns.is_multiple_of(PUBLISH_TURNS) {
                if now_ps >= self.statistics_at_ps {
                    self.statistics_at_ps = now_ps + STATISTICS_PS;
                    self.counts.rx_socket_drops = self.port.socket_drops();
                }
                self.watch_queue(now_ps);
                self.publish();
            }
            if idle {
                self.rest(now_ps);
            }
        }
        self.counts.rx_socket_drops = self.port.socket_drops();
        self.publish();
        self.remains()
    }

    /// Ends the scan: this port sends nothing more.
    #[cold]
    fn fail(&mut self, error: &io::Error) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        if error.kind() == io::ErrorKind::BrokenPipe {
            return self.shared.control.stop(EndReason::OutputClosed);
        }
        error!(target: "send", "nothing more can be sent: {error}");
        self.shared.control.stop(EndReason::SendFailed);
    }

    #[inline]
    fn now_ps(&self) -> u64 {
        self.shared.started.elapsed().as_nanos() as u64 * 1_000
    }

    /// Sends the next batch of targets, if there are any, it is time, and there is room. Returns how many probes left.
    fn send(&mut self, now_ps: u64) -> usize {
        let hold = self.shared.control.held();
        if hold != self.hold {
            self.follow(hold, now_ps);
        }
        if self.sending != Sending::Open {
            return 0;
        }
        if self.shared.control.is_stopping() {
            self.sending = Sending::Draining(now_ps);
            return 0;
        }
        if now_ps < self.ask_at_ps || hold.is_held() {
            return 0;
        }
        let copies = self.way.probe.check().copies;
        let batch = self.shared.batch;
        let room = self.port.room(Stream::Probe, batch).min(batch) / copies as usize;
        // A worker without targets takes nothing of the rate that the others share.
        if room == 0 || !(self.has_doubts() || self.has_lease(now_ps)) {
            return 0;
        }
        let Grant { count, again_at_ps, behind } = self.shared.pacer.grant(now_ps, room, copies);
        (self.ask_at_ps, self.behind) = (again_at_ps, behind);
        if count == 0 {
            return 0;
        }
        let is_again = self.has_doubts();
        let found = match is_again {
            true => self.indices_again(count, now_ps),
            false => self.next_indices(count, now_ps),
        };
        self.shared.pacer.refund((count - found) as u64 * u64::from(copies));
        self.probe_targets(found, is_again, now_ps)
    }

    /// Probes the targets whose `found` indices are in `indices`. Returns how many have had their turn.
    fn probe_targets(&mut self, found: usize, is_again: bool, now_ps: u64) -> usize {
        if found == 0 {
            return 0;
        }
        self.shared.space.resolve(&self.indices[..found], &mut self.targets);
        if let Some(neighborhood) = self.way.neighborhood {
            self.leave_unreachable_out(neighborhood, is_again, now_ps);
        }
        if self.way.probe.tells_time() {
            self.targets.time_ns = unix_ns();
        }
        self.way.probe.emit(&self.targets, &mut self.patches);
        self.address_patches();
        self.shared.reset_budget.add_probes(self.patches.len as u64);
        self.port.transmit(Stream::Probe, &self.patches);
        let probed = if is_again { &mut self.counts.targets_again } else { &mut self.counts.targets };
        *probed += self.targets.len as u64;
        self.counts.tx_submitted += self.patches.len as u64;
        found
    }

    /// Leaves targets out that nobody answers ARP for. They take nothing of the rate.
    fn leave_unreachable_out(&mut self, neighborhood: &Neighborhood, is_again: bool, now_ps: u64) {
        let unreachable = neighborhood.route(&mut self.targets, &mut self.next_hops) as u64;
        if unreachable > 0 {
            // Once: what is probed again has been counted.
            self.counts.targets_unreachable += if is_again { 0 } else { unreachable };
            self.shared.pacer.refund(unreachable * u64::from(self.way.probe.check().copies));
            self.ask_at_ps = now_ps;
        }
    }

    /// Gives each patch the next hop of its target, whose copies stand next to each other.
    fn address_patches(&mut self) {
        let copies = self.way.probe.check().copies as usize;
        let patches = self.patches.next_hops.chunks_mut(copies);
        for (patches, next_hop) in patches.zip(&self.next_hops[..self.targets.len]) {
            patches.fill(*next_hop);
        }
    }

    /// Fills `indices` with up to `count` targets from the present lease and the next ones; fewer where there are no
    /// more, or none now.
    fn next_indices(&mut self, count: usize, now_ps: u64) -> usize {
        let mut found = 0;
        while found < count && self.has_lease(now_ps) {
            let Some((interval, cursor)) = &mut self.lease else { break };
            let start = cursor.position();
            found += cursor.fill(&mut self.indices[found..count]);
            self.history.push(Interval { start, end: cursor.position() }, now_ps);
            // At once: others may wait for what is left over of the last targets.
            if cursor.remaining().is_empty() {
                self.shared.leases.finish(*interval, cursor.skipped());
                self.lease = None;
            }
        }
        found
    }

    /// Whether there is a lease, taking the next one if need be.
    fn has_lease(&mut self, now_ps: u64) -> bool {
        if self.lease.is_none() {
            match self.shared.leases.lease() {
                Lease::Grant(interval) => {
                    self.lease = Some((interval, Cursor::new(self.shared.permutation, interval)));
                }
                Lease::Wait => {}
                Lease::Done => self.sending = Sending::Draining(now_ps),
            }
        }
        self.lease.is_some()
    }

    /// Once nothing is left to send, waits for the last frames, for as long as there is progress, and tells the scan.
    fn settle(&mut self, now_ps: u64) {
        let Sending::Draining(since_ps) = self.sending else { return };
        let outstanding = self.port.outstanding();
        // Without a link nothing need come back: that is waited for when there is one again.
        let waits = self.hold.is_held() && !self.shared.control.is_stopping();
        if outstanding < self.outstanding || waits {
            self.sending = Sending::Draining(now_ps);
        }
        self.outstanding = outstanding;
        if outstanding == 0 || now_ps - since_ps > DRAIN_PS {
            self.port.give_up();
            self.sending = Sending::Finished;
            self.publish();
            self.shared.control.sender_finished(Duration::from_nanos(now_ps / 1_000));
        }
    }

    /// Takes what has been received, but no more than [`RECEIVE_BATCHES`]: sending must go on. Returns how much it was.
    fn receive_all(&mut self) -> usize {
        let mut total = 0;
        for _ in 0..RECEIVE_BATCHES {
            let received = self.receive();
            total += received;
            if received < RX_BATCH_MAX {
                break;
            }
        }
        total
    }

    /// Takes a batch of received frames, records the replies among them, and resets what they half opened.
    fn receive(&mut self) -> usize {
        self.received.clear();
        self.port.receive(&mut self.received);
        if self.received.is_empty() {
            return 0;
        }
        let time_ns = unix_ns();
        let cooldown = self.shared.control.phase() == Phase::Cooldown;
        let repeats_give_way = self.repeats.give_way(self.records.slots());
        self.reset_patches.len = 0;
        for frame in self.received.frames() {
            let Some(reply) = self.way.probe.classify(frame) else {
                self.counts.rx_invalid += 1;
                continue;
            };
            if !self.shared.space.holds(reply.target, reply.asked_port()) {
                self.counts.rx_unasked += 1;
                continue;
            }
            count(&mut self.counts, &reply);
            let header =
                header(&reply, time_ns, cooldown, frame.queue, frame.frame_len, frame.captured.len());
            if repeats_give_way && self.repeats.knows(&reply) {
                self.repeats.count(&mut self.counts, &reply, cooldown);
            } else if !record::push(&mut self.records, &header, frame.captured) {
                self.counts.rx_record_drops += 1;
            } else if repeats_give_way {
                self.repeats.note(&reply);
            }
            if reply.wants_reset {
                if self.shared.kernel_resets.contains(&reply.source) {
                    self.counts.rst_by_kernel += 1;
                } else if self.resets.allows(reply.responder, reply.responder_port, self.shared.reset_budget)
                {
                    let at = self.reset_patches.len;
                    self.way.probe.reset(&reply, &mut self.reset_patches);
                    if let Some(neighborhood) = self.way.neighborhood {
                        self.reset_patches.next_hops[at] = neighborhood.way_back(reply.responder);
                    }
                } else {
                    self.counts.rst_capped += 1;
                }
            }
        }
        self.send_resets();
        self.received.len()
    }

    /// Sends the resets in `reset_patches`: what finds no room is counted, the responder's own timer will do it.
    fn send_resets(&mut self) {
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
    }

    /// Sleeps until there may be something to do.
    fn rest(&mut self, now_ps: u64) {
        let held = self.hold.is_held();
        let longest = if self.port.outstanding() > 0 && !held { NAP_OUTSTANDING } else { NAP };
        let until_due = match self.sending {
            _ if held => u64::MAX,
            // Due, and still nothing left: the ring is full.
            Sending::Open
                if self.ask_at_ps + PATIENCE_PS < now_ps && self.sent_at_ps + PATIENCE_PS < now_ps =>
            {
                u64::MAX
            }
            Sending::Open => self.ask_at_ps.saturating_sub(now_ps),
            Sending::Draining(_) | Sending::Finished => u64::MAX,
        };
        if until_due <= SPIN_PS {
            std::hint::spin_loop();
        } else if self.behind && until_due != u64::MAX {
            // A sleep ends late, and what is behind would stay behind.
            std::thread::yield_now();
        } else {
            self.port.wait(longest.min(Duration::from_nanos(until_due / 1_000)));
        }
    }

    fn publish(&mut self) {
        let port = self.port.counts();
        self.counts.tx_sent = port.probes_sent;
        self.counts.tx_refused = port.probes_refused;
        self.counts.tx_lost = port.probes_lost;
        self.counts.rst_sent = port.resets_sent;
        self.counts.rst_refused = port.resets_refused;
        self.counts.rst_lost = port.resets_lost;
        self.counts.wakeups = port.wakeups;
        self.counts.wakeup_eagain = port.wakeup_eagain;
        self.counts.wakeup_ebusy = port.wakeup_ebusy;
        self.counts.wakeup_enobufs = port.wakeup_enobufs;
        self.counts.wakeup_enetdown = port.wakeup_enetdown;
        self.counts.wakeup_other = port.wakeup_other;
        self.counts.rx_frames = port.rx_frames;
        self.published.publish(&self.counts);
    }
}
