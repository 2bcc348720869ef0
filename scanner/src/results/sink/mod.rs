//! Where results go: one file a kind of sink.
//!
//! A sink takes the replies that passed the filter, in any number side by side with others. What always holds: opening
//! one finds out what is not to be had, and changes nothing; [`Sink::begin`] comes before the first result,
//! [`Sink::finish`] after the last, and what was written by then is complete.

mod file;
#[cfg(feature = "parquet")]
mod parquet;
mod redis;
mod series;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use file::FileSink;
#[cfg(feature = "parquet")]
pub use parquet::ParquetSink;
pub use redis::{RecordFormat, RedisSink, RedisTarget};
pub use series::{Rotation, Series};

use super::fields::{Extractor, FieldSet};
use super::format::{CsvEncoder, Encoder, JsonEncoder, PackedEncoder, PcapEncoder};
use super::output::{OutputError, Patience};
use super::reply::Reply;
use crate::packet::Link;
use crate::printable::printable;

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

    /// Brings what was taken to its end: what is a file is on the disk then.
    ///
    /// # Errors
    /// It cannot be written.
    fn finish(&mut self) -> Result<(), OutputError>;

    /// From now on, whoever takes the results on the other side is waited for no longer than this allows.
    fn be_patient(&mut self, patience: &Arc<Patience>) {
        let _ = patience;
    }

    /// How many of the results that it took have not gone further yet. After an error these are lost.
    fn pending(&self) -> u64;
}

/// The kinds of sinks (`--output-module`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Module {
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    Json,
    /// Records on a Redis server.
    Redis,
    /// Columns in Parquet files.
    #[cfg(feature = "parquet")]
    Parquet,
    /// The captured frames.
    Pcap,
}

impl Module {
    /// All of them, for lists.
    pub const ALL: &[Self] = &[
        Self::Csv,
        Self::Json,
        Self::Redis,
        #[cfg(feature = "parquet")]
        Self::Parquet,
        Self::Pcap,
    ];

    /// Its name in `--output-module`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Redis => "redis",
            #[cfg(feature = "parquet")]
            Self::Parquet => "parquet",
            Self::Pcap => "pcap",
        }
    }

    /// What it writes, and what its arguments are.
    pub fn help(self) -> &'static str {
        match self {
            Self::Csv => {
                {
                "Comma-separated values, quoted where RFC 4180 asks for it. A header row comes first where -f, -O or \
                 --output-filter is given, unless --no-header-row is."
            }
            }
            Self::Json => {
                "One JSON object a line. Fields without a value are left out."
            }
            Self::Redis => {
                "Records in a list or stream of a Redis server, in batches; a server that goes away is waited for.
The server is named by -o (redis://[user[:password]@]host[:port][/db], unix:///path, or ZMap's tcp://host:port/key and
local:///path/key) or by --output-args, NAME=VALUE with commas between them:
  host, port     the server [127.0.0.1:6379]
  socket         or its Unix socket
  db             number of the database [0]
  user           name to authenticate with
  password-file  file with the password: what a URL has, other users of the host see in the list of processes
  key            list or stream [zmap]
  kind           list (RPUSH) or stream (XADD, in the field record) [list]
  format         packed (4 bytes of address, and 2 of port where several are scanned), csv or json [packed]
  batch          records a command [1000]
  wait           seconds to wait for a server that went away [60]"
            }
            #[cfg(feature = "parquet")]
            Self::Parquet => {
                "Typed columns. A file is named FILE.part until it is complete; the next one, FILE-00002, is begun after \
                 1,048,576 rows or 300 seconds, or when --rotate-seconds or --rotate-bytes say so."
            }
            Self::Pcap => {
                "The captured frame of each result, as tcpdump and tshark read it, with nanoseconds. Takes no fields."
            }
        }
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
    /// The file or server; `-` is standard output.
    pub file: PathBuf,
    /// The server of [`Module::Redis`].
    pub redis: Option<RedisTarget>,
    /// The columns.
    pub fields: FieldSet,
    /// Whether their names come first, where the format has such a row.
    pub header_row: bool,
    /// Whether results are added to those of an earlier scan.
    pub append: bool,
    /// When to go on with a new file.
    pub rotation: Rotation,
    /// Whether packed records have a port.
    pub several_ports: bool,
    /// What captured frames begin with.
    pub link: Link,
}

impl SinkConfig {
    /// Whether it writes the fields.
    pub fn has_fields(&self) -> bool {
        let packed = self.redis.as_ref().is_some_and(|target| target.format == RecordFormat::Packed);
        self.module != Module::Pcap && !packed
    }

    /// The file, or the server without its password.
    pub fn place(&self) -> String {
        self.redis.as_ref().map_or_else(|| printable(&self.file), |server| server.name().to_owned())
    }

    /// Opens it. Nothing is changed yet.
    ///
    /// # Errors
    /// It is not to be had.
    pub fn open(&self) -> Result<Box<dyn Sink>, OutputError> {
        let fields = self.fields.clone();
        Ok(match self.module {
            Module::Csv => self.open_file(Encoder::Csv(CsvEncoder::new(fields, self.header_row)))?,
            Module::Json => self.open_file(Encoder::Json(JsonEncoder::new(fields)))?,
            Module::Redis => {
                let Some(target) = &self.redis else {
                    let what = "redis without a server".to_owned();
                    return Err(OutputError::Refused { flag: "--output-args", what });
                };
                let encoder = match target.format {
                    RecordFormat::Packed => Encoder::Packed(PackedEncoder::new(self.several_ports)),
                    RecordFormat::Csv => Encoder::Csv(CsvEncoder::new(fields, false)),
                    RecordFormat::Json => Encoder::Json(JsonEncoder::new(fields)),
                };
                Box::new(RedisSink::open(target, encoder)?)
            }
            #[cfg(feature = "parquet")]
            Module::Parquet => Box::new(ParquetSink::open(fields, &self.file, self.append, self.rotation)?),
            Module::Pcap => self.open_file(Encoder::Pcap(PcapEncoder { link: self.link }))?,
        })
    }

    fn open_file(&self, encoder: Encoder) -> Result<Box<dyn Sink>, OutputError> {
        Ok(Box::new(FileSink::open(encoder, &self.file, self.append, self.rotation)?))
    }
}
