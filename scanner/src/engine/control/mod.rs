//! The state that leads a scan from sending through cooldown to its end, and the reason for the end.
//!
//! Sending stops for two kinds of causes, a hold and a pause; see `orders`.

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use super::orders::{Orders, PauseCause};
use crate::exit::Exit;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// The phase of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Probes are being sent.
    Sending = 0,
    /// All probes are sent; the scan waits for late replies.
    Cooldown = 1,
    /// Workers end.
    Done = 2,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Sending, Self::Cooldown, Self::Done];

    /// The word for it in a status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Cooldown => "cooldown",
            Self::Done => "done",
        }
    }
}

/// Why a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// Every target of the shard was probed.
    Complete = 1,
    /// As many targets were probed as `--max-targets` allows.
    MaxTargets = 2,
    /// `--max-runtime` was reached.
    MaxRuntime = 3,
    /// As many results were written as `--max-results` allows.
    MaxResults = 4,
    /// The user: Ctrl-C, SIGTERM, or a command.
    Interrupted = 5,
    /// The reader of the output closed it.
    OutputClosed = 6,
    /// The output could not be written.
    OutputFailed = 7,
    /// Nothing more could be sent.
    SendFailed = 8,
    /// The kernel refused to send more often than `--max-sendto-failures` allows.
    SendFailures = 9,
    /// The hit rate stayed below `--min-hitrate`.
    LowHitrate = 10,
    /// The link stayed down longer than `--max-link-down` allows.
    LinkDown = 11,
    /// The interface disappeared.
    InterfaceLost = 12,
    /// The XDP program was detached from the interface, or replaced by another one.
    ProgramLost = 13,
    /// The number of the interface's RX queues was changed.
    QueuesChanged = 14,
    /// A gateway's MAC address changed, and live frames cannot follow.
    GatewayChanged = 15,
    /// A queue stopped: no frame that was handed to it was completed any more.
    TxStalled = 16,
}

impl EndReason {
    pub(super) const ALL: [Self; 16] = [
        Self::Complete,
        Self::MaxTargets,
        Self::MaxRuntime,
        Self::MaxResults,
        Self::Interrupted,
        Self::OutputClosed,
        Self::OutputFailed,
        Self::SendFailed,
        Self::SendFailures,
        Self::LowHitrate,
        Self::LinkDown,
        Self::InterfaceLost,
        Self::ProgramLost,
        Self::QueuesChanged,
        Self::GatewayChanged,
        Self::TxStalled,
    ];

    /// The word for it in the metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::MaxTargets => "max-targets",
            Self::MaxRuntime => "max-runtime",
            Self::MaxResults => "max-results",
            Self::Interrupted => "interrupted",
            Self::OutputClosed => "output-closed",
            Self::OutputFailed => "output-failed",
            Self::SendFailed => "send-failed",
            Self::SendFailures => "max-sendto-failures",
            Self::LowHitrate => "min-hitrate",
            Self::LinkDown => "link-down",
            Self::InterfaceLost => "interface-lost",
            Self::ProgramLost => "xdp-program-lost",
            Self::QueuesChanged => "queues-changed",
            Self::GatewayChanged => "gateway-changed",
            Self::TxStalled => "tx-stalled",
        }
    }

    /// The exit code of a scan with this end.
    pub fn exit_code(self) -> Exit {
        match self {
            Self::Complete | Self::MaxTargets | Self::MaxRuntime | Self::MaxResults | Self::OutputClosed => {
                Exit::Done
            }
            Self::OutputFailed | Self::SendFailed => Exit::Failed,
            Self::InterfaceLost
            | Self::ProgramLost
            | Self::QueuesChanged
            | Self::GatewayChanged
            | Self::TxStalled => Exit::Interface,
            Self::SendFailures | Self::LowHitrate | Self::LinkDown => Exit::Limit,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// Whether it is still worth waiting for late replies.
    pub fn cools_down(self) -> bool {
        !matches!(
            self,
            Self::MaxResults
                | Self::OutputClosed
                | Self::OutputFailed
                | Self::LinkDown
                | Self::InterfaceLost
                | Self::ProgramLost
        )
    }

    /// Whether such a scan has done all of its work.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Complete | Self::MaxTargets)
    }
}

/// The greatest share of canaries among the probes, in parts per million: a tenth. Higher: a scan would be mostly about
/// hosts that it knows.
pub const CANARY_SHARE_MAX_PPM: u32 = 100_000;

/// Shared by the workers, the collector, the signal handler, the link watch and the scan's own thread.
#[derive(Debug)]
pub struct Control {
    phase: AtomicU8,
    reason: AtomicU8,
    hurry: AtomicBool,
    senders: AtomicUsize,
    sent_ns: AtomicU64,
    /// See [`Orders`].
    orders: AtomicU64,
    /// Changes of the hold that workers have seen, added up over the workers.
    seen: AtomicU64,
    /// Workers that have followed a pause, and of whose frames none is under way.
    quiet: AtomicUsize,
    /// A number for each worker that grows as long as it makes turns.
    beats: Box<[CachePadded<AtomicU64>]>,
    workers: usize,
    /// The share of canaries among the probes, in parts per million.
    canary_share_ppm: AtomicU64,
    /// Probes that were handed over since then, counted from `origin`, may be lost. Set before the hold changes.
    doubt_ns: AtomicU64,
    /// The time from which `doubt_ns` counts.
    origin: Instant,
    /// Taken by a thread that changes the hold. Workers never take it.
    holding: Mutex<()>,
}

impl Control {
    /// A scan that is about to send with `senders` workers.
    pub fn new(senders: usize) -> Self {
        Self {
            phase: AtomicU8::new(0),
            reason: AtomicU8::new(0),
            hurry: AtomicBool::new(false),
            senders: AtomicUsize::new(senders),
            sent_ns: AtomicU64::new(0),
            orders: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            quiet: AtomicUsize::new(0),
            beats: (0..senders).map(|_| CachePadded::default()).collect(),
            workers: senders,
            canary_share_ppm: AtomicU64::new(0),
            doubt_ns: AtomicU64::new(0),
            origin: Instant::now(),
            holding: Mutex::new(()),
        }
    }

    /// Holds the sending of all workers until [`Self::resume`], because of an outage. Probes that were handed over
    /// since `doubt_from` may be lost.
    pub fn hold(&self, doubt_from: Instant) {
        let _holding = self.holding();
        if self.is_held() {
            return;
        }
        // A worker that has not yet seen the previous hold still needs that one's time, which is earlier.
        if self.is_settled() {
            let doubt = doubt_from.saturating_duration_since(self.origin);
            self.doubt_ns.store(doubt.as_nanos() as u64, Ordering::Relaxed);
        }
        self.orders.fetch_add(Orders::HOLD, Ordering::Release);
    }

    /// Has the probes repeated that were handed over since `doubt_from`, a time after the scan's start. Sending is held
    /// until the watch on the links finds them well, which is its next look. False, and nothing is changed, while
    /// workers still look for what an earlier hold has put in doubt: then it is to be asked again.
    pub fn repeat_since(&self, doubt_from: Duration) -> bool {
        let _holding = self.holding();
        let doubt_ns = doubt_from.as_nanos() as u64;
        if self.is_held() {
            // No worker looks before the end of the hold.
            self.doubt_ns.fetch_min(doubt_ns, Ordering::Relaxed);
            return true;
        }
        if !self.is_settled() {
            return false;
        }
        self.doubt_ns.store(doubt_ns, Ordering::Relaxed);
        self.orders.fetch_add(Orders::HOLD, Ordering::Release);
        true
    }

    fn holding(&self) -> MutexGuard<'_, ()> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the hold. Each worker first repeats the probes that may have been lost.
    pub fn resume(&self) {
        let _holding = self.holding();
        if self.is_held() {
            self.orders.fetch_add(Orders::HOLD, Ordering::Release);
        }
    }

    /// Whether sending is held because of an outage.
    pub fn is_held(&self) -> bool {
        self.orders().is_held()
    }

    #[inline]
    pub(super) fn orders(&self) -> Orders {
        Orders::from_word(self.orders.load(Ordering::Acquire))
    }

    /// Pauses the sending of all workers until [`Self::unpause`] with the same cause. Any thread may call it, and a
    /// second call changes nothing. Receiving goes on.
    pub fn pause(&self, cause: PauseCause) {
        self.orders.fetch_or(cause as u64, Ordering::Release);
    }

    /// Ends a pause of this cause, if there is one. Sending resumes at the requested rate: what would have been sent
    /// meanwhile is not caught up.
    pub fn unpause(&self, cause: PauseCause) {
        let unpaused = |orders: u64| {
            let was_paused = orders & cause as u64 != 0;
            was_paused.then(|| (orders & !(cause as u64)).wrapping_add(Orders::RESTART))
        };
        let _ = self.orders.fetch_update(Ordering::Release, Ordering::Relaxed, unpaused);
    }

    /// Whether sending is paused.
    pub fn is_paused(&self) -> bool {
        self.orders().is_paused()
    }

    /// Whether this pauses the sending.
    pub fn is_paused_by(&self, cause: PauseCause) -> bool {
        self.pauses().any(|pause| pause == cause)
    }

    /// What pauses the sending.
    pub fn pauses(&self) -> impl Iterator<Item = PauseCause> {
        self.orders().pauses()
    }

    /// Makes the workers ask the pacer anew, with no backlog, and look whether more targets are excluded: the rate or
    /// the block list has changed, or the process had been stopped.
    pub fn restart_pace(&self) {
        self.orders.fetch_add(Orders::RESTART, Ordering::Release);
    }

    /// Whether all workers have followed a pause, and no frame of theirs is under way.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire) >= self.workers
    }

    /// A worker has followed a pause, and none of its frames is under way; or it no longer pauses.
    pub(super) fn set_quiet(&self, is_quiet: bool) {
        match is_quiet {
            true => self.quiet.fetch_add(1, Ordering::AcqRel),
            false => self.quiet.fetch_sub(1, Ordering::AcqRel),
        };
    }

    /// Worker `number` makes turns. Only that worker calls this.
    pub(crate) fn beat(&self, number: usize) {
        let beats = &self.beats[number];
        beats.store(beats.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// For each worker a number that grows as long as it makes turns.
    pub fn beats(&self) -> Vec<u64> {
        self.beats.iter().map(|beats| beats.load(Ordering::Relaxed)).collect()
    }

    /// Sets the share of canaries among the probes, in parts per million. Without effect if the scan has no numbers for
    /// canaries.
    pub fn set_canary_share_ppm(&self, share_ppm: u32) {
        self.canary_share_ppm.store(share_ppm.min(CANARY_SHARE_MAX_PPM).into(), Ordering::Relaxed);
    }

    /// The share of canaries among the probes, in parts per million.
    #[inline]
    pub fn canary_share_ppm(&self) -> u64 {
        self.canary_share_ppm.load(Ordering::Relaxed)
    }

    /// The start of the time in which probes may have been lost, according to the last hold.
    pub(super) fn doubt_from(&self) -> Instant {
        self.origin + Duration::from_nanos(self.doubt_ns.load(Ordering::Relaxed))
    }

    /// A worker has seen this many more changes of the hold, and has acted on them.
    pub(super) fn saw(&self, changes: u32) {
        self.seen.fetch_add(changes.into(), Ordering::AcqRel);
    }

    /// Whether nothing is held and every worker knows it: probes that must be repeated are being repeated.
    pub(super) fn is_settled(&self) -> bool {
        let orders = self.orders();
        let holds = u64::from(orders.holds());
        !orders.is_held() && self.seen.load(Ordering::Acquire) == self.workers as u64 * holds
    }

    /// Whether all probes had been sent before `time`.
    pub fn had_sent_by(&self, time: Instant) -> bool {
        // The scan's start, from which `sent_after` counts, is a little later than `origin`.
        let slack = Duration::from_millis(500);
        self.sent_after().is_some_and(|sent| self.origin + sent + slack < time)
    }

    /// A worker that had finished has something to send again.
    pub(super) fn sender_resumes(&self) {
        self.senders.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes the workers stop sending. The first reason given is kept.
    pub fn stop(&self, reason: EndReason) {
        let _ = self.reason.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Why the scan is to stop, if it is.
    pub fn stop_reason(&self) -> Option<EndReason> {
        let number = self.reason.load(Ordering::Acquire);
        EndReason::ALL.into_iter().find(|reason| *reason as u8 == number)
    }

    /// Whether the workers are to stop sending.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.reason.load(Ordering::Relaxed) != 0
    }

    /// Skips the rest of the cooldown.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Release);
    }

    /// Whether the cooldown is to be skipped.
    pub fn is_hurried(&self) -> bool {
        self.hurry.load(Ordering::Acquire)
    }

    /// The current phase.
    #[inline]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Sending,
            1 => Phase::Cooldown,
            _ => Phase::Done,
        }
    }

    /// Enters `phase`. Only the scan's own thread calls this.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// A worker has sent its last probe, this long after the scan's start.
    pub(super) fn sender_finished(&self, elapsed: Duration) {
        self.sent_ns.fetch_max(elapsed.as_nanos() as u64, Ordering::Relaxed);
        self.senders.fetch_sub(1, Ordering::AcqRel);
    }

    /// When the last worker had sent its last probe, since the scan's start; `None` while any is still sending.
    pub fn sent_after(&self) -> Option<Duration> {
        (self.senders() == 0).then(|| Duration::from_nanos(self.sent_ns.load(Ordering::Relaxed)))
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Workers that are still sending.
    pub fn senders(&self) -> usize {
        self.senders.load(Ordering::Acquire)
    }
}
