use super::super::error::WORD_SHOWN_MAX;
use super::*;
use crate::names::Unknown;
use proptest::prelude::*;

fn ranges(text: &str) -> Vec<String> {
    let list = List::parse("list", text.as_bytes(), Purpose::Probe, OnBadEntry::Fail).unwrap();
    list.entries.iter().map(|entry| entry.range.to_string()).collect()
}

#[test]
fn forms_of_an_entry() {
    for (text, expected) in [
        ("192.0.2.1", "192.0.2.1"),
        ("  192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1#comment", "192.0.2.1"),
        ("; Spamhaus DROP List\n192.0.2.0/24 ; SBL1\n;EOF", "192.0.2.0/24"),
        ("saddr\n192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1 # comment # more", "192.0.2.1"),
        ("192.0.2.1\r", "192.0.2.1"),
        ("\u{feff}192.0.2.1", "192.0.2.1"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("1.2.3.4/0", "0.0.0.0/0"),
        ("255.255.255.255/32", "255.255.255.255"),
        ("192.0.2.1-192.0.2.9", "192.0.2.1-192.0.2.9"),
        ("192.0.2.1-192.0.2.1", "192.0.2.1"),
        ("0.0.0.0-255.255.255.255", "0.0.0.0/0"),
    ] {
        assert_eq!(ranges(text), [expected], "{text:?}");
    }
    for blank in ["", "\n\n", "# only", "  \t\r\n#x\r\n", "\u{feff}"] {
        assert!(ranges(blank).is_empty(), "{blank:?}");
    }
}

/// Whichever byte ends the lines, none of them is the rest of another.
#[test]
fn every_line_counts() {
    let expected = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    for text in [
        "192.0.2.1\n192.0.2.2\n192.0.2.3\n",
        "192.0.2.1\r\n192.0.2.2\r\n192.0.2.3",
        "192.0.2.1\r192.0.2.2\r192.0.2.3\r",
        "\u{feff}# head\r192.0.2.1 # one\r192.0.2.2\x0c192.0.2.3\n",
        "# a page\x0c192.0.2.1\n\x0b192.0.2.2\x0b\n\x0c192.0.2.3",
    ] {
        assert_eq!(ranges(text), expected, "{text:?}");
    }
}

#[test]
fn lines_are_counted_from_one() {
    let text = b"# head\r\n\r\n10.0.0.1\r\n2001:db8::/32\n10.0.0.3 # last";
    let list = List::parse("list", text, Purpose::Probe, OnBadEntry::Fail).unwrap();
    assert_eq!(list.entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(list.location(&list.entries[1]).to_string(), "list:5");
    assert_eq!(list.to_set().len(), 2);
}

#[test]
fn ipv6_is_counted() {
    let text = "10.0.0.1\n2001:db8::/32\n::1\n::ffff:10.0.0.1 # mapped\n2001:db8::1-2001:db8::9\n";
    let list = List::parse("list", text.as_bytes(), Purpose::Probe, OnBadEntry::Fail).unwrap();
    assert_eq!(list.ipv6, Unused { count: 3, first_line: 2 });
    assert_eq!(list.to_set().len(), 1, "an IPv4-mapped address is an IPv4 address");
    let arguments = List::from_arguments(&["10.0.0.1", "::1"]).unwrap();
    assert_eq!(arguments.ipv6, Unused { count: 1, first_line: 2 });
}

#[test]
fn errors_say_where_what_and_how_to_mend() {
    for (text, problem) in [
        ("example.org/33", Problem::PrefixLength),
        ("10.0.0.0/33", Problem::PrefixLength),
        ("10.0.0.0/", Problem::PrefixLength),
        ("10.0.0.0/+8", Problem::PrefixLength),
        ("10.0.0.0/-1", Problem::PrefixLength),
        ("10.0.0.0/255.0.255.0", Problem::PrefixLength),
        ("10.0.0.0/8/8", Problem::PrefixLength),
        ("10.0.0.0/031", Problem::PrefixLength),
        ("10.0.0.0/00", Problem::PrefixLength),
        ("example.org/08", Problem::PrefixLength),
        ("10.0.0.9-10.0.0.1", Problem::Backwards),
        ("10.0.0.9 - 10.0.0.1", Problem::Backwards),
        ("10.0.0.1 10.0.0.2", Problem::Several),
        ("10.0.0.1\t10.0.0.2 # two", Problem::Several),
        ("10.0.0.1, 10.0.0.2", Problem::Several),
        ("10.0.0.1;10.0.0.2", Problem::Several),
        ("10.0.0.1 ::1", Problem::Several),
        ("example.org example.net", Problem::Several),
        ("example.org, 10.0.0.1", Problem::Several),
        ("10.0.0.1 trailing words, of which there are many", Problem::Trailing),
        ("10.0.0.0/8 - private", Problem::Trailing),
        ("10.0.0.1 5", Problem::Trailing),
        ("host 10.0.0.1", Problem::Trailing),
        ("::1 x", Problem::Trailing),
        ("10.0.0.1-9", Problem::NotAnAddress),
        ("10.0.0.1-10.0.0.2-10.0.0.3", Problem::NotAnAddress),
        ("10.0.0.x-10.0.0.9}", Problem::NotAnAddress),
        ("10.0.0", Problem::NotAnAddress),
        ("10.0.0.256", Problem::NotAnAddress),
        ("010.0.0.1", Problem::NotAnAddress),
        ("10.0.0.1,10.0.0.2", Problem::Several),
        ("10.0.0.1,AS64496", Problem::NotAnAddress),
        ("10.0.0.1,", Problem::NotAnAddress),
        ("\"10.0.0.1\"", Problem::NotAnAddress),
        ("10.0.0.1:80", Problem::NotAnAddress),
        ("::1/129", Problem::NotAnAddress),
        (":::", Problem::NotAnAddress),
        ("-", Problem::NotAnAddress),
        ("/", Problem::NotAnAddress),
        ("\0", Problem::NotAnAddress),
        ("caf\u{e9}", Problem::NotAnAddress),
    ] {
        let bytes = format!("10.1.1.1\n{text}\n");
        match List::parse("block.conf", bytes.as_bytes(), Purpose::Probe, OnBadEntry::Fail) {
            Err(error @ ListError::BadEntry { problem: found, .. }) => {
                assert_eq!(found, problem, "{text}");
                let message = error.to_string();
                assert!(message.starts_with("block.conf:2: \""), "{message}");
                assert!(!message.contains('\n') && message.is_ascii());
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

/// An entry in another form: the error shows it in the form of lists.
#[test]
fn errors_say_what_would_be_right() {
    for (text, problem) in [
        ("10.0.0.1 - 10.0.0.9", "has blanks in it: write it as 10.0.0.1-10.0.0.9"),
        ("10.0.0.1 -10.0.0.9", "has blanks in it: write it as 10.0.0.1-10.0.0.9"),
        ("10.0.0.1- 10.0.0.9", "has blanks in it: write it as 10.0.0.1-10.0.0.9"),
        ("10.0.0.1 to 10.0.0.3", "has blanks in it: write it as 10.0.0.1-10.0.0.3"),
        ("10.0.0.0 /30", "has blanks in it: write it as 10.0.0.0/30"),
        ("10.0.0.0 / 30", "has blanks in it: write it as 10.0.0.0/30"),
        ("10.0.0.0 255.255.255.252", "is an address and a netmask: write it as 10.0.0.0/30"),
        ("10.0.0.0/255.255.255.252", "is an address and a netmask: write it as 10.0.0.0/30"),
        ("10.0.0.0 0.0.0.3", "is an address and a netmask: write it as 10.0.0.0/30"),
    ] {
        let error =
            List::parse("b", text.as_bytes(), Purpose::Probe, OnBadEntry::Fail).unwrap_err().to_string();
        assert_eq!(error, format!("b:1: \"{text}\" {problem}"));
    }
    for (argument, words) in [
        ("10.0.0.1 10.0.0.2", "is more than one target: give each as a separate argument"),
        ("10.0.0.1\n10.0.0.2\n", "is more than one target: give each as a separate argument"),
        ("10.0.0.1\r10.0.0.2", "is more than one target"),
        ("", "\"\" names no target"),
        (" # none", "names no target"),
    ] {
        let error = List::from_arguments(&["10.0.0.9", argument]).unwrap_err().to_string();
        assert!(error.starts_with("command line, target 2: \"") && error.contains(words), "{error}");
    }
}

/// Where bad lines are skipped, the hosts in them are still blocked, as far as they can be read.
#[test]
fn bad_lines_of_a_block_list_block_what_can_be_read() {
    let text = "10.0.0.1 10.0.0.2\n10.1.0.1 to 10.1.0.3\n10.2.0.0 255.255.255.252\n10.3.0.0/33 # 10.3.0.9\n\
                two.example: 10.4.0.1\nnothing here\n10.5.0.0 /30\n";
    let mut list = List::parse("list", text.as_bytes(), Purpose::Block, OnBadEntry::Skip).unwrap();
    assert_eq!((list.bad, list.warnings.len()), (Unused { count: 7, first_line: 1 }, 7));
    assert_eq!(list.names.len(), 0, "a colon makes no name");
    let set = list.to_set();
    for (address, is_blocked) in [
        ([10, 0, 0, 1], true),
        ([10, 0, 0, 2], true),
        ([10, 0, 0, 3], false),
        ([10, 1, 0, 2], true),
        ([10, 2, 0, 3], true),
        ([10, 3, 0, 0], true),
        ([10, 3, 0, 9], false),
        ([10, 4, 0, 1], true),
        ([10, 5, 0, 3], true),
    ] {
        assert_eq!(set.contains(u32::from_be_bytes(address)), is_blocked, "{address:?}");
    }
    assert!(list.read_in_bad > 0);
    assert_eq!(list.unread, 1);
    let told = list.passed_over().unwrap();
    assert!(
        told.starts_with("list: 7 bad entries: the ")
            && told.contains("can be read in them are blocked; nothing can be read in 1 of them"),
        "{told}"
    );
    list = List::parse("list", text.as_bytes(), Purpose::Probe, OnBadEntry::Skip).unwrap();
    assert!(list.entries.is_empty() && list.bad.count == 7, "an allow list names only what is understood");
    assert_eq!(list.passed_over().as_deref(), Some("list: 7 bad entries are left out"));
    // As always, the name comes before other words.
    let mut list = List::parse("list", b"two.example and more\n", Purpose::Block, OnBadEntry::Skip).unwrap();
    list.look_up(&lookup, OnBadEntry::Skip).unwrap();
    assert_eq!(list.to_set().len(), 2);
}

/// Text that other programs parse as a network is blocked as such, if the line is skipped; otherwise it is an error.
#[test]
fn networks_written_short_are_blocked() {
    for (text, expected) in [
        ("198.18/16", "198.18.0.0/16"),
        ("198.18.1/24", "198.18.1.0/24"),
        ("198.18.1.*", "198.18.1.0/24"),
        ("198.18.1.x", "198.18.1.0/24"),
        ("0198.18.1.1", "198.18.1.1"),
        ("198.18.1.1/031", "198.18.1.0/25"),
    ] {
        for purpose in [Purpose::Probe, Purpose::Block] {
            let parse = |on_bad| {
                let mut list = List::parse("list", text.as_bytes(), purpose, on_bad)?;
                list.look_up(&lookup, on_bad).map(|()| list)
            };
            assert!(parse(OnBadEntry::Fail).is_err(), "{text}");
            let list = parse(OnBadEntry::Skip).unwrap();
            assert_eq!((list.bad.count, list.unread), (1, u64::from(purpose == Purpose::Probe)), "{text}");
            let found: Vec<String> = list.to_set().ranges().iter().map(ToString::to_string).collect();
            let expected = if purpose == Purpose::Block { &[expected][..] } else { &[] };
            assert_eq!(found, expected, "{text}");
        }
    }
}

/// A host that must not be probed through a translator or a tunnel is not probed directly either. Targets cannot be
/// given in this form.
#[test]
fn ipv6_blocks_the_ipv4_host_that_it_leads_to() {
    let text = "::198.18.1.1\n64:ff9b::198.18.1.2\n::ffff:0:198.18.1.3\n2002:c612:0104::/48\n\
                64:ff9b::198.18.2.0/120\n2001:db8::1\n64:ff9b::/96\n";
    let blocked = List::parse("list", text.as_bytes(), Purpose::Block, OnBadEntry::Fail).unwrap();
    let found: Vec<String> = blocked.to_set().ranges().iter().map(ToString::to_string).collect();
    assert_eq!(found, ["198.18.1.1-198.18.1.4", "198.18.2.0/24"]);
    assert_eq!((blocked.entries.len(), blocked.ipv6), (5, Unused { count: 2, first_line: 6 }));
    let named = List::parse("list", text.as_bytes(), Purpose::Probe, OnBadEntry::Fail).unwrap();
    assert_eq!((named.entries.len(), named.ipv6), (0, Unused { count: 7, first_line: 1 }));
}

#[test]
fn message_texts() {
    let message = |text: &str| {
        List::parse("b.conf", text.as_bytes(), Purpose::Probe, OnBadEntry::Fail).unwrap_err().to_string()
    };
    assert_eq!(
        message("10.0.0.0/33"),
        "b.conf:1: \"10.0.0.0/33\" has a bad prefix length: write a number from 0 to 32 after the slash, \
         without leading zeros"
    );
    let long = message(&"=".repeat(5_000_000));
    assert!(
        long.contains(&format!("{}...\" is not an IPv4", "=".repeat(WORD_SHOWN_MAX))) && long.len() < 200
    );
    let argument = List::from_arguments(&["10.0.0.1", "10.0.0.0/64"]).unwrap_err().to_string();
    assert!(argument.starts_with("command line, target 2: \"10.0.0.0/64\" has a bad prefix"), "{argument}");
}

/// Names: `two.example` has two addresses and `none.example` none.
fn lookup(name: &str) -> Result<Vec<Ipv4Addr>, Unknown> {
    match name {
        "two.example" => Ok(vec![Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 7)]),
        "one.example" => Ok(vec![Ipv4Addr::new(203, 0, 113, 9)]),
        "none.example" => Err(Unknown::NoIpv4),
        _ => Err(Unknown::Failed("could not be looked up (no such name)".to_owned())),
    }
}

#[test]
fn names_stand_for_their_addresses() {
    let text = b"10.0.0.1\ntwo.example/24\none.example # and more\ntwo.example\n";
    let mut list = List::parse("list", text, Purpose::Probe, OnBadEntry::Fail).unwrap();
    list.look_up(&lookup, OnBadEntry::Fail).unwrap();
    let entries: Vec<String> =
        list.entries.iter().map(|entry| format!("{}={}", entry.line, entry.range)).collect();
    assert_eq!(
        entries,
        [
            "1=10.0.0.1",
            "2=192.0.2.0/24",
            "2=198.51.100.0/24",
            "3=203.0.113.9",
            "4=192.0.2.1",
            "4=198.51.100.7"
        ]
    );
    assert_eq!(list.names.len(), 3);
    assert_eq!((list.names[0].bits, list.names[0].addresses.len()), (24, 2));
    assert_eq!(list.to_set().len(), 1 + 2 * 256 + 1);
}

#[test]
fn unknown_names_name_their_line() {
    let text = b"one.example\nnone.example\nlost.example\n";
    let mut list = List::parse("list", text, Purpose::Probe, OnBadEntry::Fail).unwrap();
    assert_eq!(
        list.look_up(&lookup, OnBadEntry::Fail).unwrap_err().to_string(),
        "list:2: \"none.example\" is not an address, and as a host name it has no IPv4 address: correct it, or give its \
         addresses"
    );
    let mut list = List::parse("list", text, Purpose::Probe, OnBadEntry::Skip).unwrap();
    list.look_up(&lookup, OnBadEntry::Skip).unwrap();
    assert_eq!((list.bad, list.names.len()), (Unused { count: 2, first_line: 2 }, 1));
    assert!(list.warnings[1].to_string().contains("could not be looked up (no such name)"));
    assert_eq!(list.to_set().len(), 1);
}

/// A block list without its looked-up names would not block them.
#[test]
#[should_panic(expected = "names were not looked up")]
fn names_cannot_be_forgotten() {
    List::parse("list", b"one.example", Purpose::Probe, OnBadEntry::Fail).unwrap().to_set();
}

#[test]
fn skipped_errors_are_counted_and_the_warnings_capped() {
    let text = format!("10.0.0.1\n{}10.0.0.2\n", "bad/entry\n".repeat(1_000));
    let list = List::parse("list", text.as_bytes(), Purpose::Probe, OnBadEntry::Skip).unwrap();
    assert_eq!(list.entries.len(), 2);
    assert_eq!(list.bad, Unused { count: 1_000, first_line: 2 });
    assert_eq!(list.warnings.len(), WARNINGS_MAX);
    assert!(list.warnings[0].to_string().starts_with("list:2: "));
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_list_or_one_line(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_robust(&bytes)?;
    }

    #[test]
    fn nearly_valid_text_ends_in_a_list_or_one_line(
        text in "([0-9a-f./:#; \t\r\n\x0b\x0c-]|10\\.0\\.0\\.[1-9]|/24|/0|\\*|::|64:ff9b::|2002:|::ffff:| to | - |255\\.255\\.255\\.0){0,40}",
    ) {
        check_robust(text.as_bytes())?;
    }
}

/// The tokens of each line, comments left out: found without the parser.
fn tokens(text: &[u8]) -> Vec<Vec<String>> {
    let text: String = text.iter().map(|&byte| char::from(byte)).collect();
    let text = text.strip_prefix("\u{ef}\u{bb}\u{bf}").unwrap_or(&text).replace("\r\n", "\n");
    let line = |line: &str| {
        let line = line.split('#').next().unwrap();
        let line = format!(" {line}").replace('\t', " ").replace('\x0b', " ");
        let line = line.split(" ;").next().unwrap();
        line.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect()
    };
    text.split(['\n', '\r', '\x0c']).map(line).filter(|tokens: &Vec<String>| !tokens.is_empty()).collect()
}

/// Every token is accounted for, and an error is one printable line.
fn check_robust(bytes: &[u8]) -> Result<(), TestCaseError> {
    let lines = tokens(bytes);
    let is_header = |line: &Vec<String>| line[..] == ["saddr"];
    let lines = &lines[lines.iter().take_while(|line| is_header(line)).count()..];
    let Ok(skipping) = List::parse("list", bytes, Purpose::Probe, OnBadEntry::Skip) else {
        // Lines that are refused before they are parsed.
        prop_assert!(bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff"));
        return Ok(());
    };
    let used = (skipping.entries.len() + skipping.names.len()) as u64 + skipping.ipv6.count;
    prop_assert_eq!(used + skipping.bad.count, lines.len() as u64);
    match List::parse("list", bytes, Purpose::Probe, OnBadEntry::Fail) {
        Ok(list) => {
            prop_assert_eq!((list.bad.count, list.entries), (0, skipping.entries));
            prop_assert!(lines.iter().all(|tokens| tokens.len() == 1));
        }
        Err(error) => {
            prop_assert!(skipping.bad.count > 0);
            prop_assert!(error.to_string().bytes().all(|byte| matches!(byte, b' '..=b'~')));
        }
    }
    // A token that is an address is blocked, whatever else is in its line.
    let blocking = List::parse("list", bytes, Purpose::Block, OnBadEntry::Skip).unwrap();
    let ranges: RangeSet = blocking.entries.iter().map(|entry| entry.range).collect();
    for token in lines.iter().flatten() {
        if let Ok(address) = token.parse::<Ipv4Addr>() {
            prop_assert!(ranges.contains(address.to_bits()), "{}", token);
        }
    }
    Ok(())
}
