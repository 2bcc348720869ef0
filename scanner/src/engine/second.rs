//! The second walk through the order, for second probes: behind the first one, which it follows at a distance in time.
//!
//! Nobody remembers probes. The second walk has a table of leases of its own over the same exponents, of which as much
//! is released as has been probed for the gap (`sampling`). A worker that walks a lease of it skips targets that are
//! not in the sample. What always holds: each target of the sample that the first walk has probed gets its second probe
//! once, and not before the gap has passed since its first one left; in every run of a scan the sample is the same.

use std::time::Duration;

use targets::{Interval, Leases, Sample};

/// The second walk of a scan.
#[derive(Debug)]
pub struct SecondWalk {
    pub(super) leases: Leases,
    pub(super) sample: Sample,
    pub(super) gap: Duration,
}

impl SecondWalk {
    /// A walk over what is `open` of it, which grants `lease_len` exponents at a time. A target of `sample` gets its
    /// second probe `gap` after the first.
    pub fn new(open: &[Interval], lease_len: u64, sample: Sample, gap: Duration) -> Self {
        Self { leases: Leases::behind(open, lease_len), sample, gap }
    }
}
