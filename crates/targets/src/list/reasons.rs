//! What a block list says about why networks are on it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{List, OnBadEntry, Purpose};
use crate::reasons::{KEPT_MAX, Reasons, Tally};

fn reasons(text: &str) -> Reasons {
    List::parse("list", text.as_bytes(), Purpose::Block, OnBadEntry::Skip).unwrap().reasons
}

fn told(reasons: &Reasons, most: usize) -> Vec<(String, u64, u64)> {
    let (all, _) = reasons.most_frequent(most);
    let told = |(text, tally): (&[u8], Tally)| {
        (String::from_utf8_lossy(text).into_owned(), tally.networks, tally.addresses)
    };
    all.into_iter().map(told).collect()
}

fn tally(networks: u64, addresses: u64) -> Tally {
    Tally { networks, addresses }
}

#[test]
fn what_a_reason_is() {
    let text = "# a head\n192.0.2.0/24  # 2026-03-01 mail\n192.0.2.1 #2026-03-01 mail\t\n198.51.100.7\n\
                198.51.100.8 #\n198.51.100.9 ; SBL1 # more\n203.0.113.0-203.0.113.9 ## phone\n::ffff:10.0.0.1 # 6\n\
                64:ff9b::10.0.0.2 # 6\n2001:db8::1 # no host of IPv4\n";
    let found = reasons(text);
    let expected = [("2026-03-01 mail", 2, 257), ("6", 2, 2), ("phone", 1, 10), ("SBL1 # more", 1, 1)];
    assert_eq!(told(&found, 100), expected.map(|(text, one, other)| (text.to_owned(), one, other)));
    assert_eq!(found.without(), tally(2, 2));
    assert_eq!(found.most_frequent(1).1, tally(4, 13));
    let probed = List::parse("list", text.as_bytes(), Purpose::Probe, OnBadEntry::Fail).unwrap();
    assert_eq!((probed.reasons.without(), told(&probed.reasons, 9)), (tally(0, 0), vec![]));
}

/// A bad line has the reason behind it, and a host name counts once it is looked up.
#[test]
fn bad_lines_and_names() {
    let text = b"192.0.2.1 192.0.2.2 # both\ntwo.example/31 # name\nnone.example # gone\n";
    let mut list = List::parse("list", text, Purpose::Block, OnBadEntry::Skip).unwrap();
    assert_eq!(told(&list.reasons, 9), [("both".to_owned(), 2, 2)]);
    let lookup = |name: &str| match name {
        "two.example" => Ok([7, 99].map(std::net::Ipv4Addr::from_bits).to_vec()),
        _ => Err(crate::names::Unknown::NoIpv4),
    };
    list.look_up(&lookup, OnBadEntry::Skip).unwrap();
    assert_eq!(told(&list.reasons, 9), [("both".to_owned(), 2, 2), ("name".to_owned(), 1, 4)]);
}

#[test]
fn memory_is_bounded() {
    let lines = (0..KEPT_MAX + 5).map(|i| format!("10.0.0.0/31 # {i}\n")).collect::<String>();
    let found = reasons(&(lines.clone() + &lines));
    assert_eq!(found.most_frequent(usize::MAX).0.len(), KEPT_MAX);
    assert_eq!(found.most_frequent(KEPT_MAX).1, tally(10, 20));
    let (named, others) = found.most_frequent(100);
    assert_eq!(
        (named.len(), others),
        (100, tally(2 * (KEPT_MAX as u64 + 5 - 100), 4 * (KEPT_MAX as u64 - 95)))
    );
    // Two bytes a character: the cut is between two of them.
    let long = reasons(&format!("10.0.0.1 # x{0}\n10.0.0.2 # x{0}more\n", "\u{e9}".repeat(150)));
    assert_eq!(told(&long, 9), [(format!("x{}", "\u{e9}".repeat(99)), 2, 2)]);
}

proptest! {
    /// Every entry counts once, by the words behind it.
    #[test]
    fn every_entry_counts(
        lines in prop::collection::vec((any::<u32>(), 8u32..33, "( ?#[a-c ;#]{0,3}| ;[ab]|)"), 0..40),
        most in 0usize..6,
    ) {
        let text: String = lines
            .iter()
            .map(|(address, bits, after)| format!("{}/{bits}{after}\n", std::net::Ipv4Addr::from_bits(*address)))
            .collect();
        let mut expected: BTreeMap<String, Tally> = BTreeMap::new();
        for (_, bits, after) in &lines {
            let words = after.trim_start_matches([' ', '#', ';']).trim().to_owned();
            expected.entry(words).or_default().add(tally(1, 1 << (32 - bits)));
        }
        let found = reasons(&text);
        let without = expected.remove("").unwrap_or_default();
        prop_assert_eq!(found.without(), without);
        let mut sum = found.most_frequent(most).1;
        for (text, networks, addresses) in told(&found, most) {
            prop_assert_eq!(expected[&text], tally(networks, addresses));
            sum.add(tally(networks, addresses));
        }
        prop_assert_eq!(sum.networks + without.networks, lines.len() as u64);
        prop_assert_eq!(told(&found, 99).len(), expected.len());
    }
}
