//! Holding: just below the knee, with a watch, and a try of more now and then.

use std::time::Duration;

use super::alarm::Alarm;
use super::evidence::Sums;
use super::{
    Bound, Cause, Doing, Former, Governor, HELD, HOLD_SHARE, Holding, Knee, SEARCH_SHARE, SLOT, Slot, What,
    Wish, search,
};

/// How long a rate is held until more is tried, at first. It doubles each time nothing has changed. Lower: more is sent
/// above the knee, and again. Higher: a path that gets better is used later.
pub(super) const TRY_AFTER: Duration = Duration::from_secs(60);
/// The longest such time.
const TRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// The same if the sender is the limit, as on a machine that was busy for a while.
const SENDER_AFTER: Duration = Duration::from_secs(10);
/// How long many canaries leave after a rate was chosen, or answers take longer.
const CLOSE: Duration = SLOT.saturating_mul(10);
/// So many slots in which answers take longer than before mean that a queue fills.
const SLOW_SLOTS: u32 = 3;
/// A knee that moves by less than this is the same.
const SAME: f64 = 0.05;
/// Canaries of the reference beyond which the older ones count less.
const REFERENCE_MAX: f64 = 30_000.0;

impl Governor {
    /// The knee is known: holds just below it.
    pub(super) fn found(&mut self, now: Duration, knee: Knee) {
        let before = self.knee.replace(knee);
        let is_same = before.is_some_and(|before| (knee.pps / before.pps - 1.0).abs() < SAME);
        self.patience = if is_same { (2 * self.patience).min(TRY_AFTER_MAX) } else { TRY_AFTER };
        self.doubt(search::SAFE * knee.pps);
        self.start_holding(now, below(knee), Bound::Knee);
        self.decide(now, What::Found(knee));
    }

    /// Holds a rate for another reason.
    pub(super) fn hold(&mut self, now: Duration, rate_pps: f64, bound: Bound) {
        self.start_holding(now, rate_pps, bound);
        self.decide(now, What::Hold(bound));
    }

    pub(super) fn start_holding(&mut self, now: Duration, rate_pps: f64, bound: Bound) {
        let try_at = match bound {
            Bound::Knee | Bound::Blind => Some(now + self.patience),
            // It costs nothing: what is not sent is not lost.
            Bound::Sender => Some(now + SENDER_AFTER),
            Bound::Cap => None,
        };
        let holding = Holding {
            bound,
            try_at,
            alarm: Alarm::default(),
            pending: Vec::new(),
            slow: 0,
            close_until: now + CLOSE,
        };
        self.go(now, rate_pps, Doing::Holding(holding), Former::Other);
        self.rates.clear();
        self.rates.push((now, self.wish.rate_pps));
    }

    /// After a slot of a rate that is held.
    pub(super) fn hold_on(&mut self, now: Duration, slot: &Slot, is_steady: bool) {
        self.step.clear();
        let is_slow = self.is_slow(slot);
        let Doing::Holding(holding) = &mut self.stage else { return };
        holding.slow = if is_slow { holding.slow + 1 } else { 0 };
        if let Some(since) = holding.alarm.look(slot, is_steady, &self.reference) {
            let all = holding.alarm.sums;
            // The evidence may have begun by chance, before the path did degrade: the last slots say how much is lost.
            let mut over = Sums::default();
            over.add(slot, is_steady);
            if let Some((before, is_steady)) = holding.pending.last() {
                over.add(before, *is_steady);
            }
            return self.step_back(now, since, &all, over);
        }
        holding.pending.push((*slot, is_steady));
        if holding.alarm.sums.seconds == 0.0 {
            for (slot, is_steady) in std::mem::take(&mut holding.pending) {
                self.reference.add(&slot, is_steady);
            }
            self.reference.forget_beyond(REFERENCE_MAX);
        }
        let is_news = holding.slow == SLOW_SLOTS;
        if is_news {
            holding.close_until = now + CLOSE;
        }
        let is_close = now < holding.close_until && self.receives_per_s.is_none();
        let canary_share = if is_close { SEARCH_SHARE } else { HOLD_SHARE };
        self.wish = Wish { canary_share, ..self.wish };
        if is_news {
            self.decide(now, What::Delay);
        }
        self.follow_hit_rate(now);
    }

    /// The path has degraded since then.
    fn step_back(&mut self, now: Duration, since: Duration, all: &Sums, over: Sums) {
        let of =
            |sums: &Sums| self.reference.loss(sums).map_or(0.0, |loss| loss.lost()).max(sums.own_share());
        let lost = of(all).max(of(&over));
        self.rates.clear();
        // As much before as the evidence may have begun within a slot.
        self.rates.push((since.saturating_sub(SLOT), f64::INFINITY));
        self.patience = TRY_AFTER;
        self.drain(now, over, What::StepBack(lost));
        // What was no loss before may be no measure now: what is lost at the low rate as well does not depend on it.
        self.reference.renew();
    }

    /// More may be possible by now.
    pub(super) fn try_more(&mut self, now: Duration) {
        let Doing::Holding(holding) = &self.stage else { return };
        if holding.try_at.is_none_or(|at| now < at) {
            return;
        }
        match (holding.bound, self.knee) {
            (Bound::Knee, Some(knee)) => self.try_above(now, knee.pps),
            _ => {
                self.rates.clear();
                // Still blind, it waits for replies, which the rate does not bring.
                let factor = if holding.bound == Bound::Blind { 1.0 } else { 1.5 };
                self.go(now, factor * self.wish.rate_pps, Doing::Rising, Former::Other);
                self.decide(now, What::Try);
            }
        }
    }

    /// A knee of our own side depends on the hit rate, which becomes known better and better.
    fn follow_hit_rate(&mut self, now: Duration) {
        let Some((received, Knee { cause: Cause::Receiver, .. })) = self.receives_per_s.zip(self.knee) else {
            return;
        };
        let knee = self.receiver_knee(received);
        let rate_pps = below(knee).min(self.cap_pps);
        self.knee = Some(knee);
        if (rate_pps / self.wish.rate_pps - 1.0).abs() > 0.01 {
            self.wish.rate_pps = rate_pps;
            self.decide(now, What::Hold(Bound::Knee));
        }
    }
}

/// The rate that is held below a knee: the farther below it the less exact it is.
pub(super) fn below(knee: Knee) -> f64 {
    HELD * knee.pps * (1.0 - (knee.error - search::EXACT).clamp(0.0, 0.1))
}
