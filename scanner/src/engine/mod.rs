//! The engine: workers that send and receive, run to completion on a core of their own.
//!
//! Owns the worker loop, pacing, the cap on resets, and the way from sending through cooldown to the end. A worker
//! shares with the others only what it touches once a batch or less: the pacer, the lease table, the phase. In its
//! loop nothing allocates, locks, logs or formats; the clock is read once a turn and once a batch received.

pub mod control;
pub mod cores;
pub mod counters;
mod history;
pub mod pace;
mod received;
mod repeats;
mod resets;
pub mod scan;
mod worker;

pub use control::{Control, EndReason, Phase};
pub use counters::Counts;
pub use pace::{Pacer, RATE_MAX_PPS, RATE_MIN_PPS};
pub use repeats::RepeatPolicy;
pub use scan::{SCAN_MAX, Scan, ScanEnd, Tick, Way};

#[cfg(test)]
mod tests;
