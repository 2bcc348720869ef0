//! The allowed addresses, numbered.
//!
//! Owns the way from a rank (the position of an address among the allowed ones, in ascending order) to the address.
//! Once a probe, so it touches little memory: 8 bytes a range and a bucket table of 4 bytes a bucket.

use super::ranges::{AddressRange, RangeSet};

/// Buckets for small sets, so that most hold one range only: 8 KiB.
const BUCKETS_MIN: u64 = 1 << 11;

/// One range of the set, as ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    /// Rank of the range's first address.
    first_rank: u32,
    /// What to add to a rank in this range, modulo 2^32, to get the address: the number of addresses below it that
    /// are not in the set.
    offset: u32,
}

impl Segment {
    #[inline]
    fn first(self) -> u32 {
        self.first_rank.wrapping_add(self.offset)
    }
}

/// A set of addresses with access by rank.
///
/// Bucket `b` names the segment of rank `b << shift`; the segment of any rank is that one or one of the few after it.
/// A crowded bucket is searched by halves, and however ranges crowd, a uniform rank takes fewer steps on average than
/// if they were spread evenly.
#[derive(Clone, Debug)]
pub struct AddressSet {
    segments: Box<[Segment]>,
    /// One more than there are buckets with ranks, so that a bucket's successor always exists.
    buckets: Box<[u32]>,
    shift: u32,
    len: u64,
}

impl AddressSet {
    /// The allowed set: the `allow` ranges (every address if `None`; an allow list that is there but empty allows
    /// nothing), less the `block` ranges, less the `floor`. Block always wins, whatever the order of the lists.
    pub fn paint(allow: Option<&RangeSet>, block: &RangeSet, floor: &RangeSet) -> Self {
        let everything;
        let allow = match allow {
            Some(allow) => allow,
            None => {
                everything = RangeSet::all();
                &everything
            }
        };
        Self::new(&allow.subtract(block).subtract(floor))
    }

    /// The addresses of `set`.
    pub fn new(set: &RangeSet) -> Self {
        let mut len = 0u64;
        let segments: Box<[Segment]> = set
            .ranges()
            .iter()
            .map(|range| {
                // The ranges before this one hold less than 2^32 addresses, so the rank fits.
                let first_rank = len as u32;
                len += range.len();
                Segment { first_rank, offset: range.first().wrapping_sub(first_rank) }
            })
            .collect();
        let wanted = (2 * segments.len() as u64).next_power_of_two().max(BUCKETS_MIN);
        let shift = (len.next_power_of_two() / wanted).max(1).trailing_zeros();
        let count = len.div_ceil(1 << shift) + 1;
        let mut segment = 0;
        let buckets = (0..count)
            .map(|bucket| {
                let rank = bucket << shift;
                while segment + 1 < segments.len() && u64::from(segments[segment + 1].first_rank) <= rank {
                    segment += 1;
                }
                segment as u32
            })
            .collect();
        Self { segments, buckets, shift, len }
    }

    /// How many addresses it holds, up to 2^32.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address that `rank` addresses of the set are below.
    ///
    /// # Panics
    /// If the set holds no more than `rank` addresses.
    #[inline]
    pub fn address(&self, rank: u32) -> u32 {
        assert!(u64::from(rank) < self.len, "rank {rank} of {} addresses", self.len);
        self.address_of(rank)
    }

    /// [`Self::address`] for a rank known to be in the set.
    #[inline(always)]
    pub(super) fn address_of(&self, rank: u32) -> u32 {
        debug_assert!(u64::from(rank) < self.len);
        let bucket = (rank >> self.shift) as usize;
        let first = self.buckets[bucket] as usize;
        let last = self.buckets[bucket + 1] as usize;
        let offset = if first == last {
            self.segments[first].offset
        } else {
            search(&self.segments[first..=last], rank).offset
        };
        rank.wrapping_add(offset)
    }

    /// Whether it holds `address`.
    pub fn contains(&self, address: u32) -> bool {
        let after = self.segments.partition_point(|segment| segment.first() <= address);
        after > 0 && address <= self.last_of(after - 1)
    }

    /// Its ranges: sorted, disjoint, not adjacent.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = AddressRange> + '_ {
        self.segments.iter().enumerate().map(|(i, segment)| {
            let (first, last) = (segment.first(), self.last_of(i));
            AddressRange::new(first, last).unwrap_or_else(|| unreachable!("segment {i} is {first}..={last}"))
        })
    }

    /// The last address of segment `i`.
    fn last_of(&self, i: usize) -> u32 {
        let next_rank = self.segments.get(i + 1).map_or(self.len, |next| u64::from(next.first_rank));
        ((next_rank - 1) as u32).wrapping_add(self.segments[i].offset)
    }
}

/// The last of `segments` (not empty) that starts at `rank` or before; the first of them does.
#[inline]
fn search(segments: &[Segment], rank: u32) -> Segment {
    let mut base = 0;
    let mut len = segments.len();
    while len > 1 {
        let half = len / 2;
        // A conditional move: which half it is cannot be predicted.
        base = if segments[base + half].first_rank <= rank { base + half } else { base };
        len -= half;
    }
    segments[base]
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

    /// Rank, membership and ranges against the set's own list of members.
    fn check(set: &AddressSet, members: &BTreeSet<u32>, probes: impl Iterator<Item = u32>) {
        assert_eq!(set.len(), members.len() as u64);
        assert_eq!(set.is_empty(), members.is_empty());
        for (rank, &member) in members.iter().enumerate() {
            assert_eq!(set.address(rank as u32), member);
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
            base in prop::sample::select(vec![0, 1, 0x0a00_0000, u32::MAX - 5_060]),
        ) {
            let ranges: Vec<_> = ranges.iter().map(|&(first, more)| (base + first, base + first + more)).collect();
            let members: BTreeSet<u32> = ranges.iter().flat_map(|&(first, last)| first..=last).collect();
            let probes = (0..5_061).map(|i| base.wrapping_add(i)).chain([0, u32::MAX]);
            check(&set(&ranges), &members, probes);
        }

        /// Ranges all over the address space, most of them in one corner, so that buckets are uneven.
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
            let mut rank = 0;
            for range in ranges.ranges() {
                // The ends of every range, and what lies next to them.
                prop_assert_eq!(set.address(rank as u32), range.first());
                rank += range.len();
                prop_assert_eq!(set.address((rank - 1) as u32), range.last());
                prop_assert!(range.first() == 0 || !set.contains(range.first() - 1));
                prop_assert!(range.last() == u32::MAX || !set.contains(range.last() + 1));
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
