//! How the scan stands at the moment, for those who ask: the control socket, systemd and the metrics.
//!
//! The counts are those of the last status line, up to a second old. What the user can change (pause, rate) and the
//! phase are as of now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::control_socket::{Details, LINES_MAX, LossLine, NAME_LEN_MAX, PortLine, Status, WorkerLine};
use crate::engine::{Control, Counts, EndReason, Pacer, Phase};
use crate::estimate::{Estimate, Interval};
use crate::governor::State;
use crate::ledger::{Ledger, RowKind};
use crate::metrics::{Reading, WorkerPlace, WorkerReading};
use crate::report::status::Snapshot;
use crate::results::ports::SuccessesByPort;

/// The state of a scan, shared by its threads beside the workers.
pub(super) struct Board {
    pub(super) control: Arc<Control>,
    pub(super) pacer: Arc<Pacer>,
    /// Where each worker is.
    workers: Vec<WorkerPlace>,
    shown: Mutex<Shown>,
    /// How the rate is found, if it is.
    governed: Mutex<Option<State>>,
    /// Whether somebody looks at the details, which take time to be made.
    is_detailed: AtomicBool,
    /// Successes by port, if the scan probes several.
    ports: Option<Arc<SuccessesByPort>>,
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
    /// The state of a scan of these workers that has not sent anything; `start` has what is known of it before.
    pub(super) fn new(
        control: Arc<Control>,
        pacer: Arc<Pacer>,
        workers: Vec<WorkerPlace>,
        start: Snapshot,
    ) -> Self {
        let shown = Mutex::new(Shown { now: start, ..Shown::default() });
        let is_detailed = AtomicBool::new(false);
        Self { control, pacer, workers, shown, governed: Mutex::default(), is_detailed, ports: None }
    }

    /// With the successes by port.
    pub(super) fn with_ports(self, ports: Option<Arc<SuccessesByPort>>) -> Self {
        Self { ports, ..self }
    }

    /// Whether snapshots have to have what details are made of.
    pub(super) fn is_detailed(&self) -> bool {
        self.is_detailed.load(Ordering::Relaxed)
    }

    /// More about the scan than its status has. From the first time on, snapshots have what is needed for it.
    pub(super) fn details(&self) -> Details {
        self.is_detailed.store(true, Ordering::Relaxed);
        let shown = self.shown();
        let (now, previous) = (&shown.now, shown.previous.as_ref());
        let seconds =
            now.elapsed.saturating_sub(previous.map_or(Duration::ZERO, |previous| previous.elapsed));
        let rate = |count: u64, before: u64| match seconds.as_secs_f64() {
            0.0 => 0.0,
            seconds => count.saturating_sub(before) as f64 / seconds,
        };
        // Without the counts of the second before, there is no rate.
        let before =
            previous.map(|previous| &previous.workers).filter(|before| before.len() == now.workers.len());
        let counts = now.workers.iter().zip(before.into_iter().flatten());
        let workers = self.workers.iter().zip(counts).map(|(place, (now, before))| WorkerLine {
            interface: place.interface.clone(),
            queue: place.queue,
            sent_pps: rate(now.port.probes_sent, before.port.probes_sent),
            received_pps: rate(now.port.rx_frames, before.port.rx_frames),
        });
        Details {
            workers: workers.take(LINES_MAX).collect(),
            losses: now.ledger.as_ref().map(losses).unwrap_or_default(),
            ports: self.ports.as_ref().map(|ports| port_lines(ports)).unwrap_or_default(),
        }
    }

    /// Shows a newer snapshot.
    pub(super) fn show(&self, now: &Snapshot) {
        let mut shown = self.shown();
        let mut now = now.clone();
        now.ledger = now.ledger.map(|ledger| match &shown.now.ledger {
            Some(before) => ledger.not_below(before),
            None => ledger,
        });
        shown.previous = Some(std::mem::replace(&mut shown.now, now));
    }

    /// The scan has ended, and `last` has its final counts.
    pub(super) fn conclude(&self, last: &Snapshot, reason: EndReason) {
        let mut shown = self.shown();
        shown.previous = Some(std::mem::replace(&mut shown.now, last.clone()));
        shown.end = Some(reason);
    }

    /// Whether the scan has ended, and its counts are final.
    pub(super) fn is_concluded(&self) -> bool {
        self.shown().end.is_some()
    }

    /// Shows how the rate is being found.
    pub(super) fn show_rate(&self, state: State) {
        *self.governed.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// How the rate is being found, if it is.
    pub(super) fn rate_auto(&self) -> Option<State> {
        self.governed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // It holds plain values, which a panic cannot leave half written in a way that matters.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the metrics are made of.
    pub(super) fn reading(&self) -> Reading {
        let shown = self.shown();
        let now = &shown.now;
        // Before the first snapshot there are no counters.
        let counts = now.workers.iter().copied().chain(std::iter::repeat(Counts::default()));
        let workers = self.workers.iter().cloned().zip(counts);
        Reading {
            status: self.status_of(&shown),
            app_successes: now.app_success_unique,
            senders: now.senders,
            ledger: now.ledger.clone().unwrap_or_default(),
            workers: workers.map(|(place, counts)| WorkerReading { place, counts }).collect(),
        }
    }

    /// The status.
    pub(super) fn status(&self) -> Status {
        self.status_of(&self.shown())
    }

    fn status_of(&self, shown: &Shown) -> Status {
        let (now, previous) = (&shown.now, shown.previous.as_ref());
        let phase = self.control.phase();
        let is_paused = self.control.is_paused() && phase == Phase::Sending;
        let pauses = self.control.pauses().filter(|_| is_paused);
        let is_sending = phase == Phase::Sending && now.send_end.is_none();
        let remaining = now.remaining().filter(|_| !is_paused && phase != Phase::Done && now.sent > 0);
        let end_reason = shown.end.or_else(|| self.control.stop_reason());
        Status {
            phase: phase.name().to_owned(),
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
            rate_auto: self.rate_auto(),
            targets_done: now.targets_done,
            targets_total: now.targets_total,
            replies: now.recv_total,
            successes: now.recv_success_unique,
            results: now.results,
            hitrate_percent: now.hitrate(),
            hitrate_interval_percent: now.estimates.map(|estimates| bounds(&estimates.hit_rate_percent)),
            canary_loss_percent: now.canary_loss().map(|loss| loss.percent()),
            missed_interval_percent: now
                .estimates
                .and_then(|estimates| Some(bounds(&estimates.missed_by_one_percent?))),
            drops: now.drops,
            end_reason: end_reason.map(|reason| reason.name().to_owned()),
        }
    }
}

fn bounds(estimate: &Estimate) -> [f64; 2] {
    let Interval { lower, upper } = estimate.interval;
    [lower, upper]
}

fn port_lines(ports: &SuccessesByPort) -> Vec<PortLine> {
    ports.most(LINES_MAX).into_iter().map(|(port, successes)| PortLine { port, successes }).collect()
}

/// What was lost, most first.
fn losses(ledger: &Ledger) -> Vec<LossLine> {
    let rows = ledger.accounts.iter().flat_map(|account| &account.parts);
    let lost = rows.filter(|row| row.kind == RowKind::Loss && row.count > 0);
    let mut losses: Vec<LossLine> = lost
        .map(|row| LossLine { name: row.text.chars().take(NAME_LEN_MAX).collect(), count: row.count })
        .collect();
    losses.sort_by_key(|loss| std::cmp::Reverse(loss.count));
    losses.truncate(LINES_MAX);
    losses
}

/// The board of a scan of 1,000 targets with one worker, at 100 probes per second.
#[cfg(test)]
pub(super) fn test_board() -> Board {
    let start = Snapshot { targets_total: 1_000, probes: 1, dedup: true, ..Snapshot::default() };
    let worker = WorkerPlace { interface: "eth0".to_owned(), queue: Some(3) };
    Board::new(Arc::new(Control::new(1)), Arc::new(Pacer::new(100.0, 1)), vec![worker], start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PauseCause;
    use crate::ledger::{Account, Row, UNDER_WAY};

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
        board.conclude(&Snapshot { sent: 201, ..second }, EndReason::OutputFailed);
        let last = board.status();
        assert_eq!((last.end_reason.as_deref(), last.sent), (Some("output-failed"), 201));
    }

    /// Each worker has its counters. A count of the ledger that seems to fall while the scan runs does not; at the end,
    /// what was counted counts.
    #[test]
    fn what_metrics_read() {
        let ledger = |dropped: u64, under_way: u64| {
            let row = |name, count, kind| Row { name, text: name.into(), count, kind };
            let account = Account {
                name: "replies".into(),
                text: "replies".into(),
                total: 100,
                parts: vec![
                    row("ring_full", dropped, RowKind::Loss),
                    row(UNDER_WAY, under_way, RowKind::Usual),
                ],
                notes: vec![],
                is_exact: false,
            };
            Some(Ledger { accounts: vec![account], ..Ledger::default() })
        };
        let board = test_board();
        let first = board.reading();
        let place = WorkerPlace { interface: "eth0".to_owned(), queue: Some(3) };
        assert_eq!(first.workers, [WorkerReading { place, counts: Counts::default() }]);
        let counts = Counts { rx_synack: 7, ..Counts::default() };
        board.show(&Snapshot { workers: vec![counts], ledger: ledger(50, 20), ..Snapshot::default() });
        board.show(&Snapshot { workers: vec![counts], ledger: ledger(48, 5), ..Snapshot::default() });
        let now = board.reading();
        assert_eq!(now.workers[0].counts, counts);
        let count = |reading: &Reading, row| reading.ledger.count("replies", row);
        assert_eq!((count(&now, "ring_full"), count(&now, UNDER_WAY)), (50, 5));
        board.conclude(&Snapshot { ledger: ledger(49, 0), ..Snapshot::default() }, EndReason::Complete);
        assert_eq!(count(&board.reading(), "ring_full"), 49);
    }
}
