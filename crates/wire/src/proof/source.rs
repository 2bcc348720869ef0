//! The sources of probes: source addresses and source ports.

use super::PortRange;

/// The source addresses and ports of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePool {
    /// Source addresses as numbers, 1 to 256 of them.
    pub addresses: Vec<u32>,
    /// Source ports.
    pub ports: PortRange,
}

impl SourcePool {
    /// The source address of copy number `copy` of the probe to `target`. The rule is ZMap's, so a target sees the same
    /// source in every scan with the same pool.
    #[inline(always)]
    pub fn address(&self, target: u32, copy: u32) -> u32 {
        match self.addresses[..] {
            [only] => only,
            _ => self.addresses[(u64::from(target) + u64::from(copy)) as usize % self.addresses.len()],
        }
    }
}
