//! Rows of numbers, as wide as a level's vectors are.
//!
//! For what the compiler makes no wide vectors of: numbers that come from all over a table. What always holds: rows of wide
//! vectors are only made where the processor has them, as nothing but [`Level::run_wide`] can name those types.

use super::{Level, Quad};

/// Numbers of 32 bits, side by side. What is done to them is done to each.
pub(crate) trait Row: Copy {
    /// How many there are: 4, 8 or 16.
    const WIDTH: usize;

    /// `value`, in each of them.
    fn of(value: u32) -> Self;
    /// These numbers, as many as the row has.
    fn load(numbers: &[u32]) -> Self;
    /// Writes them to `out`, which has room for as many.
    fn store(self, out: &mut [u32]);
    /// What stands in column 0, 1, ... of as many records as the row has numbers, which `record` says.
    fn columns(record: impl Fn(usize) -> Quad) -> [Self; 4];
    /// Both, taken in turn within each four numbers: the first two of the four, and the others.
    fn zipped(self, other: Self) -> [Self; 2];
    /// The sums modulo 2^32.
    fn plus(self, other: Self) -> Self;
    /// The bits that both have.
    fn and(self, other: Self) -> Self;
    /// The exclusive ors.
    fn xor(self, other: Self) -> Self;
    /// Moved to the left by `bits`, below 32.
    fn left(self, bits: u32) -> Self;
    /// Those that are no greater than `most`, taken as numbers with a sign; 0 for the others.
    fn up_to(self, most: Self) -> Self;
    /// A bit for each that is `value`, the first one lowest.
    fn bits_of(self, value: u32) -> u16;
}

/// What stands in column 0, 1, ... of these rows, within each four numbers.
#[inline(always)]
fn turned_over<R: Row>([a, b, c, d]: [R; 4]) -> [R; 4] {
    let ([a0, a1], [b0, b1]) = (a.zipped(c), b.zipped(d));
    let ([first, second], [third, fourth]) = (a0.zipped(b0), a1.zipped(b1));
    [first, second, third, fourth]
}

/// Work in rows. `run` must be `#[inline(always)]`, and so must what it calls, as for [`super::Kernel`].
pub(crate) trait WideKernel {
    /// Does the work.
    fn run<R: Row>(self);
}

impl Level {
    /// Runs `kernel` as compiled for this level, with its rows.
    #[inline]
    #[cfg_attr(
        target_arch = "x86_64",
        expect(unsafe_code, reason = "only the caller can know that the processor has the instructions")
    )]
    pub(crate) fn run_wide<K: WideKernel>(self, kernel: K) {
        match self {
            Self::Portable => kernel.run::<Quad>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` only makes the level where the processor has these instructions, and nothing outside this
            // crate can make it.
            Self::Avx2 => unsafe { avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 => unsafe { avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn avx2<K: WideKernel>(kernel: K) {
    kernel.run::<wide::Oct>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<K: WideKernel>(kernel: K) {
    kernel.run::<wide::Hex>();
}

#[cfg(target_arch = "x86_64")]
mod wide;

impl Row for Quad {
    const WIDTH: usize = 4;

    #[inline(always)]
    fn of(value: u32) -> Self {
        super::Lane::of(value)
    }

    #[inline(always)]
    fn load(numbers: &[u32]) -> Self {
        Self::from_numbers(numbers.as_chunks().0[0])
    }

    #[inline(always)]
    fn store(self, out: &mut [u32]) {
        out.as_chunks_mut().0[0] = self.numbers();
    }

    #[inline(always)]
    fn columns(record: impl Fn(usize) -> Quad) -> [Self; 4] {
        turned_over([record(0), record(1), record(2), record(3)])
    }

    #[inline(always)]
    fn zipped(self, other: Self) -> [Self; 2] {
        Self::zipped(self, other)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        super::Lane::plus(self, other)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        super::Lane::and(self, other)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        super::Lane::xor(self, other)
    }

    #[inline(always)]
    fn left(self, bits: u32) -> Self {
        super::Lane::left(self, bits)
    }

    #[inline(always)]
    fn up_to(self, most: Self) -> Self {
        self.without(self.exceeds(most))
    }

    #[inline(always)]
    fn bits_of(self, value: u32) -> u16 {
        self.equals(Row::of(value)).signs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything that a row can do, of 16 numbers and as many records, in the order of the trait.
    struct All<'a> {
        a: &'a [u32; 16],
        b: &'a [u32; 16],
        records: &'a [[u32; 4]; 16],
        bits: u32,
        out: &'a mut [[u32; 16]; 9],
        equal: &'a mut u16,
    }

    impl WideKernel for All<'_> {
        #[inline(always)]
        fn run<R: Row>(self) {
            let records = self.records.map(Quad::from_numbers);
            for first in (0..16).step_by(R::WIDTH) {
                let range = first..first + R::WIDTH;
                let [a, b] = [self.a, self.b].map(|numbers| R::load(&numbers[range.clone()]));
                let [c0, c1, c2, c3] = R::columns(|i| records[first + i]);
                let rows = [c0, c1, c2, c3, a.plus(b), a.and(b), a.xor(b), a.left(self.bits), a.up_to(b)];
                for (row, out) in rows.into_iter().zip(&mut *self.out) {
                    row.store(&mut out[range.clone()]);
                }
                *self.equal |= a.xor(b).xor(R::of(7)).bits_of(7) << first;
            }
        }
    }

    proptest! {
        #[test]
        fn rows_of_all_levels_are_numbers(
            a: [u32; 16], mut b: [u32; 16], same: [bool; 16], records: [[u32; 4]; 16], bits in 0u32..32,
        ) {
            for i in (0..16).filter(|&i| same[i]) {
                b[i] = a[i];
            }
            let each = |make: &dyn Fn(usize) -> u32| -> [u32; 16] { std::array::from_fn(make) };
            let column = |column: usize| each(&|i| records[i][column]);
            let up_to = |i: usize| if a[i].cast_signed() <= b[i].cast_signed() { a[i] } else { 0 };
            let expected = [
                column(0), column(1), column(2), column(3),
                each(&|i| a[i].wrapping_add(b[i])), each(&|i| a[i] & b[i]), each(&|i| a[i] ^ b[i]),
                each(&|i| a[i] << bits), each(&up_to),
            ];
            let expected_equal = (0..16).fold(0u16, |all, i| all | u16::from(a[i] == b[i]) << i);
            for level in Level::available() {
                let (mut out, mut equal) = ([[0; 16]; 9], 0);
                let [a, b] = [&a, &b];
                level.run_wide(All { a, b, records: &records, bits, out: &mut out, equal: &mut equal });
                prop_assert_eq!(out, expected, "{:?}", level);
                prop_assert_eq!(equal, expected_equal, "{:?}", level);
            }
        }
    }
}
