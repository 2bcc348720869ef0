//! Vectors that every x86-64 has.

#![expect(
    unsafe_code,
    reason = "the instructions are functions of their own, which only the caller can know to be there"
)]

use std::arch::x86_64::{
    __m128i, _mm_add_epi64, _mm_castps_si128, _mm_castsi128_ps, _mm_cvtsi32_si128, _mm_or_si128,
    _mm_set1_epi64x, _mm_shuffle_epi32, _mm_shuffle_ps, _mm_shufflehi_epi16, _mm_shufflelo_epi16,
    _mm_sll_epi64, _mm_srl_epi64, _mm_xor_si128,
};

use super::Word;
use crate::simd::quad::sse2::Quad;

/// Two numbers of 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair(__m128i);

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
