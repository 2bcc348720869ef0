//! Why a list is refused, and in which line.

use std::fmt;
use std::io;

use super::names::Unknown;
use super::problem::Problem;

/// Most bytes of a bad entry that an error repeats. More would make the error longer than a line; fewer may not
/// identify the entry.
pub(super) const WORD_SHOWN_MAX: usize = 60;

/// The place of an entry: the file and the line (from 1), or the command line and the argument (from 1).
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

/// Why a list is refused. Each text is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}: check the path and its permissions")]
    Read {
        /// Name of the file.
        file: String,
        /// The system's error.
        source: io::Error,
    },
    /// What is in the file cannot be decompressed.
    #[error("{file}: {source}")]
    Damaged {
        /// Name of the file.
        file: String,
        /// What is wrong with it, and the remedy.
        source: io::Error,
    },
    /// A line is longer than any list has.
    #[error("{location}: the line is longer than {} MiB; name a text file with one entry per line", .len_max >> 20)]
    LongLine {
        /// The place of the line.
        location: Location,
        /// The most bytes that a line may have.
        len_max: usize,
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
        /// The place of the entry.
        location: Location,
        /// The offending entry, escaped and shortened.
        word: String,
        /// The problem and the remedy.
        problem: Problem,
    },
    /// A host name has no address.
    #[error(
        "{location}: \"{name}\" is not an address, and as a host name it {why}: correct it, or give its addresses"
    )]
    UnknownName {
        /// The place of the name.
        location: Location,
        /// The name.
        name: String,
        /// The reason.
        why: Unknown,
    },
}

impl ListError {
    /// That `file` could not be read, or that what was read makes no text.
    pub(super) fn of_read(file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::InvalidData => Self::Damaged { file, source },
            _ => Self::Read { file, source },
        }
    }
}

/// `word` for an error: printable, on one line, not too long.
pub(super) fn shown(word: &[u8]) -> String {
    let cut = &word[..word.len().min(WORD_SHOWN_MAX)];
    let dots = if cut.len() < word.len() { "..." } else { "" };
    format!("{}{dots}", cut.escape_ascii())
}
