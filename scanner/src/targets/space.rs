//! The targets of a scan as numbers: every allowed address on every port.
//!
//! Target `i` is port `i mod ports` of the address with rank `i / ports`.

use std::fmt;

use sha2::{Digest, Sha256};

use super::batch::{BATCH_MAX, TargetBatch};
use super::permutation::Permutation;
use super::ports::PortList;
use super::set::AddressSet;

/// A SHA-256 over what was to be identified.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// 64 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Addresses x ports, numbered `0..len()`.
#[derive(Clone, Debug)]
pub struct TargetSpace {
    addresses: AddressSet,
    ports: PortList,
    /// `floor(2^64 / ports) + 1`; unused with one port. See [`Self::split`].
    reciprocal: u64,
}

impl TargetSpace {
    /// The space of every port on every address.
    pub fn new(addresses: AddressSet, ports: PortList) -> Self {
        let reciprocal = ((1 << 64) / u128::from(ports.len())) as u64;
        Self { addresses, reciprocal: reciprocal.wrapping_add(1), ports }
    }

    /// How many targets, up to 2^48.
    #[inline]
    pub fn len(&self) -> u64 {
        self.addresses.len() * u64::from(self.ports.len())
    }

    /// Whether there is no target.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The addresses.
    pub fn addresses(&self) -> &AddressSet {
        &self.addresses
    }

    /// The ports.
    pub fn ports(&self) -> &PortList {
        &self.ports
    }

    /// Puts the targets with these indices, in this order, into `out`.
    ///
    /// # Panics
    /// If there are more than [`BATCH_MAX`], or an index is not below [`Self::len`].
    pub fn resolve(&self, indices: &[u64], out: &mut TargetBatch) {
        assert!(indices.len() <= BATCH_MAX, "{} targets in a batch of {BATCH_MAX}", indices.len());
        out.len = indices.len();
        let (addresses, targets) = (&mut out.addresses[..indices.len()], self.len());
        // The top bit of `outside` is set if an index is 2^63 or more, or not below the length.
        let outside = indices
            .iter()
            .fold(0, |outside, &index| outside | index | targets.wrapping_sub(1).wrapping_sub(index));
        assert!(
            indices.is_empty() || outside >> 63 == 0,
            "an index of the batch is beyond the {targets} targets"
        );
        // Ranks first, in place of the addresses.
        if let [port] = self.ports.as_slice() {
            for (&index, rank) in indices.iter().zip(&mut *addresses) {
                *rank = index as u32;
            }
            out.ports[..indices.len()].fill(*port);
        } else {
            let ports = self.ports.as_slice();
            for ((&index, rank), port) in indices.iter().zip(&mut *addresses).zip(&mut out.ports) {
                let i;
                (*rank, i) = self.split(index);
                *port = ports[i as usize];
            }
        }
        self.addresses.resolve(addresses);
    }

    /// `index` as a rank and a port number, by multiplication with the reciprocal of the number of ports `d`.
    ///
    /// Exact for `index < 2^48` and `2 <= d <= 2^16`: the reciprocal times `d` exceeds 2^64 by at most `d`, so the
    /// quotient is right as long as `index * d < 2^64` (T. Granlund, P. L. Montgomery, "Division by Invariant
    /// Integers using Multiplication", 1994, theorem 4.2).
    #[inline(always)]
    fn split(&self, index: u64) -> (u32, u32) {
        let rank = ((u128::from(index) * u128::from(self.reciprocal)) >> 64) as u64;
        let port = index - rank * u64::from(self.ports.len());
        (rank as u32, port as u32)
    }

    /// Identifies the targets and their numbers: SHA-256 over `"xdpmap targets 1"`, the number of ranges as 8 bytes,
    /// first and last address of each as 4 and 4, the number of ports as 4 and each port as 2; numbers little endian.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(b"xdpmap targets 1");
        let ranges = self.addresses.ranges();
        hash.update((ranges.len() as u64).to_le_bytes());
        for range in ranges {
            hash.update(range.first().to_le_bytes());
            hash.update(range.last().to_le_bytes());
        }
        hash.update(self.ports.len().to_le_bytes());
        for port in self.ports.as_slice() {
            hash.update(port.to_le_bytes());
        }
        Fingerprint(hash.finalize().into())
    }

    /// Identifies the targets and the order in which they are probed: SHA-256 over `"xdpmap order 1"`, the
    /// [`Self::fingerprint`], and the permutation's prime, root and start as 8 bytes each, little endian. Two scans
    /// with the same value may be shards of one survey.
    pub fn order_fingerprint(&self, permutation: &Permutation) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(b"xdpmap order 1");
        hash.update(self.fingerprint().0);
        for number in [permutation.prime(), permutation.root(), permutation.start()] {
            hash.update(number.to_le_bytes());
        }
        Fingerprint(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::ranges::{AddressRange, RangeSet};
    use proptest::prelude::*;

    fn space(ranges: &[(u32, u32)], ports: &str) -> TargetSpace {
        let set: RangeSet =
            ranges.iter().map(|&(first, last)| AddressRange::new(first, last).unwrap()).collect();
        TargetSpace::new(AddressSet::new(&set), PortList::parse(ports).unwrap())
    }

    fn resolve(space: &TargetSpace, indices: &[u64]) -> Vec<(u32, u16)> {
        let mut batch = TargetBatch::default();
        space.resolve(indices, &mut batch);
        assert_eq!(batch.len, indices.len());
        (0..batch.len).map(|i| (batch.addresses[i], batch.ports[i])).collect()
    }

    #[test]
    fn numbers_every_port_of_every_address() {
        for ports in ["80", "80,443", "1-3", "1-7,9"] {
            let space = space(&[(5, 9), (100, 100), (4_000_000_000, 4_000_000_007)], ports);
            let expected: Vec<_> = space
                .addresses()
                .ranges()
                .flat_map(|range| range.first()..=range.last())
                .flat_map(|address| space.ports().as_slice().iter().map(move |&port| (address, port)))
                .collect();
            assert_eq!(space.len(), expected.len() as u64);
            assert_eq!(resolve(&space, &(0..space.len()).collect::<Vec<_>>()), expected);
        }
    }

    #[test]
    fn largest_space() {
        let space = space(&[(0, u32::MAX)], "*");
        assert_eq!(space.len(), 1 << 48);
        assert_eq!(
            resolve(&space, &[0, (1 << 48) - 1, 0xfffe_ffff]),
            [(0, 0), (u32::MAX, u16::MAX), (0xfffe, 0xffff)]
        );
    }

    #[test]
    fn probes_without_ports_have_port_0() {
        let space = TargetSpace::new(space(&[(7, 8)], "1").addresses().clone(), PortList::portless());
        assert_eq!(resolve(&space, &[1, 0]), [(8, 0), (7, 0)]);
        assert_eq!(resolve(&space, &[]), []);
    }

    #[test]
    #[should_panic(expected = "beyond the 4 targets")]
    fn index_beyond_the_space() {
        resolve(&space(&[(1, 2)], "1-2"), &[0, 4, 1]);
    }

    #[test]
    #[should_panic(expected = "257 targets in a batch of 256")]
    fn batch_overflow() {
        resolve(&space(&[(1, 1_000)], "1"), &[0; BATCH_MAX + 1]);
    }

    proptest! {
        #[test]
        fn split_is_division(index in 0u64..1 << 48, ports in 2u16..=u16::MAX) {
            let space = space(&[(0, u32::MAX)], &format!("1-{ports}"));
            let d = u64::from(ports);
            let index = index % space.len();
            for index in [index, index - index % d, (index - index % d).saturating_sub(1), space.len() - 1] {
                prop_assert_eq!(space.split(index), ((index / d) as u32, (index % d) as u32));
            }
        }
    }

    /// Frozen: shards and checkpoints compare these values.
    #[test]
    fn golden_fingerprints() {
        let space = space(&[(0x0a00_0000, 0x0aff_ffff), (0xc612_0000, 0xc612_00ff)], "80,443");
        let order = Permutation::new(space.len(), 7).unwrap();
        assert_eq!(
            space.fingerprint().to_string(),
            "24cc5118f48a77aee5c648b0a513d708446d24e692954c1cfb10989323f16ff4"
        );
        assert_eq!(
            space.order_fingerprint(&order).to_string(),
            "ebded0af4df49624d245aeccd246d116a0881430b8e74574e3f4efae1b534d6c"
        );
    }

    #[test]
    fn fingerprints_tell_spaces_apart() {
        let base = space(&[(1, 5), (7, 9)], "80").fingerprint();
        assert_eq!(space(&[(7, 9), (1, 3), (4, 5)], "80,80").fingerprint(), base);
        assert_ne!(space(&[(1, 5), (7, 10)], "80").fingerprint(), base);
        assert_ne!(space(&[(1, 5), (7, 9)], "81").fingerprint(), base);
        let order = |seed| {
            let space = space(&[(1, 500)], "80");
            space.order_fingerprint(&Permutation::new(space.len(), seed).unwrap())
        };
        assert_ne!(order(1), order(2));
    }
}
