//! What can be read in a text that is no entry of a list: every IPv4 address in it, in whatever words.
//!
//! For what must not be probed, and is written as a list does not have it. So of two readings the wider counts: what stands on
//! both sides of a `-` or a `to` is a range, what a prefix length or a netmask follows is a network.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::ranges::AddressRange;

/// What stands between the ends of a range.
const TO: [&str; 8] = ["-", "\u{2013}", "\u{2014}", "to", "through", "thru", "until", ".."];
/// What stands between an address and its netmask.
const MASK: [&str; 4] = ["", "/", "mask", "netmask"];

/// An address in a text.
#[derive(Clone, Copy, Debug)]
struct Found {
    start: usize,
    /// One past its last byte, or that of the prefix length behind it.
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
    ranges.extend(mapped(text));
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

/// How many bits a netmask has, or a wildcard mask, which is one upside down.
pub(super) fn mask_bits(mask: Ipv4Addr) -> Option<u32> {
    let mask = mask.to_bits();
    let is_mask = |mask: u32| mask.leading_ones() + mask.trailing_zeros() >= 32;
    match mask {
        _ if is_mask(mask) => Some(mask.leading_ones()),
        _ if is_mask(!mask) => Some(mask.leading_zeros()),
        _ => None,
    }
}

/// The dotted quads, in order. Zeros in front of a number are decimal here.
fn quads(text: &[u8]) -> Vec<Found> {
    let mut found = vec![];
    let mut at = 0;
    while at < text.len() {
        let len = text[at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        let (mut start, run_end) = (at, at + len);
        while start < run_end {
            // Two dots stand between addresses.
            let dots = text[start..run_end].windows(2).position(|pair| pair == b"..");
            let end = dots.map_or(run_end, |dots| start + dots);
            found.extend(quad(text, start, end));
            start = end + 2;
        }
        at += len.max(1);
    }
    found
}

/// The quad that `text[start..end]` is, less dots around it.
fn quad(text: &[u8], start: usize, end: usize) -> Option<Found> {
    let run = &text[start..end];
    let lead = run.iter().take_while(|byte| **byte == b'.').count();
    let trail = run.iter().rev().take_while(|byte| **byte == b'.').count();
    let inner = run.get(lead..run.len().checked_sub(trail)?)?;
    let number = |part: &[u8]| {
        let digits = str::from_utf8(part).ok().filter(|digits| (1..=3).contains(&digits.len()))?;
        digits.parse::<u8>().ok()
    };
    let parts: Option<Vec<u8>> = inner.split(|&byte| byte == b'.').map(number).collect();
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(parts?).ok()?);
    let (start, mut end) = (start + lead, end - trail);
    let mut bits = 32;
    if let Some((length, len)) = length_behind(&text[end..]) {
        // Behind an IPv4-mapped address the length counts 96 bits more.
        let is_mapped = start > 0 && text[start - 1] == b':';
        let length = if is_mapped { length.checked_sub(96) } else { Some(length) };
        if let Some(length) = length.filter(|&length| length <= 32) {
            bits = length;
            end += len;
        }
    }
    Some(Found { start, end, address, range: AddressRange::prefix(address, bits) })
}

/// The number behind a slash, blanks around it or not, and how many bytes all that is.
fn length_behind(text: &[u8]) -> Option<(u32, usize)> {
    let slash = skip_blanks(text, 0);
    (text.get(slash) == Some(&b'/')).then_some(())?;
    let start = skip_blanks(text, slash + 1);
    let (number, end) = number_at(text, start)?;
    Some((number, end))
}

/// The number of up to three digits at `start`, unless an address goes on behind it, and where it ends.
fn number_at(text: &[u8], start: usize) -> Option<(u32, usize)> {
    let len = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let goes_on =
        text.get(start + len) == Some(&b'.') && text.get(start + len + 1).is_some_and(u8::is_ascii_digit);
    if !(1..=3).contains(&len) || goes_on {
        return None;
    }
    Some((str::from_utf8(&text[start..start + len]).ok()?.parse().ok()?, start + len))
}

fn skip_blanks(text: &[u8], start: usize) -> usize {
    start + text[start..].iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b'\x0b').count()
}

/// `192.0.2.1-9`: a range whose end is the last number alone.
fn short_range(found: Found, behind: &[u8]) -> Option<AddressRange> {
    let sign = skip_blanks(behind, 0);
    (found.range.len() == 1 && behind.get(sign) == Some(&b'-')).then_some(())?;
    let (last, _) = number_at(behind, skip_blanks(behind, sign + 1))?;
    let address = found.address.to_bits();
    let other = address & !0xff | u32::from(u8::try_from(last).ok()?);
    AddressRange::new(address.min(other), address.max(other))
}

/// What stands between two addresses, but for blanks, quotes, brackets and the front of an IPv4-mapped address.
fn gap(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let around = |c: char| c.is_whitespace() || "\"'`()[]<>{}".contains(c);
    let text = text.trim_matches(around);
    text.strip_suffix("::ffff:").unwrap_or(text).trim_matches(around).to_owned()
}

/// IPv4-mapped IPv6 addresses, which may have their last 32 bits in hexadecimal.
fn mapped(text: &[u8]) -> Vec<AddressRange> {
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let mut found = vec![];
    let mut at = 0;
    while at < text.len() {
        let len = text[at..].iter().take_while(|byte| is_part(byte)).count();
        let address = str::from_utf8(&text[at..at + len]).ok().and_then(|word| word.parse::<Ipv6Addr>().ok());
        if let Some(address) = address.and_then(|address| address.to_ipv4_mapped()) {
            let bits = length_behind(&text[at + len..]).and_then(|(length, _)| length.checked_sub(96));
            found.push(AddressRange::prefix(address, bits.filter(|&bits| bits <= 32).unwrap_or(32)));
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
            ("10.0.0.0/30-10.0.0.8/30", &["10.0.0.0-10.0.0.11"]),
            ("192.0.2", &[]),
            ("192.0.2.256 1.2.3.4.5 1..2.3.4 1.2.3.1234", &[]),
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
        /// Wherever an address stands, it is found, unless it is part of a longer number.
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
