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

use super::entry;
use super::lines;
use super::list::{ListError, Location, Purpose, Unused, shown};
use super::problem::Problem;
use super::ranges::{AddressRange, parse_length};

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
    /// Lines about IPv6.
    pub ipv6: Unused,
}

impl Systems {
    /// Reads the table in `input`; `file` is its name in errors.
    ///
    /// # Errors
    /// [`ListError::Read`], [`ListError::Damaged`], [`ListError::Encoding`], or [`ListError::BadEntry`].
    pub fn read(file: &str, input: impl io::Read) -> Result<Self, ListError> {
        let mut prefixes: Vec<(AddressRange, u32)> = Vec::new();
        let mut ipv6 = Unused::default();
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
                Line::Ipv6 => ipv6.add(line.number),
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

    /// The networks of a system for this purpose, ascending: to be probed, where it is routed to; to be blocked, all
    /// that it announces. Empty if the table does not have it.
    pub fn networks(&self, number: u32, purpose: Purpose) -> impl Iterator<Item = AddressRange> {
        let all = match purpose {
            Purpose::Probe => &self.routed,
            Purpose::Block => &self.announced,
        };
        let start = all.partition_point(|&(other, _)| other < number);
        all[start..].iter().take_while(move |&&(other, _)| other == number).map(|&(_, range)| range)
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
    let address = std::net::Ipv4Addr::from_bits(entry::parse_address(address.as_bytes())?);
    Some(Line::Prefix(AddressRange::prefix(address, parse_length(length, 32)?), origins))
}

/// What is between the numbers of several systems.
fn is_between(letter: char) -> bool {
    matches!(letter, '_' | ',')
}

/// The number of a system, with or without `AS` before it, as one number or as two with a dot between them (RFC 5396).
fn number(text: &str) -> Option<u32> {
    let is_prefixed = text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("as"));
    let digits = if is_prefixed { &text[2..] } else { text };
    let whole =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok())?;
    match digits.split_once('.') {
        None => whole(digits),
        Some((high, low)) => {
            let [high, low] = [high, low].map(|half| whole(half).and_then(|half| u16::try_from(half).ok()));
            Some(u32::from(high?) << 16 | u32::from(low?))
        }
    }
}

/// The number that an entry of a list names as a system: `AS64500` or `AS1.10`. `None` if it is no such name, and
/// `Some(None)` if there is no such number.
pub(super) fn named(entry: &str) -> Option<Option<u32>> {
    let rest = entry.get(..2).filter(|start| start.eq_ignore_ascii_case("as")).map(|_| &entry[2..])?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = match rest.split_once('.') {
        None => is_number(rest),
        Some((high, low)) => is_number(high) && is_number(low),
    };
    is_name.then(|| number(entry))
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

    fn networks(systems: &Systems, number: u32, purpose: Purpose) -> Vec<String> {
        systems.networks(number, purpose).map(|range| range.to_string()).collect()
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
            for purpose in [Purpose::Probe, Purpose::Block] {
                assert_eq!(networks(&systems, 64500, purpose), ["1.0.0.0/24"], "{text}");
                assert_eq!(networks(&systems, 64501, purpose), ["1.0.4.0/22"], "{text}");
            }
        }
        assert_eq!(read("2001:db8::/32 1\n::/0 2").unwrap().ipv6, Unused { count: 2, first_line: 1 });
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
                assert_eq!(networks(&systems, number, Purpose::Probe), ["1.0.0.0/24"], "{text}");
            }
        }
    }

    /// A customer's prefix within its provider's is not probed as the provider's, and blocked as well.
    #[test]
    fn the_longest_prefix_says_where_an_address_is_routed() {
        let systems =
            read("10.0.0.0/8 1\n10.1.0.0/16 2\n10.1.1.0/24 1\n10.255.255.0/24 3\n10.1.0.0/16 4").unwrap();
        assert_eq!(
            networks(&systems, 1, Purpose::Probe),
            ["10.0.0.0/16", "10.1.1.0/24", "10.2.0.0-10.255.254.255"]
        );
        assert_eq!(networks(&systems, 2, Purpose::Probe), ["10.1.0.0/24", "10.1.2.0-10.1.255.255"]);
        assert_eq!(networks(&systems, 2, Purpose::Probe), networks(&systems, 4, Purpose::Probe));
        assert_eq!(networks(&systems, 3, Purpose::Probe), ["10.255.255.0/24"]);
        assert_eq!(networks(&systems, 1, Purpose::Block), ["10.0.0.0/8", "10.1.1.0/24"]);
        assert_eq!(networks(&systems, 5, Purpose::Block), [""; 0]);
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

    #[test]
    fn names() {
        for (entry, number) in
            [("AS64500", Some(64500)), ("as1.10", Some(65546)), ("As4294967295", Some(u32::MAX))]
        {
            assert_eq!(named(entry), Some(number), "{entry}");
        }
        assert_eq!(named("AS4294967296"), Some(None));
        assert_eq!(named("AS65536.1"), Some(None));
        for entry in ["AS", "64500", "asn64500", "as64500.example", "as.1", "AS1.2.3", "AS-1", "\u{e4}s1"] {
            assert_eq!(named(entry), None, "{entry}");
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
                let routed: Vec<_> = systems.networks(number, Purpose::Probe).collect();
                prop_assert!(routed.windows(2).all(|pair| pair[0].last() < pair[1].first()));
                for address in base..base + 256 {
                    let holding = || prefixes.iter().filter(|(prefix, _)| prefix.contains(address));
                    let longest = holding().map(|(prefix, _)| prefix.len()).min();
                    let is_routed = holding().any(|&(prefix, of)| of == number && Some(prefix.len()) == longest);
                    prop_assert_eq!(routed.iter().any(|range| range.contains(address)), is_routed);
                    let is_announced = holding().any(|&(_, of)| of == number);
                    let mut announced = systems.networks(number, Purpose::Block);
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
