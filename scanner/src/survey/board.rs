//! How the scan stands at the moment, for those who ask: the control socket and systemd.
//!
//! The counts are those of the last status line, up to a second old. What the user can change (pause, rate) and the
//! phase are as of now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::control_socket::Status;
use crate::engine::{Control, EndReason, Pacer, Phase};
use crate::report::status::Snapshot;

/// The state of a scan, shared by its threads beside the workers.
pub(super) struct Board {
    pub(super) control: Arc<Control>,
    pub(super) pacer: Arc<Pacer>,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    now: Snapshot,
    /// The snapshot of the second before.
    previous: Option<Snapshot>,
    /// Why the scan has ended.
    end: Option<EndReason>,
}

impl Board {
    /// The state of a scan that has not sent anything; `start` has what is known of it before.
    pub(super) fn new(control: Arc<Control>, pacer: Arc<Pacer>, start: Snapshot) -> Self {
        Self { control, pacer, shown: Mutex::new(Shown { now: start, ..Shown::default() }) }
    }

    /// Shows a newer snapshot.
    pub(super) fn show(&self, now: &Snapshot) {
        let mut shown = self.shown();
        shown.previous = Some(std::mem::replace(&mut shown.now, now.clone()));
    }

    /// The scan has ended.
    pub(super) fn end(&self, reason: EndReason) {
        self.shown().end = Some(reason);
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // It holds plain values, which a panic cannot leave half written in a way that matters.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status.
    pub(super) fn status(&self) -> Status {
        let shown = self.shown();
        let (now, previous) = (&shown.now, shown.previous.as_ref());
        let phase = self.control.phase();
        let is_paused = self.control.is_paused() && phase == Phase::Sending;
        let pauses = self.control.pauses().filter(|_| is_paused);
        let is_sending = phase == Phase::Sending && now.send_end.is_none();
        let remaining = now.remaining().filter(|_| !is_paused && phase != Phase::Done && now.sent > 0);
        let end_reason = shown.end.or_else(|| self.control.stop_reason());
        Status {
            phase: word(phase).to_owned(),
            paused: is_paused,
            paused_by: pauses.map(|cause| cause.name().to_owned()).collect(),
            held: self.control.is_held() && is_sending,
            elapsed_s: now.elapsed.as_secs_f64(),
            done_percent: 100.0 * now.work_done(),
            remaining_s: remaining.map(|remaining| remaining.as_secs_f64()),
            sent: now.sent,
            sent_pps: if is_sending { now.rate(previous, |snapshot| snapshot.sent) } else { 0.0 },
            rate_pps: self.pacer.rate_pps(),
            rate_counts_resets: self.pacer.caps_all(),
            rate_changes: self.pacer.changes(),
            targets_done: now.targets_done,
            targets_total: now.targets_total,
            replies: now.recv_total,
            successes: now.recv_success_unique,
            results: now.results,
            hitrate_percent: now.hitrate(),
            drops: now.drops,
            end_reason: end_reason.map(|reason| reason.name().to_owned()),
        }
    }
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Sending => "sending",
        Phase::Cooldown => "cooldown",
        Phase::Done => "done",
    }
}

/// The board of a scan of 1,000 targets with one worker, at 100 probes per second.
#[cfg(test)]
pub(super) fn test_board() -> Board {
    let start = Snapshot { targets_total: 1_000, probes: 1, dedup: true, ..Snapshot::default() };
    Board::new(Arc::new(Control::new(1)), Arc::new(Pacer::new(100.0, 1)), start)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::PauseCause;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_is_shown_and_what_is_now() {
        let board = test_board();
        let begun = board.status();
        assert_eq!((begun.phase.as_str(), begun.targets_total, begun.remaining_s), ("sending", 1_000, None));
        assert_eq!((begun.rate_pps, begun.rate_changes), (100.0, 0));
        let at = |seconds, sent| Snapshot {
            elapsed: Duration::from_secs(seconds),
            sent,
            targets_done: sent,
            recv_success_unique: sent / 10,
            ..board.shown().now.clone()
        };
        let first = at(1, 100);
        board.show(&first);
        let second = at(2, 200);
        board.show(&second);
        let status = board.status();
        assert_eq!((status.sent, status.sent_pps, status.hitrate_percent), (200, 100.0, 10.0));
        assert_eq!((status.done_percent, status.remaining_s), (20.0, Some(8.0)));
        board.control.pause(PauseCause::Command);
        board.pacer.set_rate_pps(0.0);
        let paused = board.status();
        assert!(paused.paused && paused.remaining_s.is_none());
        board.control.pause(PauseCause::Output);
        assert_eq!(
            (paused.paused_by, board.status().paused_by),
            (words(&["command"]), words(&["command", "output"]))
        );
        assert_eq!((paused.rate_pps, paused.rate_changes), (0.0, 1));
        board.control.stop(EndReason::Interrupted);
        assert_eq!(board.status().end_reason.as_deref(), Some("interrupted"));
        board.end(EndReason::OutputFailed);
        assert_eq!(board.status().end_reason.as_deref(), Some("output-failed"));
    }
}
