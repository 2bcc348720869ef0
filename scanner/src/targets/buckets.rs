//! The look-up of a rank among many ranges, in one look at memory.
//!
//! Owns the form in which a long list of ranges is made for the hot path: ranks in buckets, and for each bucket a record of
//! 16 bytes with all that a rank in it needs. What always holds: the table says of each rank what the segments that it was
//! made of say, or nothing.

use super::batch::BATCH_MAX;
use super::rank::Segment;
use crate::simd::{Kernel, Lane, Level, Places, Quad};

/// Steps that a record has room for.
const STEPS: usize = 3;
/// What stands for a step that is not there: it adds nothing.
const NO_STEP: u32 = 0xffff << 16;
/// What takes the place of the last step in a record that does not say all of its bucket.
const CROWDED: u32 = u32::MAX;
/// Most that the steps of a record add: their sum stays in its half of the word.
const RISE_MAX: u32 = 0xfffe;
/// Bits of a rank that a step has room for: buckets are no longer than that.
const SHIFT_MAX: u32 = 16;
/// Ranks that are looked up at once.
const PIECE: usize = BATCH_MAX;
/// Ranks whose records are put side by side.
const ROW: usize = Quad::WIDTH;
/// Rows that are looked up at once, if all their records say all.
const GROUP: usize = 4;
/// Groups whose records are asked for ahead.
const GROUPS_AHEAD: usize = 4;
/// One rank in this many, at most, may lie in a bucket that its record does not say all of.
const CROWDED_SHARE: u64 = 500;
/// Most records, 4 MiB of them. More would leave the caches that two looks at a smaller table stay in.
const RECORDS_MAX: u64 = 1 << 18;

/// A number as one that is compared with a sign, in the same order: not every processor's vectors compare without.
#[inline(always)]
fn signed(number: u32) -> u32 {
    number ^ 1 << 31
}

/// Values by rank.
///
/// A record is what a bucket's ranks need: one look at memory, as none crosses a cache line. Its first word is the value of
/// the bucket's first rank. The others are steps: from which rank of the bucket on, in the upper half, how much is added to
/// the value, in the lower one; nothing is added where there are fewer steps. Steps are kept as [`signed`] makes them.
#[derive(Clone, Debug)]
pub(super) struct BucketTable {
    /// As many as a power of two says: those behind the last rank's say nothing.
    records: Box<[Quad]>,
    shift: u32,
}

impl BucketTable {
    /// A table of `segments`, ascending, over the ranks `0..len`, of which the first segment starts at 0. `None` if they
    /// are too few or too many for such a table, or lie too unevenly, so that it would often say nothing.
    pub(super) fn new(segments: &[Segment], len: u64) -> Option<Self> {
        let wanted = (segments.len() as u64).next_power_of_two();
        let mut sizes = [wanted, 2 * wanted].into_iter().filter(|buckets| *buckets <= RECORDS_MAX);
        sizes.find_map(|buckets| {
            let shift = (len.next_power_of_two() / buckets).max(1).trailing_zeros();
            let (table, crowded) = Self::with_shift(segments, len, shift)?;
            (crowded * CROWDED_SHARE <= len).then_some(table)
        })
    }

    /// The table with buckets of `1 << shift` ranks, and how many ranks lie in buckets that it does not say all of.
    fn with_shift(segments: &[Segment], len: u64, shift: u32) -> Option<(Self, u64)> {
        if shift > SHIFT_MAX {
            return None;
        }
        let (mut current, mut rest) = segments.split_first()?;
        let mut crowded = 0;
        let count = len.div_ceil(1 << shift).next_power_of_two();
        let records = (0..count).map(|bucket| {
            let (start, end) = (bucket << shift, (bucket + 1) << shift);
            let mut base = current.value;
            let (mut steps, mut known, mut rises) = ([NO_STEP; STEPS], 0, 0u32);
            while let [next, later @ ..] = rest
                && u64::from(next.first_rank) < end
            {
                let offset = u64::from(next.first_rank) - start;
                let rise = next.value.wrapping_sub(current.value);
                rises = rises.saturating_add(rise);
                if offset == 0 {
                    (base, rises) = (next.value, 0);
                } else if known < STEPS && rises <= RISE_MAX {
                    steps[known] = (offset as u32) << 16 | rise;
                    known += 1;
                } else {
                    known = STEPS + 1;
                }
                (current, rest) = (next, later);
            }
            if known > STEPS {
                steps[STEPS - 1] = CROWDED;
                crowded += 1 << shift;
            }
            let [first, second, third] = steps.map(signed);
            Quad::from_numbers([base, first, second, third])
        });
        let records = records.collect();
        Some((Self { records, shift }, crowded))
    }

    /// Adds to each rank its value, modulo 2^32. `other` says the value where the table says nothing. All ranks are below
    /// the table's length.
    pub(super) fn add(&self, level: Level, ranks: &mut [u32], other: impl Fn(u32) -> u32) {
        for ranks in ranks.chunks_mut(PIECE) {
            level.run(Add { table: self, ranks, other: &other });
        }
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

    /// Where all records are is known first. They are asked for some groups ahead, and are on their way meanwhile.
    #[inline(always)]
    fn run(self) {
        let BucketTable { records, shift } = self.table;
        let places = Places::<_, { PIECE / ROW }>::new(records, self.ranks, |rank| rank >> shift);
        let ask = |group: usize| (0..GROUP).for_each(|row| places.ask(group * GROUP + row));
        (0..GROUPS_AHEAD).for_each(ask);
        let (groups, rest) = self.ranks.as_chunks_mut::<{ ROW * GROUP }>();
        let last = groups.len();
        for (group, ranks) in groups.iter_mut().enumerate() {
            ask(group + GROUPS_AHEAD);
            let found = std::array::from_fn(|row| places.get(group * GROUP + row));
            *ranks = add_group(*shift, ranks, found, &self.other);
        }
        if !rest.is_empty() {
            let mut ranks = [0; ROW * GROUP];
            ranks[..rest.len()].copy_from_slice(rest);
            let found = std::array::from_fn(|row| places.get(last * GROUP + row));
            rest.copy_from_slice(&add_group(*shift, &ranks, found, &self.other)[..rest.len()]);
        }
    }
}

/// Each rank with what its record adds, or `other`, where that says nothing. All steps are looked at, none branched on:
/// which of them count cannot be predicted.
#[inline(always)]
fn add_group(
    shift: u32,
    ranks: &[u32; ROW * GROUP],
    records: [[Quad; ROW]; GROUP],
    other: impl Fn(u32) -> u32,
) -> [u32; ROW * GROUP] {
    // A rank's offset in its bucket, moved up to where steps have theirs.
    let offset_mask = Quad::of(((1u32 << shift) - 1) << 16);
    let mut sums = [0; ROW * GROUP];
    let mut crowded = [Quad::of(0); GROUP];
    let rows = ranks.as_chunks().0.iter().zip(sums.as_chunks_mut().0);
    for (((rank, sum), records), crowded) in rows.zip(records).zip(&mut crowded) {
        let rank = Quad::from_numbers(*rank);
        // A step that begins at this rank or before it is no more than this, whatever it adds.
        let passed = rank.left(16).and(offset_mask).xor(Quad::of(signed(0xffff)));
        let [base, first, second, third] = Quad::columns(records);
        let steps = [first, second, third].map(|step| step.without(step.exceeds(passed)));
        let rise = steps[0].plus(steps[1]).plus(steps[2]).and(Quad::of(0xffff));
        *sum = rank.plus(base).plus(rise).numbers();
        *crowded = third.equals(Quad::of(signed(CROWDED)));
    }
    let any = crowded[0].or(crowded[1]).or(crowded[2].or(crowded[3]));
    if any.has_any() { add_crowded(ranks, sums, crowded.map(Quad::numbers), other) } else { sums }
}

/// The same where some records do not say all, which are `crowded`: of the others it is `sums`.
#[cold]
#[inline(never)]
fn add_crowded(
    ranks: &[u32; ROW * GROUP],
    sums: [u32; ROW * GROUP],
    crowded: [[u32; ROW]; GROUP],
    other: impl Fn(u32) -> u32,
) -> [u32; ROW * GROUP] {
    let crowded = crowded.as_flattened();
    std::array::from_fn(|i| if crowded[i] == 0 { sums[i] } else { ranks[i].wrapping_add(other(ranks[i])) })
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

    /// How many of the ranks near the ends of segments the table says nothing of; of the others it says what a search says.
    fn check(table: &BucketTable, segments: &[Segment], len: u64) -> usize {
        let near = segments
            .iter()
            .flat_map(|segment| (0..5).map(|i| segment.first_rank.wrapping_add(i).wrapping_sub(2)));
        let ranks: Vec<u32> = near.filter(|&rank| u64::from(rank) < len).chain([(len - 1) as u32]).collect();
        let search =
            |rank: u32| segments[segments.partition_point(|segment| segment.first_rank <= rank) - 1].value;
        let expected: Vec<u32> = ranks.iter().map(|&rank| rank.wrapping_add(search(rank))).collect();
        let unsaid = std::cell::Cell::new(0);
        for level in Level::available() {
            unsaid.set(0);
            let mut found = ranks.clone();
            table.add(level, &mut found, |rank| {
                unsaid.set(unsaid.get() + 1);
                search(rank)
            });
            assert_eq!(found, expected, "{level:?}");
        }
        unsaid.get()
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

    /// Networks all over the address space, as opt-outs are, get a table that says nearly all.
    #[test]
    fn even_sets_have_a_table() {
        for (count, has_table) in
            [(3_000, false), (70_000, true), (100_000, true), (130_000u32, true), (300_000, false)]
        {
            let mean = (3_700_000_000u64 / u64::from(count)) as u32;
            let noise = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) % (2 * mean - 1) + 1;
            let lens: Vec<u32> = (0..count).map(noise).collect();
            let rises: Vec<u32> = (0..count).map(|i| 1 << (i % 13)).collect();
            let (segments, len) = segments(&lens, &rises);
            let table = BucketTable::new(&segments, len);
            assert_eq!(table.is_some(), has_table, "{count}");
            let unsaid = table.map_or(0, |table| check(&table, &segments, len));
            assert!(unsaid < count as usize / 2, "{unsaid} of {count}");
        }
    }

    /// A crowd among them does not: its buckets would hold more than their records.
    #[test]
    fn crowds_have_none() {
        let lens: Vec<u32> = (0..100_500).map(|i| if i < 500 { 7_000_000 } else { 1_000 }).collect();
        let (crowd, len) = segments(&lens, &vec![1; lens.len()]);
        assert!(BucketTable::new(&crowd, len).is_none());
        assert!(BucketTable::new(&[], 0).is_none());
    }
}
