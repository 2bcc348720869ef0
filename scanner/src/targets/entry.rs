//! The grammar of a list's line.
//!
//! An entry is an address, a prefix (host bits are masked), a range `a-b`, or a host name with or without a prefix
//! length; of a pair list, an address and a port as `192.0.2.1:80` or `192.0.2.1,80`. `#` starts a comment anywhere; of what is
//! left the first blank-separated word counts; a line without one is blank.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::ranges::AddressRange;

/// What is wrong with an entry; the text includes the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A host name, in a list that takes none.
    #[error("is a host name, and this list takes addresses: give its addresses")]
    HostName,
    /// Not an address and a port.
    #[error("is not an IPv4 address and a port: write it as 192.0.2.1:80 or 192.0.2.1,80")]
    NotAPair,
    /// It is none of the forms.
    #[error(
        "is not an IPv4 address, prefix or range: write it as 192.0.2.1, 192.0.2.0/24 or 192.0.2.1-192.0.2.9"
    )]
    NotAnAddress,
    /// The part after the slash is not a number from 0 to 32.
    #[error("has a bad prefix length: write a number from 0 to 32 after the slash")]
    PrefixLength,
    /// A range whose first address is above its last.
    #[error("runs backwards: write the lower address first")]
    Backwards,
    /// A range with blanks in it, of which only the first address would count.
    #[error("starts a range with blanks in it: write it without, as 192.0.2.1-192.0.2.9")]
    SpacedRange,
}

/// What one line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Nothing.
    Blank,
    /// These addresses.
    Range(AddressRange),
    /// The addresses of this host, or the prefixes of so many bits that they lie in.
    Name(&'a str, u32),
    /// IPv6 addresses.
    Ipv6,
    /// This word, which is none of the forms.
    Bad(&'a [u8], Problem),
}

/// Reads one line, its line end left out or not.
pub(super) fn parse_line(line: &[u8]) -> Line<'_> {
    let mut words = words(line);
    let Some(word) = words.next() else { return Line::Blank };
    // All forms are ASCII; what is not UTF-8 becomes a word that is none of them.
    let text = str::from_utf8(word).unwrap_or_default();
    if is_ipv6(text) {
        return Line::Ipv6;
    }
    match parse_range(text) {
        Ok(_) if continues_range(words) => Line::Bad(word, Problem::SpacedRange),
        Ok(range) => Line::Range(range),
        Err(Problem::HostName) => parse_name(text)
            .map_or_else(|problem| Line::Bad(word, problem), |(name, bits)| Line::Name(name, bits)),
        Err(problem) => Line::Bad(word, problem),
    }
}

/// What one line of a pair list says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PairLine<'a> {
    /// Nothing.
    Blank,
    /// This pair.
    Pair(u32, u16),
    /// An IPv6 address and a port.
    Ipv6,
    /// This word, which is no pair.
    Bad(&'a [u8], Problem),
}

/// Reads one line of a pair list, its line end left out or not.
pub(super) fn parse_pair_line(line: &[u8]) -> PairLine<'_> {
    let Some(word) = words(line).next() else { return PairLine::Blank };
    let Some(at) = word.iter().rposition(|&byte| matches!(byte, b':' | b',')) else {
        return PairLine::Bad(word, Problem::NotAPair);
    };
    let (address, port) = (&word[..at], str::from_utf8(&word[at + 1..]).unwrap_or_default());
    let port = if port.starts_with('+') { None } else { port.parse::<u16>().ok() };
    match (parse_address(address), port) {
        (Some(address), Some(port)) => PairLine::Pair(address, port),
        (None, Some(_)) if is_ipv6_before_port(address, word[at]) => PairLine::Ipv6,
        _ => PairLine::Bad(word, Problem::NotAPair),
    }
}

/// Whether an IPv6 address stands before a port: `[::1]:80`, `[::1],80` or `::1,80`.
fn is_ipv6_before_port(address: &[u8], separator: u8) -> bool {
    let text = str::from_utf8(address).unwrap_or_default();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inner = inner.or((separator == b',').then_some(text));
    inner.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// A dotted IPv4 address and nothing else, as a number: what `Ipv4Addr`'s `FromStr` takes, in less time.
#[inline]
pub(crate) fn parse_address(text: &[u8]) -> Option<u32> {
    let (mut address, mut part, mut digits, mut dots) = (0u32, 0u32, 0, 0);
    if text.len() > 15 {
        return None;
    }
    for &byte in text {
        match byte {
            // A zero in front could mean octal, so it is refused.
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

/// The words of a line that are no comment.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let entry = line.split(|&byte| byte == b'#').next().unwrap_or_default();
    entry.split(|&byte| is_blank(byte)).filter(|word| !word.is_empty())
}

/// A host name and the length of the prefix of its addresses.
fn parse_name(text: &str) -> Result<(&str, u32), Problem> {
    match text.split_once('/') {
        Some((name, length)) => Ok((name, parse_length(length, 32).ok_or(Problem::PrefixLength)?)),
        None => Ok((text, 32)),
    }
}

/// What C's `isspace` calls a blank: `\r` of a CRLF line end is one.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c')
}

/// Whether the words after an entry go on as `- 192.0.2.9` or `-192.0.2.9`. Words after the first do not count, but
/// here that would turn a range into one address: a block list would let the rest through.
fn continues_range<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> bool {
    let Some(end) = words.next().and_then(|word| word.strip_prefix(b"-")) else { return false };
    let end = if end.is_empty() { words.next().unwrap_or_default() } else { end };
    str::from_utf8(end).is_ok_and(|end| end.parse::<Ipv4Addr>().is_ok())
}

/// Whether `text` is an IPv6 address, prefix or range.
fn is_ipv6(text: &str) -> bool {
    if !text.contains(':') {
        return false;
    }
    let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
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
/// It is none of them.
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
    // A name may hold a hyphen, so it must not be split.
    let Some((first, last)) = text.split_once('-').filter(|_| !is_host_name(text)) else {
        return Err(not_an_address(text));
    };
    let (first, last) = (address(first)?, address(last)?);
    AddressRange::new(first.to_bits(), last.to_bits()).ok_or(Problem::Backwards)
}

/// A prefix length up to `max`; `FromStr` alone would take a sign, too.
fn parse_length(text: &str, max: u32) -> Option<u32> {
    if text.starts_with('+') { None } else { text.parse().ok().filter(|&length| length <= max) }
}

fn not_an_address(text: &str) -> Problem {
    if is_host_name(text) { Problem::HostName } else { Problem::NotAnAddress }
}

/// Whether `text` has a letter and nothing that no host name has.
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
        fn pairs_are_parsed_back(address: u32, port: u16, separator in "[:,]", after in "( .*|[ \t]*#.*)?") {
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
        for text in
            ["192.0.2.1:80", "192.0.2.1,80", "\t192.0.2.1:080\r", "192.0.2.1,80#,90", "192.0.2.1:80 x"]
        {
            assert_eq!(parse_pair_line(text.as_bytes()), PairLine::Pair(0xc000_0201, 80), "{text}");
        }
        for text in ["[2001:db8::1]:80", "[::1],80", "::1,80"] {
            assert_eq!(parse_pair_line(text.as_bytes()), PairLine::Ipv6, "{text}");
        }
        for text in [
            "192.0.2.1",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:-1",
            "192.0.2.1:+1",
            ":80",
            "a:80",
            "192.0.2.0/24:80",
            "192.0.2.1, 80",
            "192.0.2.1:80:81",
            "saddr,sport",
            "::1",
            "2001:db8::1:80",
        ] {
            assert_eq!(
                parse_pair_line(text.as_bytes()),
                PairLine::Bad(text.split(' ').next().unwrap().as_bytes(), Problem::NotAPair),
                "{text}"
            );
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
    }
}
