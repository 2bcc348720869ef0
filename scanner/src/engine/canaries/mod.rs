//! Canaries: probes to hosts that have answered this scan before, which measure loss while it runs.
//!
//! A host that has answered nearly always answers again, so a few hundred canaries show a loss for which random probes
//! would need as many as a hundred thousand. A worker keeps a [`Reservoir`] of hosts whose answers it received itself,
//! and sends a small share of its probes to them, each at a uniformly random place between its other probes
//! ([`Schedule`]), so that it meets what they meet. The number of a canary's copy tells the slot of time in which it
//! was sent ([`Copies::canary`](wire::proof::Copies::canary)), and its answer repeats that number. So any worker can
//! count the answer for its slot ([`Cells`]), and nobody remembers what is under way. The scan's own thread makes a
//! [`Series`] of [`Slot`]s from these counts.
//!
//! What always holds: a host is in the reservoir of one worker only, and gets each number at most once. An address that
//! was excluded gets no canary once that is acknowledged. A canary is not a target, and its answer is never a result.

mod answers;
mod cells;
mod estimate;
mod reservoir;
mod rtts;
mod schedule;
mod series;
mod slot;

pub use answers::Answers;
pub use cells::{Answer, Cells, Tally};
pub use estimate::Estimate;
pub use reservoir::{Reservoir, SPACING_SLOTS};
pub use rtts::{BUCKETS, Rtts};
pub use schedule::Schedule;
pub use series::{Load, SLOT, Series};
pub use slot::Slot;

/// Most canaries that leave with one batch. Fewer than a full batch owes at the highest share: such a scan sends less
/// than that share. More: a turn of the worker takes longer.
pub const AT_ONCE: usize = 32;
/// A whole, in parts per million.
pub const PPM: u64 = 1_000_000;
/// The share of canaries among the probes unless another one is given: 0.1 %.
pub const SHARE_PPM: u32 = 1_000;
