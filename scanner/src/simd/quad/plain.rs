//! Numbers side by side.

use crate::simd::Lane;

/// Numbers in a row.
const WIDTH: usize = 4;

/// Four numbers of 32 bits. In memory, none crosses a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
pub(crate) struct Quad([u32; WIDTH]);

impl Quad {
    /// These numbers.
    #[inline(always)]
    pub(crate) fn from_numbers(numbers: [u32; WIDTH]) -> Self {
        Self(numbers)
    }

    /// All four.
    #[inline(always)]
    pub(crate) fn numbers(self) -> [u32; WIDTH] {
        self.0
    }

    #[inline(always)]
    fn with(self, other: Self, make: impl Fn(u32, u32) -> u32) -> Self {
        Self(std::array::from_fn(|i| make(self.0[i], other.0[i])))
    }

    /// The bits that `mask` has not.
    #[inline(always)]
    pub(crate) fn without(self, mask: Self) -> Self {
        self.with(mask, |number, mask| number & !mask)
    }

    /// All bits of those that are greater than the other's, taken as numbers with a sign; none of the others.
    #[inline(always)]
    pub(crate) fn exceeds(self, other: Self) -> Self {
        self.with(other, |a, b| if a.cast_signed() > b.cast_signed() { u32::MAX } else { 0 })
    }

    /// All bits of those that are the other's, none of the others.
    #[inline(always)]
    pub(crate) fn equals(self, other: Self) -> Self {
        self.with(other, |a, b| if a == b { u32::MAX } else { 0 })
    }

    /// A bit for each, of numbers that have all bits or none.
    #[inline(always)]
    pub(crate) fn signs(self) -> u16 {
        self.0.iter().rev().fold(0, |bits, number| bits << 1 | (number & 1) as u16)
    }

    /// Both, taken in turn: the first four numbers, and the others.
    #[inline(always)]
    pub(crate) fn zipped(self, other: Self) -> [Self; 2] {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        [Self([a, e, b, f]), Self([c, g, d, h])]
    }
}

impl Lane for Quad {
    const WIDTH: usize = WIDTH;

    #[inline(always)]
    fn of(value: u32) -> Self {
        Self([value; WIDTH])
    }

    #[inline(always)]
    fn load<const N: usize>(numbers: &[u32; N], row: usize) -> Self {
        Self(numbers.as_chunks().0[row])
    }

    #[inline(always)]
    fn load_shorts<const N: usize>(numbers: &[u16; N], row: usize) -> Self {
        Self(numbers.as_chunks().0[row].map(u32::from))
    }

    #[inline(always)]
    fn wire(self) -> Self {
        Self(self.0.map(Lane::wire))
    }

    #[inline(always)]
    fn store_words<const N: usize>(out: &mut [u64; N], row: usize, first: Self, second: Self) {
        let out = &mut out.as_chunks_mut::<WIDTH>().0[row];
        for i in 0..WIDTH {
            u32::store_words(out, i, first.0[i], second.0[i]);
        }
    }

    #[inline(always)]
    fn store_shorts<const N: usize>(self, out: &mut [u16; N], row: usize) {
        let out = &mut out.as_chunks_mut::<WIDTH>().0[row];
        for i in 0..WIDTH {
            self.0[i].store_shorts(out, i);
        }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.with(other, Lane::plus)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.with(other, Lane::and)
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self.with(other, Lane::or)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self.with(other, Lane::xor)
    }

    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        Self(self.0.map(|number| number.left(bits)))
    }

    #[inline(always)]
    fn right(self, bits: u32) -> Self {
        Self(self.0.map(|number| number.right(bits)))
    }

    #[inline(always)]
    fn turned(self) -> Self {
        Self(self.0.map(Lane::turned))
    }

    #[inline(always)]
    fn scaled(self, factor: u32) -> Self {
        Self(self.0.map(|number| number.scaled(factor)))
    }

    #[inline(always)]
    fn wrapped_at(self, limit: u32) -> Self {
        Self(self.0.map(|number| number.wrapped_at(limit)))
    }

    #[inline(always)]
    fn where_zero(self, value: u32) -> Self {
        Self(self.0.map(|number| number.where_zero(value)))
    }
}
