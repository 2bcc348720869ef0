//! Where results go: one file a kind of sink.
//!
//! A sink takes the replies that passed the filter, in any number side by side with others. What always holds: opening
//! one finds out what is not to be had, and changes nothing; [`Sink::begin`] comes before the first result,
//! [`Sink::finish`] after the last, and what was written by then is complete.

mod file;
mod series;

use std::fmt;

pub use file::FileSink;
pub use series::{Rotation, Series};

use super::fields::{Extractor, FieldSet};
use super::format::{CsvEncoder, Encoder, JsonEncoder, PcapEncoder};
use super::output::OutputError;
use super::reply::Reply;

/// Takes results.
pub trait Sink: Send {
    /// How messages call it.
    fn name(&self) -> &str;

    /// Makes ready for results: from now on it is theirs.
    ///
    /// # Errors
    /// It cannot be written.
    fn begin(&mut self) -> Result<(), OutputError>;

    /// Takes one result; it may stay in a buffer.
    ///
    /// # Errors
    /// It cannot be written.
    fn write(&mut self, reply: &Reply<'_>, extractor: &mut Extractor) -> Result<(), OutputError>;

    /// Writes out what is in the buffer, as far as that can be done before the end, and does what is due by time. Called
    /// when nothing comes for a moment, and at least once a second.
    ///
    /// # Errors
    /// It cannot be written.
    fn flush(&mut self) -> Result<(), OutputError>;

    /// Brings what was taken to its end.
    ///
    /// # Errors
    /// It cannot be written.
    fn finish(&mut self) -> Result<(), OutputError>;
}

/// The kinds of sinks (`--output-module`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Module {
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    Json,
    /// The captured frames.
    Pcap,
}

impl Module {
    /// All of them, for lists.
    pub const ALL: &[Self] = &[Self::Csv, Self::Json, Self::Pcap];

    /// Its name in `--output-module`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Pcap => "pcap",
        }
    }

    /// What it writes, and what its arguments are.
    pub fn help(self) -> &'static str {
        match self {
            Self::Csv => {
                "Comma-separated values (RFC 4180): a header row, then a line a result. Takes no arguments."
            }
            Self::Json => {
                "JSON lines: an object a result, fields that have no value left out. Takes no arguments."
            }
            Self::Pcap => {
                "The captured frame of each result, as tcpdump and tshark read it, with nanoseconds. Takes no fields and \
                 no arguments."
            }
        }
    }

    /// Whether it writes fields.
    pub fn has_fields(self) -> bool {
        self != Self::Pcap
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a sink is opened from.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// Its kind.
    pub module: Module,
    /// The file; `-` is standard output.
    pub file: String,
    /// The columns.
    pub fields: FieldSet,
    /// Whether their names come first, where the format has such a row.
    pub header_row: bool,
    /// Whether results are added to those of an earlier scan.
    pub append: bool,
    /// When to go on with a new file.
    pub rotation: Rotation,
}

impl SinkConfig {
    /// Opens it. Nothing is changed yet.
    ///
    /// # Errors
    /// It is not to be had.
    pub fn open(&self) -> Result<Box<dyn Sink>, OutputError> {
        let fields = self.fields.clone();
        Ok(match self.module {
            Module::Csv => self.open_file(Encoder::Csv(CsvEncoder::new(fields, self.header_row)))?,
            Module::Json => self.open_file(Encoder::Json(JsonEncoder::new(fields)))?,
            Module::Pcap => self.open_file(Encoder::Pcap(PcapEncoder))?,
        })
    }

    fn open_file(&self, encoder: Encoder) -> Result<Box<dyn Sink>, OutputError> {
        Ok(Box::new(FileSink::open(encoder, &self.file, self.append, self.rotation)?))
    }
}
