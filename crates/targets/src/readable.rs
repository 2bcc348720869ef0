//! Finds every IPv4 address in text that is not an entry of a list, whatever the words around it.
//!
//! It is for block lists with lines that are not in the form of a list. So of two readings the wider counts: the
//! addresses on both sides of a `-` or a `to` are a range, and an address before a prefix length or a netmask is a
//! network. Addresses in IPv6's form count (`embedded.rs`), and so do networks in short forms (`shorthand.rs`).

use std::net::Ipv4Addr;

use super::ranges::AddressRange;
use super::{embedded, shorthand};

/// The texts between the ends of a range.
const TO: [&str; 8] = ["-", "\u{2013}", "\u{2014}", "to", "through", "thru", "until", ".."];
/// The texts between an address and its netmask.
const MASK: [&str; 4] = ["", "/", "mask", "netmask"];

/// An address in a text.
#[derive(Clone, Copy, Debug)]
struct FoundAddress {
    start: usize,
    /// One past its last byte, or past the last byte of the prefix length after it.
    end: usize,
    address: Ipv4Addr,
    range: AddressRange,
}

/// Every address in `text`, in ranges, ascending.
pub fn ranges(text: &[u8]) -> Vec<AddressRange> {
    let found = quads(text);
    let mut ranges: Vec<AddressRange> = found.iter().map(|found| found.range).collect();
    for pair in found.windows(2) {
        let [one, other] = [pair[0], pair[1]];
        let gap = gap(&text[one.end..other.start]);
        if TO.contains(&gap.as_str()) {
            let first = one.range.first().min(other.range.first());
            ranges.extend(AddressRange::new(first, one.range.last().max(other.range.last())));
        } else if MASK.contains(&gap.as_str())
            && let Some(bits) = mask_bits(other.address)
        {
            ranges.push(AddressRange::prefix(one.address, bits));
        }
    }
    ranges.extend(found.iter().filter_map(|found| short_range(*found, &text[found.end..])));
    ranges.extend(in_ipv6(text));
    ranges.extend(shorthand::ranges(text));
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

/// The number of bits of a netmask, or of a wildcard mask, which is an inverted one.
pub(super) fn mask_bits(mask: Ipv4Addr) -> Option<u32> {
    let mask = mask.to_bits();
    let is_mask = |mask: u32| mask.leading_ones() + mask.trailing_zeros() >= 32;
    match mask {
        _ if is_mask(mask) => Some(mask.leading_ones()),
        _ if is_mask(!mask) => Some(mask.leading_zeros()),
        _ => None,
    }
}

/// The dotted quads, in order. Numbers with leading zeros are decimal here.
fn quads(text: &[u8]) -> Vec<FoundAddress> {
    let mut found = vec![];
    let mut at = 0;
    while at < text.len() {
        let len = text[at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        let (mut start, run_end) = (at, at + len);
        while start < run_end {
            // Two dots separate addresses.
            let dots = text[start..run_end].windows(2).position(|pair| pair == b"..");
            let end = dots.map_or(run_end, |dots| start + dots);
            found.extend(quad(text, start, end));
            start = end + 2;
        }
        at += len.max(1);
    }
    found
}

/// The quad in `text[start..end]`, without dots around it.
fn quad(text: &[u8], start: usize, end: usize) -> Option<FoundAddress> {
    let run = &text[start..end];
    let lead = run.iter().take_while(|byte| **byte == b'.').count();
    let trail = run.iter().rev().take_while(|byte| **byte == b'.').count();
    let inner = run.get(lead..run.len().checked_sub(trail)?)?;
    let number = |part: &[u8]| str::from_utf8(part).ok()?.parse::<u8>().ok();
    let parts: Option<Vec<u8>> = inner.split(|&byte| byte == b'.').map(number).collect();
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(parts?).ok()?);
    let (start, mut end) = (start + lead, end - trail);
    let mut bits = 32;
    if let Some((digits, len)) = digits_behind(&text[end..]) {
        // After an address in IPv6's form the length counts 96 bits more.
        let is_in_ipv6 = start > 0 && text[start - 1] == b':';
        let length = match is_in_ipv6 {
            true => digits.parse::<u32>().ok().and_then(|length| length.checked_sub(96)),
            false => shorthand::prefix_length(digits),
        };
        if let Some(length) = length.filter(|&length| length <= 32) {
            bits = length;
            end += len;
        }
    }
    Some(FoundAddress { start, end, address, range: AddressRange::prefix(address, bits) })
}

/// The digits after a slash, with or without blanks around it, and the number of bytes of all that.
fn digits_behind(text: &[u8]) -> Option<(&str, usize)> {
    let slash = skip_blanks(text, 0);
    (text.get(slash) == Some(&b'/')).then_some(())?;
    digits_at(text, skip_blanks(text, slash + 1))
}

/// The digits at `start`, unless they are followed by more of an address, and their end.
fn digits_at(text: &[u8], start: usize) -> Option<(&str, usize)> {
    let len = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let goes_on =
        text.get(start + len) == Some(&b'.') && text.get(start + len + 1).is_some_and(u8::is_ascii_digit);
    if len == 0 || goes_on {
        return None;
    }
    Some((str::from_utf8(&text[start..start + len]).ok()?, start + len))
}

fn skip_blanks(text: &[u8], start: usize) -> usize {
    start + text[start..].iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b'\x0b').count()
}

/// `192.0.2.1-9`: a range whose end is only the last number.
fn short_range(found: FoundAddress, behind: &[u8]) -> Option<AddressRange> {
    let sign = skip_blanks(behind, 0);
    (found.range.len() == 1 && behind.get(sign) == Some(&b'-')).then_some(())?;
    let (last, _) = digits_at(behind, skip_blanks(behind, sign + 1))?;
    let address = found.address.to_bits();
    let other = address & !0xff | u32::from(last.parse::<u8>().ok()?);
    AddressRange::new(address.min(other), address.max(other))
}

/// The text between two addresses, without blanks, quotes, brackets and the start of an IPv4-mapped address.
fn gap(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let around = |c: char| c.is_whitespace() || "\"'`()[]<>{}".contains(c);
    let text = text.trim_matches(around);
    text.strip_suffix("::ffff:").unwrap_or(text).trim_matches(around).to_owned()
}

/// IPv4 addresses in the form of IPv6, which may have hexadecimal bits.
fn in_ipv6(text: &[u8]) -> Vec<AddressRange> {
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let mut found = vec![];
    let mut at = 0;
    while at < text.len() {
        let len = text[at..].iter().take_while(|byte| is_part(byte)).count();
        let word = str::from_utf8(&text[at..at + len]).unwrap_or_default();
        // Punctuation at the end of a clause does not belong to it.
        let address =
            [word, word.trim_end_matches(['.', ':'])].into_iter().find_map(|word| word.parse().ok());
        if let Some((address, before)) = address.and_then(embedded::held_by) {
            let length = digits_behind(&text[at + len..]).and_then(|(digits, _)| digits.parse::<u32>().ok());
            let bits = length.and_then(|length| length.checked_sub(before));
            found.push(AddressRange::prefix(address, bits.unwrap_or(32).min(32)));
        }
        at += len.max(1);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ranges::RangeSet;
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let set: RangeSet = ranges(text.as_bytes()).into_iter().collect();
        set.ranges().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_wording() {
        for (text, expected) in [
            ("192.0.2.1 192.0.2.9", &["192.0.2.1", "192.0.2.9"][..]),
            ("192.0.2.1,192.0.2.9;192.0.2.12", &["192.0.2.1", "192.0.2.9", "192.0.2.12"]),
            ("\"192.0.2.1\"", &["192.0.2.1"]),
            ("please leave 192.0.2.1.", &["192.0.2.1"]),
            ("http://192.0.2.1:80/", &["192.0.2.1"]),
            ("192.0.2.1 to 192.0.2.2", &["192.0.2.1-192.0.2.2"]),
            ("192.0.2.9 - 192.0.2.8", &["192.0.2.8/31"]),
            ("192.0.2.8..192.0.2.9", &["192.0.2.8/31"]),
            ("192.0.2.8 \u{2013} 192.0.2.9", &["192.0.2.8/31"]),
            ("\"192.0.2.8\"-\"192.0.2.9\"", &["192.0.2.8/31"]),
            ("192.0.2.1-4", &["192.0.2.1-192.0.2.4"]),
            ("192.0.2.1 - 4", &["192.0.2.1-192.0.2.4"]),
            ("192.0.2.0/24 x", &["192.0.2.0/24"]),
            ("192.0.2.0 /24", &["192.0.2.0/24"]),
            ("192.0.2.0/ 24", &["192.0.2.0/24"]),
            ("192.0.2.0/33", &["192.0.2.0"]),
            ("192.0.2.0 255.255.255.252", &["192.0.2.0/30", "255.255.255.252"]),
            ("192.0.2.0/255.255.255.252", &["192.0.2.0/30", "255.255.255.252"]),
            ("192.0.2.0 netmask 255.255.255.252", &["192.0.2.0/30", "255.255.255.252"]),
            ("192.0.2.0 0.0.0.3", &["0.0.0.3", "192.0.2.0/30"]),
            ("192.000.002.001", &["192.0.2.1"]),
            ("::ffff:192.0.2.0/120 x", &["192.0.2.0/24"]),
            ("::ffff:192.0.2.8-::ffff:192.0.2.9 x", &["192.0.2.8/31"]),
            ("::FFFF:c000:201 x", &["192.0.2.1"]),
            ("::ffff:c000:200/126 x", &["192.0.2.0/30"]),
            ("::c000:201 and 64:ff9b::c000:203, 2002:c000:205::1.", &["192.0.2.1", "192.0.2.3", "192.0.2.5"]),
            ("64:ff9b::192.0.2.0/120 2002:c000:300::/40", &["192.0.2.0/23"]),
            ("10.0.0.0/30-10.0.0.8/30", &["10.0.0.0-10.0.0.11"]),
            ("192.0.2/24 192.0.3.*", &["192.0.2.0/23"]),
            ("0192.0.2.1", &["192.0.2.1"]),
            ("192.0.2.0/031", &["192.0.2.0/25"]),
            ("in 192.0.2", &[]),
            ("x 192.0.2.256 1.2.3.4.5 1..2.3.4 1.2.3.1234", &[]),
            ("2001:db8::1 example.org", &[]),
            ("", &[]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn masks() {
        let bits = |text: &str| mask_bits(text.parse().unwrap());
        for (mask, expected) in [
            ("255.255.255.252", Some(30)),
            ("255.255.255.255", Some(32)),
            ("0.0.0.0", Some(0)),
            ("128.0.0.0", Some(1)),
            ("0.0.0.255", Some(24)),
            ("255.0.255.0", None),
            ("192.0.2.1", None),
        ] {
            assert_eq!(bits(mask), expected, "{mask}");
        }
    }

    proptest! {
        /// An address is found wherever it is, unless it is part of a longer number.
        #[test]
        fn addresses_are_found(
            before in "([a-z0-9./ -]{0,12}[ ,;:|\"=(/-])?",
            address: u32,
            after in "([ ,;:|\")/-][a-z0-9./ -]{0,12})?",
        ) {
            let text = format!("{before}{}{after}", Ipv4Addr::from_bits(address));
            let found = ranges(text.as_bytes());
            prop_assert!(found.iter().any(|range| range.contains(address)), "{}: {:?}", text, found);
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[0-9./: f-]{0,60}") {
            let _ = (ranges(&bytes), ranges(text.as_bytes()));
        }
    }
}
