//! Finds the segment of a rank.
//!
//! Owns the search that is made once per probe, for every form of a set of addresses: a sorted table of segments, 8
//! bytes each, and a bucket table with 4 bytes per bucket in front of it.
//!
//! The buckets save, compared with a binary search, 10 ns per probe among 3,000 prefixes, 31 among 100,000, and 29
//! among a million single hosts (bench/README.md, "Look-ups").

/// Buckets for small sets, so that most hold only one segment: 8 KiB. Fewer would need more compares; more would leave
/// the first-level cache.
const BUCKETS_MIN: u64 = 1 << 11;

/// Segments after a bucket's first that the usual look-up compares. With fewer, more ranks need a separate search; with
/// more, each rank waits for more memory. Between 1 and 3 the difference was less than 2 ns per probe.
const AHEAD: usize = 2;

/// Segments beyond the last one that the usual look-up may read.
const PADDING: usize = AHEAD + 1;

/// Ranks that are looked up side by side. Fewer overlap fewer cache misses; more than a core's outstanding misses gain
/// nothing.
const PIECE: usize = 64;

/// Consecutive ranks with a common value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first of its ranks.
    pub(super) first_rank: u32,
    /// The value that the owner of the table gives to it.
    pub(super) value: u32,
}

/// Segments by rank.
///
/// Bucket `b` names the segment of rank `b << shift`; the segment of any rank in the bucket is that one or one of the
/// few after it. Nearly every rank is looked up in the same few steps, because branches that depend on the rank would
/// be mispredicted. A rank that is more segments away from its bucket's beginning needs a separate search.
#[derive(Clone, Debug)]
pub(super) struct RankTable {
    /// The segments, then [`PADDING`] copies of the last one that start at the last rank, for look-ups that read beyond
    /// the end.
    segments: Box<[Segment]>,
    /// The first segment of each bucket.
    buckets: Box<[u32]>,
    shift: u32,
    len: u64,
}

impl RankTable {
    /// A table of `segments`, ascending, over the ranks `0..len`; the first segment starts at 0. `len` is up to 2^32,
    /// and no segment is empty.
    pub(super) fn new(segments: Vec<Segment>, len: u64) -> Self {
        let wanted = (segments.len() as u64).next_power_of_two().max(BUCKETS_MIN);
        Self::with_buckets(segments, len, wanted)
    }

    /// The same ranks, but all except the first few are searched for among all segments.
    pub(super) fn in_one_bucket(&self) -> Self {
        // In fact two, because a 32-bit rank cannot be shifted out of its word.
        Self::with_buckets(self.segments().to_vec(), self.len, 2)
    }

    /// The table with about `wanted` buckets.
    fn with_buckets(mut segments: Vec<Segment>, len: u64, wanted: u64) -> Self {
        let shift = (len.next_power_of_two() / wanted).max(1).trailing_zeros();
        let count = len.div_ceil(1 << shift);
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
        if let Some(&last) = segments.last() {
            // If there are so many ranks that one equals theirs, it belongs to the last segment, which has the same
            // value.
            segments.extend([Segment { first_rank: u32::MAX, ..last }; PADDING]);
        }
        Self { segments: segments.into(), buckets, shift, len }
    }

    /// The number of ranks, up to 2^32.
    #[inline]
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The segments, ascending.
    #[inline]
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments[..self.segments.len().saturating_sub(PADDING)]
    }

    /// The rank after the last one of segment `i`.
    #[inline]
    pub(super) fn end_of(&self, i: usize) -> u64 {
        self.segments().get(i + 1).map_or(self.len, |next| u64::from(next.first_rank))
    }

    /// The value of the segment of `rank`, which is below [`Self::len`].
    #[inline]
    pub(super) fn value(&self, rank: u32) -> u32 {
        self.value_from(self.buckets[(rank >> self.shift) as usize] as usize, rank)
    }

    /// Replaces each rank by the result of `make` for it and its segment's value. All ranks are below [`Self::len`].
    ///
    /// It first reads the buckets of a whole piece, so that the look-ups of its ranks wait for memory side by side.
    #[inline(always)]
    pub(super) fn replace(&self, ranks: &mut [u32], make: impl Fn(u32, u32) -> u32) {
        let mut bases = [0; PIECE];
        for ranks in ranks.chunks_mut(PIECE) {
            for (base, &rank) in bases.iter_mut().zip(&*ranks) {
                *base = self.buckets[(rank >> self.shift) as usize];
            }
            for (&base, rank) in bases.iter().zip(ranks) {
                *rank = make(*rank, self.value_from(base as usize, *rank));
            }
        }
    }

    /// The value of the segment of `rank`, whose bucket begins in segment `base`.
    #[inline(always)]
    fn value_from(&self, base: usize, rank: u32) -> u32 {
        debug_assert!(u64::from(rank) < self.len);
        let near = &self.segments[base..base + AHEAD + 2];
        if near[AHEAD + 1].first_rank <= rank {
            return self.search(base, rank).value;
        }
        // Counted instead of searched: it cannot be predicted which of them it is, and the compares are independent.
        let passed = near[1..=AHEAD].iter().filter(|segment| segment.first_rank <= rank).count();
        near[passed].value
    }

    /// The segment of `rank`, whose bucket begins in segment `base`: the last one that starts at the rank or before it.
    #[cold]
    fn search(&self, base: usize, rank: u32) -> Segment {
        let next = self.buckets.get((rank >> self.shift) as usize + 1);
        let end = next.map_or(self.segments.len(), |&next| next as usize + 1);
        let inside = &self.segments[base..end];
        let after = inside.partition_point(|segment| segment.first_rank <= rank);
        inside[after.max(1) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of segments of these lengths, numbered from 0.
    fn table(lens: &[u32]) -> RankTable {
        let mut first = 0u64;
        let segments = lens.iter().enumerate().map(|(i, &len)| {
            let segment = Segment { first_rank: first as u32, value: i as u32 };
            first += u64::from(len);
            segment
        });
        let segments: Vec<Segment> = segments.collect();
        RankTable::new(segments, first)
    }

    /// Even tables, in which every rank is close to its bucket's beginning, and uneven ones, in which some are far
    /// away.
    #[test]
    fn agrees_with_a_search() {
        let alternating: Vec<u32> = (0..4_096).map(|i| if i % 8 < 7 { 1 } else { 60_001 }).collect();
        let uneven: Vec<u32> = (0..3_000u32).map(|i| 1 + (i.wrapping_mul(2_654_435_761) >> 13)).collect();
        let crowd = [vec![(1 << 31) - (1 << 28)], vec![1; 5_000]].concat();
        let last = [vec![1 << 20; 3_000], vec![1; 9]].concat();
        for (lens, has_far) in [
            (vec![1 << 19], false),
            (vec![1 << 19; 3_000], false),
            (vec![400_001; 2_500], false),
            (vec![1; 5_000], false),
            (alternating, true),
            (uneven, true),
            (crowd, true),
            (last, true),
        ] {
            let table = table(&lens);
            let step = (table.len() / 100_000).max(1) as usize;
            let ranks = (0..table.len()).step_by(step).chain(table.len() - 20..table.len());
            let ranks: Vec<u32> = ranks.map(|rank| rank as u32).collect();
            let mut values = ranks.clone();
            table.replace(&mut values, |_, value| value);
            let mut far = 0;
            for (&rank, &value) in ranks.iter().zip(&values) {
                let after = table.segments().partition_point(|segment| segment.first_rank <= rank);
                assert_eq!((value, table.value(rank)), (after as u32 - 1, value));
                let base = table.buckets[(rank >> table.shift) as usize] as usize;
                far += usize::from(after - 1 - base > AHEAD);
            }
            assert_eq!(far > 0, has_far, "{far} of {} ranks", ranks.len());
        }
    }

    #[test]
    fn ends_of_segments() {
        let table = table(&[3, 1, 5]);
        assert_eq!([0, 1, 2].map(|i| table.end_of(i)), [3, 4, 9]);
        assert!(RankTable::new(vec![], 0).segments().is_empty());
    }
}
