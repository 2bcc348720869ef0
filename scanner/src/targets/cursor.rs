//! The walk over an interval of the permutation.
//!
//! A cursor hands out the indices of its interval in order and knows at every moment the next exponent it would
//! hand out; a new cursor from there goes on exactly. The order does not depend on how many lanes compute it.

use super::arith::Multiplier;
use super::permutation::Permutation;
use super::shard::Interval;

/// How many independent chains of multiplications a [`Cursor`] keeps in flight. One chain waits out the latency of
/// its multiplications; eight hide it.
pub const LANES: usize = 8;

/// The cursor of the scan's workers.
pub type Cursor = LaneCursor<LANES>;

/// A walk over one interval of exponents with `L` interleaved lanes.
///
/// Lane `k` holds the element of the next exponent that is `k` modulo `L`, counted from where the walk began: taking
/// an element moves its lane on by `root^L`, whether one is taken or a whole row.
#[derive(Clone, Debug)]
pub struct LaneCursor<const L: usize> {
    lanes: [u64; L],
    /// The lane of the next exponent.
    head: usize,
    step: Multiplier,
    /// Elements above it are skipped.
    targets: u64,
    position: u64,
    end: u64,
    skipped: u64,
}

impl<const L: usize> LaneCursor<L> {
    /// A walk over `interval`, cut at the end of the order.
    pub fn new(permutation: &Permutation, interval: Interval) -> Self {
        const { assert!(L > 0) };
        let end = interval.end.min(permutation.order());
        let position = interval.start.min(end);
        let mut element = permutation.element_at(position);
        let lanes = std::array::from_fn(|_| {
            let lane = element;
            element = permutation.product(element, permutation.root());
            lane
        });
        let step = Multiplier::new(permutation.power_of_root(L as u64), permutation.prime());
        Self { lanes, head: 0, step, targets: permutation.targets(), position, end, skipped: 0 }
    }

    /// Writes the next indices to `out`, as many as fit or are left, and returns how many. 0 means that the interval
    /// is exhausted (or that `out` is empty).
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
        let mut lanes = self.lanes;
        let mut left = (self.end - self.position) / L as u64;
        let mut written = 0;
        let mut taken = 0;
        while left > 0 {
            let Some(row) = out.get_mut(written..).and_then(<[u64]>::first_chunk_mut::<L>) else { break };
            let mut kept = 0;
            for lane in &mut lanes {
                row[kept] = *lane - 1;
                // `kept` never passes the lane's own number, so it stays inside the row while lanes are left.
                kept += usize::from(*lane <= self.targets);
                *lane = self.step.apply(*lane);
            }
            written += kept;
            taken += L as u64;
            left -= 1;
        }
        self.lanes = lanes;
        self.position += taken;
        self.skipped += taken - written as u64;
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

    /// The next exponent that was not handed out or skipped. The walk goes on from a saved position as a new cursor
    /// over [`Self::remaining`].
    #[inline]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What is left of the interval.
    #[inline]
    pub fn remaining(&self) -> Interval {
        Interval { start: self.position, end: self.end }
    }

    /// How many exponents of the interval stood for no target so far.
    #[inline]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::arith::mul_mod;

    /// Everything a cursor with `L` lanes hands out, in pieces of `piece`, with where it stood after each.
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
                }
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

    /// Left-to-right binary powers, apart from the library's.
    fn pow_by_squares(base: u64, exponent: u64, modulus: u64) -> u64 {
        let (base, modulus) = (u128::from(base), u128::from(modulus));
        let power = (0..64).rev().fold(1, |power, bit| {
            let square = power * power % modulus;
            if exponent >> bit & 1 == 1 { square * base % modulus } else { square }
        });
        power as u64
    }
}
