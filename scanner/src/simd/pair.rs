//! Two numbers of 64 bits at once.

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use plain::Pair;
#[cfg(target_arch = "x86_64")]
pub(crate) use sse2::Pair;

/// In one vector: for code that the compiler would leave in single numbers, as it takes a rotation for dearer than it is.
#[cfg(target_arch = "x86_64")]
mod sse2;

/// Where there is no other form; its tests are run everywhere.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod plain;

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

#[cfg(test)]
mod tests {
    macro_rules! tests_of {
        ($form:ident) => {
            mod $form {
                use crate::simd::pair::{Word, $form::Pair};
                use crate::simd::quad::$form::Quad;
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
        };
    }

    #[cfg(target_arch = "x86_64")]
    tests_of!(sse2);
    tests_of!(plain);
}
