//! From replies to results: the way from a worker's ring to a line of output.
//!
//! One collector thread owns everything here. A [`record`](crate::reply::record) goes one way, and nothing comes back:
//! ring -> [`collector`] -> [`dedup`] -> [`filter`] -> [fields](crate::reply::fields) -> [`format`](mod@format) ->
//! [`sink`]. However slow the output is, a worker never waits for it: its ring fills up, and the worker counts the
//! records that did not fit. What second probes find is counted on the way ([`twice`]).

pub mod collector;
pub mod counts;
pub mod dedup;
pub mod filter;
pub mod format;
pub mod output;
pub mod ports;
pub mod sink;
pub mod twice;
