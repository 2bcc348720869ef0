//! Arithmetic modulo a prime: the number theory of the permutation.
//!
//! Everything is exact for the whole stated range; products are computed in 128 bits. Only [`Multiplier`] and
//! [`VectorMultiplier`] are on the hot path.

/// `a * b mod m`.
#[inline]
pub(super) fn mul_mod(a: u64, b: u64, m: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(m)) as u64
}

/// `base ^ exponent mod m`, with `m` above 1.
pub(super) fn pow_mod(base: u64, mut exponent: u64, m: u64) -> u64 {
    let mut square = base % m;
    let mut power = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = mul_mod(power, square, m);
        }
        square = mul_mod(square, square, m);
        exponent >>= 1;
    }
    power
}

/// Multiplication by one constant modulo one number, without a division.
///
/// V. Shoup's method (NTL; D. Harvey, "Faster arithmetic for number-theoretic transforms", 2014, section 2): with
/// `ratio = floor(factor * 2^64 / modulus)`, `q = floor(x * ratio / 2^64)` is the quotient of `x * factor` by `modulus`
/// or one less, so one conditional subtraction completes it. It needs as many multiplications as Montgomery's form, but
/// two of them are independent, and values stay plain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Multiplier {
    factor: u64,
    ratio: u64,
    modulus: u64,
}

impl Multiplier {
    /// Multiplication by `factor`, below `modulus`, which is at most 2^63.
    pub(super) fn new(factor: u64, modulus: u64) -> Self {
        debug_assert!(factor < modulus && modulus <= 1 << 63);
        let ratio = ((u128::from(factor) << 64) / u128::from(modulus)) as u64;
        Self { factor, ratio, modulus }
    }

    /// `x * factor mod modulus`, for any `x`.
    #[inline(always)]
    pub(super) fn apply(self, x: u64) -> u64 {
        let quotient = ((u128::from(x) * u128::from(self.ratio)) >> 64) as u64;
        let rest = x.wrapping_mul(self.factor).wrapping_sub(quotient.wrapping_mul(self.modulus));
        // `rest` is below 2 * modulus; when it is below modulus the difference wraps to something larger.
        rest.min(rest.wrapping_sub(self.modulus))
    }
}

/// The same multiplication with the quotient computed in floating point, so that a loop over many numbers can be
/// vectorised: no vector unit computes the upper half of a 64-bit product.
///
/// With `ratio` the nearest double to `factor / modulus`, the double nearest to `x * ratio` is less than 1/8 from the
/// quotient of `x * factor` by `modulus`: each of the two roundings is off by one part in 2^53 at most, and the
/// quotient is below 2^49. The nearest integer to it is therefore the quotient rounded down or one more, and the rest
/// lies between `-modulus` and `modulus`. NTL multiplies this way (V. Shoup, "NTL: A Library for doing Number Theory").
#[derive(Clone, Copy, Debug)]
pub(super) struct VectorMultiplier {
    factor: u64,
    ratio: f64,
    modulus: u64,
}

impl VectorMultiplier {
    /// Largest modulus.
    pub(super) const MODULUS_MAX: u64 = 1 << 49;

    /// Multiplication by `factor`, below `modulus`, which is at most [`Self::MODULUS_MAX`].
    pub(super) fn new(factor: u64, modulus: u64) -> Self {
        debug_assert!(factor < modulus && modulus <= Self::MODULUS_MAX);
        Self { factor, ratio: factor as f64 / modulus as f64, modulus }
    }

    /// `x * factor mod modulus`, for `x` below the modulus.
    #[inline(always)]
    pub(super) fn apply(self, x: u64) -> u64 {
        // A double from 2^52 to 2^53 has an integer's bits as its lower ones. Converting this way needs no conversion
        // instruction, which not every vector unit has.
        const EXPONENT: f64 = (1u64 << 52) as f64;
        let float = f64::from_bits(x | EXPONENT.to_bits()) - EXPONENT;
        let quotient = (float * self.ratio + EXPONENT).to_bits() ^ EXPONENT.to_bits();
        let rest = x.wrapping_mul(self.factor).wrapping_sub(quotient.wrapping_mul(self.modulus));
        // Below 0 it has wrapped to something larger than the sum.
        rest.min(rest.wrapping_add(self.modulus))
    }
}

/// Whether `n` is prime.
///
/// The Miller-Rabin test with the first twelve primes as bases, which no composite below 3.3 * 10^24 passes
/// (J. Sorenson, J. Webster, "Strong pseudoprimes to twelve prime bases", 2015): exact for every `u64`.
pub(super) fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    for base in BASES {
        if n.is_multiple_of(base) {
            return n == base;
        }
    }
    let twos = (n - 1).trailing_zeros();
    let odd = (n - 1) >> twos;
    BASES.iter().all(|&base| {
        let mut x = pow_mod(base, odd, n);
        if x == 1 || x == n - 1 {
            return true;
        }
        for _ in 1..twos {
            x = mul_mod(x, x, n);
            if x == n - 1 {
                return true;
            }
        }
        false
    })
}

/// The prime factors of `n` (at least 1), each once, in ascending order.
pub(super) fn prime_factors(mut n: u64) -> Vec<u64> {
    /// Up to here, trial division finds factors faster; the rest is prime or splits in some thousand steps. Lower makes
    /// the second method do more, higher makes trial division slower.
    const TRIAL_LIMIT: u64 = 1 << 10;
    let mut factors = vec![];
    let mut divisor = 2;
    while divisor < TRIAL_LIMIT && divisor * divisor <= n {
        if n.is_multiple_of(divisor) {
            factors.push(divisor);
            while n.is_multiple_of(divisor) {
                n /= divisor;
            }
        }
        divisor += if divisor == 2 { 1 } else { 2 };
    }
    let mut parts = vec![n];
    while let Some(part) = parts.pop() {
        if part == 1 {
            continue;
        }
        if is_prime(part) {
            factors.push(part);
        } else {
            let factor = proper_factor(part);
            parts.push(factor);
            parts.push(part / factor);
        }
    }
    factors.sort_unstable();
    factors.dedup();
    factors
}

/// A factor of the odd composite `n` that is neither 1 nor `n`, by Pollard's rho with Floyd's cycle search
/// (J. M. Pollard, "A Monte Carlo method for factorization", 1975), trying `x^2 + 1`, `x^2 + 2`, ... in turn.
fn proper_factor(n: u64) -> u64 {
    let mut constant = 1u64;
    loop {
        let step = |x: u64| ((u128::from(x) * u128::from(x) + u128::from(constant)) % u128::from(n)) as u64;
        let (mut slow, mut fast) = (2, 2);
        let divisor = loop {
            slow = step(slow);
            fast = step(step(fast));
            let divisor = gcd(slow.abs_diff(fast), n);
            if divisor != 1 {
                break divisor;
            }
        };
        if divisor != n {
            return divisor;
        }
        constant += 1;
    }
}

/// Greatest common divisor, Euclid's.
fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn primes_are_those_of_a_sieve() {
        const LIMIT: usize = 70_000;
        let mut composite = vec![false; LIMIT];
        for n in 2..LIMIT {
            assert_eq!(is_prime(n as u64), !composite[n], "{n}");
            if !composite[n] {
                (n * n..LIMIT).step_by(n).for_each(|multiple| composite[multiple] = true);
            }
        }
        assert!(!is_prime(0) && !is_prime(1));
    }

    #[test]
    fn strong_pseudoprimes_and_large_primes_are_told_apart() {
        // Strong pseudoprimes to the first 1, 4, 7 and 11 prime bases (OEIS A014233), and a Carmichael number.
        for composite in [2_047, 3_215_031_751, 341_550_071_728_321, 3_825_123_056_546_413_051, 561] {
            assert!(!is_prime(composite), "{composite}");
        }
        for prime in [4_294_967_311, 281_474_976_710_677, (1 << 61) - 1, 18_446_744_073_709_551_557] {
            assert!(is_prime(prime), "{prime}");
        }
    }

    #[test]
    fn factors_of_hard_numbers() {
        assert_eq!(prime_factors(1), Vec::<u64>::new());
        assert_eq!(prime_factors(2), [2]);
        assert_eq!(prime_factors(1 << 48), [2]);
        assert_eq!(prime_factors(16_777_213 * 16_777_213), [16_777_213]);
        assert_eq!(
            prime_factors(2 * 11_863_279 * 11_863_283),
            prime_factors_by_trial(2 * 11_863_279 * 11_863_283)
        );
        assert_eq!(prime_factors(4_294_967_291 * 65_537), [65_537, 4_294_967_291]);
    }

    fn prime_factors_by_trial(mut n: u64) -> Vec<u64> {
        let mut factors = vec![];
        let mut divisor = 2;
        while divisor * divisor <= n {
            while n.is_multiple_of(divisor) {
                factors.push(divisor);
                n /= divisor;
            }
            divisor += 1;
        }
        if n > 1 {
            factors.push(n);
        }
        factors.dedup();
        factors
    }

    proptest! {
        #[test]
        fn factors_multiply_back(n in 1u64..1 << 50) {
            let mut rest = n;
            for factor in prime_factors(n) {
                prop_assert!(is_prime(factor) && rest.is_multiple_of(factor));
                while rest.is_multiple_of(factor) {
                    rest /= factor;
                }
            }
            prop_assert_eq!(rest, 1);
        }

        #[test]
        fn multiplier_agrees_with_128_bits(x: u64, factor: u64, modulus in 2u64..=1 << 63) {
            let factor = factor % modulus;
            prop_assert_eq!(Multiplier::new(factor, modulus).apply(x), mul_mod(x, factor, modulus));
        }

        #[test]
        fn multiplier_agrees_with_128_bits_near_the_largest_group(x in 0u64..281_474_976_710_677, factor: u64) {
            let modulus = 281_474_976_710_677;
            let factor = factor % modulus;
            prop_assert_eq!(Multiplier::new(factor, modulus).apply(x), mul_mod(x, factor, modulus));
        }
    }

    proptest! {
        #[test]
        fn vector_multiplier_agrees_with_128_bits(x: u64, factor: u64, modulus in 2u64..=VectorMultiplier::MODULUS_MAX) {
            let (x, factor) = (x % modulus, factor % modulus);
            prop_assert_eq!(VectorMultiplier::new(factor, modulus).apply(x), mul_mod(x, factor, modulus));
        }

        /// Products next to a multiple of the modulus, where the quotient is least certain.
        #[test]
        fn vector_multiplier_next_to_multiples(
            factor: u64,
            modulus in (1u64 << 40)..=VectorMultiplier::MODULUS_MAX,
            rest in 0u64..4,
        ) {
            let factor = factor % modulus;
            for wanted in [rest, modulus - 1 - rest] {
                if let Some(inverse) = inverse(factor, modulus) {
                    let x = mul_mod(inverse, wanted, modulus);
                    prop_assert_eq!(VectorMultiplier::new(factor, modulus).apply(x), wanted);
                }
            }
        }
    }

    /// The inverse of `a`, if it exists, by the extended algorithm of Euclid.
    fn inverse(a: u64, modulus: u64) -> Option<u64> {
        let (mut rests, mut factors) = ((i128::from(modulus), i128::from(a)), (0i128, 1i128));
        while rests.1 != 0 {
            let quotient = rests.0 / rests.1;
            rests = (rests.1, rests.0 - quotient * rests.1);
            factors = (factors.1, factors.0 - quotient * factors.1);
        }
        (rests.0 == 1).then(|| factors.0.rem_euclid(i128::from(modulus)) as u64)
    }

    #[test]
    fn vector_multiplier_at_the_corners() {
        for modulus in [2, 3, 5, 257, 3_702_258_433, (1 << 48) + 21, (1 << 49) - 1, 1 << 49] {
            for factor in [0, 1, modulus / 2, modulus - 1] {
                for x in [0, 1, modulus / 2, modulus - 2, modulus - 1] {
                    let product = VectorMultiplier::new(factor, modulus).apply(x);
                    assert_eq!(product, mul_mod(x, factor, modulus), "{x} * {factor} mod {modulus}");
                }
            }
        }
    }

    #[test]
    fn multiplier_at_the_corners() {
        for modulus in [2, 3, 5, 257, (1 << 48) + 21, 1 << 63, (1 << 63) - 25] {
            for factor in [0, 1, modulus / 2, modulus - 1] {
                for x in [0, 1, modulus - 1, modulus, u64::MAX - 1, u64::MAX] {
                    assert_eq!(Multiplier::new(factor, modulus).apply(x), mul_mod(x, factor, modulus));
                }
            }
        }
    }
}
