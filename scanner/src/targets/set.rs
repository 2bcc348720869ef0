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
/// Bucket `b` names the segment of rank `b << shift`; the segment of any rank in the bucket is that one or one of the
/// few after it. Nearly every rank is looked up in the same few steps: steps that depended on the rank would be
/// mispredicted. A rank with more segments between it and its bucket's beginning is searched for on its own.
#[derive(Clone, Debug)]
pub struct AddressSet {
    /// The ranges, then [`PADDING`] copies of the last one that start at the last rank, for look-ups that reach
    /// beyond the end.
    segments: Box<[Segment]>,
    /// The first segment of each bucket.
    buckets: Box<[u32]>,
    shift: u32,
    /// Segments that the usual look-up counts behind a bucket's first: 0 to 3, or [`AHEAD_MAX`].
    ahead: usize,
    len: u64,
}

/// Most segments that the usual look-up counts.
const AHEAD_MAX: usize = 7;

/// Segments that the usual look-up may look at beyond the last range.
const PADDING: usize = AHEAD_MAX + 1;

/// One rank in this many may lie further on than the usual look-up sees.
const FAR_SHARE: u64 = 256;

/// Ranks that are looked up side by side.
const PIECE: usize = 64;

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
        let mut segments = Vec::with_capacity(set.ranges().len() + PADDING);
        for range in set.ranges() {
            // The ranges before this one hold less than 2^32 addresses, so the rank fits.
            let first_rank = len as u32;
            segments.push(Segment { first_rank, offset: range.first().wrapping_sub(first_rank) });
            len += range.len();
        }
        let wanted = (segments.len() as u64).next_power_of_two().max(BUCKETS_MIN);
        let shift = (len.next_power_of_two() / wanted).max(1).trailing_zeros();
        let count = len.div_ceil(1 << shift);
        let mut segment = 0;
        let buckets: Box<[u32]> = (0..count)
            .map(|bucket| {
                let rank = bucket << shift;
                while segment + 1 < segments.len() && u64::from(segments[segment + 1].first_rank) <= rank {
                    segment += 1;
                }
                segment as u32
            })
            .collect();
        let ahead = usual_ahead(&segments, &buckets, shift);
        if let Some(&last) = segments.last() {
            // If the set is so full that a rank equals theirs, it belongs to the last range: same offset.
            segments.extend([Segment { first_rank: u32::MAX, ..last }; PADDING]);
        }
        Self { segments: segments.into(), buckets, shift, ahead, len }
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

    /// The address that has `rank` addresses of the set below it.
    ///
    /// # Panics
    /// If the set holds no more than `rank` addresses.
    pub fn address(&self, rank: u32) -> u32 {
        assert!(u64::from(rank) < self.len, "rank {rank} of {} addresses", self.len);
        self.address_from::<AHEAD_MAX>(self.buckets[(rank >> self.shift) as usize] as usize, rank)
    }

    /// Replaces each rank by its address. All ranks must be below [`Self::len`].
    pub(super) fn resolve(&self, ranks: &mut [u32]) {
        match self.ahead {
            0 => self.resolve_in::<0>(ranks),
            1 => self.resolve_in::<1>(ranks),
            2 => self.resolve_in::<2>(ranks),
            3 => self.resolve_in::<3>(ranks),
            _ => self.resolve_in::<AHEAD_MAX>(ranks),
        }
    }

    /// Buckets of a whole piece first: the look-ups of its ranks then wait for memory side by side.
    #[inline(always)]
    fn resolve_in<const AHEAD: usize>(&self, ranks: &mut [u32]) {
        let mut bases = [0; PIECE];
        for ranks in ranks.chunks_mut(PIECE) {
            for (base, &rank) in bases.iter_mut().zip(&*ranks) {
                *base = self.buckets[(rank >> self.shift) as usize];
            }
            for (&base, rank) in bases.iter().zip(ranks) {
                *rank = self.address_from::<AHEAD>(base as usize, *rank);
            }
        }
    }

    /// The address of `rank`, whose bucket begins in segment `base`.
    #[inline(always)]
    fn address_from<const AHEAD: usize>(&self, base: usize, rank: u32) -> u32 {
        debug_assert!(u64::from(rank) < self.len);
        let near = &self.segments[base..base + AHEAD + 2];
        if near[AHEAD + 1].first_rank <= rank {
            return rank.wrapping_add(search(&self.segments[base..], rank).offset);
        }
        // Counted, not searched: which of them it is cannot be predicted, and the compares need not wait for each other.
        let passed = near[1..=AHEAD].iter().filter(|segment| segment.first_rank <= rank).count();
        rank.wrapping_add(near[passed].offset)
    }

    /// Whether it holds `address`.
    pub fn contains(&self, address: u32) -> bool {
        let after = self.by_rank().partition_point(|segment| segment.first() <= address);
        after > 0 && address <= self.last_of(after - 1)
    }

    /// Its ranges: sorted, disjoint, not adjacent.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = AddressRange> + '_ {
        self.by_rank().iter().enumerate().map(|(i, segment)| {
            let (first, last) = (segment.first(), self.last_of(i));
            AddressRange::new(first, last).unwrap_or_else(|| unreachable!("segment {i} is {first}..={last}"))
        })
    }

    /// The segments without the padding.
    fn by_rank(&self) -> &[Segment] {
        &self.segments[..self.segments.len().saturating_sub(PADDING)]
    }

    /// The last address of segment `i`.
    fn last_of(&self, i: usize) -> u32 {
        let next_rank = self.by_rank().get(i + 1).map_or(self.len, |next| u64::from(next.first_rank));
        ((next_rank - 1) as u32).wrapping_add(self.segments[i].offset)
    }
}

/// The fewest segments to count behind a bucket's first, of those that there is code for, that do for all ranks but a
/// [`FAR_SHARE`].
fn usual_ahead(segments: &[Segment], buckets: &[u32], shift: u32) -> usize {
    let far = |ahead: usize| -> u64 {
        let beyond = |(bucket, &base): (usize, &u32)| {
            let end = (bucket as u64 + 1) << shift;
            segments.get(base as usize + ahead + 1).map_or(0, |s| end.saturating_sub(u64::from(s.first_rank)))
        };
        buckets.iter().enumerate().map(beyond).sum()
    };
    let few = ((buckets.len() as u64) << shift) / FAR_SHARE;
    (0..=3).find(|&ahead| far(ahead) <= few).unwrap_or(AHEAD_MAX)
}

/// The last of `segments` (not empty) that starts at `rank` or before; the first of them does.
#[cold]
fn search(segments: &[Segment], rank: u32) -> Segment {
    let after = segments.partition_point(|segment| segment.first_rank <= rank);
    segments[after.max(1) - 1]
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
        let mut ranks: Vec<u32> = (0..members.len() as u32).collect();
        set.resolve(&mut ranks);
        assert!(ranks.iter().eq(members));
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
            let (mut rank, mut ranks, mut ends) = (0, vec![], vec![]);
            for range in ranges.ranges() {
                // The ends of every range, and what lies next to them.
                ends.extend([range.first(), range.last()]);
                ranks.push(rank as u32);
                rank += range.len();
                ranks.push((rank - 1) as u32);
                prop_assert!(range.first() == 0 || !set.contains(range.first() - 1));
                prop_assert!(range.last() == u32::MAX || !set.contains(range.last() + 1));
            }
            prop_assert!(ranks.iter().map(|&rank| set.address(rank)).eq(ends.iter().copied()));
            set.resolve(&mut ranks);
            prop_assert_eq!(ranks, ends);
            prop_assert_eq!(set.len(), rank);
            for sample in samples {
                if rank > 0 {
                    prop_assert!(set.contains(set.address((u64::from(sample) % rank) as u32)));
                }
                prop_assert_eq!(set.contains(sample), ranges.ranges().iter().any(|range| range.contains(sample)));
            }
        }
    }

    /// Sets for which each of the usual look-ups is made, and one with a crowded bucket.
    #[test]
    fn every_usual_look_up() {
        let every =
            |count: u32, stride: u32| (0..count).map(move |i| (i * stride, i * stride)).collect::<Vec<_>>();
        let wide = |count: u32| (0..count).map(|i| (i << 20, (i << 20) + (1 << 19) - 1)).collect::<Vec<_>>();
        let crowd: Vec<_> = [vec![(1 << 28, 1 << 31)], every(5_000, 2)].concat();
        let alternating: Vec<_> = (0..4_096)
            .map(|i| if i % 8 < 7 { (i << 20, i << 20) } else { (i << 20, (i << 20) + 60_000) })
            .collect();
        let uneven: Vec<_> =
            (0..3_000u32).map(|i| (i << 20, (i << 20) + (i.wrapping_mul(2_654_435_761) >> 13))).collect();
        let regular: Vec<_> = (0..2_500u32).map(|i| (i << 20, (i << 20) + 400_000)).collect();
        let skewed: Vec<_> = (0..4_000u64)
            .map(|i| (i, (i as u32).wrapping_mul(2_654_435_761) >> 16))
            .map(|(i, noise)| ((i << 20) as u32, (i << 20) as u32 + (u64::from(noise).pow(2) >> 13) as u32))
            .collect();
        let mut depths = vec![];
        for ranges in [wide(1), wide(3_000), every(5_000, 3), crowd, alternating, uneven, regular, skewed] {
            let set = set(&ranges);
            let step = (set.len() / 100_000).max(1) as usize;
            let ranks: Vec<u32> = (0..set.len()).step_by(step).map(|rank| rank as u32).collect();
            let mut addresses = ranks.clone();
            set.resolve(&mut addresses);
            for (&rank, &address) in ranks.iter().zip(&addresses) {
                let after = set.by_rank().partition_point(|segment| segment.first_rank <= rank);
                assert_eq!(address, rank.wrapping_add(set.segments[after - 1].offset));
                assert_eq!(address, set.address(rank));
            }
            depths.push(set.ahead);
        }
        depths.sort_unstable();
        depths.dedup();
        assert_eq!(depths, [0, 1, 2, 3, AHEAD_MAX]);
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
