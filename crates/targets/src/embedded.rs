//! IPv4 addresses inside IPv6 addresses.
//!
//! An IPv4-mapped address is an IPv4 address, in every list. Some other IPv6 addresses lead to one IPv4 host through a
//! translator or a tunnel, and contain its address. A host that must not be probed through them must not be probed
//! directly either, so in a block list they stand for the host.
//!
//! A prefix or range that covers all of IPv4 (`64:ff9b::/96`) is about the mechanism and not about hosts. Two kinds of
//! addresses are not recognised: Teredo inverts the bits of the IPv4 address, and NAT64 with a network-specific prefix
//! has it in a place that the network chooses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::ranges::{AddressRange, parse_length};

/// An IPv6 prefix that is followed by the 32 bits of an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Embedding {
    prefix: u128,
    len: u32,
}

impl Embedding {
    const fn new(groups: [u16; 6], len: u32) -> Self {
        let [a, b, c, d, e, f] = groups;
        Self { prefix: Ipv6Addr::new(a, b, c, d, e, f, 0, 0).to_bits(), len }
    }

    /// The IPv4 address in `address`, if it has this form.
    fn held_by(self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let rest = 128 - self.len;
        let held = (address.to_bits() >> (rest - 32)) as u32;
        // In `::/96`, the lowest addresses belong to IPv6 itself, such as `::1`.
        let is_of_ipv6 = self.prefix == 0 && held < 1 << 24;
        (address.to_bits() >> rest == self.prefix >> rest && !is_of_ipv6).then(|| Ipv4Addr::from_bits(held))
    }
}

/// IPv4-mapped addresses (RFC 4291, section 2.5.5.2).
const MAPPED: Embedding = Embedding::new([0, 0, 0, 0, 0, 0xffff], 96);

/// The forms that lead to an IPv4 host.
const LEADING: [Embedding; 4] = [
    // IPv4-compatible (RFC 4291, section 2.5.5.1).
    Embedding::new([0; 6], 96),
    // IPv4-translated, of SIIT (RFC 2765, section 2.1).
    Embedding::new([0, 0, 0, 0, 0xffff, 0], 96),
    // NAT64, with its well-known prefix (RFC 6052, section 2.1).
    Embedding::new([0x64, 0xff9b, 0, 0, 0, 0], 96),
    // 6to4 (RFC 3056, section 2).
    Embedding::new([0x2002, 0, 0, 0, 0, 0], 16),
];

/// The IPv4 addresses of an IPv4-mapped IPv6 address, prefix or range.
pub(super) fn mapped(text: &str) -> Option<AddressRange> {
    read(text, MAPPED)
}

/// The IPv4 hosts that another IPv6 address, prefix or range leads to; `None` if it contains none, or covers all of
/// IPv4.
pub(super) fn led_to(text: &str) -> Option<AddressRange> {
    LEADING.into_iter().find_map(|form| read(text, form)).filter(|range| range.len() < 1 << 32)
}

/// The IPv4 address in an IPv6 address of any of the forms, and the number of bits before it.
pub(super) fn held_by(address: Ipv6Addr) -> Option<(Ipv4Addr, u32)> {
    let forms = [MAPPED].into_iter().chain(LEADING);
    forms.into_iter().find_map(|form| Some((form.held_by(address)?, form.len)))
}

/// Parses an address, prefix or range of this form.
fn read(text: &str, form: Embedding) -> Option<AddressRange> {
    if !text.contains(':') {
        return None;
    }
    let address = |text: &str| form.held_by(text.parse().ok()?);
    if let Some((network, length)) = text.split_once('/') {
        let bits = parse_length(length, 128)?.checked_sub(form.len)?;
        return Some(AddressRange::prefix(address(network)?, bits.min(32)));
    }
    match text.split_once('-') {
        Some((first, last)) => AddressRange::new(address(first)?.to_bits(), address(last)?.to_bits()),
        None => Some(AddressRange::prefix(address(text)?, 32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_leads_to_an_ipv4_host() {
        for (text, expected) in [
            ("::198.18.1.1", "198.18.1.1"),
            ("::c612:101", "198.18.1.1"),
            ("::198.18.1.1/120", "198.18.1.0/24"),
            ("::ffff:0:198.18.1.1", "198.18.1.1"),
            ("::ffff:0:c612:0/112", "198.18.0.0/16"),
            ("64:ff9b::198.18.1.1", "198.18.1.1"),
            ("64:FF9B::C612:0101", "198.18.1.1"),
            ("64:ff9b::198.18.0.0/111", "198.18.0.0/15"),
            ("64:ff9b::198.18.1.1-64:ff9b::198.18.1.9", "198.18.1.1-198.18.1.9"),
            ("2002:c612:0101::/48", "198.18.1.1"),
            ("2002:c612:101::1", "198.18.1.1"),
            ("2002:c612:101:5::/64", "198.18.1.1"),
            ("2002:c612::/31", "198.18.0.0/15"),
        ] {
            assert_eq!(led_to(text).unwrap().to_string(), expected, "{text}");
            assert_eq!(mapped(text), None, "{text}");
        }
        for text in [
            "198.18.1.1",
            "::1",
            "::",
            "::/0",
            "::/96",
            "::1-::5",
            "64:ff9b::/96",
            "64:ff9b::/32",
            "64:ff9b:1::198.18.1.1",
            "2002::/16",
            "2001:0:c612:101::1",
            "2001:db8::198.18.1.1",
            "64:ff9b::198.18.1.9-64:ff9b::198.18.1.1",
            "64:ff9b::198.18.1.1-::198.18.1.9",
            "::198.18.1.1/129",
            "::198.18.1.1/0120",
            "::ffff:198.18.1.1",
        ] {
            assert_eq!(led_to(text), None, "{text}");
        }
    }

    proptest! {
        /// Both parsers find every form of an IPv4 address.
        #[test]
        fn both_ways_agree(held in 0x0100_0000u32.., low: u128) {
            for form in [MAPPED].into_iter().chain(LEADING) {
                let rest = 128 - form.len;
                let below = if form.len == 96 { 0 } else { low & ((1 << (rest - 32)) - 1) };
                let address = Ipv6Addr::from_bits(form.prefix | u128::from(held) << (rest - 32) | below);
                let held = Ipv4Addr::from_bits(held);
                prop_assert_eq!(held_by(address), Some((held, form.len)));
                let text = address.to_string();
                prop_assert_eq!(mapped(&text).or(led_to(&text)), Some(AddressRange::prefix(held, 32)));
            }
        }
    }
}
