//! Addresses and networks in forms that other programs use, but not lists.
//!
//! These are `198.18/16`, `198.18.1.*`, `198.18.1.x`, `198.18.1.`, `198.18.0-3.9` (nmap), and the forms of
//! inet_aton(3): fewer than four numbers, leading zeros (octal), `0xc6120101`, `3323068673`. They are read for block
//! lists, so both readings of an ambiguous text count. The shortest forms count only at the start of a text, because
//! elsewhere they are usually something else.

use std::net::Ipv4Addr;

use super::ranges::AddressRange;

/// A single number below this is probably not a whole address. Lower would block addresses for every number in a text;
/// higher would miss low addresses.
const WHOLE_MIN: u32 = 1 << 24;

/// Every network in `text` that is written in one of these ways.
pub(super) fn ranges(text: &[u8]) -> Vec<AddressRange> {
    let mut ranges = Vec::new();
    let mut is_first = true;
    for word in text.split(|byte| !is_part(*byte)).filter(|word| !word.is_empty()) {
        // All of it is ASCII.
        let word = str::from_utf8(word).unwrap_or_default().trim_matches(['/', '-']);
        read(word, is_first, &mut ranges);
        let inner = word.strip_prefix('[').map(|word| word.trim_end_matches(']'));
        inner.into_iter().for_each(|word| read(word, is_first, &mut ranges));
        is_first = false;
    }
    ranges
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'*' | b'-' | b'/' | b'[' | b']')
}

/// One of the numbers of an address: its lowest and its highest possible value.
#[derive(Clone, Copy, Debug)]
struct Part {
    kind: PartKind,
    /// `None` if it is not possible in an address.
    ends: Option<(u8, u8)>,
    /// Its value if a leading zero means octal.
    octal: Option<(u8, u8)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartKind {
    /// A number in the form of lists.
    Plain,
    /// A number with a leading zero or `0x`.
    Odd,
    /// From one number to another.
    Span,
    /// Any number.
    Any,
}

/// Parses a word, which may be the first of its text.
fn read(word: &str, is_first: bool, ranges: &mut Vec<AddressRange>) {
    let (body, length) = match word.split_once('/') {
        Some((body, length)) => (body, length_in_front(length)),
        None => (word, None),
    };
    ranges.extend(whole(body, is_first));
    let (body, is_open) = body.strip_suffix('.').map_or((body, false), |body| (body, true));
    let parts: Option<Vec<Part>> = body.split('.').take(5).map(part).collect();
    let Some(parts) = parts.filter(|parts| is_meant(parts, length, is_first)) else { return };
    ranges.extend(network(&parts, |part| part.ends, length));
    ranges.extend(network(&parts, |part| part.octal.or(part.ends), length));
    if length.is_none() && !is_open {
        ranges.extend(without_middle(&parts));
    }
}

/// Whether these parts are a network, rather than other numbers.
fn is_meant(parts: &[Part], length: Option<u32>, is_first: bool) -> bool {
    let given = parts.iter().take_while(|part| part.kind != PartKind::Any).count();
    let is_pattern = given < parts.len();
    match (parts.len(), given) {
        (5.., _) | (_, 0) => false,
        // Four plain numbers are read elsewhere.
        (4, _) => parts.iter().any(|part| part.kind != PartKind::Plain),
        (_, 1) => is_first && (length.is_some() || is_pattern),
        _ => is_first || length.is_some() || is_pattern,
    }
}

/// The address with fewer than four numbers; the last number is its end.
fn without_middle(parts: &[Part]) -> Option<AddressRange> {
    let (last, first) = parts.split_last().filter(|(_, first)| first.len() < 3)?;
    let mut octets = [0; 4];
    let number = |part: &Part| part.ends.filter(|(low, high)| low == high).map(|(number, _)| number);
    for (octet, part) in octets.iter_mut().zip(first) {
        *octet = number(part)?;
    }
    octets[3] = number(last)?;
    Some(AddressRange::prefix(Ipv4Addr::from(octets), 32))
}

/// A single number that is a whole address.
fn whole(word: &str, is_first: bool) -> Option<AddressRange> {
    let number = match hexadecimal(word) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None if is_first => number(word)?.0,
        None => return None,
    };
    (number >= WHOLE_MIN).then(|| AddressRange::prefix(Ipv4Addr::from_bits(number), 32))
}

fn part(text: &str) -> Option<Part> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let octet = |number: u32| u8::try_from(number).ok();
    if matches!(text, "*" | "x" | "X") {
        return Some(Part { kind: PartKind::Any, ends: Some((0, 255)), octal: None });
    }
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (number(first)?.0, number(last)?.0);
        let ends = octet(first.min(last))?..=octet(first.max(last))?;
        return Some(Part { kind: PartKind::Span, ends: Some(ends.into_inner()), octal: None });
    }
    if let Some(digits) = hexadecimal(text) {
        let value = u8::from_str_radix(digits, 16).ok()?;
        return Some(Part { kind: PartKind::Odd, ends: Some((value, value)), octal: None });
    }
    let (decimal, octal) = number(text)?;
    let ends = |value: u8| (value, value);
    let (decimal, octal) = (octet(decimal).map(ends), octal.and_then(octet).map(ends));
    let kind = if text.len() > 1 && text.starts_with('0') { PartKind::Odd } else { PartKind::Plain };
    decimal.or(octal).map(|_| Part { kind, ends: decimal, octal })
}

/// The digits after `0x`.
fn hexadecimal(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(digits)
}

/// The value of these digits, and their value if a leading zero means octal.
pub(super) fn number(digits: &str) -> Option<(u32, Option<u32>)> {
    let decimal = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    let is_octal = digits.len() > 1 && digits.starts_with('0');
    Some((decimal, is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()))
}

/// The length of a prefix: the shorter of two readings, which gives the wider network.
pub(super) fn prefix_length(digits: &str) -> Option<u32> {
    let (decimal, octal) = number(digits)?;
    [Some(decimal), octal].into_iter().flatten().filter(|&length| length <= 32).min()
}

/// The prefix length at the start of `text`.
fn length_in_front(text: &str) -> Option<u32> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    prefix_length(digits).filter(|_| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// All addresses from the lowest to the highest that `parts` may mean, by the `ends` of each.
fn network(
    parts: &[Part],
    ends: impl Fn(&Part) -> Option<(u8, u8)>,
    length: Option<u32>,
) -> Option<AddressRange> {
    let missing = if length.is_some() { 0 } else { 255 };
    let (mut low, mut high) = ([0; 4], [missing; 4]);
    for (i, part) in parts.iter().enumerate() {
        (low[i], high[i]) = ends(part)?;
    }
    let of = |octets: [u8; 4]| AddressRange::prefix(Ipv4Addr::from(octets), length.unwrap_or(32));
    AddressRange::new(of(low).first(), of(high).last())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ranges::RangeSet;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let set: RangeSet = ranges(text.as_bytes()).into_iter().collect();
        set.ranges().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("198.18/16", &["198.18.0.0/16"][..]),
            ("198.18.1/24", &["198.18.1.0/24"]),
            ("\"198.18.1/24\" theirs", &["198.18.1.0/24"]),
            ("not 198.18/16, please", &["198.18.0.0/16"]),
            ("10/8 is private", &["10.0.0.0/8"]),
            ("198.18.1.*", &["198.18.1.0/24"]),
            ("198.18.*.*", &["198.18.0.0/16"]),
            ("198.18.*", &["198.18.0.0/16"]),
            ("198.*", &["198.0.0.0/8"]),
            ("198.18.1.x", &["198.18.1.0/24"]),
            ("all of 198.18.X.X!", &["198.18.0.0/16"]),
            ("198.18.1.", &["198.18.1.0/24"]),
            ("198.18.", &["198.18.0.0/16"]),
            ("198.18.1", &["198.18.0.1", "198.18.1.0/24"]),
            ("198.18.1.0-255", &["198.18.1.0/24"]),
            ("198.18.0-3.*", &["198.18.0.0/22"]),
            ("198.18.0-1.9", &["198.18.0.9-198.18.1.9"]),
            ("198.18.1.[4-7]", &["198.18.1.4/30"]),
            ("0198.18.1.1", &["198.18.1.1"]),
            ("198.18.001.010", &["198.18.1.8", "198.18.1.10"]),
            ("0306.022.1.1", &["198.18.1.1"]),
            ("0xc6.0x12.1.1", &["198.18.1.1"]),
            ("0xc6120101", &["198.18.1.1"]),
            ("at 0XC6120101", &["198.18.1.1"]),
            ("3323068673", &["198.18.1.1"]),
            ("198.18.1.0x0/24", &["198.18.1.0/24"]),
            ("198.18.0.01/031", &["198.18.0.0/25"]),
            // Texts that are not networks, or are read elsewhere.
            ("198.18.1.1", &[]),
            ("198.18.1.0/24", &[]),
            ("198.18.1.1-198.18.1.9", &[]),
            ("* everything", &[]),
            ("*.*.*.*", &[]),
            ("1. the first", &[]),
            ("version 1.2", &[]),
            ("see 1.2.", &[]),
            ("on 1/2", &[]),
            ("0x1f 20 80", &[]),
            ("3 198", &[]),
            ("1.2.3.4.5", &[]),
            ("198.18.256.*", &[]),
            ("host.example 2001:db8::1 -/.", &[]),
            ("", &[]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    proptest! {
        /// A network of whole numbers is found in each of its forms.
        #[test]
        fn short_forms_agree(octets: [u8; 4], given in 1usize..4) {
            let numbers: Vec<String> = octets[..given].iter().map(u8::to_string).collect();
            let short = numbers.join(".");
            let bits = 8 * given as u32;
            let expected = AddressRange::prefix(Ipv4Addr::from(octets), bits);
            for text in [format!("{short}/{bits}"), format!("{short}.*"), format!("{short}.x")] {
                let found: RangeSet = ranges(text.as_bytes()).into_iter().collect();
                prop_assert_eq!(found.ranges(), &[expected], "{}", text);
            }
            let bare = ranges(format!("{short}.").as_bytes());
            prop_assert!(given == 1 || bare.contains(&expected));
        }

        /// Every number that inet_aton accepts is found.
        #[test]
        fn as_inet_aton_reads_it(octets: [u8; 4], styles in prop::array::uniform4(0u8..3)) {
            let number = |(octet, style): (&u8, u8)| match style {
                0 => octet.to_string(),
                1 => format!("0{octet:o}"),
                _ => format!("0x{octet:x}"),
            };
            let words: Vec<String> = octets.iter().zip(styles).map(number).collect();
            let address = u32::from_be_bytes(octets);
            let found = ranges(words.join(".").as_bytes());
            prop_assert!(styles == [0; 4] || found.iter().any(|range| range.contains(address)), "{:?}", words);
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[0-9x.*/\\[\\] -]{0,60}") {
            let _ = (ranges(&bytes), ranges(text.as_bytes()));
        }
    }
}
