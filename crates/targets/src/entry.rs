//! The grammar of a line, for all lists: one entry, or none.
//!
//! An entry is an address, a prefix (host bits are masked), a range `a-b`, an AS number such as `AS64500`, or a host
//! name with or without a prefix length. In a pair list it is an address and a port, as `192.0.2.1:80` or
//! `192.0.2.1,80`. An IPv4-mapped IPv6 address stands for its IPv4 address. Numbers have no leading zeros, which some
//! programs read as octal. `#` starts a comment anywhere, `;` at the start of a line or after a blank. A line without
//! an entry is blank. What always holds: a line is parsed to its end, or it is bad; no part of it is ignored.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::embedded::{led_to, mapped};
use super::problem::Problem;
use super::ranges::{AddressRange, parse_length};
use super::readable::mask_bits;
use super::system_number::named;

/// The header row of a scan's results with one column.
const HEADER: &[u8] = b"saddr";
/// The header rows of results with two columns that are pairs.
const PAIR_HEADERS: [&[u8]; 2] = [b"saddr,sport", b"target,target_port"];

/// The content of one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Nothing.
    Blank,
    /// These addresses.
    Range(AddressRange),
    /// The addresses of this host, or the prefixes of this length around them.
    Name(&'a str, u32),
    /// The networks of this autonomous system, as it is written; `None` if there is no such number.
    System(&'a str, Option<u32>),
    /// IPv6 addresses, and the IPv4 hosts that they lead to, if they contain any.
    Ipv6(Option<AddressRange>),
    /// This entry, which has none of the forms.
    Bad(&'a [u8], Problem),
}

/// Parses one line, with or without its line end.
pub(super) fn parse_line(line: &[u8]) -> Line<'_> {
    if let Some(address) = parse_address(line) {
        return Line::Range(AddressRange::prefix(Ipv4Addr::from_bits(address), 32));
    }
    let entry = entry(line);
    if entry.is_empty() {
        return Line::Blank;
    }
    // All forms are ASCII, so text that is not UTF-8 has none of them.
    let text = str::from_utf8(entry).unwrap_or_default();
    if entry.iter().any(|&byte| is_blank(byte)) {
        return Line::Bad(entry, of_words(text));
    }
    if let Some(range) = mapped(text) {
        return Line::Range(range);
    }
    if is_ipv6(text) {
        return Line::Ipv6(led_to(text));
    }
    if let Some(number) = named(text) {
        return Line::System(text, number);
    }
    match parse_range(text) {
        Ok(range) => Line::Range(range),
        Err(Problem::HostName) => parse_name(text)
            .map_or_else(|problem| Line::Bad(entry, problem), |(name, bits)| Line::Name(name, bits)),
        Err(problem) => Line::Bad(entry, of_word(text).unwrap_or(problem)),
    }
}

/// The content of one line of a pair list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PairLine<'a> {
    /// Nothing.
    Blank,
    /// This pair.
    Pair(u32, u16),
    /// An IPv6 address and a port.
    Ipv6,
    /// This entry, which is not a pair.
    Bad(&'a [u8], Problem),
}

/// Parses one line of a pair list, with or without its line end.
pub(super) fn parse_pair_line(line: &[u8]) -> PairLine<'_> {
    let entry = entry(line);
    if entry.is_empty() {
        return PairLine::Blank;
    }
    if let Some(pair) = parse_pair(entry) {
        return pair;
    }
    let words = || entry.split(|&byte| is_blank(byte)).filter(|word| !word.is_empty());
    let problem = match words().filter(|word| parse_pair(word).is_some()).count() {
        0 => Problem::NotAPair,
        1 if words().next().and_then(parse_pair).is_some() => Problem::Trailing,
        1 => Problem::NotAPair,
        _ => Problem::Several,
    };
    PairLine::Bad(entry, problem)
}

/// An address and a port, and nothing more.
fn parse_pair(word: &[u8]) -> Option<PairLine<'static>> {
    let at = word.iter().rposition(|&byte| matches!(byte, b':' | b','))?;
    let (address, port) = (&word[..at], str::from_utf8(&word[at + 1..]).ok()?);
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse::<u16>().ok())??;
    if let Some(address) = parse_address(address) {
        return Some(PairLine::Pair(address, port));
    }
    let address = ipv6_before_port(address, word[at])?;
    let mapped = address.to_ipv4_mapped();
    Some(mapped.map_or(PairLine::Ipv6, |address| PairLine::Pair(address.to_bits(), port)))
}

/// The IPv6 address before a port: `[::1]:80`, `[::1],80` or `::1,80`.
fn ipv6_before_port(address: &[u8], separator: u8) -> Option<Ipv6Addr> {
    let text = str::from_utf8(address).ok()?;
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.or((separator == b',').then_some(text))?.parse().ok()
}

/// The addresses that a line of a list, or of a pair list, gives as numbers; `None` if it does not.
pub fn parse_entry(line: &[u8]) -> Option<AddressRange> {
    match (parse_line(line), parse_pair_line(line)) {
        (Line::Range(range), _) => Some(range),
        (_, PairLine::Pair(address, _)) => AddressRange::new(address, address),
        _ => None,
    }
}

/// Whether a line is the header row of a scan's results with an entry in each row.
pub(super) fn is_header(line: &[u8]) -> bool {
    entry(line) == HEADER
}

/// The same for a pair list.
pub(super) fn is_pair_header(line: &[u8]) -> bool {
    PAIR_HEADERS.contains(&entry(line))
}

/// The host name that a bad entry begins with, if it is more than a plain word: it has a dot.
pub(super) fn leading_name(entry: &[u8]) -> Option<(&str, u32)> {
    let word = words(str::from_utf8(entry).ok()?).next()?.trim_end_matches([',', ';']);
    let is_name = word.contains('.') && parse_range(word) == Err(Problem::HostName);
    is_name.then(|| parse_name(word).ok())?
}

/// A dotted IPv4 address and nothing more, as a number: the same as `Ipv4Addr`'s `FromStr` accepts, but faster.
#[inline]
pub fn parse_address(text: &[u8]) -> Option<u32> {
    let (mut address, mut part, mut digits, mut dots) = (0u32, 0u32, 0, 0);
    if text.len() > 15 {
        return None;
    }
    for &byte in text {
        match byte {
            // A leading zero could mean octal, so it is refused.
            b'0'..=b'9' if digits == 0 || part != 0 => {
                part = part * 10 + u32::from(byte - b'0');
                digits += 1;
                if part > 255 {
                    return None;
                }
            }
            b'.' if digits > 0 && dots < 3 => {
                address = address << 8 | part;
                (part, digits, dots) = (0, 0, dots + 1);
            }
            _ => return None,
        }
    }
    (digits > 0 && dots == 3).then_some(address << 8 | part)
}

/// A line without its comment and the blanks around it.
fn entry(line: &[u8]) -> &[u8] {
    let entry = &line[..comment(line).unwrap_or(line.len())];
    let start = entry.iter().take_while(|&&byte| is_blank(byte)).count();
    let blanks = entry[start..].iter().rev().take_while(|&&byte| is_blank(byte)).count();
    &entry[start..entry.len() - blanks]
}

/// Where the comment of a line starts.
pub(super) fn comment(line: &[u8]) -> Option<usize> {
    let starts = |&at: &usize| line[at] == b'#' || at == 0 || is_blank(line[at - 1]);
    memchr::memchr2_iter(b'#', b';', line).find(starts)
}

/// The blanks of C's `isspace`. They include line ends, which matter in an argument.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'\x0b' | b'\x0c')
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_ascii() && is_blank(c as u8)).filter(|word| !word.is_empty())
}

/// The problem with an entry of several words.
fn of_words(text: &str) -> Problem {
    let first: Vec<&str> = words(text).take(6).collect();
    match joined(&first).map(|joined| parse_range(&joined)) {
        Some(Ok(range)) => return Problem::Spaced(range),
        Some(Err(Problem::Backwards)) => return Problem::Backwards,
        _ => {}
    }
    if let [address, mask] = first[..]
        && let (Ok(address), Ok(mask)) = (address.parse(), mask.parse())
        && let Some(bits) = mask_bits(mask)
    {
        return Problem::Netmask(AddressRange::prefix(address, bits));
    }
    let is_entry = |word: &&str| is_entry(word.trim_matches([',', ';']));
    if words(text).filter(is_entry).nth(1).is_some() { Problem::Several } else { Problem::Trailing }
}

/// The words of a range or prefix with blanks in it, joined into one.
fn joined(words: &[&str]) -> Option<String> {
    if let [first, "to" | "through" | "thru" | "until" | "..", last] = words {
        return Some(format!("{first}-{last}"));
    }
    let belong = |pair: &[&str]| pair[0].ends_with(['-', '/']) || pair[1].starts_with(['-', '/']);
    (words.len() < 6 && words.windows(2).all(belong)).then(|| words.concat())
}

/// The problem with a word that is not an entry, if it is a known one.
fn of_word(text: &str) -> Option<Problem> {
    if let Some((address, mask)) = text.split_once('/')
        && let (Ok(address), Ok(mask)) = (address.parse(), mask.parse())
    {
        return mask_bits(mask).map(|bits| Problem::Netmask(AddressRange::prefix(address, bits)));
    }
    let parts = text.split([',', ';']).filter(|part| is_entry(part));
    (parts.take(2).count() == 2).then_some(Problem::Several)
}

/// Whether a word could be an entry alone, and is not a plain word of a language.
fn is_entry(word: &str) -> bool {
    parse_range(word).is_ok()
        || mapped(word).is_some()
        || is_ipv6(word)
        || word.contains('.') && parse_range(word) == Err(Problem::HostName) && parse_name(word).is_ok()
}

/// A host name and the length of the prefix of its addresses.
fn parse_name(text: &str) -> Result<(&str, u32), Problem> {
    match text.split_once('/') {
        Some((name, length)) => Ok((name, parse_length(length, 32).ok_or(Problem::PrefixLength)?)),
        None => Ok((text, 32)),
    }
}

/// Whether `text` is an IPv6 address, prefix or range without any IPv4 address.
fn is_ipv6(text: &str) -> bool {
    if !text.contains(':') {
        return false;
    }
    let is_address =
        |text: &str| text.parse::<Ipv6Addr>().is_ok_and(|address| address.to_ipv4_mapped().is_none());
    if let Some((address, length)) = text.split_once('/') {
        return is_address(address) && parse_length(length, 128).is_some();
    }
    match text.split_once('-') {
        Some((first, last)) => is_address(first) && is_address(last),
        None => is_address(text),
    }
}

/// An IPv4 address, prefix or range.
///
/// # Errors
/// It is not one of them.
pub fn parse_range(text: &str) -> Result<AddressRange, Problem> {
    let address = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| not_an_address(text));
    if let Some((network, length)) = text.split_once('/') {
        let network = address(network)?;
        let bits = parse_length(length, 32).ok_or(Problem::PrefixLength)?;
        return Ok(AddressRange::prefix(network, bits));
    }
    if let Ok(single) = text.parse() {
        return Ok(AddressRange::prefix(single, 32));
    }
    // A host name may contain a hyphen, so it must not be split.
    let Some((first, last)) = text.split_once('-').filter(|_| !is_host_name(text)) else {
        return Err(not_an_address(text));
    };
    let end = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| Problem::NotAnAddress);
    let (first, last) = (end(first)?, end(last)?);
    AddressRange::new(first.to_bits(), last.to_bits()).ok_or(Problem::Backwards)
}

fn not_an_address(text: &str) -> Problem {
    if is_host_name(text) { Problem::HostName } else { Problem::NotAnAddress }
}

/// Whether `text` has a letter and only characters of host names.
fn is_host_name(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_displayed_is_parsed_back(first: u32, last: u32, bits in 0u32..=32) {
            let (first, last) = (first.min(last), first.max(last));
            let range = AddressRange::new(first, last).unwrap();
            let prefix = AddressRange::prefix(Ipv4Addr::from_bits(first), bits);
            prop_assert_eq!(parse_range(&range.to_string()), Ok(range));
            prop_assert_eq!(parse_range(&prefix.to_string()), Ok(prefix));
        }

        #[test]
        fn addresses_are_what_the_standard_library_takes(
            address: u32,
            near in "[0-9]{0,4}[.,][0-9]{1,3}[.][0-9]{1,3}[.][0-9]{0,3}[.]?",
        ) {
            let text = Ipv4Addr::from_bits(address).to_string();
            prop_assert_eq!(parse_address(text.as_bytes()), Some(address));
            let expected = near.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits);
            prop_assert_eq!(parse_address(near.as_bytes()), expected);
        }

        #[test]
        fn pairs_are_parsed_back(address: u32, port: u16, separator in "[:,]", after in "[ \t]*(#.*|[ \t];.*)?") {
            let text = format!("{}{separator}{port}{after}", Ipv4Addr::from_bits(address));
            prop_assert_eq!(parse_pair_line(text.as_bytes()), PairLine::Pair(address, port));
        }

        #[test]
        fn any_bytes_are_a_line(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[0-9.:,\\[\\]/a-f -]{0,40}") {
            for line in [&bytes, text.as_bytes()] {
                let _ = (parse_line(line), parse_pair_line(line), parse_address(line));
            }
        }
    }

    #[test]
    fn forms_of_a_pair() {
        for text in [
            "192.0.2.1:80",
            "192.0.2.1,80",
            "\t192.0.2.1:080\r",
            "192.0.2.1,80#,90",
            "192.0.2.1:80 ; x",
            "[::ffff:192.0.2.1]:80",
            "::ffff:c000:201,80",
        ] {
            assert_eq!(parse_pair_line(text.as_bytes()), PairLine::Pair(0xc000_0201, 80), "{text}");
        }
        for text in ["[2001:db8::1]:80", "[::1],80", "::1,80"] {
            assert_eq!(parse_pair_line(text.as_bytes()), PairLine::Ipv6, "{text}");
        }
        for (text, problem) in [
            ("192.0.2.1", Problem::NotAPair),
            ("192.0.2.1:", Problem::NotAPair),
            ("192.0.2.1:65536", Problem::NotAPair),
            ("192.0.2.1:-1", Problem::NotAPair),
            ("192.0.2.1:+1", Problem::NotAPair),
            (":80", Problem::NotAPair),
            ("a:80", Problem::NotAPair),
            ("192.0.2.0/24:80", Problem::NotAPair),
            ("192.0.2.1, 80", Problem::NotAPair),
            ("192.0.2.1 80", Problem::NotAPair),
            ("192.0.2.1:80:81", Problem::NotAPair),
            ("saddr,sport", Problem::NotAPair),
            ("::1", Problem::NotAPair),
            ("2001:db8::1:80", Problem::NotAPair),
            ("192.0.2.1:80 x", Problem::Trailing),
            ("x 192.0.2.1:80", Problem::NotAPair),
            ("192.0.2.1:80 192.0.2.1:81", Problem::Several),
            ("192.0.2.1:80;192.0.2.1:81", Problem::NotAPair),
        ] {
            assert_eq!(parse_pair_line(text.as_bytes()), PairLine::Bad(text.as_bytes(), problem), "{text}");
        }
        assert_eq!(parse_pair_line(b" # 192.0.2.1:80"), PairLine::Blank);
    }

    #[test]
    fn forms_of_a_name() {
        for (text, name) in [
            ("example.org", ("example.org", 32)),
            ("my-host # here", ("my-host", 32)),
            ("example.org/24", ("example.org", 24)),
            ("iterate.", ("iterate.", 32)),
            ("10.0.0.O", ("10.0.0.O", 32)),
        ] {
            assert_eq!(parse_line(text.as_bytes()), Line::Name(name.0, name.1), "{text}");
        }
        assert_eq!(parse_line(b"example.org/33"), Line::Bad(b"example.org/33", Problem::PrefixLength));
        assert_eq!(leading_name(b"example.org, 10.0.0.1"), Some(("example.org", 32)));
        assert_eq!(leading_name(b"10.0.0.1 example.org").or(leading_name(b"add 10.0.0.1")), None);
    }

    /// IPv4 addresses in the form of IPv6 are IPv4 addresses, and other IPv6 addresses are not.
    #[test]
    fn mapped_addresses() {
        for (text, expected) in [
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::FFFF:c000:201", "192.0.2.1"),
            ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.77/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:192.0.2.1-::ffff:192.0.2.9", "192.0.2.1-192.0.2.9"),
        ] {
            assert_eq!(parse_line(text.as_bytes()), Line::Range(parse_range(expected).unwrap()), "{text}");
        }
        for text in ["::192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201::/48"] {
            let host = Some(parse_range("192.0.2.1").unwrap());
            assert_eq!(parse_line(text.as_bytes()), Line::Ipv6(host), "{text}");
        }
        for text in ["::/0", "2001:db8::/32", "::1-::5"] {
            assert_eq!(parse_line(text.as_bytes()), Line::Ipv6(None), "{text}");
        }
        for text in [
            "::ffff:192.0.2.1/95",
            "::ffff:192.0.2.1/129",
            "::ffff:192.0.2.1/0120",
            "::ffff:192.0.2.9-::ffff:192.0.2.1",
            "::1-::ffff:192.0.2.1",
            "192.0.2.1-::ffff:192.0.2.9",
        ] {
            assert_eq!(
                parse_line(text.as_bytes()),
                Line::Bad(text.as_bytes(), Problem::NotAnAddress),
                "{text}"
            );
        }
    }

    #[test]
    fn comments_end_an_entry() {
        for (line, text) in [
            ("192.0.2.1#x", "192.0.2.1"),
            ("192.0.2.1 ; x # y", "192.0.2.1"),
            (" ;192.0.2.1", ""),
            ("; 192.0.2.1", ""),
            ("\t 192.0.2.1 \x0b\r", "192.0.2.1"),
            ("192.0.2.1;192.0.2.2", "192.0.2.1;192.0.2.2"),
        ] {
            assert_eq!(entry(line.as_bytes()), text.as_bytes(), "{line}");
        }
    }
}
