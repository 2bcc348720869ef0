//! The look-up of a rank among many ranges, in one look at memory.
//!
//! Owns the form in which a long list of ranges is made for the hot path: ranks in buckets, and for each bucket a record of
//! 16 bytes with all that a rank in it needs. What always holds: the table says of each rank what the segments that it was
//! made of say, or nothing.

use super::rank::Segment;
use crate::simd::{Kernel, Level, prefetch};

/// Steps that a record has room for.
const STEPS: usize = 3;
/// What stands for a step that is not there.
const NO_STEP: u32 = u32::MAX << 16;
/// What takes the place of the last step in a record that does not say all of its bucket.
const CROWDED: u32 = u32::MAX;
/// Bits of a rank that a step has room for: buckets are no longer than that.
const SHIFT_MAX: u32 = 16;
/// Ranks whose records are asked for at once.
const PIECE: usize = 32;
/// Ranks that are looked up at once, if all their records say all.
const ROW: usize = 16;
/// One rank in this many, at most, may lie in a bucket that its record does not say all of.
const CROWDED_SHARE: u64 = 500;
/// Most records, 4 MiB of them. More would leave the caches that two looks at a smaller table stay in.
const RECORDS_MAX: u64 = 1 << 18;

/// What a bucket's ranks need: one look at memory, as no record crosses a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
struct Record {
    /// The value of its first rank.
    base: u32,
    /// From which rank of the bucket on, in the upper half, how much is added to the value, in the lower one. Nothing is
    /// added where there are fewer steps.
    steps: [u32; STEPS],
}

/// Values by rank.
#[derive(Clone, Debug)]
pub(super) struct BucketTable {
    records: Box<[Record]>,
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
        let records = (0..len.div_ceil(1 << shift)).map(|bucket| {
            let (start, end) = (bucket << shift, (bucket + 1) << shift);
            let mut record = Record { base: current.value, steps: [NO_STEP; STEPS] };
            let mut count = 0;
            while let [next, later @ ..] = rest
                && u64::from(next.first_rank) < end
            {
                let offset = u64::from(next.first_rank) - start;
                let rise = next.value.wrapping_sub(current.value);
                if offset == 0 {
                    record.base = next.value;
                } else if count < STEPS && rise < CROWDED & 0xffff {
                    record.steps[count] = (offset as u32) << 16 | rise;
                    count += 1;
                } else {
                    count = STEPS + 1;
                }
                (current, rest) = (next, later);
            }
            if count > STEPS {
                record.steps[STEPS - 1] = CROWDED;
                crowded += 1 << shift;
            }
            record
        });
        let records = records.collect();
        Some((Self { records, shift }, crowded))
    }

    /// Adds to each rank its value, modulo 2^32. `other` says the value where the table says nothing. All ranks are below
    /// the table's length.
    pub(super) fn add(&self, level: Level, ranks: &mut [u32], other: impl Fn(u32) -> u32) {
        level.run(Add { table: self, ranks, other });
    }
}

/// The work of [`BucketTable::add`].
struct Add<'a, F> {
    table: &'a BucketTable,
    ranks: &'a mut [u32],
    other: F,
}

impl<F: Fn(u32) -> u32> Kernel for Add<'_, F> {
    type Output = ();

    /// Records of a whole piece first: what is made of them is work for vectors. Two pieces ahead of that, records are asked
    /// for: they are on their way meanwhile.
    #[inline(always)]
    fn run(self) {
        let BucketTable { records, shift } = self.table;
        let ask = |ranks: &[u32]| {
            ranks.iter().take(PIECE).for_each(|rank| prefetch(records, (rank >> shift) as usize));
        };
        let mut found = [Record { base: 0, steps: [NO_STEP; STEPS] }; PIECE];
        let mut rest = self.ranks;
        ask(rest);
        ask(rest.get(PIECE..).unwrap_or_default());
        while !rest.is_empty() {
            let (ranks, later) = rest.split_at_mut(PIECE.min(rest.len()));
            for (found, rank) in found.iter_mut().zip(&*ranks) {
                *found = records[(*rank >> shift) as usize];
            }
            ask(later.get(PIECE..).unwrap_or_default());
            for (ranks, found) in ranks.chunks_mut(ROW).zip(found.chunks(ROW)) {
                add_row(*shift, found, ranks, &self.other);
            }
            rest = later;
        }
    }
}

/// Adds to each rank what its record says, or `other`, where that says nothing.
#[inline(always)]
fn add_row(shift: u32, records: &[Record], ranks: &mut [u32], other: impl Fn(u32) -> u32) {
    let mask = (1u32 << shift) - 1;
    let mut last = 0;
    for record in records {
        last = last.max(record.steps[STEPS - 1]);
    }
    if last == CROWDED {
        for (rank, record) in ranks.iter_mut().zip(records) {
            let value =
                if record.steps[STEPS - 1] == CROWDED { other(*rank) } else { record.value(*rank & mask) };
            *rank = rank.wrapping_add(value);
        }
        return;
    }
    for (rank, record) in ranks.iter_mut().zip(records) {
        *rank = rank.wrapping_add(record.value(*rank & mask));
    }
}

impl Record {
    /// The value of rank number `offset` of the bucket, if the record says it.
    #[inline(always)]
    fn value(&self, offset: u32) -> u32 {
        // A step that begins at this rank or before it is no more than this, whatever it adds.
        let passed = offset << 16 | 0xffff;
        // All looked at, none branched on: which of them count cannot be predicted.
        let steps = self.steps.map(|step| if step <= passed { step & 0xffff } else { 0 });
        steps.iter().fold(self.base, |sum, step| sum.wrapping_add(*step))
    }
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
