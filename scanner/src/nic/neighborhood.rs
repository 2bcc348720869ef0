//! Who is where on the own link: the MAC address that a probe to a target goes to.
//!
//! Made before the first probe and never changed, so that the workers read it without a lock.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::packet::MacAddr;
use crate::targets::{AddressRange, BATCH_MAX, TargetBatch};

/// The next hops of a scan that has targets on its own link.
#[derive(Clone, Debug)]
pub struct Neighborhood {
    networks: Vec<AddressRange>,
    neighbors: HashMap<u32, MacAddr, RandomState>,
    gateway: MacAddr,
}

impl Neighborhood {
    /// What is in `networks` goes to its own MAC address, and nowhere if it is not among `neighbors`; all else goes to
    /// `gateway`.
    pub fn new(
        networks: Vec<AddressRange>,
        neighbors: impl IntoIterator<Item = (u32, MacAddr)>,
        gateway: MacAddr,
    ) -> Self {
        Self { networks, neighbors: neighbors.into_iter().collect(), gateway }
    }

    /// Where packets to `address` go; `None` if it is on the link and nobody has it.
    #[inline]
    pub fn next_hop(&self, address: u32) -> Option<MacAddr> {
        match self.networks.iter().any(|network| network.contains(address)) {
            true => self.neighbors.get(&address).copied(),
            false => Some(self.gateway),
        }
    }

    /// Where an answer to somebody who has written to us goes: a stranger's came through the gateway.
    #[inline]
    pub fn way_back(&self, address: u32) -> MacAddr {
        self.next_hop(address).unwrap_or(self.gateway)
    }

    /// Leaves the targets out that cannot be reached, keeps the others in their order, and writes where each of them
    /// goes to the same place of `next_hops`. Returns how many were left out.
    pub fn route(&self, targets: &mut TargetBatch, next_hops: &mut [MacAddr; BATCH_MAX]) -> usize {
        let mut kept = 0;
        for i in 0..targets.len {
            let (address, port) = (targets.addresses[i], targets.ports[i]);
            if let Some(mac) = self.next_hop(address) {
                (targets.addresses[kept], targets.ports[kept], next_hops[kept]) = (address, port, mac);
                kept += 1;
            }
        }
        std::mem::replace(&mut targets.len, kept) - kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_on_the_link_go_to_their_own_address_or_nowhere() {
        let network = AddressRange::prefix([10, 0, 0, 0].into(), 24);
        let (gateway, known) = (MacAddr([1; 6]), MacAddr([7; 6]));
        let neighborhood = Neighborhood::new(vec![network], [(0x0a00_0007, known)], gateway);
        let mut targets = TargetBatch { len: 4, ..TargetBatch::default() };
        targets.addresses[..4].copy_from_slice(&[0x0a00_0008, 0x0a00_0007, 0x0a00_0100, 0x0a00_0009]);
        targets.ports[..4].copy_from_slice(&[1, 2, 3, 4]);
        let mut hops = [MacAddr::default(); BATCH_MAX];
        assert_eq!(neighborhood.route(&mut targets, &mut hops), 2);
        assert_eq!(targets.len, 2);
        assert_eq!(
            (&targets.addresses[..2], &targets.ports[..2]),
            (&[0x0a00_0007, 0x0a00_0100][..], &[2, 3][..])
        );
        assert_eq!(hops[..2], [known, gateway]);
        assert_eq!(neighborhood.way_back(0x0a00_0008), gateway);
        assert_eq!(neighborhood.way_back(0x0a00_0007), known);
    }
}
