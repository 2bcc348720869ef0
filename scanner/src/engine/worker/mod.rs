//! The worker loop: one thread, one core, one TX queue, a set of RX queues.
//!
//! A turn: read the clock, send what the pacer grants, let the port flush, process what has been received. What always
//! holds: a turn allocates, locks, logs and formats nothing. It reads the clock once, and once more for each received
//! batch and for a batch of probes that carry their send time. A record that finds its ring full is counted and
//! dropped; the worker never waits for room there.

mod again;
mod canarying;
mod excluding;
mod probing;
mod publishing;
mod receiving;
mod rechecking;
mod resetting;
mod stall;
mod waiting;
mod walk;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use canarying::Canaries;
use probing::Visit;
use resetting::Shortage;
use rtrb::Producer;
use stall::Stall;
use targets::{Interval, Lease, Leases, Permutation, RangeSet, TargetBatch, TargetSpace};
use tracing::error;
use walk::Walk;
use wire::packet::{BATCH_MAX, MacAddr, PatchBatch, RX_BATCH_MAX, RxBatch};

use super::assignment::Assignment;
use super::canaries::Cells;
use super::control::{Control, EndReason, Phase};
use super::counters::{Counts, Published};
use super::exclusions::Exclusions;
use super::orders::Orders;
use super::pace::{Grant, PS_PER_S, Pacer};
use super::repeats::{RepeatPolicy, Repeats};
use super::resets::{ResetBudget, ResetCap};
use super::second::SecondWalk;
use super::standing::{Stand, Teller};
use crate::distribution::Distribution;
use crate::io::{Port, Stream};
use crate::probe::Probe;

/// How long to wait without any completion of the last frames before giving them up. Lower: probes count as lost that
/// were only delayed. Higher: a scan on a stuck queue ends later.
const DRAIN_PS: u64 = 2 * PS_PER_S;
/// Turns between two publications of the counters while the worker is busy. Lower: more stores to shared cache lines.
/// Higher: the status is older.
const PUBLISH_TURNS: u32 = 16;
/// Most batches that a turn takes from the RX rings: twice as many replies as a turn has probes. Lower: with fewer than
/// one reply per probe, the rings overflow if every host answers as fast as it is probed. Higher: a flood of replies
/// delays sending.
const RECEIVE_BATCHES: usize = 2 * BATCH_MAX / RX_BATCH_MAX;
/// How often the kernel's drop counters are read: ten times per second. Lower: more system calls. Higher: a rate that
/// is found by what is lost is found later.
const STATISTICS_PS: u64 = PS_PER_S / 10;

/// The longest lateness that is told apart: a second. The pacer makes up for less. Lower: long delays look shorter.
/// Higher: more memory per worker.
pub(super) const LATEST_NS: u64 = 1_000_000_000;

/// What all workers of a scan share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared<'a> {
    pub(super) space: &'a TargetSpace,
    pub(super) permutation: &'a Permutation,
    pub(super) leases: &'a Leases,
    pub(super) second: Option<&'a SecondWalk>,
    pub(super) exclusions: &'a Exclusions,
    pub(super) pacer: &'a Pacer,
    pub(super) batch: usize,
    pub(super) control: &'a Control,
    pub(super) reset_budget: &'a ResetBudget,
    pub(super) kernel_resets: &'a [u32],
    pub(super) repeats: RepeatPolicy,
    pub(super) started: Instant,
}

/// Where other threads read what a worker has counted and what it still has to do.
pub(super) struct Outlets {
    pub(super) published: Arc<Published>,
    pub(super) canaries: Arc<Cells>,
    pub(super) teller: Teller,
}

/// The state of a worker's sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// There may be more targets.
    Open,
    /// No more targets; waiting for completions. Holds the time of the last completion, or of the last submission if
    /// none has come since.
    Draining(u64),
    /// All frames that were handed over have been completed or given up.
    Finished,
}

/// What a worker returns at its end.
pub(super) struct WorkerEnd {
    /// Its port, for the last statistics.
    pub(super) port: Box<dyn Port>,
    /// The part of its lease that was not walked.
    pub(super) left: Interval,
    /// Intervals whose probes may have been lost and were not repeated: the link may already have been down, or the
    /// probes were never completed.
    pub(super) in_doubt: Vec<Interval>,
    /// The same two of the second walk.
    pub(super) second_left: Interval,
    pub(super) second_in_doubt: Vec<Interval>,
    /// Probes that were handed over but never completed.
    pub(super) unconfirmed: u64,
    /// Frames that the port still holds: those probes, and resets.
    pub(super) outstanding: u64,
    /// How long after they were due probes have left, in nanoseconds.
    pub(super) lateness: Distribution,
    /// Whether the last probes were lost to a queue that stopped, although the scan had not been stopped and the link
    /// was up.
    pub(super) is_stalled: bool,
}

/// One worker.
pub(super) struct Worker<'a, P> {
    shared: Shared<'a>,
    /// Its place among the workers of the scan.
    number: usize,
    assignment: Assignment<'a, P>,
    port: Box<dyn Port>,
    records: Producer<u8>,
    published: Arc<Published>,
    counts: Counts,
    teller: Teller,
    /// The walk through all targets.
    walk: Walk,
    /// That of second probes, if the scan has them.
    second_walk: Option<Walk>,
    /// Whether the second walk is next, if both have a lease.
    is_seconds_turn: bool,
    /// What the workers are told, as last seen.
    orders: Orders,
    /// Targets that must not be probed, if there are any, and the generation of that set.
    excluded: Option<Arc<RangeSet>>,
    exclusions_seen: u64,
    /// Whether nothing is handed over until what was handed over before has left, because that set has grown.
    drains: bool,
    /// Whether the scan knows that a pause is complete here.
    is_quiet: bool,
    sending: Sending,
    /// When to ask the pacer again.
    ask_at_ps: u64,
    /// Whether more was due than the pacer granted.
    behind: bool,
    /// Frames in the port, as seen while draining.
    outstanding: u64,
    /// Whether the last frames were given up, and how many probes among them were still waiting for room.
    gave_up: Option<u64>,
    /// Whether the port has failed.
    failed: bool,
    stall: Stall,
    /// When probes were last handed over.
    sent_at_ps: u64,
    /// When to read the kernel's drop counters again.
    statistics_at_ps: u64,
    resets: ResetCap,
    /// Whether resets lack room.
    shortage: Option<Shortage>,
    repeats: Repeats,
    canaries: Canaries,
    /// Their share of the present batch.
    canary_share_ppm: u64,
    /// How long after they were due probes have left, in nanoseconds.
    lateness: Distribution,
    indices: [u64; BATCH_MAX],
    targets: TargetBatch,
    /// The gateway's MAC address, if all targets have the same gateway.
    gateway: MacAddr,
    /// The next hop of each of `targets`, in a scan that has several, or whose gateway has moved.
    next_hops: [MacAddr; BATCH_MAX],
    patches: PatchBatch,
    reset_patches: PatchBatch,
    received: RxBatch,
}

impl<'a, P: Probe> Worker<'a, P> {
    pub(super) fn new(
        shared: Shared<'a>,
        number: usize,
        assignment: Assignment<'a, P>,
        port: Box<dyn Port>,
        records: Producer<u8>,
        outlets: Outlets,
    ) -> Self {
        let Outlets { published, canaries: canary_cells, teller } = outlets;
        let ring_len = records.buffer().capacity();
        let batch = || assignment.probe.template().batch();
        let addressed = |patches: PatchBatch| match assignment.neighborhood {
            Some(_) => patches.with_next_hops(),
            None => patches.with_room_for_next_hops(),
        };
        let canaries = Canaries::new(
            assignment.probe.check(),
            (shared.control.workers(), number),
            shared.permutation.seed(),
            canary_cells,
            addressed(batch()),
        );
        let excluded = Some(shared.exclusions.excluded()).filter(|excluded| !excluded.is_empty());
        Self {
            shared,
            number,
            assignment,
            port,
            records,
            published,
            counts: Counts::default(),
            teller,
            walk: Walk::new(),
            second_walk: shared.second.map(|_| Walk::new()),
            is_seconds_turn: false,
            orders: Orders::default(),
            excluded,
            exclusions_seen: 0,
            drains: false,
            is_quiet: false,
            sending: Sending::Open,
            ask_at_ps: 0,
            behind: false,
            outstanding: 0,
            gave_up: None,
            failed: false,
            stall: Stall::default(),
            sent_at_ps: 0,
            statistics_at_ps: STATISTICS_PS,
            resets: ResetCap::new(),
            shortage: None,
            repeats: Repeats::new(shared.repeats, ring_len, assignment.probe.check().copies),
            canaries,
            canary_share_ppm: 0,
            lateness: Distribution::new(LATEST_NS),
            indices: [0; BATCH_MAX],
            targets: TargetBatch::default(),
            gateway: assignment.gateways.mac(0),
            next_hops: [MacAddr::default(); BATCH_MAX],
            patches: addressed(batch()),
            reset_patches: addressed(PatchBatch::default()),
            received: RxBatch::new(assignment.probe.capture_len()),
        }
    }

    /// Runs until the scan is done.
    pub(super) fn run(mut self) -> WorkerEnd {
        let mut turns = 0u32;
        while self.shared.control.phase() != Phase::Done {
            let now_ps = self.now_ps();
            let sent = self.send(now_ps);
            self.tell_standing();
            if let Err(error) = self.port.flush() {
                self.fail(&error);
            }
            self.watch_reset_room(now_ps);
            let (received, is_all) = self.receive_all(now_ps);
            if is_all {
                self.teller.received(now_ps);
            }
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
        self.end()
    }

    /// Ends the scan: this port cannot send any more.
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
        let orders = self.shared.control.orders();
        if orders != self.orders {
            self.follow(orders, now_ps);
        }
        if self.drains {
            self.drain();
        }
        if self.sending != Sending::Open {
            return 0;
        }
        if self.shared.control.is_stopping() {
            self.sending = Sending::Draining(now_ps);
            return 0;
        }
        if now_ps < self.ask_at_ps || orders.is_still() || self.drains || self.waits_for_reset_room() {
            return 0;
        }
        let copies = self.assignment.probe.check().copies;
        let batch = self.shared.batch;
        let room = self.port.room(Stream::Probe, batch).min(batch) / copies.probes() as usize;
        // A worker without targets leaves the rate to the others.
        let Some(visit) = (if room == 0 { None } else { self.next_visit(now_ps) }) else { return 0 };
        let cost = visit.numbers(copies).count;
        let Grant { count, again_at_ps, behind, late_ps } = self.shared.pacer.grant(now_ps, room, cost);
        (self.ask_at_ps, self.behind) = (again_at_ps, behind);
        if count == 0 {
            return 0;
        }
        let found = self.take_targets(visit, count, cost, now_ps);
        self.shared.pacer.refund((count - found) as u64 * u64::from(cost));
        let sent = self.probe_targets(found, visit, now_ps);
        if let Some(late_ps) = late_ps {
            let probes = if visit.is_second { self.targets.len } else { found };
            self.lateness.record(late_ps / 1_000, probes as u64 * u64::from(cost));
        }
        sent
    }

    /// Which targets are next, if there are any: those in doubt, or else those of a walk that has a lease. Two walks
    /// take turns.
    #[inline]
    fn next_visit(&mut self, now_ps: u64) -> Option<Visit> {
        if self.second_walk.is_some() {
            return self.next_of_two(now_ps);
        }
        let is_again = self.walk.has_doubts();
        (is_again || self.has_lease(now_ps)).then_some(Visit { is_second: false, is_again })
    }

    /// Fills `indices` with up to `count` targets for a visit; fewer if there are no more, or none at the moment.
    #[inline]
    fn indices_of(&mut self, visit: Visit, count: usize, now_ps: u64) -> usize {
        if visit.is_second {
            return self.second_indices(visit.is_again, count, now_ps);
        }
        if visit.is_again {
            return self.walk.fill_again(self.shared.permutation, &mut self.indices[..count], now_ps);
        }
        let mut found = 0;
        while found < count && self.has_lease(now_ps) {
            found += self.walk.fill(self.shared.leases, &mut self.indices[found..count], now_ps);
        }
        found
    }

    /// Whether there is a lease, after taking the next one if needed.
    fn has_lease(&mut self, now_ps: u64) -> bool {
        if !self.walk.has_lease() {
            self.teller.begin();
            let lease = self.walk.take_lease(self.shared.leases, self.shared.permutation);
            if lease == Lease::Done && self.second_walk.is_none() {
                self.sending = Sending::Draining(now_ps);
            }
        }
        self.walk.has_lease()
    }

    /// Lets other threads know what is still open.
    #[inline]
    fn tell_standing(&mut self) {
        self.teller.tell(Stand {
            left: self.walk.left(),
            second_left: self.second_walk.as_ref().map_or(Stand::default().left, Walk::left),
            submitted: self.counts.tx_submitted,
            has_doubts: self.has_doubts(),
        });
    }

    /// Once nothing is left to send, waits for the last frames as long as there is progress, and then reports to the
    /// scan.
    fn settle(&mut self, now_ps: u64) {
        let Sending::Draining(since_ps) = self.sending else { return };
        let outstanding = self.port.outstanding();
        // Without a link frames may never be completed; the wait starts when there is a link again.
        let waits = self.orders.is_held() && !self.shared.control.is_stopping();
        if outstanding < self.outstanding || waits {
            self.sending = Sending::Draining(now_ps);
        }
        self.outstanding = outstanding;
        if outstanding == 0 || now_ps - since_ps > DRAIN_PS {
            let delayed = self.port.give_up();
            let is_ours = outstanding == 0 || self.orders.is_held() || self.shared.control.is_stopping();
            self.gave_up = (!is_ours).then_some(delayed);
            self.sending = Sending::Finished;
            self.publish();
            self.shared.control.sender_finished(Duration::from_nanos(now_ps / 1_000));
        }
    }

    /// Processes received frames, but at most [`RECEIVE_BATCHES`], because sending must continue, and only while their
    /// resets find room. Returns how many there were, and whether none are left.
    fn receive_all(&mut self, now_ps: u64) -> (usize, bool) {
        let mut total = 0;
        for _ in 0..RECEIVE_BATCHES {
            if self.waits_for_reset_room() {
                break;
            }
            let received = self.receive(now_ps);
            total += received;
            if received < RX_BATCH_MAX {
                return (total, true);
            }
        }
        (total, false)
    }
}
