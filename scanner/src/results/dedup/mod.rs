//! Finds targets that had a success before.
//!
//! Owns ZMap's meaning of `repeat`: only a success marks its target. So a RST or an ICMP error that came first never
//! makes the following SYN-ACK a repeat.
//!
//! What always holds: an exact table stays within its memory limit (`bounded`). The responders decide how many entries
//! there are, and must not decide how much memory a scan takes.

mod bounded;
#[expect(unsafe_code, reason = "memory from the kernel")]
mod huge;
mod ports;
mod seen;

use std::fmt;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use lru::LruCache;
use zerocopy::FromZeros as _;

use bounded::Bounded;
use huge::{HugePage, WORDS};
pub use ports::{PORTS_MAX, PortLimit};
pub use seen::{Earlier, Seen};

use crate::reply::record::Header;

/// How repeats are found (`--dedup-method`).
#[derive(Debug)]
#[non_exhaustive]
pub enum Dedup {
    /// Exact, by IPv4 address: for a scan of one port.
    Full(Box<AddressBitmap>),
    /// Exact, by IPv4 address and port.
    Targets(TargetSet),
    /// By address and port, over the given number of targets that succeeded last; a repeat makes its target the newest.
    Window(LruCache<([u8; 16], u16), ()>),
    /// Exact until the table is full; targets without room in it are then looked up in a window.
    Bounded(Box<Bounded>),
    /// Nothing is a repeat.
    None,
}

impl Dedup {
    /// Exact deduplication by address. Takes up to 512 MiB as successes arrive: 2 MiB for each /8 with more than a few
    /// hundred of them.
    pub fn full() -> Self {
        Self::Full(Box::default())
    }

    /// Exact deduplication by address and port. Takes 10 to 21 bytes for each group of 16 neighbours with a success.
    pub fn targets() -> Self {
        Self::Targets(TargetSet::default())
    }

    /// Deduplication over the last `size` targets. Takes up to some 100 bytes per target.
    pub fn window(size: NonZeroUsize) -> Self {
        Self::Window(LruCache::new(size))
    }

    /// The same with a table of at most this many bytes, and a window of `size` targets for those without room in it.
    #[must_use]
    pub fn bounded(self, memory: u64, size: NonZeroUsize) -> Self {
        Self::Bounded(Box::new(Bounded::new(self, memory, size)))
    }

    /// Successes that were looked up in a window because the table was full.
    pub fn by_window(&self) -> u64 {
        match self {
            Self::Bounded(bounded) => bounded.by_window(),
            Self::Full(_) | Self::Targets(_) | Self::Window(_) | Self::None => 0,
        }
    }

    /// Whether it tells the ports of an address apart; `None` if it finds no repeats.
    fn keeps_ports(&self) -> Option<bool> {
        match self {
            Self::Full(_) => Some(false),
            Self::Targets(_) | Self::Window(_) => Some(true),
            Self::Bounded(bounded) => bounded.keeps_ports(),
            Self::None => None,
        }
    }

    /// Marks a target of which only address and port are known. Returns whether it was marked before.
    pub fn see(&mut self, address: Ipv4Addr, port: u16) -> bool {
        self.check(&named(address, port), true)
    }

    /// Whether a target of which only address and port are known is marked.
    fn knows(&mut self, address: Ipv4Addr, port: u16) -> bool {
        self.check(&named(address, port), false)
    }

    /// Whether the target of `header` had a success before. `success` says whether this reply is one; if so, the
    /// target is marked.
    pub fn check(&mut self, header: &Header, success: bool) -> bool {
        match self {
            Self::Bounded(bounded) => bounded.check(header, success),
            _ => self.check_within(header, success, u64::MAX).unwrap_or(false),
        }
    }

    /// As [`check`](Self::check); `None` if the target is not in the table and has no room in it within `memory` bytes.
    fn check_within(&mut self, header: &Header, success: bool, memory: u64) -> Option<bool> {
        let target = || Ipv6Addr::from(header.target).to_ipv4_mapped();
        match self {
            Self::Full(bitmap) => match target() {
                Some(address) => bitmap.check_within(address.to_bits(), success, memory),
                None => Some(false),
            },
            Self::Targets(set) => match target() {
                Some(address) => set.check_within(address.to_bits(), header.target_port, success, memory),
                None => Some(false),
            },
            Self::Window(window) => {
                let key = (header.target, header.target_port);
                Some(if success { window.put(key, ()).is_some() } else { window.contains(&key) })
            }
            Self::Bounded(bounded) => Some(bounded.check(header, success)),
            Self::None => Some(false),
        }
    }
}

/// The header of a reply of which only the target is known.
fn named(address: Ipv4Addr, port: u16) -> Header {
    let mut header = Header::new_zeroed();
    (header.target, header.target_port) = (address.to_ipv6_mapped().octets(), port);
    header
}

/// Low bits of an address: its position in a /8. A bitmap over them fills a huge page.
const PLACE_BITS: u32 = 24;
const _: () = assert!(1 << PLACE_BITS == WORDS * u64::BITS as usize);

/// Bytes of a bitmap.
const PAGE_LEN: u64 = 1 << (PLACE_BITS - 3);

/// The marked addresses of a /8.
enum Slash8 {
    /// Their positions, while there are few.
    Few(HashSet<u32>),
    /// A bit for each position.
    Many(HugePage),
}

impl Slash8 {
    /// Whether the position is marked; `mark` marks it. With more than `few_max` positions the set becomes a bitmap, if
    /// it `may_grow`. `None`: it is not marked, and there is no room for it.
    fn check(&mut self, place: u32, mark: bool, few_max: usize, may_grow: bool) -> Option<bool> {
        match self {
            Self::Few(places) if !mark => Some(places.contains(&place)),
            Self::Few(places) if places.len() >= few_max && !may_grow => {
                places.contains(&place).then_some(true)
            }
            Self::Few(places) => {
                let fresh = places.insert(place);
                // Without memory for a bitmap, the set grows further.
                if places.len() > few_max
                    && let Ok(mut bitmap) = HugePage::zeroed()
                {
                    for &place in &*places {
                        check_bit(&mut bitmap, place, true);
                    }
                    *self = Self::Many(bitmap);
                }
                Some(!fresh)
            }
            Self::Many(bitmap) => Some(check_bit(bitmap, place, mark)),
        }
    }
}

/// Whether the bit is set; `set` sets it.
fn check_bit(bitmap: &mut HugePage, bit: u32, set: bool) -> bool {
    let word = &mut bitmap.words()[(bit / u64::BITS) as usize];
    let mask = 1 << (bit % u64::BITS);
    let found = *word & mask != 0;
    if set {
        *word |= mask;
    }
    found
}

/// A bit for each of the 2^32 IPv4 addresses, in pages of 2^24 bits (2 MiB) for those /8s with more than a few hundred
/// marked addresses.
///
/// Ordinary pages would take less memory if marks are far apart, but cost a page fault each, 131,072 in all. A worker's
/// ring cannot bridge that time when all networks begin to answer. A huge page costs one fault.
pub struct AddressBitmap {
    parts: Box<[Slash8]>,
    /// Bytes of the bitmaps; the sets are small.
    bytes: u64,
}

impl Default for AddressBitmap {
    fn default() -> Self {
        let few = || Slash8::Few(HashSet::default());
        Self { parts: std::iter::repeat_with(few).take(1 << (u32::BITS - PLACE_BITS)).collect(), bytes: 0 }
    }
}

impl fmt::Debug for AddressBitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = self.parts.iter().filter(|part| matches!(part, Slash8::Many(_))).count();
        f.debug_struct("AddressBitmap").field("pages", &pages).finish_non_exhaustive()
    }
}

impl AddressBitmap {
    /// Whether the bit of `address` is set; `mark` sets it.
    pub fn check(&mut self, address: u32, mark: bool) -> bool {
        self.check_within(address, mark, u64::MAX).unwrap_or(false)
    }

    /// The same; `None` if it is not set and there is no room for it within `memory` bytes.
    fn check_within(&mut self, address: u32, mark: bool, memory: u64) -> Option<bool> {
        let part = (address >> PLACE_BITS) as usize;
        let slash8 = &mut self.parts[part];
        let was_few = matches!(slash8, Slash8::Few(_));
        let may_grow = self.bytes.saturating_add(PAGE_LEN) <= memory;
        let marked = slash8.check(address % (1 << PLACE_BITS), mark, few_max(part), may_grow);
        if was_few && matches!(slash8, Slash8::Many(_)) {
            self.bytes += PAGE_LEN;
        }
        marked
    }
}

/// Most addresses of a /8 that are kept as a set. It differs from /8 to /8. Otherwise all sets in a scan of all
/// networks would become bitmaps at the same moment, and zeroing half a gigabyte takes longer than a worker's ring can
/// bridge.
fn few_max(part: usize) -> usize {
    256 + 2 * part
}

/// Addresses that share an entry of a [`TargetSet`]: as many as its 16 bits for marks. More bits would leave fewer for
/// the address and the port.
const GROUP_LEN: u32 = 16;
/// Tables of a [`TargetSet`]. Each grows separately, and then moves only a small part of all entries. With fewer, the
/// collector would be busy with one for longer than a worker's ring can bridge; with more, an empty set takes more
/// memory.
const TABLES: usize = 1 << 12;
/// An upper bound of the bytes of a table with one entry.
const TABLE_MIN: u64 = 128;

/// Pairs of an IPv4 address and a port, in memory that grows with the number of marks. Responders are often neighbours,
/// so an entry holds the marks of 16 addresses on one port next to its key.
pub struct TargetSet {
    tables: Vec<HashTable<u64>>,
    hasher: DefaultHashBuilder,
    bytes: u64,
}

impl Default for TargetSet {
    fn default() -> Self {
        Self { tables: vec![HashTable::new(); TABLES], hasher: DefaultHashBuilder::default(), bytes: 0 }
    }
}

impl fmt::Debug for TargetSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: usize = self.tables.iter().map(HashTable::len).sum();
        f.debug_struct("TargetSet").field("groups", &groups).finish_non_exhaustive()
    }
}

impl TargetSet {
    /// Whether the pair is marked; `mark` marks it. `None`: it is not marked, and there is no room for it within
    /// `memory` bytes.
    fn check_within(&mut self, address: u32, port: u16, mark: bool, memory: u64) -> Option<bool> {
        let key = u64::from(port) << 28 | u64::from(address / GROUP_LEN);
        let bit = 1 << (address % GROUP_LEN);
        let key_of = |entry: &u64| entry >> GROUP_LEN;
        let hash = self.hasher.hash_one(key);
        // A table uses the lowest and highest bits to find its slots.
        let table = &mut self.tables[(hash >> 40) as usize % TABLES];
        if let Some(entry) = table.find_mut(hash, |entry| key_of(entry) == key) {
            let marked = *entry & bit != 0;
            if mark {
                *entry |= bit;
            }
            return Some(marked);
        }
        if !mark {
            return Some(false);
        }
        let before = table.allocation_size() as u64;
        let is_full = table.len() == table.capacity();
        // Then the table doubles.
        if is_full && self.bytes.saturating_add(before.max(TABLE_MIN)) > memory {
            return None;
        }
        table.insert_unique(hash, key << GROUP_LEN | bit, |entry| self.hasher.hash_one(key_of(entry)));
        if is_full {
            self.bytes += table.allocation_size() as u64 - before;
        }
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::record::ReplyKind;
    use crate::reply::testing::header;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    fn reply(address: u32, port: u16) -> Header {
        header(ReplyKind::SynAck, Ipv4Addr::from_bits(address), port, 0)
    }

    /// Few enough addresses that they occur again, spread over pages and at both ends of the space.
    fn address() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..40, (u32::MAX - 40)..=u32::MAX, (0u32..8).prop_map(|page| page * 65_536 + 65_535)]
    }

    proptest! {
        #[test]
        fn full_agrees_with_a_set(replies in prop::collection::vec((address(), any::<u16>(), any::<bool>()), 0..300)) {
            let mut dedup = Dedup::full();
            let mut successes = HashSet::new();
            for (address, port, success) in replies {
                prop_assert_eq!(dedup.check(&reply(address, port), success), successes.contains(&address));
                if success {
                    successes.insert(address);
                }
            }
        }

        #[test]
        fn targets_agree_with_a_set(replies in prop::collection::vec((address(), prop_oneof![0u16..3, 65_533..=u16::MAX], any::<bool>()), 0..300)) {
            let mut dedup = Dedup::targets();
            let mut successes = HashSet::new();
            for (address, port, success) in replies {
                let known = successes.contains(&(address, port));
                prop_assert_eq!(dedup.check(&reply(address, port), success), known);
                if success {
                    successes.insert((address, port));
                }
            }
        }

        /// A window that never forgets is exact, by address and port.
        #[test]
        fn wide_window_agrees_with_a_set(replies in prop::collection::vec((address(), 0u16..3, any::<bool>()), 0..300)) {
            let mut dedup = Dedup::window(NonZeroUsize::new(300).unwrap());
            let mut successes = HashSet::new();
            for (address, port, success) in replies {
                let known = successes.contains(&(address, port));
                prop_assert_eq!(dedup.check(&reply(address, port), success), known);
                if success {
                    successes.insert((address, port));
                }
            }
        }

        /// A narrow window remembers the last two targets that succeeded, and no others.
        #[test]
        fn narrow_window_forgets(replies in prop::collection::vec((0u32..5, any::<bool>()), 0..200)) {
            let mut dedup = Dedup::window(NonZeroUsize::new(2).unwrap());
            let mut recent = Vec::new();
            for (address, success) in replies {
                prop_assert_eq!(dedup.check(&reply(address, 80), success), recent.contains(&address));
                if success {
                    recent.retain(|known| *known != address);
                    recent.insert(0, address);
                    recent.truncate(2);
                }
            }
        }
    }

    /// Across the change from a set to a bitmap, in each kind of /8.
    #[test]
    fn a_full_part_agrees_with_a_set() {
        let mut dedup = Dedup::full();
        let addresses: Vec<u32> = [0, 7, 255]
            .into_iter()
            .flat_map(|part: u32| {
                (0..1_500u32).map(move |number| (part << 24) + number.wrapping_mul(11_003) % (1 << 24))
            })
            .collect();
        let mut successes = HashSet::new();
        for round in 0..2 {
            for (number, &address) in addresses.iter().enumerate() {
                let success = (number + round) % 3 != 0;
                assert_eq!(dedup.check(&reply(address, 80), success), successes.contains(&address));
                if success {
                    successes.insert(address);
                }
            }
        }
        let Dedup::Full(bitmap) = &dedup else { unreachable!("constructed above") };
        assert!(format!("{bitmap:?}").contains("pages: 3"));
    }

    #[test]
    fn none_finds_nothing() {
        let mut dedup = Dedup::None;
        assert!(!dedup.check(&reply(1, 80), true));
        assert!(!dedup.check(&reply(1, 80), true));
    }
}
