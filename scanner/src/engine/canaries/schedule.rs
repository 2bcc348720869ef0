//! When canaries are due, and between which frames of a batch they leave.
//!
//! A policer or a short queue drops some places of a batch more often than others, as a rule the last ones. So a canary
//! is lost as often as an ordinary probe only if it is as likely to be at any place. What always holds: the probes are
//! divided into strata that owe one canary each, which falls due at a uniformly random probe of its stratum. It leaves
//! in the batch of that probe, at a place of which each is equally likely (stratified random sampling: W. G. Cochran,
//! Sampling Techniques, 1977, chapter 5). So the number of canaries follows the share, and a loss that is periodic does
//! not stay in step with them.
//!
//! Draws are those of a generator with a seed of its own: a scan that is repeated with a seed draws the same places for
//! the same batches.

use wire::packet::BATCH_MAX;

use super::{AT_ONCE, PPM};
use crate::engine::CANARY_SHARE_MAX_PPM;

// What a full batch owes: a canary for each stratum that it touches.
const _: () = assert!(BATCH_MAX as u64 * CANARY_SHARE_MAX_PPM as u64 / PPM + 2 <= AT_ONCE as u64);

/// A worker's schedule of canaries.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// How much is owed until the next canary is due, in millionths of one.
    left_ppm: u64,
    /// Where in its stratum that one is, in millionths from its start.
    place_ppm: u64,
    /// Canaries that fell due when there was no room for them.
    waiting: usize,
    draws: Draws,
}

impl Schedule {
    /// That of worker `number` in a scan with this seed.
    pub fn new(seed: u64, number: usize) -> Self {
        let mut draws = Draws(seed ^ (number as u64).rotate_left(32));
        let place_ppm = draws.below(PPM) + 1;
        Self { left_ppm: place_ppm, place_ppm, waiting: 0, draws }
    }

    /// Adds what this many frames owe, each of them `share_ppm` millionths of a canary. Returns whether any is due.
    #[inline]
    pub fn owe(&mut self, frames: usize, share_ppm: u64) -> bool {
        let owed_ppm = frames as u64 * share_ppm;
        if owed_ppm < self.left_ppm {
            self.left_ppm -= owed_ppm;
        } else {
            self.fall_due(owed_ppm);
        }
        self.waiting > 0
    }

    /// Takes back what this many frames owe, which do not leave: the next canary is due later.
    #[inline]
    pub fn forgive(&mut self, frames: u64, share_ppm: u64) {
        self.left_ppm += frames * share_ppm;
    }

    #[cold]
    fn fall_due(&mut self, mut owed_ppm: u64) {
        while owed_ppm >= self.left_ppm {
            owed_ppm -= self.left_ppm;
            let rest_ppm = PPM - self.place_ppm;
            self.place_ppm = self.draws.below(PPM) + 1;
            self.left_ppm = rest_ppm + self.place_ppm;
            // While there is no room, no backlog grows.
            self.waiting = (self.waiting + 1).min(AT_ONCE);
        }
        self.left_ppm -= owed_ppm;
    }

    /// Takes those that are due, but at most `room`; the others wait for the next batch.
    pub fn take(&mut self, room: usize) -> usize {
        let taken = self.waiting.min(room);
        self.waiting -= taken;
        taken
    }

    /// How many are due and wait for a batch.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many targets with so many probes each those that are due stand for: on average exactly as many probes as
    /// there are canaries.
    pub fn replaced(&mut self, probes: usize) -> usize {
        (self.waiting + self.draws.below(probes as u64) as usize) / probes
    }

    /// Draws a place for each of `count` canaries among `frames` frames, ascending: how many of these are before it. At
    /// most [`AT_ONCE`]. Of all orders of the batch, each is equally likely.
    pub fn places(&mut self, count: usize, frames: usize) -> [usize; AT_ONCE] {
        let mut places = [0; AT_ONCE];
        // Each is put into the batch that holds the ones before it, and moves those behind it.
        for i in 0..count {
            let place = self.draws.below((frames + i) as u64 + 1) as usize;
            places[..i].iter_mut().for_each(|other| *other += usize::from(*other >= place));
            places[i] = place;
        }
        places[..count].sort_unstable();
        places[..count].iter_mut().enumerate().for_each(|(before, place)| *place -= before);
        places
    }
}

/// Uniform draws: SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Copy, Debug)]
struct Draws(u64);

impl Draws {
    /// A number below `bound`, which is far below 2^32: by a multiplication, whose bias is small then.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ mixed >> 31) >> 32) * bound) >> 32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Chi-square of these counts against equal ones, over its degrees of freedom.
    fn unevenness(counts: &[u32]) -> f64 {
        let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        let squares = counts.iter().map(|count| (f64::from(*count) - mean).powi(2)).sum::<f64>();
        squares / mean / (counts.len() - 1) as f64
    }

    proptest! {
        /// There are as many as the share says, whatever the batches and the room.
        #[test]
        fn the_share_is_kept(
            seed: u64,
            share_ppm in 1u64..=CANARY_SHARE_MAX_PPM.into(),
            batches in prop::collection::vec((1usize..=BATCH_MAX, prop::bool::weighted(0.9)), 1..400),
        ) {
            let mut schedule = Schedule::new(seed, 0);
            let (mut owed_ppm, mut taken) = (0, 0);
            for (frames, has_room) in batches {
                let is_due = schedule.owe(frames, share_ppm);
                owed_ppm += frames as u64 * share_ppm;
                prop_assert_eq!(is_due, schedule.waiting > 0);
                prop_assert!(schedule.waiting <= AT_ONCE);
                taken += schedule.take(if has_room { AT_ONCE } else { 0 }) as u64;
                if has_room {
                    prop_assert!(taken <= owed_ppm.div_ceil(PPM));
                }
                // One batch without room keeps all, and more than that may be forgotten.
                if owed_ppm < AT_ONCE as u64 * PPM && has_room {
                    prop_assert!(taken >= owed_ppm / PPM, "{taken} of {owed_ppm}");
                }
            }
        }

        /// They replace as many probes as they are, on average; never one target more than they need.
        #[test]
        fn as_many_probes_wait(seed: u64, probes in 1usize..=4) {
            let mut schedule = Schedule::new(seed, 0);
            let (mut canaries, mut replaced) = (0, 0);
            for _ in 0..4_000 {
                if schedule.owe(30, 30_000) {
                    let targets = schedule.replaced(probes);
                    prop_assert!(targets <= schedule.waiting().div_ceil(probes));
                    replaced += targets * probes;
                    canaries += schedule.take(AT_ONCE);
                }
            }
            // Five standard errors: each draw is off by less than `probes`.
            let error = 5.0 * (canaries as f64).sqrt() * probes as f64;
            prop_assert!((replaced as f64 - canaries as f64).abs() <= error, "{replaced} of {canaries}");
            prop_assert!(probes > 1 || replaced == canaries);
        }

        /// Places are ascending, and none is behind the last frame's end.
        #[test]
        fn places_are_in_the_batch(seed: u64, count in 0..=AT_ONCE, frames in 0..=BATCH_MAX) {
            let places = Schedule::new(seed, 0).places(count, frames);
            prop_assert!(places[..count].is_sorted() && places[..count].iter().all(|place| *place <= frames));
        }
    }

    /// A canary is as often at one place of a batch as at another, however many there are in it, also where its length
    /// divides the number of probes for each canary.
    #[test]
    fn each_place_is_equally_likely() {
        for (frames, share_ppm) in [(8, 20_000), (10, 100_000), (8, 1_000), (64, 100_000), (256, 100_000)] {
            let mut schedule = Schedule::new(7, 0);
            let mut at = vec![0; frames + 1];
            for _ in 0..200_000_000 / share_ppm {
                schedule.owe(frames, share_ppm);
                let count = schedule.take(AT_ONCE);
                let places = schedule.places(count, frames);
                places[..count].iter().for_each(|place| at[*place] += 1);
            }
            let case = format!("{frames} frames, {share_ppm} ppm");
            let spread = unevenness(&at);
            // Places of one batch are not independent: several in one batch tend to be in order.
            assert!((0.2..1.8).contains(&spread), "{case}: {spread}: {at:?}");
            let canaries: u32 = at.iter().sum();
            let owed = frames as u64 * (200_000_000 / share_ppm) * share_ppm / PPM;
            assert!(u64::from(canaries).abs_diff(owed) <= 1, "{case}: {canaries} of {owed}");
        }
    }

    /// Which batch gets one does not follow the batches before: none of ten in turn is favoured.
    #[test]
    fn no_batch_is_favoured() {
        let mut schedule = Schedule::new(11, 0);
        let mut of = [0; 10];
        for turn in 0..200_000 {
            schedule.owe(10, 10_000);
            of[turn % 10] += schedule.take(AT_ONCE) as u32;
        }
        assert!(unevenness(&of) < 2.5, "{of:?}");
        assert!(of.iter().all(|count| *count > 1_500), "{of:?}");
    }

    /// A seed draws the same places again, and workers draw others.
    #[test]
    fn a_seed_repeats() {
        let drawn = |seed, number| Schedule::new(seed, number).places(8, 200);
        assert_eq!(drawn(5, 0), drawn(5, 0));
        assert_ne!(drawn(5, 0), drawn(5, 1));
        assert_ne!(drawn(5, 0), drawn(6, 0));
    }
}
