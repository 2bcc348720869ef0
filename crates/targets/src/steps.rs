//! Looks a rank up among few ranges: compares it with all of them, without any table in memory.
//!
//! Owns the form of a short list of ranges for vectors. What always holds: it adds the same to each rank as the table
//! of the same segments.
//!
//! With the shipped block list, which most scans use, it saves 1.0 ns per probe over the table, and 26 of 125
//! instructions (bench/README.md, "Look-ups"). With up to 33 ranges it saved 0.3 ns, and cost 0.7 ns without wide
//! vectors.

use simd::{Kernel, Level, Simd, signed};

use super::rank::Segment;

/// Most segments after the first one for which this is faster than a table, also in the portable code: as many as the
/// shipped block list leaves, and one more. With more, the portable code is slower than a table; with fewer, the
/// shipped block list would not profit.
const STEPS_MAX: usize = 12;

/// The value to add to a rank, as a sum of steps: each applies from its rank on.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    /// Added to every rank, modulo 2^32.
    base: u32,
    /// The last rank before each step, ascending, in the order of [`signed`]; after the last step, the greatest one.
    befores: [i32; STEPS_MAX],
    /// How much each step adds, modulo 2^32; after the last step, 0.
    rises: [u32; STEPS_MAX],
}

impl Steps {
    /// The steps between these segments, whose values are to be added; `None` if there are too many.
    pub(super) fn new(segments: &[Segment]) -> Option<Self> {
        let [first, rest @ ..] = segments else { return None };
        if rest.len() > STEPS_MAX {
            return None;
        }
        let (mut befores, mut rises) = ([i32::MAX; STEPS_MAX], [0; STEPS_MAX]);
        for (i, pair) in segments.windows(2).enumerate() {
            // Not below 0, because only the first segment begins there.
            befores[i] = signed(pair[1].first_rank - 1).cast_signed();
            rises[i] = pair[1].value.wrapping_sub(pair[0].value);
        }
        Some(Self { base: first.value, befores, rises })
    }

    /// Adds its value to each rank.
    #[inline]
    pub(super) fn add(&self, level: Level, ranks: &mut [u32]) {
        level.run(Add { steps: self, ranks });
    }
}

/// The work of [`Steps::add`].
struct Add<'a> {
    steps: &'a Steps,
    ranks: &'a mut [u32],
}

impl Kernel for Add<'_> {
    type Output = ();

    /// The inner loop is unrolled, so that the outer one is vectorised.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Steps { base, befores, rises } = *self.steps;
        for rank in self.ranks {
            let mut sum = rank.wrapping_add(base);
            let rank_signed = signed(*rank).cast_signed();
            for i in 0..STEPS_MAX {
                sum = sum.wrapping_add(if rank_signed > befores[i] { rises[i] } else { 0 });
            }
            *rank = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Compared with a search among the segments, at every level, for any number of them.
        #[test]
        fn agrees_with_a_search(
            mut firsts in prop::collection::btree_set(1u32.., 0..=STEPS_MAX),
            values in prop::collection::vec(any::<u32>(), STEPS_MAX + 1),
            others in prop::collection::vec(any::<u32>(), 0..200),
        ) {
            firsts.insert(0);
            firsts.extend((firsts.len() < STEPS_MAX).then_some(u32::MAX));
            let segments: Vec<Segment> =
                firsts.iter().zip(&values).map(|(&first_rank, &value)| Segment { first_rank, value }).collect();
            let steps = Steps::new(&segments).unwrap();
            let near = firsts.iter().flat_map(|&first| [first.saturating_sub(1), first, first.saturating_add(1)]);
            let ranks: Vec<u32> = near.chain(others).chain([u32::MAX]).collect();
            let expected: Vec<u32> = ranks
                .iter()
                .map(|&rank| {
                    let after = segments.partition_point(|segment| segment.first_rank <= rank);
                    rank.wrapping_add(segments[after - 1].value)
                })
                .collect();
            for level in Level::available() {
                let mut found = ranks.clone();
                steps.add(level, &mut found);
                prop_assert_eq!(&found, &expected, "{:?}", level);
            }
        }
    }

    #[test]
    fn too_many_or_none() {
        let segment = |i: u32| Segment { first_rank: i, value: i };
        let segments: Vec<Segment> = (0..40).map(segment).collect();
        assert!(Steps::new(&segments[..0]).is_none());
        assert!(Steps::new(&segments[..1]).is_some() && Steps::new(&segments[..STEPS_MAX + 1]).is_some());
        assert!(Steps::new(&segments[..STEPS_MAX + 2]).is_none());
    }
}
