//! Rows of the vectors that not every x86-64 has.
//!
//! Closures are only called, never handed on to what is not inlined: that would be code of its own, without these
//! instructions.

#![expect(
    unsafe_code,
    reason = "the instructions are functions of their own, which only the caller can know to be there"
)]

use std::arch::x86_64::{
    __m256i, __m512i, _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256,
    _mm256_castsi128_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_cmpgt_epi32,
    _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_set1_epi32, _mm256_sll_epi32,
    _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpacklo_epi32, _mm256_xor_si256, _mm512_add_epi32,
    _mm512_and_si512, _mm512_castsi128_si512, _mm512_cmpeq_epi32_mask, _mm512_cmple_epi32_mask,
    _mm512_inserti32x4, _mm512_loadu_si512, _mm512_maskz_mov_epi32, _mm512_set1_epi32, _mm512_sll_epi32,
    _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpacklo_epi32, _mm512_xor_si512,
};

use super::{Row, turned_over};
use crate::simd::Quad;

/// Eight numbers, in AVX2's vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oct(__m256i);

impl Oct {
    /// One half above the other.
    #[inline(always)]
    fn of_two(low: Quad, high: Quad) -> Self {
        // SAFETY: there is such a row only at a level whose instructions the processor has, here and in all that follows.
        let one = unsafe { _mm256_castsi128_si256(low.0) };
        // SAFETY: as above.
        Self(unsafe { _mm256_inserti128_si256::<1>(one, high.0) })
    }
}

impl Row for Oct {
    const WIDTH: usize = 8;

    #[inline(always)]
    fn of(value: u32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_set1_epi32(value.cast_signed()) })
    }

    #[inline(always)]
    fn load(numbers: &[u32]) -> Self {
        let numbers = &numbers.as_chunks::<8>().0[0];
        // SAFETY: 32 bytes are read, from an array of 32.
        Self(unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, out: &mut [u32]) {
        let out = &mut out.as_chunks_mut::<8>().0[0];
        // SAFETY: 32 bytes are written, to an array of 32.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), self.0) };
    }

    #[inline(always)]
    fn columns(record: impl Fn(usize) -> Quad) -> [Self; 4] {
        let a = Self::of_two(record(0), record(4));
        let b = Self::of_two(record(1), record(5));
        let c = Self::of_two(record(2), record(6));
        let d = Self::of_two(record(3), record(7));
        turned_over([a, b, c, d])
    }

    #[inline(always)]
    fn zipped(self, other: Self) -> [Self; 2] {
        // SAFETY: as above.
        let first = unsafe { _mm256_unpacklo_epi32(self.0, other.0) };
        // SAFETY: as above.
        let second = unsafe { _mm256_unpackhi_epi32(self.0, other.0) };
        [Self(first), Self(second)]
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        // SAFETY: as above.
        let count = unsafe { _mm_cvtsi32_si128(bits.cast_signed()) };
        // SAFETY: as above.
        Self(unsafe { _mm256_sll_epi32(self.0, count) })
    }

    #[inline(always)]
    fn up_to(self, most: Self) -> Self {
        // SAFETY: as above.
        let above = unsafe { _mm256_cmpgt_epi32(self.0, most.0) };
        // SAFETY: as above.
        Self(unsafe { _mm256_andnot_si256(above, self.0) })
    }

    #[inline(always)]
    fn bits_of(self, value: u32) -> u16 {
        // SAFETY: as above.
        let equal = unsafe { _mm256_cmpeq_epi32(self.0, Self::of(value).0) };
        // SAFETY: as above.
        let as_floats = unsafe { _mm256_castsi256_ps(equal) };
        // SAFETY: as above.
        (unsafe { _mm256_movemask_ps(as_floats) }) as u16
    }
}

/// Sixteen numbers, in AVX-512's vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hex(__m512i);

impl Hex {
    /// One quarter above the other.
    #[inline(always)]
    fn of_four(a: Quad, b: Quad, c: Quad, d: Quad) -> Self {
        // SAFETY: as above.
        let one = unsafe { _mm512_castsi128_si512(a.0) };
        // SAFETY: as above.
        let two = unsafe { _mm512_inserti32x4::<1>(one, b.0) };
        // SAFETY: as above.
        let three = unsafe { _mm512_inserti32x4::<2>(two, c.0) };
        // SAFETY: as above.
        Self(unsafe { _mm512_inserti32x4::<3>(three, d.0) })
    }
}

impl Row for Hex {
    const WIDTH: usize = 16;

    #[inline(always)]
    fn of(value: u32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_set1_epi32(value.cast_signed()) })
    }

    #[inline(always)]
    fn load(numbers: &[u32]) -> Self {
        let numbers = &numbers.as_chunks::<16>().0[0];
        // SAFETY: 64 bytes are read, from an array of 64.
        Self(unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, out: &mut [u32]) {
        let out = &mut out.as_chunks_mut::<16>().0[0];
        // SAFETY: 64 bytes are written, to an array of 64.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), self.0) };
    }

    #[inline(always)]
    fn columns(record: impl Fn(usize) -> Quad) -> [Self; 4] {
        let a = Self::of_four(record(0), record(4), record(8), record(12));
        let b = Self::of_four(record(1), record(5), record(9), record(13));
        let c = Self::of_four(record(2), record(6), record(10), record(14));
        let d = Self::of_four(record(3), record(7), record(11), record(15));
        turned_over([a, b, c, d])
    }

    #[inline(always)]
    fn zipped(self, other: Self) -> [Self; 2] {
        // SAFETY: as above.
        let first = unsafe { _mm512_unpacklo_epi32(self.0, other.0) };
        // SAFETY: as above.
        let second = unsafe { _mm512_unpackhi_epi32(self.0, other.0) };
        [Self(first), Self(second)]
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_and_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        // SAFETY: as above.
        let count = unsafe { _mm_cvtsi32_si128(bits.cast_signed()) };
        // SAFETY: as above.
        Self(unsafe { _mm512_sll_epi32(self.0, count) })
    }

    #[inline(always)]
    fn up_to(self, most: Self) -> Self {
        // SAFETY: as above.
        let kept = unsafe { _mm512_cmple_epi32_mask(self.0, most.0) };
        // SAFETY: as above.
        Self(unsafe { _mm512_maskz_mov_epi32(kept, self.0) })
    }

    #[inline(always)]
    fn bits_of(self, value: u32) -> u16 {
        // SAFETY: as above.
        unsafe { _mm512_cmpeq_epi32_mask(self.0, Self::of(value).0) }
    }
}
