//! How many packets were lost, from canaries: the share, its interval, and what this host's own counters explain.
//!
//! The interval is Wilson's (E. B. Wilson, JASA 22, 1927), which is right for small shares as well. It is of the
//! canaries: hosts that answered once and are away the second time are among the losses, and no canary can tell them
//! apart.

use super::slot::Slot;

/// The quantile of the normal distribution for 95 %, both sides.
const Z: f64 = 1.959_963_985;

/// A loss, in shares from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Canaries without an answer.
    pub loss: f64,
    /// The lower end of its interval of 95 %.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// What this host itself is known to have lost of the frames for it. Not more than `loss`.
    pub own: f64,
    /// What the rest of the path lost, in both directions.
    pub path: f64,
}

impl Estimate {
    /// The loss in these slots together; `None` without canaries. `own` is the share of frames for the scan that this
    /// host is known to have lost.
    pub fn of(slot: &Slot, own: f64) -> Option<Self> {
        if slot.sent == 0 {
            return None;
        }
        let (count, loss) = (slot.sent as f64, slot.loss());
        let centre = loss + Z * Z / (2.0 * count);
        let half = Z * (loss * (1.0 - loss) / count + Z * Z / (4.0 * count * count)).sqrt();
        let scale = 1.0 + Z * Z / count;
        let own = own.min(loss);
        let path = if own < 1.0 { 1.0 - (1.0 - loss) / (1.0 - own) } else { 0.0 };
        Some(Self {
            loss,
            // Rounding must not put a bound on the wrong side of the loss.
            low: ((centre - half) / scale).clamp(0.0, loss),
            high: ((centre + half) / scale).clamp(loss, 1.0),
            own,
            path: path.max(0.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(sent: u64, answered: u64) -> Slot {
        Slot { sent, answered, ..Slot::default() }
    }

    /// Values of R: `binom::binom.wilson(50, 1000)` and its like.
    #[test]
    fn wilsons_interval() {
        let near = |value: f64, expected: f64| (value - expected).abs() < 5e-6;
        let found = Estimate::of(&slot(1_000, 950), 0.02).unwrap();
        assert!(near(found.low, 0.038_130) && near(found.high, 0.065_314), "{found:?}");
        assert!(near(found.path, 1.0 - 0.95 / 0.98) && near(found.own, 0.02), "{found:?}");
        let none = Estimate::of(&slot(100, 100), 0.5).unwrap();
        assert!(
            none.low == 0.0 && near(none.high, 0.036_995) && none.own == 0.0 && none.path == 0.0,
            "{none:?}"
        );
        let all = Estimate::of(&slot(10, 0), 1.0).unwrap();
        assert!(all.loss == 1.0 && all.high == 1.0 && all.path == 0.0, "{all:?}");
        assert_eq!(Estimate::of(&slot(0, 0), 0.0), None);
        for sent in 1..1_000 {
            let (none, all) = (Estimate::of(&slot(sent, sent), 0.0), Estimate::of(&slot(sent, 0), 0.0));
            assert_eq!((none.unwrap().low, all.unwrap().high), (0.0, 1.0), "{sent}");
        }
    }

    /// Of 2,000 simulated scans with a known loss, the interval has it in 95 of 100.
    #[test]
    fn the_interval_covers() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        for (loss, sent) in [(0.01, 3_000), (0.05, 600), (0.2, 200)] {
            let covered = (0..2_000).filter(|_| {
                let answered = (0..sent).filter(|_| random() >= loss).count() as u64;
                let found = Estimate::of(&slot(sent, answered), 0.0).unwrap();
                found.low <= loss && loss <= found.high
            });
            let covered = covered.count();
            assert!((1_860..=1_940).contains(&covered), "{loss}: {covered}");
        }
    }
}
