//! How a scan moves from sending through cooldown to its end, and who asked for it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Where a scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Probes are being sent.
    Sending = 0,
    /// All probes are sent; late replies are waited for.
    Cooldown = 1,
    /// Workers leave.
    Done = 2,
}

/// Why a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// Every target of the shard was probed.
    Complete = 1,
    /// As many targets were probed as `--max-targets` asks for.
    MaxTargets = 2,
    /// `--max-runtime` was over.
    MaxRuntime = 3,
    /// As many results were written as `--max-results` asks for.
    MaxResults = 4,
    /// A signal: Ctrl-C or SIGTERM.
    Interrupted = 5,
    /// The reader of the output went away.
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
    /// The interface went away.
    InterfaceLost = 12,
    /// The XDP program was taken off the interface, or another one put in its place.
    ProgramLost = 13,
    /// The number of the interface's RX queues was changed.
    QueuesChanged = 14,
    /// A gateway's MAC address changed, and live frames keep theirs.
    GatewayChanged = 15,
    /// A queue stopped: nothing that was handed to it was reported sent any more.
    TxStalled = 16,
}

impl EndReason {
    const ALL: [Self; 16] = [
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

    /// The exit code of a scan that ended so.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Complete | Self::MaxTargets | Self::MaxRuntime | Self::MaxResults | Self::OutputClosed => 0,
            Self::OutputFailed | Self::SendFailed => 1,
            Self::InterfaceLost
            | Self::ProgramLost
            | Self::QueuesChanged
            | Self::GatewayChanged
            | Self::TxStalled => 4,
            Self::SendFailures | Self::LowHitrate | Self::LinkDown => 5,
            Self::Interrupted => 130,
        }
    }

    /// Whether late replies are still worth waiting for.
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

    /// Whether nothing is left of the scan when it ends so.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Complete | Self::MaxTargets)
    }
}

/// Whether the sending is held, and how often that has changed: odd while it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hold(pub(super) u32);

impl Hold {
    pub(super) fn is_held(self) -> bool {
        !self.0.is_multiple_of(2)
    }
}

/// Shared by the workers, the collector, the signal handler, the watch on the link and the scan's own thread.
#[derive(Debug)]
pub struct Control {
    phase: AtomicU8,
    reason: AtomicU8,
    hurry: AtomicBool,
    senders: AtomicUsize,
    sent_ns: AtomicU64,
    /// See [`Hold`].
    hold: AtomicU32,
    /// Changes of `hold` that workers have seen, added up over them.
    seen: AtomicU64,
    workers: usize,
    /// What was handed over since then, counted from `origin`, may be lost. Set before `hold` changes.
    doubt_ns: AtomicU64,
    /// Where `doubt_ns` counts from.
    origin: Instant,
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
            hold: AtomicU32::new(0),
            seen: AtomicU64::new(0),
            workers: senders,
            doubt_ns: AtomicU64::new(0),
            origin: Instant::now(),
        }
    }

    /// Lets no worker hand over any more, until [`Self::resume`]. What was handed over since `doubt_from` may be lost.
    /// Only one thread holds and resumes.
    pub fn hold(&self, doubt_from: Instant) {
        if self.is_held() {
            return;
        }
        // A worker that has yet to see the hold before this one still needs that one's time, which is earlier.
        if self.is_settled() {
            let doubt = doubt_from.saturating_duration_since(self.origin);
            self.doubt_ns.store(doubt.as_nanos() as u64, Ordering::Relaxed);
        }
        self.hold.fetch_add(1, Ordering::Release);
    }

    /// Lets the workers go on. Each probes again first what may have been lost.
    pub fn resume(&self) {
        if self.is_held() {
            self.hold.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether the sending is held.
    pub fn is_held(&self) -> bool {
        self.held().is_held()
    }

    #[inline]
    pub(super) fn held(&self) -> Hold {
        Hold(self.hold.load(Ordering::Acquire))
    }

    /// Since when what was handed over may be lost, as the last hold says.
    pub(super) fn doubt_from(&self) -> Instant {
        self.origin + Duration::from_nanos(self.doubt_ns.load(Ordering::Relaxed))
    }

    /// A worker has seen so many more changes of the hold, and done what they ask for.
    pub(super) fn saw(&self, changes: u32) {
        self.seen.fetch_add(changes.into(), Ordering::AcqRel);
    }

    /// Whether nothing is held and every worker knows it: what there is to be probed again is being probed.
    pub(super) fn is_settled(&self) -> bool {
        let hold = self.held();
        !hold.is_held() && self.seen.load(Ordering::Acquire) == self.workers as u64 * u64::from(hold.0)
    }

    /// Whether all that was sent was sent before `time`.
    pub fn had_sent_by(&self, time: Instant) -> bool {
        // The scan, which `sent_after` counts from, starts a little after `origin`.
        let slack = Duration::from_millis(500);
        self.sent_after().is_some_and(|sent| self.origin + sent + slack < time)
    }

    /// A worker that had finished has something to send again.
    pub(super) fn sender_resumes(&self) {
        self.senders.fetch_add(1, Ordering::AcqRel);
    }

    /// Asks the workers to send no more. The first reason given stays.
    pub fn stop(&self, reason: EndReason) {
        let _ = self.reason.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Why the scan is to stop, once somebody has asked for it.
    pub fn stop_reason(&self) -> Option<EndReason> {
        let number = self.reason.load(Ordering::Acquire);
        EndReason::ALL.into_iter().find(|reason| *reason as u8 == number)
    }

    /// Whether somebody has asked the workers to send no more.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.reason.load(Ordering::Relaxed) != 0
    }

    /// Asks to skip what is left of the cooldown.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Release);
    }

    /// Whether the cooldown is to be skipped.
    pub fn is_hurried(&self) -> bool {
        self.hurry.load(Ordering::Acquire)
    }

    /// Where the scan stands.
    #[inline]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Sending,
            1 => Phase::Cooldown,
            _ => Phase::Done,
        }
    }

    /// Moves on to `phase`. Only the scan's own thread calls this.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// A worker has sent its last probe, so long after the scan's start.
    pub(super) fn sender_finished(&self, elapsed: Duration) {
        self.sent_ns.fetch_max(elapsed.as_nanos() as u64, Ordering::Relaxed);
        self.senders.fetch_sub(1, Ordering::AcqRel);
    }

    /// When the last worker had sent its last probe, from the scan's start; `None` while any is sending.
    pub fn sent_after(&self) -> Option<Duration> {
        (self.senders() == 0).then(|| Duration::from_nanos(self.sent_ns.load(Ordering::Relaxed)))
    }

    /// Workers that are still sending.
    pub fn senders(&self) -> usize {
        self.senders.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_settled_when_all_have_seen_its_end() {
        let control = Control::new(2);
        assert!(control.is_settled());
        let from = control.origin + Duration::from_millis(7);
        control.hold(from);
        control.hold(control.origin);
        assert!(control.is_held() && !control.is_settled());
        assert_eq!(control.doubt_from(), from, "a second hold inside the first changes nothing");
        control.saw(1);
        control.resume();
        control.resume();
        assert!(!control.is_held() && !control.is_settled());
        control.saw(1);
        assert!(!control.is_settled());
        control.saw(2);
        assert!(control.is_settled());
    }

    #[test]
    fn the_first_reason_stays() {
        let control = Control::new(1);
        assert!(!control.is_stopping());
        assert_eq!(control.stop_reason(), None);
        for reason in EndReason::ALL {
            control.stop(reason);
        }
        assert_eq!(control.stop_reason(), Some(EndReason::Complete));
        for reason in EndReason::ALL {
            let control = Control::new(1);
            control.stop(reason);
            assert_eq!(control.stop_reason(), Some(reason));
        }
    }
}
