//! Which vector instructions the batch kernels are compiled for, chosen at run time.
//!
//! A kernel is ordinary Rust over arrays, written so that the compiler makes vectors of it; `Level::run` calls the
//! copy of it that was compiled for a level. What the compiler makes no good vectors of is written in those that every
//! x86-64 has, `Pair` and `Quad`, for all levels, or in each level's own, `Row`, by `Level::run_wide`. What every level
//! computes is the same (tested where the kernels are). This module and `io` are the only places with `unsafe` code.

mod lane;
mod pair;
mod places;
mod quad;
mod row;

pub(crate) use lane::Lane;
pub(crate) use pair::{Pair, Word};
pub(crate) use places::Places;
pub(crate) use quad::Quad;
pub(crate) use row::{Row, WideKernel};

/// Work on a batch: loops over arrays, whose rounds do not depend on each other. `run` must be `#[inline(always)]`, and
/// so must what it calls: code that is not inlined into `Level::run`'s copies is compiled for the portable level.
pub(crate) trait Kernel {
    /// What the work yields.
    type Output;

    /// Does the work.
    fn run(self) -> Self::Output;
}

/// A set of vector instructions, which the processor has: only [`Level::available`] makes those that not every one has. So
/// code that is compiled for a level may be run at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What every processor of the architecture has.
    Portable,
    /// AVX2 and BMI2.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx2,
    /// AVX-512 F, BW, DQ and VL, as in every server processor that has AVX-512 at all.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
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
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

/// A number as one that is compared with a sign, in the same order: not every processor's vectors compare without.
#[inline(always)]
pub(crate) const fn signed(number: u32) -> u32 {
    number ^ 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

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
