//! A set of single addresses while it is collected, in any order and with any repeats.
//!
//! Owns the memory of long lists: at most 2 bytes an address and never more than 2^32 bits, whatever comes.

use super::ranges::{AddressRange, RangeSet};

/// Words of a page's bitmap.
const WORDS: usize = (1 << 16) / u64::BITS as usize;
/// Members up to which a page is a list: beyond, its bitmap of 8 KiB is smaller.
const FEW_MAX: usize = 1 << 12;
/// Members up to which sorting is faster than a bitmap.
const SORT_MAX: usize = 48;

type Bits = [u64; WORDS];

/// The addresses with the same upper half.
#[derive(Clone, Debug)]
enum Page {
    /// Their lower halves, as they came; sorted and each once after [`AddressPages::settle`].
    Few(Vec<u16>),
    /// A bit for each lower half.
    Many(Box<Bits>),
}

/// Addresses by their upper half.
#[derive(Clone, Debug)]
pub struct AddressPages {
    pages: Box<[Page]>,
    inserted: u64,
}

/// What [`AddressPages::settle`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Different addresses that had been inserted.
    pub distinct: u64,
    /// Insertions of an address that was there already.
    pub duplicates: u64,
    /// Different addresses that were not permitted.
    pub removed: u64,
}

impl Default for AddressPages {
    fn default() -> Self {
        Self { pages: vec![Page::Few(Vec::new()); 1 << 16].into(), inserted: 0 }
    }
}

impl AddressPages {
    /// Adds an address.
    #[inline]
    pub fn insert(&mut self, address: u32) {
        self.inserted += 1;
        let page = &mut self.pages[(address >> 16) as usize];
        if let Page::Few(members) = page
            && members.len() < FEW_MAX
        {
            members.push(address as u16);
            return;
        }
        page.bits()[usize::from(address as u16 >> 6)] |= 1 << (address & 63);
    }

    /// Whether nothing was inserted, or nothing is left.
    pub fn is_empty(&self) -> bool {
        self.inserted == 0
    }

    /// Adds all addresses of a range; each counts as an insertion.
    pub fn insert_range(&mut self, range: AddressRange) {
        let (mut next, last) = (u64::from(range.first()), u64::from(range.last()));
        while next <= last {
            let end = (next | 0xffff).min(last);
            if end - next < 64 {
                (next..=end).for_each(|address| self.insert(address as u32));
            } else {
                self.inserted += end - next + 1;
                let bits = self.pages[(next >> 16) as usize].bits();
                for_words(next as u16, end as u16, |word, mask| bits[word] |= mask);
            }
            next = end + 1;
        }
    }

    /// Sorts what was inserted, removes duplicates and what is not in `permitted`, and counts both.
    pub fn settle(&mut self, permitted: &RangeSet) -> Settled {
        let mut found = Settled::default();
        let mut ranges = permitted.ranges();
        let mut scratch = Box::new([0; WORDS]);
        for (number, page) in self.pages.iter_mut().enumerate() {
            let whole = AddressRange::new((number as u32) << 16, (number as u32) << 16 | 0xffff);
            let whole = whole.unwrap_or_else(|| unreachable!("page {number} has a first and a last address"));
            while let [range, rest @ ..] = ranges
                && range.last() < whole.first()
            {
                ranges = rest;
            }
            let inside = ranges.iter().map_while(|range| range.intersection(whole));
            let (distinct, kept) = page.settle(inside, &mut scratch);
            found.distinct += distinct;
            found.removed += distinct - kept;
        }
        found.duplicates = self.inserted - found.distinct;
        self.inserted = found.distinct - found.removed;
        found
    }

    /// Calls `f` with each range, ascending, as long as can be. The pages must be settled.
    pub fn for_each_range(&self, mut f: impl FnMut(AddressRange)) {
        let mut open: Option<(u32, u32)> = None;
        let mut run = |first: u32, last: u32| match &mut open {
            Some((_, end)) if *end != u32::MAX && *end + 1 == first => *end = last,
            _ => {
                let done = open.replace((first, last));
                done.and_then(|(first, last)| AddressRange::new(first, last)).into_iter().for_each(&mut f);
            }
        };
        for (number, page) in self.pages.iter().enumerate() {
            let base = (number as u32) << 16;
            match page {
                Page::Few(members) => {
                    members.iter().for_each(|&low| run(base | u32::from(low), base | u32::from(low)));
                }
                Page::Many(bits) => {
                    for (i, &word) in bits.iter().enumerate() {
                        let (mut word, base) = (word, base | (i as u32) << 6);
                        while word != 0 {
                            let first = word.trailing_zeros();
                            let len = (word >> first).trailing_ones();
                            run(base | first, base | (first + len - 1));
                            word &= u64::MAX.checked_shl(first + len).unwrap_or(0);
                        }
                    }
                }
            }
        }
        open.and_then(|(first, last)| AddressRange::new(first, last)).into_iter().for_each(f);
    }

    /// Calls `f` with the upper half and the lower halves, ascending, of each page that has any. The pages must be
    /// settled.
    pub(super) fn for_each_page(&self, mut f: impl FnMut(u16, &[u16])) {
        let mut members = Vec::new();
        for (number, page) in self.pages.iter().enumerate() {
            let few = match page {
                Page::Few(few) => few,
                Page::Many(bits) => {
                    members.clear();
                    from_bits(bits, &mut members);
                    &members
                }
            };
            if !few.is_empty() {
                f(number as u16, few);
            }
        }
    }
}

impl Page {
    /// Its members as bits, from now on.
    fn bits(&mut self) -> &mut Bits {
        if let Self::Few(members) = self {
            *self = Self::Many(to_bits(members));
        }
        match self {
            Self::Many(bits) => bits,
            Self::Few(_) => unreachable!("it has just become bits"),
        }
    }

    /// Sorts the members, each once, and keeps those in the `permitted` ranges, which lie inside the page. Returns how
    /// many there were and are. `scratch` is empty before and after.
    fn settle(&mut self, permitted: impl Iterator<Item = AddressRange>, scratch: &mut Bits) -> (u64, u64) {
        match self {
            Self::Few(members) => {
                if members.len() <= SORT_MAX {
                    members.sort_unstable();
                    members.dedup();
                } else {
                    members.iter().for_each(|&low| scratch[usize::from(low >> 6)] |= 1 << (low & 63));
                    members.clear();
                    from_bits(scratch, members);
                    scratch.fill(0);
                }
                let distinct = members.len();
                // What is kept moves to the front, one permitted range after the other.
                let (mut kept, mut next) = (0, 0);
                for range in permitted {
                    let from = next + members[next..].partition_point(|&low| low < range.first() as u16);
                    next = from + members[from..].partition_point(|&low| low <= range.last() as u16);
                    members.copy_within(from..next, kept);
                    kept += next - from;
                }
                members.truncate(kept);
                members.shrink_to_fit();
                (distinct as u64, kept as u64)
            }
            Self::Many(bits) => {
                let count = |bits: &Bits| bits.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
                let distinct = count(bits);
                for range in permitted {
                    for_words(range.first() as u16, range.last() as u16, |word, mask| scratch[word] |= mask);
                }
                bits.iter_mut().zip(&mut *scratch).for_each(|(word, mask)| {
                    *word &= *mask;
                    *mask = 0;
                });
                (distinct, count(bits))
            }
        }
    }
}

fn to_bits(members: &[u16]) -> Box<Bits> {
    let mut bits = Box::new([0; WORDS]);
    members.iter().for_each(|&low| bits[usize::from(low >> 6)] |= 1 << (low & 63));
    bits
}

/// Appends the numbers of the set bits, ascending.
fn from_bits(bits: &Bits, members: &mut Vec<u16>) {
    for (i, &word) in bits.iter().enumerate() {
        let mut word = word;
        while word != 0 {
            members.push((i as u16) << 6 | word.trailing_zeros() as u16);
            word &= word - 1;
        }
    }
}

/// Calls `f` with each word that bits `first..=last` lie in, and the mask of them there.
fn for_words(first: u16, last: u16, mut f: impl FnMut(usize, u64)) {
    for word in first >> 6..=last >> 6 {
        let low = if word == first >> 6 { u64::MAX << (first & 63) } else { u64::MAX };
        let high = if word == last >> 6 { u64::MAX >> (63 - (last & 63)) } else { u64::MAX };
        f(usize::from(word), low & high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::set::AddressSet;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(first: u32, last: u32) -> AddressRange {
        AddressRange::new(first, last).unwrap()
    }

    /// Settles, and compares pages and the set made of them with a set of the standard library's.
    fn check(mut pages: AddressPages, inserted: &[u32], permitted: &RangeSet) {
        let all: BTreeSet<u32> = inserted.iter().copied().collect();
        let kept: Vec<u32> = all
            .iter()
            .copied()
            .filter(|&a| permitted.ranges().iter().any(|range| range.contains(a)))
            .collect();
        let found = pages.settle(permitted);
        assert_eq!(found.distinct, all.len() as u64);
        assert_eq!(found.duplicates, (inserted.len() - all.len()) as u64);
        assert_eq!(found.removed, (all.len() - kept.len()) as u64);
        let set = AddressSet::from_pages(&pages);
        assert_eq!(set.len(), kept.len() as u64);
        let listed: Vec<u32> = set.ranges().flat_map(|range| range.first()..=range.last()).collect();
        assert!(listed == kept);
        let ranges: Vec<AddressRange> = set.ranges().collect();
        assert!(ranges.windows(2).all(|pair| u64::from(pair[0].last()) + 1 < u64::from(pair[1].first())));
        let mut ranks: Vec<u32> = (0..kept.len() as u32).collect();
        assert!(ranks.iter().map(|&rank| set.address(rank)).eq(kept.iter().copied()));
        set.resolve(crate::simd::Level::detect(), &mut ranks);
        assert!(ranks == kept);
        for &address in inserted.iter().take(500) {
            for near in [address.wrapping_sub(1), address, address.wrapping_add(1)] {
                assert_eq!(set.contains(near), kept.binary_search(&near).is_ok());
                let after = kept.partition_point(|&member| member < near);
                assert_eq!(set.first_from(near), kept.get(after).copied());
            }
        }
        // A second time finds nothing to do.
        assert_eq!(pages.settle(permitted), Settled { distinct: kept.len() as u64, ..Settled::default() });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_an_oracle(
            anywhere in prop::collection::vec(any::<u32>(), 0..300),
            crowd in prop::collection::vec(0u32..6_000, 0..9_000),
            runs in prop::collection::vec((0u32..200_000, 0u32..70_000), 0..3),
            base in prop::sample::select(vec![0u32, 0x0a00_fff0, 0xfffc_0000]),
            permitted in prop::collection::vec((any::<u32>(), 0u32..1 << 30), 0..6),
            near in prop::collection::vec((0u32..250_000, 0u32..9_000), 0..20),
        ) {
            let mut pages = AddressPages::default();
            let mut inserted = vec![];
            for address in anywhere.into_iter().chain(crowd.iter().map(|&low| base.wrapping_add(low * 3))) {
                pages.insert(address);
                inserted.push(address);
            }
            for (first, more) in runs {
                let first = base.saturating_add(first);
                let run = range(first, first.saturating_add(more));
                pages.insert_range(run);
                inserted.extend(run.first()..=run.last());
            }
            let near = near.into_iter().map(|(first, more)| (base.saturating_add(first), more));
            let permitted: RangeSet = permitted
                .into_iter()
                .chain(near)
                .map(|(first, more)| range(first, first.saturating_add(more)))
                .collect();
            check(pages.clone(), &inserted, &RangeSet::all());
            check(pages.clone(), &inserted, &permitted);
            check(pages, &inserted, &RangeSet::default());
        }
    }

    #[test]
    fn the_whole_address_space() {
        let mut pages = AddressPages::default();
        pages.insert_range(AddressRange::ALL);
        pages.insert(u32::MAX);
        let found = pages.settle(&RangeSet::all());
        assert_eq!(found, Settled { distinct: 1 << 32, duplicates: 1, removed: 0 });
        let set = AddressSet::from_pages(&pages);
        assert_eq!((set.len(), set.address(u32::MAX)), (1 << 32, u32::MAX));
        assert!(set.ranges().eq([AddressRange::ALL]));
    }
}
