//! The loss that canaries show, in words and as it is stored.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::engine::canaries::{Estimate, Series, Slot};

/// A loss is worth a warning if even the lower end of its interval is above this: one in fifty. Lower: hosts that
/// limit how often they answer, or went away, look like loss. Higher: real loss is not told.
pub const WORTH_A_WARNING: f64 = 0.02;

/// A loss, and whether it matters.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    estimate: Estimate,
    sent: u64,
    unanswered: u64,
}

impl Loss {
    /// The loss of these slots together; `None` without canaries. `own` is the share of frames for the scan that this
    /// host is known to have lost.
    pub fn of(slots: &Slot, own: f64) -> Option<Self> {
        let (sent, unanswered) = (slots.sent, slots.unanswered());
        Estimate::of(slots, own).map(|estimate| Self { estimate, sent, unanswered })
    }

    /// Whether packets are being lost beyond doubt, and not only a few.
    pub fn is_significant(&self) -> bool {
        self.estimate.low > WORTH_A_WARNING
    }

    /// It in percent, and the bounds of its interval.
    pub fn percent(&self) -> [f64; 3] {
        [self.estimate.loss, self.estimate.low, self.estimate.high].map(|share| share * 100.0)
    }

    /// As it is in the status line: `canary loss: 5.0% (4.1-6.2)`.
    pub fn short(&self) -> String {
        let [loss, low, high] = self.percent();
        format!("canary loss: {loss:.1}% ({low:.1}-{high:.1})")
    }

    /// A line of the log: what was measured, and if it matters, the likely cause and what to do.
    pub fn told(&self) -> String {
        let Self { estimate: Estimate { own, path, .. }, sent, unanswered } = *self;
        let [loss, low, high] = self.percent();
        let [own_percent, path] = [own, path].map(|share| share * 100.0);
        let mut text = format!(
            "canaries: {unanswered} of {sent} probes to hosts that had answered before got no answer: {loss:.2} % \
             ({low:.2} to {high:.2} %)"
        );
        if !self.is_significant() {
            return text;
        }
        // Writing to a string cannot fail.
        let _ = match own > 0.5 * self.estimate.loss {
            true => write!(
                text,
                "; this host itself lost {own_percent:.2} % of what came in, because its rings were full: use more \
                 queues or workers (-T), or a lower rate"
            ),
            false => write!(
                text,
                "; the path lost {path:.2} %, likely a link, a firewall or a provider that is given too much: about as \
                 many hosts are missing in the results; send at a lower rate (-r), or probe more often (-P)"
            ),
        };
        text
    }
}

/// What became of canaries, as the metadata have it. Shares are in percent.
#[derive(Clone, Debug, Serialize)]
pub struct StoredCanaries {
    share_percent: f64,
    sent: u64,
    answered: u64,
    refused: u64,
    errors: u64,
    unanswered: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<StoredLoss>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_us: Option<StoredRtts>,
    slots: Vec<StoredSlot>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct StoredLoss {
    percent: f64,
    low_percent: f64,
    high_percent: f64,
    own_percent: f64,
    path_percent: f64,
}

impl StoredLoss {
    fn of(slots: &Slot, own: f64) -> Option<Self> {
        Estimate::of(slots, own).map(|estimate| Self {
            percent: estimate.loss * 100.0,
            low_percent: estimate.low * 100.0,
            high_percent: estimate.high * 100.0,
            own_percent: estimate.own * 100.0,
            path_percent: estimate.path * 100.0,
        })
    }
}

/// Canaries of scans together, as metadata have them: what can be added up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PooledCanaries {
    sent: u64,
    answered: u64,
    refused: u64,
    errors: u64,
    unanswered: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss: Option<StoredLoss>,
}

impl PooledCanaries {
    /// Those of all parts of a scan. What hosts themselves lost is weighted by the canaries of each.
    pub fn of(parts: &[Self]) -> Self {
        let sum = |count: fn(&Self) -> u64| parts.iter().map(count).fold(0, u64::saturating_add);
        let slot = Slot {
            sent: sum(|part| part.sent),
            answered: sum(|part| part.answered),
            refused: sum(|part| part.refused),
            errors: sum(|part| part.errors),
            ..Slot::default()
        };
        let own = |part: &Self| part.loss.map_or(0.0, |loss| loss.own_percent / 100.0) * part.sent as f64;
        let own = parts.iter().map(own).sum::<f64>() / slot.sent.max(1) as f64;
        Self {
            sent: slot.sent,
            answered: slot.answered,
            refused: slot.refused,
            errors: slot.errors,
            unanswered: slot.unanswered(),
            loss: StoredLoss::of(&slot, own),
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
struct StoredRtts {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct StoredSlot {
    start_seconds: f64,
    seconds: f64,
    probes: u64,
    sent: u64,
    unanswered: u64,
    own_losses: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_p50_us: Option<u64>,
}

fn rtts(slot: &Slot) -> Option<StoredRtts> {
    let quantile = |share| slot.rtts.quantile(share).map(|time| time.as_micros() as u64);
    Some(StoredRtts {
        count: slot.rtts.count(),
        p50: quantile(0.5)?,
        p90: quantile(0.9)?,
        p99: quantile(0.99)?,
    })
}

impl StoredCanaries {
    /// Those of a scan that has ended, with a share of canaries and the share of frames that this host lost.
    pub fn of(series: &Series, share_ppm: u32, own: f64) -> Self {
        let total = series.total();
        let slot = |slot: &Slot| StoredSlot {
            start_seconds: slot.start.as_secs_f64(),
            seconds: slot.length.as_secs_f64(),
            probes: slot.probes,
            sent: slot.sent,
            unanswered: slot.unanswered(),
            own_losses: slot.own_losses,
            rtt_p50_us: rtts(slot).map(|rtts| rtts.p50),
        };
        Self {
            share_percent: f64::from(share_ppm) / 1e4,
            sent: total.sent,
            answered: total.answered,
            refused: total.refused,
            errors: total.errors,
            unanswered: total.unanswered(),
            loss: StoredLoss::of(total, own),
            rtt_us: rtts(total),
            slots: series.closed().iter().map(slot).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(sent: u64, answered: u64, own: f64) -> Loss {
        Loss::of(&Slot { sent, answered, ..Slot::default() }, own).unwrap()
    }

    #[test]
    fn only_loss_beyond_doubt_is_told_loudly() {
        assert!(!loss(100, 97, 0.0).is_significant(), "so few show nothing");
        assert!(!loss(100_000, 98_500, 0.0).is_significant(), "hosts go away");
        let path = loss(1_000, 950, 0.0);
        assert!(path.is_significant());
        assert_eq!(path.short(), "canary loss: 5.0% (3.8-6.5)");
        let text = path.told();
        assert!(text.contains("50 of 1000") && text.contains("the path lost 5.00 %"), "{text}");
        let text = loss(1_000, 950, 0.04).told();
        assert!(text.contains("this host itself lost 4.00 %") && text.contains("-T"), "{text}");
        assert!(Loss::of(&Slot::default(), 0.0).is_none());
    }

    /// The loss of all shards is that of their canaries together, and its interval is narrower than each of theirs.
    #[test]
    fn shards_are_pooled() {
        let shard = |sent: u64, answered: u64, own: f64| {
            let slot = Slot { sent, answered, ..Slot::default() };
            let loss = StoredLoss::of(&slot, own);
            PooledCanaries { sent, answered, refused: 0, errors: 0, unanswered: sent - answered, loss }
        };
        let whole = PooledCanaries::of(&[shard(1_000, 950, 0.0), shard(3_000, 2_850, 0.04)]);
        let loss = whole.loss.unwrap();
        assert_eq!((whole.sent, whole.unanswered), (4_000, 200));
        assert!((loss.percent - 5.0).abs() < 1e-9 && (loss.own_percent - 3.0).abs() < 1e-9, "{loss:?}");
        // Of R: `binom::binom.wilson(200, 4000)`.
        assert!(
            (loss.low_percent - 4.3667).abs() < 1e-3 && (loss.high_percent - 5.7196).abs() < 1e-3,
            "{loss:?}"
        );
        assert!(PooledCanaries::of(&[]).loss.is_none());
    }
}
