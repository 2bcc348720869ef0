//! Where targets go on the link: the MAC address that a probe to each of them is sent to.
//!
//! Only for scans whose targets do not all go to one gateway. Made before the first probe and never changed, so that the
//! workers read it without a lock; only gateways' MAC addresses may change, see [`Gateways`].

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Gateways;
use crate::packet::MacAddr;
use crate::targets::{AddressRange, BATCH_MAX, TargetBatch};

/// Where the targets of a network go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Each to itself: they are on the link.
    Neighbor,
    /// To the gateway of this number.
    Gateway(usize),
    /// Nowhere.
    Nowhere,
}

/// The next hops of a scan that has more than one.
#[derive(Clone, Debug)]
pub struct Neighborhood {
    /// Ascending, and disjoint.
    networks: Vec<(AddressRange, Hop)>,
    neighbors: HashMap<u32, MacAddr, RandomState>,
    gateways: Arc<Gateways>,
}

impl Neighborhood {
    /// What is in one of `networks`, which are disjoint, goes where it says: a neighbour to its own MAC address, and nowhere
    /// if it is not among `neighbors`. All else goes to gateway number 0.
    pub fn new(
        mut networks: Vec<(AddressRange, Hop)>,
        neighbors: impl IntoIterator<Item = (u32, MacAddr)>,
        gateways: Arc<Gateways>,
    ) -> Self {
        networks.sort_unstable_by_key(|(network, _)| *network);
        Self { networks, neighbors: neighbors.into_iter().collect(), gateways }
    }

    /// Where packets to `address` go; `None` if there is no way, or it is on the link and nobody has it.
    #[inline]
    pub fn next_hop(&self, address: u32) -> Option<MacAddr> {
        let at = self.networks.partition_point(|(network, _)| network.last() < address);
        let hop = match self.networks.get(at) {
            Some((network, hop)) if network.contains(address) => *hop,
            _ => Hop::Gateway(0),
        };
        match hop {
            Hop::Neighbor => self.neighbors.get(&address).copied(),
            Hop::Gateway(number) => Some(self.gateways.mac(number)),
            Hop::Nowhere => None,
        }
    }

    /// Where an answer to somebody who has written to us goes: a stranger's came through the gateway.
    #[inline]
    pub fn way_back(&self, address: u32) -> MacAddr {
        self.next_hop(address).unwrap_or_else(|| self.gateways.mac(0))
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
        let gateways = Arc::new(Gateways::new([gateway]));
        let networks = vec![(network, Hop::Neighbor)];
        let neighborhood = Neighborhood::new(networks, [(0x0a00_0007, known)], gateways);
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

    #[test]
    fn networks_go_by_their_own_gateways() {
        let prefix = |last, bits| AddressRange::prefix([10, 0, 0, last].into(), bits);
        let gateways = Arc::new(Gateways::new([MacAddr([1; 6]), MacAddr([2; 6])]));
        let networks = vec![(prefix(32, 28), Hop::Nowhere), (prefix(16, 28), Hop::Gateway(1))];
        let neighborhood = Neighborhood::new(networks, [], Arc::clone(&gateways));
        let hop = |last: u32| neighborhood.next_hop(0x0a00_0000 + last).map(|mac| mac.0[0]);
        let hops = [0, 15, 16, 31, 32, 47, 48].map(hop);
        assert_eq!(hops, [Some(1), Some(1), Some(2), Some(2), None, None, Some(1)]);
        gateways.set(1, MacAddr([9; 6]));
        assert_eq!((hop(16), hop(48)), (Some(9), Some(1)), "a gateway is followed");
    }
}
