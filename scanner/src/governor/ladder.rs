//! Steps up the rate, stage by stage, for the loss at each of them: what `xdpmap calibrate` draws.
//!
//! Like the governor a pure state machine over the facts of slots, with the same evidence. Each stage holds one rate;
//! its first slots are left out, because buffers take up the excess at first. What is answered is compared with all
//! slower stages without loss. The first stage that loses gives the knee. Two more follow: one a little above the knee,
//! which measures it more exactly, and one just below it, which shows that nothing is lost there.
//!
//! What always holds: no rate is above the cap, and none but those two follows a stage that loses.

use std::time::Duration;

use super::evidence::{Loss, Reference, Sums, Verdict};
use super::held::below;
use super::search::{ABOVE, SHORT};
use super::stages::STAGE_SLOTS;
use super::{
    Bound, Cause, Finding, HOLD_SHARE, Knee, Outcome, SEARCH_SHARE, SLOT, Slot, Stage, State, Steps, Wish,
};
use crate::engine::canaries;
use crate::estimate::Interval;

/// Slots of a stage that are left out, the first ones: a second, in which queues fill or empty.
const SETTLING_SLOTS: u32 = 5;
/// Slots of a stage that has had too few answers to be judged, at most: twelve seconds.
const STAGE_SLOTS_MAX: u32 = 60;
/// Slots of the first stage if next to nothing is answered, at most: twenty seconds.
const FIRST_SLOTS_MAX: u32 = 100;
/// The relative standard error of what is answered at the first rate, at most. Lower: the first stage takes longer.
/// Higher: no other one is judged in its time.
const BASE_ERROR: f64 = 0.02;
/// The loss that a stage is tested for. Lower: more answers are needed. Higher: a small loss is found in the next stage
/// only.
const TESTED_LOSS: f64 = 0.1;
/// More unanswered canaries at the first rate than this mean that the knee may be below it.
const MUCH: f64 = 0.1;

/// Where a ladder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// At this step.
    Rising(usize),
    /// A little above the knee.
    Above,
    /// Just below it.
    Below,
    Done,
}

/// A ladder.
#[derive(Clone, Debug)]
pub struct Ladder {
    steps: Steps,
    phase: Phase,
    rate_pps: f64,
    /// Since when that rate is in force.
    since: Duration,
    /// The slots of the stage, without the first.
    slots: Vec<Slot>,
    reference: Reference,
    stages: Vec<Stage>,
    /// Knees, each from a stage that loses.
    knees: Vec<Knee>,
    /// Why it ended without a knee.
    bound: Option<Bound>,
}

impl Ladder {
    /// One of these steps.
    pub fn new(steps: Steps) -> Self {
        let rate_pps = steps.0[0];
        Self {
            steps,
            phase: Phase::Rising(0),
            rate_pps,
            since: Duration::ZERO,
            slots: Vec::new(),
            reference: Reference::default(),
            stages: Vec::new(),
            knees: Vec::new(),
            bound: None,
        }
    }

    /// What it wants at the moment.
    pub fn wish(&self) -> Wish {
        Wish { rate_pps: self.rate_pps, canary_share: SEARCH_SHARE }
    }

    /// Whether no stage is left.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// The stages so far.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Whether so many canaries were unanswered at the first rate that it may be above the knee already.
    pub fn begins_with_loss(&self) -> bool {
        let first = self.stages.first().and_then(|stage| stage.unanswered);
        first.is_some_and(|(_, interval)| interval.lower > MUCH)
    }

    /// How it stands, for those who look at the scan.
    pub fn state(&self) -> State {
        let knee = self.knee();
        State {
            stage: "calibrating".to_owned(),
            knee_pps: knee.map(|knee| knee.pps),
            knee_error: knee.map(|knee| knee.error),
            bottleneck: knee.map(|knee| knee.cause.name().to_owned()),
            answered_share: (self.reference.sums.canaries > 0.0).then(|| self.reference.canary_share()),
            decisions: self.stages.len() as u64,
            last_decision: self.stages.last().map(ToString::to_string),
            ..State::default()
        }
    }

    /// What it has found so far.
    pub fn outcome(&self) -> Outcome {
        let clean = |stage: &&Stage| matches!(stage.finding, Finding::Base | Finding::Clean);
        let fastest = self.stages.iter().filter(clean).map(|stage| stage.sent_pps).fold(0.0, f64::max);
        match (self.knee(), self.bound, fastest > 0.0) {
            (Some(knee), ..) => Outcome::Knee(knee),
            (None, Some(Bound::Cap), _) => Outcome::Clean(self.rate_pps, Bound::Cap),
            (None, Some(bound), true) => Outcome::Clean(fastest, bound),
            (None, Some(_), false) => Outcome::TooFew,
            (None, None, _) => Outcome::Unfinished((fastest > 0.0).then_some(fastest)),
        }
    }

    /// Takes the facts of a slot, reported at `now`. Each slot is reported once, in their order. Returns the stage that
    /// has ended with it.
    pub fn observe(&mut self, now: Duration, slot: &Slot) -> Option<&Stage> {
        if self.is_done() || slot.at < self.since + SETTLING_SLOTS * SLOT {
            return None;
        }
        self.slots.push(*slot);
        let count = self.slots.len() as u32 + SETTLING_SLOTS;
        if count < STAGE_SLOTS {
            return None;
        }
        let sums = self.sums();
        let (finding, loss) = self.judge(&sums, count)?;
        let stage = self.stage(&sums, loss.as_ref(), finding);
        self.stages.push(stage);
        match finding {
            Finding::Base | Finding::Clean => {
                self.slots.iter().for_each(|slot| self.reference.add(slot, true));
            }
            Finding::Lossy => self.knees.extend(self.knee_of(&sums, loss.as_ref())),
            Finding::Unknown | Finding::Short => {}
        }
        self.go_on(now, finding);
        self.stages.last()
    }

    /// Nothing was sent for a while, until `now`: the stage begins anew.
    pub fn interrupt(&mut self, now: Duration) {
        self.since = now;
        self.slots.clear();
    }

    /// From `now` on the rate is at most `cap_pps`; 0: no other cap than before.
    pub fn cap(&mut self, now: Duration, cap_pps: f64) {
        if cap_pps > 0.0 {
            self.steps.0.retain(|rate| *rate < cap_pps);
            self.steps.0.push(cap_pps);
            self.rate_pps = self.rate_pps.min(cap_pps);
            self.interrupt(now);
        }
    }

    /// What a stage of so many slots shows; `None` if it has to go on.
    fn judge(&self, sums: &Sums, count: u32) -> Option<(Finding, Option<Loss>)> {
        let is_short = sums.rate_pps() < SHORT * self.rate_pps;
        if self.stages.is_empty() {
            let finding = match sums.is_enough() {
                _ if is_short => Finding::Short,
                true => Finding::Base,
                false => Finding::Unknown,
            };
            return (is_exact(sums) || count >= FIRST_SLOTS_MAX).then_some((finding, None));
        }
        let loss = self.reference.loss(sums);
        let finding = match loss.map_or(Verdict::Open, |loss| loss.verdict(TESTED_LOSS)) {
            _ if sums.loses_replies() => Finding::Lossy,
            Verdict::Lossy => Finding::Lossy,
            // What did leave may be above the knee nevertheless, which is seen first.
            _ if is_short => Finding::Short,
            Verdict::Clean => Finding::Clean,
            Verdict::Open => Finding::Unknown,
        };
        (finding != Finding::Unknown || count >= STAGE_SLOTS_MAX).then_some((finding, loss))
    }

    /// After a stage.
    fn go_on(&mut self, now: Duration, finding: Finding) {
        let knee = self.knee();
        let next = match (self.phase, finding, knee) {
            (Phase::Rising(_), Finding::Lossy, Some(knee)) => Some((Phase::Above, ABOVE * knee.pps)),
            (Phase::Rising(step), Finding::Base | Finding::Clean, _) => {
                self.steps.0.get(step + 1).map(|rate| (Phase::Rising(step + 1), *rate))
            }
            (Phase::Above, _, Some(knee)) => Some((Phase::Below, below(knee))),
            _ => None,
        };
        self.since = now;
        self.slots.clear();
        let Some((phase, rate_pps)) = next else {
            self.bound = Some(match finding {
                Finding::Unknown => Bound::Blind,
                Finding::Short => Bound::Sender,
                _ => Bound::Cap,
            });
            self.phase = Phase::Done;
            return;
        };
        self.phase = phase;
        self.rate_pps = rate_pps.min(self.steps.0.last().copied().unwrap_or(rate_pps));
    }

    /// The knee that a stage shows.
    fn knee_of(&self, sums: &Sums, loss: Option<&Loss>) -> Option<Knee> {
        if loss.is_none_or(|loss| sums.is_own(loss)) {
            // As many replies as come in now, with the canaries of a scan that holds its rate.
            let replies = |share| self.reference.replies_at(share).max(1e-9);
            let pps = sums.rate_pps() * (1.0 - sums.own_share()) * replies(sums.canary_share())
                / replies(HOLD_SHARE);
            let error = (self.reference.reply_dispersion() / sums.replies.max(1.0)).sqrt();
            return Some(Knee { pps, error, cause: Cause::Receiver });
        }
        Some(self.reference.path_knee(sums, loss?))
    }

    /// The knee: that of the last stage above it, as the others were farther away, and what the stage below it shows if
    /// that loses as well.
    fn knee(&self) -> Option<Knee> {
        self.knees.last().copied()
    }

    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        self.slots.iter().for_each(|slot| sums.add(slot, true));
        sums
    }

    fn stage(&self, sums: &Sums, loss: Option<&Loss>, finding: Finding) -> Stage {
        let canaries = canaries::Slot {
            sent: sums.canaries as u64,
            answered: sums.answered as u64,
            ..canaries::Slot::default()
        };
        let interval = |[lower, upper]: [f64; 2]| Interval { lower, upper };
        let unanswered = canaries::Estimate::of(&canaries, sums.own_share());
        let mut rtts: Vec<Duration> = self.slots.iter().filter_map(|slot| slot.rtt).collect();
        rtts.sort_unstable();
        Stage {
            rate_pps: self.rate_pps,
            sent_pps: sums.rate_pps(),
            seconds: sums.seconds,
            probes: sums.probes as u64,
            replies: sums.replies as u64,
            canaries: canaries.sent,
            answered: canaries.answered,
            unanswered: unanswered.map(|found| (found.loss, interval([found.low, found.high]))),
            lost: loss.map(|loss| (loss.lost(), interval(loss.interval()))),
            own: sums.own_share(),
            rtt: rtts.get(rtts.len() / 2).copied(),
            finding,
        }
    }
}

/// Whether so much was answered that others can be compared with it.
fn is_exact(sums: &Sums) -> bool {
    let error = Reference::of(*sums).loss(sums).map_or(f64::INFINITY, |loss| loss.error());
    // That is the error of both sides of the comparison.
    sums.is_enough() && error <= BASE_ERROR * std::f64::consts::SQRT_2
}

#[cfg(test)]
mod tests {
    use super::super::LAG_SLOTS;
    use super::super::stages::STEP;
    use super::*;

    /// A path that carries so many probes per second, and loses a share of them whatever the rate is.
    struct Path {
        knee_pps: f64,
        hit_rate: f64,
        lost: f64,
        sends_pps: f64,
    }

    const PATH: Path = Path { knee_pps: 30_000.0, hit_rate: 0.02, lost: 0.0, sends_pps: 1e9 };

    fn climb(path: &Path, cap_pps: f64) -> Ladder {
        let mut ladder = Ladder::new(Steps::up_to(cap_pps));
        let (mut answers, mut hits) = (0.0, 0.0);
        for number in 0..10_000_u32 {
            let wish = ladder.wish();
            assert!(wish.rate_pps <= cap_pps);
            let sent = (wish.rate_pps.min(path.sends_pps) * SLOT.as_secs_f64()).round();
            let canaries = if path.hit_rate > 0.0 { (sent * wish.canary_share).round() } else { 0.0 };
            let arrive = (path.knee_pps * SLOT.as_secs_f64() / sent).min(1.0) * (1.0 - path.lost);
            // Chance, in a simple form: answers are a little more, then a little less. Parts of one are for later.
            let chance = 1.0 + if number % 2 == 0 { 0.004 } else { -0.004 };
            let whole = |sum: &mut f64, more: f64| {
                let before = sum.floor();
                *sum += more;
                (sum.floor() - before) as u64
            };
            let slot = Slot {
                at: SLOT * number,
                length: SLOT,
                probes: (sent - canaries) as u64,
                canaries: canaries as u64,
                answered: whole(&mut answers, canaries * 0.97 * arrive * chance),
                replies: whole(&mut hits, (sent - canaries) * path.hit_rate * arrive * chance),
                ..Slot::default()
            };
            ladder.observe(slot.at + SLOT * (LAG_SLOTS + 1), &slot);
            if ladder.is_done() {
                break;
            }
        }
        assert!(ladder.is_done());
        ladder
    }

    fn findings(ladder: &Ladder) -> Vec<Finding> {
        ladder.stages().iter().map(|stage| stage.finding).collect()
    }

    #[test]
    fn finds_a_knee_and_stops_above_it() {
        for lost in [0.0, 0.2] {
            let ladder = climb(&Path { lost, ..PATH }, 1e6);
            let Outcome::Knee(knee) = ladder.outcome() else { panic!("{ladder:?}") };
            assert!((knee.pps / 30_000.0 - 1.0).abs() < 0.03, "{knee:?}");
            let recommended = ladder.outcome().recommended_pps().unwrap();
            assert!((27_000.0..=30_000.0).contains(&recommended), "{recommended}");
            let fastest = ladder.stages().iter().map(|stage| stage.rate_pps).fold(0.0, f64::max);
            assert!(fastest < 30_000.0 * STEP * STEP, "{fastest}");
            let last = &findings(&ladder)[ladder.stages().len() - 3..];
            assert_eq!(last, [Finding::Lossy, Finding::Lossy, Finding::Clean], "{ladder:?}");
            assert_eq!(ladder.begins_with_loss(), lost > 0.0);
            let (share, interval) = ladder.stages()[ladder.stages().len() - 2].lost.unwrap();
            assert!(interval.lower <= share && share <= interval.upper);
            assert!(
                interval.lower <= 1.0 - 1.0 / ABOVE && 1.0 - 1.0 / ABOVE <= interval.upper,
                "{interval:?}"
            );
        }
    }

    #[test]
    fn ends_without_a_knee() {
        let ladder = climb(&PATH, 20_000.0);
        assert_eq!(ladder.outcome(), Outcome::Clean(20_000.0, Bound::Cap));
        assert_eq!(ladder.outcome().recommended_pps(), Some(20_000.0));
        let ladder = climb(&Path { sends_pps: 8_900.0, ..PATH }, 20_000.0);
        let Outcome::Clean(pps, Bound::Sender) = ladder.outcome() else { panic!("{ladder:?}") };
        assert!((6_000.0..=9_000.0).contains(&pps), "{pps}");
        let ladder = climb(&Path { hit_rate: 0.0, ..PATH }, 20_000.0);
        assert_eq!((ladder.outcome(), ladder.outcome().recommended_pps()), (Outcome::TooFew, None));
        assert_eq!(findings(&ladder), [Finding::Unknown]);
        assert_eq!(Ladder::new(Steps::up_to(1e4)).outcome(), Outcome::Unfinished(None));
    }

    /// Replies that are lost in our own rings are told apart.
    #[test]
    fn losses_of_our_own() {
        let mut ladder = Ladder::new(Steps::up_to(100_000.0));
        for number in 0..2_000_u32 {
            let wish = ladder.wish();
            let sent = wish.rate_pps * SLOT.as_secs_f64();
            let canaries = sent * wish.canary_share;
            let replies = sent * 0.5;
            let kept = (10_000.0 * SLOT.as_secs_f64() / replies).min(1.0);
            let slot = Slot {
                at: SLOT * number,
                length: SLOT,
                probes: (sent - canaries) as u64,
                canaries: canaries as u64,
                answered: (0.97 * canaries * kept) as u64,
                replies: (replies * kept) as u64,
                own_losses: (replies * (1.0 - kept)) as u64,
                ..Slot::default()
            };
            ladder.observe(slot.at + SLOT * (LAG_SLOTS + 1), &slot);
        }
        let Outcome::Knee(knee) = ladder.outcome() else { panic!("{ladder:?}") };
        assert_eq!(knee.cause, Cause::Receiver);
        assert!((0.9..1.1).contains(&(knee.pps / 20_000.0)), "{knee:?}");
        assert!(ladder.stages().iter().any(|stage| stage.own > 0.05));
    }

    /// A user's rate is the most from then on, and a pause lets a stage begin anew.
    #[test]
    fn users_and_pauses() {
        let mut ladder = Ladder::new(Steps::up_to(100_000.0));
        ladder.cap(Duration::from_secs(1), 2_000.0);
        assert_eq!((ladder.wish().rate_pps, ladder.steps.rates_pps()), (2_000.0, &[2_000.0][..]));
        ladder.interrupt(Duration::from_secs(60));
        let slot = Slot { at: Duration::from_secs(60), length: SLOT, probes: 400, ..Slot::default() };
        assert!(ladder.observe(Duration::from_secs(61), &slot).is_none() && ladder.slots.is_empty());
    }
}
