//! Finding the segment of a rank.
//!
//! Owns the search that is made once a probe, for every form in which a set of addresses is kept: a sorted table of
//! segments, 8 bytes each, and a bucket table of 4 bytes a bucket in front of it.

/// Buckets for small sets, so that most hold one segment only: 8 KiB.
const BUCKETS_MIN: u64 = 1 << 11;

/// Most steps of the usual search.
const STEPS_MAX: u32 = 3;

/// Segments that the usual search may look at beyond the last one.
const PADDING: usize = (1 << STEPS_MAX) - 1;

/// One bucket in this many may be more crowded than the usual search can tell apart.
const CROWDED_SHARE: usize = 64;

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
/// few after it. They are searched by halves, in the same few steps for nearly every rank: steps that depended on the
/// rank would be mispredicted. The rare crowded bucket is searched on its own.
#[derive(Clone, Debug)]
pub(super) struct RankTable {
    /// The segments, then [`PADDING`] copies of the last one that start at the last rank, for searches that reach
    /// beyond the end.
    segments: Box<[Segment]>,
    /// One more than there are buckets with ranks, so that a bucket's successor always exists.
    buckets: Box<[u32]>,
    shift: u32,
    /// Steps of the usual search: it tells `2^steps` segments apart.
    steps: u32,
    len: u64,
}

impl RankTable {
    /// A table of `segments`, ascending, over the ranks `0..len`, of which the first segment starts at 0. `len` is up
    /// to 2^32, and no segment is empty.
    pub(super) fn new(mut segments: Vec<Segment>, len: u64) -> Self {
        let wanted = (segments.len() as u64).next_power_of_two().max(BUCKETS_MIN);
        let shift = (len.next_power_of_two() / wanted).max(1).trailing_zeros();
        let count = len.div_ceil(1 << shift) + 1;
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
        let steps = usual_steps(&buckets);
        if let Some(&last) = segments.last() {
            // If the ranks are so many that one equals theirs, it belongs to the last segment: same value.
            segments.extend([Segment { first_rank: u32::MAX, ..last }; PADDING]);
        }
        Self { segments: segments.into(), buckets, shift, steps, len }
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
        self.value_of::<STEPS_MAX>(rank)
    }

    /// Replaces each rank by what `make` makes of it and of its segment's value. All ranks are below [`Self::len`].
    #[inline(always)]
    pub(super) fn replace(&self, ranks: &mut [u32], make: impl Fn(u32, u32) -> u32) {
        match self.steps {
            0 => self.replace_in::<0>(ranks, make),
            1 => self.replace_in::<1>(ranks, make),
            2 => self.replace_in::<2>(ranks, make),
            _ => self.replace_in::<STEPS_MAX>(ranks, make),
        }
    }

    #[inline(always)]
    fn replace_in<const STEPS: u32>(&self, ranks: &mut [u32], make: impl Fn(u32, u32) -> u32) {
        for rank in ranks {
            *rank = make(*rank, self.value_of::<STEPS>(*rank));
        }
    }

    #[inline(always)]
    fn value_of<const STEPS: u32>(&self, rank: u32) -> u32 {
        debug_assert!(u64::from(rank) < self.len);
        let bucket = (rank >> self.shift) as usize;
        let mut base = self.buckets[bucket] as usize;
        let last = self.buckets[bucket + 1] as usize;
        if (last - base) >> STEPS != 0 {
            return search(&self.segments[base..=last], rank).value;
        }
        for step in (0..STEPS).rev() {
            base = self.advance(base, 1 << step, rank);
        }
        self.segments[base].value
    }

    /// `base`, or the segment `half` further on if it does not start after `rank`.
    #[inline(always)]
    fn advance(&self, base: usize, half: usize, rank: u32) -> usize {
        let further = self.segments[base + half].first_rank <= rank;
        // As arithmetic, so that it does not become a branch: which half it is cannot be predicted.
        base + (half & usize::from(further).wrapping_neg())
    }
}

/// The fewest steps, up to [`STEPS_MAX`], that do for all buckets but a [`CROWDED_SHARE`].
fn usual_steps(buckets: &[u32]) -> u32 {
    let crowded = |steps: u32| buckets.windows(2).filter(|pair| (pair[1] - pair[0]) >> steps != 0).count();
    (0..STEPS_MAX).find(|&steps| crowded(steps) <= buckets.len() / CROWDED_SHARE).unwrap_or(STEPS_MAX)
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

    /// Tables for which the usual search takes 0, 1, 2 and 3 steps, and one with a crowded bucket.
    #[test]
    fn every_depth_of_search() {
        let alternating: Vec<u32> = (0..4_096).map(|i| if i % 8 < 7 { 1 } else { 60_001 }).collect();
        let uneven: Vec<u32> = (0..3_000u32).map(|i| 1 + (i.wrapping_mul(2_654_435_761) >> 13)).collect();
        let crowd = [vec![(1 << 31) - (1 << 28)], vec![1; 5_000]].concat();
        let mut depths = vec![];
        for lens in [vec![1 << 19], vec![1 << 19; 3_000], vec![1; 5_000], crowd, alternating, uneven] {
            let table = table(&lens);
            let step = (table.len() / 100_000).max(1) as usize;
            let ranks: Vec<u32> = (0..table.len()).step_by(step).map(|rank| rank as u32).collect();
            let mut values = ranks.clone();
            table.replace(&mut values, |_, value| value);
            for (&rank, &value) in ranks.iter().zip(&values) {
                let after = table.segments().partition_point(|segment| segment.first_rank <= rank);
                assert_eq!((value, table.value(rank)), (after as u32 - 1, value));
            }
            depths.push(table.steps);
        }
        depths.sort_unstable();
        depths.dedup();
        assert_eq!(depths, [0, 1, 2, 3]);
    }

    #[test]
    fn ends_of_segments() {
        let table = table(&[3, 1, 5]);
        assert_eq!([0, 1, 2].map(|i| table.end_of(i)), [3, 4, 9]);
        assert!(RankTable::new(vec![], 0).segments().is_empty());
    }
}
