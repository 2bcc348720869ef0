//! The command line as values: what was typed. Only its syntax is checked.
//!
//! There is one struct per help section, in the order in which the help prints them, which is ZMap's order.

mod basic;
mod checkpoint;
mod dedup;
mod engine;
mod logging;
mod network;
mod output;
mod probe;
mod scan;
mod sharding;

use clap::Parser;

pub use basic::{BasicArgs, Generated};
pub use checkpoint::CheckpointArgs;
pub use dedup::{DedupArgs, DedupMethod};
pub use engine::{EngineArgs, IoMode};
pub use logging::{LoggingArgs, StatusFormat};
pub use network::{NetworkArgs, Toggle};
pub use output::{OnOutputError, OutputArgs, OutputModule, Partition};
pub use probe::ProbeArgs;
pub use scan::{Rate, ScanArgs, rate};
pub use sharding::{ShardChoice, ShardingArgs, Task, choice as shard_choice};

use super::origin::SetOption;
use crate::exit::{self, Exit};
use crate::units;

/// Upper bounds of numbers whose real bounds the plan checks.
const MAX_16: u64 = u16::MAX as u64;
const MAX_32: u64 = u32::MAX as u64;
const MAX_64: u64 = u64::MAX;

/// The group of options that are for the command line only: config files and the environment cannot set them.
pub(super) const TYPED_ONLY: &str = "typed-only";

/// Command lines to start from.
const EXAMPLES: &str = "\
Examples:
  xdpmap -p 443 -B 10M -n 10000 -o results.csv  ten thousand random hosts at 10 Mbit/s
  xdpmap -p 80,443 -w my-networks.txt -O json   two ports of listed networks, as JSON
  xdpmap -p 22 -e 7 --shards 3 --shard 0        the first of three shards
  xdpmap -p 80 -n 3 --dryrun                    print three probes, send none (no root)

Other commands:
  xdpmap resume results.csv.xdpmap              go on with a scan that was interrupted
  xdpmap checkpoint show results.csv.xdpmap     what it has done, and what is left
  xdpmap calibrate -p 443                       how much is lost at which rate, and which rate to scan with
  xdpmap doctor                                 what this host and its interface can do, and what to change
  xdpmap ctl                                    how a running scan stands; pauses, changes, stops it
  xdpmap verify meta.json                       whether its results are whole and belong to it
  xdpmap merge shards/ -o all.csv               one scan of its shards; what is missing
  xdpmap diff old.csv new.csv                   what is new, gone or changed
  xdpmap report meta.json -o report.html        what it did and found, as a page with pictures
  xdpmap map results.csv -o map.png             where in IPv4 its hits are
  xdpmap probing-txt --contact mailto:me@x.org  the file that says who sends probes and why (RFC 9511)
  xdpmap iterate, blocklist, tee                ziterate, zblocklist and ztee";

/// What the help ends with.
fn after_help() -> String {
    let codes = exit::section(&Exit::ALL.map(|exit| (exit, exit.meaning())));
    format!(
        "{EXAMPLES}\n\n{codes}\n\nScan only networks that you may scan, and let their owners find out who you are."
    )
}

/// Send one stateless probe to every target, and record which targets answer.
///
/// TARGETS are IPv4 addresses, CIDR blocks, ranges (1.2.3.4, 1.2.3.0/24, 1.2.3.4-1.2.3.80), host names or, with
/// --asn-file, AS numbers (AS64500); without any, all of IPv4 that is not reserved is scanned. Results go to standard
/// output, everything else to standard error.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "xdpmap",
    version,
    after_help = after_help(),
    max_term_width = 110
)]
pub struct Args {
    /// What to scan: addresses, CIDR blocks, a-b ranges, host names, AS numbers
    #[arg(value_name = "TARGETS")]
    pub targets: Vec<String>,

    /// Arguments that came from the environment and from config files.
    #[arg(skip)]
    pub inherited: Vec<String>,

    /// The options in force as a config file.
    #[arg(skip)]
    pub in_force: Vec<u8>,

    /// Where those of them were set that do not have their defaults, in the order of their lines.
    #[arg(skip)]
    pub origins: Vec<SetOption>,

    /// What to scan, and where the results go.
    #[command(flatten)]
    pub basic: BasicArgs,

    /// How fast, how much, in which order.
    #[command(flatten)]
    pub scan: ScanArgs,

    /// Which part of a scan this machine does.
    #[command(flatten)]
    pub sharding: ShardingArgs,

    /// From which addresses, through which interface.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// What each target is sent.
    #[command(flatten)]
    pub probe: ProbeArgs,

    /// Which replies are written, and how.
    #[command(flatten)]
    pub output: OutputArgs,

    /// How the scan can go on after an interruption.
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,

    /// When an answer is a repeat.
    #[command(flatten)]
    pub dedup: DedupArgs,

    /// What is reported about the scan, and where.
    #[command(flatten)]
    pub logging: LoggingArgs,

    /// The workers, and how they reach the NIC.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// A whole number from `MIN` to `MAX`, which fit `T`.
fn number<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    within::<T, MIN, MAX>(text.parse().ok(), "whole number", "")
}

/// As [`number`], with an optional suffix K, M or G.
fn count<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    within::<T, MIN, MAX>(units::count(text), "whole number", ", such as 5000, 10K or 1.5M")
}

/// As [`number`], of seconds: without a unit, or with s, m, h or d.
fn seconds<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    // Plain seconds may be more than a time can be.
    let time = || units::time(text).filter(|time| time.subsec_nanos() == 0).map(|time| time.as_secs());
    within::<T, MIN, MAX>(
        text.parse().ok().or_else(time),
        "whole number of seconds",
        ", such as 90, 30s, 5m or 1h30m",
    )
}

/// Seconds, with or without a fraction or a unit.
fn interval(text: &str) -> Result<f64, String> {
    let seconds = units::time(text).map(|time| time.as_secs_f64());
    seconds
        .filter(|seconds| (0.01..=86_400.0).contains(seconds))
        .ok_or_else(|| "give seconds from 0.01 to 86400, such as 5, 0.5 or 1m".to_owned())
}

/// `value`, if it is one from `MIN` to `MAX`; otherwise what to give, and examples.
fn within<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(
    value: Option<u64>,
    what: &str,
    examples: &str,
) -> Result<T, String> {
    let value = value.filter(|value| (MIN..=MAX).contains(value));
    value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| match MAX {
        MAX_64 => format!("give a {what} from {MIN} on{examples}"),
        _ => format!("give a {what} from {MIN} to {MAX}{examples}"),
    })
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
        assert_eq!(args.basic.target_ports.as_deref(), Some("80"));
        assert_eq!(args.scan.bandwidth.as_deref(), Some("10M"));
        assert_eq!(args.output.output_module, [OutputModule::Json]);
        assert!(args.logging.quiet == 1 && args.scan.dryrun);
    }

    #[test]
    fn rate_and_bandwidth_exclude_each_other() {
        let error = Args::try_parse_from(["xdpmap", "-r", "5", "-B", "5M"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
