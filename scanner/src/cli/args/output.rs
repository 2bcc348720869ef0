//! Help section "Output": which replies are written, and how.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{MAX_32, count, seconds};
use crate::results::format::Form;
use crate::results::sink::{Module, PartitionBy};

/// Help section "Output".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Fields to write, comma separated, * for all; failures and repeats are then written too [default: saddr, or
    /// saddr,sport for several ports]
    #[arg(short = 'f', long, value_name = "FIELDS")]
    pub output_fields: Option<String>,

    /// Format of the results; failures and repeats are then written too, except with hostport and the forms of nmap and
    /// masscan. Given several times, the first is for the first -o, and so on [default: what the file's name ends with
    /// (.json, .pcap, .parquet, .xml, .gnmap), or else csv]
    #[arg(short = 'O', long, value_name = "NAME")]
    pub output_module: Vec<OutputModule>,

    /// Write successes, each once, as this program reads them; instead of -O and -f
    #[arg(long = "for", value_name = "PROGRAM", conflicts_with_all = ["output_module", "output_fields"])]
    pub reader: Option<Reader>,

    /// Arguments of redis: NAME=VALUE with commas between them, such as host=192.0.2.1,key=results,format=json
    #[arg(long, value_name = "ARGS")]
    pub output_args: Option<String>,

    /// Write only replies that pass this filter, such as 'success = 1 && saddr in 192.0.2.0/24'; failures and repeats
    /// are then written too, unless the filter excludes them; '' passes everything
    #[arg(long, value_name = "FILTER")]
    pub output_filter: Option<String>,

    /// Folder of a scan that many machines share: this shard writes FOLDER/shard-00017/results.csv (or .json, as -O
    /// says), metadata.json and its checkpoint, unless -o or -m say otherwise. xdpmap merge FOLDER makes one scan of
    /// them
    #[arg(long, value_name = "FOLDER")]
    pub output_dir: Option<PathBuf>,

    /// Append to the results of an earlier scan: no second header row; a last record that is incomplete is removed
    #[arg(long)]
    pub append: bool,

    /// Give result files their names only once the scan is whole; until then they have .part behind them, and an
    /// earlier file stays
    #[arg(long, conflicts_with = "append")]
    pub atomic_output: bool,

    /// Start a new file after this time, in seconds or as 1h: results-00002.csv after results.csv
    #[arg(long, value_name = "TIME", value_parser = seconds::<u64, 1, MAX_32>)]
    pub rotate_seconds: Option<u64>,

    /// Start a new file when one has reached this size in bytes, with suffix K, M or G
    #[arg(long, value_name = "BYTES")]
    pub rotate_bytes: Option<String>,

    /// Write Parquet as a data set, with a folder for each port or shard: RESULTS/port=80/part-00001.parquet. The file
    /// of -o is then the folder above them
    #[arg(long, value_name = "COLUMN")]
    pub partition: Option<Partition>,

    /// Write only successes, each once; this is the default unless -f, -O or --output-filter is given
    #[arg(long)]
    pub successes_only: bool,

    /// Most open ports of one host that are written, for hosts that answer on every port; what they answer on beyond
    /// that is counted and left out
    #[arg(long, value_name = "N", value_parser = count::<u16, 1, 65_534>)]
    pub max_ports_per_host: Option<u16>,

    /// Also write the probes to this file, as pcap, because tcpdump does not see them
    #[arg(long, value_name = "FILE")]
    pub probes_file: Option<PathBuf>,

    /// At the end, wait so long for a reader of the results that has stopped reading, in seconds or as 5m; an interrupt
    /// ends the wait
    #[arg(long, value_name = "TIME", default_value_t = 30, value_parser = seconds::<u64, 0, MAX_32>)]
    pub output_wait: u64,

    /// When an output cannot be written, such as on a full disk: end the scan, which can be resumed, or pause the
    /// sending for at most ten minutes and try again
    #[arg(long, value_name = "ACTION", default_value = "stop")]
    pub on_output_error: OnOutputError,

    /// Write no header row
    #[arg(long)]
    pub no_header_row: bool,

    /// List the fields of the probe module's results and exit
    #[arg(long)]
    pub list_output_fields: bool,

    /// List the output modules and exit
    #[arg(long)]
    pub list_output_modules: bool,
}

/// What to do when an output cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOutputError {
    /// End the scan
    Stop,
    /// Pause the sending, and try again
    Pause,
}

/// What Parquet files are parted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Partition {
    /// The port that was probed
    Port,
    /// The shard of the scan
    Shard,
}

/// Formats of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputModule {
    /// Comma separated values, RFC 4180
    Csv,
    /// One JSON object per line
    Json,
    /// Successes as address:port, one per line
    Hostport,
    /// Records in a list or stream on a Redis server
    Redis,
    /// ZMap 2's name for redis with packed records
    #[value(name = "redis-packed", hide = true)]
    RedisPacked,
    /// ZMap 2's name for redis with CSV records
    #[value(name = "redis-csv", hide = true)]
    RedisCsv,
    /// Typed columns in Parquet files
    #[cfg(feature = "parquet")]
    Parquet,
    /// The captured frames, for tcpdump and tshark
    Pcap,
    /// Successes in nmap's XML, as masscan writes it
    Xml,
    /// Successes in the form of nmap -oG
    Grepable,
    /// Successes in masscan's list
    List,
    /// Successes in masscan's JSON
    MasscanJson,
    /// Successes as zgrab2's input
    Zgrab2,
}

/// Programs that read results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reader {
    /// Addresses with ports, for zgrab2 METHOD
    Zgrab2,
    /// JSON with what LZR needs to go on with the connection
    Lzr,
    /// address:port, for httpx
    Httpx,
    /// address:port, for nuclei -l
    Nuclei,
    /// Addresses alone, for nmap -iL
    Nmap,
    /// Addresses alone, for the file that masscan includes
    Masscan,
}

impl Reader {
    /// What it reads: the format, and the fields where that has any.
    fn reads(self) -> (OutputModule, Option<&'static str>) {
        match self {
            Self::Zgrab2 => (OutputModule::Zgrab2, None),
            // "Example" in the README of LZR.
            Self::Lzr => (OutputModule::Json, Some("saddr,daddr,sport,dport,seqnum,acknum,window")),
            Self::Httpx | Self::Nuclei => (OutputModule::Hostport, None),
            Self::Nmap | Self::Masscan => (OutputModule::Csv, Some("saddr")),
        }
    }
}

impl OutputArgs {
    /// Gives the options their values for the program that reads the results.
    pub(in crate::cli) fn settle(&mut self) {
        let Some(reader) = self.reader else { return };
        let (module, fields) = reader.reads();
        self.output_module = vec![module];
        self.output_fields = fields.map(str::to_owned);
        (self.no_header_row, self.successes_only) = (true, true);
    }
}

impl Partition {
    /// What the word stands for.
    pub fn by(self) -> PartitionBy {
        match self {
            Self::Port => PartitionBy::Port,
            Self::Shard => PartitionBy::Shard,
        }
    }
}

impl OutputModule {
    /// The format that a file's name ends with, if it is one of those that are known by their ending.
    pub fn of_file(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            #[cfg(feature = "parquet")]
            "parquet" => Some(Self::Parquet),
            "pcap" => Some(Self::Pcap),
            "xml" => Some(Self::Xml),
            "gnmap" => Some(Self::Grepable),
            _ => None,
        }
    }

    /// What the name of a file in this format ends with; `None` if it does not go to a file.
    pub fn ending(self) -> Option<&'static str> {
        match self {
            Self::Csv => Some("csv"),
            Self::Json => Some("json"),
            Self::Hostport => Some("txt"),
            Self::Redis | Self::RedisPacked | Self::RedisCsv => None,
            #[cfg(feature = "parquet")]
            Self::Parquet => Some("parquet"),
            Self::Pcap => Some("pcap"),
            Self::Xml => Some("xml"),
            Self::Grepable => Some("gnmap"),
            Self::List => Some("list"),
            Self::MasscanJson => Some("masscan.json"),
            Self::Zgrab2 => Some("csv"),
        }
    }

    /// What the name stands for.
    pub fn module(self) -> Module {
        match self {
            Self::Csv => Module::Csv,
            Self::Json => Module::Json,
            Self::Hostport => Module::Hostport,
            Self::Redis | Self::RedisPacked | Self::RedisCsv => Module::Redis,
            #[cfg(feature = "parquet")]
            Self::Parquet => Module::Parquet,
            Self::Pcap => Module::Pcap,
            Self::Xml => Module::Ports(Form::Xml),
            Self::Grepable => Module::Ports(Form::Grepable),
            Self::List => Module::Ports(Form::List),
            Self::MasscanJson => Module::Ports(Form::MasscanJson),
            Self::Zgrab2 => Module::Zgrab2,
        }
    }
}
