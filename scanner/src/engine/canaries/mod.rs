//! Canaries: probes to hosts that have answered this scan before, which measure loss while it runs.

mod rtts;
mod slot;

pub use rtts::Rtts;
pub use slot::Slot;
