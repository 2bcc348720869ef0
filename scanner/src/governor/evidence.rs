//! How much is lost, and how sure that is: the same share of canaries, or of probes, answered now and when nothing was
//! lost.
//!
//! The loss is that of a ratio: d = (x/n) / (x0/n0), the share that still arrives. Its logarithm is about normal, with
//! the variance phi ((1-p)/(p n) + (1-p0)/(p0 n0)). A loss that does not depend on the rate is in both shares and
//! cancels out. phi is the dispersion of the reference: hits cluster, and then the binomial variance is too small
//! (quasi-likelihood; McCullagh and Nelder, Generalized Linear Models, 1989, chapter 9). Canaries and ordinary replies
//! are two estimates of the same loss, weighted by their variances.

use super::slot::Slot;
use crate::estimate::NORMAL;

/// How often the test of a step finds a loss where there is none. The search goes on upwards then.
pub const FALSE_ALARM: f64 = 0.005;
/// How often it misses a loss of the share that it is about. The next step has a larger one.
pub const MISSED: f64 = 0.05;
/// A loss of more than so many standard errors is certain: once in 4,000 looks where there is none.
const CERTAIN: f64 = 3.5;
/// The smallest loss that matters.
const SMALLEST: f64 = 0.015;
/// The dispersion that is assumed before it is known: of canaries, each of which is another host.
const CANARY_DISPERSION: f64 = 1.2;
/// The same of replies: hosts that reply several times, and turns of a busy machine that move replies between slots.
const REPLY_DISPERSION: f64 = 4.0;
/// Slots from which on the dispersion is known. Lower: it is an accident. Higher: it is known later.
const DISPERSION_SLOTS: f64 = 8.0;
/// A share of answers is taken to be no better than this: a few answered canaries do not prove that all are.
const SHARE_MAX: f64 = 0.99;
/// Ordinary replies from which on their share says something. Lower: the normal approximation fails. Higher: scans
/// without canaries learn later.
const REPLIES_MIN: f64 = 30.0;
/// Canaries, or ordinary replies, that are enough of a reference to begin with.
const BASE_CANARIES: f64 = 80.0;
const BASE_REPLIES: f64 = 1_500.0;

/// Slots, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    /// How long they lasted.
    pub(super) seconds: f64,
    pub(super) probes: f64,
    pub(super) canaries: f64,
    pub(super) answered: f64,
    pub(super) own_losses: f64,
    /// All replies that were not lost at our side.
    pub(super) received: f64,
    /// Replies to ordinary probes in those slots that followed no change of the rate.
    pub(super) replies: f64,
    /// The probes of those slots.
    pub(super) replies_of: f64,
    /// The resets of those slots.
    pub(super) resets: f64,
}

impl Sums {
    /// Adds a slot. `is_steady` if its replies are to probes of the same rate.
    pub(super) fn add(&mut self, slot: &Slot, is_steady: bool) {
        self.seconds += slot.length.as_secs_f64();
        self.probes += slot.probes as f64;
        self.canaries += slot.canaries as f64;
        self.answered += slot.answered as f64;
        self.own_losses += slot.own_losses as f64;
        self.received += (slot.replies + slot.answered) as f64;
        if is_steady {
            self.replies += slot.replies as f64;
            self.replies_of += slot.probes as f64;
            self.resets += slot.resets as f64;
        }
    }

    fn halve(&mut self) {
        let Self { seconds, probes, canaries, answered, own_losses, received, replies, replies_of, resets } =
            self;
        for sum in [seconds, probes, canaries, answered, own_losses, received, replies, replies_of, resets] {
            *sum /= 2.0;
        }
    }

    /// Probes and canaries per second.
    pub(super) fn rate_pps(&self) -> f64 {
        if self.seconds > 0.0 { (self.probes + self.canaries) / self.seconds } else { 0.0 }
    }

    /// The share of canaries among what was sent.
    pub(super) fn canary_share(&self) -> f64 {
        self.canaries / (self.probes + self.canaries).max(1.0)
    }

    /// Whether there are enough answers to begin with.
    pub(super) fn is_enough(&self) -> bool {
        self.canaries >= BASE_CANARIES || self.replies >= BASE_REPLIES
    }

    /// Whether our own counters say that replies are lost.
    pub(super) fn loses_replies(&self) -> bool {
        self.own_losses >= 30.0 && self.own_share() > 0.03
    }

    /// The share of replies that were lost at our side.
    pub(super) fn own_share(&self) -> f64 {
        self.own_losses / (self.received + self.own_losses).max(1.0)
    }
}

/// What is lost compared with the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Loss {
    /// The negative logarithm of the share that still arrives.
    log: f64,
    variance: f64,
}

impl Loss {
    /// The share that still arrives, at most 1.
    pub(super) fn delivered(&self) -> f64 {
        (-self.log).exp().min(1.0)
    }

    /// The share that is lost, at least 0.
    pub(super) fn lost(&self) -> f64 {
        1.0 - self.delivered()
    }

    /// The share that is lost, from where to where it is in 95 of 100 cases; not below 0.
    pub(super) fn interval(&self) -> [f64; 2] {
        let reach = NORMAL * self.error();
        [self.log - reach, self.log + reach].map(|log| (1.0 - (-log).exp()).max(0.0))
    }

    /// The relative standard error of the share that arrives.
    pub(super) fn error(&self) -> f64 {
        self.variance.sqrt()
    }

    /// Wald's sequential test of a loss of `share` against none. A smaller loss that is certain is a loss as well:
    /// otherwise it would become part of the reference.
    pub(super) fn verdict(&self, share: f64) -> Verdict {
        if self.log > CERTAIN * self.error() && self.lost() > SMALLEST {
            return Verdict::Lossy;
        }
        let least = -(1.0 - share).ln();
        let ratio = least * (self.log - least / 2.0) / self.variance;
        match ratio {
            ratio if ratio >= ((1.0 - MISSED) / FALSE_ALARM).ln() => Verdict::Lossy,
            ratio if ratio <= (MISSED / (1.0 - FALSE_ALARM)).ln() => Verdict::Clean,
            _ => Verdict::Open,
        }
    }
}

/// The outcome of a test so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is lost.
    Clean,
    /// Something is lost.
    Lossy,
    /// More is to be seen.
    Open,
}

/// How much more the numbers of slots vary than by chance alone.
#[derive(Clone, Copy, Debug, Default)]
struct Dispersion {
    squares: f64,
    slots: f64,
}

impl Dispersion {
    fn add(&mut self, count: f64, trials: f64, share: f64) {
        let variance = trials * share * (1.0 - share).max(1.0 - SHARE_MAX);
        if variance > 1.0 {
            self.squares += (count - trials * share).powi(2) / variance;
            self.slots += 1.0;
        }
    }

    fn of(&self, assumed: f64) -> f64 {
        if self.slots < DISPERSION_SLOTS { assumed } else { (self.squares / self.slots).max(1.0) }
    }
}

/// How canaries and probes are answered when nothing is lost because of the rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reference {
    pub(super) sums: Sums,
    canaries: Dispersion,
    replies: Dispersion,
}

impl Reference {
    /// Adds a slot in which nothing was lost because of the rate.
    pub(super) fn add(&mut self, slot: &Slot, is_steady: bool) {
        if self.sums.canaries > 0.0 {
            self.canaries.add(slot.answered as f64, slot.canaries as f64, self.canary_share());
        }
        if is_steady && self.sums.replies >= REPLIES_MIN {
            self.replies.add(slot.replies as f64, slot.probes as f64, self.reply_share());
        }
        self.sums.add(slot, is_steady);
    }

    /// Lets older slots count less, once there are more canaries than that.
    pub(super) fn forget_beyond(&mut self, canaries: f64) {
        if self.sums.canaries > canaries || self.sums.replies > 100.0 * canaries {
            self.sums.halve();
        }
    }

    /// Forgets everything but the dispersions.
    pub(super) fn renew(&mut self) {
        self.sums = Sums::default();
    }

    /// That of these sums.
    pub(super) fn of(sums: Sums) -> Self {
        Self { sums, ..Self::default() }
    }

    /// The share of canaries that are answered.
    pub(super) fn canary_share(&self) -> f64 {
        ((self.sums.answered + 0.5) / (self.sums.canaries + 1.0)).min(SHARE_MAX)
    }

    /// Replies per ordinary probe.
    pub(super) fn reply_share(&self) -> f64 {
        (self.sums.replies / self.sums.replies_of.max(1.0)).min(SHARE_MAX)
    }

    /// The dispersion of canaries.
    pub(super) fn canary_dispersion(&self) -> f64 {
        self.canaries.of(CANARY_DISPERSION)
    }

    /// The dispersion of replies; never taken to be less than assumed, because their times vary as well.
    pub(super) fn reply_dispersion(&self) -> f64 {
        self.replies.of(REPLY_DISPERSION).max(REPLY_DISPERSION)
    }

    /// Whether ordinary replies are numerous enough to be compared.
    pub(super) fn has_replies(&self) -> bool {
        self.sums.replies >= REPLIES_MIN
    }

    /// What is lost of `sums`, compared with this; `None` without a single canary or reply to compare.
    pub(super) fn loss(&self, sums: &Sums) -> Option<Loss> {
        let base = &self.sums;
        let canaries = ratio(
            (sums.answered, sums.canaries),
            (base.answered, base.canaries),
            self.canary_dispersion(),
            1.0,
        );
        let replies = ratio(
            (sums.replies, sums.replies_of),
            (base.replies, base.replies_of),
            self.reply_dispersion(),
            REPLIES_MIN,
        );
        match (canaries, replies) {
            (Some(one), Some(other)) => {
                let weights = (1.0 / one.variance, 1.0 / other.variance);
                let variance = 1.0 / (weights.0 + weights.1);
                Some(Loss { log: variance * (one.log * weights.0 + other.log * weights.1), variance })
            }
            (one, other) => one.or(other),
        }
    }
}

/// The loss between two shares, each as successes of trials. `least` successes are expected at least.
fn ratio(now: (f64, f64), base: (f64, f64), dispersion: f64, least: f64) -> Option<Loss> {
    let share = |(successes, trials): (f64, f64)| (successes + 0.5) / (trials + 1.0);
    let expected = now.1 * share(base);
    if base.0 < least || expected < least {
        return None;
    }
    let spread = |arm: (f64, f64)| {
        let share = share(arm).min(SHARE_MAX);
        (1.0 - share) / (share * arm.1)
    };
    let log = share(base).ln() - share(now).ln();
    Some(Loss { log, variance: dispersion * (spread(now) + spread(base)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(canaries: f64, answered: f64) -> Sums {
        Sums { canaries, answered, ..Sums::default() }
    }

    fn reference(canaries: f64, answered: f64) -> Reference {
        Reference::of(sums(canaries, answered))
    }

    /// The figures of `docs/rate.md`: 561 canaries a side show a loss of 5 %, at alpha = 0.01 and beta = 0.1.
    #[test]
    fn sizes_of_samples() {
        let size = |lost: f64, answered: f64| {
            let spread = |share: f64| (1.0 - share) / share;
            let both = spread(answered) + spread(answered * (1.0 - lost));
            (2.326 + 1.282_f64).powi(2) * both / (1.0 - lost).ln().powi(2)
        };
        for (lost, sample) in [(0.01, 9_370.0), (0.02, 2_630.0), (0.05, 569.0), (0.1, 205.0)] {
            assert!((size(lost, 0.97) / sample - 1.0).abs() < 0.1, "{lost}: {}", size(lost, 0.97));
        }
    }

    #[test]
    fn constant_loss_cancels_out() {
        for answered in [0.97, 0.92, 0.776] {
            let base = reference(5_000.0, 5_000.0 * answered);
            let same = base.loss(&sums(2_000.0, 2_000.0 * answered)).unwrap();
            assert!(same.lost() < 1e-3 && same.verdict(0.1) == Verdict::Clean, "{answered}: {same:?}");
            let half = base.loss(&sums(2_000.0, 1_000.0 * answered)).unwrap();
            assert!((half.lost() - 0.5).abs() < 1e-2 && half.verdict(0.1) == Verdict::Lossy);
        }
    }

    #[test]
    fn few_canaries_say_little() {
        let base = reference(40.0, 40.0);
        assert_eq!(base.loss(&sums(0.0, 0.0)), None);
        assert_eq!(base.loss(&sums(3.0, 2.0)).unwrap().verdict(0.1), Verdict::Open);
        assert_eq!(Reference::default().loss(&sums(100.0, 100.0)), None);
    }

    /// Replies count as well, and in proportion to what they say.
    #[test]
    fn replies_are_evidence() {
        let of = |hits: f64, base: f64| Sums { replies: hits, replies_of: 1e5, ..sums(100.0, base) };
        let base = Reference::of(of(5e4, 97.0));
        let lost = base.loss(&of(4e4, 97.0)).unwrap();
        assert!((lost.lost() - 0.2).abs() < 0.03 && lost.verdict(0.1) == Verdict::Lossy, "{lost:?}");
        let few = Reference::of(Sums { replies: 20.0, ..base.sums });
        assert!(few.loss(&Sums { replies: 2.0, ..few.sums }).unwrap().lost() < 0.01);
    }

    #[test]
    fn dispersion_is_measured() {
        let mut reference = Reference::default();
        for turn in 0..40 {
            let replies = if turn % 2 == 0 { 900 } else { 1_100 };
            let slot = Slot { probes: 10_000, replies, canaries: 100, answered: 97, ..Slot::default() };
            reference.add(&slot, true);
        }
        assert!((9.0..14.0).contains(&reference.reply_dispersion()), "{}", reference.reply_dispersion());
        assert!((reference.canary_dispersion() - 1.0).abs() < 1e-9);
    }
}
