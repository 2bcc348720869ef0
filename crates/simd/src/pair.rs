//! Two 64-bit numbers at once, in one vector. The compiler would not vectorise this code, because it overestimates the
//! cost of a rotation.

use std::arch::x86_64::{
    _mm_castps_si128, _mm_castsi128_ps, _mm_shuffle_epi32, _mm_shuffle_ps, _mm_shufflehi_epi16,
    _mm_shufflelo_epi16,
};

use fearless_simd::{Sse2, kernel, prelude::*, u32x4, u64x2};

use super::{Quad, sse2};

/// The operand of a hash of 64-bit words: one number, or several at once.
pub trait Word: Copy {
    /// `value` in each of them.
    fn of(value: u64) -> Self;
    /// The sums modulo 2^64.
    fn plus(self, other: Self) -> Self;
    /// The bitwise exclusive or.
    fn xor(self, other: Self) -> Self;
    /// Rotated to the left by `bits`, a constant from 1 to 63.
    fn rotated(self, bits: u32) -> Self;
}

impl Word for u64 {
    #[inline(always)]
    fn of(value: u64) -> Self {
        value
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }

    #[inline(always)]
    fn rotated(self, bits: u32) -> Self {
        self.rotate_left(bits)
    }
}

/// Two 64-bit numbers.
#[derive(Clone, Copy, Debug)]
pub struct Pair(u64x2<Sse2>);

impl Pair {
    /// The four numbers with these lower and upper halves.
    #[inline(always)]
    pub fn from_halves(low: Quad, high: Quad) -> [Self; 2] {
        let (first, second) = low.0.interleave(high.0);
        [first, second].map(|halves| Self(halves.bitcast()))
    }

    /// The lower and the upper halves of four numbers.
    #[inline(always)]
    pub fn halves(pairs: [Self; 2]) -> [Quad; 2] {
        let [first, second] = pairs.map(|pair| pair.0.bitcast());
        let [low, high] = halves(sse2(), first, second);
        [Quad(low), Quad(high)]
    }
}

kernel!(
    /// The lower and the upper halves, in two instructions. With integer operations the compiler makes six.
    #[inline(always)]
    fn halves(sse2: Sse2, first: u32x4<Sse2>, second: u32x4<Sse2>) -> [u32x4<Sse2>; 2] {
        let (first, second) = (_mm_castsi128_ps(first.into()), _mm_castsi128_ps(second.into()));
        let low = _mm_castps_si128(_mm_shuffle_ps::<0b10_00_10_00>(first, second));
        let high = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(first, second));
        [low.simd_into(sse2), high.simd_into(sse2)]
    }
);

kernel!(
    /// Rotated by 32 bits, in one instruction instead of three.
    #[inline(always)]
    fn rotated_by_32(sse2: Sse2, words: u64x2<Sse2>) -> u64x2<Sse2> {
        _mm_shuffle_epi32::<0b10_11_00_01>(words.into()).simd_into(sse2)
    }
);

kernel!(
    /// Rotated to the left by 16 bits, in two instructions instead of three.
    #[inline(always)]
    fn rotated_by_16(sse2: Sse2, words: u64x2<Sse2>) -> u64x2<Sse2> {
        let first = _mm_shufflelo_epi16::<0b10_01_00_11>(words.into());
        _mm_shufflehi_epi16::<0b10_01_00_11>(first).simd_into(sse2)
    }
);

impl Word for Pair {
    #[inline(always)]
    fn of(value: u64) -> Self {
        Self(u64x2::splat(sse2(), value))
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }

    #[inline(always)]
    fn rotated(self, bits: u32) -> Self {
        match bits {
            32 => Self(rotated_by_32(sse2(), self.0)),
            16 => Self(rotated_by_16(sse2(), self.0)),
            _ => Self(self.0 << bits | self.0 >> (64 - bits)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(numbers: [u64; 4]) -> [Pair; 2] {
        let [low, high] =
            [0, 32].map(|bits| Quad::from_numbers(numbers.map(|number| (number >> bits) as u32)));
        Pair::from_halves(low, high)
    }

    fn numbers(pairs: [Pair; 2]) -> [u64; 4] {
        let [low, high] = Pair::halves(pairs).map(Quad::numbers);
        std::array::from_fn(|i| u64::from(high[i]) << 32 | u64::from(low[i]))
    }

    proptest! {
        #[test]
        fn pairs_are_two_numbers(a: [u64; 4], b: [u64; 4]) {
            let (first, second) = (pairs(a), pairs(b));
            let both = |make: fn(Pair, Pair) -> Pair| numbers([0, 1].map(|i| make(first[i], second[i])));
            let each = |make: fn(u64, u64) -> u64| -> [u64; 4] { std::array::from_fn(|i| make(a[i], b[i])) };
            prop_assert_eq!(numbers(first), a);
            prop_assert_eq!(numbers([first[1], second[0]]), [a[2], a[3], b[0], b[1]]);
            prop_assert_eq!(numbers([Pair::of(a[1]), Pair::of(b[3])]), [a[1], a[1], b[3], b[3]]);
            prop_assert_eq!(both(Pair::xor), each(|a, b| a ^ b));
            prop_assert_eq!(both(Pair::plus), each(u64::wrapping_add));
            for bits in 1..64 {
                prop_assert_eq!(numbers(first.map(|pair| pair.rotated(bits))), a.map(|number| number.rotate_left(bits)));
            }
        }
    }
}
