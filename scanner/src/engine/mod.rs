//! The worker loop, pacing, counters.
pub mod counters;
