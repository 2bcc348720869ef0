//! A queue that has stopped: frames are with it, the link is there, and none comes back.
//!
//! A driver that loses completions, a device whose queue stands still, a rule that lets nothing through: nothing else would
//! ever end such a scan. Only the worker's own turns count as time, each as a moment at most, so that a process that was
//! stopped, or a machine that was, is not taken for a queue.

use tracing::{error, warn};

use super::super::control::EndReason;
use super::super::pace::PS_PER_S;
use super::Worker;
use crate::probe::Probe;

/// After this it is said.
const WARN_PS: u64 = 5 * PS_PER_S;
/// After this the scan ends.
const END_PS: u64 = 10 * PS_PER_S;
/// Most that the time between two looks counts for.
const LOOK_PS: u64 = PS_PER_S / 10;

/// What is known of the queue's progress.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stall {
    /// Frames that had come back when last looked at.
    done: u64,
    looked_at_ps: u64,
    /// For how long none has.
    lasted_ps: u64,
}

/// What a look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    Slow,
    Over,
}

impl Stall {
    /// Takes how many frames have come back by now, and whether one should have.
    fn look(&mut self, now_ps: u64, done: u64, is_due: bool) -> Finding {
        let passed_ps = now_ps.saturating_sub(self.looked_at_ps).min(LOOK_PS);
        self.looked_at_ps = now_ps;
        if !is_due || done != self.done {
            (self.done, self.lasted_ps) = (done, 0);
            return Finding::Nothing;
        }
        let before_ps = self.lasted_ps;
        self.lasted_ps += passed_ps;
        match self.lasted_ps {
            END_PS.. => Finding::Over,
            WARN_PS.. if before_ps < WARN_PS => Finding::Slow,
            _ => Finding::Nothing,
        }
    }
}

impl<P: Probe> Worker<'_, P> {
    /// Ends the scan if its queue has stopped.
    pub(super) fn watch_queue(&mut self, now_ps: u64) {
        let counts = self.port.counts();
        let done = counts.probes_sent + counts.probes_lost + counts.resets_sent + counts.resets_lost;
        let is_due =
            self.port.outstanding() > 0 && !self.hold.is_held() && !self.shared.control.is_stopping();
        match self.stall.look(now_ps, done, is_due) {
            Finding::Nothing => {}
            Finding::Slow => self.tell_slow(),
            Finding::Over => self.end_stalled(),
        }
    }

    #[cold]
    fn tell_slow(&self) {
        warn!(
            target: "send",
            "{}: nothing has been reported sent for {} s, though the link is up and {} frames are handed over",
            self.way.interface,
            WARN_PS / PS_PER_S,
            self.port.outstanding()
        );
    }

    #[cold]
    fn end_stalled(&self) {
        let name = self.way.interface;
        error!(
            target: "send",
            "{name}: a queue has stopped: of {} frames none has been reported sent for {} s, though the link is up; no more \
             probes. Look at `dmesg`, `ethtool -S {name}`, `tc -s qdisc show dev {name}` and the far end, or try another \
             --io-mode",
            self.port.outstanding(),
            END_PS / PS_PER_S
        );
        self.shared.control.stop(EndReason::TxStalled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a look each millisecond shows, in seconds: when it is said, and when it is over.
    fn judged(mut done_at: impl FnMut(u64) -> (u64, bool)) -> (Option<u64>, Option<u64>) {
        let (mut stall, mut said) = (Stall::default(), None);
        for ms in 0..60_000 {
            let (done, is_due) = done_at(ms);
            match stall.look(ms * PS_PER_S / 1_000, done, is_due) {
                Finding::Nothing => {}
                Finding::Slow => said = Some(ms / 1_000),
                Finding::Over => return (said, Some(ms / 1_000)),
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

    /// A process that was stopped for a minute has had one turn in it.
    #[test]
    fn time_that_was_not_ours_does_not_count() {
        let mut stall = Stall::default();
        for turn in 0..20 {
            assert_eq!(stall.look(turn * 60 * PS_PER_S, 7, true), Finding::Nothing);
        }
    }
}
