//! Which vector instructions the batch kernels are compiled for, chosen at run time.
//!
//! A kernel is ordinary Rust over arrays, written so that the compiler vectorises it; `Level::run` calls the copy of it
//! that was compiled for a level. Where the compiler does not vectorise well, the code uses vectors explicitly: those
//! of every x86-64, `Pair` and `Quad`, or those of each level. Every level computes the same result (tested where the
//! kernels are).
//!
//! The vectors are those of `fearless_simd`. Its types prove that the processor has the instructions, so there is no
//! `unsafe` code here. A probe takes 100 instructions with AVX2 and 163 without; with direct calls of intrinsics it
//! took 101 and 164 (bench/README.md, "The engine").

#![forbid(unsafe_code)]

#[cfg(not(target_arch = "x86_64"))]
compile_error!(
    "xdpmap is for x86-64: the vectors of the portable level are those that each of these processors has"
);

/// The example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod lane;
mod pair;
mod quad;

use fearless_simd::{Avx2, Avx512, Sse2};

pub use fearless_simd::Simd;
pub use lane::Lane;
pub use pair::{Pair, Word};
pub use quad::Quad;

/// Most entries of a batch, where a caller works in batches: so many targets, and the frames to them.
pub const BATCH_MAX: usize = 256;

/// Work on a batch: loops over arrays with independent rounds. `run` must be `#[inline(always)]`, and so must
/// everything that it calls: code that is not inlined into `Level::run`'s copies is compiled for the portable level.
pub trait Kernel {
    /// The result of the work.
    type Output;

    /// Does the work; `simd` are the vectors that it is compiled for.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A set of vector instructions that the processor has. Levels that not every processor has contain the proof.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// The instructions that every processor of the architecture has.
    Portable,
    /// AVX2 and the extensions of x86-64-v3.
    #[non_exhaustive]
    Avx2(Avx2),
    /// AVX-512 and the extensions of Ice Lake and Zen 4.
    #[non_exhaustive]
    Avx512(Avx512),
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
            Self::Avx2(_) => "avx2",
            Self::Avx512(_) => "avx512",
        }
    }

    /// All levels of this processor, best last.
    pub fn available() -> Vec<Self> {
        let best = fearless_simd::Level::new();
        let wider = [best.as_avx2().map(Self::Avx2), best.as_avx512().map(Self::Avx512)];
        [Self::Portable].into_iter().chain(wider.into_iter().flatten()).collect()
    }

    /// Runs `kernel` as compiled for this level.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable => kernel.run(sse2()),
            Self::Avx2(avx2) => avx2.vectorize(
                #[inline(always)]
                || kernel.run(avx2),
            ),
            Self::Avx512(avx512) => avx512.vectorize(
                #[inline(always)]
                || kernel.run(avx512),
            ),
        }
    }
}

impl PartialEq for Level {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Level {}

/// The vectors that every x86-64 has.
#[inline(always)]
fn sse2() -> Sse2 {
    fearless_simd::Level::baseline().as_sse2().unwrap_or_else(|| unreachable!("every x86-64 has SSE2"))
}

/// Maps a number so that a signed comparison gives the unsigned order: some processors have only signed vector
/// comparisons.
#[inline(always)]
pub const fn signed(number: u32) -> u32 {
    number ^ 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a>(&'a [u32]);

    impl Kernel for Sum<'_> {
        type Output = u32;

        #[inline(always)]
        fn run<S: Simd>(self, _: S) -> u32 {
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
