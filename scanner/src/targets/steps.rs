//! The look-up of a rank among few ranges: all of them are compared with it, and nothing is looked up in memory.
//!
//! Owns the form in which a short list of ranges is made for vectors. What always holds: it adds to each rank what the
//! table of the same segments says.

use super::rank::Segment;
use crate::simd::{Kernel, Level, signed};

/// Most segments behind the first one for which this is faster than a table, in the portable code too.
const STEPS_MAX: usize = 32;
/// As many as the block list that comes with xdpmap leaves, and one more: less than half of the work.
const STEPS_FEW: usize = 12;

/// What to add to a rank, as a sum of steps: each is added from its rank on.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    /// What is added to every rank, modulo 2^32.
    base: u32,
    /// The last rank before a step, ascending, in the order of [`signed`]; behind the last step, the greatest one.
    befores: [i32; STEPS_MAX],
    /// How much it adds, modulo 2^32; behind the last step, 0.
    rises: [u32; STEPS_MAX],
    len: usize,
}

impl Steps {
    /// The steps between these segments, whose values are to be added; `None` if they are too many.
    pub(super) fn new(segments: &[Segment]) -> Option<Self> {
        let [first, rest @ ..] = segments else { return None };
        if rest.len() > STEPS_MAX {
            return None;
        }
        let (mut befores, mut rises) = ([i32::MAX; STEPS_MAX], [0; STEPS_MAX]);
        for (i, pair) in segments.windows(2).enumerate() {
            // Not below 0: only the first segment begins there.
            befores[i] = signed(pair[1].first_rank - 1).cast_signed();
            rises[i] = pair[1].value.wrapping_sub(pair[0].value);
        }
        Some(Self { base: first.value, befores, rises, len: rest.len() })
    }

    /// Adds to each rank what belongs to it.
    pub(super) fn add(&self, level: Level, ranks: &mut [u32]) {
        if self.len <= STEPS_FEW {
            level.run(Add::<STEPS_FEW> { steps: self, ranks });
        } else {
            level.run(Add::<STEPS_MAX> { steps: self, ranks });
        }
    }
}

/// The work of [`Steps::add`] with the first `N` steps.
struct Add<'a, const N: usize> {
    steps: &'a Steps,
    ranks: &'a mut [u32],
}

impl<const N: usize> Kernel for Add<'_, N> {
    type Output = ();

    /// The inner loop is taken apart, so that the outer one becomes one over vectors.
    #[inline(always)]
    fn run(self) {
        let Some((befores, rises)) =
            self.steps.befores.first_chunk::<N>().zip(self.steps.rises.first_chunk::<N>())
        else {
            return;
        };
        let (base, befores, rises) = (self.steps.base, *befores, *rises);
        for rank in self.ranks {
            let mut sum = rank.wrapping_add(base);
            let rank_signed = signed(*rank).cast_signed();
            for i in 0..N {
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
        /// Against a search among the segments, at every level, for any number of them.
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
