//! The allowed addresses, numbered.
//!
//! Owns the way from a rank (the position of an address among the allowed ones, in ascending order) to the address. It
//! runs once per probe, so it touches little memory. A set is kept in one of two forms, whichever takes less memory.
//! The ranks do not depend on the form:
//!
//! - as ranges, 8 bytes each: for block and allow lists;
//! - as single addresses, 2 bytes each: for long lists of hosts. Addresses are grouped by their upper half, and the
//!   lower halves are stored by rank, so that one access to a long table suffices. Compared with ranges that saves 6 ns
//!   per probe among a million addresses, and 17 ns among ten million (bench/README.md, "Look-ups").

use simd::Level;

use super::buckets::BucketTable;
use super::pages::AddressPages;
use super::ranges::{AddressRange, RangeSet};
use super::rank::{RankTable, Segment};
use super::steps::Steps;
use super::upper::UpperIndex;

/// Bytes of memory per range: a segment and about as much of the bucket table.
const RANGE_BYTES: u64 = 16;
/// Bytes of memory per address.
const ADDRESS_BYTES: u64 = 2;

/// A set of addresses with access by rank and by address.
#[derive(Clone, Debug)]
pub struct AddressSet(Storage, Option<UpperIndex>);

#[derive(Clone, Debug)]
enum Storage {
    /// A segment is a range. Its value is added to a rank in it, modulo 2^32, to get the address: the number of lower
    /// addresses that are not in the set.
    Ranges(RankTable, Shortcut),
    /// A segment holds the addresses with the same upper half, which is its value, already shifted; the lower half of
    /// the address with rank `r` is `lower[r]`.
    Singles { upper: RankTable, lower: Box<[u16]> },
}

/// A faster way to add the value than the table, if there is one; it takes at most 4.5 MiB.
#[derive(Clone, Debug)]
enum Shortcut {
    /// For few ranges.
    Steps(Box<Steps>),
    /// For many ranges that are evenly distributed.
    Buckets(BucketTable),
    /// For all other sets.
    None,
}

impl Shortcut {
    /// The best one for these segments, over the ranks `0..len`.
    fn new(segments: &[Segment], len: u64) -> Self {
        let steps = Steps::new(segments).map(|steps| Self::Steps(Box::new(steps)));
        steps.or_else(|| BucketTable::new(segments, len).map(Self::Buckets)).unwrap_or(Self::None)
    }
}

/// How ranks are looked up without the faster ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// In the table that works for all sets.
    Table,
    /// By a binary search among all segments.
    Search,
}

impl AddressSet {
    /// The same set with another look-up than its best, to measure what that saves.
    #[must_use]
    pub fn looked_up_by(self, look_up: LookUp) -> Self {
        let Self(form, index) = self;
        let form = match (form, look_up) {
            (Storage::Ranges(table, _), LookUp::Table) => Storage::Ranges(table, Shortcut::None),
            (Storage::Ranges(table, _), LookUp::Search) => {
                Storage::Ranges(table.in_one_bucket(), Shortcut::None)
            }
            (Storage::Singles { upper, lower }, LookUp::Table) => Storage::Singles { upper, lower },
            (Storage::Singles { upper, lower }, LookUp::Search) => {
                Storage::Singles { upper: upper.in_one_bucket(), lower }
            }
        };
        Self(form, index)
    }

    /// The allowed set: the `allow` ranges (every address if `None`; an empty allow list allows nothing), without the
    /// `block` ranges and without the `floor`. Block takes precedence, whatever the order of the lists.
    pub fn paint(allow: Option<&RangeSet>, block: &RangeSet, floor: &RangeSet) -> Self {
        Self::new(&RangeSet::paint(allow, block, floor))
    }

    /// The addresses of `set`.
    pub fn new(set: &RangeSet) -> Self {
        Self::from_ranges(set.ranges().iter().copied(), set.ranges().len())
    }

    /// The addresses of `pages`.
    pub fn from_pages(pages: &AddressPages) -> Self {
        let (mut ranges, mut len) = (0, 0);
        pages.for_each_range(|range| {
            ranges += 1;
            len += range.len();
        });
        if ranges * RANGE_BYTES <= len * ADDRESS_BYTES {
            let mut all = Vec::with_capacity(ranges as usize);
            pages.for_each_range(|range| all.push(range));
            return Self::from_ranges(all.into_iter(), ranges as usize);
        }
        // Some addresses are not adjacent, so there are less than 2^32 and their ranks fit.
        let mut upper: Vec<Segment> = Vec::new();
        let mut lower = Vec::with_capacity(len as usize);
        pages.for_each_page(|number, members| {
            upper.push(Segment { first_rank: lower.len() as u32, value: u32::from(number) << 16 });
            lower.extend_from_slice(members);
        });
        let upper = RankTable::new(upper, lower.len() as u64);
        Self::indexed(Storage::Singles { upper, lower: lower.into_boxed_slice() })
    }

    /// The addresses of `count` ranges, which are sorted, disjoint and not adjacent.
    fn from_ranges(ranges: impl Iterator<Item = AddressRange>, count: usize) -> Self {
        let mut len = 0u64;
        // Also reserve room for the table's padding, or the table would have to move.
        let mut segments = Vec::with_capacity(count + 16);
        for range in ranges {
            // The ranges before this one hold less than 2^32 addresses, so the rank fits.
            let first_rank = len as u32;
            segments.push(Segment { first_rank, value: range.first().wrapping_sub(first_rank) });
            len += range.len();
        }
        let shortcut = Shortcut::new(&segments, len);
        Self::indexed(Storage::Ranges(RankTable::new(segments, len), shortcut))
    }

    /// The set, with an index of its segments.
    fn indexed(form: Storage) -> Self {
        let first = |segment: &Segment| match &form {
            Storage::Ranges(..) => segment.first_rank.wrapping_add(segment.value),
            Storage::Singles { .. } => segment.value,
        };
        let (Storage::Ranges(table, _) | Storage::Singles { upper: table, .. }) = &form;
        let index = UpperIndex::new(table.segments().len(), table.segments().iter().map(first));
        Self(form, index)
    }

    fn table(&self) -> &RankTable {
        match &self.0 {
            Storage::Ranges(table, _) | Storage::Singles { upper: table, .. } => table,
        }
    }

    /// How many addresses it holds, up to 2^32.
    #[inline]
    pub fn len(&self) -> u64 {
        self.table().len()
    }

    /// Whether it is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address with `rank` lower addresses in the set.
    ///
    /// # Panics
    /// If the set holds no more than `rank` addresses.
    #[inline]
    pub fn address(&self, rank: u32) -> u32 {
        assert!(u64::from(rank) < self.len(), "rank {rank} of {} addresses", self.len());
        match &self.0 {
            Storage::Ranges(table, _) => rank.wrapping_add(table.value(rank)),
            Storage::Singles { upper, lower } => upper.value(rank) | u32::from(lower[rank as usize]),
        }
    }

    /// Replaces each rank by its address. All ranks must be below [`Self::len`].
    #[inline]
    pub(super) fn resolve(&self, level: Level, ranks: &mut [u32]) {
        match &self.0 {
            Storage::Ranges(_, Shortcut::Steps(steps)) => steps.add(level, ranks),
            Storage::Ranges(table, Shortcut::Buckets(buckets)) => {
                buckets.add(level, ranks, |rank| table.value(rank));
            }
            Storage::Ranges(table, Shortcut::None) => table.replace(ranks, u32::wrapping_add),
            Storage::Singles { upper, lower } => {
                upper.replace(ranks, |rank, upper| upper | u32::from(lower[rank as usize]));
            }
        }
    }

    /// Whether it holds `address`.
    #[inline]
    pub fn contains(&self, address: u32) -> bool {
        let segments = self.table().segments();
        let places = self.1.as_ref().map_or(0..segments.len(), |index| index.places(address));
        let (before, near) = (places.start, &segments[places]);
        match &self.0 {
            Storage::Ranges(table, _) => {
                let first = |segment: &Segment| segment.first_rank.wrapping_add(segment.value);
                let after = before + near.partition_point(|segment| first(segment) <= address);
                after > 0 && address <= last_of(table, after - 1)
            }
            Storage::Singles { upper, lower } => {
                let Ok(i) = near.binary_search_by_key(&(address & 0xffff_0000), |segment| segment.value)
                else {
                    return false;
                };
                let members = near[i].first_rank as usize..upper.end_of(before + i) as usize;
                lower[members].binary_search(&(address as u16)).is_ok()
            }
        }
    }

    /// The lowest address of the set that is not below `address`.
    pub fn first_from(&self, address: u32) -> Option<u32> {
        let after = match &self.0 {
            Storage::Ranges(table, _) => {
                let segments = table.segments();
                let first = |segment: &Segment| segment.first_rank.wrapping_add(segment.value);
                let after = segments.partition_point(|segment| first(segment) <= address);
                if after > 0 && address <= last_of(table, after - 1) {
                    return Some(address);
                }
                return segments.get(after).map(first);
            }
            Storage::Singles { upper, lower } => {
                let page = address >> 16;
                let i = upper.segments().partition_point(|segment| segment.value >> 16 < page);
                let segment = upper.segments().get(i)?;
                let start = u64::from(segment.first_rank);
                if segment.value >> 16 > page {
                    start
                } else {
                    let members = &lower[start as usize..upper.end_of(i) as usize];
                    start + members.partition_point(|&low| low < address as u16) as u64
                }
            }
        };
        (after < self.len()).then(|| self.address(after as u32))
    }

    /// Its ranges: sorted, disjoint, not adjacent.
    pub fn ranges(&self) -> Box<dyn Iterator<Item = AddressRange> + '_> {
        let range = |first, last| {
            AddressRange::new(first, last).unwrap_or_else(|| unreachable!("a range {first}..={last}"))
        };
        match &self.0 {
            Storage::Ranges(table, _) => {
                Box::new(table.segments().iter().enumerate().map(move |(i, segment)| {
                    range(segment.first_rank.wrapping_add(segment.value), last_of(table, i))
                }))
            }
            Storage::Singles { upper, lower } => {
                let pages = upper.segments().iter().enumerate();
                let mut addresses = pages
                    .flat_map(move |(i, segment)| {
                        let members = &lower[segment.first_rank as usize..upper.end_of(i) as usize];
                        members.iter().map(|&low| segment.value | u32::from(low))
                    })
                    .peekable();
                Box::new(std::iter::from_fn(move || {
                    let first = addresses.next()?;
                    let mut last = first;
                    while let Some(next) = addresses.next_if(|&next| next - last == 1) {
                        last = next;
                    }
                    Some(range(first, last))
                }))
            }
        }
    }
}

/// The last address of range `i`.
fn last_of(table: &RankTable, i: usize) -> u32 {
    ((table.end_of(i) - 1) as u32).wrapping_add(table.segments()[i].value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(ranges: &[(u32, u32)]) -> AddressSet {
        AddressSet::new(
            &ranges.iter().map(|&(first, last)| AddressRange::new(first, last).unwrap()).collect(),
        )
    }

    /// Rank, membership and ranges compared with the set's list of members.
    fn check(set: &AddressSet, members: &BTreeSet<u32>, probes: impl Iterator<Item = u32>) {
        assert_eq!(set.len(), members.len() as u64);
        assert_eq!(set.is_empty(), members.is_empty());
        for (rank, &member) in members.iter().enumerate() {
            assert_eq!(set.address(rank as u32), member);
        }
        for level in Level::available() {
            let mut ranks: Vec<u32> = (0..members.len() as u32).collect();
            set.resolve(level, &mut ranks);
            assert!(ranks.iter().eq(members), "{level:?}");
        }
        for look_up in [LookUp::Table, LookUp::Search] {
            let mut ranks: Vec<u32> = (0..members.len() as u32).collect();
            set.clone().looked_up_by(look_up).resolve(Level::detect(), &mut ranks);
            assert!(ranks.iter().eq(members), "{look_up:?}");
        }
        for address in probes {
            assert_eq!(set.contains(address), members.contains(&address), "{address}");
        }
        let listed: Vec<u32> = set.ranges().flat_map(|range| range.first()..=range.last()).collect();
        assert!(listed.iter().eq(members));
    }

    proptest! {
        #[test]
        fn agrees_with_an_oracle(
            ranges in prop::collection::vec((0u32..5_000, 0u32..60), 0..120),
            base in prop::sample::select(vec![0, 1, 0x0a00_0000, u32::MAX - 5_058]),
        ) {
            let ranges: Vec<_> = ranges.iter().map(|&(first, more)| (base + first, base + first + more)).collect();
            let members: BTreeSet<u32> = ranges.iter().flat_map(|&(first, last)| first..=last).collect();
            let probes = (0..5_059).map(|i| base.wrapping_add(i)).chain([0, u32::MAX]);
            check(&set(&ranges), &members, probes);
        }

        /// Ranges all over the address space, most of them close together, so that buckets are uneven.
        #[test]
        fn agrees_with_an_oracle_on_uneven_sets(
            wide in prop::collection::vec((any::<u32>(), 0u32..1 << 28), 0..8),
            crowd in prop::collection::vec(0u32..1 << 16, 0..2_000),
            samples in prop::collection::vec(any::<u32>(), 200),
        ) {
            let wide = wide.iter().map(|&(first, more)| (first, first.saturating_add(more)));
            let crowd = crowd.iter().map(|&address| (address * 3, address * 3));
            let ranges: RangeSet = wide.chain(crowd).map(|(a, b)| AddressRange::new(a, b).unwrap()).collect();
            let set = AddressSet::new(&ranges);
            prop_assert!(set.ranges().eq(ranges.ranges().iter().copied()));
            let (mut rank, mut ranks, mut ends) = (0, vec![], vec![]);
            for range in ranges.ranges() {
                // The ends of every range, and the addresses next to them.
                ends.extend([range.first(), range.last()]);
                ranks.push(rank as u32);
                rank += range.len();
                ranks.push((rank - 1) as u32);
                prop_assert!(range.first() == 0 || !set.contains(range.first() - 1));
                prop_assert!(range.last() == u32::MAX || !set.contains(range.last() + 1));
            }
            prop_assert!(ranks.iter().map(|&rank| set.address(rank)).eq(ends.iter().copied()));
            for level in Level::available() {
                let mut ranks = ranks.clone();
                set.resolve(level, &mut ranks);
                prop_assert_eq!(&ranks, &ends, "{:?}", level);
            }
            prop_assert_eq!(set.len(), rank);
            for sample in samples {
                if rank > 0 {
                    prop_assert!(set.contains(set.address((u64::from(sample) % rank) as u32)));
                }
                prop_assert_eq!(set.contains(sample), ranges.ranges().iter().any(|range| range.contains(sample)));
            }
        }
    }

    #[test]
    fn whole_address_space() {
        let all = AddressSet::paint(None, &RangeSet::default(), &RangeSet::default());
        assert_eq!(all.len(), 1 << 32);
        for rank in [0, 1, 1 << 31, u32::MAX] {
            assert_eq!(all.address(rank), rank);
            assert!(all.contains(rank));
        }
    }

    /// All but the last address of each /16 except the last /16: the first and the last address are in the table.
    #[test]
    fn the_ends_of_the_address_space() {
        let all =
            (0..1u32 << 16).map(|upper| (upper << 16, upper << 16 | 0xfffe)).chain([(u32::MAX, u32::MAX)]);
        let ranges: RangeSet = all.map(|(first, last)| AddressRange::new(first, last).unwrap()).collect();
        let set = AddressSet::new(&ranges);
        assert!(matches!(set.0, Storage::Ranges(_, Shortcut::Buckets(_))));
        let len = (1u64 << 32) - 0xffff;
        assert_eq!(set.len(), len);
        let last = (len - 1) as u32;
        for level in Level::available() {
            let mut ranks = [0, 1, 0xfffe, 0xffff, last - 0xffff, last - 0x1_0000, last - 1, last];
            set.resolve(level, &mut ranks);
            assert_eq!(ranks[..4], [0, 1, 0xfffe, 0x1_0000], "{level:?}");
            assert_eq!(ranks[4..], [0xffff_0000, 0xfffe_fffe, u32::MAX - 1, u32::MAX], "{level:?}");
        }
    }

    #[test]
    fn empty_set() {
        check(&set(&[]), &BTreeSet::new(), [0, 1, u32::MAX].into_iter());
        let nothing_allowed =
            AddressSet::paint(Some(&RangeSet::default()), &RangeSet::default(), &RangeSet::default());
        assert!(nothing_allowed.is_empty());
    }

    #[test]
    #[should_panic(expected = "rank 3 of 3 addresses")]
    fn rank_beyond_the_set() {
        set(&[(5, 7)]).address(3);
    }

    #[test]
    fn block_and_floor_win_over_allow() {
        let of = |first, last| RangeSet::from_iter([AddressRange::new(first, last).unwrap()]);
        let painted = AddressSet::paint(Some(&of(10, 30)), &of(15, 20), &of(0, 11));
        let ranges: Vec<String> =
            painted.ranges().map(|range| format!("{}-{}", range.first(), range.last())).collect();
        assert_eq!(ranges, ["12-14", "21-30"]);
    }
}
