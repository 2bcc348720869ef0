//! Finding the rate while a scan runs (`--rate auto`, and `xdpmap calibrate`): gives the governor or the ladder the
//! facts of each slot, and carries out what it decides. On the scan's own thread, between two looks at the phases.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::board::Board;
use super::finder::Finder;
use crate::engine::canaries::{self, PPM};
use crate::engine::{Counts, EndReason, Pulse, Tick};
use crate::governor::{Decision, HOLD_SHARE, LAG_SLOTS, Ladder, SEARCH_SHARE, SLOT, Slot, State, What};

/// Decisions that are kept for the metadata. Lower: a long scan's metadata lacks the oldest. Higher: more memory.
const KEPT: usize = 1_000;

/// The share of canaries in the search, in parts per million.
const SEARCH_PPM: u32 = (SEARCH_SHARE * PPM as f64) as u32;

// The governor's slots are those that canaries have.
const _: () = assert!(SLOT.as_nanos() == canaries::SLOT.as_nanos());

/// Finds the rate of a scan.
pub(super) struct Governing {
    board: Arc<Board>,
    seat: RefCell<Seat>,
}

/// What the governor decided, for the metadata.
#[derive(Clone, Debug, Default)]
pub(super) struct Governed {
    pub(super) state: State,
    /// The last decisions, the oldest first.
    pub(super) decisions: VecDeque<Decision>,
    /// The ladder, if there was one.
    pub(super) ladder: Option<Ladder>,
}

/// The governor or ladder, and what it is told.
struct Seat {
    finder: Finder,
    /// The share of canaries while a rate is held, in parts per million; 0 if the scan has none.
    held_ppm: u32,
    /// The rate that it was last given.
    rate_pps: f64,
    /// The slot in progress.
    number: Option<u32>,
    /// When the slot that is open began, and what had been counted then.
    begun: Option<Mark>,
    /// Slots that wait for the answers to their canaries, by their numbers.
    waiting: VecDeque<(u32, Slot)>,
    /// Since when probes are to be repeated, if the workers still repeat others.
    repeat_since: Option<Duration>,
    is_finished: bool,
    decisions: VecDeque<Decision>,
    decided: u64,
}

/// A moment.
#[derive(Clone, Copy)]
struct Mark {
    number: u32,
    at: Duration,
    still: Duration,
    counts: Counts,
}

impl Governing {
    /// Finds the rate of the scan on this board in this way. Its share of canaries is `held_ppm`, in parts per million,
    /// while a rate is held.
    pub(super) fn start(finder: Finder, board: &Arc<Board>, held_ppm: u32) -> Self {
        board.show_rate(finder.state());
        let seat = Seat {
            held_ppm,
            rate_pps: finder.wish().rate_pps,
            finder,
            number: None,
            begun: None,
            waiting: VecDeque::new(),
            repeat_since: None,
            is_finished: false,
            decisions: VecDeque::new(),
            decided: 0,
        };
        Self { board: Arc::clone(board), seat: RefCell::new(seat) }
    }

    /// What the scan calls at short intervals.
    pub(super) fn pulse(&self) -> Pulse<'_> {
        Box::new(|tick| self.seat.borrow_mut().look(tick, &self.board))
    }

    /// What was decided, and how the governor stood at the end.
    pub(super) fn end(self) -> Governed {
        let seat = self.seat.into_inner();
        Governed { state: seat.state(), decisions: seat.decisions, ladder: seat.finder.into_ladder() }
    }
}

impl Seat {
    /// Looks at the scan: when a slot has ended, it is noted, and one whose canaries have had the time to be answered
    /// is reported.
    fn look(&mut self, tick: &Tick<'_>, board: &Board) {
        if let Some(since) = self.repeat_since.filter(|_| !board.control.is_stopping())
            && board.control.repeat_since(since)
        {
            self.repeat_since = None;
        }
        let (now, number) = (tick.elapsed, (tick.elapsed.as_nanos() / SLOT.as_nanos()) as u32);
        if self.number.replace(number) == Some(number) {
            return;
        }
        self.follow_user(now, board);
        let is_sending = tick.send_elapsed.is_none();
        let mark = Mark { number, at: now, still: tick.still, counts: tick.counts };
        let begun = std::mem::replace(&mut self.begun, is_sending.then_some(mark));
        if let Some(begun) = begun.filter(|_| is_sending) {
            self.note(&begun, &mark);
        }
        while let Some((of, slot)) = self.waiting.pop_front_if(|(of, _)| *of + LAG_SLOTS < number) {
            let slot = with_canaries(slot, SLOT * of, tick);
            for decision in self.finder.observe(now, &slot) {
                self.carry_out(decision);
            }
        }
        if !is_sending && self.waiting.is_empty() && !self.is_finished {
            self.is_finished = true;
            let since = self.finder.finish(now);
            self.repeat_since = self.repeat_since.into_iter().chain(since).min();
        }
        self.apply(board);
        board.show_rate(self.state());
        if self.finder.is_done() {
            // All that it was to send has been sent.
            board.control.stop(EndReason::MaxTargets);
        }
    }

    /// How it stands.
    fn state(&self) -> State {
        let state = self.finder.state();
        match self.decisions.back() {
            Some(last) => State { decisions: self.decided, last_decision: Some(last.to_string()), ..state },
            None => state,
        }
    }

    /// A slot has ended. What was sent in one that was mostly a pause, or that this thread has missed, says nothing
    /// about a rate.
    fn note(&mut self, begun: &Mark, ended: &Mark) {
        let slot = slot(begun, ended);
        if slot.length < SLOT / 2 || ended.number > begun.number + 1 {
            self.waiting.clear();
            self.finder.interrupt(ended.at);
        } else {
            self.waiting.push_back((begun.number, slot));
        }
    }

    /// A user who changes the rate sets the most that it may be.
    fn follow_user(&mut self, now: Duration, board: &Board) {
        let rate_pps = board.pacer.rate_pps();
        if rate_pps != self.rate_pps {
            self.rate_pps = rate_pps;
            self.finder.cap(now, rate_pps);
            match rate_pps {
                0.0 => info!(target: "rate", "no limit from now on"),
                _ => info!(target: "rate", "at most {rate_pps} probes per second from now on"),
            }
        }
    }

    fn carry_out(&mut self, decision: Decision) {
        match decision.what {
            What::Loss(_) | What::StepBack(_) => warn!(target: "rate", "{decision}"),
            _ => info!(target: "rate", "{decision}"),
        }
        if let What::Again(since) = decision.what {
            self.repeat_since = Some(self.repeat_since.map_or(since, |earlier| earlier.min(since)));
        }
        self.decided += 1;
        self.decisions.push_back(decision);
        if self.decisions.len() > KEPT {
            self.decisions.pop_front();
        }
    }

    /// Sets the rate that is wanted.
    fn apply(&mut self, board: &Board) {
        let wanted_pps = self.finder.wish().rate_pps;
        if wanted_pps != self.rate_pps {
            self.rate_pps = wanted_pps;
            board.pacer.set_rate_pps(wanted_pps);
            board.control.restart_pace();
        }
        if self.held_ppm > 0 {
            let is_searching = self.finder.wish().canary_share > HOLD_SHARE;
            let ppm = if is_searching { self.held_ppm.max(SEARCH_PPM) } else { self.held_ppm };
            board.control.set_canary_share_ppm(ppm);
        }
    }
}

/// The facts of a slot between two moments.
fn slot(begun: &Mark, ended: &Mark) -> Slot {
    let (before, now) = (&begun.counts, &ended.counts);
    let grown = |count: fn(&Counts) -> u64| count(now).saturating_sub(count(before));
    let own_losses = grown(|counts| counts.rx_record_drops + counts.rx_socket_drops);
    let still = ended.still.saturating_sub(begun.still);
    Slot {
        at: begun.at,
        length: ended.at.saturating_sub(begun.at).saturating_sub(still),
        probes: grown(|counts| counts.port.probes_sent),
        resets: grown(|counts| counts.port.resets_sent),
        replies: grown(Counts::replies).saturating_sub(grown(|counts| counts.rx_record_drops)),
        own_losses,
        ..Slot::default()
    }
}

/// The slot with what became of its canaries, by now.
fn with_canaries(slot: Slot, start: Duration, tick: &Tick<'_>) -> Slot {
    let Some(canaries) = tick.canaries.open().find(|open| open.start == start) else { return slot };
    Slot {
        probes: slot.probes.saturating_sub(canaries.sent),
        canaries: canaries.sent,
        answered: canaries.replied(),
        rtt: canaries.rtts.quantile(0.5),
        ..slot
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::test_board;
    use super::*;
    use crate::engine::canaries::Series;
    use crate::governor::{Governor, Outcome, Steps};
    use crate::io::PortCounts;

    /// Ticks of a scan in which all targets answer, up to `knee_pps`.
    fn run(governing: &Governing, board: &Board, knee_pps: f64, slots: u32) {
        let mut pulse = governing.pulse();
        let canaries = Series::default();
        let mut counts = Counts::default();
        for number in 0..slots {
            let tick = Tick {
                elapsed: SLOT * number,
                send_elapsed: None,
                still: Duration::ZERO,
                canaries: &canaries,
                counts,
                workers: &[],
            };
            pulse(&tick);
            let sent = board.pacer.rate_pps() * SLOT.as_secs_f64();
            let arrived = sent.min(knee_pps * SLOT.as_secs_f64());
            let port = PortCounts { probes_sent: counts.port.probes_sent + sent as u64, ..counts.port };
            counts = Counts { rx_rst: counts.rx_rst + arrived as u64, port, ..counts };
        }
    }

    #[test]
    fn finds_a_knee_by_replies_and_has_the_rest_repeated() {
        let board = Arc::new(test_board());
        board.pacer.set_rate_pps(10_000.0);
        let governing = Governing::start(Finder::Auto(Box::new(Governor::new(0.0, None))), &board, 0);
        run(&governing, &board, 50_000.0, 100);
        let rate_pps = board.pacer.rate_pps();
        assert!((45_000.0..=50_000.0).contains(&rate_pps), "{rate_pps}");
        let governed = governing.end();
        assert_eq!(governed.state.held_for.as_deref(), Some("knee"), "{governed:?}");
        let again =
            governed.decisions.iter().filter(|decision| matches!(decision.what, What::Again(_))).count();
        assert_eq!((again, board.rate_auto().unwrap()), (2, governed.state));
    }

    /// A user's rate is a cap from then on.
    #[test]
    fn a_users_rate_is_the_most() {
        let board = Arc::new(test_board());
        board.pacer.set_rate_pps(10_000.0);
        let governing = Governing::start(Finder::Auto(Box::new(Governor::new(0.0, None))), &board, 0);
        run(&governing, &board, 50_000.0, 100);
        board.pacer.set_rate_pps(7_000.0);
        run(&governing, &board, 50_000.0, 50);
        assert_eq!(board.pacer.rate_pps(), 7_000.0);
        assert_eq!(governing.end().state.held_for.as_deref(), Some("cap"));
    }

    /// A ladder is followed, and ends the scan above the knee.
    #[test]
    fn a_ladder_ends_the_scan() {
        let board = Arc::new(test_board());
        let ladder = Ladder::new(Steps::up_to(100_000.0));
        board.pacer.set_rate_pps(ladder.wish().rate_pps);
        let governing = Governing::start(Finder::Ladder(Box::new(ladder)), &board, 0);
        run(&governing, &board, 30_000.0, 600);
        assert_eq!(board.control.stop_reason(), Some(EndReason::MaxTargets));
        let ladder = governing.end().ladder.unwrap();
        let Outcome::Knee(knee) = ladder.outcome() else { panic!("{ladder:?}") };
        assert!((0.97..1.03).contains(&(knee.pps / 30_000.0)), "{knee:?}");
    }
}
