//! What a governor is told about each slot of time, and what it asks for.

use std::time::Duration;

/// How long a slot is. Lower: fewer canaries in each, so that decisions need more slots. Higher: each step of the
/// search, and the step back when the path degrades, take longer.
pub const SLOT: Duration = Duration::from_millis(200);
/// How many slots after its end a slot is reported, so that the answers of its canaries have had the time to come:
/// 600 ms. Lower: slow hosts and filled queues look like loss. Higher: each decision takes longer.
pub const LAG_SLOTS: u32 = 3;

/// One slot of time, once the answers of its canaries have had the time to come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slot {
    /// When it began, since the scan's start.
    pub at: Duration,
    /// How long it lasted.
    pub length: Duration,
    /// Ordinary probe frames that left.
    pub probes: u64,
    /// Resets that left. The rate does not count them, but the path carries them as well.
    pub resets: u64,
    /// Canaries that left.
    pub canaries: u64,
    /// Those of them that were answered by the time of the report.
    pub answered: u64,
    /// Valid replies to ordinary probes that arrived in the slot, whichever slot their probes left in.
    pub replies: u64,
    /// Replies that were lost at our side in the slot, by our own counters.
    pub own_losses: u64,
    /// The median round-trip time of the answered canaries, if the probe module measures it.
    pub rtt: Option<Duration>,
}

/// What the governor wants from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// Probes and canaries per second.
    pub rate_pps: f64,
    /// The share of canaries among them, at most.
    pub canary_share: f64,
}
