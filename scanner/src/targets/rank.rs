//! Finding the segment of a rank.
//!
//! Owns the search that is made once a probe, for every form in which a set of addresses is kept: a sorted table of
//! segments, 8 bytes each, and a bucket table of 4 bytes a bucket in front of it.

/// Buckets for small sets, so that most hold one segment only: 8 KiB.
const BUCKETS_MIN: u64 = 1 << 11;

/// Most segments that the usual look-up counts.
const AHEAD_MAX: usize = 7;

/// Segments that the usual look-up may look at beyond the last one.
const PADDING: usize = AHEAD_MAX + 1;

/// One rank in this many may lie further on than the usual look-up sees.
const FAR_SHARE: u64 = 256;

/// Ranks that are looked up side by side.
const PIECE: usize = 64;

/// Consecutive ranks with something in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first of its ranks.
    pub(super) first_rank: u32,
    /// What its owner knows of it.
    pub(super) value: u32,
}

/// Segments by rank.
///
/// Bucket `b` names the segment of rank `b << shift`; the segment of any rank in the bucket is that one or one of the
/// few after it. Nearly every rank is looked up in the same few steps: steps that depended on the rank would be
/// mispredicted. A rank with more segments between it and its bucket's beginning is searched for on its own.
#[derive(Clone, Debug)]
pub(super) struct RankTable {
    /// The segments, then [`PADDING`] copies of the last one that start at the last rank, for look-ups that reach
    /// beyond the end.
    segments: Box<[Segment]>,
    /// The first segment of each bucket.
    buckets: Box<[u32]>,
    shift: u32,
    /// Segments that the usual look-up counts behind a bucket's first: 0 to 3, or [`AHEAD_MAX`].
    ahead: usize,
    len: u64,
}

impl RankTable {
    /// A table of `segments`, ascending, over the ranks `0..len`, of which the first segment starts at 0. `len` is up
    /// to 2^32, and no segment is empty.
    pub(super) fn new(mut segments: Vec<Segment>, len: u64) -> Self {
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
            // If the ranks are so many that one equals theirs, it belongs to the last segment: same value.
            segments.extend([Segment { first_rank: u32::MAX, ..last }; PADDING]);
        }
        Self { segments: segments.into(), buckets, shift, ahead, len }
    }

    /// How many ranks there are, up to 2^32.
    #[inline]
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The segments, ascending.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments[..self.segments.len().saturating_sub(PADDING)]
    }

    /// The rank after the last one of segment `i`.
    pub(super) fn end_of(&self, i: usize) -> u64 {
        self.segments().get(i + 1).map_or(self.len, |next| u64::from(next.first_rank))
    }

    /// The value of the segment of `rank`, which is below [`Self::len`].
    pub(super) fn value(&self, rank: u32) -> u32 {
        self.value_from::<AHEAD_MAX>(self.buckets[(rank >> self.shift) as usize] as usize, rank)
    }

    /// Replaces each rank by what `make` makes of it and of its segment's value. All ranks are below [`Self::len`].
    #[inline(always)]
    pub(super) fn replace(&self, ranks: &mut [u32], make: impl Fn(u32, u32) -> u32) {
        match self.ahead {
            0 => self.replace_in::<0>(ranks, make),
            1 => self.replace_in::<1>(ranks, make),
            2 => self.replace_in::<2>(ranks, make),
            3 => self.replace_in::<3>(ranks, make),
            _ => self.replace_in::<AHEAD_MAX>(ranks, make),
        }
    }

    /// Buckets of a whole piece first: the look-ups of its ranks then wait for memory side by side.
    #[inline(always)]
    fn replace_in<const AHEAD: usize>(&self, ranks: &mut [u32], make: impl Fn(u32, u32) -> u32) {
        let mut bases = [0; PIECE];
        for ranks in ranks.chunks_mut(PIECE) {
            for (base, &rank) in bases.iter_mut().zip(&*ranks) {
                *base = self.buckets[(rank >> self.shift) as usize];
            }
            for (&base, rank) in bases.iter().zip(ranks) {
                *rank = make(*rank, self.value_from::<AHEAD>(base as usize, *rank));
            }
        }
    }

    /// The value of the segment of `rank`, whose bucket begins in segment `base`.
    #[inline(always)]
    fn value_from<const AHEAD: usize>(&self, base: usize, rank: u32) -> u32 {
        debug_assert!(u64::from(rank) < self.len);
        let near = &self.segments[base..base + AHEAD + 2];
        if near[AHEAD + 1].first_rank <= rank {
            return search(&self.segments[base..], rank).value;
        }
        // Counted, not searched: which of them it is cannot be predicted, and the compares need not wait for each other.
        let passed = near[1..=AHEAD].iter().filter(|segment| segment.first_rank <= rank).count();
        near[passed].value
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

    /// Tables for which each of the usual look-ups is made, and one with a crowded bucket.
    #[test]
    fn every_usual_look_up() {
        let alternating: Vec<u32> = (0..4_096).map(|i| if i % 8 < 7 { 1 } else { 60_001 }).collect();
        let uneven: Vec<u32> = (0..3_000u32).map(|i| 1 + (i.wrapping_mul(2_654_435_761) >> 13)).collect();
        let crowd = [vec![(1 << 31) - (1 << 28)], vec![1; 5_000]].concat();
        let regular = vec![400_001; 2_500];
        let skewed: Vec<u32> = (0..4_000u64)
            .map(|i| u64::from((i as u32).wrapping_mul(2_654_435_761) >> 16))
            .map(|noise| 1 + (noise.pow(2) >> 13) as u32)
            .collect();
        let mut depths = vec![];
        for lens in
            [vec![1 << 19], vec![1 << 19; 3_000], vec![1; 5_000], crowd, alternating, uneven, regular, skewed]
        {
            let table = table(&lens);
            let step = (table.len() / 100_000).max(1) as usize;
            let ranks: Vec<u32> = (0..table.len()).step_by(step).map(|rank| rank as u32).collect();
            let mut values = ranks.clone();
            table.replace(&mut values, |_, value| value);
            for (&rank, &value) in ranks.iter().zip(&values) {
                let after = table.segments().partition_point(|segment| segment.first_rank <= rank);
                assert_eq!((value, table.value(rank)), (after as u32 - 1, value));
            }
            depths.push(table.ahead);
        }
        depths.sort_unstable();
        depths.dedup();
        assert_eq!(depths, [0, 1, 2, 3, AHEAD_MAX]);
    }

    #[test]
    fn ends_of_segments() {
        let table = table(&[3, 1, 5]);
        assert_eq!([0, 1, 2].map(|i| table.end_of(i)), [3, 4, 9]);
        assert!(RankTable::new(vec![], 0).segments().is_empty());
    }
}
