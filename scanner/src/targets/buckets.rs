//! The look-up of a rank among many ranges, in one look at memory for nearly all.
//!
//! Owns the form in which a long list of ranges is made for the hot path: ranks in buckets, and for each bucket a record of
//! 16 bytes with what a rank in it needs, or with where the rest of that is. What always holds: the table says of each rank
//! what the segments that it was made of say, or nothing.
//!
//! What a look-up costs is waiting for what of the table is not near. So it is small: its buckets are as long as may be, at
//! the price of a few crowded ones whose records have no room for all of them.

use super::batch::BATCH_MAX;
use super::rank::Segment;
use crate::simd::{Level, Places, Quad, Row, WideKernel, signed};

/// Steps that a record has room for.
const STEPS: usize = 3;
/// Steps that the rest of a crowded bucket has room for.
const MORE_STEPS: usize = 2 * ROW;
/// What stands for a step that is not there: it adds nothing.
const NO_STEP: u32 = 0xffff << 16;
/// What takes the place of the last step where there are more steps than there is room for: no step begins where the bucket
/// does. It adds nothing.
const CROWDED: u32 = 0;
/// Most that the steps of a bucket add: their sum stays in its half of the word.
const RISE_MAX: u32 = 0xffff;
/// Bits of a rank that a step has room for: buckets are no longer than that.
const SHIFT_MAX: u32 = 16;
/// Ranks that are looked up at once.
const PIECE: usize = BATCH_MAX;
/// Numbers in a record.
const ROW: usize = Quad::WIDTH;
/// Ranks that are looked up side by side.
const GROUP: usize = 16;
/// Groups whose records are asked for ahead.
const GROUPS_AHEAD: usize = 4;
/// One bucket in this many, at most, may be crowded.
const CROWDED_SHARE: u64 = 20;
/// One rank in this many, at most, may lie in a bucket of which the table says nothing.
const UNSAID_SHARE: u64 = 500;
/// Most records, 4 MiB of them. More would leave the caches that two looks at a smaller table stay in.
const RECORDS_MAX: u64 = 1 << 18;

/// Values by rank.
///
/// A record is what a bucket's ranks need: one look at memory, as none crosses a cache line. Its first word is the value of
/// the bucket's first rank. The others are steps: from which rank of the bucket on, in the upper half, how much is added to
/// the value, in the lower one; nothing is added where there are fewer steps. Steps are kept as [`signed`] makes them.
///
/// In a crowded bucket's record the last step is [`CROWDED`], and the one before adds nothing: its upper half is the number
/// of the bucket's steps among `more`. If those are too many as well, their last one is [`CROWDED`].
#[derive(Clone, Debug)]
pub(super) struct BucketTable {
    /// As many as a power of two says: nobody asks those behind the last rank's.
    records: Box<[Quad]>,
    more: Box<[More]>,
    shift: u32,
}

/// The steps of a crowded bucket.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct More([Quad; MORE_STEPS / ROW]);

/// What the segments say of a bucket.
struct Bucket {
    /// The value of its first rank.
    base: u32,
    steps: [u32; MORE_STEPS],
    /// More than there is room for are too many.
    count: usize,
}

impl Bucket {
    /// The bucket of the ranks `start..end`. `current` is the last segment that begins before it, or at its first rank;
    /// `rest`, those after that one, is left with those after the bucket's, and `current` with its last.
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

    /// Its record, if it is crowded with `more` as the number of its steps.
    fn record(&self, more: usize) -> Quad {
        let [first, second, third, ..] = self.steps;
        let steps =
            if self.count > STEPS { [NO_STEP, (more as u32) << 16, CROWDED] } else { [first, second, third] };
        let [first, second, third] = steps.map(signed);
        Quad::from_numbers([self.base, first, second, third])
    }

    /// Its steps.
    fn more(mut self) -> More {
        if self.count > MORE_STEPS {
            self.steps[MORE_STEPS - 1] = CROWDED;
        }
        let rows = self.steps.as_chunks().0;
        More(std::array::from_fn(|row| Quad::from_numbers(rows[row].map(signed))))
    }
}

impl BucketTable {
    /// A table of `segments`, ascending, over the ranks `0..len`, of which the first segment starts at 0: the smallest
    /// that does. `None` if they are too few or too many for such a table, or lie too unevenly, so that it would often say
    /// nothing.
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

    /// The table with buckets of `1 << shift` ranks, and how many ranks lie in buckets that it says nothing of. `None` if
    /// steps have no room for such buckets, or too many are crowded.
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

    /// Adds to each rank its value, modulo 2^32. `other` says the value where the table says nothing. All ranks are below
    /// the table's length.
    pub(super) fn add(&self, level: Level, ranks: &mut [u32], other: impl Fn(u32) -> u32) {
        for ranks in ranks.chunks_mut(PIECE) {
            level.run_wide(Add { table: self, ranks, other: &other });
        }
    }

    /// The rank that `record`, of a crowded bucket, has made `sum` of, with its value.
    #[inline(always)]
    fn add_crowded(&self, sum: u32, record: Quad, other: impl Fn(u32) -> u32) -> u32 {
        let [base, _, number, _] = record.numbers();
        let rank = sum.wrapping_sub(base);
        let More([first, second]) = self.more[(signed(number) >> 16) as usize];
        if second.numbers()[ROW - 1] == signed(CROWDED) {
            return rank.wrapping_add(other(rank));
        }
        let offset = rank & ((1 << self.shift) - 1);
        let passed = Quad::of(signed(offset << 16 | 0xffff));
        let [first, second] = [first, second].map(|steps| steps.up_to(passed));
        let rise = first.plus(second).numbers().into_iter().fold(0, u32::wrapping_add);
        sum.wrapping_add(rise & 0xffff)
    }
}

/// The work of [`BucketTable::add`], for up to [`PIECE`] ranks.
struct Add<'a, F> {
    table: &'a BucketTable,
    ranks: &'a mut [u32],
    other: F,
}

impl<F: Fn(u32) -> u32> WideKernel for Add<'_, F> {
    /// Where all records are is known first. They are asked for some groups ahead, and are on their way meanwhile. What
    /// crowded records do not say is left for last.
    #[inline(always)]
    fn run<R: Row>(self) {
        let BucketTable { records, shift, .. } = self.table;
        let mut places = Places::<_, { PIECE / ROW }>::new(records);
        places.set(self.ranks, *shift);
        let ask = |group: usize| (0..GROUP / ROW).for_each(|row| places.ask(group * GROUP / ROW + row));
        (0..GROUPS_AHEAD).for_each(ask);
        let mut crowded = [0; PIECE / GROUP];
        let (groups, rest) = self.ranks.as_chunks_mut::<GROUP>();
        let last = groups.len();
        for ((group, ranks), crowded) in groups.iter_mut().enumerate().zip(&mut crowded) {
            ask(group + GROUPS_AHEAD);
            *crowded = add_group::<R>(*shift, ranks, |i| places.get(group * GROUP + i));
        }
        if !rest.is_empty() {
            let mut ranks = [0; GROUP];
            ranks[..rest.len()].copy_from_slice(rest);
            crowded[last] = add_group::<R>(*shift, &mut ranks, |i| places.get(last * GROUP + i))
                & ((1 << rest.len()) - 1);
            rest.copy_from_slice(&ranks[..rest.len()]);
        }
        // Many at a time: how many there are in a few groups cannot be predicted.
        for (i, crowded) in crowded.as_chunks::<4>().0.iter().enumerate() {
            let mut crowded = crowded.iter().rev().fold(0u64, |all, &bits| all << 16 | u64::from(bits));
            while crowded != 0 {
                let i = i * 64 + crowded.trailing_zeros() as usize;
                crowded &= crowded - 1;
                self.ranks[i] = self.table.add_crowded(self.ranks[i], places.get(i), &self.other);
            }
        }
    }
}

/// Adds to each rank what its record says. All steps are looked at, none branched on: which of them count cannot be
/// predicted. Tells which records are crowded, a bit each.
#[inline(always)]
fn add_group<R: Row>(shift: u32, ranks: &mut [u32; GROUP], record: impl Fn(usize) -> Quad) -> u16 {
    // A rank's offset in its bucket, moved up to where steps have theirs.
    let offset_mask = R::of(((1u32 << shift) - 1) << 16);
    let mut crowded = 0;
    for first in (0..GROUP).step_by(R::WIDTH) {
        let ranks = &mut ranks[first..first + R::WIDTH];
        let rank = R::load(ranks);
        // A step that begins at this rank or before it is no more than this, whatever it adds.
        let passed = rank.left(16).and(offset_mask).xor(R::of(signed(0xffff)));
        let [base, a, b, c] = R::columns(|i| record(first + i));
        let rise = a.up_to(passed).plus(b.up_to(passed)).plus(c.up_to(passed)).and(R::of(0xffff));
        rank.plus(base).plus(rise).store(ranks);
        crowded |= c.bits_of(signed(CROWDED)) << first;
    }
    crowded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Segments of these lengths, each of which adds as much more as `rises` says, and how many ranks they have.
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

    /// Whether there is no room for all that begins in the bucket of this rank.
    fn is_unsaid(segments: &[Segment], shift: u32, rank: u32) -> bool {
        let bucket = rank >> shift;
        let begin = segments.partition_point(|segment| segment.first_rank <= bucket << shift);
        let end = segments.partition_point(|segment| segment.first_rank >> shift <= bucket);
        let rises = (begin..end).map(|i| u64::from(segments[i].value.wrapping_sub(segments[i - 1].value)));
        rises.sum::<u64>() > 0xffff || end - begin > 8
    }

    /// The table says of ranks near the ends of segments what a search says, and leaves out as many as it has no room for.
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

    /// As many steps in a bucket as there is room for, and one more; as much that they add; as late as can be.
    #[test]
    fn buckets_have_room_up_to_their_limits() {
        // The steps of the second bucket, after how many ranks of it and how much they add; whether it is crowded, and
        // whether the table says nothing of it.
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

    /// Networks all over the address space, as opt-outs are, get a table that says nearly all, the smallest that does.
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
            // As between places that are chosen at random: many short, few long.
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

    /// A crowd among them does not: its buckets would hold more than there is room for.
    #[test]
    fn crowds_have_none() {
        let lens: Vec<u32> = (0..100_500).map(|i| if i < 500 { 7_000_000 } else { 1_000 }).collect();
        let (crowd, len) = segments(&lens, &vec![1; lens.len()]);
        assert!(BucketTable::new(&crowd, len).is_none());
        assert!(BucketTable::new(&[], 0).is_none());
    }
}
