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

impl TargetBatch {
    /// Keeps the targets of which `keep` says so, in their order. Returns how many are left out.
    #[inline]
    pub fn retain(&mut self, mut keep: impl FnMut(u32, u16) -> bool) -> usize {
        let mut kept = 0;
        for i in 0..self.len {
            let (address, port) = (self.addresses[i], self.ports[i]);
            if keep(address, port) {
                (self.addresses[kept], self.ports[kept]) = (address, port);
                kept += 1;
            }
        }
        std::mem::replace(&mut self.len, kept) - kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_left_out() {
        let mut batch = TargetBatch { len: 5, ..TargetBatch::default() };
        batch.addresses[..5].copy_from_slice(&[1, 2, 3, 4, 5]);
        batch.ports[..5].copy_from_slice(&[10, 20, 30, 40, 50]);
        assert_eq!(batch.retain(|address, port| address % 2 == 0 || port == 50), 2);
        assert_eq!(
            (&batch.addresses[..3], &batch.ports[..3], batch.len),
            (&[2, 4, 5][..], &[20, 40, 50][..], 3)
        );
        assert_eq!((batch.retain(|_, _| true), batch.retain(|_, _| false), batch.len), (0, 3, 0));
    }
}
