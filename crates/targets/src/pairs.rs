//! Targets as a list of (address, port) pairs, numbered.
//!
//! What always holds: pairs are sorted by address, then port, each once, so their numbers follow from the set alone.

use super::ranges::RangeSet;
use super::upper::UpperIndex;

/// A set of (address, port) pairs with access by rank and by pair: 6 bytes per pair, and one memory access per rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSet {
    /// Upper and lower half of the address, and the port.
    pairs: Box<[[u16; 3]]>,
    upper: Option<UpperIndex>,
}

/// How many pairs [`PairSet::new`] left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Repeats of a pair.
    pub duplicates: u64,
    /// Distinct pairs whose address was not permitted.
    pub removed: u64,
}

/// A pair as one number, in the order of the set.
fn key(address: u32, port: u16) -> u64 {
    u64::from(address) << 16 | u64::from(port)
}

impl PairSet {
    /// The pairs whose address is `permitted`.
    pub fn new(pairs: impl Iterator<Item = (u32, u16)>, permitted: &RangeSet) -> (Self, LeftOut) {
        let mut keys: Vec<u64> = pairs.map(|(address, port)| key(address, port)).collect();
        keys.sort_unstable();
        let given = keys.len();
        keys.dedup();
        let distinct = keys.len();
        let mut ranges = permitted.ranges();
        keys.retain(|&key| {
            let address = (key >> 16) as u32;
            while let [range, rest @ ..] = ranges
                && range.last() < address
            {
                ranges = rest;
            }
            ranges.first().is_some_and(|range| range.contains(address))
        });
        let left_out =
            LeftOut { duplicates: (given - distinct) as u64, removed: (distinct - keys.len()) as u64 };
        let pairs = keys.into_iter().map(|key| [(key >> 32) as u16, (key >> 16) as u16, key as u16]);
        let pairs: Box<[[u16; 3]]> = pairs.collect();
        let upper = UpperIndex::new(pairs.len(), pairs.iter().map(|&pair| split(pair).0));
        (Self { pairs, upper }, left_out)
    }

    /// How many pairs it holds.
    #[inline]
    pub fn len(&self) -> u64 {
        self.pairs.len() as u64
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether it holds the pair.
    #[inline]
    pub fn contains(&self, address: u32, port: u16) -> bool {
        let places = self.upper.as_ref().map_or(0..self.pairs.len(), |upper| upper.places(address));
        let pair = [(address >> 16) as u16, address as u16, port];
        self.pairs[places].binary_search(&pair).is_ok()
    }

    /// The pairs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u16)> + '_ {
        self.pairs.iter().map(|&pair| split(pair))
    }

    /// Writes the pairs with these ranks, which are below [`Self::len`], to `addresses` and `ports`.
    #[inline]
    pub(super) fn resolve(&self, ranks: &[u64], addresses: &mut [u32], ports: &mut [u16]) {
        for ((&rank, address), port) in ranks.iter().zip(addresses).zip(ports) {
            (*address, *port) = split(self.pairs[rank as usize]);
        }
    }
}

#[inline(always)]
fn split([high, low, port]: [u16; 3]) -> (u32, u16) {
    (u32::from(high) << 16 | u32::from(low), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AddressRange;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_an_oracle(
            wide in prop::collection::vec(any::<(u32, u16)>(), 0..100),
            crowd in prop::collection::vec((0u32..40, 0u16..5), 0..300),
            permitted in prop::collection::vec((any::<u32>(), 0u32..1 << 29), 0..5),
            near in prop::collection::vec((0u32..40, 0u32..6), 0..8),
        ) {
            let given: Vec<(u32, u16)> = wide.into_iter().chain(crowd).collect();
            let permitted: RangeSet = permitted
                .into_iter()
                .chain(near)
                .map(|(first, more)| AddressRange::new(first, first.saturating_add(more)).unwrap())
                .collect();
            let all: BTreeSet<(u32, u16)> = given.iter().copied().collect();
            let kept: Vec<(u32, u16)> = all.iter().copied().filter(|pair| permitted.contains(pair.0)).collect();
            let (set, left_out) = PairSet::new(given.iter().copied(), &permitted);
            prop_assert_eq!(left_out.duplicates, (given.len() - all.len()) as u64);
            prop_assert_eq!(left_out.removed, (all.len() - kept.len()) as u64);
            prop_assert_eq!((set.len(), set.is_empty()), (kept.len() as u64, kept.is_empty()));
            prop_assert!(set.iter().eq(kept.iter().copied()));
            let ranks: Vec<u64> = (0..set.len()).rev().collect();
            let (mut addresses, mut ports) = (vec![0; ranks.len()], vec![0; ranks.len()]);
            set.resolve(&ranks, &mut addresses, &mut ports);
            for &(address, port) in &all {
                for (address, port) in [(address, port), (address, port ^ 1), (address ^ 1, port), (address ^ 1 << 16, port)] {
                    prop_assert_eq!(set.contains(address, port), kept.binary_search(&(address, port)).is_ok());
                }
            }
            prop_assert!(addresses.into_iter().zip(ports).eq(kept.into_iter().rev()));
        }
    }
}
