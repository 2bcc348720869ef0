//! Results that are stored in files, read back row by row.
//!
//! Knows the formats by their content: CSV with or without a header row, JSON lines, `address:port`, and Parquet; text
//! also if it is compressed by gzip, xz or zstd. What always holds: a file is only read; memory does not grow with its
//! length; and a file that ends in the middle of a row is found to be cut.

mod json;
#[cfg(feature = "parquet")]
mod parquet;
mod text;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, str};

use targets::parse_address;

use crate::companions::rows::Fields;
use crate::compressed::Decompressed;
use crate::lists;
use crate::printable::printable;
use crate::probe::MODULES;

/// How much of a file is looked at to find out its format. Less: a long header row is not understood. More: only
/// memory.
const SNIFF_LEN: u64 = 1 << 16;

/// Beginnings of files that are not rows, what they are, and what to do.
const OTHERS: [(&[u8], &str); 11] = [
    (b"BZh", "is compressed by bzip2, which is not read here; decompress it first (bzip2 -d)"),
    (b"\xa1\xb2\xc3\xd4", PCAP),
    (b"\xd4\xc3\xb2\xa1", PCAP),
    (b"\xa1\xb2\x3c\x4d", PCAP),
    (b"\x4d\x3c\xb2\xa1", PCAP),
    (b"\x0a\x0d\x0d\x0a", PCAP),
    (b"<?xml", OF_OTHERS),
    (b"#masscan\n", OF_OTHERS),
    (b"# xdpmap version", OF_OTHERS),
    (b"[\n", OF_OTHERS),
    (b"\xff\xfe", "is UTF-16 text; save it as UTF-8"),
];
const OF_OTHERS: &str =
    "is in a form of nmap or masscan, which is not read here; give the scan's csv or json";
const PCAP: &str = "is a pcap file: it holds frames and no rows, so it cannot be read here; tshark reads it";

/// The formats of stored results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// One JSON object per line.
    Json,
    /// `address:port`, or an address, per line.
    Hostport,
    /// Columns in a Parquet file.
    Parquet,
}

impl Format {
    /// The name of the output module that writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Hostport => "hostport",
            Self::Parquet => "parquet",
        }
    }
}

/// A file with results.
#[derive(Clone, Debug)]
pub struct StoredFile {
    path: PathBuf,
    /// What is read once only, with its first bytes, which have been read; `None` for a file.
    stream: Option<(Arc<File>, Vec<u8>)>,
    /// How messages call it.
    pub name: String,
    /// Its format.
    pub format: Format,
    /// Its columns; empty if it has no row, and for JSON, where each row names its own.
    columns: Vec<String>,
    /// Whether its first row has the columns' names.
    pub has_header: bool,
}

/// What a file has, in its order.
#[derive(Debug)]
pub enum Item<'a> {
    /// The header row, as it is in the file.
    Header(&'a [u8]),
    /// A result.
    Row(Row<'a>),
    /// A row that is not understood.
    Bad {
        /// Its line, or the number of the row in a Parquet file; from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// A result.
#[derive(Debug)]
pub struct Row<'a> {
    /// The line that it begins in, or the number of the row in a Parquet file; from 1.
    pub line: u64,
    /// The requested values in the form of CSV, whatever the format. One that is null, empty or not there is `None`.
    pub cells: &'a [Option<String>],
    /// The row as it is in the file, with its line feed; empty in a Parquet file.
    pub raw: &'a [u8],
}

/// How a file ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Rows that were read, those that were not understood included.
    pub rows: u64,
    /// Why the file cannot be whole; `None` if it is.
    pub cut: Option<String>,
}

/// What takes the items of a file.
pub type Take<'a> = &'a mut dyn FnMut(Item<'_>) -> io::Result<()>;

impl StoredFile {
    /// Finds out what is in a file. `fields` are its columns, if they are known and there may be no header row.
    ///
    /// # Errors
    /// It cannot be read, or its format is not known, in one line that names it.
    pub fn open(path: &Path, fields: Option<&[String]>) -> Result<Self, String> {
        let name = printable(path);
        let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
        if !file.metadata().map_err(|error| unreadable(&name, &error))?.is_file() {
            return Err(format!(
                "{name} is not a regular file, and results are read more than once; name a file"
            ));
        }
        // What is damaged in a compressed file is found when it is read.
        let begins = match begin_of(Decompressed::new(&file)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => vec![],
            begins => begins.map_err(|error| unreadable(&name, &error))?,
        };
        Self::with_content(path, name, None, &begins, fields)
    }

    /// As [`Self::open`], for those who read it once: it may also be a pipe, or `-` for standard input.
    ///
    /// # Errors
    /// As [`Self::open`]; a Parquet file cannot be read from a pipe.
    pub fn open_once(path: &Path) -> Result<Self, String> {
        let name = lists::name(path);
        let opened = match path == Path::new(lists::STANDARD_INPUT) {
            true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            false => File::open(path),
        };
        let file = opened.map_err(|error| unreadable(&name, &error))?;
        if path != Path::new(lists::STANDARD_INPUT)
            && file.metadata().is_ok_and(|metadata| metadata.is_file())
        {
            return Self::open(path, None);
        }
        let begun = begin_of(&file).map_err(|error| unreadable(&name, &error))?;
        if begun.starts_with(b"PAR1") {
            return Err(format!("{name} is a Parquet file, which is not read in one go; name the file"));
        }
        let begins = begins_within(Decompressed::new(begun.as_slice()));
        Self::with_content(path, name, Some((Arc::new(file), begun)), &begins, None)
    }

    /// Finds out what is in it from its first bytes.
    fn with_content(
        path: &Path,
        name: String,
        stream: Option<(Arc<File>, Vec<u8>)>,
        begins: &[u8],
        fields: Option<&[String]>,
    ) -> Result<Self, String> {
        let mut stored = Self {
            path: path.to_owned(),
            stream,
            name: name.clone(),
            format: Format::Csv,
            columns: fields.map(<[_]>::to_vec).unwrap_or_default(),
            has_header: false,
        };
        if begins.starts_with(b"PAR1") {
            stored.format = Format::Parquet;
            stored.columns = columns_of_parquet(path, &name)?;
            return Ok(stored);
        }
        if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| begins.starts_with(magic)) {
            return Err(format!("{name} {what}"));
        }
        stored.find_layout(begins, fields)?;
        Ok(stored)
    }

    /// Decides what the rows of a text are by how it begins.
    fn find_layout(&mut self, begins: &[u8], fields: Option<&[String]>) -> Result<(), String> {
        if begins.trim_ascii_start().starts_with(b"{") {
            self.format = Format::Json;
            self.columns.clear();
            return Ok(());
        }
        // Without any end of a row there is no row: the file is empty, or cut.
        let Some(end) = memchr::memchr(b'\n', begins) else { return Ok(()) };
        let mut split = Fields::new();
        let first = split.of(&begins[..=end]);
        let cells: Vec<String> = first.map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        let is_fields = fields.is_some_and(|fields| fields == cells);
        if is_fields || are_names(&cells) {
            self.has_header = true;
            self.columns = cells;
            return Ok(());
        }
        if fields.is_some_and(|fields| fields.len() == cells.len()) {
            return Ok(());
        }
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        match &cells[..] {
            [address] if parse_address(address.as_bytes()).is_some() => self.columns = names(&["saddr"]),
            [address, port] if parse_address(address.as_bytes()).is_some() && port.parse::<u16>().is_ok() => {
                self.columns = names(&["saddr", "sport"]);
            }
            [pair] if text::host_and_port(pair).is_some() => {
                (self.format, self.columns) = (Format::Hostport, names(&["saddr", "sport"]));
            }
            _ => {
                let name = &self.name;
                return Err(format!(
                    "{name} has no header row, and its columns are not known; give the scan's metadata, or let the \
                     scan write a header row (-f FIELDS)"
                ));
            }
        }
        Ok(())
    }

    /// The names of the columns. Of JSON, where each row names its own, the whole file is read for them.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn columns(&self) -> io::Result<Vec<String>> {
        match self.format {
            Format::Json => json::names(self),
            _ => Ok(self.columns.clone()),
        }
    }

    /// The names of the columns, as far as they are known before rows are read: none of JSON, nor of a file without
    /// rows.
    pub fn columns_known(&self) -> &[String] {
        &self.columns
    }

    /// Whether the file has this column, as far as that is known before its rows are read.
    pub fn may_have(&self, column: &str) -> bool {
        self.format == Format::Json || self.columns.iter().any(|name| name == column)
    }

    /// Reads the whole file, and gives `take` what is in it. Of each row it has the values of the columns `wanted`,
    /// each of them once, in this order.
    ///
    /// # Errors
    /// The file cannot be read, which the error's text says, or the error of `take`.
    pub fn read(&self, wanted: &[&str], take: Take<'_>) -> io::Result<End> {
        match self.format {
            Format::Parquet => read_parquet(self, wanted, take),
            _ => text::read(self, wanted, take),
        }
    }

    /// The text of the file, decompressed.
    fn bytes(&self) -> io::Result<Decompressed<Box<dyn Read>>> {
        let raw: Box<dyn Read> = match &self.stream {
            Some((file, begun)) => Box::new(Cursor::new(begun.clone()).chain(file.try_clone()?)),
            None => Box::new(File::open(&self.path)?),
        };
        Ok(Decompressed::new(raw))
    }

    /// An error of reading it, which then says so.
    fn failed(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot read {} ({error})", self.name))
    }
}

#[cfg(feature = "parquet")]
fn columns_of_parquet(path: &Path, name: &str) -> Result<Vec<String>, String> {
    parquet::columns(path).map_err(|error| format!("cannot read {name} ({error})"))
}

#[cfg(not(feature = "parquet"))]
fn columns_of_parquet(_: &Path, name: &str) -> Result<Vec<String>, String> {
    Err(format!("{name} is a Parquet file, and this xdpmap was built without Parquet"))
}

#[cfg(feature = "parquet")]
fn read_parquet(file: &StoredFile, wanted: &[&str], take: Take<'_>) -> io::Result<End> {
    parquet::read(file, wanted, take)
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(_: &StoredFile, _: &[&str], _: Take<'_>) -> io::Result<End> {
    Err(io::Error::other("this xdpmap was built without Parquet"))
}

/// The files that a path stands for: of the folder of a data set, the Parquet files in the folders below it.
///
/// # Errors
/// A folder cannot be read, or has none.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let name = printable(path);
    let entries = |folder: &Path| -> io::Result<Vec<PathBuf>> {
        let mut paths =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        Ok(paths)
    };
    // As other readers do, those with a dot are passed over: they are not complete.
    let is_whole = |file: &PathBuf| {
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !is_hidden && file.extension().is_some_and(|ending| ending == "parquet")
    };
    let mut files = Vec::new();
    for folder in entries(path).map_err(|error| unreadable(&name, &error))? {
        if folder.is_dir() {
            files.extend(entries(&folder).map_err(|error| unreadable(&name, &error))?);
        }
    }
    files.retain(is_whole);
    match files.is_empty() {
        true => {
            Err(format!("{name} is a folder without a data set of Parquet files (--partition); name a file"))
        }
        false => Ok(files),
    }
}

/// The error of a file that cannot be read.
fn unreadable(name: &str, error: &io::Error) -> String {
    format!("cannot read {name} ({error}); check the path and its permissions")
}

/// As [`begin_of`], of something that may be cut.
fn begins_within(reader: impl Read) -> Vec<u8> {
    let mut begins = Vec::new();
    // Up to where it is cut, it is there.
    let _ = reader.take(SNIFF_LEN).read_to_end(&mut begins);
    begins
}

/// The first bytes of what is read.
fn begin_of(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut begins = Vec::new();
    reader.take(SNIFF_LEN).read_to_end(&mut begins).map(|_| begins)
}

/// Whether the cells of a first row are names of columns rather than values: all look like names, and a probe module
/// has a field of one of them.
fn are_names(cells: &[String]) -> bool {
    let is_name = |cell: &String| {
        cell.starts_with(|c: char| c.is_ascii_alphabetic())
            && cell.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    let is_field = |cell: &String| MODULES.iter().any(|module| module.fields.find(cell).is_some());
    cells.iter().all(is_name) && cells.iter().any(is_field)
}

/// An IPv4 address in the form that results have.
pub fn address(text: &str) -> Option<Ipv4Addr> {
    parse_address(text.as_bytes()).map(Ipv4Addr::from_bits)
}

/// Whether a value of a column of truth values is true.
pub fn is_true(cell: &str) -> bool {
    cell == "1" || cell.eq_ignore_ascii_case("true")
}

/// A place in a file, for messages: `results.csv:17`.
pub fn place(name: impl fmt::Display, line: u64) -> String {
    format!("{name}:{line}")
}

#[cfg(test)]
mod tests;
