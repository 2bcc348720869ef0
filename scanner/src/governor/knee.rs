//! Where the knee is, from what was sent above it: two points, of which the reference is the other.
//!
//! A path that carries C frames per second delivers d = C / F of F frames per second, so C = F d. Frames are probes,
//! canaries, and a reset for each reply that came, if resets are sent; the knee is the rate at which these add up to C.
//! If replies are lost at our side, as our own counters say, then what it received per second is the capacity, and the
//! knee is the rate at which there are so many replies. While a rate is held there are fewer canaries than in the
//! search, which matters where few hosts answer.

use super::evidence::{Loss, Reference, Sums};
use super::{Cause, Governor, HOLD_SHARE, Knee};

impl Sums {
    /// Whether what is missing was lost at our side rather than on the path, if this was lost in all.
    pub(super) fn is_own(&self, loss: &Loss) -> bool {
        self.own_losses >= 10.0 && self.own_share() > (loss.lost() - loss.error()) / 2.0
    }
}

impl Reference {
    /// The knee of the path, if `over` was sent above it and this was lost.
    pub(super) fn path_knee(&self, over: &Sums, loss: &Loss) -> Knee {
        let (resets, delivered) = (self.resets_per_reply(), loss.delivered());
        let frames = over.rate_pps() * (1.0 + self.replies_at(over.canary_share()) * resets * delivered);
        let pps = frames * delivered / (1.0 + self.replies_at(HOLD_SHARE) * resets);
        Knee { pps, error: loss.error(), cause: Cause::Path }
    }

    /// Replies without loss for each probe or canary, with this share of canaries.
    pub(super) fn replies_at(&self, share: f64) -> f64 {
        (1.0 - share) * self.reply_share() + share * self.canary_share()
    }

    /// Resets that leave for each reply. Where canaries give many of the replies there is more than one for each reply
    /// to an ordinary probe.
    fn resets_per_reply(&self) -> f64 {
        (self.sums.resets / self.sums.replies.max(1.0)).min(1.0)
    }
}

impl Governor {
    /// The knee, if `over` was sent above it and this was lost. The second is how many replies per second our own side
    /// receives, if that is the bottleneck.
    pub(super) fn knee_of(&self, over: &Sums, loss: &Loss) -> (Knee, Option<f64>) {
        if over.is_own(loss) {
            let received = over.received / over.seconds;
            return (self.receiver_knee(received), Some(received));
        }
        (self.reference.path_knee(over, loss), None)
    }

    /// The knee of a receiver of this many replies per second.
    pub(super) fn receiver_knee(&self, received_per_s: f64) -> Knee {
        let hits = self.heard.replies.max(1.0);
        let pps = received_per_s / self.replies_per_probe().max(1e-9);
        Knee { pps, error: (self.reference.reply_dispersion() / hits).sqrt(), cause: Cause::Receiver }
    }

    /// Replies for each probe or canary while a rate is held, from all that was seen so far, if replies are lost at our
    /// side only.
    fn replies_per_probe(&self) -> f64 {
        let heard = &self.heard;
        let answered = self.reference.canary_share();
        // Which of them were lost at our side is unknown, but not how many there were in all.
        let all = heard.received + heard.own_losses;
        let share = (all - answered * heard.canaries) / heard.probes.max(1.0);
        (1.0 - HOLD_SHARE) * share.max(0.0) + HOLD_SHARE * answered
    }
}
