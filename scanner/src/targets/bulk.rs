//! Long lists of single hosts: addresses (`-I`) and (address, port) pairs (`--pairs-file`).
//!
//! Read in one pass, so that they may come from a pipe, into memory that grows with the distinct targets and not with
//! the file. Blank lines and comments are skipped, everything else is a target, is counted, or is an error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::entry::{Line, PairLine, Problem, parse_address, parse_line, parse_pair_line};
use super::list::{ListError, Location, OnBadEntry, Unused, WARNINGS_MAX, shown};
use super::pages::AddressPages;

/// Bytes read at a time.
const READ_LEN: usize = 1 << 20;

/// Longest line that is kept whole; of a longer one, which holds no target, the beginning.
const LINE_MAX: usize = 1 << 12;

/// What was read of a list of hosts, and what was not.
#[derive(Debug)]
pub struct Bulk<T> {
    /// Name of the file.
    pub file: String,
    /// The targets.
    pub targets: T,
    /// IPv6 targets; nothing scans them yet.
    pub ipv6: Unused,
    /// Bad lines that [`OnBadEntry::Skip`] left out.
    pub bad: Unused,
    /// The first [`WARNINGS_MAX`] bad lines.
    pub warnings: Vec<ListError>,
}

/// Reads addresses, prefixes and ranges from the file `path`.
///
/// # Errors
/// [`ListError::Read`], or [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
pub fn read_addresses(path: &Path, on_bad: OnBadEntry) -> Result<Bulk<AddressPages>, ListError> {
    let (file, input) = open(path)?;
    addresses(file, input, on_bad)
}

/// Reads (address, port) pairs from the file `path`.
///
/// # Errors
/// [`ListError::Read`], or [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
pub fn read_pairs(path: &Path, on_bad: OnBadEntry) -> Result<Bulk<Vec<(u32, u16)>>, ListError> {
    let (file, input) = open(path)?;
    pairs(file, input, on_bad)
}

fn open(path: &Path) -> Result<(String, File), ListError> {
    let file = path.display().to_string();
    match File::open(path) {
        Ok(input) => Ok((file, input)),
        Err(source) => Err(ListError::Read { file, source }),
    }
}

/// Reads addresses from `input`, which messages call `file`.
///
/// # Errors
/// [`ListError::Read`], or [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
pub fn addresses(
    file: String,
    input: impl Read,
    on_bad: OnBadEntry,
) -> Result<Bulk<AddressPages>, ListError> {
    let mut bulk = Bulk::new(file, AddressPages::default());
    bulk.read(input, |bulk, number, line| {
        // Nearly every line is an address and nothing else.
        let bare = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(address) = parse_address(bare) {
            bulk.targets.insert(address);
            return Ok(());
        }
        match parse_line(line) {
            Line::Blank => {}
            Line::Range(range) => bulk.targets.insert_range(range),
            Line::Ipv6 => bulk.ipv6.add(number),
            Line::Name(name, _) => bulk.reject(number, name.as_bytes(), Problem::HostName, on_bad)?,
            Line::Bad(word, problem) => bulk.reject(number, word, problem, on_bad)?,
        }
        Ok(())
    })?;
    Ok(bulk)
}

/// Reads (address, port) pairs from `input`, which messages call `file`.
///
/// # Errors
/// [`ListError::Read`], or [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
pub fn pairs(file: String, input: impl Read, on_bad: OnBadEntry) -> Result<Bulk<Vec<(u32, u16)>>, ListError> {
    let mut bulk = Bulk::new(file, Vec::new());
    bulk.read(input, |bulk, number, line| {
        match parse_pair_line(line) {
            PairLine::Blank => {}
            PairLine::Pair(address, port) => bulk.targets.push((address, port)),
            PairLine::Ipv6 => bulk.ipv6.add(number),
            PairLine::Bad(word, problem) => bulk.reject(number, word, problem, on_bad)?,
        }
        Ok(())
    })?;
    Ok(bulk)
}

impl<T> Bulk<T> {
    fn new(file: String, targets: T) -> Self {
        let (ipv6, bad) = (Unused::default(), Unused::default());
        Self { file, targets, ipv6, bad, warnings: Vec::new() }
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

    /// Calls `take` with each line, its end left out, and its number from 1.
    fn read(
        &mut self,
        input: impl Read,
        take: impl Fn(&mut Self, u32, &[u8]) -> Result<(), ListError>,
    ) -> Result<(), ListError> {
        let mut input = BufReader::with_capacity(READ_LEN, input);
        let mut number = 0u32;
        // The line that the last piece ended in.
        let mut begun = Vec::new();
        loop {
            let piece = match input.fill_buf() {
                Ok([]) => break,
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(ListError::Read { file: self.file.clone(), source }),
            };
            let mut rest = piece;
            while let Some(end) = memchr::memchr(b'\n', rest) {
                number = number.saturating_add(1);
                if begun.is_empty() && number > 1 {
                    take(self, number, &rest[..end])?;
                } else {
                    keep(&mut begun, &rest[..end]);
                    take(self, number, without_mark(&begun, number))?;
                    begun.clear();
                }
                rest = &rest[end + 1..];
            }
            keep(&mut begun, rest);
            let len = piece.len();
            input.consume(len);
        }
        number = number.saturating_add(1);
        if begun.is_empty() { Ok(()) } else { take(self, number, without_mark(&begun, number)) }
    }
}

/// The first line of a file without the byte-order mark that some editors put in front; any other as it is.
fn without_mark(line: &[u8], number: u32) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(line)
}

/// Appends to a line what fits.
fn keep(line: &mut Vec<u8>, more: &[u8]) {
    let room = LINE_MAX.saturating_sub(line.len());
    line.extend_from_slice(&more[..more.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{AddressSet, List, PairSet, RangeSet};
    use proptest::prelude::*;

    /// Hands out a few bytes at a time, as a pipe may.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len()).min(out.len());
            let (now, later) = self.0.split_at(len);
            out[..len].copy_from_slice(now);
            self.0 = later;
            Ok(len)
        }
    }

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
            message(b"1.1.1.1\nexample.org\n").starts_with("ips:2: \"example.org\" is a host name, and this")
        );
        assert!(message(b"\n\n1.1.1\n").starts_with("ips:3: \"1.1.1\" is not an IPv4 address"));
        let long = [&b"1.1.1.1\n"[..], &[b'7'; 1 << 21], b"\n1.1.1.2\n"].concat();
        assert!(message(&long).starts_with("ips:2: \"7777") && message(&long).len() < 200);
        let skipping = addresses("ips".to_owned(), &long[..], OnBadEntry::Skip).unwrap();
        assert_eq!((skipping.bad.count, skipping.warnings.len()), (1, 1));
        assert_eq!(set(skipping).len(), 2);
        let pair = pairs("pairs".to_owned(), &b"1.1.1.1:80\n1.1.1.1\n"[..], OnBadEntry::Fail).unwrap_err();
        assert!(pair.to_string().starts_with("pairs:2: \"1.1.1.1\" is not an IPv4 address and a port"));
        let missing = read_addresses(Path::new("/nonexistent"), OnBadEntry::Skip).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nonexistent: "), "{missing}");
        assert!(read_pairs(Path::new("/"), OnBadEntry::Skip).is_err());
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

    proptest! {
        /// Whatever the file holds and however it arrives, a long list is what a list of networks makes of it.
        #[test]
        fn agrees_with_the_other_reader(
            text in "(10\\.[0-9]{1,3}\\.0\\.[0-9]{1,3}[\n ]|[0-9a-f./:# \t\r\n-]|/24|::){0,60}",
            piece in 1usize..50,
        ) {
            let bulk = addresses("list".to_owned(), Trickle(text.as_bytes(), piece), OnBadEntry::Skip).unwrap();
            let list = List::parse("list", text.as_bytes(), OnBadEntry::Skip).unwrap();
            prop_assert_eq!(bulk.ipv6, list.ipv6);
            prop_assert_eq!(bulk.bad.count, list.bad.count + list.names.len() as u64);
            let entries: RangeSet = list.entries.iter().map(|entry| entry.range).collect();
            prop_assert!(set(bulk).ranges().eq(entries.ranges().iter().copied()));
        }

        #[test]
        fn any_bytes_end_in_a_list(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            let skipping = addresses("list".to_owned(), Trickle(&bytes, piece), OnBadEntry::Skip);
            prop_assert!(skipping.is_ok());
            prop_assert!(pairs("list".to_owned(), Trickle(&bytes, piece), OnBadEntry::Skip).is_ok());
        }
    }
}
