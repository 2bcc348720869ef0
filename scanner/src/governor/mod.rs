//! The governor of `--rate auto`: finds the fastest rate at which nothing is lost because of the rate, and holds it.
//!
//! A pure state machine, without a clock or input of its own: it takes the facts of each [`Slot`] of time and the time
//! of the report, and says which rate and which share of canaries it wants ([`Wish`]), and what it has decided. The
//! same facts give the same decisions.
//!
//! The stages: *rising* doubles the rate as long as a sequential test finds no loss. At the first loss the rate goes
//! below the knee that two points give (*draining*), where queues empty and the reference is measured once more. Then
//! it goes a little above that knee (*measuring*): of what is sent there, the share that arrives gives the knee.
//! *Holding* stays just below it, watches with a cumulative sum, and at an alarm goes back to draining. `docs/rate.md`
//! has the statistics.
//!
//! What always holds: the rate is never above the cap; and whatever was sent above the knee, as far as that is known by
//! then, is in the time that a decision ([`What::Again`]) names to be probed again.

mod alarm;
mod decision;
mod evidence;
mod held;
mod knee;
mod ladder;
mod search;
#[cfg(test)]
mod simulation;
mod slot;
mod stages;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

use alarm::Alarm;
pub use alarm::{ALARM, WATCHED_LOSS};
pub use decision::{Bound, Cause, Decision, Knee, What};
pub use evidence::{FALSE_ALARM, MISSED};
use evidence::{Reference, Sums, Verdict};
pub use ladder::Ladder;
pub use slot::{LAG_SLOTS, SLOT, Slot, Wish};
pub use stages::{Finding, Outcome, Stage, Steps};
pub use state::State;

// How often a host may be a canary, for the simulation, which the benchmarks compile as well.
pub use crate::engine::canaries::SPACING_SLOTS;

/// The rate that the search begins with: the default of a scan without `--rate auto`. Lower: the search takes longer.
/// Higher: a slow path is overloaded at once.
pub const START_PPS: f64 = 10_000.0;
/// The lowest rate that the governor goes to. Lower: a path that carries nothing is left alone. Higher: slow paths
/// lose.
pub const FLOOR_PPS: f64 = 200.0;
/// The share of canaries while a rate is searched for: 2 %. Lower: the search takes longer. Higher: canaries take the
/// place of probes.
pub const SEARCH_SHARE: f64 = 0.02;
/// The share of canaries while a rate is held: 0.1 %.
pub const HOLD_SHARE: f64 = 0.001;
/// The rate that is held, as a share of the knee. Lower: slower. Higher: an error of the estimate is a loss.
pub const HELD: f64 = 0.95;

/// What the governor is doing.
#[derive(Clone, Debug)]
enum Doing {
    Rising,
    /// Below the knee, until then; `over` is what was sent above it.
    Draining {
        until: Duration,
        over: Sums,
        lost: f64,
    },
    /// Above where the knee should be.
    Measuring,
    Holding(Holding),
}

/// While a rate is held.
#[derive(Clone, Debug)]
struct Holding {
    bound: Bound,
    /// When to try more.
    try_at: Option<Duration>,
    alarm: Alarm,
    /// Slots that become part of the reference once the alarm is quiet.
    pending: Vec<(Slot, bool)>,
    /// Slots in which answers took longer than before, one after the other.
    slow: u32,
    /// Until when more canaries leave.
    close_until: Duration,
}

/// What the slots are that are reported after the rate has been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Former {
    Clean,
    Lossy,
    Other,
}

/// The governor.
#[derive(Clone, Debug)]
pub struct Governor {
    cap_pps: f64,
    wish: Wish,
    /// Since when that rate is in force.
    since: Duration,
    stage: Doing,
    former: Former,
    /// Since when the rate before was in force.
    former_since: Duration,
    /// Slots of the rate before, if it was clean.
    late: Vec<(Slot, bool)>,
    /// The slots of the rate in force, without the first.
    step: Vec<Slot>,
    /// The rates since the last one that was known to be good, and since when each was in force.
    rates: Vec<(Duration, f64)>,
    /// Since when probes may have been lost that are to be probed again.
    doubtful: Option<Duration>,
    reference: Reference,
    /// All replies that there would have been without losses at our side.
    heard: Sums,
    /// The round-trip time below the knee, in seconds.
    rtt: Option<f64>,
    knee: Option<Knee>,
    /// Where the knee may be, while it is measured.
    guess_pps: Option<f64>,
    /// Replies per second that our own side receives, if that is the bottleneck.
    receives_per_s: Option<f64>,
    /// How long a rate is held until more is tried.
    patience: Duration,
    decisions: Vec<Decision>,
}

impl Governor {
    /// A governor that never goes above `cap_pps`; 0: no cap. `known_pps` is the knee of an earlier run, if there was
    /// one.
    pub fn new(cap_pps: f64, known_pps: Option<f64>) -> Self {
        let cap_pps = if cap_pps > 0.0 { cap_pps } else { f64::INFINITY };
        let start = known_pps.map_or(START_PPS, |knee| (knee / 2.0).max(FLOOR_PPS));
        Self {
            cap_pps,
            wish: Wish { rate_pps: start.min(cap_pps), canary_share: SEARCH_SHARE },
            since: Duration::ZERO,
            stage: Doing::Rising,
            former: Former::Other,
            former_since: Duration::ZERO,
            late: Vec::new(),
            step: Vec::new(),
            rates: vec![(Duration::ZERO, start.min(cap_pps))],
            doubtful: None,
            reference: Reference::default(),
            heard: Sums::default(),
            rtt: None,
            knee: None,
            guess_pps: None,
            receives_per_s: None,
            patience: held::TRY_AFTER,
            decisions: Vec::new(),
        }
    }

    /// What the governor wants at the moment.
    pub fn wish(&self) -> Wish {
        self.wish
    }

    /// The knee, once it has been found.
    pub fn knee(&self) -> Option<Knee> {
        self.knee
    }

    /// Why the rate is held, if it is.
    pub fn bound(&self) -> Option<Bound> {
        match &self.stage {
            Doing::Holding(holding) => Some(holding.bound),
            _ => None,
        }
    }

    /// The word for what it is doing.
    pub fn stage(&self) -> &'static str {
        match &self.stage {
            Doing::Rising => "rising",
            Doing::Draining { .. } => "draining",
            Doing::Measuring => "measuring",
            Doing::Holding(_) => "holding",
        }
    }

    /// The share of canaries that are answered when nothing is lost because of the rate, if any were sent.
    pub fn answered_share(&self) -> Option<f64> {
        (self.reference.sums.canaries > 0.0).then(|| self.reference.canary_share())
    }

    /// Takes the facts of a slot, reported at `now`: a slot's end. Each slot is reported once, in their order. Returns
    /// what was decided.
    pub fn observe(&mut self, now: Duration, slot: &Slot) -> Vec<Decision> {
        if slot.at < self.since {
            self.observe_former(slot);
        } else if slot.at >= self.since + SLOT / 2 {
            self.keep_late();
            // Not the first slot: buffers and the burst of a policer take up its excess.
            let is_steady = is_steady(slot, self.since);
            if is_steady {
                self.heard.add(slot, true);
            }
            self.step.push(*slot);
            match self.stage {
                Doing::Rising => self.rise(now),
                Doing::Draining { .. } => self.reference.add(slot, is_steady),
                Doing::Measuring => self.measure(now),
                Doing::Holding(_) => self.hold_on(now, slot, is_steady),
            }
        }
        self.settle(now);
        std::mem::take(&mut self.decisions)
    }

    /// Nothing was sent for a while, until `now`: what is being measured begins anew.
    pub fn interrupt(&mut self, now: Duration) {
        self.former = Former::Other;
        self.former_since = std::mem::replace(&mut self.since, now);
        self.step.clear();
        self.late.clear();
        match &mut self.stage {
            Doing::Draining { until, .. } => *until = now + search::DRAIN,
            Doing::Holding(holding) => {
                (holding.alarm, holding.slow) = (Alarm::default(), 0);
                holding.pending.clear();
            }
            Doing::Rising | Doing::Measuring => {}
        }
    }

    /// From `now` on the rate is at most `cap_pps`; 0: no cap.
    pub fn cap(&mut self, now: Duration, cap_pps: f64) {
        self.cap_pps = if cap_pps > 0.0 { cap_pps } else { f64::INFINITY };
        // A new cap is found by going up again, or the rate is above it.
        if self.wish.rate_pps > self.cap_pps || self.bound() == Some(Bound::Cap) {
            self.go(now, self.wish.rate_pps, Doing::Rising, Former::Other);
        }
    }

    /// The last target was probed, and what was reported until `now` is all that is known. If a rate above the knee was
    /// being tried, returns since when; the rate goes back.
    pub fn finish(&mut self, now: Duration) -> Option<Duration> {
        if let (Doing::Measuring, Some(guess_pps)) = (&self.stage, self.guess_pps) {
            self.doubt(search::SAFE * guess_pps);
            self.start_holding(now, HELD * guess_pps, Bound::Knee);
        }
        self.doubtful.take()
    }

    /// A slot of the rate before.
    fn observe_former(&mut self, slot: &Slot) {
        let former_since = &self.former_since;
        if is_steady(slot, *former_since) {
            self.heard.add(slot, true);
        }
        match (self.former, &mut self.stage) {
            (Former::Clean, _) => self.late.push((*slot, is_steady(slot, *former_since))),
            (Former::Lossy, Doing::Draining { over, .. }) => over.add(slot, is_steady(slot, *former_since)),
            _ => {}
        }
    }

    /// The slots of the rate before become part of the reference, unless they show what was not seen in time.
    fn keep_late(&mut self) {
        let late = std::mem::take(&mut self.late);
        let mut sums = Sums::default();
        late.iter().for_each(|(slot, is_steady)| sums.add(slot, *is_steady));
        let loss = self.reference.loss(&sums);
        if loss.is_none_or(|loss| loss.verdict(search::RISING_LOSS) != Verdict::Lossy) {
            late.iter().for_each(|(slot, is_steady)| self.reference.add(slot, *is_steady));
        }
    }

    /// What time alone decides.
    fn settle(&mut self, now: Duration) {
        // Replies to what was sent before meet those to what is sent now; a queue takes some time to have room.
        if now >= self.since + 2 * SLOT
            && let Some(from) = self.doubtful.take()
        {
            self.decide(now, What::Again(from));
        }
        match &self.stage {
            Doing::Draining { until, .. } if now >= *until => self.drained(now),
            Doing::Holding(_) => self.try_more(now),
            _ => {}
        }
    }

    /// Decides on a rate from `now` on.
    fn go(&mut self, now: Duration, rate_pps: f64, stage: Doing, former: Former) {
        let rate_pps = rate_pps.max(FLOOR_PPS).min(self.cap_pps);
        // What is lost at our side is counted, and canaries would add to the load there.
        let canary_share = if self.receives_per_s.is_some() { HOLD_SHARE } else { SEARCH_SHARE };
        self.wish = Wish { rate_pps, canary_share };
        self.former_since = std::mem::replace(&mut self.since, now);
        (self.stage, self.former) = (stage, former);
        self.step.clear();
        self.rates.push((now, rate_pps));
    }

    /// Writes a decision down, at the rate in force.
    fn decide(&mut self, at: Duration, what: What) {
        self.decisions.push(Decision { at, what, rate_pps: self.wish.rate_pps });
    }

    /// Everything since the rate was first above `safe_pps` may have been lost.
    fn doubt(&mut self, safe_pps: f64) {
        let from = self.rates.iter().find(|(_, rate)| *rate > safe_pps).map(|(from, _)| *from);
        self.rates.clear();
        self.doubtful = self.doubtful.into_iter().chain(from).min();
    }

    /// The slots of the step, added up.
    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for slot in &self.step {
            sums.add(slot, is_steady(slot, self.since));
        }
        sums
    }

    /// The step was without loss: it becomes part of the reference.
    fn keep_step(&mut self) {
        for slot in std::mem::take(&mut self.step) {
            self.reference.add(&slot, is_steady(&slot, self.since));
            let rtt = slot.rtt.filter(|_| slot.answered >= 10).map(|rtt| rtt.as_secs_f64());
            if let Some(rtt) = rtt {
                self.rtt = Some(self.rtt.map_or(rtt, |known| known + 0.1 * (rtt - known)));
            }
        }
    }

    /// Whether answers take so much longer than below the knee that a queue must be filling.
    fn is_slow(&self, slot: &Slot) -> bool {
        let times = slot.rtt.filter(|_| slot.answered >= 10).zip(self.rtt);
        times.is_some_and(|(now, known)| now.as_secs_f64() > 1.5 * known + 0.01)
    }
}

/// Whether the replies of a slot are to probes of the rate that is in force since then: queues delay some.
fn is_steady(slot: &Slot, since: Duration) -> bool {
    slot.at >= since + 5 * SLOT / 2
}
