use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use targets::list::List;

fn filter(allow: Option<&str>, block: &str, once: bool, rules: Rules) -> Filter {
    let set = |text: &str, purpose| {
        List::parse("list", text.as_bytes(), purpose, OnBadEntry::Fail).unwrap().to_set()
    };
    let allow = allow.map(|text| set(text, Purpose::Probe));
    let allowed = RangeSet::paint(allow.as_ref(), &set(block, Purpose::Block), &RangeSet::default());
    Filter { allowed, seen: once.then(Box::default), rules, counts: Counts::default() }
}

fn run(filter: &mut Filter, input: &str) -> String {
    let mut output = vec![];
    filter.run(input.as_bytes(), &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

const USUAL: Rules = Rules { first_column: false, pass_unknown: false, addresses_only: false };
const FIRST: Rules = Rules { first_column: true, ..USUAL };
const LENIENT: Rules = Rules { pass_unknown: true, ..USUAL };
const STRICT: Rules = Rules { addresses_only: true, ..USUAL };
const INPUT: &str = "10.0.0.1\n10.0.0.2,80 # web\n10.0.0.1\nhost\n10.1.0.1\t5\n\n11.0.0.1";

#[test]
fn lines_pass_as_they_came() {
    let mut plain = filter(None, "10.1.0.0/16", true, USUAL);
    assert_eq!(run(&mut plain, INPUT), "10.0.0.1\n10.0.0.2,80 # web\n\n11.0.0.1\n");
    assert_eq!(plain.counts, Counts { lines: 7, bad: 1, refused: 1, repeats: 1, told: 1 });
    let mut lenient = filter(None, "10.1.0.0/16", true, LENIENT);
    assert_eq!(run(&mut lenient, INPUT), "10.0.0.1\n10.0.0.2,80 # web\nhost\n\n11.0.0.1\n");
    let mut strict = filter(Some("10.0.0.0/8"), "10.1.0.0/16", false, STRICT);
    assert_eq!(run(&mut strict, INPUT), "10.0.0.1\n10.0.0.2,80 # web\n10.0.0.1\n");
}

/// A blocked address does not pass in another notation, nor next to an address that may pass.
#[test]
fn nothing_blocked_slips_through() {
    let dropped = [
        " 10.1.0.3",
        "\t10.1.0.3",
        "\"10.1.0.3\"",
        "\"10.1.0.3\",80",
        "10.1.0.3:80",
        "10.1.0.3;80",
        "10.1.0.0/24",
        "10.1/16",
        "10.1.0/24",
        "10.1.0.*",
        "10.1.*.*",
        "010.1.0.3",
        "0010.1.0.3",
        "0x0a010003",
        "167837699",
        "10.0.0.0/8",
        "http://10.1.0.3/",
        "::ffff:10.1.0.3",
        "[::ffff:a01:3]:80",
        "64:ff9b::10.1.0.3",
        "2002:a01:3::1",
        "10.001.0.003",
        "10.0.0.1 10.1.0.3",
        "10.0.0.1,10.1.0.3",
        "10.0.0.1,\"10.1.0.3\"",
        "10.0.0.1,web,10.1.0.0/24",
        "10.0.0.1,80;10.1.0.3",
        "10.0.0.1#10.1.0.3",
        "10.0.0.1,page#10.1.0.3",
        "; 10.1.0.3",
        "10.0.0.1\r10.1.0.3",
        "10.0.0.1\x0c10.1.0.3",
        "10.0.0.1,80\r10.1.0.3,80",
        "# ours\r10.1.0.3",
        "10.0.255.255-10.2.0.0",
        "10.0.255.255 - 10.2.0.0",
        "10.2.0.0 to 10.0.255.255",
        "10.0.0.0 255.0.0.0",
        "\u{feff}10.1.0.3",
    ];
    for line in dropped {
        for rules in [USUAL, LENIENT, STRICT] {
            let mut filter = filter(None, "10.1.0.0/16", false, rules);
            assert_eq!(run(&mut filter, &format!("{line}\n{line}\r\n{line}")), "", "{line:?}");
            let counts = filter.counts;
            assert_eq!(counts.refused, 3, "{line:?}: {counts:?}");
        }
    }
}

#[test]
fn what_is_understood_passes() {
    for line in [
        "",
        " ",
        "#",
        ";",
        "10.0.0.1,80",
        "10.0.0.1,10.0.0.2,1.5,-3.25,2026-11-29T04:30:18.000+0000",
        "10.0.0.1 # 10.1.0.3",
        "10.0.0.1 #10.1.0.3",
        "# 10.1.0.3",
        " 10.0.0.1",
        "\"10.0.0.1\",\"a\"",
        "10.0.0.1:80",
        "10.2.0.0/16",
        "10.2.0.0-10.2.0.9,x",
        "10.0.0.1,0.0.0.0",
        "::ffff:10.0.0.1",
        "saddr,ttl",
        "\u{feff}10.0.0.1",
    ] {
        let mut plain = filter(None, "10.1.0.0/16", false, USUAL);
        assert_eq!(run(&mut plain, &format!("{line}\n")), format!("{line}\n"));
        assert_eq!(plain.counts.told, 0, "{line}");
    }
    let unknown =
        ["host", "::1", "10.0.0.256", "10.2.*", "see 10.0.0.1", "64:ff9b::10.0.0.1", "10.0.0.1/024"];
    for line in unknown {
        let mut plain = filter(None, "10.1.0.0/16", false, USUAL);
        assert_eq!(run(&mut plain, &format!("{line}\n")), "", "{line}");
        assert_eq!((plain.counts.bad, plain.counts.told), (1, 1), "{line}");
        let mut lenient = filter(None, "10.1.0.0/16", false, LENIENT);
        assert_eq!(run(&mut lenient, &format!("{line}\n")), format!("{line}\n"));
    }
    // A header row is the first.
    assert_eq!(run(&mut filter(None, "10.1.0.0/16", false, USUAL), "10.0.0.1\nsaddr\n"), "10.0.0.1\n");
    let mut once = filter(None, "10.1.0.0/16", true, USUAL);
    assert_eq!(run(&mut once, "10.0.0.1\n \"10.0.0.1\"\n10.0.0.1:80\n"), "10.0.0.1\n");
    let mut strict = filter(None, "10.1.0.0/16", true, STRICT);
    assert_eq!(run(&mut strict, " 10.0.0.1\n10.0.0.2:80\n10.0.0.1\n# x\n\n"), "10.0.0.1\n");
}

/// Where only the first column counts, the others may hold anything; and it still counts.
#[test]
fn the_first_column_alone() {
    let mut first = filter(None, "10.1.0.0/16", false, FIRST);
    let passed = "10.0.0.1,10.1.0.3\n10.0.0.1\t10.1.0.3\n\"10.0.0.2\",\"10.1.0.3\"\n";
    let dropped = "10.1.0.3,10.0.0.1\n10.0.0.1 10.1.0.3\n10.0.0.1 - 10.2.0.0\nhost,10.0.0.1\n";
    assert_eq!(run(&mut first, &format!("{passed}{dropped}")), passed);
}

#[test]
fn endless_lines_are_refused() {
    let mut plain = filter(None, "", true, LENIENT);
    let long = "x".repeat(LINE_MAX as usize + 5);
    let error = plain.run(format!("10.0.0.1\n{long}").as_bytes(), &mut vec![]).unwrap_err();
    assert!(error.to_string().starts_with("line 2 of standard input is longer"), "{error}");
    let mut whole = filter(None, "", true, LENIENT);
    assert_eq!(run(&mut whole, &"x".repeat(1000)).len(), 1001);
}

proptest! {
    #[test]
    fn agrees_with_a_naive_filter(
        addresses in prop::collection::vec((0u32..600).prop_map(|low| 0x0a00_0000 + low), 0..200),
        block in prop::collection::vec((0u32..600, 24u32..33), 0..8),
        allow in prop::collection::vec((0u32..600, 23u32..33), 0..8),
        once: bool,
    ) {
        let networks = |list: &[(u32, u32)]| -> Vec<AddressRange> {
            list.iter().map(|&(low, bits)| AddressRange::prefix(Ipv4Addr::from_bits(0x0a00_0000 + low), bits)).collect()
        };
        let text = |list: &[AddressRange]| list.iter().map(|range| format!("{range}\n")).collect::<String>();
        let (block, allow) = (networks(&block), networks(&allow));
        let mut seen = BTreeSet::new();
        let inside = |list: &[AddressRange], address: u32| list.iter().any(|range| range.contains(address));
        let expected: Vec<String> = addresses
            .iter()
            .filter(|&&address| inside(&allow, address) && !inside(&block, address))
            .filter(|&&address| seen.insert(address) || !once)
            .map(|&address| format!("{}\n", Ipv4Addr::from_bits(address)))
            .collect();
        let input: String = addresses.iter().map(|&address| format!("{}\n", Ipv4Addr::from_bits(address))).collect();
        let mut filter = filter(Some(&text(&allow)), &text(&block), once, USUAL);
        prop_assert_eq!(run(&mut filter, &input), expected.concat());
    }

    /// Wherever in a line an address stands alone, it decides.
    #[test]
    fn a_blocked_address_is_found(before in "[a-z\"( ]{0,8}", low: u8, after in "([)\": /][a-z ]{0,8})?") {
        let line = format!("{before}10.1.0.{low}{after}");
        prop_assert_eq!(run(&mut filter(None, "10.1.0.0/16", false, LENIENT), &line), "");
        prop_assert_eq!(run(&mut filter(None, "10.2.0.0/16", false, LENIENT), &line), line + "\n");
    }

    /// By the usual rules no line with a blocked address in any column passes, however many columns there are.
    #[test]
    fn no_column_is_overlooked(columns in prop::collection::vec("[a-z]{0,3}|10\\.0\\.0\\.[1-9]|[0-9]{1,4}", 0..5), low: u8, at in 0usize..5) {
        let mut columns = columns;
        columns.insert(at.min(columns.len()), format!("10.1.0.{low}"));
        let line = columns.join(",");
        prop_assert_eq!(run(&mut filter(None, "10.1.0.0/16", false, USUAL), &line), "");
    }

    #[test]
    fn any_bytes_pass_or_not(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut output = vec![];
        filter(None, "", false, LENIENT).run(&bytes[..], &mut output).unwrap();
        let end: &[u8] = if bytes.last().is_none_or(|&byte| byte == b'\n') { b"" } else { b"\n" };
        prop_assert_eq!(output, [&bytes, end].concat());
    }
}
