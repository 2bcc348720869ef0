//! Numbers side by side.

use super::Word;
use crate::simd::quad::plain::Quad;

/// Two numbers of 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair([u64; 2]);

impl Pair {
    /// The four numbers with these lower and upper halves.
    #[inline(always)]
    pub(crate) fn from_halves(low: Quad, high: Quad) -> [Self; 2] {
        low.zipped(high).map(|quad| {
            let [a, b, c, d] = quad.numbers().map(u64::from);
            Self([b << 32 | a, d << 32 | c])
        })
    }

    /// The lower and the upper halves of four numbers.
    #[inline(always)]
    pub(crate) fn halves([first, second]: [Self; 2]) -> [Quad; 2] {
        let numbers = [first.0[0], first.0[1], second.0[0], second.0[1]];
        [0, 32].map(|bits| Quad::from_numbers(numbers.map(|number| (number >> bits) as u32)))
    }
}

impl Word for Pair {
    #[inline(always)]
    fn of(value: u64) -> Self {
        Self([value; 2])
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self([0, 1].map(|i| self.0[i].wrapping_add(other.0[i])))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self([0, 1].map(|i| self.0[i] ^ other.0[i]))
    }

    #[inline(always)]
    fn rotated(self, bits: u32) -> Self {
        Self(self.0.map(|number| number.rotate_left(bits)))
    }
}
