//! How a scan moves from sending through cooldown to its end, and who asked for it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

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
}

impl EndReason {
    const ALL: [Self; 10] = [
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
        }
    }

    /// The exit code of a scan that ended so.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Complete | Self::MaxTargets | Self::MaxRuntime | Self::MaxResults | Self::OutputClosed => 0,
            Self::OutputFailed | Self::SendFailed => 1,
            Self::SendFailures | Self::LowHitrate => 5,
            Self::Interrupted => 130,
        }
    }

    /// Whether late replies are still worth waiting for.
    pub fn cools_down(self) -> bool {
        !matches!(self, Self::MaxResults | Self::OutputClosed | Self::OutputFailed)
    }
}

/// Shared by the workers, the collector, the signal handler and the scan's own thread.
#[derive(Debug, Default)]
pub struct Control {
    phase: AtomicU8,
    reason: AtomicU8,
    hurry: AtomicBool,
    senders: AtomicUsize,
    sent_ns: AtomicU64,
}

impl Control {
    /// A scan that is about to send with `senders` workers.
    pub fn new(senders: usize) -> Self {
        Self { senders: AtomicUsize::new(senders), ..Self::default() }
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
