//! Four 32-bit numbers at once, in the vectors that every x86-64 has.

use std::arch::x86_64::{
    _mm_mulhi_epu16, _mm_packs_epi32, _mm_shufflehi_epi16, _mm_shufflelo_epi16, _mm_slli_epi32,
    _mm_srai_epi32,
};

use fearless_simd::{Sse2, i32x4, kernel, prelude::*, u16x8, u32x4, u64x2};

use super::{Lane, sse2};

/// Numbers in a row of an array.
const WIDTH: usize = 4;

/// Four 32-bit numbers.
#[derive(Clone, Copy, Debug)]
pub struct Quad(pub(crate) u32x4<Sse2>);

impl Quad {
    /// These numbers.
    #[inline(always)]
    pub fn from_numbers(numbers: [u32; WIDTH]) -> Self {
        Self(numbers.simd_into(sse2()))
    }

    /// All four.
    #[inline(always)]
    pub fn numbers(self) -> [u32; WIDTH] {
        self.0.to_array()
    }
}

kernel!(
    /// Exchanges the halves of each number: two instructions instead of the three that two shifts take.
    #[inline(always)]
    fn halves_exchanged(sse2: Sse2, numbers: u32x4<Sse2>) -> u32x4<Sse2> {
        let first = _mm_shufflelo_epi16::<0b10_11_00_01>(numbers.into());
        _mm_shufflehi_epi16::<0b10_11_00_01>(first).simd_into(sse2)
    }
);

kernel!(
    /// The lower half of each number, side by side. Packed as signed numbers, which loses nothing.
    #[inline(always)]
    fn lower_halves(sse2: Sse2, numbers: u32x4<Sse2>) -> u64x2<Sse2> {
        let signed = _mm_srai_epi32::<16>(_mm_slli_epi32::<16>(numbers.into()));
        _mm_packs_epi32(signed, signed).simd_into(sse2)
    }
);

kernel!(
    /// The upper halves of 16-bit products. `fearless_simd` has no common form of this operation.
    #[inline(always)]
    fn upper_products(sse2: Sse2, shorts: u32x4<Sse2>, factors: u32x4<Sse2>) -> u32x4<Sse2> {
        _mm_mulhi_epu16(shorts.into(), factors.into()).simd_into(sse2)
    }
);

impl Lane for Quad {
    const WIDTH: usize = WIDTH;

    #[inline(always)]
    fn of(value: u32) -> Self {
        Self(u32x4::splat(sse2(), value))
    }

    #[inline(always)]
    fn load<const N: usize>(numbers: &[u32; N], row: usize) -> Self {
        Self::from_numbers(numbers.as_chunks().0[row])
    }

    #[inline(always)]
    fn load_shorts<const N: usize>(numbers: &[u16; N], row: usize) -> Self {
        // One 64-bit number: four of 16 bits would be inserted into the vector one by one.
        let shorts: u64 = zerocopy::transmute!(numbers.as_chunks::<WIDTH>().0[row]);
        Self(u64x2::simd_from(sse2(), [shorts, 0]).bitcast::<u16x8<_>>().widen().0)
    }

    /// Swaps the bytes of each half.
    #[inline(always)]
    fn wire(self) -> Self {
        let shorts: u16x8<_> = self.0.bitcast();
        Self((shorts << 8 | shorts >> 8).bitcast())
    }

    #[inline(always)]
    fn store_words<const N: usize>(out: &mut [u64; N], row: usize, first: Self, second: Self) {
        let out = &mut out.as_chunks_mut::<WIDTH>().0[row];
        // The upper half of a word comes first.
        let (low, high) = first.turned().0.interleave(second.turned().0);
        for (out, words) in out.as_chunks_mut::<2>().0.iter_mut().zip([low, high]) {
            words.bitcast::<u64x2<_>>().store_array(out);
        }
    }

    #[inline(always)]
    fn store_shorts<const N: usize>(self, out: &mut [u16; N], row: usize) {
        let out = &mut out.as_chunks_mut::<WIDTH>().0[row];
        *out = zerocopy::transmute!(lower_halves(sse2(), self.0)[0]);
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }

    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        Self(self.0 << bits)
    }

    #[inline(always)]
    fn right(self, bits: u32) -> Self {
        Self(self.0 >> bits)
    }

    #[inline(always)]
    fn turned(self) -> Self {
        Self(halves_exchanged(sse2(), self.0))
    }

    #[inline(always)]
    fn scaled(self, factor: u32) -> Self {
        if factor >> 16 != 0 {
            return self;
        }
        // The upper half of a lane is 0, and so is its product.
        Self(upper_products(sse2(), self.0, Self::of(factor).0))
    }

    #[inline(always)]
    fn wrapped_at(self, limit: u32) -> Self {
        // A signed comparison, as none of the numbers is negative: there is no unsigned one.
        let [numbers, limits] = [self, Self::of(limit)].map(|quad| quad.0.bitcast::<i32x4<_>>());
        let subtrahend = limits.simd_gt(numbers).select(Self::of(0).0, Self::of(limit.wrapping_neg()).0);
        Self(self.0 + subtrahend)
    }

    #[inline(always)]
    fn where_zero(self, value: u32) -> Self {
        Self(self.0.simd_eq(0).select(Self::of(value).0, Self::of(0).0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quads_are_four_numbers(a: [u32; 4], b: [u32; 4], same: u32, bits in 0u32..32) {
            let (first, second) = (Quad::from_numbers(a), Quad::from_numbers(b));
            let each = |make: fn(u32, u32) -> u32| -> [u32; 4] { std::array::from_fn(|i| make(a[i], b[i])) };
            prop_assert_eq!(first.numbers(), a);
            prop_assert_eq!(Quad::of(same).numbers(), [same; 4]);
            prop_assert_eq!(first.plus(second).numbers(), each(u32::wrapping_add));
            prop_assert_eq!(first.and(second).numbers(), each(|a, b| a & b));
            prop_assert_eq!(first.or(second).numbers(), each(|a, b| a | b));
            prop_assert_eq!(first.xor(second).numbers(), each(|a, b| a ^ b));
            prop_assert_eq!(first.left(bits).numbers(), a.map(|number| number << bits));
            prop_assert_eq!(first.right(bits).numbers(), a.map(|number| number >> bits));
            prop_assert_eq!(first.turned().numbers(), a.map(Lane::turned));
        }

        /// Header fields are the same for four numbers at once as for each.
        #[test]
        fn quads_are_four_lanes(
            mut a: [u32; 4], shorts: [u16; 4], factor in 0u32..=1 << 16, limit in 1u32..1 << 30, value: u32, zeros: [bool; 4],
        ) {
            let small = Quad::from_numbers(shorts.map(u32::from));
            prop_assert_eq!(small.scaled(factor).numbers(), shorts.map(|short| u32::from(short).scaled(factor)));
            prop_assert_eq!(small.scaled(1 << 16).numbers(), shorts.map(u32::from));
            let below = a.map(|number| number % (2 * limit));
            let wrapped = Quad::from_numbers(below).wrapped_at(limit).numbers();
            prop_assert_eq!(wrapped, below.map(|number| if number < limit { number } else { number - limit }));
            prop_assert_eq!(below.map(|number| number.wrapped_at(limit)), wrapped);
            for (number, is_zero) in a.iter_mut().zip(zeros) {
                *number = if is_zero { 0 } else { (*number).max(1) };
            }
            let expected = zeros.map(|is_zero| if is_zero { value } else { 0 });
            prop_assert_eq!(Quad::from_numbers(a).where_zero(value).numbers(), expected);
            prop_assert_eq!(a.map(|number| number.where_zero(value)), expected);
        }

        /// Rows of arrays, read and written.
        #[test]
        fn rows_are_four_numbers(a: [u32; 8], b: [u32; 8], shorts: [u16; 8]) {
            let (mut words, mut written) = ([0u64; 8], [0u16; 8]);
            for row in 0..2 {
                let [first, second] = [&a, &b].map(|numbers| Quad::load(numbers, row));
                prop_assert_eq!(first.numbers(), a.as_chunks().0[row]);
                Quad::store_words(&mut words, row, first.wire(), second.wire());
                let low = Quad::load_shorts(&shorts, row);
                prop_assert_eq!(low.numbers(), shorts.map(u32::from).as_chunks().0[row]);
                low.wire().store_shorts(&mut written, row);
            }
            let (mut words_each, mut shorts_each) = ([0u64; 8], [0u16; 8]);
            for i in 0..8 {
                u32::store_words(&mut words_each, i, a[i].wire(), b[i].wire());
                u32::from(shorts[i]).wire().store_shorts(&mut shorts_each, i);
            }
            prop_assert_eq!((words, written), (words_each, shorts_each));
            let bytes = words[0].to_ne_bytes();
            prop_assert_eq!((&bytes[..4], &bytes[4..]), (&a[0].to_be_bytes()[..], &b[0].to_be_bytes()[..]));
            prop_assert_eq!(written[0].to_ne_bytes(), shorts[0].to_be_bytes());
        }
    }
}
