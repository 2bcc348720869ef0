//! The engine: workers that send and receive, each in one thread that runs to completion on its own core.
//!
//! Owns the worker loop, pacing, the cap on resets, and the phases from sending through cooldown to the end. Workers
//! share only what they access at most once per batch: the pacer, the lease table, the phase, and the gateways' MAC
//! addresses. Nothing in the loop allocates, locks, logs or formats. The clock is read once per turn and once per
//! received batch.

mod assignment;
pub mod canaries;
pub mod control;
pub mod cores;
pub mod counters;
mod exclusions;
mod gateways;
mod history;
mod lowwater;
mod neighborhood;
mod orders;
pub mod pace;
mod phases;
mod received;
mod repeats;
mod resets;
mod sampling;
pub mod scan;
mod second;
mod standing;
mod stillness;
mod worker;

pub use assignment::{Assignment, WorkerConfig, WorkerReport};
pub use control::{CANARY_SHARE_MAX_PPM, Control, EndReason, Phase};
pub use counters::Counts;
pub use exclusions::Exclusions;
pub use gateways::Gateways;
pub use lowwater::{LowWater, Open, Progress};
pub use neighborhood::{Hop, Neighborhood};
pub use orders::PauseCause;
pub use pace::{Pacer, RATE_MAX_PPS, RATE_MIN_PPS};
pub use repeats::RepeatPolicy;
pub use scan::{Pulse, SCAN_MAX, Scan, ScanEnd, Tick};
pub use second::SecondWalk;

#[cfg(test)]
mod tests;
