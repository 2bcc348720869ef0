//! The search: rising, draining, measuring.

use std::time::Duration;

use super::evidence::{Sums, Verdict};
use super::{Bound, Doing, Former, Governor, HOLD_SHARE, SLOT, Slot, What, is_steady};

/// How much faster each step of the slow start is.
const RISE: f64 = 2.0;
/// The loss that a step of the slow start looks for. A knee between the step before and this one loses a quarter on
/// average; a smaller loss is found in the next step. Lower: each step takes longer. Higher: the last step is farther
/// above the knee.
pub(super) const RISING_LOSS: f64 = 0.2;
/// How far above the knee it is measured. Lower: more canaries are needed to see it. Higher: more is lost and sent
/// again.
pub(super) const ABOVE: f64 = 1.15;
/// The loss that is looked for there, less than the 13 % that are expected.
const MEASURED_LOSS: f64 = 0.08;
/// How much faster it goes on where no loss is found there.
const CLIMB: f64 = 1.25;
/// The relative standard error of a knee that is good enough.
pub(super) const EXACT: f64 = 0.011;
/// The same of the first guess.
const ROUGH: f64 = 0.1;
/// Most slots of a measurement. Lower: a knee is less exact where few hosts answer. Higher: more is sent again.
const SLOTS_MAX: usize = 20;
/// Slots without loss above the knee that show that it is higher. A queue or the burst that a policer lets pass takes
/// up an excess of 15 % for a while: in 1.6 s, that of 240 ms. Lower: such a buffer looks like a higher knee. Higher:
/// each step upwards takes longer.
const CLEAN_SLOTS: usize = 8;
/// Slots with a full buffer that a knee is measured in, at least.
const FULL_SLOTS: f64 = 3.0;
/// From this share of the loss in the last slots on the buffer is full.
const FULL: f64 = 0.7;
/// Slots after which the slow start goes on if nothing points to a loss.
const PATIENCE_SLOTS: usize = 10;
/// A sender that keeps less than this share of a rate does not keep it, after so many slots: a machine may be busy for
/// a moment.
pub(super) const SHORT: f64 = 0.9;
const SHORT_SLOTS: usize = 5;
/// Slots of the first step if next to nothing is answered, after which the rate is held.
pub(super) const BLIND_SLOTS: usize = 100;
/// The rate below a guessed knee at which queues drain.
const DRAINING: f64 = 0.7;
/// For so long.
pub(super) const DRAIN: Duration = SLOT.saturating_mul(5);
/// What was sent above this share of a knee may have been lost, and above this share of one that is guessed.
pub(super) const SAFE: f64 = 0.97;
const SAFE_GUESS: f64 = 0.88;

impl Governor {
    /// After a slot of the slow start.
    pub(super) fn rise(&mut self, now: Duration) {
        let sums = self.sums();
        if !self.reference.sums.is_enough() {
            return self.collect(now);
        }
        let loss = self.reference.loss(&sums);
        let verdict = loss.map_or(Verdict::Open, |loss| loss.verdict(RISING_LOSS));
        let is_filling = self.step.last().is_some_and(|slot| self.is_slow(slot));
        match (verdict, loss) {
            _ if sums.loses_replies() => self.lose(now),
            (Verdict::Lossy, Some(loss)) if loss.error() <= ROUGH || self.step.len() >= SLOTS_MAX => {
                self.lose(now);
            }
            (Verdict::Clean, _) if !is_filling => self.rise_on(now, RISE, What::Rise),
            (Verdict::Open | Verdict::Clean, _) if is_filling && self.step.len() >= SLOTS_MAX => {
                self.lose(now);
            }
            (Verdict::Open, None) if self.step.len() >= PATIENCE_SLOTS => {
                self.rise_on(now, CLIMB, What::Creep);
            }
            (Verdict::Open, Some(loss))
                if self.step.len() >= PATIENCE_SLOTS && loss.lost() < RISING_LOSS / 2.0 && !is_filling =>
            {
                self.rise_on(now, (RISE + 1.0) / 2.0, What::Creep);
            }
            _ => {}
        }
    }

    /// Collects a reference at the first rate.
    fn collect(&mut self, now: Duration) {
        let slots = std::mem::take(&mut self.step);
        for slot in &slots {
            self.reference.add(slot, is_steady(slot, self.since));
            if let Some(rtt) = slot.rtt.filter(|_| slot.answered >= 10) {
                self.rtt = Some(self.rtt.map_or(rtt.as_secs_f64(), |known| known.min(rtt.as_secs_f64())));
            }
        }
        if self.reference.sums.is_enough() {
            self.rise_on(now, RISE, What::Rise);
        } else if now.saturating_sub(self.since) >= SLOT.saturating_mul(BLIND_SLOTS as u32) {
            // Only the cap says that the path may carry more.
            match self.cap_pps.is_finite() && self.wish.rate_pps < self.cap_pps {
                true => self.rise_on(now, CLIMB, What::Creep),
                false => self.hold(now, self.wish.rate_pps, Bound::Blind),
            }
        }
    }

    /// Goes on upwards, or holds where that is impossible.
    fn rise_on(&mut self, now: Duration, factor: f64, what: What) {
        let (asked, sent) = (self.wish.rate_pps, self.sums().rate_pps());
        let is_short = !self.step.is_empty() && sent < SHORT * asked;
        if is_short && self.step.len() < SHORT_SLOTS {
            return;
        }
        if matches!(what, What::Rise) {
            self.keep_step();
        }
        if is_short {
            return self.hold(now, sent, Bound::Sender);
        }
        if asked >= self.cap_pps {
            return self.hold(now, asked, Bound::Cap);
        }
        let former = if matches!(what, What::Rise) { Former::Clean } else { Former::Other };
        let stage = if matches!(self.stage, Doing::Measuring) { Doing::Measuring } else { Doing::Rising };
        self.go(now, asked * factor, stage, former);
        self.decide(now, what);
    }

    /// Something is lost: below the knee that two points give.
    fn lose(&mut self, now: Duration) {
        let over = self.sums();
        let lost = self.reference.loss(&over).map_or(over.own_share(), |loss| loss.lost());
        self.drain(now, over, What::Loss(lost));
    }

    /// Goes below the knee, for queues to empty, and for a reference of the same time.
    pub(super) fn drain(&mut self, now: Duration, over: Sums, what: What) {
        let (What::Loss(lost) | What::StepBack(lost)) = what else { return };
        let guess = self.guess(&over, lost);
        self.doubt(SAFE_GUESS * guess);
        let until = now + DRAIN;
        self.go(now, DRAINING * guess, Doing::Draining { until, over, lost }, Former::Lossy);
        self.decide(now, what);
    }

    /// Where the knee may be, if so much was lost of `over`.
    fn guess(&mut self, over: &Sums, lost: f64) -> f64 {
        let fallback = over.rate_pps() * (1.0 - lost);
        let loss = self.reference.loss(over);
        let (knee, received) = loss.map(|loss| self.knee_of(over, &loss)).unzip();
        self.receives_per_s = received.flatten();
        let pps = knee.map(|knee| knee.pps);
        pps.filter(|pps| pps.is_finite() && *pps > 0.0).unwrap_or(fallback).clamp(FLOOR, self.most(over))
    }

    /// No knee is above what was sent. There are fewer replies to it while a rate is held, if there are fewer canaries.
    fn most(&self, over: &Sums) -> f64 {
        let shares = [over.canary_share(), HOLD_SHARE];
        let replies = shares.map(|share| self.reference.replies_at(share).max(1e-9));
        over.rate_pps() * (replies[0] / replies[1]).max(1.0) + FLOOR
    }

    /// Queues are empty: measures the knee from a little above it.
    pub(super) fn drained(&mut self, now: Duration) {
        let Doing::Draining { over, lost, .. } = self.stage else { return };
        let guess = self.guess(&over, lost);
        if super::HELD * guess >= self.cap_pps {
            return self.hold(now, self.cap_pps, Bound::Cap);
        }
        self.guess_pps = Some(guess);
        self.go(now, ABOVE * guess, Doing::Measuring, Former::Clean);
        self.decide(now, What::Measure);
    }

    /// Measures from a little above the knee that is known.
    pub(super) fn try_above(&mut self, now: Duration, knee_pps: f64) {
        self.rates.clear();
        self.guess_pps = Some(knee_pps);
        self.go(now, ABOVE * knee_pps, Doing::Measuring, Former::Other);
        self.decide(now, What::Try);
    }

    /// After a slot above where the knee should be.
    pub(super) fn measure(&mut self, now: Duration) {
        let sums = self.sums();
        let Some(loss) = self.reference.loss(&sums) else {
            if self.step.len() >= SLOTS_MAX {
                self.hold(now, self.wish.rate_pps / ABOVE, Bound::Blind);
            }
            return;
        };
        let is_filling = self.step.last().is_some_and(|slot| self.is_slow(slot));
        let is_over = self.step.len() >= SLOTS_MAX;
        let is_own = sums.loses_replies();
        match loss.verdict(MEASURED_LOSS) {
            Verdict::Clean if !is_filling && !is_own && self.step.len() >= CLEAN_SLOTS => {
                self.rise_on(now, CLIMB, What::Rise);
            }
            Verdict::Lossy => self.conclude(now, is_over),
            _ if is_own => self.conclude(now, is_over),
            _ if is_over && (loss.lost() > 2.0 * loss.error() || is_filling) => self.conclude(now, true),
            _ if is_over => self.rise_on(now, CLIMB, What::Rise),
            _ => {}
        }
    }

    /// Finds the knee, if it is exact enough or there is no more time.
    fn conclude(&mut self, now: Duration, is_over: bool) {
        let over = self.overflowing();
        let Some(loss) = self.reference.loss(&over) else { return };
        let (knee, received) = self.knee_of(&over, &loss);
        let slots = if received.is_some() { 5.0 } else { FULL_SLOTS };
        let is_exact = loss.error() <= EXACT || received.is_some();
        if (!is_exact || over.seconds < slots * SLOT.as_secs_f64() * 0.9) && !is_over {
            return;
        }
        self.receives_per_s = received;
        self.found(now, knee);
    }

    /// The slots of the step from when the buffers before the bottleneck were full.
    fn overflowing(&self) -> Sums {
        let each = |slot: &Slot| {
            let mut sums = Sums::default();
            sums.add(slot, is_steady(slot, self.since));
            self.reference.loss(&sums).map_or(0.0, |loss| loss.lost())
        };
        let last = self.step.len().saturating_sub(2);
        let full = self.step[last..].iter().map(each).sum::<f64>() / (self.step.len() - last).max(1) as f64;
        let onset = self.step.iter().position(|slot| each(slot) > FULL * full).unwrap_or(0);
        // The slot in which they became full was half without loss.
        let from = if onset == 0 { 0 } else { (onset + 1).min(self.step.len() - 1) };
        let mut sums = Sums::default();
        for slot in &self.step[from..] {
            sums.add(slot, is_steady(slot, self.since));
        }
        sums
    }
}

/// No guess is below this.
const FLOOR: f64 = super::FLOOR_PPS;
