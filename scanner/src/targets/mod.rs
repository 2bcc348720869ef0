//! What is probed, and in which order.
//!
//! Owns the way from lists of addresses and ports to a batch of targets. Of all lists, [`lines`] finds the lines and `entry` says what
//! one means. [`list`] reads the lists of networks, in which [`names`] looks host names up, and [`bulk`] the long ones of single hosts; [`AddressSet`] is what they allow, less
//! the floor that [`reserved`] keeps; [`TargetSpace`] numbers its addresses and [`PortList`]'s ports, or the pairs of a
//! [`PairSet`]; [`Permutation`] puts the numbers in order; [`shard()`] and [`Leases`] share the order out; a [`Cursor`] walks
//! one lease. All of it is fixed before the first packet.
//!
//! What always holds: a walk of the whole order meets every (address, port) exactly once and nothing else, whatever
//! the number of ports, shards, workers and restarts; and what it meets, and when, follows from the lists, the ports
//! and the seed alone.

mod arith;
pub mod batch;
mod buckets;
pub mod bulk;
pub mod cursor;
mod entry;
pub mod lines;
pub mod list;
pub mod names;
pub mod pages;
pub mod pairs;
pub mod permutation;
pub mod ports;
mod problem;
pub mod ranges;
mod rank;
pub mod readable;
pub mod reserved;
pub mod set;
pub mod shard;
pub mod space;
mod steps;
mod upper;

pub use batch::{BATCH_MAX, TargetBatch};
pub use cursor::{Cursor, LaneCursor};
pub(crate) use entry::parse_address;
pub use list::List;
pub use pages::AddressPages;
pub use pairs::PairSet;
pub use permutation::Permutation;
pub use ports::PortList;
pub use ranges::{AddressRange, RangeSet};
pub use set::AddressSet;
pub use shard::{Interval, Lease, Leases, lease_len, merged, shard};
pub use space::TargetSpace;
