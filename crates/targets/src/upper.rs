//! Finds the addresses with a given upper half in a sorted list.
//!
//! Membership is tested once per reply. In a list of a million ranges a plain search waits for some ten cache misses;
//! with this table in front of it, for one in the table and one in the list.

use std::ops::Range;

/// Lists shorter than this are searched without an index, because they stay in the cache. Lower takes 256 KiB for
/// nothing; higher makes searches of such lists slower.
const WORTH_IT: usize = 256;
const HALVES: usize = 1 << 16;

/// For each upper half of an address, the index of the first item with it or a higher one. 256 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UpperIndex(Box<[u32]>);

impl UpperIndex {
    /// The index of a list of `len` items with ascending addresses; `None` if it is not worth it, or if the list is
    /// longer than its numbers can represent.
    pub(super) fn new(len: usize, addresses: impl Iterator<Item = u32>) -> Option<Self> {
        if len < WORTH_IT || u32::try_from(len).is_err() {
            return None;
        }
        let mut starts = vec![0; HALVES + 1];
        for address in addresses {
            starts[(address >> 16) as usize + 1] += 1;
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        Some(Self(starts.into()))
    }

    /// The indices of the items whose addresses have the upper half of `address`.
    #[inline]
    pub(super) fn places(&self, address: u32) -> Range<usize> {
        let half = (address >> 16) as usize;
        self.0[half] as usize..self.0[half + 1] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_search(
            wide in prop::collection::vec(any::<u32>(), 0..600),
            crowd in prop::collection::vec(0u32..1 << 18, 0..600),
            asked in prop::collection::vec(any::<u32>(), 20),
        ) {
            let mut list: Vec<u32> = wide.into_iter().chain(crowd).chain([0, u32::MAX]).collect();
            list.sort_unstable();
            let index = UpperIndex::new(list.len(), list.iter().copied());
            prop_assert_eq!(index.is_some(), list.len() >= WORTH_IT);
            for address in asked.into_iter().chain(list.iter().copied()).take(if index.is_some() { 2_000 } else { 0 }) {
                let from = list.partition_point(|item| item >> 16 < address >> 16);
                let to = list.partition_point(|item| item >> 16 <= address >> 16);
                prop_assert_eq!(index.as_ref().map(|index| index.places(address)), Some(from..to));
            }
        }
    }
}
