//! Where the knee is, from what was sent above it: two points, of which the reference is the other.
//!
//! A path that carries C frames per second delivers d = C / F of F frames per second, so C = F d. Frames are probes,
//! canaries, and a reset for each reply that came, if resets are sent; the knee is the rate at which these add up to C.
//! If replies are lost at our side, as our own counters say, then what it received per second is the capacity, and the
//! knee is the rate at which there are so many replies. While a rate is held there are fewer canaries than in the
//! search, which matters where few hosts answer.

use super::evidence::{Loss, Sums};
use super::{Cause, Governor, HOLD_SHARE, Knee};

impl Governor {
    /// The knee, if `over` was sent above it and this was lost.
    pub(super) fn knee_of(&self, over: &Sums, loss: &Loss) -> (Knee, Option<f64>) {
        if over.own_losses >= 10.0 && over.own_share() > (loss.lost() - loss.error()) / 2.0 {
            let received = over.received / over.seconds;
            return (self.receiver_knee(received), Some(received));
        }
        let share = over.canaries / (over.probes + over.canaries).max(1.0);
        let (resets, delivered) = (self.resets_per_reply(), loss.delivered());
        let frames = over.rate_pps() * (1.0 + self.replies_at(share) * resets * delivered);
        let pps = frames * delivered / (1.0 + self.replies_at(HOLD_SHARE) * resets);
        (Knee { pps, error: loss.error(), cause: Cause::Path }, None)
    }

    /// The knee of a receiver of this many replies per second.
    pub(super) fn receiver_knee(&self, received_per_s: f64) -> Knee {
        let hits = self.heard.replies.max(1.0);
        let pps = received_per_s / self.replies_per_probe().max(1e-9);
        Knee { pps, error: (self.reference.reply_dispersion() / hits).sqrt(), cause: Cause::Receiver }
    }

    /// Replies without loss for each probe or canary, with this share of canaries.
    pub(super) fn replies_at(&self, share: f64) -> f64 {
        (1.0 - share) * self.reference.reply_share() + share * self.reference.canary_share()
    }

    /// The same while a rate is held, from all that was seen so far, if replies are lost at our side only.
    fn replies_per_probe(&self) -> f64 {
        let heard = &self.heard;
        let answered = self.reference.canary_share();
        // Which of them were lost at our side is unknown, but not how many there were in all.
        let all = heard.received + heard.own_losses;
        let share = (all - answered * heard.canaries) / heard.probes.max(1.0);
        (1.0 - HOLD_SHARE) * share.max(0.0) + HOLD_SHARE * answered
    }

    /// Resets that leave for each reply. Where canaries give many of the replies there is more than one for each reply
    /// to an ordinary probe.
    fn resets_per_reply(&self) -> f64 {
        let sums = &self.reference.sums;
        (sums.resets / sums.replies.max(1.0)).min(1.0)
    }
}
