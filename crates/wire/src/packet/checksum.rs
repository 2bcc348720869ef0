//! The Internet checksum (RFC 1071), computed in parts, so that a template's constant part is added only once.

use simd::Lane;

/// Sum of the 16-bit words of `bytes`, not folded; an odd last byte counts as the upper half of a word.
#[inline]
pub fn sum(bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let mut total = 0u32;
    for word in &mut words {
        total += u32::from(u16::from_be_bytes([word[0], word[1]]));
    }
    match words.remainder() {
        [last] => total + (u32::from(*last) << 8),
        _ => total,
    }
}

/// Sum of the two words of an IPv4 address or another 32-bit field.
#[inline(always)]
pub fn sum32(value: u32) -> u32 {
    sums(value)
}

/// The same for one field or for several at once.
#[inline(always)]
pub fn sums<L: Lane>(values: L) -> L {
    values.right(16).plus(values.and(L::of(0xffff)))
}

/// A sum below 2^16 that gives the same checksum as `sum`; 0 only for 0.
#[inline(always)]
pub fn folded(sum: u32) -> u32 {
    sum32(sum32(sum))
}

/// Folds a sum to 16 bits and complements it: the value in the header. A sum that is added to itself with its halves
/// exchanged has the sum of both halves in its upper half, including the carry from the lower one.
#[inline(always)]
pub fn finish(sum: u32) -> u16 {
    finished(sum) as u16
}

/// The same for one sum or for several at once.
#[inline(always)]
pub fn finished<L: Lane>(sums: L) -> L {
    sums.plus(sums.turned()).xor(L::of(u32::MAX)).right(16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 1071, section 3.
    #[test]
    fn rfc_1071_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes), 0x2_ddf0);
        assert_eq!(finish(sum(&bytes)), !0xddf2);
    }

    /// A double carry: folding only once gives a wrong checksum here.
    #[test]
    fn folds_the_second_carry() {
        assert_eq!(finish(0x0001_ffff), !1);
        assert_eq!(finish(0xffff_ffff), 0);
    }

    proptest! {
        #[test]
        fn fold_is_modulo_65535(value: u32) {
            let folded = u32::from(!finish(value));
            prop_assert_eq!(folded % 65_535, value % 65_535);
            prop_assert_eq!(folded == 0, value == 0);
            prop_assert_eq!(super::folded(value), folded);
        }
    }
}
