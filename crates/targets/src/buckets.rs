//! Looks a rank up among many ranges, with one memory access for nearly all ranks.
//!
//! Owns the form of a long list of ranges for the hot path. Ranks are in buckets, and each bucket has a record of 16
//! bytes with the data for its ranks, or with the place of the rest of it. What always holds: for each rank the table
//! gives the same value as the segments that it was made from, or none.
//!
//! A look-up costs its cache misses, so the table is kept small: buckets are as long as possible, and the few with too
//! many steps for a record overflow into a second table.
//!
//! It saves 1.2 to 2.5 ns per probe over the table of all sets, among 30,000 to 300,000 prefixes, and 18 of 126
//! instructions (bench/README.md, "Look-ups"). With it, 100,000 prefixes cost at most 1.3 times as much as the shipped
//! block list, and 1.5 times without it. Prefetching the records, which was tried, saved only 0.5 ns.

use fearless_simd::{Simd, i32x16, prelude::*, u32x4, u32x16};
use simd::{BATCH_MAX, Kernel, Level, signed};

use super::rank::Segment;

/// Steps that fit in a record: all of its words but the first.
const STEPS: usize = 3;
/// Steps that fit in the overflow of a crowded bucket. With fewer, more ranks need a search; with more, each crowded
/// rank compares more.
const MORE_STEPS: usize = 8;
/// Placeholder for an unused step: it adds nothing.
const NO_STEP: u32 = 0xffff << 16;
/// Overflow marker: replaces the last step if there are more steps than fit. 0 is free for this, because no step begins
/// at the start of a bucket. It adds nothing.
const CROWDED: u32 = 0;
/// Most that the steps of a bucket may add, so that their sum stays in its half of the word.
const RISE_MAX: u32 = 0xffff;
/// Bits of a rank in a step, and so the longest bucket.
const SHIFT_MAX: u32 = 16;
/// Ranks per call of the vector code: a whole batch. Fewer cost more calls.
const PIECE: usize = BATCH_MAX;
/// Words in a record.
const WORDS: usize = 4;
/// Ranks that are looked up side by side: as many as a vector of AVX-512 holds. The code depends on this width.
const GROUP: usize = 16;
/// At most one bucket in this many may be crowded. A higher share costs more second accesses; a lower one refuses
/// tables that are still faster.
const CROWDED_SHARE: u64 = 20;
/// At most one rank in this many may lie in a bucket without a value in the table. A higher share costs more searches;
/// a lower one refuses tables that are still faster.
const UNSAID_SHARE: u64 = 500;
/// Most records: 4 MiB. A larger table would leave the caches, while two accesses to a smaller one stay in them.
const RECORDS_MAX: u64 = 1 << 18;

/// Values by rank.
///
/// A record holds the data for a bucket's ranks: one memory access, because none crosses a cache line. Its first word
/// is the value of the bucket's first rank. The others are steps: the upper half is the rank in the bucket from which
/// it applies, the lower half is added to the value. Unused steps add nothing. Steps are stored as [`signed`] makes
/// them.
///
/// In a crowded bucket's record the last step is [`CROWDED`], and the one before it adds nothing: its upper half is the
/// index of the bucket's steps in `more`. If those are too many as well, their last one is [`CROWDED`].
#[derive(Clone, Debug)]
pub(super) struct BucketTable {
    /// A power of two in number; those after the last rank's are never read.
    records: Box<[Record]>,
    more: Box<[More]>,
    shift: u32,
}

/// The data for a bucket's ranks.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
struct Record([u32; WORDS]);

/// The steps of a crowded bucket.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct More([u32; MORE_STEPS]);

/// The content of a bucket according to the segments.
struct Bucket {
    /// The value of its first rank.
    base: u32,
    steps: [u32; MORE_STEPS],
    /// The number of steps; more than fit are too many.
    count: usize,
}

impl Bucket {
    /// Takes the bucket of the ranks `start..end`. `current` is the last segment that begins before the bucket or at
    /// its first rank, and `rest` are those after it. Afterwards `current` is the bucket's last segment, and `rest` are
    /// those after the bucket.
    fn take(start: u64, end: u64, current: &mut Segment, rest: &mut &[Segment]) -> Self {
        let mut bucket = Self { base: current.value, steps: [NO_STEP; MORE_STEPS], count: 0 };
        let mut rises = 0u32;
        while let [next, later @ ..] = *rest
            && u64::from(next.first_rank) < end
        {
            let offset = u64::from(next.first_rank) - start;
            let rise = next.value.wrapping_sub(current.value);
            rises = rises.saturating_add(rise);
            if offset == 0 {
                (bucket.base, rises) = (next.value, 0);
            } else if bucket.count < MORE_STEPS && rises <= RISE_MAX {
                bucket.steps[bucket.count] = (offset as u32) << 16 | rise;
                bucket.count += 1;
            } else {
                bucket.count = MORE_STEPS + 1;
            }
            (*current, *rest) = (*next, later);
        }
        bucket
    }

    /// Its record; if it is crowded, `more` is the index of its steps.
    fn record(&self, more: usize) -> Record {
        let [first, second, third, ..] = self.steps;
        let steps =
            if self.count > STEPS { [NO_STEP, (more as u32) << 16, CROWDED] } else { [first, second, third] };
        let [first, second, third] = steps.map(signed);
        Record([self.base, first, second, third])
    }

    /// Its steps.
    fn more(mut self) -> More {
        if self.count > MORE_STEPS {
            self.steps[MORE_STEPS - 1] = CROWDED;
        }
        More(self.steps.map(signed))
    }
}

impl BucketTable {
    /// A table of `segments`, ascending, over the ranks `0..len`; the first segment starts at 0. It is the smallest
    /// that is good enough. `None` if the segments are too few or too many for such a table, or so uneven that it would
    /// often have no value.
    pub(super) fn new(segments: &[Segment], len: u64) -> Option<Self> {
        let wanted = (segments.len() as u64).next_power_of_two();
        let mut sizes = [wanted / 2, wanted, 2 * wanted]
            .into_iter()
            .filter(|buckets| (1..=RECORDS_MAX).contains(buckets));
        sizes.find_map(|buckets| {
            let shift = (len.next_power_of_two() / buckets).max(1).trailing_zeros();
            let (table, unsaid) = Self::with_shift(segments, len, shift)?;
            let has_room = table.more.len() as u64 * CROWDED_SHARE <= len.div_ceil(1 << shift);
            (has_room && unsaid * UNSAID_SHARE <= len).then_some(table)
        })
    }

    /// The table with buckets of `1 << shift` ranks, and the number of ranks in buckets without a value. `None` if
    /// steps have no room for such buckets, or too many buckets are crowded.
    fn with_shift(segments: &[Segment], len: u64, shift: u32) -> Option<(Self, u64)> {
        if shift > SHIFT_MAX {
            return None;
        }
        let (&(mut current), mut rest) = segments.split_first()?;
        let (mut more, mut unsaid) = (vec![], 0);
        let count = len.div_ceil(1 << shift).next_power_of_two();
        let records = (0..count).map(|number| {
            let (start, end) = (number << shift, (number + 1) << shift);
            let bucket = Bucket::take(start, end, &mut current, &mut rest);
            let record = bucket.record(more.len());
            unsaid += if bucket.count > MORE_STEPS { end - start } else { 0 };
            if bucket.count > STEPS {
                more.push(bucket.more());
            }
            record
        });
        let records = records.collect();
        (more.len() <= 1 << 16).then(|| (Self { records, more: more.into(), shift }, unsaid))
    }

    /// Adds to each rank its value, modulo 2^32. `other` gives the value if the table does not. All ranks are below the
    /// table's length.
    #[inline]
    pub(super) fn add(&self, level: Level, ranks: &mut [u32], other: impl Fn(u32) -> u32) {
        for ranks in ranks.chunks_mut(PIECE) {
            level.run(Add { table: self, ranks, other: &other });
        }
    }

    /// The record of the bucket that `rank` is in.
    #[inline(always)]
    fn record(&self, rank: u32) -> [u32; WORDS] {
        self.records[(rank >> self.shift) as usize].0
    }

    /// A rank in a crowded bucket, with its value added.
    #[inline]
    fn add_crowded(&self, rank: u32, other: impl Fn(u32) -> u32) -> u32 {
        let [base, _, number, _] = self.record(rank);
        let More(steps) = &self.more[(signed(number) >> 16) as usize];
        if steps[MORE_STEPS - 1] == signed(CROWDED) {
            return rank.wrapping_add(other(rank));
        }
        let offset = rank & ((1 << self.shift) - 1);
        let passed = signed(offset << 16 | 0xffff).cast_signed();
        let rises = steps.map(|step| if step.cast_signed() <= passed { step } else { 0 });
        rank.wrapping_add(base).wrapping_add(rises.into_iter().fold(0, u32::wrapping_add) & 0xffff)
    }
}

/// The work of [`BucketTable::add`], for up to [`PIECE`] ranks.
struct Add<'a, F> {
    table: &'a BucketTable,
    ranks: &'a mut [u32],
    other: F,
}

impl<F: Fn(u32) -> u32> Kernel for Add<'_, F> {
    type Output = ();

    /// Ranks with crowded records are handled last.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut crowded = [0; PIECE / GROUP];
        let (groups, rest) = self.ranks.as_chunks_mut::<GROUP>();
        let last = groups.len();
        for (ranks, crowded) in groups.iter_mut().zip(&mut crowded) {
            *crowded = add_group(simd, self.table, ranks);
        }
        if !rest.is_empty() {
            let mut ranks = [0; GROUP];
            ranks[..rest.len()].copy_from_slice(rest);
            crowded[last] = add_group(simd, self.table, &mut ranks) & ((1 << rest.len()) - 1);
            rest.copy_from_slice(&ranks[..rest.len()]);
        }
        // Many at a time, because the number of crowded ones in a few groups cannot be predicted.
        for (i, crowded) in crowded.as_chunks::<4>().0.iter().enumerate() {
            let mut crowded = crowded.iter().rev().fold(0u64, |all, &bits| all << 16 | u64::from(bits));
            while crowded != 0 {
                let rank = &mut self.ranks[i * 64 + crowded.trailing_zeros() as usize];
                crowded &= crowded - 1;
                *rank = self.table.add_crowded(*rank, &self.other);
            }
        }
    }
}

/// Adds to each rank the value in its record, and nothing if that is crowded. All steps are tested without branches,
/// because it cannot be predicted which of them count. Returns a bit for each crowded record.
#[inline(always)]
fn add_group<S: Simd>(simd: S, table: &BucketTable, ranks: &mut [u32; GROUP]) -> u16 {
    // A rank's offset in its bucket, shifted to the position that steps use.
    let offset_mask = ((1u32 << table.shift) - 1) << 16;
    let rank = u32x16::simd_from(simd, *ranks);
    // A step that begins at this rank or before it is at most this, whatever it adds.
    let passed: i32x16<S> = (((rank << 16) & offset_mask) ^ signed(0xffff)).bitcast();
    let [base, a, b, c] = words(simd, |i| table.record(ranks[i]));
    let rise = up_to(a, passed) + up_to(b, passed) + up_to(c, passed);
    let sum = rank + base + (rise & 0xffff);
    let is_crowded = c.simd_eq(signed(CROWDED));
    is_crowded.select(rank, sum).store_array(ranks);
    is_crowded.to_bitmask() as u16
}

/// The steps that are at most `most`, and 0 in place of the others.
#[inline(always)]
fn up_to<S: Simd>(steps: u32x16<S>, most: i32x16<S>) -> u32x16<S> {
    let zero = u32x16::splat(steps.simd, 0);
    steps.bitcast::<i32x16<S>>().simd_gt(most).select(zero, steps)
}

/// Word 0, 1, ... of each of these records. It calls nothing that might not be inlined, such as `map`: that would be
/// compiled separately, without these instructions.
#[inline(always)]
fn words<S: Simd>(simd: S, record: impl Fn(usize) -> [u32; WORDS]) -> [u32x16<S>; WORDS] {
    let mut words = [[u32x4::splat(simd, 0); GROUP / WORDS]; WORDS];
    for quarter in 0..GROUP / WORDS {
        let a = u32x4::simd_from(simd, record(4 * quarter));
        let b = u32x4::simd_from(simd, record(4 * quarter + 1));
        let c = u32x4::simd_from(simd, record(4 * quarter + 2));
        let d = u32x4::simd_from(simd, record(4 * quarter + 3));
        let ((a0, a1), (b0, b1)) = (a.interleave(c), b.interleave(d));
        (words[0][quarter], words[1][quarter]) = a0.interleave(b0);
        (words[2][quarter], words[3][quarter]) = a1.interleave(b1);
    }
    let [base, a, b, c] = words;
    [joined(base), joined(a), joined(b), joined(c)]
}

#[inline(always)]
fn joined<S: Simd>([a, b, c, d]: [u32x4<S>; GROUP / WORDS]) -> u32x16<S> {
    a.combine(b).combine(c.combine(d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Segments of these lengths. Each adds as much more as `rises` says. Also returns the number of ranks.
    fn segments(lens: &[u32], rises: &[u32]) -> (Vec<Segment>, u64) {
        let (mut first, mut value) = (0u64, 7u32);
        let mut segments = vec![];
        for (&len, &rise) in lens.iter().zip(rises) {
            segments.push(Segment { first_rank: first as u32, value });
            first += u64::from(len);
            value = value.wrapping_add(rise);
        }
        (segments, first)
    }

    /// Whether not all segments that begin in the bucket of this rank fit.
    fn is_unsaid(segments: &[Segment], shift: u32, rank: u32) -> bool {
        let bucket = rank >> shift;
        let begin = segments.partition_point(|segment| segment.first_rank <= bucket << shift);
        let end = segments.partition_point(|segment| segment.first_rank >> shift <= bucket);
        let rises = (begin..end).map(|i| u64::from(segments[i].value.wrapping_sub(segments[i - 1].value)));
        rises.sum::<u64>() > 0xffff || end - begin > 8
    }

    /// For ranks near the ends of segments the table gives the same value as a search, or none, and it has no value for
    /// exactly those that do not fit.
    fn check(table: &BucketTable, segments: &[Segment], len: u64) {
        let near = segments
            .iter()
            .flat_map(|segment| (0..5).map(|i| segment.first_rank.wrapping_add(i).wrapping_sub(2)));
        let ranks: Vec<u32> = near.filter(|&rank| u64::from(rank) < len).chain([(len - 1) as u32]).collect();
        let search =
            |rank: u32| segments[segments.partition_point(|segment| segment.first_rank <= rank) - 1].value;
        let expected: Vec<u32> = ranks.iter().map(|&rank| rank.wrapping_add(search(rank))).collect();
        let expected_unsaid = ranks.iter().filter(|&&rank| is_unsaid(segments, table.shift, rank)).count();
        let unsaid = std::cell::Cell::new(0);
        for level in Level::available() {
            unsaid.set(0);
            let mut found = ranks.clone();
            table.add(level, &mut found, |rank| {
                unsaid.set(unsaid.get() + 1);
                search(rank)
            });
            let wrong =
                ranks.iter().zip(&found).zip(&expected).find(|((_, found), expected)| found != expected);
            assert_eq!(wrong, None, "{level:?}");
            assert_eq!(unsaid.get(), expected_unsaid, "{level:?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_search(
            lens in prop::collection::vec(prop_oneof![1u32..4, 1u32..100, 1u32..70_000], 1..600),
            rises in prop::collection::vec(prop_oneof![1u32..4, 1u32..70_000, any::<u32>()], 600),
            shift in 0u32..=SHIFT_MAX,
        ) {
            let (segments, len) = segments(&lens, &rises);
            let (table, _) = BucketTable::with_shift(&segments, len, shift).unwrap();
            check(&table, &segments, len);
            if let Some(table) = BucketTable::new(&segments, len) {
                check(&table, &segments, len);
            }
        }
    }

    /// As many steps in a bucket as fit, and one more; the largest sum; the latest start.
    #[test]
    fn buckets_have_room_up_to_their_limits() {
        // The steps of the second bucket: after how many of its ranks, and how much they add; whether it is crowded,
        // and whether the table has no value for it.
        let cases = [
            (4u32, vec![(1u32, 5u32), (2, 6), (15, 7)], false, false),
            (4, vec![(1, 5), (2, 6), (3, 7), (15, 8)], true, false),
            (4, vec![(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (15, 1)], true, false),
            (4, vec![(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (15, 1)], true, true),
            (4, vec![(0, 70_000), (1, 2), (3, 0xfffc), (8, 1)], false, false),
            (4, vec![(1, 2), (3, 0xfffc), (8, 2)], true, true),
            (4, vec![(1, 2), (3, 0xfff0), (8, 2), (9, 3), (15, 8)], true, false),
            (16, vec![(1, 1), (0xfffe, 2), (0xffff, 0xfffc)], false, false),
            (16, vec![(0xfffc, 1), (0xfffd, 1), (0xfffe, 2), (0xffff, 0xfffb)], true, false),
        ];
        for (shift, steps, crowded, unsaid) in cases {
            let (mut value, bucket) = (7, 1 << shift);
            let mut segments = vec![Segment { first_rank: 0, value }];
            for &(offset, rise) in &steps {
                value += rise;
                segments.push(Segment { first_rank: bucket + offset, value });
            }
            let len = 3 * u64::from(bucket);
            let (table, said_nothing_of) = BucketTable::with_shift(&segments, len, shift).unwrap();
            assert_eq!(table.more.len(), usize::from(crowded), "{steps:?}");
            assert_eq!(said_nothing_of, if unsaid { bucket.into() } else { 0 }, "{steps:?}");
            assert_eq!(is_unsaid(&segments, shift, bucket), unsaid, "{steps:?}");
            check(&table, &segments, len);
        }
    }

    /// Networks all over the address space, as in opt-out lists, get a table with values for nearly all ranks, the
    /// smallest such.
    #[test]
    fn even_sets_have_a_table() {
        for (count, records) in [
            (3_000, 0),
            (40_000, 0x1_0000),
            (70_000, 0x1_0000),
            (100_000, 0x2_0000),
            (130_000u32, 0x2_0000),
            (300_000, 0x4_0000),
            (900_000, 0),
        ] {
            // As between random places: many short, few long.
            let mean = 3.7e9 / f64::from(count);
            let noise = |i: u32| {
                let mixed = i.wrapping_mul(0x9e37_79b9);
                f64::from((mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca6b) | 1) / 2f64.powi(32)
            };
            let lens: Vec<u32> = (0..count).map(|i| (mean * -noise(i).ln()) as u32 + 1).collect();
            let rises: Vec<u32> = (0..count).map(|i| 1 << (i % 13)).collect();
            let (segments, len) = segments(&lens, &rises);
            let table = BucketTable::new(&segments, len);
            assert_eq!(table.as_ref().map_or(0, |table| table.records.len()), records, "{count}");
            if let Some(table) = table {
                check(&table, &segments, len);
            }
        }
    }

    /// A crowd among them does not: its buckets would hold more than fits.
    #[test]
    fn crowds_have_none() {
        let lens: Vec<u32> = (0..100_500).map(|i| if i < 500 { 7_000_000 } else { 1_000 }).collect();
        let (crowd, len) = segments(&lens, &vec![1; lens.len()]);
        assert!(BucketTable::new(&crowd, len).is_none());
        assert!(BucketTable::new(&[], 0).is_none());
    }
}
