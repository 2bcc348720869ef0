//! What came back: from a worker's ring to a line of output.
//!
//! One collector thread owns everything here but the [`record`] layout, which it shares with the workers. A record
//! takes this way, and nothing on it goes back: ring -> [`collector`] -> [`dedup`] -> [`filter`] -> [`fields`] ->
//! [`format`](mod@format) -> [`sink`]. However slow the output is, a worker never waits for it: its ring fills up,
//! and it counts what it could not hand over.

pub mod collector;
pub mod counts;
pub mod dedup;
pub mod fields;
pub mod filter;
pub mod format;
pub mod output;
pub mod record;
pub mod reply;
pub mod sink;
#[cfg(test)]
pub(crate) mod testing;
