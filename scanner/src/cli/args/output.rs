//! What is written of the replies, and how.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{MAX_32, number};
use crate::results::sink::Module;

/// Help section "Output".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Fields to write, comma separated, * for all; failures and repeats are then written too [default: saddr, or
    /// saddr,sport for several ports]
    #[arg(short = 'f', long, value_name = "FIELDS")]
    pub output_fields: Option<String>,

    /// Format of the results; failures and repeats are then written too. Given several times, the first is for the
    /// first -o, and so on [default: csv]
    #[arg(short = 'O', long, value_name = "NAME")]
    pub output_module: Vec<OutputModule>,

    /// Arguments of redis: NAME=VALUE with commas between them, such as host=192.0.2.1,key=results,format=json
    #[arg(long, value_name = "ARGS")]
    pub output_args: Option<String>,

    /// Write what passes this filter, such as 'success = 1 && saddr in 192.0.2.0/24'; failures and repeats are then
    /// written too, unless it leaves them out; '' is everything
    #[arg(long, value_name = "FILTER")]
    pub output_filter: Option<String>,

    /// Add to the results of an earlier scan: no second header row; a last record that was cut off is removed
    #[arg(long)]
    pub append: bool,

    /// Go on with a new file after so many seconds: results-00002.csv after results.csv
    #[arg(long, value_name = "SECONDS", value_parser = number::<u64, 1, MAX_32>)]
    pub rotate_seconds: Option<u64>,

    /// Go on with a new file when one has reached this size in bytes, with suffix K, M or G
    #[arg(long, value_name = "BYTES")]
    pub rotate_bytes: Option<String>,

    /// Write only successes, each once: what is written anyway unless -f, -O or --output-filter is given
    #[arg(long)]
    pub successes_only: bool,

    /// Write the probes, too, to this file, as pcap: tcpdump sees none of them
    #[arg(long, value_name = "FILE")]
    pub probes_file: Option<PathBuf>,

    /// At the end, wait so many seconds for whoever reads the results and takes nothing; an interrupt ends the wait
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = number::<u64, 0, MAX_32>)]
    pub output_wait: u64,

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

/// Formats of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputModule {
    /// Comma separated values, RFC 4180
    Csv,
    /// One JSON object a line
    Json,
    /// Records in a list or stream of a Redis server
    Redis,
    /// ZMap 2's name for redis with packed records
    #[value(name = "redis-packed", hide = true)]
    RedisPacked,
    /// ZMap 2's name for redis with records of CSV
    #[value(name = "redis-csv", hide = true)]
    RedisCsv,
    /// Typed columns in Parquet files
    #[cfg(feature = "parquet")]
    Parquet,
    /// The captured frames, for tcpdump and tshark
    Pcap,
}

impl OutputModule {
    /// What the name stands for.
    pub fn module(self) -> Module {
        match self {
            Self::Csv => Module::Csv,
            Self::Json => Module::Json,
            Self::Redis | Self::RedisPacked | Self::RedisCsv => Module::Redis,
            #[cfg(feature = "parquet")]
            Self::Parquet => Module::Parquet,
            Self::Pcap => Module::Pcap,
        }
    }
}
