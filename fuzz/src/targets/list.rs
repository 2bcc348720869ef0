//! Block, allow and target lists. Which parts a list may skip is decided here independently of the parser: every token
//! of an accepted list is an entry. If bad lines are skipped, a block list still has every address in them, and every
//! network in a short form. An IPv4 address in the form of IPv6 is blocked as well.

use std::net::{Ipv4Addr, Ipv6Addr};

use targets::AddressRange;
use targets::list::{List, OnBadEntry, Purpose};

/// The tokens of each line that has any, without comments.
fn tokens(bytes: &[u8]) -> Vec<Vec<String>> {
    // One character per byte, so that nothing depends on UTF-8.
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

/// The dotted addresses in a line that are addresses whatever is around them.
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

/// The network that a token is short for: `198.18/16` or `198.18.1.*`, of two or three plain numbers.
fn short_network(token: &str) -> Option<AddressRange> {
    let is_plain = |part: &&str| part.len() == 1 || !part.starts_with(['0', '+']);
    let plain = |text: &str| -> Option<Vec<u8>> {
        let parts =
            text.split('.').filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        let numbers: Option<Vec<u8>> = parts.filter(is_plain).map(|part| part.parse().ok()).collect();
        numbers.filter(|numbers| numbers.len() == text.split('.').count() && (2..4).contains(&numbers.len()))
    };
    let (short, bits) = match (token.split_once('/'), token.strip_suffix(".*")) {
        (Some((short, bits)), _) if is_plain(&bits) => (short, bits.parse().ok().filter(|&bits| bits <= 32)?),
        (None, Some(short)) => (short, 8 * plain(short)?.len() as u32),
        _ => return None,
    };
    let mut octets = [0; 4];
    octets.iter_mut().zip(plain(short)?).for_each(|(octet, number)| *octet = number);
    Some(AddressRange::prefix(Ipv4Addr::from(octets), bits))
}

/// The IPv4 address that an IPv6 address leads to, by the prefixes in the standards' texts.
fn led_to(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let (high, low) = match (a, b, c, d, e, f) {
        (0x2002, ..) => (b, c),
        (0, 0, 0, 0, 0, 0) if high > 0xff => (high, low),
        (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// Whether the list has the addresses of a token, as far as this is known without the parser.
fn accounts_for(list: &List, token: &str) {
    let (first, last) = token.split_once('-').unwrap_or((token, token));
    if let (Ok(first), Ok(last)) = (first.parse::<Ipv4Addr>(), last.parse::<Ipv4Addr>()) {
        let range = AddressRange::new(first.to_bits(), last.to_bits()).expect("a range that was accepted");
        assert!(list.entries.iter().any(|entry| entry.range == range), "{token}");
    } else if let Some((network, bits)) = token.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse::<Ipv4Addr>(), bits.parse::<u32>())
    {
        assert!(bits <= 32 && token.ends_with(&format!("/{bits}")), "{token}");
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
    let Ok(skipping) = List::parse("list", bytes, Purpose::Probe, OnBadEntry::Skip) else {
        assert!(
            bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff"),
            "only UTF-16 is refused as a whole"
        );
        return;
    };
    let count = |list: &List| (list.entries.len() + list.names.len()) as u64 + list.ipv6.count;
    assert_eq!(count(&skipping) + skipping.bad.count, lines.len() as u64, "each line is one thing");
    let blocking = List::parse("list", bytes, Purpose::Block, OnBadEntry::Skip).expect("as before");
    assert_eq!(blocking.bad, skipping.bad);
    assert_eq!(skipping.unread, skipping.bad.count);
    assert!(blocking.unread <= blocking.bad.count);
    assert!(skipping.entries.iter().all(|entry| blocking.entries.contains(entry)));
    for tokens in &lines {
        for address in addresses(tokens).filter(|_| !tokens.iter().any(|token| token.contains(':'))) {
            let is_name = |token: &String| blocking.names.iter().any(|name| token.starts_with(&name.name));
            assert!(holds(&blocking, address) || tokens.iter().any(is_name), "{address} in {tokens:?}");
        }
    }
    for token in lines.iter().flatten() {
        if let Some(network) = short_network(token) {
            let covers =
                |range: AddressRange| range.first() <= network.first() && range.last() >= network.last();
            assert!(blocking.entries.iter().any(|entry| covers(entry.range)), "{network} for {token}");
        }
        if let Some(address) = token.parse().ok().and_then(led_to) {
            assert!(holds(&blocking, address), "{address} in {token}");
        }
    }
    match List::parse("list", bytes, Purpose::Probe, OnBadEntry::Fail) {
        Ok(list) => {
            let blocked =
                List::parse("list", bytes, Purpose::Block, OnBadEntry::Fail).expect("the same grammar");
            assert_eq!(count(&blocked), count(&list));
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
