//! The order in which targets are probed: a permutation of `0..n`, computed and never stored.
//!
//! The numbers `1..=p-1` form a cyclic group under multiplication modulo a prime `p`; the powers of a primitive
//! root `g` visit each of them exactly once. With `p` the smallest prime above `n`, the walk
//! `g^start, g^(start+1), ...` meets each of `1..=n` exactly once and a few elements above `n`, which are skipped.
//! Z. Durumeric, E. Wustrow, J. A. Halderman, "ZMap: Fast Internet-wide Scanning and its Security Applications",
//! USENIX Security 2013, section 3.1, describes the idea; there the primes are a fixed few.
//!
//! # The derivation is frozen
//!
//! A seed gives the same order on every machine and in every later version. From `n` and `seed`:
//!
//! 1. `p` is the smallest prime that is greater than `n` and at least 3.
//! 2. The stream is the ChaCha20 key stream (20 rounds, 64-bit block counter from 0, nonce 0) under the 32-byte key
//!    `"xdpmap permutation 1"` (20 ASCII bytes), four zero bytes, `seed` as 8 bytes little endian. It is read as
//!    consecutive 64-bit little-endian words.
//! 3. A draw from `[low, high)`: with `b` the bit length of `high - low - 1`, take the next word, keep its `b` lowest
//!    bits, and repeat until they are below `high - low`; the result is `low` plus them. (`b` may be 0: the word is
//!    taken even then.)
//! 4. `g`: draws from `[2, p-1)` until one is a primitive root modulo `p`. For `p = 3`, `g` is 2 and nothing is drawn.
//! 5. `start`: the next draw from `[0, p-1)`.
//! 6. Element `e` of the order, for `e` in `0..p-1`, is `g^(start+e) mod p`; it stands for index `element - 1`, and for
//!    none if that is `n` or more.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use simd::Level;

use super::arith::{is_prime, pow_mod, prime_factors};

/// Most targets that one permutation orders: every IPv4 address on every port.
pub const TARGETS_MAX: u64 = 1 << 48;

/// The key's first bytes; see the module's head.
const KEY_DOMAIN: &[u8; 20] = b"xdpmap permutation 1";

/// Why there is no such permutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermutationError {
    /// More targets than IPv4 has addresses and ports.
    #[error("{count} targets are more than the 2^48 that one scan can order")]
    TooManyTargets {
        /// The requested number.
        count: u64,
    },
}

/// A pseudo-random order of the indices `0..targets`, with random access by exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permutation {
    targets: u64,
    seed: u64,
    prime: u64,
    root: u64,
    start: u64,
    level: Level,
}

impl Permutation {
    /// The order that `seed` gives to `targets` targets.
    ///
    /// # Errors
    /// [`PermutationError::TooManyTargets`] above [`TARGETS_MAX`].
    pub fn new(targets: u64, seed: u64) -> Result<Self, PermutationError> {
        if targets > TARGETS_MAX {
            return Err(PermutationError::TooManyTargets { count: targets });
        }
        let mut prime = (targets + 1).max(3);
        while !is_prime(prime) {
            prime += 1;
        }
        let mut stream = Stream::new(seed);
        let root = draw_root(&mut stream, prime);
        let start = stream.draw(0, prime - 1);
        Ok(Self { targets, seed, prime, root, start, level: Level::detect() })
    }

    /// The same order, computed with the instructions of `level`.
    #[must_use]
    pub fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The instructions that compute it; the order does not depend on them.
    #[inline]
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// How many exponents the order has, `p - 1`: `targets()` of them are targets, the others are skipped.
    #[inline]
    pub fn order(&self) -> u64 {
        self.prime - 1
    }

    /// The number of targets.
    #[inline]
    pub fn targets(&self) -> u64 {
        self.targets
    }

    /// The seed of the order.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The group's prime.
    #[inline]
    pub fn prime(&self) -> u64 {
        self.prime
    }

    /// The primitive root whose powers are the order.
    #[inline]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The exponent of the root at which the order begins.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The target index at exponent `exponent`; `None` if the exponent is skipped or not below [`Self::order`].
    ///
    /// Random access costs some hundred multiplications; [`super::Cursor`] walks an interval with one per target.
    #[inline]
    pub fn index_at(&self, exponent: u64) -> Option<u64> {
        if exponent >= self.order() {
            return None;
        }
        let index = self.element_at(exponent) - 1;
        (index < self.targets).then_some(index)
    }

    /// The group's element at any exponent up to 2^63.
    pub(super) fn element_at(&self, exponent: u64) -> u64 {
        pow_mod(self.root, self.start + exponent, self.prime)
    }

    /// `root ^ exponent`.
    pub(super) fn power_of_root(&self, exponent: u64) -> u64 {
        pow_mod(self.root, exponent, self.prime)
    }
}

/// The seed's stream of uniform draws.
struct Stream(ChaCha20Rng);

impl Stream {
    fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..KEY_DOMAIN.len()].copy_from_slice(KEY_DOMAIN);
        key[24..].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha20Rng::from_seed(key))
    }

    /// A uniform draw from `[low, high)`, which is not empty.
    fn draw(&mut self, low: u64, high: u64) -> u64 {
        let largest = high - low - 1;
        let mask = u64::MAX.checked_shr(largest.leading_zeros()).unwrap_or(0);
        loop {
            let bits = self.0.next_u64() & mask;
            if bits <= largest {
                return low + bits;
            }
        }
    }
}

/// The first primitive root modulo `prime` that the stream draws from `[2, prime - 1)`.
///
/// A number is a primitive root if and only if none of its powers `(p-1)/q`, for the prime factors `q` of `p-1`, is 1.
/// It is drawn from the whole range: powers of a small root would put neighbours close together.
fn draw_root(stream: &mut Stream, prime: u64) -> u64 {
    if prime == 3 {
        return 2;
    }
    let factors = prime_factors(prime - 1);
    loop {
        let candidate = stream.draw(2, prime - 1);
        if factors.iter().all(|factor| pow_mod(candidate, (prime - 1) / factor, prime) != 1) {
            return candidate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stream is ChaCha20 as published: its key stream under the all-zero key starts with these bytes
    /// (D. J. Bernstein's test vectors; RFC 8439, A.1, vector 1).
    #[test]
    fn stream_is_chacha20() {
        let mut zero_key = ChaCha20Rng::from_seed([0; 32]);
        assert_eq!(zero_key.next_u64().to_le_bytes(), [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
        assert_eq!(zero_key.next_u64().to_le_bytes(), [0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28]);
    }

    #[test]
    fn draws_stay_inside_and_reach_both_ends() {
        let mut stream = Stream::new(1);
        for width in [1, 2, 3, 4, 5, 8, 9, 100] {
            let draws: Vec<u64> = (0..2_000).map(|_| stream.draw(7, 7 + width)).collect();
            assert_eq!(draws.iter().min(), Some(&7));
            assert_eq!(draws.iter().max(), Some(&(7 + width - 1)));
        }
    }

    #[test]
    fn prime_is_the_smallest_above() {
        for (targets, prime) in [
            (0, 3),
            (1, 3),
            (2, 3),
            (3, 5),
            (4, 5),
            (5, 7),
            (256, 257),
            (257, 263),
            (1 << 16, 65_537),
            (1 << 24, 16_777_259),
            (1 << 32, 4_294_967_311),
            (1 << 48, 281_474_976_710_677),
        ] {
            assert_eq!(Permutation::new(targets, 5).unwrap().prime(), prime, "{targets}");
        }
    }

    #[test]
    fn more_than_all_targets_is_an_error() {
        assert!(Permutation::new(TARGETS_MAX, 0).is_ok());
        let error = Permutation::new(TARGETS_MAX + 1, 0).unwrap_err();
        assert!(error.to_string().contains("2^48"));
    }

    #[test]
    fn random_access_ends_with_the_order() {
        let order = Permutation::new(10, 3).unwrap();
        assert_eq!(order.order(), 10);
        assert_eq!(order.index_at(10), None);
        assert_eq!(order.index_at(u64::MAX), None);
        let none = Permutation::new(0, 3).unwrap();
        assert_eq!((none.index_at(0), none.index_at(1)), (None, None));
    }

    /// Neighbouring seeds give unrelated roots and starts.
    #[test]
    fn seeds_differ() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..200 {
            let order = Permutation::new(1 << 40, seed).unwrap();
            assert!(seen.insert((order.root(), order.start())));
        }
    }

    /// Frozen: a seed's order must never change. The values were computed by another program from the derivation in the
    /// module's head; 3,702,258,432 is about the number of addresses that the reserved floor leaves.
    #[test]
    fn golden_orders() {
        golden(1, 0, [3, 2, 0], &[0]);
        golden(2, 9, [3, 2, 1], &[1, 0]);
        golden(3, 1, [5, 3, 1], &[2, 1, 0]);
        golden(100, 1, [101, 83, 19], &[28, 83, 2, 46, 62, 77, 9, 21]);
        golden(257, 3_735_928_559, [263, 195, 127], &[130, 33, 54, 204, 67, 109, 146, 135]);
        golden(
            65_536,
            7,
            [65_537, 12_202, 60_279],
            &[35_622, 30_461, 36_996, 18_537, 32_488, 63_001, 1_393, 35_504],
        );
        golden(
            131_072,
            18_446_744_073_709_551_615,
            [131_101, 63_458, 34_232],
            &[102_285, 54_477, 62_654, 60_962, 61_745, 62_080, 82_148, 42_178],
        );
        golden(
            3_702_258_432,
            0,
            [3_702_258_451, 1_942_502_404, 393_753_863],
            &[
                897_457_889,
                2_872_607_705,
                1_610_882_695,
                1_711_229_074,
                2_309_908_763,
                2_571_358_227,
                563_853_126,
                3_610_703_980,
            ],
        );
        golden(
            3_702_258_432,
            1,
            [3_702_258_451, 2_328_420_792, 2_621_499_461],
            &[
                2_504_996_849,
                3_068_734_862,
                3_195_139_794,
                80_732_870,
                3_253_978_293,
                2_631_348_477,
                324_742_494,
                2_947_817_005,
            ],
        );
        golden(
            951_480_417_024,
            42,
            [951_480_417_031, 759_271_467_755, 6_107_531_577],
            &[
                358_417_445_045,
                161_919_244_535,
                179_826_155_970,
                24_777_734_123,
                471_093_033_998,
                26_894_508_523,
                757_777_529_013,
                821_813_363_310,
            ],
        );
        golden(
            4_294_967_296,
            12_345_678_901_234_567_890,
            [4_294_967_311, 3_164_371_809, 370_924_153],
            &[
                1_856_719_269,
                1_029_971_245,
                1_183_216_704,
                3_674_311_784,
                4_055_076_681,
                349_422_241,
                1_330_443_075,
                3_323_402_401,
            ],
        );
        golden(
            281_474_976_710_655,
            3,
            [281_474_976_710_677, 280_741_281_660_628, 64_897_787_751_053],
            &[
                248_623_519_702_969,
                274_351_339_565_464,
                251_489_693_392_071,
                105_449_345_231_599,
                20_296_552_674_500,
                24_536_021_471_074,
                62_489_974_814_144,
                139_856_231_206_724,
            ],
        );
        golden(
            281_474_976_710_656,
            0,
            [281_474_976_710_677, 186_302_179_713_892, 97_133_693_262_711],
            &[
                19_382_096_199_955,
                239_156_096_637_100,
                162_767_867_175_456,
                72_130_922_532_324,
                166_897_758_818_212,
                201_362_647_929_428,
                40_134_488_855_538,
                219_442_769_661_497,
            ],
        );
    }

    fn golden(targets: u64, seed: u64, [prime, root, start]: [u64; 3], first: &[u64]) {
        let order = Permutation::new(targets, seed).unwrap();
        assert_eq!((order.prime(), order.root(), order.start()), (prime, root, start), "{targets} {seed}");
        let indices: Vec<u64> =
            (0..order.order()).filter_map(|e| order.index_at(e)).take(first.len()).collect();
        assert_eq!(indices, first, "{targets} {seed}");
    }
}
