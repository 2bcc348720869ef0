//! What is probed, and in which order.
//!
//! [`Permutation`] puts the numbers of targets in order; [`shard()`] and [`Leases`] share the order out; a [`Cursor`] walks
//! one lease. All of it is fixed before the first packet.
//!
//! What always holds: a walk of the whole order meets every (address, port) exactly once and nothing else, whatever
//! the number of ports, shards, workers and restarts; and what it meets, and when, follows from the lists, the ports
//! and the seed alone.

mod arith;
pub mod batch;
pub mod cursor;
pub mod permutation;
pub mod shard;

pub use batch::{BATCH_MAX, TargetBatch};
pub use cursor::{Cursor, LaneCursor};
pub use permutation::Permutation;
pub use shard::{Interval, Lease, Leases, shard};
