//! The watch while a rate is held: two cumulative sums (CUSUM), one of the evidence for loss on the way, one of
//! replies that were lost at our side.
//!
//! Page's procedure (E. S. Page, Continuous inspection schemes, Biometrika 41, 1954): S = max(0, S + the logarithm of
//! the likelihood ratio of a slot); alarm at [`ALARM`]. The mean time to a false alarm is at least e^h slots (Lorden,
//! 1971).

use std::time::Duration;

use super::evidence::{Reference, Sums};
use super::slot::Slot;

/// The loss that the watch is tuned for: 4 %. It finds anything above about half of that in time. Lower: a small loss
/// is found, but any loss later. Higher: a small loss is never found.
pub const WATCHED_LOSS: f64 = 0.04;
/// The alarm: h = ln(432,000), the slots of a day. Lower: more false alarms, each of which costs some seconds of a
/// lower rate. Higher: real loss is noticed later.
pub const ALARM: f64 = 13.0;
/// What a slot may add at most, as shares of the alarm: canaries, and replies, whose times of arrival vary more. So a
/// stalled machine is no alarm: it takes three slots, or six.
const MOST: [f64; 2] = [ALARM / 2.5, ALARM / 5.5];
/// The share of replies that may be lost at our side without an alarm: 1 %.
const OWN_SHARE: f64 = 0.01;
/// So many more than that, and it is one.
const OWN_ALARM: f64 = 20.0;

/// The sums, and the slots since they were last zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alarm {
    evidence: f64,
    own: f64,
    since: Option<Duration>,
    pub(super) sums: Sums,
}

impl Alarm {
    /// Adds a slot. Returns since when something may be lost, if that is certain enough.
    pub(super) fn look(&mut self, slot: &Slot, is_steady: bool, reference: &Reference) -> Option<Duration> {
        let canaries = canary_evidence(slot, reference).min(MOST[0]);
        let replies = if is_steady { reply_evidence(slot, reference).min(MOST[1]) } else { 0.0 };
        self.evidence = (self.evidence + canaries + replies).max(0.0);
        let own = slot.own_losses as f64;
        let heard = (slot.replies + slot.answered) as f64;
        self.own = (self.own + own - OWN_SHARE * (heard + own)).max(0.0);
        if self.evidence <= 0.0 && self.own <= 0.0 {
            *self = Self::default();
            return None;
        }
        self.since.get_or_insert(slot.at);
        self.sums.add(slot, is_steady);
        self.since.filter(|_| self.evidence >= ALARM || self.own >= OWN_ALARM)
    }
}

/// The likelihood ratio of a slot's canaries: binomial, under the watched loss and under none.
fn canary_evidence(slot: &Slot, reference: &Reference) -> f64 {
    let (sent, answered) = (slot.canaries as f64, slot.answered as f64);
    if reference.sums.canaries < 1.0 {
        return 0.0;
    }
    let share = reference.canary_share();
    let lossy = share * (1.0 - WATCHED_LOSS);
    let ratio =
        (sent - answered) * ((1.0 - lossy) / (1.0 - share)).ln() + answered * (1.0 - WATCHED_LOSS).ln();
    ratio / reference.canary_dispersion()
}

/// The same of ordinary replies: Poisson.
fn reply_evidence(slot: &Slot, reference: &Reference) -> f64 {
    if !reference.has_replies() {
        return 0.0;
    }
    let expected = slot.probes as f64 * reference.reply_share();
    let ratio = slot.replies as f64 * (1.0 - WATCHED_LOSS).ln() + expected * WATCHED_LOSS;
    ratio / reference.reply_dispersion()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Reference {
        let sums = Sums {
            canaries: 10_000.0,
            answered: 9_700.0,
            replies: 10_000.0,
            replies_of: 1e6,
            ..Sums::default()
        };
        Reference::of(sums)
    }

    /// Slots until the alarm, up to a minute, with this share of what is answered without loss.
    fn alarm_after(delivered: f64, probes: u64, canaries: u64) -> Option<u32> {
        let mut alarm = Alarm::default();
        let answered = (canaries as f64 * 0.97 * delivered).round() as u64;
        let replies = (probes as f64 * 0.01 * delivered).round() as u64;
        (0..300).find(|slot| {
            let at = *slot * super::super::slot::SLOT;
            let slot = Slot { at, probes, canaries, answered, replies, ..Slot::default() };
            alarm.look(&slot, true, &reference()).is_some()
        })
    }

    #[test]
    fn half_is_noticed_at_once_and_nothing_never() {
        assert_eq!(alarm_after(1.0, 20_000, 20), None);
        assert!(alarm_after(0.5, 20_000, 20).unwrap() <= 5);
        assert!(alarm_after(0.9, 20_000, 20).unwrap() <= 40);
        assert!(alarm_after(0.5, 20_000, 0).unwrap() <= 20, "without canaries");
        assert!(alarm_after(0.5, 0, 20).unwrap() <= 5, "without replies");
    }

    /// One slot in which nothing arrived is a stall.
    #[test]
    fn a_stall_is_no_alarm() {
        let mut alarm = Alarm::default();
        let slot = Slot { probes: 20_000, canaries: 20, ..Slot::default() };
        assert_eq!(alarm.look(&slot, true, &reference()), None);
        let late = Slot { answered: 19, replies: 400, ..slot };
        assert_eq!(alarm.look(&late, true, &reference()), None);
    }

    #[test]
    fn own_losses_are_counted() {
        let mut alarm = Alarm::default();
        let slot = |second, own_losses| Slot {
            at: Duration::from_secs(second),
            probes: 20_000,
            replies: 200,
            own_losses,
            ..Slot::default()
        };
        assert_eq!(alarm.look(&slot(1, 2), true, &reference()), None, "one in a hundred");
        assert_eq!(alarm.look(&slot(2, 15), true, &reference()), None);
        assert_eq!(alarm.look(&slot(3, 15), true, &reference()), Some(Duration::from_secs(2)));
    }
}
