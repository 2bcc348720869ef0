//! A set of single addresses while it is being collected, in any order and with repeats.
//!
//! Owns the memory of long lists: at most 2 bytes per address and never more than 2^32 bits.

use super::ranges::{AddressRange, RangeSet};

/// Words of a page's bitmap.
const WORDS: usize = (1 << 16) / u64::BITS as usize;
/// Most members of a page that is a list: beyond that, its bitmap of 8 KiB is smaller.
const FEW_MAX: usize = 1 << 12;
/// Most members for which sorting is faster than a bitmap. Lower and higher both use the slower of the two for some
/// pages.
const SORT_MAX: usize = 48;

type Bits = [u64; WORDS];

/// The addresses with the same upper half.
#[derive(Clone, Debug)]
enum Page {
    /// Their lower halves in the order of insertion; after [`AddressPages::settle`] sorted and each once.
    Few(Vec<u16>),
    /// A bit for each lower half.
    Many(Box<Bits>),
}

/// Addresses grouped by their upper half.
#[derive(Clone, Debug)]
pub struct AddressPages {
    pages: Box<[Page]>,
    inserted: u64,
}

/// The result of [`AddressPages::settle`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Distinct addresses that were inserted.
    pub distinct: u64,
    /// Insertions of an address that was already in the set.
    pub duplicates: u64,
    /// Distinct addresses that were not permitted.
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

    /// Whether nothing was inserted, or nothing remains.
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

    /// Sorts the addresses, removes duplicates and those that are not in `permitted`, and counts both.
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

    /// Calls `f` with each range, ascending and as long as possible. The pages must be settled.
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

    /// Calls `f` for each page that is not empty, ascending, with its upper half and its lower halves. The pages must
    /// be settled.
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
    /// Turns its members into bits, and returns these.
    fn bits(&mut self) -> &mut Bits {
        if let Self::Few(members) = self {
            *self = Self::Many(to_bits(members));
        }
        match self {
            Self::Many(bits) => bits,
            Self::Few(_) => unreachable!("it has just become bits"),
        }
    }

    /// Sorts the members, each once, and keeps those in the `permitted` ranges, which lie inside the page. Returns
    /// their number before and after. `scratch` is empty before and after.
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
                // Kept members move to the front, one permitted range after the other.
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

/// Calls `f` with each word that contains some of the bits `first..=last`, and their mask in it.
fn for_words(first: u16, last: u16, mut f: impl FnMut(usize, u64)) {
    for word in first >> 6..=last >> 6 {
        let low = if word == first >> 6 { u64::MAX << (first & 63) } else { u64::MAX };
        let high = if word == last >> 6 { u64::MAX >> (63 - (last & 63)) } else { u64::MAX };
        f(usize::from(word), low & high);
    }
}
