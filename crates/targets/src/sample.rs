//! A random share of the targets, which a hash of each target selects: the same ones wherever and however often it is
//! asked, so that nobody has to remember them.

/// A share of the targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    key: u64,
    /// Hashes below it are selected; `None` if all are.
    below: Option<u64>,
}

impl Sample {
    /// The share that `key` selects: 0 is none, 1 is all.
    pub fn new(key: u64, share: f64) -> Self {
        let below = share.clamp(0.0, 1.0) * 2f64.powi(64);
        Self { key, below: (share < 1.0).then_some(below as u64) }
    }

    /// Whether this target is in it.
    #[inline]
    pub fn holds(&self, address: u32, port: u16) -> bool {
        let Some(below) = self.below else { return true };
        mixed(mixed(self.key ^ (u64::from(address) << 16 | u64::from(port))).wrapping_add(self.key)) < below
    }
}

/// Mixes all bits of a word (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
#[inline]
fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the targets 10.0.0.0/16, port 80 are in it.
    fn selected(sample: &Sample) -> usize {
        (0x0a00_0000..0x0a01_0000).filter(|&address| sample.holds(address, 80)).count()
    }

    #[test]
    fn a_share_of_the_targets() {
        for (share, expected) in
            [(0.0, 0.0), (0.01, 655.36), (0.25, 16_384.0), (0.999, 65_470.5), (1.0, 65_536.0)]
        {
            for key in [0, 1, 2, u64::MAX] {
                let found = selected(&Sample::new(key, share)) as f64;
                let deviation = (65_536.0 * share * (1.0 - share)).sqrt();
                assert!((found - expected).abs() <= 4.5 * deviation + 0.5, "{share} {key}: {found}");
            }
        }
        assert_eq!(Sample::new(7, 0.3), Sample::new(7, 0.3));
    }

    /// Neither neighbours nor ports of an address nor another key go together.
    #[test]
    fn what_is_alike_is_independent() {
        let [one, other] = [3, 4].map(|key| Sample::new(key, 0.5));
        let pairs = |is_alike: &dyn Fn(u32) -> bool| {
            let alike = (0..1 << 16).filter(|&number| is_alike(0xc000_0000 + number)).count();
            assert!((32_100..33_436).contains(&alike), "{alike}");
        };
        pairs(&|address| one.holds(address, 80) == one.holds(address ^ 1, 80));
        pairs(&|address| one.holds(address, 80) == one.holds(address, 443));
        pairs(&|address| one.holds(address, 80) == other.holds(address, 80));
        pairs(&|address| one.holds(address, 80) == one.holds(address ^ 0x0100_0000, 80));
    }
}
