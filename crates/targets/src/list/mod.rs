//! Lists of addresses: block and allow files in ZMap's syntax, and the targets of the command line.
//!
//! `lines.rs` finds the end of a line, and `entry.rs` parses it. Host names are looked up in `names.rs`, after all
//! lists have been read. Whatever bytes a file holds, parsing ends with a list or with an error that names the place
//! and the remedy; nothing is lost silently. Block lists are read in the widest sense ([`Purpose::Block`]).

use std::io;
use std::net::Ipv4Addr;

pub use super::entry::parse_range;
use super::entry::{self, Line, parse_line};
use super::error::shown;
pub use super::error::{ListError, Location};
use super::lines;
use super::names::{Lookup, PARALLEL_MAX, look_up_all};
pub use super::problem::Problem;
use super::ranges::{AddressRange, RangeSet};
use super::readable;
use super::reasons::{Reasons, Which};
use super::systems::Systems;

/// Most bad entries of a list that are kept for warnings; the rest is only counted. More would flood the log; fewer may
/// hide a second kind of mistake.
pub const WARNINGS_MAX: usize = 20;

/// Most bytes of a line. Fewer: a block list with all of its networks in one line is refused. More: a compressed file
/// of a few bytes can take that much memory.
const LINE_MAX: usize = 64 << 20;

/// The purpose of a list's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They may be probed.
    Probe,
    /// They must not be probed. So IPv6 addresses stand for the IPv4 hosts that they lead to. If bad lines are skipped,
    /// the list includes every address that can be read in them.
    Block,
}

/// How to handle a bad entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadEntry {
    /// Parsing ends with an error.
    Fail,
    /// The entry is counted and skipped (`--ignore-blocklist-errors`).
    Skip,
}

/// A good entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// Its addresses.
    pub range: AddressRange,
    /// Line of the file, or number of the target on the command line; from 1.
    pub line: u32,
}

/// Unused entries of one kind in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// How many.
    pub count: u64,
    /// Line of the first one; 0 if there is none.
    pub first_line: u32,
}

/// A host name in a list, and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// The name.
    pub name: String,
    /// The length of the prefix around each address, 32 for the address itself.
    pub bits: u32,
    /// Line of the file, or number of the target on the command line; from 1.
    pub line: u32,
    /// The addresses that were found for it, ascending; none before [`List::look_up`].
    pub addresses: Vec<Ipv4Addr>,
    /// Why it is on a block list.
    reason: Which,
}

impl HostName {
    fn new(name: &str, bits: u32, line: u32, reason: Which) -> Self {
        Self { name: name.to_owned(), bits, line, addresses: vec![], reason }
    }
}

/// A parsed list.
#[derive(Debug)]
pub struct List {
    /// Name of the file; `None` for the command line.
    pub file: Option<String>,
    /// Its purpose.
    pub purpose: Purpose,
    /// The good entries, in the order of the list.
    pub entries: Vec<ListEntry>,
    /// Its host names.
    pub names: Vec<HostName>,
    /// IPv6 entries. They are valid, but they are not scanned yet, so the caller warns the user.
    pub ipv6: Unused,
    /// Bad entries that were skipped with [`OnBadEntry::Skip`].
    pub bad: Unused,
    /// How many of the good entries were read in bad ones for [`Purpose::Block`].
    pub read_in_bad: u64,
    /// Bad entries without any readable address.
    pub unread: u64,
    /// The first [`WARNINGS_MAX`] bad entries.
    pub warnings: Vec<ListError>,
    /// Why networks are on it, for [`Purpose::Block`]: those of host names only after [`List::look_up`].
    pub reasons: Reasons,
}

impl List {
    /// Parses the contents of a list file; `file` is its name in errors. An AS number in it is a bad entry.
    ///
    /// # Errors
    /// [`ListError::BadEntry`] with [`OnBadEntry::Fail`], or [`ListError::Encoding`].
    pub fn parse(file: &str, bytes: &[u8], purpose: Purpose, on_bad: OnBadEntry) -> Result<Self, ListError> {
        Self::read(file, bytes, purpose, on_bad, None)
    }

    /// Reads and parses the list in `input`; `file` is its name in errors. AS numbers stand for what `systems` has.
    ///
    /// # Errors
    /// [`ListError::Read`], [`ListError::Damaged`], [`ListError::Encoding`] or [`ListError::LongLine`], or
    /// [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
    pub fn read(
        file: &str,
        input: impl io::Read,
        purpose: Purpose,
        on_bad: OnBadEntry,
        systems: Option<&Systems>,
    ) -> Result<Self, ListError> {
        let mut list = Self::new(Some(file.to_owned()), purpose);
        // A line is kept to its end, because a bad one may hold addresses.
        lines::for_each(file, input, LINE_MAX, |line| {
            if !line.is_whole {
                let location = Location { file: Some(file.to_owned()), line: line.number };
                return Err(ListError::LongLine { location, len_max: LINE_MAX });
            }
            if list.is_empty() && entry::is_header(line.text) {
                return Ok(());
            }
            list.take(line.number, line.text, on_bad, systems)
        })?;
        Ok(list)
    }

    /// Parses the targets on the command line, one entry per argument. An AS number is a bad entry.
    ///
    /// # Errors
    /// [`ListError::BadEntry`].
    pub fn from_arguments<A: AsRef<str>>(arguments: &[A]) -> Result<Self, ListError> {
        Self::from_words(arguments, Purpose::Probe, None)
    }

    /// Parses words of the command line for `purpose`, one entry per word. Each has to be one: in contrast to a file,
    /// none may be blank or the header row of results. AS numbers stand for what `systems` has.
    ///
    /// # Errors
    /// [`ListError::BadEntry`].
    pub fn from_words<A: AsRef<str>>(
        words: &[A],
        purpose: Purpose,
        systems: Option<&Systems>,
    ) -> Result<Self, ListError> {
        let mut list = Self::new(None, purpose);
        for (number, word) in (1..).zip(words) {
            list.take(number, word.as_ref().as_bytes(), OnBadEntry::Fail, systems)?;
        }
        Ok(list)
    }

    /// Looks the host names up, several at a time, and adds their addresses to the entries.
    ///
    /// # Errors
    /// [`ListError::UnknownName`] with [`OnBadEntry::Fail`]; otherwise such a name is a bad entry that is left out.
    pub fn look_up(&mut self, lookup: Lookup<'_>, on_bad: OnBadEntry) -> Result<(), ListError> {
        self.look_up_by(lookup, on_bad, PARALLEL_MAX)
    }

    /// As [`Self::look_up`], one name after the other in the calling thread, which need not be able to start others.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub fn look_up_in_turn(&mut self, lookup: Lookup<'_>, on_bad: OnBadEntry) -> Result<(), ListError> {
        self.look_up_by(lookup, on_bad, 1)
    }

    fn look_up_by(
        &mut self,
        lookup: Lookup<'_>,
        on_bad: OnBadEntry,
        parallel: usize,
    ) -> Result<(), ListError> {
        let asked: Vec<&str> = self.names.iter().map(|name| name.name.as_str()).collect();
        let found = look_up_all(&asked, lookup, parallel);
        let names = std::mem::take(&mut self.names);
        for (mut name, addresses) in names.into_iter().zip(found) {
            match addresses {
                Ok(addresses) => {
                    let ranges: Vec<AddressRange> =
                        addresses.iter().map(|address| AddressRange::prefix(*address, name.bits)).collect();
                    if self.purpose == Purpose::Block {
                        self.reasons.count_all(name.reason, &ranges);
                    }
                    let entry = |range| ListEntry { range, line: name.line };
                    self.entries.extend(ranges.into_iter().map(entry));
                    name.addresses = addresses;
                    self.names.push(name);
                }
                Err(why) => {
                    let location = Location { file: self.file.clone(), line: name.line };
                    let error = ListError::UnknownName { location, name: shown(name.name.as_bytes()), why };
                    self.reject(name.line, error, on_bad)?;
                    // `192.0.2.x` looks like a name.
                    let has_more = self.block_readable(name.line, name.name.as_bytes(), name.reason);
                    self.unread += u64::from(!has_more);
                }
            }
        }
        Ok(())
    }

    /// The addresses of the entries.
    ///
    /// # Panics
    /// If the list has host names that were not looked up.
    pub fn to_set(&self) -> RangeSet {
        assert!(self.names.iter().all(|name| !name.addresses.is_empty()), "names were not looked up");
        self.entries.iter().map(|entry| entry.range).collect()
    }

    /// A line about the bad entries, if there are any.
    pub fn passed_over(&self) -> Option<String> {
        let file = self.file.as_deref().unwrap_or("command line");
        let (bad, read, unread) = (self.bad.count, self.read_in_bad, self.unread);
        match self.purpose {
            _ if bad == 0 => None,
            Purpose::Probe => Some(format!("{file}: {bad} bad entries are left out")),
            Purpose::Block if unread == 0 => Some(format!(
                "{file}: {bad} bad entries: the {read} addresses and networks that can be read in them are blocked"
            )),
            Purpose::Block => Some(format!(
                "{file}: {bad} bad entries: the {read} addresses and networks that can be read in them are blocked; nothing \
                 can be read in {unread} of them, so their hosts are not blocked"
            )),
        }
    }

    /// The place of `entry` in this list.
    pub fn location(&self, entry: &ListEntry) -> Location {
        Location { file: self.file.clone(), line: entry.line }
    }

    fn new(file: Option<String>, purpose: Purpose) -> Self {
        Self {
            file,
            purpose,
            entries: vec![],
            names: vec![],
            ipv6: Unused::default(),
            bad: Unused::default(),
            read_in_bad: 0,
            unread: 0,
            warnings: vec![],
            reasons: Reasons::default(),
        }
    }

    /// Whether all lines so far were blank.
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.names.is_empty() && self.ipv6.count == 0 && self.bad.count == 0
    }

    /// Adds a line, or an argument.
    fn take(
        &mut self,
        number: u32,
        line: &[u8],
        on_bad: OnBadEntry,
        systems: Option<&Systems>,
    ) -> Result<(), ListError> {
        let (entry, problem) = match parse_line(line) {
            Line::Blank if self.file.is_none() => (line, Problem::Empty),
            Line::Blank => return Ok(()),
            Line::Range(range) => {
                self.add(number, range, line);
                return Ok(());
            }
            Line::Name(name, bits) => {
                let reason = self.reason(line);
                self.names.push(HostName::new(name, bits, number, reason));
                return Ok(());
            }
            Line::System(entry, system) => match self.networks_of(system, systems) {
                Ok(networks) => {
                    networks.into_iter().for_each(|network| self.add(number, network, line));
                    return Ok(());
                }
                Err(problem) => (entry.as_bytes(), problem),
            },
            Line::Ipv6(Some(range)) if self.purpose == Purpose::Block => {
                self.add(number, range, line);
                return Ok(());
            }
            Line::Ipv6(_) => {
                self.ipv6.add(number);
                return Ok(());
            }
            Line::Bad(entry, Problem::Several) if self.file.is_none() => (entry, Problem::SeveralTargets),
            Line::Bad(entry, problem) => (entry, problem),
        };
        let location = Location { file: self.file.clone(), line: number };
        let error = ListError::BadEntry { location, word: shown(entry), problem };
        self.reject(number, error, on_bad)?;
        let (names, reason) = (self.names.len(), self.reason(line));
        if self.purpose == Purpose::Block {
            let name = entry::leading_name(entry);
            self.names.extend(name.map(|(name, bits)| HostName::new(name, bits, number, reason)));
        }
        let has_more = self.block_readable(number, entry, reason) || self.names.len() > names;
        self.unread += u64::from(!has_more);
        Ok(())
    }

    /// The networks of an autonomous system, for this list's purpose: at least one.
    fn networks_of(
        &self,
        system: Option<u32>,
        systems: Option<&Systems>,
    ) -> Result<Vec<AddressRange>, Problem> {
        let system = system.ok_or(Problem::SystemNumber)?;
        let systems = systems.ok_or(Problem::NoSystems)?;
        let networks: Vec<_> = match self.purpose {
            Purpose::Probe => systems.routed(system).collect(),
            Purpose::Block => systems.announced(system).collect(),
        };
        if networks.is_empty() { Err(Problem::UnknownSystem) } else { Ok(networks) }
    }

    /// Adds a network in a line.
    fn add(&mut self, number: u32, range: AddressRange, line: &[u8]) {
        self.entries.push(ListEntry { range, line: number });
        if self.purpose == Purpose::Block {
            let reason = self.reasons.of_line(line);
            self.reasons.count(reason, range);
        }
    }

    /// The reason in a line, if this is a block list.
    fn reason(&mut self, line: &[u8]) -> Which {
        if self.purpose == Purpose::Block { self.reasons.of_line(line) } else { Which::None }
    }

    /// Adds the addresses that can be read in a bad entry, if this is a block list. Returns whether there are any.
    fn block_readable(&mut self, line: u32, entry: &[u8], reason: Which) -> bool {
        if self.purpose != Purpose::Block {
            return false;
        }
        let ranges = readable::ranges(entry);
        self.read_in_bad += ranges.len() as u64;
        self.entries.extend(ranges.iter().map(|&range| ListEntry { range, line }));
        ranges.iter().for_each(|&range| self.reasons.count(reason, range));
        !ranges.is_empty()
    }

    /// Returns `error` or counts it.
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

#[cfg(test)]
mod reasons;
#[cfg(test)]
mod tests;
