//! Which networks autonomous systems have: tables of prefixes, each with the AS that announces it.
//!
//! Four forms are read, one line each, as they are published: pyasn's (`192.0.2.0/24`, a tab, `64500`), CAIDA's
//! prefix2as of RouteViews (`192.0.2.0 24 64500`), both also with several systems (`64500_64501` where different
//! systems announce a prefix, `64500,64501` where a route ends with a set), and RIPE's dumps of RIS (`64500
//! 192.0.2.0/24 362`, sets as `{64500,64501}`). Lines that begin with `;`, `#` or `%` are comments.
//!
//! What always holds: of two prefixes that hold an address, the longer one says where it is routed. So a system is
//! probed only where no longer prefix of another one is; and all that it announces is blocked, whoever has a part of
//! it. A prefix of several systems is one of each. A default route (0.0.0.0/0) says of no address whose it is, and is
//! left out.

use std::io;
use std::net::Ipv6Addr;

use super::entry::parse_address;
use super::error::{ListError, Location, shown};
use super::lines;
use super::problem::Problem;
use super::ranges::{AddressRange, parse_length};
use super::system_number::number;

/// Most bytes of a line. Fewer: lines with large sets are refused. More: a file that is no table takes more memory
/// before it is refused.
const LINE_MAX: usize = 1 << 16;

/// A table of autonomous systems.
#[derive(Clone, Debug, Default)]
pub struct Systems {
    /// What each system announces, sorted, as (number, prefix).
    announced: Vec<(u32, AddressRange)>,
    /// What is routed to each system, sorted, as (number, addresses): the ranges of one do not overlap.
    routed: Vec<(u32, AddressRange)>,
    /// How many lines are about IPv6.
    pub ipv6: u64,
}

impl Systems {
    /// Reads the table in `input`; `file` is its name in errors.
    ///
    /// # Errors
    /// [`ListError::Read`], [`ListError::Damaged`], [`ListError::Encoding`], or [`ListError::BadEntry`].
    pub fn read(file: &str, input: impl io::Read) -> Result<Self, ListError> {
        let mut prefixes: Vec<(AddressRange, u32)> = Vec::new();
        let mut ipv6 = 0;
        lines::for_each(file, input, LINE_MAX, |line| {
            let bad = |problem| {
                let location = Location { file: Some(file.to_owned()), line: line.number };
                ListError::BadEntry { location, word: shown(line.text), problem }
            };
            if !line.is_whole {
                return Err(bad(Problem::TooLong));
            }
            match parse_line(line.text).ok_or_else(|| bad(Problem::NotAnOrigin))? {
                Line::Blank => {}
                Line::Ipv6 => ipv6 += 1,
                Line::Prefix(AddressRange::ALL, _) => {}
                Line::Prefix(prefix, origins) => {
                    let count = prefixes.len();
                    let pairs = origins.split(is_between).map(|origin| Some((prefix, number(origin)?)));
                    pairs.flatten().for_each(|pair| prefixes.push(pair));
                    if prefixes.len() == count {
                        return Err(bad(Problem::NotAnOrigin));
                    }
                }
            }
            Ok(())
        })?;
        // A prefix comes after those that hold it.
        prefixes.sort_unstable_by_key(|&(prefix, number)| (prefix.first(), !prefix.last(), number));
        prefixes.dedup();
        let mut routed = routed(&prefixes);
        routed.sort_unstable();
        let mut announced: Vec<_> = prefixes.into_iter().map(|(prefix, number)| (number, prefix)).collect();
        announced.sort_unstable();
        Ok(Self { announced, routed, ipv6 })
    }

    /// The addresses that are routed to a system, as ascending ranges: to be probed. None if the table does not have
    /// it.
    pub fn routed(&self, number: u32) -> impl Iterator<Item = AddressRange> {
        of_system(&self.routed, number)
    }

    /// The prefixes that a system announces, ascending: to be blocked. None if the table does not have it.
    pub fn announced(&self, number: u32) -> impl Iterator<Item = AddressRange> {
        of_system(&self.announced, number)
    }

    /// The numbers of its systems, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.announced.chunk_by(|one, other| one.0 == other.0).map(|all| all[0].0)
    }

    /// Whether it has no prefix of IPv4.
    pub fn is_empty(&self) -> bool {
        self.announced.is_empty()
    }
}

/// The ranges of a system among those of all, which are sorted.
fn of_system(all: &[(u32, AddressRange)], number: u32) -> impl Iterator<Item = AddressRange> {
    let start = all.partition_point(|&(other, _)| other < number);
    all[start..].iter().take_while(move |&&(other, _)| other == number).map(|&(_, range)| range)
}

/// The content of a line.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Blank,
    /// A prefix of IPv6.
    Ipv6,
    /// A prefix, and who announces it.
    Prefix(AddressRange, &'a str),
}

/// Parses a line; `None` if it has none of the forms.
fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let text = str::from_utf8(line).ok()?.trim();
    if text.is_empty() || text.starts_with([';', '#', '%']) {
        return Some(Line::Blank);
    }
    let mut words = text.split_ascii_whitespace();
    let first = [words.next(), words.next(), words.next(), words.next()];
    let is_count = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let (address, length, origins) = match first {
        [Some(prefix), Some(origins), None, _] if prefix.contains('/') => {
            let (address, length) = prefix.split_once('/')?;
            (address, length, origins)
        }
        [Some(origins), Some(prefix), Some(count), None] if prefix.contains('/') && is_count(count) => {
            let (address, length) = prefix.split_once('/')?;
            (address, length, origins)
        }
        [Some(address), Some(length), Some(origins), None] => (address, length, origins),
        _ => return None,
    };
    let origins = origins.strip_prefix('{').map_or(Some(origins), |set| set.strip_suffix('}'))?;
    if !origins.split(is_between).all(|origin| number(origin).is_some()) {
        return None;
    }
    if address.parse::<Ipv6Addr>().is_ok() {
        return parse_length(length, 128).map(|_| Line::Ipv6);
    }
    let address = std::net::Ipv4Addr::from_bits(parse_address(address.as_bytes())?);
    Some(Line::Prefix(AddressRange::prefix(address, parse_length(length, 32)?), origins))
}

/// What is between the numbers of several systems.
fn is_between(letter: char) -> bool {
    matches!(letter, '_' | ',')
}

/// The addresses whose longest prefix is one of each system. `prefixes` are sorted, each after those that hold it.
fn routed(prefixes: &[(AddressRange, u32)]) -> Vec<(u32, AddressRange)> {
    let mut routed = Vec::new();
    // The prefixes that hold the present address, the longest last, each with its systems.
    let mut open: Vec<&[(AddressRange, u32)]> = Vec::new();
    let mut next = 0u64;
    let mut up_to = |systems: &[(AddressRange, u32)], next: u64, end: u64| {
        if let (Ok(first), Some(Ok(last))) = (u32::try_from(next), end.checked_sub(1).map(u32::try_from)) {
            let range = AddressRange::new(first, last);
            routed.extend(
                systems.iter().zip(range.into_iter().cycle()).map(|(&(_, number), range)| (number, range)),
            );
        }
    };
    let end_of = |systems: &[(AddressRange, u32)]| u64::from(systems[0].0.last()) + 1;
    for systems in prefixes.chunk_by(|one, other| one.0 == other.0) {
        let start = u64::from(systems[0].0.first());
        while let Some(outer) = open.pop_if(|outer| end_of(outer) <= start) {
            up_to(outer, next, end_of(outer));
            next = next.max(end_of(outer));
        }
        if let Some(outer) = open.last() {
            up_to(outer, next, start);
        }
        next = start;
        open.push(systems);
    }
    while let Some(outer) = open.pop() {
        up_to(outer, next, end_of(outer));
        next = next.max(end_of(outer));
    }
    routed
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Systems, String> {
        Systems::read("table", text.as_bytes()).map_err(|error| error.to_string())
    }

    fn texts(ranges: impl Iterator<Item = AddressRange>) -> Vec<String> {
        ranges.map(|range| range.to_string()).collect()
    }

    #[test]
    fn every_form() {
        for text in [
            "; IP-ASN32-DAT file\n; Original file : <Path to a rib file>\n1.0.0.0/24\t64500\n1.0.4.0/22\t64501\n",
            "1.0.0.0\t24\t64500\n1.0.4.0\t22\t64501\n",
            "1.0.0.0 24 AS64500\r\n1.0.4.0 22 as64501\r\n",
            "% RIS\n%\n64500\t1.0.0.0/24\t362\n64501\t1.0.4.0/22\t5\n0\t0.0.0.0/0\t7",
            "# 2001:db8::/32 follows\n2001:db8::/32\t64500\n2001:db8:: 32 64500\n64500 2001:db8::/32 7\n1.0.0.0/24 0.64500\n\
             1.0.4.7/22 64501",
        ] {
            let systems = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(systems.numbers().collect::<Vec<_>>(), [64500, 64501], "{text}");
            for (number, network) in [(64500, ["1.0.0.0/24"]), (64501, ["1.0.4.0/22"])] {
                assert_eq!(texts(systems.routed(number)), network, "{text}");
                assert_eq!(texts(systems.announced(number)), network, "{text}");
            }
        }
        assert_eq!(read("2001:db8::/32 1\n::/0 2").unwrap().ipv6, 2);
        assert!(read("").unwrap().is_empty());
    }

    /// Prefixes of several systems are those of each.
    #[test]
    fn several_systems() {
        for text in [
            "1.0.0.0\t24\t64500_64501,64502",
            "{64500,64501,64502}\t1.0.0.0/24\t3",
            "1.0.0.0/24 64500,64501,64502",
        ] {
            let systems = read(text).unwrap();
            for number in 64500..64503 {
                assert_eq!(texts(systems.routed(number)), ["1.0.0.0/24"], "{text}");
            }
        }
    }

    /// A customer's prefix within its provider's is not probed as the provider's, and blocked as well.
    #[test]
    fn the_longest_prefix_says_where_an_address_is_routed() {
        let systems =
            read("10.0.0.0/8 1\n10.1.0.0/16 2\n10.1.1.0/24 1\n10.255.255.0/24 3\n10.1.0.0/16 4").unwrap();
        assert_eq!(texts(systems.routed(1)), ["10.0.0.0/16", "10.1.1.0/24", "10.2.0.0-10.255.254.255"]);
        assert_eq!(texts(systems.routed(2)), ["10.1.0.0/24", "10.1.2.0-10.1.255.255"]);
        assert_eq!(texts(systems.routed(2)), texts(systems.routed(4)));
        assert_eq!(texts(systems.routed(3)), ["10.255.255.0/24"]);
        assert_eq!(texts(systems.announced(1)), ["10.0.0.0/8", "10.1.1.0/24"]);
        assert_eq!(texts(systems.announced(5)), [""; 0]);
    }

    #[test]
    fn other_lines_are_named() {
        for line in [
            "1.0.0.0/24",
            "64500",
            "1.0.0.0/33 1",
            "1.0.0.0/24 x",
            "1.0.0.0/24 4294967296",
            "1.0.0.0/24 1_",
            "1.0.0.0/24 {1,2",
            "1.0.0.0 24 1 x",
            "1.0.0/24 1",
            "1.0.0.0/24 1 x",
            "1.0.0.0/24 -1",
            "1.0.0.0/24 65536.1",
            "2001:db8::/129 1",
        ] {
            let error = read(&format!("1.0.0.0/24 1\n{line}\n")).unwrap_err();
            assert!(error.starts_with("table:2: ") && error.contains("AS number"), "{line}: {error}");
            assert_eq!(error.lines().count(), 1);
        }
    }

    proptest! {
        /// Each address is routed as a search through all prefixes says.
        #[test]
        fn as_the_longest_match(prefixes in prop::collection::vec((0u32..256, 24u32..=32, 1u32..5), 0..30)) {
            let base = 0x0a00_0000;
            let prefixes: Vec<_> = prefixes
                .iter()
                .map(|&(host, bits, number)| (AddressRange::prefix(Ipv4Addr::from_bits(base + host), bits), number))
                .collect();
            let text: String = prefixes.iter().map(|&(prefix, number)| {
                let bits = 32 - prefix.len().ilog2();
                format!("{}/{bits}\t{number}\n", Ipv4Addr::from_bits(prefix.first()))
            }).collect();
            let systems = read(&text).unwrap();
            for number in 1..5 {
                let routed: Vec<_> = systems.routed(number).collect();
                prop_assert!(routed.windows(2).all(|pair| pair[0].last() < pair[1].first()));
                for address in base..base + 256 {
                    let holding = || prefixes.iter().filter(|(prefix, _)| prefix.contains(address));
                    let longest = holding().map(|(prefix, _)| prefix.len()).min();
                    let is_routed = holding().any(|&(prefix, of)| of == number && Some(prefix.len()) == longest);
                    prop_assert_eq!(routed.iter().any(|range| range.contains(address)), is_routed);
                    let is_announced = holding().any(|&(_, of)| of == number);
                    let mut announced = systems.announced(number);
                    prop_assert_eq!(announced.any(|range| range.contains(address)), is_announced);
                }
            }
        }

        #[test]
        fn any_text_is_a_table_or_refused(text in "[0-9AS./:_,{}%; \t\n-]{0,80}") {
            let _ = read(&text);
        }
    }
}
