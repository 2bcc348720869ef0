//! Ranges of IPv4 addresses and sets made of them.
//!
//! A [`RangeSet`] is always sorted, its ranges disjoint and not adjacent, so equal sets are equal values.

use std::fmt;
use std::net::Ipv4Addr;

/// The addresses `first..=last`, as numbers (host order); never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    first: u32,
    last: u32,
}

impl AddressRange {
    /// Every IPv4 address.
    pub const ALL: Self = Self { first: 0, last: u32::MAX };

    /// `first..=last`; `None` if `first` is above `last`.
    pub const fn new(first: u32, last: u32) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// The prefix of `bits` (at most 32) bits that `address` lies in; host bits are masked.
    pub const fn prefix(address: Ipv4Addr, bits: u32) -> Self {
        let host_mask = match u32::MAX.checked_shr(bits) {
            Some(mask) => mask,
            None => 0,
        };
        let first = address.to_bits() & !host_mask;
        Self { first, last: first | host_mask }
    }

    /// The lowest address.
    #[inline]
    pub const fn first(self) -> u32 {
        self.first
    }

    /// The highest address.
    #[inline]
    pub const fn last(self) -> u32 {
        self.last
    }

    /// How many addresses it holds, 1 to 2^32.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        (self.last - self.first) as u64 + 1
    }

    /// Whether it holds `address`.
    #[inline]
    pub const fn contains(self, address: u32) -> bool {
        self.first <= address && address <= self.last
    }

    /// The addresses common to both.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }
}

/// In the form of the lists: an address, a prefix if the range is one, or else `a-b`.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Ipv4Addr::from_bits(self.first);
        let differing = self.first ^ self.last;
        if differing == 0 {
            write!(f, "{first}")
        } else if differing & differing.wrapping_add(1) == 0 && self.first & differing == 0 {
            write!(f, "{first}/{}", differing.leading_zeros())
        } else {
            write!(f, "{first}-{}", Ipv4Addr::from_bits(self.last))
        }
    }
}

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<AddressRange>,
}

impl RangeSet {
    /// The set of every IPv4 address.
    pub fn all() -> Self {
        Self { ranges: vec![AddressRange::ALL] }
    }

    /// The allowed set: the `allow` ranges (every address if `None`; an empty allow list allows nothing), without the
    /// `block` ranges and without the `floor`.
    pub fn paint(allow: Option<&Self>, block: &Self, floor: &Self) -> Self {
        let everything;
        let allow = match allow {
            Some(allow) => allow,
            None => {
                everything = Self::all();
                &everything
            }
        };
        allow.subtract(block).subtract(floor)
    }

    /// Whether it holds `address`.
    #[inline]
    pub fn contains(&self, address: u32) -> bool {
        let after = self.ranges.partition_point(|range| range.first <= address);
        after > 0 && address <= self.ranges[after - 1].last
    }

    /// Whether it holds all addresses of `range`.
    pub fn contains_all(&self, range: AddressRange) -> bool {
        let after = self.ranges.partition_point(|own| own.first <= range.first);
        after > 0 && range.last <= self.ranges[after - 1].last
    }

    /// Its ranges: sorted, disjoint, not adjacent.
    pub fn ranges(&self) -> &[AddressRange] {
        &self.ranges
    }

    /// How many addresses it holds, up to 2^32.
    #[inline]
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.len()).sum()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many addresses of `range` it holds.
    pub fn len_in(&self, range: AddressRange) -> u64 {
        let from = self.ranges.partition_point(|own| own.last < range.first);
        let common = self.ranges[from..].iter().map_while(|own| own.intersection(range));
        common.map(AddressRange::len).sum()
    }

    /// The addresses that are in either set.
    pub fn union(&self, other: &Self) -> Self {
        self.ranges.iter().chain(&other.ranges).copied().collect()
    }

    /// The addresses that are not in `other`.
    pub fn subtract(&self, other: &Self) -> Self {
        let mut ranges = Vec::with_capacity(self.ranges.len() + other.ranges.len());
        let mut holes = other.ranges.as_slice();
        for &range in &self.ranges {
            while let [hole, rest @ ..] = holes
                && hole.last < range.first
            {
                holes = rest;
            }
            // `u64`, so that the address after the last one exists as a bound.
            let mut next = u64::from(range.first);
            for hole in holes.iter().take_while(|hole| hole.first <= range.last) {
                if next < u64::from(hole.first) {
                    ranges.push(AddressRange { first: next as u32, last: hole.first - 1 });
                }
                next = u64::from(hole.last) + 1;
            }
            if next <= u64::from(range.last) {
                ranges.push(AddressRange { first: next as u32, last: range.last });
            }
        }
        Self { ranges }
    }
}

impl FromIterator<AddressRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = AddressRange>>(iter: I) -> Self {
        let mut ranges: Vec<AddressRange> = iter.into_iter().collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, merged| {
            let touches = merged.last == u32::MAX || next.first <= merged.last + 1;
            if touches {
                merged.last = merged.last.max(next.last);
            }
            touches
        });
        Self { ranges }
    }
}

/// A prefix length up to `max`; `FromStr` alone would also accept a sign and leading zeros.
pub(super) fn parse_length(text: &str, max: u32) -> Option<u32> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    is_plain.then(|| text.parse().ok()).flatten().filter(|&length| length <= max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(first: u32, last: u32) -> AddressRange {
        AddressRange::new(first, last).unwrap()
    }

    #[test]
    fn prefixes_mask_host_bits() {
        let address = Ipv4Addr::new(10, 1, 2, 3);
        assert_eq!(AddressRange::prefix(address, 0), AddressRange::ALL);
        assert_eq!(AddressRange::prefix(address, 8).to_string(), "10.0.0.0/8");
        assert_eq!(AddressRange::prefix(address, 31).to_string(), "10.1.2.2/31");
        assert_eq!(AddressRange::prefix(address, 32).to_string(), "10.1.2.3");
        assert_eq!(AddressRange::ALL.to_string(), "0.0.0.0/0");
        assert_eq!(AddressRange::ALL.len(), 1 << 32);
        assert_eq!(range(1, 2).to_string(), "0.0.0.1-0.0.0.2");
        assert_eq!(range(0, 2).to_string(), "0.0.0.0-0.0.0.2");
        assert_eq!(AddressRange::new(2, 1), None);
    }

    #[test]
    fn sets_reach_both_ends_of_the_address_space() {
        let ends: RangeSet =
            [range(u32::MAX, u32::MAX), range(0, 0), range(u32::MAX - 1, u32::MAX)].into_iter().collect();
        assert_eq!(ends.ranges(), [range(0, 0), range(u32::MAX - 1, u32::MAX)]);
        assert_eq!(RangeSet::all().subtract(&ends).ranges(), [range(1, u32::MAX - 2)]);
        assert!(RangeSet::all().subtract(&RangeSet::all()).is_empty());
        assert_eq!(RangeSet::all().subtract(&RangeSet::default()).len(), 1 << 32);
    }

    /// Ranges over a universe of 200 addresses, at its low or its high end.
    fn ranges() -> impl Strategy<Value = Vec<(u32, u32)>> {
        prop::collection::vec(
            (0u32..200, 0u32..30).prop_map(|(first, more)| (first, (first + more).min(199))),
            0..20,
        )
    }

    fn build(ranges: &[(u32, u32)], base: u32) -> (RangeSet, BTreeSet<u32>) {
        let set = ranges.iter().map(|&(first, last)| range(base + first, base + last)).collect();
        let oracle = ranges.iter().flat_map(|&(first, last)| base + first..=base + last).collect();
        (set, oracle)
    }

    proptest! {
        #[test]
        fn sets_agree_with_an_oracle(allow in ranges(), block in ranges(), high: bool) {
            let base = if high { u32::MAX - 199 } else { 0 };
            let (allow, allow_oracle) = build(&allow, base);
            let (block, block_oracle) = build(&block, base);
            for (set, oracle) in [
                (allow.clone(), allow_oracle.clone()),
                (allow.subtract(&block), allow_oracle.difference(&block_oracle).copied().collect()),
                (allow.union(&block), allow_oracle.union(&block_oracle).copied().collect()),
            ] {
                let members: Vec<u32> = set.ranges().iter().flat_map(|r| r.first()..=r.last()).collect();
                prop_assert_eq!(members, oracle.iter().copied().collect::<Vec<u32>>());
                prop_assert_eq!(set.len(), oracle.len() as u64);
                let outside = [0, base.wrapping_sub(1), base.wrapping_add(200), u32::MAX];
                for address in (base..=base + 199).chain(outside) {
                    prop_assert_eq!(set.contains(address), oracle.contains(&address));
                }
                for span in [range(base + 7, base + 7), range(base, base + 199), range(base + 40, base + 90)] {
                    let common = oracle.range(span.first()..=span.last()).count() as u64;
                    prop_assert_eq!(set.len_in(span), common);
                }
                // Sorted, disjoint and not adjacent.
                prop_assert!(set.ranges().windows(2).all(|w| u64::from(w[0].last()) + 1 < u64::from(w[1].first())));
            }
        }
    }
}
