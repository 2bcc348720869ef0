//! Replies as lines of text.
//!
//! One file a format. A writer takes the fields of one reply after the other and buffers; it decides nothing about
//! which replies are written or when the buffer is flushed.

mod csv;
mod json;

use std::io;
use std::str::FromStr;

pub use self::csv::CsvWriter;
pub use self::json::JsonWriter;
use super::fields::{Extractor, FieldSet};
use super::reply::Reply;

/// Bytes that a writer gathers before it writes them in one call.
const BUFFER_LEN: usize = 64 * 1024;

/// The formats (`--output-module`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// All formats, for help texts.
    pub const ALL: [Self; 2] = [Self::Csv, Self::Json];

    /// ZMap's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// The name of an output module that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--output-module: there is no module \"{name}\"; give csv or json")]
#[non_exhaustive]
pub struct UnknownFormat {
    /// The name as given.
    pub name: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

/// Writes replies in the chosen format.
pub enum RecordWriter<W: io::Write> {
    /// As CSV.
    Csv(CsvWriter<W>),
    /// As JSON.
    Json(JsonWriter<W>),
}

impl<W: io::Write> RecordWriter<W> {
    /// A writer to `output`. With `header_row` the names of the fields come first, where the format has such a row.
    ///
    /// # Errors
    /// What `output` says when the header row does not fit into the buffer.
    pub fn new(format: Format, fields: FieldSet, header_row: bool, output: W) -> io::Result<Self> {
        Ok(match format {
            Format::Csv => Self::Csv(CsvWriter::new(fields, header_row, output)?),
            Format::Json => Self::Json(JsonWriter::new(fields, output)),
        })
    }

    /// Appends one reply.
    ///
    /// # Errors
    /// What the output says when the buffer had to be written out.
    pub fn write(&mut self, reply: &Reply<'_>, extractor: &mut Extractor) -> io::Result<()> {
        match self {
            Self::Csv(writer) => writer.write(reply, extractor),
            Self::Json(writer) => writer.write(reply, extractor),
        }
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// What the output says.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Csv(writer) => writer.flush(),
            Self::Json(writer) => writer.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!("csv".parse(), Ok(Format::Csv));
        assert_eq!("json".parse(), Ok(Format::Json));
        assert!("redis".parse::<Format>().unwrap_err().to_string().contains("redis"));
    }
}
