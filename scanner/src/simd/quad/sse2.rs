//! Vectors that every x86-64 has.

#![expect(
    unsafe_code,
    reason = "the instructions are functions of their own, which only the caller can know to be there"
)]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_and_si128, _mm_andnot_si128, _mm_castsi128_ps, _mm_cmpeq_epi32,
    _mm_cmpgt_epi32, _mm_cvtsi32_si128, _mm_loadl_epi64, _mm_loadu_si128, _mm_movemask_ps, _mm_mulhi_epu16,
    _mm_or_si128, _mm_packs_epi32, _mm_set1_epi32, _mm_setzero_si128, _mm_shufflehi_epi16,
    _mm_shufflelo_epi16, _mm_sll_epi32, _mm_slli_epi16, _mm_slli_epi32, _mm_srai_epi32, _mm_srl_epi32,
    _mm_srli_epi16, _mm_storel_epi64, _mm_storeu_si128, _mm_unpackhi_epi32, _mm_unpacklo_epi16,
    _mm_unpacklo_epi32, _mm_xor_si128,
};

use crate::simd::Lane;

/// Numbers in a row.
const WIDTH: usize = 4;

/// Four numbers of 32 bits. In memory, none crosses a cache line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quad(pub(in crate::simd) __m128i);

impl Quad {
    /// These numbers.
    #[inline(always)]
    pub(crate) fn from_numbers(numbers: [u32; 4]) -> Self {
        // SAFETY: 16 bytes are read, from an array of 16. SSE2 is part of x86-64, here and in all that follows.
        Self(unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) })
    }

    /// All four.
    #[inline(always)]
    pub(crate) fn numbers(self) -> [u32; 4] {
        let mut numbers = [0; 4];
        // SAFETY: 16 bytes are written, to an array of 16.
        unsafe { _mm_storeu_si128(numbers.as_mut_ptr().cast(), self.0) };
        numbers
    }

    /// The bits that `mask` has not.
    #[inline(always)]
    pub(crate) fn without(self, mask: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_andnot_si128(mask.0, self.0) })
    }

    /// All bits of those that are greater than the other's, taken as numbers with a sign; none of the others.
    #[inline(always)]
    pub(crate) fn exceeds(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_cmpgt_epi32(self.0, other.0) })
    }

    /// All bits of those that are the other's, none of the others.
    #[inline(always)]
    pub(crate) fn equals(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_cmpeq_epi32(self.0, other.0) })
    }

    /// A bit for each, of numbers that have all bits or none.
    #[inline(always)]
    pub(crate) fn signs(self) -> u16 {
        // SAFETY: as above.
        let as_floats = unsafe { _mm_castsi128_ps(self.0) };
        // SAFETY: as above.
        (unsafe { _mm_movemask_ps(as_floats) }) as u16
    }

    /// Both, taken in turn: the first four numbers, and the others.
    #[inline(always)]
    pub(crate) fn zipped(self, other: Self) -> [Self; 2] {
        // SAFETY: as above.
        let first = unsafe { _mm_unpacklo_epi32(self.0, other.0) };
        // SAFETY: as above.
        let second = unsafe { _mm_unpackhi_epi32(self.0, other.0) };
        [Self(first), Self(second)]
    }
}

impl Lane for Quad {
    const WIDTH: usize = WIDTH;

    #[inline(always)]
    fn of(value: u32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_set1_epi32(value.cast_signed()) })
    }

    #[inline(always)]
    fn load<const N: usize>(numbers: &[u32; N], row: usize) -> Self {
        Self::from_numbers(numbers.as_chunks::<WIDTH>().0[row])
    }

    #[inline(always)]
    fn load_shorts<const N: usize>(numbers: &[u16; N], row: usize) -> Self {
        let row = &numbers.as_chunks::<WIDTH>().0[row];
        // SAFETY: 8 bytes are read, from an array of 8.
        let shorts = unsafe { _mm_loadl_epi64(row.as_ptr().cast()) };
        // SAFETY: as above.
        let zero = unsafe { _mm_setzero_si128() };
        // SAFETY: as above.
        Self(unsafe { _mm_unpacklo_epi16(shorts, zero) })
    }

    /// The bytes of each half exchanged, which takes three instructions.
    #[inline(always)]
    fn wire(self) -> Self {
        // SAFETY: as above.
        let up = unsafe { _mm_slli_epi16::<8>(self.0) };
        // SAFETY: as above.
        let down = unsafe { _mm_srli_epi16::<8>(self.0) };
        Self(up).or(Self(down))
    }

    #[inline(always)]
    fn store_words<const N: usize>(out: &mut [u64; N], row: usize, first: Self, second: Self) {
        let out = &mut out.as_chunks_mut::<WIDTH>().0[row];
        // The upper half of a word comes first.
        let words = first.turned().zipped(second.turned());
        for (out, words) in out.as_chunks_mut::<2>().0.iter_mut().zip(words) {
            // SAFETY: 16 bytes are written, to an array of 16.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), words.0) };
        }
    }

    #[inline(always)]
    fn store_shorts<const N: usize>(self, out: &mut [u16; N], row: usize) {
        let out = &mut out.as_chunks_mut::<WIDTH>().0[row];
        // As numbers with a sign, which is what is packed without loss.
        // SAFETY: as above.
        let up = unsafe { _mm_slli_epi32::<16>(self.0) };
        // SAFETY: as above.
        let signed = unsafe { _mm_srai_epi32::<16>(up) };
        // SAFETY: as above.
        let packed = unsafe { _mm_packs_epi32(signed, signed) };
        // SAFETY: 8 bytes are written, to an array of 8.
        unsafe { _mm_storel_epi64(out.as_mut_ptr().cast(), packed) };
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_and_si128(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_or_si128(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_xor_si128(self.0, other.0) })
    }

    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        // SAFETY: as above.
        let count = unsafe { _mm_cvtsi32_si128(bits.cast_signed()) };
        // SAFETY: as above.
        Self(unsafe { _mm_sll_epi32(self.0, count) })
    }

    #[inline(always)]
    fn right(self, bits: u32) -> Self {
        // SAFETY: as above.
        let count = unsafe { _mm_cvtsi32_si128(bits.cast_signed()) };
        // SAFETY: as above.
        Self(unsafe { _mm_srl_epi32(self.0, count) })
    }

    #[inline(always)]
    fn turned(self) -> Self {
        // SAFETY: as above.
        let first = unsafe { _mm_shufflelo_epi16::<0b10_11_00_01>(self.0) };
        // SAFETY: as above.
        Self(unsafe { _mm_shufflehi_epi16::<0b10_11_00_01>(first) })
    }

    #[inline(always)]
    fn scaled(self, factor: u32) -> Self {
        if factor >> 16 != 0 {
            return self;
        }
        // The upper half of a lane is 0, and so is its product.
        // SAFETY: as above.
        Self(unsafe { _mm_mulhi_epu16(self.0, Self::of(factor).0) })
    }

    #[inline(always)]
    fn wrapped_at(self, limit: u32) -> Self {
        let (limit, negative) = (Self::of(limit), Self::of(limit.wrapping_neg()));
        self.plus(negative.without(limit.exceeds(self)))
    }

    #[inline(always)]
    fn where_zero(self, value: u32) -> Self {
        self.equals(Self::of(0)).and(Self::of(value))
    }
}
