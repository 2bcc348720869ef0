//! The next hops of targets: the MAC address that a probe to each of them is sent to.
//!
//! Used only in scans whose targets do not all go to one gateway. Made before the first probe and never changed, so
//! that the workers read it without a lock; only gateways' MAC addresses may change, see [`Gateways`].

use std::sync::Arc;

use hashbrown::HashMap;
use targets::{AddressRange, TargetBatch};
use wire::packet::{BATCH_MAX, MacAddr};

use super::Gateways;

/// The next hop of the targets in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// The targets themselves: they are on the link.
    Neighbor,
    /// The gateway with this number.
    Gateway(usize),
    /// There is none.
    Nowhere,
}

/// The next hops of a scan that has more than one.
#[derive(Clone, Debug)]
pub struct Neighborhood {
    /// Ascending and disjoint.
    networks: Vec<(AddressRange, Hop)>,
    neighbors: HashMap<u32, MacAddr>,
    gateways: Arc<Gateways>,
}

impl Neighborhood {
    /// The next hops of a scan. Targets in `networks`, which are disjoint, have the next hop given there. A neighbour
    /// is reached at its own MAC address, or not at all if it is not among `neighbors`. All other targets go to gateway
    /// number 0.
    pub fn new(
        mut networks: Vec<(AddressRange, Hop)>,
        neighbors: impl IntoIterator<Item = (u32, MacAddr)>,
        gateways: Arc<Gateways>,
    ) -> Self {
        networks.sort_unstable_by_key(|(network, _)| *network);
        Self { networks, neighbors: neighbors.into_iter().collect(), gateways }
    }

    /// The MAC address that packets to `address` are sent to; `None` if there is no route, or if no host on the link
    /// has the address.
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

    /// The MAC address for an answer to a host that has sent us a packet: if it is not known, the packet came through
    /// the gateway.
    #[inline]
    pub fn way_back(&self, address: u32) -> MacAddr {
        self.next_hop(address).unwrap_or_else(|| self.gateways.mac(0))
    }

    /// Removes the targets that cannot be reached, and keeps the order of the others. Writes the next hop of each to
    /// the same place in `next_hops`. Returns how many were removed.
    pub fn route(&self, targets: &mut TargetBatch, next_hops: &mut [MacAddr; BATCH_MAX]) -> usize {
        let mut kept = 0;
        targets.retain(|address, _| {
            let Some(mac) = self.next_hop(address) else { return false };
            next_hops[kept] = mac;
            kept += 1;
            true
        })
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
