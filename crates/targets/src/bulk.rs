//! Long lists of single hosts: addresses, and (address, port) pairs.
//!
//! They are read in one pass, so that they may come from a pipe, into memory that grows with the distinct targets and
//! not with the file. Blank lines and comments are skipped; everything else is a target, is counted, or is an error.

use std::io::Read;

use super::entry::{self, Line, PairLine, parse_address, parse_line, parse_pair_line};
use super::error::shown;
use super::lines;
use super::list::{ListError, Location, OnBadEntry, Unused, WARNINGS_MAX};
use super::pages::AddressPages;
use super::problem::Problem;

/// Longest line that is kept whole. Only the beginning of a longer one is kept, which is enough for an entry and the
/// start of a comment. Lower would refuse long comments before they end; higher takes more memory.
const LINE_MAX: usize = 1 << 12;

/// The result of reading a list of hosts.
#[derive(Debug)]
pub struct Bulk<T> {
    /// Name of the file.
    pub file: String,
    /// The targets.
    pub targets: T,
    /// IPv6 targets, which are not scanned yet.
    pub ipv6: Unused,
    /// Bad lines that were skipped.
    pub bad: Unused,
    /// The first [`WARNINGS_MAX`] bad lines.
    pub warnings: Vec<ListError>,
}

/// Reads addresses, prefixes and ranges from `input`, which is named `file` in messages.
///
/// # Errors
/// [`ListError::Read`], or [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
pub fn addresses(
    file: String,
    input: impl Read,
    on_bad: OnBadEntry,
) -> Result<Bulk<AddressPages>, ListError> {
    let mut bulk = Bulk::new(file.clone(), AddressPages::default());
    lines::for_each(&file, input, LINE_MAX, |line| {
        let number = line.number;
        // Nearly every line is only an address.
        if let Some(address) = parse_address(line.text) {
            bulk.targets.insert(address);
            return Ok(());
        }
        match parse_line(line.text) {
            _ if is_cut(&line) => bulk.reject(number, line.text, Problem::TooLong, on_bad)?,
            Line::Blank => {}
            Line::Range(range) => bulk.targets.insert_range(range),
            Line::Ipv6(_) => bulk.ipv6.add(number),
            Line::Name(..) if entry::is_header(line.text) && bulk.is_first(bulk.targets.is_empty()) => {}
            Line::System(word, _) => {
                bulk.reject(number, word.as_bytes(), Problem::SystemAmongHosts, on_bad)?;
            }
            Line::Name(name, _) => bulk.reject(number, name.as_bytes(), Problem::HostName, on_bad)?,
            Line::Bad(word, problem) => bulk.reject(number, word, problem, on_bad)?,
        }
        Ok(())
    })?;
    Ok(bulk)
}

/// Reads (address, port) pairs from `input`, which is named `file` in messages.
///
/// # Errors
/// [`ListError::Read`], or [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
pub fn pairs(file: String, input: impl Read, on_bad: OnBadEntry) -> Result<Bulk<Vec<(u32, u16)>>, ListError> {
    let mut bulk = Bulk::new(file.clone(), Vec::new());
    lines::for_each(&file, input, LINE_MAX, |line| {
        let number = line.number;
        match parse_pair_line(line.text) {
            _ if is_cut(&line) => bulk.reject(number, line.text, Problem::TooLong, on_bad)?,
            PairLine::Blank => {}
            PairLine::Pair(address, port) => bulk.targets.push((address, port)),
            PairLine::Ipv6 => bulk.ipv6.add(number),
            PairLine::Bad(..)
                if entry::is_pair_header(line.text) && bulk.is_first(bulk.targets.is_empty()) => {}
            PairLine::Bad(word, problem) => bulk.reject(number, word, problem, on_bad)?,
        }
        Ok(())
    })?;
    Ok(bulk)
}

/// Whether more is missing from a line than the end of a comment.
fn is_cut(line: &lines::Line<'_>) -> bool {
    !line.is_whole && entry::comment(line.text).is_none()
}

impl<T> Bulk<T> {
    fn new(file: String, targets: T) -> Self {
        let (ipv6, bad) = (Unused::default(), Unused::default());
        Self { file, targets, ipv6, bad, warnings: Vec::new() }
    }

    /// Whether all lines so far were blank; `no_targets` is whether there are no targets.
    fn is_first(&self, no_targets: bool) -> bool {
        no_targets && self.ipv6.count == 0 && self.bad.count == 0
    }

    fn reject(
        &mut self,
        line: u32,
        word: &[u8],
        problem: Problem,
        on_bad: OnBadEntry,
    ) -> Result<(), ListError> {
        self.bad.add(line);
        let location = || Location { file: Some(self.file.clone()), line };
        let error = || ListError::BadEntry { location: location(), word: shown(word), problem };
        if on_bad == OnBadEntry::Fail {
            return Err(error());
        }
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(error());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::tests::Trickle;
    use crate::list::Purpose;
    use crate::{AddressSet, List, PairSet, RangeSet};
    use proptest::prelude::*;

    fn set(mut bulk: Bulk<AddressPages>) -> AddressSet {
        bulk.targets.settle(&RangeSet::all());
        AddressSet::from_pages(&bulk.targets)
    }

    #[test]
    fn addresses_comments_and_the_rest() {
        let text =
            b"\xef\xbb\xbf# list\n192.0.2.1\r\n\n 192.0.2.7 # seven\n2001:db8::1\n192.0.2.1\n192.0.2.8/30\n\
                     192.0.2.2-192.0.2.3\n::1\n192.0.2.255";
        for piece in [1, 2, 3, 7, 1_000] {
            let bulk = addresses("ips".to_owned(), Trickle(text, piece), OnBadEntry::Fail).unwrap();
            assert_eq!(bulk.ipv6, Unused { count: 2, first_line: 5 });
            let ranges: Vec<String> = set(bulk).ranges().map(|range| range.to_string()).collect();
            assert_eq!(ranges, ["192.0.2.1-192.0.2.3", "192.0.2.7-192.0.2.11", "192.0.2.255"]);
        }
        let empty = addresses("ips".to_owned(), &b""[..], OnBadEntry::Fail).unwrap();
        assert!(set(empty).is_empty());
    }

    #[test]
    fn bad_lines_are_named_or_counted() {
        let message =
            |text: &[u8]| addresses("ips".to_owned(), text, OnBadEntry::Fail).unwrap_err().to_string();
        assert!(
            message(b"1.1.1.1\nexample.org\n").starts_with("ips:2: \"example.org\" is a host name, but this")
        );
        assert!(message(b"\n\n1.1.1\n").starts_with("ips:3: \"1.1.1\" is not an IPv4 address"));
        let long = [&b"1.1.1.1\n"[..], &[b'7'; 1 << 21], b"\n1.1.1.2\n"].concat();
        assert!(message(&long).starts_with("ips:2: \"7777") && message(&long).len() < 200);
        let skipping = addresses("ips".to_owned(), &long[..], OnBadEntry::Skip).unwrap();
        assert_eq!((skipping.bad.count, skipping.warnings.len()), (1, 1));
        assert_eq!(set(skipping).len(), 2);
        let pair = pairs("pairs".to_owned(), &b"1.1.1.1:80\n1.1.1.1\n"[..], OnBadEntry::Fail).unwrap_err();
        assert!(pair.to_string().starts_with("pairs:2: \"1.1.1.1\" is not an IPv4 address and a port"));
    }

    #[test]
    fn pairs_in_both_spellings() {
        let text = b"192.0.2.1:80\n192.0.2.1,443 # web\n[::1]:80\n\n192.0.2.1:80";
        let bulk = pairs("pairs".to_owned(), Trickle(text, 4), OnBadEntry::Fail).unwrap();
        assert_eq!(bulk.ipv6, Unused { count: 1, first_line: 3 });
        let (pairs, left_out) = PairSet::new(bulk.targets.into_iter(), &RangeSet::all());
        assert!(pairs.iter().eq([(0xc000_0201, 80), (0xc000_0201, 443)]));
        assert_eq!((left_out.duplicates, left_out.removed), (1, 0));
    }

    /// The output of a scan can be read again.
    #[test]
    fn header_rows_are_known() {
        for text in ["# mine\nsaddr,sport\r\n192.0.2.1,80\n", "target,target_port\n192.0.2.1,80"] {
            let bulk = pairs("pairs".to_owned(), text.as_bytes(), OnBadEntry::Fail).unwrap();
            assert_eq!(bulk.targets, [(0xc000_0201, 80)]);
        }
        let bulk = addresses("ips".to_owned(), &b"saddr\n192.0.2.1\n"[..], OnBadEntry::Fail).unwrap();
        assert_eq!(set(bulk).len(), 1);
        for text in ["192.0.2.1,80\nsaddr,sport\n", "sport,saddr\n", "saddr,sport\nsaddr,sport\n192.0.2.1"] {
            assert!(pairs("pairs".to_owned(), text.as_bytes(), OnBadEntry::Fail).is_err(), "{text}");
        }
        assert!(addresses("ips".to_owned(), &b"::1\nsaddr\n"[..], OnBadEntry::Fail).is_err());
    }

    /// An entry after a long row of blanks would be lost; in a comment there is none.
    #[test]
    fn what_is_cut_is_no_entry() {
        for (between, expected) in [(" ", None), ("#", Some(1)), ("\x0b", None)] {
            let text = format!("\x0b1.1.1.1{}2.2.2.2\n", between.repeat(3 * LINE_MAX));
            let read = addresses("ips".to_owned(), Trickle(text.as_bytes(), 1 << 14), OnBadEntry::Fail);
            match (read, expected) {
                (Ok(bulk), Some(len)) => assert_eq!(set(bulk).len(), len),
                (Err(error), None) => {
                    assert!(
                        error.to_string().contains("too long") || error.to_string().contains("more than one")
                    );
                }
                (read, _) => panic!("{between:?}: {read:?}"),
            }
            let pair = text.replace("1.1.1.1", "1.1.1.1:80").replace("2.2.2.2", "2.2.2.2:80");
            let read = pairs("pairs".to_owned(), Trickle(pair.as_bytes(), 1 << 14), OnBadEntry::Fail);
            assert_eq!(read.is_ok(), expected.is_some(), "{between:?}");
        }
    }

    proptest! {
        /// Whatever the file holds and however it arrives, a long list gives the same targets as a list of networks.
        #[test]
        fn agrees_with_the_other_reader(
            text in "(10\\.[0-9]{1,3}\\.0\\.[0-9]{1,3}[\n ]|[0-9a-f./:# \t\r\n-]|/24|::){0,60}",
            piece in 1usize..50,
        ) {
            let bulk = addresses("list".to_owned(), Trickle(text.as_bytes(), piece), OnBadEntry::Skip).unwrap();
            let list = List::parse("list", text.as_bytes(), Purpose::Probe, OnBadEntry::Skip).unwrap();
            prop_assert_eq!(bulk.ipv6, list.ipv6);
            prop_assert_eq!(bulk.bad.count, list.bad.count + list.names.len() as u64);
            let entries: RangeSet = list.entries.iter().map(|entry| entry.range).collect();
            prop_assert!(set(bulk).ranges().eq(entries.ranges().iter().copied()));
        }

        #[test]
        fn any_bytes_end_in_a_list(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            // Another encoding is an error, however bad entries are handled.
            prop_assume!(!bytes.starts_with(&[0xff, 0xfe]) && !bytes.starts_with(&[0xfe, 0xff]));
            let skipping = addresses("list".to_owned(), Trickle(&bytes, piece), OnBadEntry::Skip);
            prop_assert!(skipping.is_ok());
            prop_assert!(pairs("list".to_owned(), Trickle(&bytes, piece), OnBadEntry::Skip).is_ok());
        }
    }
}
