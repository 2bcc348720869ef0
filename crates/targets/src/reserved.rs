//! The floor: address blocks that are never probed, whatever the lists say.
//!
//! Owns the built-in table of special-purpose blocks (IANA IPv4 Special-Purpose Address Registry, RFC 6890, and the
//! multicast and reserved parts of the IPv4 address space). The *hard* part is never probed; the *soft* part only
//! where the caller allows it.

use std::net::Ipv4Addr;

use super::list::{List, Location};
use super::ranges::{AddressRange, RangeSet};

/// Whether a flag can lift a block of the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Never probed: it cannot contain a host of another network.
    Hard,
    /// Probed with `--allow-reserved`: private networks use it.
    Soft,
}

/// A block of the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Its addresses.
    pub range: AddressRange,
    /// Which part of the floor it belongs to.
    pub floor: Floor,
    /// Its use.
    pub name: &'static str,
    /// The document that reserves it.
    pub source: &'static str,
}

/// The whole floor, in ascending order.
pub const TABLE: [Reserved; 15] = {
    use Floor::{Hard, Soft};
    [
        block([0, 0, 0, 0], 8, Hard, "\"this network\"", "RFC 791, section 3.2"),
        block([10, 0, 0, 0], 8, Soft, "private use", "RFC 1918"),
        block([100, 64, 0, 0], 10, Soft, "shared address space", "RFC 6598"),
        block([127, 0, 0, 0], 8, Hard, "loopback", "RFC 1122, section 3.2.1.3"),
        block([169, 254, 0, 0], 16, Hard, "link local", "RFC 3927"),
        block([172, 16, 0, 0], 12, Soft, "private use", "RFC 1918"),
        block([192, 0, 0, 0], 24, Soft, "IETF protocol assignments", "RFC 6890"),
        block([192, 0, 2, 0], 24, Soft, "documentation", "RFC 5737"),
        block([192, 88, 99, 0], 24, Soft, "deprecated 6to4 relay anycast", "RFC 7526"),
        block([192, 168, 0, 0], 16, Soft, "private use", "RFC 1918"),
        block([198, 18, 0, 0], 15, Soft, "benchmarking", "RFC 2544"),
        block([198, 51, 100, 0], 24, Soft, "documentation", "RFC 5737"),
        block([203, 0, 113, 0], 24, Soft, "documentation", "RFC 5737"),
        block([224, 0, 0, 0], 4, Hard, "multicast", "RFC 5771"),
        block(
            [240, 0, 0, 0],
            4,
            Hard,
            "reserved for future use, and limited broadcast",
            "RFC 1112, section 4",
        ),
    ]
};

const fn block(
    address: [u8; 4],
    bits: u32,
    floor: Floor,
    name: &'static str,
    source: &'static str,
) -> Reserved {
    let [a, b, c, d] = address;
    Reserved { range: AddressRange::prefix(Ipv4Addr::new(a, b, c, d), bits), floor, name, source }
}

/// Why an explicit target is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReservedError {
    /// It is in the hard floor.
    #[error("{location}: {target} is {name} ({source_document}) and is never probed: remove it")]
    Hard {
        /// The place of the target.
        location: Location,
        /// The target.
        target: String,
        /// The use of its block.
        name: &'static str,
        /// The document that reserves the block.
        source_document: &'static str,
    },
    /// It is in the soft floor. The text does not say how to allow it: the caller does.
    #[error("{location}: {target} is {name} ({source_document})")]
    Soft {
        /// The place of the target.
        location: Location,
        /// The target.
        target: String,
        /// The use of its block.
        name: &'static str,
        /// The document that reserves the block.
        source_document: &'static str,
    },
}

/// The blocks in force: all, or with `allow_reserved` only the hard ones.
fn in_force(allow_reserved: bool) -> impl Iterator<Item = &'static Reserved> {
    TABLE.iter().filter(move |block| block.floor == Floor::Hard || !allow_reserved)
}

/// The addresses to leave out of every scan; with `allow_reserved` only the hard floor.
pub fn floor(allow_reserved: bool) -> RangeSet {
    in_force(allow_reserved).map(|block| block.range).collect()
}

/// The block that excludes *all* of `range`; `None` if a part of the range remains. If several blocks do together, it
/// is the first soft one, because a flag can lift it.
pub fn covering(range: AddressRange, allow_reserved: bool) -> Option<&'static Reserved> {
    let mut left = range.len();
    let mut found: Option<&Reserved> = None;
    for block in in_force(allow_reserved) {
        // Blocks are disjoint, so each removes a separate part.
        let Some(common) = block.range.intersection(range) else { continue };
        left -= common.len();
        if found.is_none_or(|found| found.floor == Floor::Hard && block.floor == Floor::Soft) {
            found = Some(block);
        }
    }
    found.filter(|_| left == 0)
}

/// Checks the explicit targets, from the command line or an allow list: a target of which nothing would be probed is an
/// error. A target that the floor only overlaps, such as 0.0.0.0/0, just loses that part.
///
/// # Errors
/// [`ReservedError`] for the first such target of `list`.
pub fn check_targets(list: &List, allow_reserved: bool) -> Result<(), ReservedError> {
    for entry in &list.entries {
        let Some(block) = covering(entry.range, allow_reserved) else { continue };
        let (location, target) = (list.location(entry), entry.range.to_string());
        let &Reserved { name, source: source_document, floor, .. } = block;
        return Err(match floor {
            Floor::Hard => ReservedError::Hard { location, target, name, source_document },
            Floor::Soft => ReservedError::Soft { location, target, name, source_document },
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::{OnBadEntry, Purpose};

    fn check(text: &str, allow_reserved: bool) -> Result<(), String> {
        let list = List::parse("allow.conf", text.as_bytes(), Purpose::Probe, OnBadEntry::Fail).unwrap();
        check_targets(&list, allow_reserved).map_err(|error| error.to_string())
    }

    #[test]
    fn table_is_sorted_and_disjoint() {
        assert!(TABLE.windows(2).all(|pair| pair[0].range.last() < pair[1].range.first()));
    }

    #[test]
    fn floors_have_the_known_sizes() {
        let (slash_8, slash_16, slash_24) = (1u64 << 24, 1u64 << 16, 1u64 << 8);
        let hard = 2 * slash_8 + slash_16 + 32 * slash_8;
        let soft = slash_8 + 64 * slash_16 + 16 * slash_16 + slash_16 + 2 * slash_16 + 5 * slash_24;
        assert_eq!(floor(true).len(), hard);
        assert_eq!(floor(false).len(), hard + soft);
    }

    #[test]
    fn soft_targets_can_be_lifted() {
        let message = check("# lab\n8.8.8.8\n198.18.0.0/16\n", false).unwrap_err();
        assert_eq!(message, "allow.conf:3: 198.18.0.0/16 is benchmarking (RFC 2544)");
        assert_eq!(check("198.18.0.0/16\n10.0.0.1\n", true), Ok(()));
        let list = List::from_arguments(&["8.8.8.8", "10.1.2.3"]).unwrap();
        let message = check_targets(&list, false).unwrap_err().to_string();
        assert!(message.starts_with("command line, target 2: 10.1.2.3 is private use"), "{message}");
    }

    #[test]
    fn hard_targets_cannot_be_lifted() {
        for target in ["0.0.0.0", "127.0.0.1", "169.254.1.0/24", "224.0.0.5", "224.0.0.0-255.255.255.255"] {
            let message = check(target, true).unwrap_err();
            assert!(message.ends_with("is never probed: remove it"), "{message}");
            assert_eq!(check(target, false), Err(message));
        }
    }

    #[test]
    fn targets_that_the_floor_cuts_lose_that_part() {
        for target in ["0.0.0.0/0", "8.0.0.0/6", "9.255.255.255-10.0.0.0", "192.0.0.0/16"] {
            assert_eq!(check(target, false), Ok(()), "{target}");
        }
    }

    /// 192.0.0.0/24 is one block, 192.0.2.0/24 another, and 192.0.1.0/24 between them is free.
    #[test]
    fn blocks_cover_together_only_without_a_gap() {
        let covers = |text| covering(List::from_arguments(&[text]).unwrap().entries[0].range, false);
        assert!(covers("192.0.0.0-192.0.2.255").is_none());
        assert_eq!(covers("223.255.255.255-224.0.0.0"), None);
        assert_eq!(covers("239.0.0.0-240.0.0.0").unwrap().name, "multicast");
    }
}
