//! The grammar of a list's line.
//!
//! An entry is an address, a prefix (host bits are masked) or a range `a-b`. `#` starts a comment anywhere; of what is
//! left the first blank-separated word counts; a line without one is blank.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::ranges::AddressRange;

/// What is wrong with an entry; the text includes the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It looks like a host name.
    #[error("is a host name, and names are not looked up: give its addresses")]
    HostName,
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
    /// IPv6 addresses.
    Ipv6,
    /// This word, which is none of the forms.
    Bad(&'a [u8], Problem),
}

/// Reads one line, its line end left out or not.
pub(super) fn parse_line(line: &[u8]) -> Line<'_> {
    let entry = line.split(|&byte| byte == b'#').next().unwrap_or_default();
    let mut words = entry.split(|&byte| is_blank(byte)).filter(|word| !word.is_empty());
    let Some(word) = words.next() else { return Line::Blank };
    // All forms are ASCII; what is not UTF-8 becomes a word that is none of them.
    let text = str::from_utf8(word).unwrap_or_default();
    if is_ipv6(text) {
        return Line::Ipv6;
    }
    match parse_range(text) {
        Ok(_) if continues_range(words) => Line::Bad(word, Problem::SpacedRange),
        Ok(range) => Line::Range(range),
        Err(problem) => Line::Bad(word, problem),
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
    }
}
