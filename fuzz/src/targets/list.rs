//! Block, allow and target lists. What a list may pass over is decided here once more, in other words than the parser's: every
//! token of a list that is accepted is an entry, and where bad lines are passed over, a block list still has every address
//! that stands in one.

use std::net::Ipv4Addr;

use xdpmap::targets::AddressRange;
use xdpmap::targets::list::{List, OnBadEntry};

/// The tokens of each line that has any, comments left out.
fn tokens(bytes: &[u8]) -> Vec<Vec<String>> {
    // A character a byte, so that nothing depends on what is UTF-8.
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let text = text.strip_prefix("\u{ef}\u{bb}\u{bf}").unwrap_or(&text).replace("\r\n", "\n");
    let line = |line: &str| {
        let line = line.split('#').next().unwrap_or_default().replace(['\t', '\x0b'], " ");
        let line = format!(" {line}");
        let line = line.split(" ;").next().unwrap_or_default();
        line.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect()
    };
    let lines = text.split(['\n', '\r', '\x0c']).map(line).filter(|tokens: &Vec<String>| !tokens.is_empty());
    // The header row of a scan's results.
    lines.skip_while(|tokens| *tokens == ["saddr"]).collect()
}

/// The dotted addresses in a line, that stand for themselves whatever is around them.
fn addresses(tokens: &[String]) -> impl Iterator<Item = Ipv4Addr> {
    let line = tokens.join(" ");
    let words: Vec<String> = line
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .map(|word| word.trim_matches('.').to_owned())
        .collect();
    words.into_iter().filter_map(|word| word.parse().ok())
}

fn holds(list: &List, address: Ipv4Addr) -> bool {
    list.entries.iter().any(|entry| entry.range.contains(address.to_bits()))
}

/// Whether the list has what a token says, as far as that is told by other means than the parser's.
fn accounts_for(list: &List, token: &str) {
    let (first, last) = token.split_once('-').unwrap_or((token, token));
    if let (Ok(first), Ok(last)) = (first.parse::<Ipv4Addr>(), last.parse::<Ipv4Addr>()) {
        let range = AddressRange::new(first.to_bits(), last.to_bits()).expect("a range that was accepted");
        assert!(list.entries.iter().any(|entry| entry.range == range), "{token}");
    } else if let Some((network, bits)) = token.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse::<Ipv4Addr>(), bits.parse::<u32>())
    {
        assert!(bits <= 32, "{token}");
        let size = 1u64 << (32 - bits);
        let first = (u64::from(network.to_bits()) / size * size) as u32;
        let same = |range: AddressRange| range.first() == first && range.len() == size;
        assert!(list.entries.iter().any(|entry| same(entry.range)), "{token}");
    } else if let Some(address) = token.parse::<std::net::Ipv6Addr>().ok().and_then(|a| a.to_ipv4_mapped()) {
        assert!(holds(list, address), "{token}");
    } else if !token.contains(':') {
        let name = token.split('/').next().unwrap_or_default();
        assert!(list.names.iter().any(|entry| entry.name == name), "{token}");
    }
}

pub fn run(bytes: &[u8]) {
    let lines = tokens(bytes);
    let Ok(skipping) = List::parse("list", bytes, OnBadEntry::Skip) else {
        assert!(
            bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff"),
            "only UTF-16 is refused as a whole"
        );
        return;
    };
    let count = |list: &List| (list.entries.len() + list.names.len()) as u64 + list.ipv6.count;
    assert_eq!(count(&skipping) + skipping.bad.count, lines.len() as u64, "each line is one thing");
    let blocking = List::parse("list", bytes, OnBadEntry::Block).expect("as before");
    assert_eq!(blocking.bad, skipping.bad);
    assert!(skipping.entries.iter().all(|entry| blocking.entries.contains(entry)));
    for tokens in &lines {
        for address in addresses(tokens).filter(|_| !tokens.iter().any(|token| token.contains(':'))) {
            let is_name = |token: &String| blocking.names.iter().any(|name| token.starts_with(&name.name));
            assert!(holds(&blocking, address) || tokens.iter().any(is_name), "{address} in {tokens:?}");
        }
    }
    match List::parse("list", bytes, OnBadEntry::Fail) {
        Ok(list) => {
            assert_eq!((&list.entries, skipping.bad.count), (&skipping.entries, 0));
            for tokens in &lines {
                assert_eq!(tokens.len(), 1, "one entry a line: {tokens:?}");
                accounts_for(&list, &tokens[0]);
            }
        }
        Err(error) => {
            assert!(skipping.bad.count > 0);
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
