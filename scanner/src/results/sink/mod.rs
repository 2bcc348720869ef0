//! The destinations of results: one file per kind of sink.
//!
//! A sink accepts the replies that passed the filter; several sinks can be used together. What always holds: opening a
//! sink finds out whether it is available, and changes nothing. [`Sink::begin`] comes before the first result,
//! [`Sink::finish`] after the last, and everything written by then is complete.

mod closer;
mod file;
#[cfg(feature = "parquet")]
mod parquet;
mod partitions;
mod redis;
#[cfg(test)]
mod resumed;
mod series;
mod series_names;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs};

pub use file::FileSink;
#[cfg(feature = "parquet")]
pub use parquet::{ParquetSink, PartitionedSink};
pub use partitions::{PartitionBy, Partitions};
pub use redis::{RecordFormat, RedisSink, RedisTarget};
pub use series::{Rotation, Series, Start};
pub use series_names::{following, part_of, set_aside};
use wire::packet::LinkHeader;

use super::format::{
    Between, CsvEncoder, Encoder, Form, HostportEncoder, JsonEncoder, PackedEncoder, PcapEncoder,
    PortsEncoder,
};
use super::output::{OutputError, OutputPart, Patience, Place, Reach};
use crate::printable::printable;
use crate::reply::Reply;
use crate::reply::fields::{Extractor, FieldSet};

/// A destination of results.
pub trait Sink: Send {
    /// Its name in messages.
    fn name(&self) -> &str;

    /// Prepares for results: from now on the destination is changed.
    ///
    /// # Errors
    /// The destination cannot be written.
    fn begin(&mut self) -> Result<(), OutputError>;

    /// Accepts one result; it may stay in a buffer.
    ///
    /// # Errors
    /// The destination cannot be written.
    fn write(&mut self, reply: &Reply<'_>, extractor: &mut Extractor) -> Result<(), OutputError>;

    /// Writes the content of the buffer, as far as that is possible before the end, and does what is due by time.
    /// Called when no result comes for a moment, and at least once per second.
    ///
    /// # Errors
    /// The destination cannot be written.
    fn flush(&mut self) -> Result<(), OutputError>;

    /// How far it is, with everything that it accepted: so much is not written again by a scan that goes on. It has
    /// been flushed.
    ///
    /// # Errors
    /// The destination cannot be written.
    fn place(&mut self) -> Result<Place, OutputError> {
        Ok(Place::default())
    }

    /// Completes everything that it accepted: a file is then on the disk.
    ///
    /// # Errors
    /// The destination cannot be written.
    fn finish(&mut self) -> Result<(), OutputError>;

    /// Whether it has an interim name, and gets its final one only once the scan is whole.
    fn waits_for_name(&self) -> bool {
        false
    }

    /// Gives what has an interim name its final one: it is finished, and the scan is whole.
    ///
    /// # Errors
    /// It cannot be renamed.
    fn put_in_place(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    /// From now on, waits for the reader of the results only as long as this allows.
    fn be_patient(&mut self, patience: &Arc<Patience>) {
        let _ = patience;
    }

    /// How many of the accepted results are not at their destination yet. After an error these are lost.
    fn pending(&self) -> u64;
}

/// The kinds of sinks (`--output-module`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Module {
    /// Comma-separated values.
    Csv,
    /// One JSON object per line.
    Json,
    /// Targets as `address:port`.
    Hostport,
    /// Records on a Redis server.
    Redis,
    /// Columns in Parquet files.
    #[cfg(feature = "parquet")]
    Parquet,
    /// The captured frames.
    Pcap,
    /// Open ports in one of the forms of nmap and masscan.
    Ports(Form),
    /// Targets as zgrab2's input.
    Zgrab2,
}

impl Module {
    /// All kinds, for lists.
    pub const ALL: &[Self] = &[
        Self::Csv,
        Self::Json,
        Self::Hostport,
        Self::Redis,
        #[cfg(feature = "parquet")]
        Self::Parquet,
        Self::Pcap,
        Self::Ports(Form::Xml),
        Self::Ports(Form::Grepable),
        Self::Ports(Form::List),
        Self::Ports(Form::MasscanJson),
        Self::Zgrab2,
    ];

    /// Whether it holds successes alone: it does not tell one from a failure.
    pub fn is_of_successes(self) -> bool {
        matches!(self, Self::Hostport | Self::Ports(_) | Self::Zgrab2)
    }

    /// Its name in `--output-module`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Hostport => "hostport",
            Self::Redis => "redis",
            #[cfg(feature = "parquet")]
            Self::Parquet => "parquet",
            Self::Pcap => "pcap",
            Self::Ports(Form::Xml) => "xml",
            Self::Ports(Form::Grepable) => "grepable",
            Self::Ports(Form::List) => "list",
            Self::Ports(Form::MasscanJson) => "masscan-json",
            Self::Zgrab2 => "zgrab2",
        }
    }

    /// Its output and its arguments.
    pub fn help(self) -> &'static str {
        match self {
            Self::Csv => {
                {
                "Comma-separated values, quoted where RFC 4180 asks for it. A header row comes first where -f, -O or \
                 --output-filter is given, unless --no-header-row is."
            }
            }
            Self::Json => {
                "One JSON object per line. Fields without a value are left out."
            }
            Self::Hostport => {
                "The target of each success as address:port, one per line, for programs that read such a list; the address \
                 alone where probes have no ports. Takes no fields."
            }
            Self::Redis => {
                "Records in a list or stream of a Redis server, in batches; a server that goes away is waited for.
The server is named by -o (redis://[user[:password]@]host[:port][/db], unix:///path, or ZMap's tcp://host:port/key and \
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
                "Typed columns, compressed by zstd, and in the metadata of each file what was scanned, as JSON. A file is named FILE.part until it is complete; the next one, FILE-00002, is begun after \
                 1,048,576 rows or 300 seconds, or when --rotate-seconds or --rotate-bytes say so. With --partition, FILE is a folder."
            }
            Self::Pcap => {
                "The captured frame of each result, as tcpdump and tshark read it, with nanoseconds. Takes no fields."
            }
            Self::Ports(Form::Xml) => {
                "Each success as an open port in nmap's XML, as masscan writes it (-oX): one host element for each port. The \
                 file has its end at all times, also after kill -9; a pipe has it when the scan ends. Takes no fields."
            }
            Self::Ports(Form::Grepable) => {
                "Each success as a line of nmap's -oG: Host, Ports with number, state and protocol. Takes no fields."
            }
            Self::Ports(Form::List) => {
                "Each success as a line of masscan's -oL: open tcp 80 192.0.2.1 1700000000. Takes no fields."
            }
            Self::Ports(Form::MasscanJson) => {
                "Each success as an object of masscan's -oJ, in an array. The file has its end at all times, also after \
                 kill -9; a pipe has it when the scan ends. Takes no fields."
            }
            Self::Zgrab2 => {
                "The target of each success as zgrab2 reads it, with its port in the fourth field: 192.0.2.1,,,80. Takes no \
                 fields."
            }
        }
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The settings of a sink.
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
    /// What a file of a format with room for it says of the scan, as JSON; empty: nothing.
    pub scan: String,
    /// Whether the column names come first, if the format has such a row.
    pub header_row: bool,
    /// Whether to append results to those of an earlier scan.
    pub append: bool,
    /// The scan goes on after an interruption: what of the file, or of its series, are its results so far.
    pub resume_at: Option<Reach>,
    /// When to continue with a new file.
    pub rotation: Rotation,
    /// Whether a file has an interim name until the scan is whole.
    pub atomic: bool,
    /// How results are parted into folders, if they are: the file is then the folder above them.
    pub partitions: Option<Partitions>,
    /// Whether packed records have a port.
    pub several_ports: bool,
    /// Whether the probes have ports.
    pub has_ports: bool,
    /// The first header of captured frames.
    pub link: LinkHeader,
}

impl SinkConfig {
    /// Whether it writes the chosen fields.
    pub fn has_fields(&self) -> bool {
        let packed = self.redis.as_ref().is_some_and(|target| target.format == RecordFormat::Packed);
        self.module != Module::Pcap && !self.module.is_of_successes() && !packed
    }

    /// Whether its results are of use only once it is complete, and cannot go on elsewhere: Parquet in a pipe.
    pub fn is_all_or_nothing(&self) -> bool {
        #[cfg(feature = "parquet")]
        if self.module == Module::Parquet {
            return self.is_stream();
        }
        false
    }

    /// Whether files are opened or renamed after it has been opened.
    pub fn has_later_files(&self) -> bool {
        #[cfg(feature = "parquet")]
        if self.module == Module::Parquet {
            return true;
        }
        self.rotation.is_on() || self.atomic
    }

    /// Whether it may be several files, one after the other.
    pub fn is_series(&self) -> bool {
        #[cfg(feature = "parquet")]
        if self.module == Module::Parquet {
            return true;
        }
        self.rotation.is_on()
    }

    /// The interim name of a file that has one until the scan is whole: of a series, that of its first file.
    pub fn interim(&self) -> Option<PathBuf> {
        let has_one = self.atomic && !self.is_stream();
        has_one.then(|| part_of(&self.file).ok()).flatten()
    }

    /// Whether what is written to it stays there for good: it is a server, a pipe or a device. Of a file, all behind a
    /// certain length can be removed again.
    pub fn is_stream(&self) -> bool {
        let is_special =
            || self.partitions.is_none() && fs::metadata(&self.file).is_ok_and(|found| !found.is_file());
        self.redis.is_some() || self.file == Path::new("-") || is_special()
    }

    /// The file, or the server without its password.
    pub fn place(&self) -> String {
        self.redis.as_ref().map_or_else(|| printable(&self.file), |server| server.name().to_owned())
    }

    /// Opens it. This changes nothing yet.
    ///
    /// # Errors
    /// The destination is unavailable.
    pub fn open(&self) -> Result<Box<dyn Sink>, OutputError> {
        let fields = self.fields.clone();
        Ok(match self.module {
            Module::Csv => self.open_file(Encoder::Csv(CsvEncoder::new(fields, self.header_row)))?,
            Module::Json => self.open_file(Encoder::Json(JsonEncoder::new(fields)))?,
            Module::Hostport => self.open_file(self.hostport(Between::Colon))?,
            Module::Zgrab2 => self.open_file(self.hostport(Between::EmptyFields))?,
            Module::Redis => {
                let Some(target) = &self.redis else {
                    let what = "redis without a server".to_owned();
                    return Err(OutputError::Refused { part: OutputPart::Arguments, what });
                };
                let encoder = match target.format {
                    RecordFormat::Packed => Encoder::Packed(PackedEncoder::new(self.several_ports)),
                    RecordFormat::Csv => Encoder::Csv(CsvEncoder::new(fields, false)),
                    RecordFormat::Json => Encoder::Json(JsonEncoder::new(fields)),
                };
                Box::new(RedisSink::open(target, encoder)?)
            }
            #[cfg(feature = "parquet")]
            Module::Parquet => {
                let start = Start::of(self.append, self.resume_at.as_ref());
                let (scan, file, rotation) = (&self.scan, &self.file, self.rotation);
                match self.partitions {
                    Some(partitions) => {
                        Box::new(PartitionedSink::open(fields, scan, file, partitions, &start, rotation)?)
                    }
                    None => Box::new(ParquetSink::open(fields, scan, file, start, rotation)?),
                }
            }
            Module::Pcap => self.open_file(Encoder::Pcap(PcapEncoder { link: self.link }))?,
            Module::Ports(form) => self.open_file(Encoder::Ports(PortsEncoder::new(form, self.has_ports)))?,
        })
    }

    fn hostport(&self, between: Between) -> Encoder {
        Encoder::Hostport(HostportEncoder { between, has_ports: self.has_ports })
    }

    fn open_file(&self, encoder: Encoder) -> Result<Box<dyn Sink>, OutputError> {
        let start = Start::of(self.append, self.resume_at.as_ref());
        let open = if self.atomic { FileSink::open_atomic } else { FileSink::open };
        Ok(Box::new(open(encoder, &self.file, start, self.rotation)?))
    }
}
