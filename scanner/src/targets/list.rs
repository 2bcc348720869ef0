//! Lists of addresses: block and allow files in ZMap's syntax, and the targets of the command line.
//!
//! What a line may say is in `entry.rs`; host names are looked up in `names.rs`, after all lists have been read.
//! Whatever bytes a file holds, parsing ends with a list or an error that says
//! where and what to do; nothing is lost in silence.

use std::fmt;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use super::entry::{Line, parse_line};
pub use super::entry::{Problem, parse_range};
use super::names::{Lookup, Unknown, look_up_all};
use super::ranges::{AddressRange, RangeSet};

/// Most bad entries of a list that are kept for warnings; the rest is only counted.
pub const WARNINGS_MAX: usize = 20;

/// Longest part of a bad word that an error repeats, in bytes of the file.
const WORD_SHOWN_MAX: usize = 40;

/// What a bad entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadEntry {
    /// It ends the parsing with an error.
    Fail,
    /// It is counted and left out (`--ignore-blocklist-errors`).
    Skip,
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
            Some(file) => write!(f, "{}:{}", file.escape_debug(), self.line),
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
    /// An entry is bad.
    #[error("{location}: \"{word}\" {problem}")]
    BadEntry {
        /// Where it stands.
        location: Location,
        /// The offending word, escaped and shortened.
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
    /// Bad entries that [`OnBadEntry::Skip`] left out.
    pub bad: Unused,
    /// The first [`WARNINGS_MAX`] bad entries.
    pub warnings: Vec<ListError>,
}

impl List {
    /// Reads and parses the list in `path`.
    ///
    /// # Errors
    /// [`ListError::Read`], or [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
    pub fn read(path: &Path, on_bad: OnBadEntry) -> Result<Self, ListError> {
        let file = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => Self::parse(&file, &bytes, on_bad),
            Err(source) => Err(ListError::Read { file, source }),
        }
    }

    /// Parses the contents of a list file; `file` is its name in errors.
    ///
    /// # Errors
    /// [`ListError::BadEntry`] with [`OnBadEntry::Fail`].
    pub fn parse(file: &str, bytes: &[u8], on_bad: OnBadEntry) -> Result<Self, ListError> {
        // Some editors put a byte-order mark in front.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Self::collect(Some(file.to_owned()), bytes.split(|&byte| byte == b'\n'), on_bad)
    }

    /// Parses the targets given on the command line, one entry an argument.
    ///
    /// # Errors
    /// [`ListError::BadEntry`].
    pub fn from_arguments<A: AsRef<str>>(arguments: &[A]) -> Result<Self, ListError> {
        Self::collect(None, arguments.iter().map(|argument| argument.as_ref().as_bytes()), OnBadEntry::Fail)
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

    fn collect<'a>(
        file: Option<String>,
        lines: impl Iterator<Item = &'a [u8]>,
        on_bad: OnBadEntry,
    ) -> Result<Self, ListError> {
        let (ipv6, bad) = (Unused::default(), Unused::default());
        let mut list = Self { file, entries: vec![], names: vec![], ipv6, bad, warnings: vec![] };
        let mut number = 0u32;
        for line in lines {
            number = number.saturating_add(1);
            match parse_line(line) {
                Line::Blank => {}
                Line::Range(range) => list.entries.push(Entry { range, line: number }),
                Line::Name(name, bits) => {
                    list.names.push(HostName {
                        name: name.to_owned(),
                        bits,
                        line: number,
                        addresses: vec![],
                    });
                }
                Line::Ipv6 => list.ipv6.add(number),
                Line::Bad(word, problem) => {
                    let location = Location { file: list.file.clone(), line: number };
                    let error = ListError::BadEntry { location, word: shown(word), problem };
                    list.reject(number, error, on_bad)?;
                }
            }
        }
        Ok(list)
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(text: &str) -> Vec<String> {
        let list = List::parse("list", text.as_bytes(), OnBadEntry::Fail).unwrap();
        list.entries.iter().map(|entry| entry.range.to_string()).collect()
    }

    #[test]
    fn forms_of_an_entry() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("  192.0.2.1\t", "192.0.2.1"),
            ("192.0.2.1 trailing words, 10.0.0.0/8", "192.0.2.1"),
            ("10.0.0.0/8 - private", "10.0.0.0/8"),
            ("192.0.2.1#comment", "192.0.2.1"),
            ("192.0.2.1 # comment # more", "192.0.2.1"),
            ("192.0.2.1\r", "192.0.2.1"),
            ("\u{feff}192.0.2.1", "192.0.2.1"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("1.2.3.4/0", "0.0.0.0/0"),
            ("255.255.255.255/32", "255.255.255.255"),
            ("192.0.2.1-192.0.2.9", "192.0.2.1-192.0.2.9"),
            ("192.0.2.1-192.0.2.1", "192.0.2.1"),
            ("0.0.0.0-255.255.255.255", "0.0.0.0/0"),
        ] {
            assert_eq!(ranges(text), [expected], "{text:?}");
        }
        for blank in ["", "\n\n", "# only", "  \t\r\n#x\r\n", "\u{feff}"] {
            assert!(ranges(blank).is_empty(), "{blank:?}");
        }
    }

    #[test]
    fn lines_are_counted_from_one() {
        let text = b"# head\r\n\r\n10.0.0.1\r\n2001:db8::/32\n10.0.0.3 # last";
        let list = List::parse("list", text, OnBadEntry::Fail).unwrap();
        assert_eq!(list.entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(list.location(&list.entries[1]).to_string(), "list:5");
        assert_eq!(list.to_set().len(), 2);
    }

    #[test]
    fn ipv6_is_counted() {
        let text = "10.0.0.1\n2001:db8::/32\n::1\n::ffff:10.0.0.1 # mapped\n2001:db8::1-2001:db8::9\n";
        let list = List::parse("list", text.as_bytes(), OnBadEntry::Fail).unwrap();
        assert_eq!(list.ipv6, Unused { count: 4, first_line: 2 });
        assert_eq!(list.entries.len(), 1);
        let arguments = List::from_arguments(&["10.0.0.1", "::1"]).unwrap();
        assert_eq!(arguments.ipv6, Unused { count: 1, first_line: 2 });
    }

    #[test]
    fn errors_say_where_what_and_how_to_mend() {
        for (text, problem) in [
            ("example.org/33", Problem::PrefixLength),
            ("10.0.0.0/33", Problem::PrefixLength),
            ("10.0.0.0/", Problem::PrefixLength),
            ("10.0.0.0/+8", Problem::PrefixLength),
            ("10.0.0.0/-1", Problem::PrefixLength),
            ("10.0.0.0/255.0.0.0", Problem::PrefixLength),
            ("10.0.0.0/8/8", Problem::PrefixLength),
            ("10.0.0.9-10.0.0.1", Problem::Backwards),
            ("10.0.0.1 - 10.0.0.9", Problem::SpacedRange),
            ("10.0.0.1 -10.0.0.9", Problem::SpacedRange),
            ("10.0.0.1- 10.0.0.9", Problem::NotAnAddress),
            ("10.0.0.1-9", Problem::NotAnAddress),
            ("10.0.0.1-10.0.0.2-10.0.0.3", Problem::NotAnAddress),
            ("10.0.0", Problem::NotAnAddress),
            ("10.0.0.256", Problem::NotAnAddress),
            ("010.0.0.1", Problem::NotAnAddress),
            ("10.0.0.1,10.0.0.2", Problem::NotAnAddress),
            ("::1/129", Problem::NotAnAddress),
            (":::", Problem::NotAnAddress),
            ("-", Problem::NotAnAddress),
            ("/", Problem::NotAnAddress),
            ("\0", Problem::NotAnAddress),
            ("caf\u{e9}", Problem::NotAnAddress),
        ] {
            let bytes = format!("10.1.1.1\n{text}\n");
            match List::parse("block.conf", bytes.as_bytes(), OnBadEntry::Fail) {
                Err(error @ ListError::BadEntry { problem: found, .. }) => {
                    assert_eq!(found, problem, "{text}");
                    let message = error.to_string();
                    assert!(message.starts_with("block.conf:2: \""), "{message}");
                    assert!(!message.contains('\n') && message.is_ascii());
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn message_texts() {
        let message =
            |text: &str| List::parse("b.conf", text.as_bytes(), OnBadEntry::Fail).unwrap_err().to_string();
        assert_eq!(
            message("10.0.0.0/33"),
            "b.conf:1: \"10.0.0.0/33\" has a bad prefix length: write a number from 0 to 32 after the slash"
        );
        let long = message(&"=".repeat(5_000_000));
        assert!(
            long.contains(&format!("{}...\" is not an IPv4", "=".repeat(WORD_SHOWN_MAX))) && long.len() < 200
        );
        let argument = List::from_arguments(&["10.0.0.1", "10.0.0.0/64"]).unwrap_err().to_string();
        assert!(
            argument.starts_with("command line, target 2: \"10.0.0.0/64\" has a bad prefix"),
            "{argument}"
        );
        let missing = List::read(Path::new("/nonexistent/list"), OnBadEntry::Skip).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nonexistent/list: ") && missing.ends_with("permissions"));
    }

    /// Names of which `two.example` has two addresses and `none.example` none.
    fn lookup(name: &str) -> Result<Vec<Ipv4Addr>, Unknown> {
        match name {
            "two.example" => Ok(vec![Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 7)]),
            "one.example" => Ok(vec![Ipv4Addr::new(203, 0, 113, 9)]),
            "none.example" => Err(Unknown::NoIpv4),
            _ => Err(Unknown::Failed("could not be looked up (no such name)".to_owned())),
        }
    }

    #[test]
    fn names_stand_for_their_addresses() {
        let text = b"10.0.0.1\ntwo.example/24\none.example # and more\ntwo.example\n";
        let mut list = List::parse("list", text, OnBadEntry::Fail).unwrap();
        list.look_up(&lookup, OnBadEntry::Fail).unwrap();
        let entries: Vec<String> =
            list.entries.iter().map(|entry| format!("{}={}", entry.line, entry.range)).collect();
        assert_eq!(
            entries,
            [
                "1=10.0.0.1",
                "2=192.0.2.0/24",
                "2=198.51.100.0/24",
                "3=203.0.113.9",
                "4=192.0.2.1",
                "4=198.51.100.7"
            ]
        );
        assert_eq!(list.names.len(), 3);
        assert_eq!((list.names[0].bits, list.names[0].addresses.len()), (24, 2));
        assert_eq!(list.to_set().len(), 1 + 2 * 256 + 1);
    }

    #[test]
    fn unknown_names_name_their_line() {
        let text = b"one.example\nnone.example\nlost.example\n";
        let mut list = List::parse("list", text, OnBadEntry::Fail).unwrap();
        assert_eq!(
            list.look_up(&lookup, OnBadEntry::Fail).unwrap_err().to_string(),
            "list:2: \"none.example\" is no address, and as a host name it has no IPv4 address: correct it, or give its \
             addresses"
        );
        let mut list = List::parse("list", text, OnBadEntry::Skip).unwrap();
        list.look_up(&lookup, OnBadEntry::Skip).unwrap();
        assert_eq!((list.bad, list.names.len()), (Unused { count: 2, first_line: 2 }, 1));
        assert!(list.warnings[1].to_string().contains("could not be looked up (no such name)"));
        assert_eq!(list.to_set().len(), 1);
    }

    /// A block list whose names are forgotten would let them through.
    #[test]
    #[should_panic(expected = "names were not looked up")]
    fn names_cannot_be_forgotten() {
        List::parse("list", b"one.example", OnBadEntry::Fail).unwrap().to_set();
    }

    #[test]
    fn skipped_errors_are_counted_and_the_warnings_capped() {
        let text = format!("10.0.0.1\n{}10.0.0.2\n", "bad/entry\n".repeat(1_000));
        let list = List::parse("list", text.as_bytes(), OnBadEntry::Skip).unwrap();
        assert_eq!(list.entries.len(), 2);
        assert_eq!(list.bad, Unused { count: 1_000, first_line: 2 });
        assert_eq!(list.warnings.len(), WARNINGS_MAX);
        assert!(list.warnings[0].to_string().starts_with("list:2: "));
    }

    #[test]
    fn reads_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("allow.conf");
        fs::write(&path, "10.0.0.0/30\n").unwrap();
        assert_eq!(List::read(&path, OnBadEntry::Fail).unwrap().to_set().len(), 4);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_list_or_one_line(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            check_robust(&bytes)?;
        }

        #[test]
        fn nearly_valid_text_ends_in_a_list_or_one_line(text in "([0-9a-f./:# \t\r\n-]|10\\.0\\.0\\.1|/24|::){0,40}") {
            check_robust(text.as_bytes())?;
        }
    }

    /// Every line is accounted for, and an error is one printable line.
    fn check_robust(bytes: &[u8]) -> Result<(), TestCaseError> {
        let skipping = List::parse("list", bytes, OnBadEntry::Skip).unwrap();
        let used =
            (skipping.entries.len() + skipping.names.len()) as u64 + skipping.ipv6.count + skipping.bad.count;
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        prop_assert!(used <= lines);
        match List::parse("list", bytes, OnBadEntry::Fail) {
            Ok(list) => prop_assert_eq!((list.bad.count, list.entries), (0, skipping.entries)),
            Err(error) => {
                prop_assert!(skipping.bad.count > 0);
                prop_assert!(error.to_string().bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
        Ok(())
    }
}
