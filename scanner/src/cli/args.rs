//! The command line as values: what was typed, checked only as far as its syntax goes.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::results::sink::Module;

/// Bounds of numbers whose real bounds are the plan's business.
const MAX_32: u64 = u32::MAX as u64;
const MAX_64: u64 = u64::MAX;

/// Help sections, in the order of ZMap's own.
mod heading {
    pub(super) const BASIC: &str = "Basic";
    pub(super) const SCAN: &str = "Scan";
    pub(super) const SHARDING: &str = "Sharding";
    pub(super) const NETWORK: &str = "Network";
    pub(super) const PROBE: &str = "Probe module";
    pub(super) const OUTPUT: &str = "Output";
    pub(super) const ENGINE: &str = "Engine";
    pub(super) const LOGGING: &str = "Logging and metadata";
}

/// Send one stateless probe to every target, and record who answers.
///
/// TARGETS are IPv4 addresses, CIDR blocks or ranges (1.2.3.4, 1.2.3.0/24, 1.2.3.4-1.2.3.80); none means all of IPv4
/// that is not reserved. Results go to standard output, everything else to standard error.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "xdpmap",
    version,
    after_help = "Examples:
  xdpmap -p 443 -B 10M -n 10000 -o results.csv  ten thousand random hosts at 10 Mbit/s
  xdpmap -p 80,443 -w my-networks.txt -O json   two ports of listed networks, as JSON
  xdpmap -p 22 -e 7 --shards 3 --shard 0        the first of three machines' shares
  xdpmap -p 80 -n 3 --dryrun                    print three probes, send none (no root)

Exit codes:
  0    done
  1    failed while running, or writing the results
  2    a flag or an input file is wrong
  3    a privilege is missing
  4    the interface or mode is not to be had
  130  interrupted; everything up to then is written

Scan only what you may, and let those you probe find out who you are.",
    max_term_width = 110
)]
pub struct Args {
    /// What to scan: addresses, CIDR blocks, a-b ranges
    #[arg(value_name = "TARGETS")]
    pub targets: Vec<String>,

    /// Ports to scan, required: a list with ranges (80,443,8000-8100) or * for all
    #[arg(short = 'p', long, value_name = "PORTS", help_heading = heading::BASIC)]
    pub target_ports: Option<String>,

    /// Where results go; - is standard output, redis takes a URL. May be given several times, each with its -O [default: -]
    #[arg(short = 'o', long, value_name = "FILE", help_heading = heading::BASIC)]
    pub output_file: Vec<String>,

    /// Networks never to be probed, one a line; wins over everything [default: /etc/xdpmap/blocklist.conf if there is one]
    #[arg(short = 'b', long, value_name = "FILE", help_heading = heading::BASIC)]
    pub blocklist_file: Option<PathBuf>,

    /// Networks to probe, one a line, beside TARGETS; nothing outside both is probed
    #[arg(short = 'w', long, value_name = "FILE", help_heading = heading::BASIC)]
    pub allowlist_file: Option<PathBuf>,

    /// Also probe private, shared, benchmarking and documentation networks that are named as targets
    #[arg(long, help_heading = heading::BASIC)]
    pub allow_reserved: bool,

    /// Packets a second over all workers; 0 is as fast as the NIC takes them [default: 10000]
    #[arg(short = 'r', long, value_name = "PPS", value_parser = number::<u64, 0, MAX_64>, help_heading = heading::SCAN)]
    pub rate: Option<u64>,

    /// Bits a second on the wire, with suffix K, M or G; instead of --rate
    #[arg(short = 'B', long, value_name = "BPS", allow_hyphen_values = true, conflicts_with = "rate", help_heading = heading::SCAN)]
    pub bandwidth: Option<String>,

    /// Probe at most this many targets, or this share of all allowed targets (1%): the first of the order, or of the
    /// shard's
    #[arg(short = 'n', long, value_name = "N|N%", help_heading = heading::SCAN)]
    pub max_targets: Option<String>,

    /// Stop sending after this many seconds; the cooldown follows
    #[arg(short = 't', long, value_name = "SECONDS", value_parser = number::<u64, 0, MAX_64>, help_heading = heading::SCAN)]
    pub max_runtime: Option<u64>,

    /// Stop after this many results, with no cooldown
    #[arg(short = 'N', long, value_name = "N", value_parser = number::<u64, 0, MAX_64>, help_heading = heading::SCAN)]
    pub max_results: Option<u64>,

    /// Probes to each target, one after the other
    #[arg(short = 'P', long, value_name = "N", default_value_t = 1, value_parser = number::<u32, 0, MAX_32>, help_heading = heading::SCAN)]
    pub probes: u32,

    /// How many seconds to wait for replies after the last probe
    #[arg(short = 'c', long, value_name = "SECONDS", default_value_t = 8, value_parser = number::<u64, 0, MAX_64>, help_heading = heading::SCAN)]
    pub cooldown_time: u64,

    /// Seed of the order of targets; the same seed, lists and ports give the same order everywhere [default: random]
    #[arg(short = 'e', long, value_name = "N", value_parser = number::<u64, 0, MAX_64>, help_heading = heading::SCAN)]
    pub seed: Option<u64>,

    /// Print the probes instead of sending them; needs no root
    #[arg(short = 'd', long, help_heading = heading::SCAN)]
    pub dryrun: bool,

    /// Split the scan into this many shards; needs --shard and --seed
    #[arg(long, value_name = "N", value_parser = number::<u32, 0, MAX_32>, help_heading = heading::SHARDING)]
    pub shards: Option<u32>,

    /// Which shard this machine scans, from 0; needs --shards
    #[arg(long, value_name = "N", value_parser = number::<u32, 0, MAX_32>, help_heading = heading::SHARDING)]
    pub shard: Option<u32>,

    /// Source port, or range of source ports
    #[arg(short = 's', long, value_name = "PORT|A-B", default_value = "32768-61000", help_heading = heading::NETWORK)]
    pub source_port: String,

    /// Source addresses: a list, with a-b ranges, of up to 256 [default: the interface's address]
    #[arg(short = 'S', long, value_name = "ADDRESSES", help_heading = heading::NETWORK)]
    pub source_ip: Option<String>,

    /// MAC address of the gateway [default: resolved by the kernel]
    #[arg(short = 'G', long, value_name = "MAC", help_heading = heading::NETWORK)]
    pub gateway_mac: Option<String>,

    /// MAC address to send from [default: the interface's]
    #[arg(long, value_name = "MAC", help_heading = heading::NETWORK)]
    pub source_mac: Option<String>,

    /// Interface to scan through [default: that of the default route]
    #[arg(short = 'i', long, value_name = "NAME", help_heading = heading::NETWORK)]
    pub interface: Option<String>,

    /// What kind of probe to send (see --list-probe-modules)
    #[arg(short = 'M', long, value_name = "NAME", default_value = "tcp_synscan", help_heading = heading::PROBE)]
    pub probe_module: String,

    /// Arguments of the probe module; tcp_synscan: windows, smallest-probes, linux, bsd (its TCP options)
    #[arg(long, value_name = "ARGS", help_heading = heading::PROBE)]
    pub probe_args: Option<String>,

    /// IP time to live of the probes
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = number::<u8, 1, 255>, help_heading = heading::PROBE)]
    pub probe_ttl: u8,

    /// Do not reset the connections that SYN-ACKs leave half open
    #[arg(long, help_heading = heading::PROBE)]
    pub no_rst: bool,

    /// List the probe modules and exit
    #[arg(long, help_heading = heading::PROBE)]
    pub list_probe_modules: bool,

    /// Fields to write, comma separated, * for all; failures and repeats are then written too [default: saddr, or
    /// saddr,sport for several ports]
    #[arg(short = 'f', long, value_name = "FIELDS", help_heading = heading::OUTPUT)]
    pub output_fields: Option<String>,

    /// Format of the results; failures and repeats are then written too. Given several times, the first is for the
    /// first -o, and so on [default: csv]
    #[arg(short = 'O', long, value_name = "NAME", help_heading = heading::OUTPUT)]
    pub output_module: Vec<OutputModule>,

    /// Arguments of redis: NAME=VALUE with commas between them, such as host=192.0.2.1,key=results,format=json
    #[arg(long, value_name = "ARGS", help_heading = heading::OUTPUT)]
    pub output_args: Option<String>,

    /// Write what passes this filter, such as 'success = 1 && saddr in 192.0.2.0/24'; failures and repeats are then
    /// written too, unless it leaves them out; '' is everything
    #[arg(long, value_name = "FILTER", help_heading = heading::OUTPUT)]
    pub output_filter: Option<String>,

    /// Add to the results of an earlier scan: no second header row; a last record that was cut off is removed
    #[arg(long, help_heading = heading::OUTPUT)]
    pub append: bool,

    /// Go on with a new file after so many seconds: results-00002.csv after results.csv
    #[arg(long, value_name = "SECONDS", value_parser = number::<u64, 1, MAX_32>, help_heading = heading::OUTPUT)]
    pub rotate_seconds: Option<u64>,

    /// Go on with a new file when one has reached this size in bytes, with suffix K, M or G
    #[arg(long, value_name = "BYTES", help_heading = heading::OUTPUT)]
    pub rotate_bytes: Option<String>,

    /// Write only successes, each once: what is written anyway unless -f, -O or --output-filter is given
    #[arg(long, help_heading = heading::OUTPUT)]
    pub successes_only: bool,

    /// Write no header row
    #[arg(long, help_heading = heading::OUTPUT)]
    pub no_header_row: bool,

    /// How repeated answers are recognised
    #[arg(long, value_name = "METHOD", default_value = "default", help_heading = heading::OUTPUT)]
    pub dedup_method: DedupMethod,

    /// How many answers the window method remembers
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = number::<usize, 0, MAX_64>, help_heading = heading::OUTPUT)]
    pub dedup_window_size: usize,

    /// List the fields of the probe module's results and exit
    #[arg(long, help_heading = heading::OUTPUT)]
    pub list_output_fields: bool,

    /// List the output modules and exit; with -O, tell of those named
    #[arg(long, help_heading = heading::OUTPUT)]
    pub list_output_modules: bool,

    /// Workers that send; each owns a TX queue. All RX queues are read, whatever their number [default: one a core, at
    /// most one a queue]
    #[arg(short = 'T', long, value_name = "N", value_parser = number::<u32, 0, MAX_32>, help_heading = heading::ENGINE)]
    pub sender_threads: Option<u32>,

    /// Cores for the workers, comma separated [default: all this process may use]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = number::<usize, 0, MAX_32>, help_heading = heading::ENGINE)]
    pub cores: Vec<usize>,

    /// How to reach the NIC; anything but auto must be had or the scan fails
    #[arg(long, value_name = "MODE", default_value = "auto", help_heading = heading::ENGINE)]
    pub io_mode: IoMode,

    /// Drop, rather than pass to the host, what is sent to our source ports and is no valid reply
    #[arg(long, help_heading = heading::ENGINE)]
    pub drop_invalid: bool,

    /// How much to log: 0 fatal only, 1 errors, 2 warnings, 3 information, 4 debugging, 5 everything
    #[arg(short = 'v', long, value_name = "LEVEL", default_value_t = 3, value_parser = number::<u8, 0, 5>, help_heading = heading::LOGGING)]
    pub verbosity: u8,

    /// No status line
    #[arg(short = 'q', long, help_heading = heading::LOGGING)]
    pub quiet: bool,

    /// Write what the scan was and how it went, as JSON; - is standard output
    #[arg(short = 'm', long, value_name = "FILE", help_heading = heading::LOGGING)]
    pub metadata_file: Option<String>,

    /// Skip bad lines of block and allow lists, with a warning
    #[arg(long, help_heading = heading::LOGGING)]
    pub ignore_blocklist_errors: bool,
}

/// A whole number from `MIN` to `MAX`, which fit `T`.
fn number<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    let value = text.parse().ok().filter(|value| (MIN..=MAX).contains(value));
    value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| match MAX {
        MAX_64 => format!("give a whole number from {MIN} on"),
        _ => format!("give a whole number from {MIN} to {MAX}"),
    })
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

/// Ways to recognise repeated answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DedupMethod {
    /// full
    Default,
    /// No answer counts as a repeat
    None,
    /// Exact. One port: a bit for each IPv4 address; several: up to 21 bytes for each target that succeeds
    Full,
    /// The last --dedup-window-size answers
    Window,
}

/// Ways to reach the NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IoMode {
    /// The best that can be had, down the list
    Auto,
    /// AF_XDP, the driver reads and writes our memory
    Zerocopy,
    /// XDP live frames: the driver sends without the kernel's packets; replies over AF_XDP. Two cores a worker
    Live,
    /// AF_XDP, the kernel copies; program run by the driver
    Copy,
    /// AF_XDP, the kernel copies; program run by the network stack
    Generic,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn zmap_spellings() {
        let line = "xdpmap -p 80 -B 10M -n 10000 -o results.csv -w a -b b -t 5 -N 6 -P 2 -c 1 -e 9 -s 40000-50000 \
                    -S 192.0.2.1 -G 02:00:00:00:00:01 -i eth0 -M tcp_synscan -f saddr -O json -v 4 -q -m meta.json -T 2 -d";
        let args = Args::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(args.target_ports.as_deref(), Some("80"));
        assert_eq!(args.bandwidth.as_deref(), Some("10M"));
        assert_eq!(args.output_module, [OutputModule::Json]);
        assert!(args.quiet && args.dryrun);
    }

    #[test]
    fn rate_and_bandwidth_exclude_each_other() {
        let error = Args::try_parse_from(["xdpmap", "-r", "5", "-B", "5M"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
