//! Detects a queue that has stopped: it holds frames, the link is up, and no frame is completed.
//!
//! The cause may be a driver that loses completions, a device whose queue has stopped, or a rule that lets nothing
//! through. Nothing else would end such a scan. Only the worker's own turns count as time, each for at most a moment,
//! so that a process or machine that was suspended is not mistaken for a stopped queue.

use tracing::{error, warn};

use super::super::control::EndReason;
use super::super::pace::PS_PER_S;
use super::Worker;
use crate::probe::Probe;

/// After this time there is a warning. Lower: warnings about short delays. Higher: the user learns of it later.
const WARN_PS: u64 = 5 * PS_PER_S;
/// After this time the scan ends. Lower: a delay ends a scan. Higher: more probes are lost to the queue.
const END_PS: u64 = 10 * PS_PER_S;
/// Most that the time between two checks counts for. Lower: a worker whose turns are rare detects a stop later. Higher:
/// a suspended process is mistaken for a stopped queue.
const LOOK_PS: u64 = PS_PER_S / 10;

/// The progress of the queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stall {
    /// Frames that had been completed at the last check.
    done: u64,
    looked_at_ps: u64,
    /// How long none has been completed.
    lasted_ps: u64,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StallLook {
    Nothing,
    Slow,
    Over,
}

impl Stall {
    /// Processes how many frames have been completed by now, and whether one is due.
    fn look(&mut self, now_ps: u64, done: u64, is_due: bool) -> StallLook {
        let passed_ps = now_ps.saturating_sub(self.looked_at_ps).min(LOOK_PS);
        self.looked_at_ps = now_ps;
        if !is_due || done != self.done {
            (self.done, self.lasted_ps) = (done, 0);
            return StallLook::Nothing;
        }
        let before_ps = self.lasted_ps;
        self.lasted_ps += passed_ps;
        match self.lasted_ps {
            END_PS.. => StallLook::Over,
            WARN_PS.. if before_ps < WARN_PS => StallLook::Slow,
            _ => StallLook::Nothing,
        }
    }
}

impl<P: Probe> Worker<'_, P> {
    /// Ends the scan if the queue has stopped.
    pub(super) fn watch_queue(&mut self, now_ps: u64) {
        let counts = self.port.counts();
        let done = counts.probes_over() + counts.resets_sent + counts.resets_lost;
        let is_due =
            self.port.outstanding() > 0 && !self.orders.is_held() && !self.shared.control.is_stopping();
        match self.stall.look(now_ps, done, is_due) {
            StallLook::Nothing => {}
            StallLook::Slow => self.tell_slow(),
            StallLook::Over => self.end_stalled(),
        }
    }

    #[cold]
    fn tell_slow(&self) {
        warn!(
            target: "send",
            "{}: no frame has been completed for {} s, although the link is up and {} frames are handed over",
            self.assignment.interface,
            WARN_PS / PS_PER_S,
            self.port.outstanding()
        );
    }

    #[cold]
    fn end_stalled(&self) {
        let name = self.assignment.interface;
        error!(
            target: "send",
            "{name}: a queue has stopped: none of {} frames has been completed for {} s, although the link is up; no \
             more probes. Look at `dmesg`, `ethtool -S {name}`, `tc -s qdisc show dev {name}` and the far end, or try \
             another I/O mode",
            self.port.outstanding(),
            END_PS / PS_PER_S
        );
        self.shared.control.stop(EndReason::TxStalled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of a check every millisecond, in seconds: when it warns, and when it ends the scan.
    fn judged(mut done_at: impl FnMut(u64) -> (u64, bool)) -> (Option<u64>, Option<u64>) {
        let (mut stall, mut said) = (Stall::default(), None);
        for ms in 0..60_000 {
            let (done, is_due) = done_at(ms);
            match stall.look(ms * PS_PER_S / 1_000, done, is_due) {
                StallLook::Nothing => {}
                StallLook::Slow => said = Some(ms / 1_000),
                StallLook::Over => return (said, Some(ms / 1_000)),
            }
        }
        (said, None)
    }

    #[test]
    fn only_a_queue_that_stands_still_is_over() {
        assert_eq!(judged(|_| (7, true)), (Some(5), Some(10)));
        assert_eq!(judged(|_| (7, false)), (None, None), "nothing was to come back, or there was no link");
        assert_eq!(judged(|ms| (ms / 4_000, true)), (None, None));
        assert_eq!(judged(|ms| (ms / 8_000, true)), (Some(53), None));
        assert_eq!(judged(|ms| (ms.min(20_000), true)), (Some(25), Some(30)));
    }

    /// For a process that was suspended for a minute, that minute was one turn.
    #[test]
    fn time_that_was_not_ours_does_not_count() {
        let mut stall = Stall::default();
        for turn in 0..20 {
            assert_eq!(stall.look(turn * 60 * PS_PER_S, 7, true), StallLook::Nothing);
        }
    }
}
