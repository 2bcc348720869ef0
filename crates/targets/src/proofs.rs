//! Proofs about intervals, by Kani (`cargo kani`): for all values, or for all of a width that it can decide.

use std::net::Ipv4Addr;

use super::{AddressRange, Interval, RangeSet, lease_len, merged, shard};

fn interval() -> Interval {
    Interval { start: kani::any(), end: kani::any() }
}

fn range() -> AddressRange {
    let (first, last) = (kani::any(), kani::any());
    kani::assume(first <= last);
    AddressRange::new(first, last).unwrap()
}

fn holds(interval: Interval, exponent: u64) -> bool {
    interval.start <= exponent && exponent < interval.end
}

/// An interval is empty if it holds nothing, and its length is how much it holds.
#[kani::proof]
fn lengths_of_intervals() {
    let interval = interval();
    assert_eq!(interval.is_empty(), interval.len() == 0);
    let exponent: u64 = kani::any();
    if holds(interval, exponent) {
        assert!(exponent - interval.start < interval.len());
    } else {
        assert!(exponent < interval.start || exponent - interval.start >= interval.len());
    }
}

/// Merging two intervals neither loses an exponent nor adds one, and leaves a gap between what is left.
#[kani::proof]
#[kani::unwind(4)]
fn merging_two_keeps_each_exponent() {
    let (one, other, exponent) = (interval(), interval(), kani::any());
    let merged = merged(vec![one, other]);
    let count = merged.iter().filter(|interval| holds(**interval, exponent)).count();
    assert_eq!(count, usize::from(holds(one, exponent) || holds(other, exponent)));
    if let [first, second] = merged[..] {
        assert!(first.end < second.start);
    }
}

/// Shards follow each other without a gap, cover the order, and differ by one exponent at most: for orders of 16 bits
/// and up to 255 shards. The numbers are computed in 128 bits, whatever they are.
#[kani::proof]
fn shards_cover_the_order() {
    let (order, index, shards): (u16, u8, u8) = kani::any();
    kani::assume(index < shards);
    let (order, index, shards) = (u64::from(order), u32::from(index), u32::from(shards));
    let arc = shard(order, index, shards);
    assert!(arc.start <= arc.end && arc.end <= order);
    assert!(arc.len().abs_diff(order / u64::from(shards)) <= 1);
    assert!(index != 0 || arc.start == 0);
    if index + 1 == shards {
        assert_eq!(arc.end, order);
    } else {
        assert_eq!(arc.end, shard(order, index + 1, shards).start);
    }
}

/// Leases have 64 to 4,096 exponents, and nothing overflows.
#[kani::proof]
fn leases_are_neither_short_nor_long() {
    let workers: u16 = kani::any();
    let len = lease_len(kani::any(), workers.into());
    assert!((64..=4_096).contains(&len));
}

/// Two ranges have exactly those addresses in common that both hold, and a range holds as many as its length says.
#[kani::proof]
fn common_addresses() {
    let (one, other, address) = (range(), range(), kani::any());
    let common = one.intersection(other);
    assert_eq!(
        common.is_some_and(|common| common.contains(address)),
        one.contains(address) && other.contains(address)
    );
    assert!((1..=1 << 32).contains(&one.len()));
    assert_eq!(one.contains(address), address >= one.first() && u64::from(address - one.first()) < one.len());
}

/// A prefix holds its address and all that begin like it, and nothing else.
#[kani::proof]
fn prefixes_hold_what_begins_like_them() {
    let (network, address, bits): (u32, u32, u32) = kani::any();
    kani::assume(bits <= 32);
    let prefix = AddressRange::prefix(Ipv4Addr::from_bits(network), bits);
    let begins_alike = bits == 0 || (network ^ address) >> (32 - bits) == 0;
    assert_eq!(prefix.contains(address), begins_alike);
    assert_eq!(prefix.len(), 1 << (32 - bits));
}

/// What is blocked is never left, and nothing else is taken out: of one range, by one.
#[kani::proof]
#[kani::unwind(4)]
fn a_blocked_range_is_taken_out() {
    let (allowed, blocked, address) = (range(), range(), kani::any());
    let [ours, theirs]: [RangeSet; 2] = [allowed, blocked].map(|range| [range].into_iter().collect());
    let left = ours.subtract(&theirs);
    let expected = allowed.contains(address) && !blocked.contains(address);
    assert_eq!(left.ranges().iter().any(|range| range.contains(address)), expected);
}
