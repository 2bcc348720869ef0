//! Four numbers of 32 bits at once.

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use plain::Quad;
#[cfg(target_arch = "x86_64")]
pub(crate) use sse2::Quad;

#[cfg(target_arch = "x86_64")]
pub(in crate::simd) mod sse2;

/// Where there is no other form: side by side, for the compiler to make of it what it can. Its tests are run everywhere.
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(in crate::simd) mod plain;

#[cfg(test)]
mod tests {
    macro_rules! tests_of {
        ($form:ident) => {
            mod $form {
                use crate::simd::{Lane, quad::$form::Quad};
                use proptest::prelude::*;

                proptest! {
                    #[test]
                    fn quads_are_four_numbers(a: [u32; 4], b: [u32; 4], same: u32, bits in 0u32..32) {
                        let (first, second) = (Quad::from_numbers(a), Quad::from_numbers(b));
                        let each = |make: fn(u32, u32) -> u32| -> [u32; 4] { std::array::from_fn(|i| make(a[i], b[i])) };
                        let mask = |holds: bool| if holds { u32::MAX } else { 0 };
                        prop_assert_eq!(first.numbers(), a);
                        prop_assert_eq!(Quad::of(same).numbers(), [same; 4]);
                        prop_assert_eq!(first.plus(second).numbers(), each(u32::wrapping_add));
                        prop_assert_eq!(first.and(second).numbers(), each(|a, b| a & b));
                        prop_assert_eq!(first.without(second).numbers(), each(|a, b| a & !b));
                        prop_assert_eq!(first.or(second).numbers(), each(|a, b| a | b));
                        prop_assert_eq!(first.xor(second).numbers(), each(|a, b| a ^ b));
                        prop_assert_eq!(first.left(bits).numbers(), a.map(|number| number << bits));
                        prop_assert_eq!(first.right(bits).numbers(), a.map(|number| number >> bits));
                        prop_assert_eq!(first.turned().numbers(), a.map(Lane::turned));
                        let greater: [u32; 4] = std::array::from_fn(|i| mask(a[i].cast_signed() > b[i].cast_signed()));
                        prop_assert_eq!(first.exceeds(second).numbers(), greater);
                        let one = Quad::from_numbers([a[0], b[1], b[2], b[3]]);
                        prop_assert_eq!(one.equals(first).numbers(), [0, 1, 2, 3].map(|i| mask(i == 0 || a[i] == b[i])));
                    }

                    /// What a header's fields are made with is the same for four as for each.
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

                    #[test]
                    fn masks_are_bits(mask: [bool; 4]) {
                        let row = Quad::from_numbers(mask.map(|all| if all { u32::MAX } else { 0 }));
                        prop_assert_eq!(row.signs(), mask.iter().rev().fold(0, |bits, &all| bits << 1 | u16::from(all)));
                    }
                }
            }
        };
    }

    #[cfg(target_arch = "x86_64")]
    tests_of!(sse2);
    tests_of!(plain);
}
