//! Pages of addresses and the set made from them, compared with a set of the standard library.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::pages::Settled;
use super::{AddressPages, AddressRange, AddressSet, RangeSet};

fn range(first: u32, last: u32) -> AddressRange {
    AddressRange::new(first, last).unwrap()
}

/// Settles, and compares pages and the set made from them with a set of the standard library.
fn check(mut pages: AddressPages, inserted: &[u32], permitted: &RangeSet) {
    let all: BTreeSet<u32> = inserted.iter().copied().collect();
    let kept: Vec<u32> =
        all.iter().copied().filter(|&a| permitted.ranges().iter().any(|range| range.contains(a))).collect();
    let found = pages.settle(permitted);
    assert_eq!(found.distinct, all.len() as u64);
    assert_eq!(found.duplicates, (inserted.len() - all.len()) as u64);
    assert_eq!(found.removed, (all.len() - kept.len()) as u64);
    let set = AddressSet::from_pages(&pages);
    assert_eq!(set.len(), kept.len() as u64);
    let listed: Vec<u32> = set.ranges().flat_map(|range| range.first()..=range.last()).collect();
    assert!(listed == kept);
    let ranges: Vec<AddressRange> = set.ranges().collect();
    assert!(ranges.windows(2).all(|pair| u64::from(pair[0].last()) + 1 < u64::from(pair[1].first())));
    let mut ranks: Vec<u32> = (0..kept.len() as u32).collect();
    assert!(ranks.iter().map(|&rank| set.address(rank)).eq(kept.iter().copied()));
    set.resolve(simd::Level::detect(), &mut ranks);
    assert!(ranks == kept);
    for &address in inserted.iter().take(500) {
        for near in [address.wrapping_sub(1), address, address.wrapping_add(1)] {
            assert_eq!(set.contains(near), kept.binary_search(&near).is_ok());
            let after = kept.partition_point(|&member| member < near);
            assert_eq!(set.first_from(near), kept.get(after).copied());
        }
    }
    // A second time finds nothing to do.
    assert_eq!(pages.settle(permitted), Settled { distinct: kept.len() as u64, ..Settled::default() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_an_oracle(
        anywhere in prop::collection::vec(any::<u32>(), 0..300),
        crowd in prop::collection::vec(0u32..6_000, 0..9_000),
        runs in prop::collection::vec((0u32..200_000, 0u32..70_000), 0..3),
        base in prop::sample::select(vec![0u32, 0x0a00_fff0, 0xfffc_0000]),
        permitted in prop::collection::vec((any::<u32>(), 0u32..1 << 30), 0..6),
        near in prop::collection::vec((0u32..250_000, 0u32..9_000), 0..20),
    ) {
        let mut pages = AddressPages::default();
        let mut inserted = vec![];
        for address in anywhere.into_iter().chain(crowd.iter().map(|&low| base.wrapping_add(low * 3))) {
            pages.insert(address);
            inserted.push(address);
        }
        for (first, more) in runs {
            let first = base.saturating_add(first);
            let run = range(first, first.saturating_add(more));
            pages.insert_range(run);
            inserted.extend(run.first()..=run.last());
        }
        let near = near.into_iter().map(|(first, more)| (base.saturating_add(first), more));
        let permitted: RangeSet = permitted
            .into_iter()
            .chain(near)
            .map(|(first, more)| range(first, first.saturating_add(more)))
            .collect();
        check(pages.clone(), &inserted, &RangeSet::all());
        check(pages.clone(), &inserted, &permitted);
        check(pages, &inserted, &RangeSet::default());
    }
}

#[test]
fn the_whole_address_space() {
    let mut pages = AddressPages::default();
    pages.insert_range(AddressRange::ALL);
    pages.insert(u32::MAX);
    let found = pages.settle(&RangeSet::all());
    assert_eq!(found, Settled { distinct: 1 << 32, duplicates: 1, removed: 0 });
    let set = AddressSet::from_pages(&pages);
    assert_eq!((set.len(), set.address(u32::MAX)), (1 << 32, u32::MAX));
    assert!(set.ranges().eq([AddressRange::ALL]));
}
