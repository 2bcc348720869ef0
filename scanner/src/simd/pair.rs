//! Two numbers of 64 bits at once.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, _mm_add_epi64, _mm_castps_si128, _mm_castsi128_ps, _mm_cvtsi32_si128, _mm_or_si128,
    _mm_set1_epi64x, _mm_shuffle_epi32, _mm_shuffle_ps, _mm_shufflehi_epi16, _mm_shufflelo_epi16,
    _mm_sll_epi64, _mm_srl_epi64, _mm_xor_si128,
};

use super::Quad;

/// What a hash of 64-bit words is computed in: one number, or several at once.
pub(crate) trait Word: Copy {
    /// `value`, in each of them.
    fn of(value: u64) -> Self;
    /// The sums modulo 2^64.
    fn plus(self, other: Self) -> Self;
    /// The exclusive ors.
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

/// Two numbers of 64 bits, in one vector of those that every x86-64 has; elsewhere, side by side. For code that the
/// compiler would leave in single numbers: it takes a rotation for dearer than it is.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair(__m128i);

#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair([u64; 2]);

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the instructions are functions of their own, which only the caller can know to be there"
)]
impl Pair {
    /// The four numbers with these lower and upper halves.
    #[inline(always)]
    pub(crate) fn from_halves(low: Quad, high: Quad) -> [Self; 2] {
        low.zipped(high).map(|Quad(vector)| Self(vector))
    }

    /// The lower and the upper halves of four numbers.
    #[inline(always)]
    pub(crate) fn halves(pairs: [Self; 2]) -> [Quad; 2] {
        // SAFETY: SSE2 is part of x86-64, here and in all that follows. Casts change no bit.
        let [first, second] = pairs.map(|pair| unsafe { _mm_castsi128_ps(pair.0) });
        // SAFETY: as above.
        let low = unsafe { _mm_shuffle_ps::<0b10_00_10_00>(first, second) };
        // SAFETY: as above.
        let high = unsafe { _mm_shuffle_ps::<0b11_01_11_01>(first, second) };
        // SAFETY: as above.
        [low, high].map(|halves| Quad(unsafe { _mm_castps_si128(halves) }))
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the instructions are functions of their own, which only the caller can know to be there"
)]
impl Word for Pair {
    #[inline(always)]
    fn of(value: u64) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_set1_epi64x(value.cast_signed()) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_xor_si128(self.0, other.0) })
    }

    #[inline(always)]
    fn rotated(self, bits: u32) -> Self {
        match bits {
            // SAFETY: as above.
            32 => Self(unsafe { _mm_shuffle_epi32::<0b10_11_00_01>(self.0) }),
            16 => {
                // SAFETY: as above.
                let first = unsafe { _mm_shufflelo_epi16::<0b10_01_00_11>(self.0) };
                // SAFETY: as above.
                Self(unsafe { _mm_shufflehi_epi16::<0b10_01_00_11>(first) })
            }
            _ => {
                let count = |bits: u32| {
                    // SAFETY: as above.
                    unsafe { _mm_cvtsi32_si128(bits.cast_signed()) }
                };
                // SAFETY: as above.
                let left = unsafe { _mm_sll_epi64(self.0, count(bits)) };
                // SAFETY: as above.
                let right = unsafe { _mm_srl_epi64(self.0, count(64 - bits)) };
                // SAFETY: as above.
                Self(unsafe { _mm_or_si128(left, right) })
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Pair {
    /// The four numbers with these lower and upper halves.
    #[inline(always)]
    pub(crate) fn from_halves(low: Quad, high: Quad) -> [Self; 2] {
        let (low, high) = (low.numbers(), high.numbers());
        [0, 2].map(|at| Self([at, at + 1].map(|i| u64::from(high[i]) << 32 | u64::from(low[i]))))
    }

    /// The lower and the upper halves of four numbers.
    #[inline(always)]
    pub(crate) fn halves([first, second]: [Self; 2]) -> [Quad; 2] {
        let numbers = [first.0[0], first.0[1], second.0[0], second.0[1]];
        [0, 32].map(|bits| Quad::from_numbers(numbers.map(|number| (number >> bits) as u32)))
    }
}

#[cfg(not(target_arch = "x86_64"))]
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
