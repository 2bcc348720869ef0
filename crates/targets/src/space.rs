//! The targets of a scan as numbers: every allowed address with every port, or the pairs of a list.
//!
//! Target `i` is port `i mod ports` of the address with rank `i / ports`, or pair `i` of the list. So a list that holds
//! every port of every address has the same numbers as the addresses and ports.

use std::fmt;

use sha2::{Digest, Sha256};
use simd::{BATCH_MAX, Kernel, Level, Simd};

use super::batch::TargetBatch;
use super::pages::AddressPages;
use super::pairs::PairSet;
use super::permutation::Permutation;
use super::ports::PortList;
use super::ranges::RangeSet;
use super::set::AddressSet;

/// A SHA-256 that identifies its input.
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

/// Bytes that a fingerprint hashes at a time. Fewer cost more calls; more only take memory.
const HASH_CHUNK: usize = 1 << 16;

/// Targets, numbered `0..len()`.
#[derive(Clone, Debug)]
pub struct TargetSpace {
    addresses: AddressSet,
    ports: PortList,
    shape: Shape,
    level: Level,
}

#[derive(Clone, Debug)]
enum Shape {
    /// Every address with every port. The reciprocal is `floor(2^64 / ports) + 1`, unused with one port; see
    /// [`TargetSpace::split`].
    Product { reciprocal: u64 },
    /// Only these pairs.
    Pairs(PairSet),
}

impl TargetSpace {
    /// The space of every address with every port.
    pub fn new(addresses: AddressSet, ports: PortList) -> Self {
        let reciprocal = (((1 << 64) / u128::from(ports.len())) as u64).wrapping_add(1);
        Self { addresses, ports, shape: Shape::Product { reciprocal }, level: Level::detect() }
    }

    /// The same space, resolved with other instructions than this processor's best.
    pub fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The space of these pairs; `None` if there are none.
    pub fn of_pairs(pairs: PairSet) -> Option<Self> {
        let ports = PortList::new(pairs.iter().map(|(_, port)| port))?;
        let mut pages = AddressPages::default();
        let mut last = None;
        for (address, _) in pairs.iter() {
            if last.replace(address) != Some(address) {
                pages.insert(address);
            }
        }
        pages.settle(&RangeSet::all());
        let (addresses, shape) = (AddressSet::from_pages(&pages), Shape::Pairs(pairs));
        Some(Self { addresses, ports, shape, level: Level::detect() })
    }

    /// Number of targets, up to 2^48.
    #[inline]
    pub fn len(&self) -> u64 {
        match &self.shape {
            Shape::Product { .. } => self.addresses.len() * u64::from(self.ports.len()),
            Shape::Pairs(pairs) => pairs.len(),
        }
    }

    /// Whether there are no targets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the targets are a list of pairs rather than every address with every port.
    #[inline]
    pub fn is_list_of_pairs(&self) -> bool {
        matches!(self.shape, Shape::Pairs(_))
    }

    /// The addresses; for pairs, each once.
    #[inline]
    pub fn addresses(&self) -> &AddressSet {
        &self.addresses
    }

    /// The ports; for pairs, all that occur.
    #[inline]
    pub fn ports(&self) -> &PortList {
        &self.ports
    }

    /// Whether a reply about this address and port is about a target; `None` is a port that the reply does not prove.
    /// All targets count, including those of other shards.
    #[inline]
    pub fn holds(&self, address: u32, port: Option<u16>) -> bool {
        match (&self.shape, port) {
            (Shape::Pairs(pairs), Some(port)) => pairs.contains(address, port),
            (_, port) => {
                port.is_none_or(|port| self.ports.contains(port)) && self.addresses.contains(address)
            }
        }
    }

    /// Writes the targets with these indices, in this order, to `out`.
    ///
    /// # Panics
    /// If there are more than [`BATCH_MAX`], or an index is not below [`Self::len`].
    #[inline]
    pub fn resolve(&self, indices: &[u64], out: &mut TargetBatch) {
        assert!(indices.len() <= BATCH_MAX, "{} targets in a batch of {BATCH_MAX}", indices.len());
        out.len = indices.len();
        let (addresses, ports) = (&mut out.addresses[..indices.len()], &mut out.ports[..indices.len()]);
        let targets = self.len();
        // With one port an index is a rank, which is stored in place of the address for now.
        let are_inside = self.level.run(Cut { indices, targets, out: addresses });
        assert!(are_inside, "an index of the batch is beyond the {targets} targets");
        match &self.shape {
            Shape::Pairs(pairs) => pairs.resolve(indices, addresses, ports),
            Shape::Product { reciprocal } => {
                if let [port] = self.ports.as_slice() {
                    ports.fill(*port);
                } else {
                    let known = self.ports.as_slice();
                    for ((&index, rank), port) in indices.iter().zip(&mut *addresses).zip(ports) {
                        let i;
                        (*rank, i) = split(index, *reciprocal, known.len());
                        *port = known[i as usize];
                    }
                }
                self.addresses.resolve(self.level, addresses);
            }
        }
    }

    /// A fingerprint of the targets and their numbers: SHA-256, numbers little endian.
    ///
    /// Every address with every port: over `"xdpmap targets 1"`, the number of ranges as 8 bytes, first and last
    /// address of each as 4 and 4, the number of ports as 4 and each port as 2. Pairs: over `"xdpmap pairs 1"`, their
    /// number as 8 bytes, and of each the address as 4 and the port as 2.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        match &self.shape {
            Shape::Product { .. } => {
                hash.update(b"xdpmap targets 1");
                hash.update((self.addresses.ranges().count() as u64).to_le_bytes());
                update_each(&mut hash, self.addresses.ranges(), |range| {
                    (u64::from(range.last()) << 32 | u64::from(range.first())).to_le_bytes()
                });
                hash.update(self.ports.len().to_le_bytes());
                update_each(&mut hash, self.ports.as_slice().iter(), |port| port.to_le_bytes());
            }
            Shape::Pairs(pairs) => {
                hash.update(b"xdpmap pairs 1");
                hash.update(pairs.len().to_le_bytes());
                update_each(&mut hash, pairs.iter(), |(address, port)| {
                    let ([a, b, c, d], [e, f]) = (address.to_le_bytes(), port.to_le_bytes());
                    [a, b, c, d, e, f]
                });
            }
        }
        Fingerprint(hash.finalize().into())
    }

    /// A fingerprint of the targets and their order: SHA-256 over `"xdpmap order 1"`, the [`Self::fingerprint`], and
    /// the permutation's prime, root and start as 8 bytes each, little endian. Two scans with the same value may be
    /// shards of one survey.
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

/// Truncates indices to 32 bits, and returns whether all are below `targets`.
struct Cut<'a> {
    indices: &'a [u64],
    targets: u64,
    out: &'a mut [u32],
}

impl Kernel for Cut<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        // The top bit is set if an index is 2^63 or more, or not below the number of targets.
        let mut outside = 0;
        for (&index, out) in self.indices.iter().zip(self.out) {
            outside |= index | self.targets.wrapping_sub(1).wrapping_sub(index);
            *out = index as u32;
        }
        self.indices.is_empty() || outside >> 63 == 0
    }
}

/// Hashes the bytes of each item, many at a time, because a call costs more than the bytes.
fn update_each<I: Iterator, const N: usize>(hash: &mut Sha256, items: I, bytes: impl Fn(I::Item) -> [u8; N]) {
    let mut chunk = Vec::with_capacity(HASH_CHUNK + N);
    for item in items {
        chunk.extend_from_slice(&bytes(item));
        if chunk.len() >= HASH_CHUNK {
            hash.update(&chunk);
            chunk.clear();
        }
    }
    hash.update(&chunk);
}

/// `index` as a rank and a position in `ports`, by multiplication with the reciprocal of their number `d`.
///
/// Exact for `index < 2^48` and `2 <= d <= 2^16`: the reciprocal times `d` exceeds 2^64 by at most `d`, so the
/// quotient is right as long as `index * d < 2^64` (T. Granlund, P. L. Montgomery, "Division by Invariant Integers
/// using Multiplication", 1994, theorem 4.2).
#[inline(always)]
fn split(index: u64, reciprocal: u64, ports: usize) -> (u32, u32) {
    let rank = ((u128::from(index) * u128::from(reciprocal)) >> 64) as u64;
    let port = index - rank * ports as u64;
    (rank as u32, port as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranges::AddressRange;
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

    /// Every target is one. Its neighbours, and combinations of different targets' addresses and ports, are not.
    #[test]
    fn holds_targets_and_nothing_else() {
        let product = space(&[(5, 9), (100, 100), (4_000_000_000, 4_000_000_007)], "80,443");
        let pairs = pairs(&[(5, 80), (5, 443), (9, 443), (4_000_000_000, 80)]);
        for space in [&product, &pairs] {
            let all = resolve(space, &(0..space.len()).collect::<Vec<_>>());
            for address in all.iter().flat_map(|&(address, _)| [address - 1, address, address + 1]) {
                for port in [79, 80, 81, 443, 0] {
                    assert_eq!(
                        space.holds(address, Some(port)),
                        all.contains(&(address, port)),
                        "{address}:{port}"
                    );
                }
                assert_eq!(space.holds(address, None), all.iter().any(|target| target.0 == address));
            }
        }
        let portless = TargetSpace::new(product.addresses().clone(), PortList::portless());
        assert!(portless.holds(7, Some(0)) && !portless.holds(10, Some(0)));
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
                let Shape::Product { reciprocal } = space.shape else { unreachable!("it has ports") };
                prop_assert_eq!(split(index, reciprocal, space.ports.as_slice().len()), ((index / d) as u32, (index % d) as u32));
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
        assert_eq!(
            pairs(&[(0x0a00_0001, 80), (0xc612_0000, 443)]).fingerprint().to_string(),
            "5922124e8ec8c5a4352ecac6b108c1d0c3006c2f8e71a823d7c04e703d84e0ae"
        );
    }

    fn pairs(pairs: &[(u32, u16)]) -> TargetSpace {
        TargetSpace::of_pairs(PairSet::new(pairs.iter().copied(), &RangeSet::all()).0).unwrap()
    }

    #[test]
    fn pairs_are_targets_as_listed() {
        let space = pairs(&[(9, 443), (9, 80), (7, 443), (9, 80), (u32::MAX, 0)]);
        assert_eq!((space.len(), space.is_list_of_pairs()), (4, true));
        assert_eq!(resolve(&space, &[0, 3, 2, 1]), [(7, 443), (u32::MAX, 0), (9, 443), (9, 80)]);
        assert_eq!((space.addresses().len(), space.ports().as_slice()), (3, &[0, 80, 443][..]));
        let (none, _) = PairSet::new([(1, 2)].into_iter(), &RangeSet::default());
        assert!(TargetSpace::of_pairs(none).is_none());
    }

    #[test]
    #[should_panic(expected = "beyond the 2 targets")]
    fn index_beyond_the_pairs() {
        resolve(&pairs(&[(1, 2), (3, 4)]), &[0, 2]);
    }

    /// A list of all pairs of a product has the product's numbers.
    #[test]
    fn pairs_and_product_number_alike() {
        let product = space(&[(5, 9), (1_000, 1_400)], "80,443,8000-8010");
        let all: Vec<u64> = (0..product.len()).collect();
        let listed: Vec<(u32, u16)> = all.chunks(200).flat_map(|part| resolve(&product, part)).collect();
        let mut shuffled = listed.clone();
        shuffled.reverse();
        let pairs = pairs(&shuffled);
        assert_eq!(pairs.len(), product.len());
        let resolved: Vec<(u32, u16)> = all.chunks(200).flat_map(|part| resolve(&pairs, part)).collect();
        assert_eq!(resolved, listed);
    }

    /// The form of a set does not change anything.
    #[test]
    fn forms_of_a_set_number_and_hash_alike() {
        let members = (0..5_000u32).map(|i| i.wrapping_mul(2_654_435_761));
        let mut pages = AddressPages::default();
        members.clone().for_each(|address| pages.insert(address));
        pages.settle(&RangeSet::all());
        let ports = PortList::parse("80,443").unwrap();
        let singles = TargetSpace::new(AddressSet::from_pages(&pages), ports.clone());
        let set = members.map(|address| AddressRange::new(address, address).unwrap()).collect();
        let ranges = TargetSpace::new(AddressSet::new(&set), ports);
        assert_eq!(singles.fingerprint(), ranges.fingerprint());
        let indices: Vec<u64> = (0..singles.len()).step_by(40).collect();
        assert_eq!(resolve(&singles, &indices), resolve(&ranges, &indices));
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
        assert_ne!(pairs(&[(1, 80), (2, 80)]).fingerprint(), space(&[(1, 2)], "80").fingerprint());
        assert_ne!(pairs(&[(1, 80), (2, 80)]).fingerprint(), pairs(&[(1, 80), (2, 81)]).fingerprint());
    }
}
