//! Which vector instructions the batch kernels are compiled for, chosen at run time.
//!
//! A kernel is ordinary Rust over arrays, written so that the compiler makes vectors of it; `Level::run` calls the
//! copy of it that was compiled for a level. There is no second source to keep in step but for `Pair`, and what every
//! level computes is the same (tested where the kernels are). This module and `io` are the only places with `unsafe` code.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_add_epi64, _mm_cvtsi32_si128, _mm_cvtsi128_si64, _mm_or_si128, _mm_prefetch,
    _mm_set_epi32, _mm_set1_epi64x, _mm_shuffle_epi32, _mm_shufflehi_epi16, _mm_shufflelo_epi16,
    _mm_sll_epi64, _mm_srl_epi64, _mm_unpackhi_epi64, _mm_xor_si128,
};

/// Work on a batch: loops over arrays, whose rounds do not depend on each other. `run` must be `#[inline(always)]`, and
/// so must what it calls: code that is not inlined into `Level::run`'s copies is compiled for the portable level.
pub(crate) trait Kernel {
    /// What the work yields.
    type Output;

    /// Does the work.
    fn run(self) -> Self::Output;
}

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What every processor of the architecture has.
    Portable,
    /// AVX2 and BMI2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL, as in every server processor that has AVX-512 at all.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best level of this processor.
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// Its name, as in the benchmarks' results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }

    /// All levels of this processor, best last.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("bmi2") {
                levels.push(Self::Avx2);
                if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
                    levels.push(Self::Avx512);
                }
            }
        }
        levels
    }

    /// Runs `kernel` as compiled for this level.
    #[inline]
    #[expect(unsafe_code, reason = "only the caller can know that the processor has the instructions")]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable => kernel.run(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level is only made where the processor has these instructions.
            Self::Avx2 => unsafe { avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 => unsafe { avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

/// Asks for the memory of a slice's element to be brought near, without waiting for it. Of one that is not there, nothing
/// comes.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the instruction takes an address"))]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    let element = slice.as_ptr().wrapping_add(index);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, which takes any address and changes nothing that a program could see.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(element.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = element;
}

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

/// Two numbers of 64 bits, in one vector of those that every x86-64 has; elsewhere, side by side. For code that the
/// compiler would leave in single numbers: it takes a rotation for dearer than it is.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair(__m128i);

#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair([u64; 2]);

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the instructions are functions of their own, which only the caller can know to be there"
)]
impl Pair {
    /// The numbers with these lower and upper halves.
    #[inline(always)]
    pub(crate) fn from_halves(low: [u32; 2], high: [u32; 2]) -> Self {
        let [a, b, c, d] = [high[1], low[1], high[0], low[0]].map(u32::cast_signed);
        // SAFETY: SSE2 is part of x86-64, here and in all that follows.
        Self(unsafe { _mm_set_epi32(a, b, c, d) })
    }

    /// Both numbers.
    #[inline(always)]
    pub(crate) fn numbers(self) -> [u64; 2] {
        // SAFETY: as above.
        let second = unsafe { _mm_unpackhi_epi64(self.0, self.0) };
        [self.0, second].map(|vector| {
            // SAFETY: as above.
            unsafe { _mm_cvtsi128_si64(vector) }.cast_unsigned()
        })
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the instructions are functions of their own, which only the caller can know to be there"
)]
impl Word for Pair {
    #[inline(always)]
    fn of(value: u64) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_set1_epi64x(value.cast_signed()) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm_xor_si128(self.0, other.0) })
    }

    #[inline(always)]
    fn rotated(self, bits: u32) -> Self {
        match bits {
            // SAFETY: as above.
            32 => Self(unsafe { _mm_shuffle_epi32::<0b10_11_00_01>(self.0) }),
            16 => {
                // SAFETY: as above.
                let first = unsafe { _mm_shufflelo_epi16::<0b10_01_00_11>(self.0) };
                // SAFETY: as above.
                Self(unsafe { _mm_shufflehi_epi16::<0b10_01_00_11>(first) })
            }
            _ => {
                let count = |bits: u32| {
                    // SAFETY: as above.
                    unsafe { _mm_cvtsi32_si128(bits.cast_signed()) }
                };
                // SAFETY: as above.
                let left = unsafe { _mm_sll_epi64(self.0, count(bits)) };
                // SAFETY: as above.
                let right = unsafe { _mm_srl_epi64(self.0, count(64 - bits)) };
                // SAFETY: as above.
                Self(unsafe { _mm_or_si128(left, right) })
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Pair {
    /// The numbers with these lower and upper halves.
    #[inline(always)]
    pub(crate) fn from_halves(low: [u32; 2], high: [u32; 2]) -> Self {
        Self([0, 1].map(|i| u64::from(high[i]) << 32 | u64::from(low[i])))
    }

    /// Both numbers.
    #[inline(always)]
    pub(crate) fn numbers(self) -> [u64; 2] {
        self.0
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Word for Pair {
    #[inline(always)]
    fn of(value: u64) -> Self {
        Self([value; 2])
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self([0, 1].map(|i| self.0[i].wrapping_add(other.0[i])))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self([0, 1].map(|i| self.0[i] ^ other.0[i]))
    }

    #[inline(always)]
    fn rotated(self, bits: u32) -> Self {
        Self(self.0.map(|number| number.rotate_left(bits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pairs_are_two_numbers(a: [u64; 2], b: [u64; 2]) {
            let halves = |numbers: [u64; 2]| Pair::from_halves(numbers.map(|n| n as u32), numbers.map(|n| (n >> 32) as u32));
            let (first, second) = (halves(a), halves(b));
            prop_assert_eq!(first.numbers(), a);
            prop_assert_eq!(Pair::of(a[1]).numbers(), [a[1]; 2]);
            prop_assert_eq!(first.xor(second).numbers(), [a[0] ^ b[0], a[1] ^ b[1]]);
            prop_assert_eq!(first.plus(second).numbers(), [a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1])]);
            for bits in 1..64 {
                prop_assert_eq!(first.rotated(bits).numbers(), a.map(|number| number.rotate_left(bits)));
            }
        }
    }

    struct Sum<'a>(&'a [u32]);

    impl Kernel for Sum<'_> {
        type Output = u32;

        #[inline(always)]
        fn run(self) -> u32 {
            self.0.iter().fold(0, |sum, value| sum ^ value.rotate_left(7))
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        let values: Vec<u32> = (0..1_000).collect();
        let levels = Level::available();
        assert_eq!(levels[0], Level::Portable);
        assert_eq!(levels.last(), Some(&Level::detect()));
        let expected = Level::Portable.run(Sum(&values));
        for level in levels {
            assert_eq!(level.run(Sum(&values)), expected, "{level:?}");
        }
    }
}
