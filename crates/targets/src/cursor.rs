//! Walks an interval of the permutation.
//!
//! A cursor returns the indices of its interval in order, and always knows the next exponent. A new cursor from there
//! continues exactly. The order does not depend on the number of lanes that compute it.

use simd::{Kernel, Level, Simd};

use super::arith::{Multiplier, VectorMultiplier};
use super::permutation::Permutation;
use super::shard::Interval;

/// Independent chains of multiplications that a [`Cursor`] keeps in flight. With fewer, the processor waits for the
/// latency of each multiplication; four vectors of AVX-512 hide it, and more would need more registers.
pub const LANES: usize = 32;

/// The cursor of the scan's workers.
pub type Cursor = LaneCursor<LANES>;

/// A walk over one interval of exponents with `L` interleaved lanes.
///
/// Lane `k` holds the element of the next exponent that is `k` modulo `L`, counted from the start of the walk. Taking
/// an element multiplies its lane by `root^L`, whether one is taken or a whole row.
#[derive(Clone, Debug)]
pub struct LaneCursor<const L: usize> {
    lanes: [u64; L],
    /// The lane of the next exponent.
    head: usize,
    step: Multiplier,
    /// The same step, for whole rows.
    row_step: VectorMultiplier,
    level: Level,
    /// Larger elements are skipped.
    targets: u64,
    position: u64,
    end: u64,
    skipped: u64,
}

impl<const L: usize> LaneCursor<L> {
    /// A walk over `interval`, which ends at the end of the order at the latest.
    pub fn new(permutation: &Permutation, interval: Interval) -> Self {
        const { assert!(L > 0) };
        let end = interval.end.min(permutation.order());
        let position = interval.start.min(end);
        let mut element = permutation.element_at(position);
        let by_root = Multiplier::new(permutation.root(), permutation.prime());
        let lanes = std::array::from_fn(|_| {
            let lane = element;
            element = by_root.apply(element);
            lane
        });
        let factor = permutation.power_of_root(L as u64);
        Self {
            lanes,
            head: 0,
            step: Multiplier::new(factor, permutation.prime()),
            row_step: VectorMultiplier::new(factor, permutation.prime()),
            level: permutation.level(),
            targets: permutation.targets(),
            position,
            end,
            skipped: 0,
        }
    }

    /// Writes the next indices to `out`, as many as fit or remain, and returns how many. 0 means that the interval is
    /// exhausted (or that `out` is empty).
    #[inline]
    pub fn fill(&mut self, out: &mut [u64]) -> usize {
        let mut written = 0;
        while written < out.len() && self.position < self.end {
            let row_fits = self.head == 0 && out.len() - written >= L && self.end - self.position >= L as u64;
            written +=
                if row_fits { self.take_rows(&mut out[written..]) } else { self.take_one(&mut out[written]) };
        }
        written
    }

    /// Takes whole rows of lanes while they fit both `out` and the interval; returns how many indices it wrote.
    #[inline]
    fn take_rows(&mut self, out: &mut [u64]) -> usize {
        let left = (self.end - self.position) / L as u64;
        let (lanes, targets) = (&mut self.lanes, self.targets);
        let (rows, written) = match self.level {
            level @ Level::Portable => {
                level.run(Rows { lanes, step: |lane| self.step.apply(lane), targets, left, out })
            }
            level => {
                let step = self.row_step;
                level.run(Rows { lanes, step: |lane| step.apply(lane), targets, left, out })
            }
        };
        self.position += rows * L as u64;
        self.skipped += rows * L as u64 - written as u64;
        written
    }

    /// Takes one element; returns how many indices it wrote, 0 or 1.
    #[inline]
    fn take_one(&mut self, out: &mut u64) -> usize {
        let lane = &mut self.lanes[self.head];
        let element = *lane;
        *lane = self.step.apply(element);
        self.head = if self.head + 1 == L { 0 } else { self.head + 1 };
        self.position += 1;
        if element > self.targets {
            self.skipped += 1;
            return 0;
        }
        *out = element - 1;
        1
    }

    /// The next exponent that has not been returned or skipped. To continue a walk from a saved position, make a new
    /// cursor over [`Self::remaining`].
    #[inline]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The rest of the interval.
    #[inline]
    pub fn remaining(&self) -> Interval {
        Interval { start: self.position, end: self.end }
    }

    /// How many exponents of the interval were skipped so far because they are not a target.
    #[inline]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Whole rows of lanes: at most `left`, and as many as `out` has room for. Returns the number of rows and of indices.
struct Rows<'a, F, const L: usize> {
    lanes: &'a mut [u64; L],
    step: F,
    targets: u64,
    left: u64,
    out: &'a mut [u64],
}

impl<F: Fn(u64) -> u64, const L: usize> Kernel for Rows<'_, F, L> {
    type Output = (u64, usize);

    /// A separate loop for each operation on a row, so that the compiler vectorises each.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Self::Output {
        let mut lanes = *self.lanes;
        let (mut rows, mut written) = (0, 0);
        while rows < self.left {
            let rest = self.out.get_mut(written..);
            let Some(row) = rest.and_then(<[u64]>::first_chunk_mut::<L>) else { break };
            // The top bit is set if a lane is above the targets.
            let above = lanes.iter().fold(0, |above, &lane| above | self.targets.wrapping_sub(lane));
            if above >> 63 == 0 {
                // One loop for both: a loop with only the subtraction is unrolled before it can be vectorised.
                for i in 0..L {
                    row[i] = lanes[i] - 1;
                    lanes[i] = (self.step)(lanes[i]);
                }
                written += L;
            } else {
                written += keep(&lanes, self.targets, row);
                for lane in &mut lanes {
                    *lane = (self.step)(*lane);
                }
            }
            rows += 1;
        }
        *self.lanes = lanes;
        (rows, written)
    }
}

/// Writes the indices of those lanes that are targets; returns how many.
#[inline(never)]
fn keep<const L: usize>(lanes: &[u64; L], targets: u64, row: &mut [u64; L]) -> usize {
    let mut kept = 0;
    for &lane in lanes {
        row[kept] = lane - 1;
        // `kept` never passes the lane's own number, so it stays inside the row while lanes are left.
        kept += usize::from(lane <= targets);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::mul_mod;

    /// Everything that a cursor with `L` lanes returns, in pieces of `piece`, with its position after each.
    fn walk<const L: usize>(order: &Permutation, interval: Interval, piece: usize) -> Vec<u64> {
        let mut cursor = LaneCursor::<L>::new(order, interval);
        let mut all = vec![];
        let mut out = vec![0; piece];
        loop {
            let count = cursor.fill(&mut out);
            if count == 0 {
                break;
            }
            all.extend_from_slice(&out[..count]);
            assert_eq!(cursor.position() - interval.start, all.len() as u64 + cursor.skipped());
        }
        assert_eq!(cursor.remaining(), Interval { start: interval.end, end: interval.end });
        all
    }

    #[test]
    fn order_does_not_depend_on_lanes_or_pieces() {
        for targets in [1, 2, 3, 7, 8, 9, 89, 113, 1_327, 1_000] {
            let order = Permutation::new(targets, targets ^ 77).unwrap();
            for interval in [
                Interval { start: 0, end: order.order() },
                Interval { start: order.order() / 3, end: order.order() - order.order() / 4 },
            ] {
                let expected: Vec<u64> =
                    (interval.start..interval.end).filter_map(|e| order.index_at(e)).collect();
                for piece in [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 64, 256, 2_000] {
                    assert_eq!(walk::<1>(&order, interval, piece), expected);
                    assert_eq!(walk::<2>(&order, interval, piece), expected);
                    assert_eq!(walk::<3>(&order, interval, piece), expected);
                    assert_eq!(walk::<4>(&order, interval, piece), expected);
                    assert_eq!(walk::<8>(&order, interval, piece), expected);
                    assert_eq!(walk::<LANES>(&order, interval, piece), expected);
                }
            }
        }
    }

    /// Each level computes whole rows differently, with the same result, also where lanes are skipped.
    #[test]
    fn order_does_not_depend_on_the_level() {
        for targets in [1, 113, 1_000, 65_536, 3_702_258_432, (1 << 48) - 1, 1 << 48] {
            let order = Permutation::new(targets, 5).unwrap();
            let first = order.order().saturating_sub(30_000);
            let interval = Interval { start: first, end: order.order() };
            let expected = walk::<1>(&order.at_level(Level::Portable), interval, 100);
            for level in Level::available() {
                assert_eq!(
                    walk::<LANES>(&order.at_level(level), interval, 256),
                    expected,
                    "{targets}, {level:?}"
                );
            }
        }
    }

    /// Saved at every position of a group with gaps (113 targets, p = 127), and restored.
    #[test]
    fn restores_at_every_position() {
        let order = Permutation::new(113, 4).unwrap();
        assert_eq!(order.prime(), 127);
        let whole = Interval { start: 0, end: order.order() };
        let expected = walk::<LANES>(&order, whole, 16);
        for first in 0..=expected.len() {
            let mut cursor = Cursor::new(&order, whole);
            let mut before = vec![0; first];
            assert_eq!(cursor.fill(&mut before), first);
            let after = walk::<LANES>(&order, cursor.remaining(), 5);
            assert_eq!([before, after].concat(), expected);
        }
    }

    #[test]
    fn empty_pieces_and_intervals_take_nothing() {
        let order = Permutation::new(100, 4).unwrap();
        let mut cursor = Cursor::new(&order, Interval { start: 5, end: 5 });
        assert_eq!(cursor.fill(&mut [0; 16]), 0);
        let mut cursor = Cursor::new(&order, Interval { start: 0, end: 50 });
        assert_eq!((cursor.fill(&mut []), cursor.position()), (0, 0));
        let mut past = Cursor::new(&order, Interval { start: u64::MAX, end: u64::MAX });
        assert_eq!((past.fill(&mut [0; 16]), past.remaining().len()), (0, 0));
    }

    /// The largest group, in 128-bit arithmetic, from the start, over the wrap of the exponent and at the end.
    #[test]
    fn largest_group_agrees_with_128_bits() {
        let order = Permutation::new(1 << 48, 11).unwrap();
        let wrap = order.order() - order.start();
        for start in [0, wrap - 5_000, order.order() - 10_000] {
            let interval = Interval { start, end: start + 10_000 };
            let mut element = pow_by_squares(order.root(), order.start() + start, order.prime());
            let mut expected = vec![];
            for _ in 0..10_000 {
                if element <= order.targets() {
                    expected.push(element - 1);
                }
                element = mul_mod(element, order.root(), order.prime());
            }
            assert_eq!(walk::<LANES>(&order, interval, 256), expected);
        }
    }

    /// Left-to-right binary powers, independent of the library's.
    fn pow_by_squares(base: u64, exponent: u64, modulus: u64) -> u64 {
        let (base, modulus) = (u128::from(base), u128::from(modulus));
        let power = (0..64).rev().fold(1, |power, bit| {
            let square = power * power % modulus;
            if exponent >> bit & 1 == 1 { square * base % modulus } else { square }
        });
        power as u64
    }
}
