//! Hosts by their networks: the groups whose variance the interval of the missed hosts is made of.
//!
//! Hosts of one network are missed together, because they are behind the same filter and the same way. A network is a
//! /24, the smallest that is routed between providers. Each goes by its hash into one of a fixed number of groups, so
//! that the memory does not depend on who answers, and groups are of similar size however networks are numbered.

use super::dispersion::{Dispersion, Group};
use super::missed::Twice;

/// Groups of networks. Fewer: the variance between them is less exactly known. More: fewer hosts are in each, and less
/// of what they have in common shows.
pub const GROUPS: usize = 128;

/// Hosts that were probed twice, by their networks.
#[derive(Clone, Debug)]
pub struct Networks(Box<[Twice; GROUPS]>);

impl Default for Networks {
    fn default() -> Self {
        Self(Box::new([Twice::default(); GROUPS]))
    }
}

impl Networks {
    /// Networks of which each group was counted elsewhere.
    pub fn of_groups(group: impl Fn(usize) -> Twice) -> Self {
        Self(Box::new(std::array::from_fn(group)))
    }

    /// The number of an address's group, below [`GROUPS`].
    pub fn group(address: u32) -> usize {
        // Fibonacci hashing: the golden ratio spreads neighbours (D. E. Knuth, "The Art of Computer Programming",
        // volume 3, section 6.4).
        let hash = u64::from(address >> 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> (u64::BITS - GROUPS.ilog2())) as usize
    }

    /// The group of an address.
    pub fn of(&mut self, address: u32) -> &mut Twice {
        &mut self.0[Self::group(address)]
    }

    /// All networks together.
    pub fn total(&self) -> Twice {
        self.0.iter().fold(Twice::default(), |sum, group| sum.and(*group))
    }

    /// How much more the share that one probe misses differs between networks than by chance: the larger dispersion of
    /// the two probes.
    pub fn dispersion(&self) -> Dispersion {
        let between =
            |group: fn(&Twice) -> Group| Dispersion::between(&self.0.iter().map(group).collect::<Vec<_>>());
        let first = between(|twice| Group { trials: twice.both + twice.second_only, hits: twice.both });
        let second = between(|twice| Group { trials: twice.both + twice.first_only, hits: twice.both });
        if first.measured >= second.measured { first } else { second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_spread_evenly() {
        let mut networks = Networks::default();
        for network in 0..1u32 << 16 {
            networks.of(0x0a00_0000 + (network << 8) + network % 256).both += 1;
        }
        assert_eq!(networks.total(), Twice { both: 1 << 16, ..Twice::default() });
        let of_groups = networks.0.iter().map(|group| group.both);
        let (least, most) = (of_groups.clone().min().unwrap(), of_groups.max().unwrap());
        assert!(least > 400 && most < 640, "{least} to {most} of 512");
        let [mut one, mut other] = [Networks::default(), Networks::default()];
        one.of(0xc000_0201).both += 1;
        other.of(0xc000_02fe).both += 1;
        assert_eq!(one.0, other.0, "hosts of a network are in one group");
    }

    #[test]
    fn what_whole_networks_have_in_common_shows() {
        let (mut spread, mut together) = (Networks::default(), Networks::default());
        for host in 0..1u32 << 16 {
            let missed_alone = host.wrapping_mul(2_654_435_761) >> 24 < 26;
            let missed_together = (host >> 8).wrapping_mul(2_654_435_761) >> 24 < 26;
            for (networks, is_missed) in [(&mut spread, missed_alone), (&mut together, missed_together)] {
                let twice = networks.of(0x0a00_0000 + host);
                *(if is_missed { &mut twice.second_only } else { &mut twice.both }) += 1;
            }
        }
        assert!(spread.dispersion().measured < 1.6, "{:?}", spread.dispersion());
        assert!(together.dispersion().measured > 50.0, "{:?}", together.dispersion());
    }
}
