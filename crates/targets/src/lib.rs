//! The targets of a scan and their order.
//!
//! Owns the way from lists of addresses and ports to a batch of targets. For all lists, [`lines`] finds the lines and
//! `entry` parses each; [`readable`] finds addresses in lines that cannot be parsed. [`list`] reads lists of networks,
//! whose host names [`names`] looks up, and whose AS numbers stand for what a table in [`systems`] has; and [`bulk`]
//! reads long lists of single hosts. [`AddressSet`] is the set that they allow, without the floor in [`reserved`].
//! [`TargetSpace`] numbers its addresses and [`PortList`]'s ports, or the pairs of a [`PairSet`]. [`Permutation`] puts
//! the numbers in order; [`shard()`] and [`Leases`] divide the order; a [`Cursor`] walks one lease, and a [`Sample`] is
//! a share of the targets. All of it is fixed before the first packet.
//!
//! What always holds: a walk of the whole order visits every (address, port) exactly once and nothing else, for any
//! number of ports, shards, workers and restarts. Which targets it visits, and in which order, follows from the lists,
//! the ports and the seed alone.

#![forbid(unsafe_code)]

mod arith;
pub mod batch;
mod buckets;
pub mod bulk;
pub mod cursor;
mod embedded;
mod entry;
mod error;
pub mod lines;
pub mod list;
pub mod names;
pub mod pages;
pub mod pairs;
pub mod permutation;
pub mod ports;
mod problem;
#[cfg(kani)]
mod proofs;
pub mod ranges;
mod rank;
pub mod readable;
pub mod reasons;
pub mod reserved;
mod sample;
pub mod set;
pub mod shard;
mod shorthand;
pub mod space;
mod steps;
mod sync;
mod system_number;
pub mod systems;
mod upper;

pub use batch::TargetBatch;
pub use cursor::{Cursor, LaneCursor};
pub use entry::{parse_address, parse_entry};
pub use list::List;
pub use pages::AddressPages;
pub use pairs::PairSet;
pub use permutation::Permutation;
pub use ports::PortList;
pub use ranges::{AddressRange, RangeSet};
pub use sample::Sample;
pub use set::AddressSet;
pub use shard::{Interval, Lease, Leases, lease_len, merged, shard};
pub use space::TargetSpace;
pub use systems::Systems;

/// The example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
