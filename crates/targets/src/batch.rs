//! The batch of targets that flows from a cursor to a probe.

use simd::BATCH_MAX;

/// Up to [`BATCH_MAX`] targets, as a structure of arrays. Only the first `len` entries are valid.
#[derive(Clone, Debug)]
pub struct TargetBatch {
    /// IPv4 addresses as numbers (host order).
    pub addresses: [u32; BATCH_MAX],
    /// Ports; 0 for a probe without ports.
    pub ports: [u16; BATCH_MAX],
    /// How many targets the batch holds.
    pub len: usize,
    /// When their probes leave, in nanoseconds since the Unix epoch; 0 unless the probe needs it.
    pub time_ns: u64,
}

impl Default for TargetBatch {
    fn default() -> Self {
        Self { addresses: [0; BATCH_MAX], ports: [0; BATCH_MAX], len: 0, time_ns: 0 }
    }
}
