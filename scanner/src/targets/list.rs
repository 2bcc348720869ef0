//! Lists of addresses: block and allow files in ZMap's syntax, and the targets of the command line.
//!
//! Where a line ends is in `lines.rs`, what it may say in `entry.rs`; host names are looked up in `names.rs`, after all lists
//! have been read. Whatever bytes a file holds, parsing ends with a list or an error that says
//! where and what to do; nothing is lost in silence. Of a bad line in a list of what is not to be probed, every address that
//! can be read counts even where bad lines are passed over ([`OnBadEntry::Block`]).

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

pub use super::entry::parse_range;
use super::entry::{self, Line, parse_line};
use super::lines;
use super::names::{Lookup, Unknown, look_up_all};
pub use super::problem::Problem;
use super::ranges::{AddressRange, RangeSet};
use super::readable;

/// Most bad entries of a list that are kept for warnings; the rest is only counted.
pub const WARNINGS_MAX: usize = 20;

/// Longest part of a bad entry that an error repeats, in bytes of the file.
const WORD_SHOWN_MAX: usize = 60;

/// What a bad entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadEntry {
    /// It ends the parsing with an error.
    Fail,
    /// It is counted and left out (`--ignore-blocklist-errors`).
    Skip,
    /// It is counted, and of its line every address that can be read is in the list: what a list of networks that must not be
    /// probed makes of `--ignore-blocklist-errors`.
    Block,
}

/// Where an entry stands: the file and the line (from 1), or the command line and the argument (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Name of the file; `None` for the command line.
    pub file: Option<String>,
    /// Line of the file, or number of the target on the command line.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}:{}", self.line),
            None => write!(f, "command line, target {}", self.line),
        }
    }
}

/// Why a list is refused. Every text is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}: check the path and its permissions")]
    Read {
        /// Name of the file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is in another encoding.
    #[error("{file} is UTF-16 text: save it as UTF-8")]
    Encoding {
        /// Name of the file.
        file: String,
    },
    /// An entry is bad.
    #[error("{location}: \"{word}\" {problem}")]
    BadEntry {
        /// Where it stands.
        location: Location,
        /// The offending entry, escaped and shortened.
        word: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A host name has no address.
    #[error(
        "{location}: \"{name}\" is no address, and as a host name it {why}: correct it, or give its addresses"
    )]
    UnknownName {
        /// Where it stands.
        location: Location,
        /// The name.
        name: String,
        /// Why not.
        why: Unknown,
    },
}

/// A good entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it names.
    pub range: AddressRange,
    /// Line of the file, or number of the target on the command line; from 1.
    pub line: u32,
}

/// Entries of one kind that a list holds and nobody uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// How many.
    pub count: u64,
    /// Line of the first one; 0 if there is none.
    pub first_line: u32,
}

/// A host name of a list, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// The name.
    pub name: String,
    /// The length of the prefix around each address, 32 for the address itself.
    pub bits: u32,
    /// Line of the file, or number of the target on the command line; from 1.
    pub line: u32,
    /// The addresses that it was found to have, ascending; none before [`List::look_up`].
    pub addresses: Vec<Ipv4Addr>,
}

impl HostName {
    fn new(name: &str, bits: u32, line: u32) -> Self {
        Self { name: name.to_owned(), bits, line, addresses: vec![] }
    }
}

/// A parsed list.
#[derive(Debug)]
pub struct List {
    /// Name of the file; `None` for the command line.
    pub file: Option<String>,
    /// The good entries, in the order of the list.
    pub entries: Vec<Entry>,
    /// Its host names.
    pub names: Vec<HostName>,
    /// IPv6 entries. They are valid but nothing scans them yet, so the caller tells the user.
    pub ipv6: Unused,
    /// Bad entries that [`OnBadEntry::Skip`] and [`OnBadEntry::Block`] passed over.
    pub bad: Unused,
    /// Of the good entries, those that were read in bad ones for [`OnBadEntry::Block`].
    pub read_in_bad: u64,
    /// The first [`WARNINGS_MAX`] bad entries.
    pub warnings: Vec<ListError>,
}

impl List {
    /// Reads and parses the list in `path`; `-` is standard input.
    ///
    /// # Errors
    /// [`ListError::Read`], or [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
    pub fn read(path: &Path, on_bad: OnBadEntry) -> Result<Self, ListError> {
        Self::read_from(&lines::name(path), lines::open(path)?, on_bad)
    }

    /// Parses the contents of a list file; `file` is its name in errors.
    ///
    /// # Errors
    /// [`ListError::BadEntry`] with [`OnBadEntry::Fail`], or [`ListError::Encoding`].
    pub fn parse(file: &str, bytes: &[u8], on_bad: OnBadEntry) -> Result<Self, ListError> {
        Self::read_from(file, bytes, on_bad)
    }

    fn read_from(file: &str, input: impl io::Read, on_bad: OnBadEntry) -> Result<Self, ListError> {
        let mut list = Self::new(Some(file.to_owned()));
        // A line is kept to its end, however long it is: a bad one may hold addresses.
        lines::for_each(file, input, usize::MAX, |line| {
            if list.is_empty() && entry::is_header(line.text) {
                return Ok(());
            }
            list.take(line.number, line.text, on_bad)
        })?;
        Ok(list)
    }

    /// Parses the targets given on the command line, one entry an argument.
    ///
    /// # Errors
    /// [`ListError::BadEntry`].
    pub fn from_arguments<A: AsRef<str>>(arguments: &[A]) -> Result<Self, ListError> {
        let mut list = Self::new(None);
        for (number, argument) in (1..).zip(arguments) {
            list.take(number, argument.as_ref().as_bytes(), OnBadEntry::Fail)?;
        }
        Ok(list)
    }

    /// Looks the host names up, several at a time, and adds what they stand for to the entries.
    ///
    /// # Errors
    /// [`ListError::UnknownName`] with [`OnBadEntry::Fail`]; otherwise such a name is a bad entry that is left out.
    pub fn look_up(&mut self, lookup: Lookup<'_>, on_bad: OnBadEntry) -> Result<(), ListError> {
        let asked: Vec<&str> = self.names.iter().map(|name| name.name.as_str()).collect();
        let found = look_up_all(&asked, lookup);
        let names = std::mem::take(&mut self.names);
        for (mut name, addresses) in names.into_iter().zip(found) {
            match addresses {
                Ok(addresses) => {
                    let range = |&address| AddressRange::prefix(address, name.bits);
                    self.entries.extend(
                        addresses.iter().map(|address| Entry { range: range(address), line: name.line }),
                    );
                    name.addresses = addresses;
                    self.names.push(name);
                }
                Err(why) => {
                    let location = Location { file: self.file.clone(), line: name.line };
                    let error = ListError::UnknownName { location, name: shown(name.name.as_bytes()), why };
                    self.reject(name.line, error, on_bad)?;
                }
            }
        }
        Ok(())
    }

    /// The addresses that the entries name.
    ///
    /// # Panics
    /// If the list has host names that were not looked up.
    pub fn to_set(&self) -> RangeSet {
        assert!(self.names.iter().all(|name| !name.addresses.is_empty()), "names were not looked up");
        self.entries.iter().map(|entry| entry.range).collect()
    }

    /// Where `entry` of this list stands.
    pub fn location(&self, entry: &Entry) -> Location {
        Location { file: self.file.clone(), line: entry.line }
    }

    fn new(file: Option<String>) -> Self {
        let (ipv6, bad) = (Unused::default(), Unused::default());
        Self { file, entries: vec![], names: vec![], ipv6, bad, read_in_bad: 0, warnings: vec![] }
    }

    /// Whether no line has said anything yet.
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.names.is_empty() && self.ipv6.count == 0 && self.bad.count == 0
    }

    /// Takes a line, or an argument.
    fn take(&mut self, number: u32, line: &[u8], on_bad: OnBadEntry) -> Result<(), ListError> {
        let (entry, problem) = match parse_line(line) {
            Line::Blank if self.file.is_none() => (line, Problem::Empty),
            Line::Blank => return Ok(()),
            Line::Range(range) => {
                self.entries.push(Entry { range, line: number });
                return Ok(());
            }
            Line::Name(name, bits) => {
                self.names.push(HostName::new(name, bits, number));
                return Ok(());
            }
            Line::Ipv6 => {
                self.ipv6.add(number);
                return Ok(());
            }
            Line::Bad(entry, Problem::Several) if self.file.is_none() => (entry, Problem::SeveralTargets),
            Line::Bad(entry, problem) => (entry, problem),
        };
        let location = Location { file: self.file.clone(), line: number };
        let error = ListError::BadEntry { location, word: shown(entry), problem };
        self.reject(number, error, on_bad)?;
        if on_bad == OnBadEntry::Block {
            let ranges = readable::ranges(entry);
            self.read_in_bad += ranges.len() as u64;
            self.entries.extend(ranges.into_iter().map(|range| Entry { range, line: number }));
            let name = entry::leading_name(entry);
            self.names.extend(name.map(|(name, bits)| HostName::new(name, bits, number)));
        }
        Ok(())
    }

    /// Ends with `error`, or counts it.
    fn reject(&mut self, line: u32, error: ListError, on_bad: OnBadEntry) -> Result<(), ListError> {
        if on_bad == OnBadEntry::Fail {
            return Err(error);
        }
        self.bad.add(line);
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(error);
        }
        Ok(())
    }
}

impl Unused {
    pub(super) fn add(&mut self, line: u32) {
        if self.count == 0 {
            self.first_line = line;
        }
        self.count += 1;
    }
}

/// `word` for an error: printable, on one line, not too long.
pub(super) fn shown(word: &[u8]) -> String {
    let cut = &word[..word.len().min(WORD_SHOWN_MAX)];
    let dots = if cut.len() < word.len() { "..." } else { "" };
    format!("{}{dots}", cut.escape_ascii())
}

#[cfg(test)]
mod tests;
