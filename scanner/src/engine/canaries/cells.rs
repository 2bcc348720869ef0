//! What became of canaries, counted by their numbers, where other threads read it.
//!
//! Each worker has its own cells and is the only one that writes them, so a count costs a load and a store. Counts only
//! grow: a reader finds those of a slot as a difference, because the slot's number is not used again for some time.

use crossbeam_utils::CachePadded;
use wire::proof::Copies;

use super::rtts::{BUCKETS, Rtts};
use crate::sync::atomic::{AtomicU64, Ordering};

/// How many numbers there are.
pub(super) const NUMBERS: usize = Copies::CANARIES as usize;

/// How a canary was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As the first time: a success of the probe module.
    Alike,
    /// By the host, in another way.
    Refused,
    /// By an ICMP error.
    Error,
}

/// What became of the canaries with one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Handed over.
    pub sent: u64,
    /// Answered as the first time.
    pub answered: u64,
    /// Answered by their host in another way.
    pub refused: u64,
    /// Answered by an ICMP error.
    pub errors: u64,
    /// Round-trip times of the answers.
    pub rtts: Rtts,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.refused += other.refused;
        self.errors += other.errors;
        self.rtts.add(&other.rtts);
    }

    /// What came after `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut rtts = self.rtts;
        rtts.0.iter_mut().zip(before.rtts.0).for_each(|(now, before)| *now -= before);
        Self {
            sent: self.sent - before.sent,
            answered: self.answered - before.answered,
            refused: self.refused - before.refused,
            errors: self.errors - before.errors,
            rtts,
        }
    }
}

#[derive(Debug)]
struct Cell {
    sent: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
    rtts: [AtomicU64; BUCKETS],
}

impl Default for Cell {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            sent: zero(),
            answered: zero(),
            refused: zero(),
            errors: zero(),
            rtts: std::array::from_fn(|_| zero()),
        }
    }
}

/// The counts of one worker.
#[derive(Debug, Default)]
pub struct Cells([CachePadded<Cell>; NUMBERS]);

fn add(cell: &AtomicU64, count: u64) {
    cell.store(cell.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

impl Cells {
    /// That many canaries of `slot` were handed over.
    pub fn sent(&self, slot: u64, count: u64) {
        add(&self.0[(slot % NUMBERS as u64) as usize].sent, count);
    }

    /// A canary with this number was answered.
    pub fn answered(&self, number: u32, answer: Answer, rtt_us: Option<u64>) {
        let cell = &self.0[number as usize % NUMBERS];
        add(
            match answer {
                Answer::Alike => &cell.answered,
                Answer::Refused => &cell.refused,
                Answer::Error => &cell.errors,
            },
            1,
        );
        if let Some(rtt_us) = rtt_us {
            add(&cell.rtts[Rtts::bucket(rtt_us)], 1);
        }
    }

    /// What became of the canaries of all slots that share the number of `slot`.
    pub fn read(&self, slot: u64) -> Tally {
        let cell = &self.0[(slot % NUMBERS as u64) as usize];
        let count = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Tally {
            sent: count(&cell.sent),
            answered: count(&cell.answered),
            refused: count(&cell.refused),
            errors: count(&cell.errors),
            rtts: Rtts(std::array::from_fn(|bucket| count(&cell.rtts[bucket]))),
        }
    }
}
