//! The command line as values: what was typed, checked only as far as its syntax goes.
//!
//! One struct a help section, in the order in which the help prints them, which is that of ZMap's.

mod basic;
mod dedup;
mod engine;
mod logging;
mod network;
mod output;
mod probe;
mod scan;
mod sharding;

use clap::Parser;

pub use basic::BasicArgs;
pub use dedup::{DedupArgs, DedupMethod};
pub use engine::{EngineArgs, IoMode};
pub use logging::{LoggingArgs, StatusFormat};
pub use network::{NetworkArgs, Toggle};
pub use output::{OutputArgs, OutputModule};
pub use probe::ProbeArgs;
pub use scan::ScanArgs;
pub use sharding::ShardingArgs;

/// Bounds of numbers whose real bounds are the plan's business.
const MAX_16: u64 = u16::MAX as u64;
const MAX_32: u64 = u32::MAX as u64;
const MAX_64: u64 = u64::MAX;

/// Send one stateless probe to every target, and record who answers.
///
/// TARGETS are IPv4 addresses, CIDR blocks, ranges (1.2.3.4, 1.2.3.0/24, 1.2.3.4-1.2.3.80) or host names; none means
/// all of IPv4 that is not reserved. Results go to standard output, everything else to standard error.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "xdpmap",
    version,
    after_help = "Examples:
  xdpmap -p 443 -B 10M -n 10000 -o results.csv  ten thousand random hosts at 10 Mbit/s
  xdpmap -p 80,443 -w my-networks.txt -O json   two ports of listed networks, as JSON
  xdpmap -p 22 -e 7 --shards 3 --shard 0        the first of three machines' shares
  xdpmap -p 80 -n 3 --dryrun                    print three probes, send none (no root)

Other commands:
  xdpmap doctor                                 what this host and its interface can do, and what to change
  xdpmap iterate, blocklist, tee                ziterate, zblocklist and ztee

Exit codes:
  0    done
  1    failed while running, or writing the results
  2    a flag or an input file is wrong
  3    a privilege is missing
  4    the interface or mode is not to be had, was taken away, or stopped sending
  5    ended by --min-hitrate, --max-sendto-failures or --max-link-down
  130  interrupted; everything up to then is written

Scan only what you may, and let those you probe find out who you are.",
    max_term_width = 110
)]
pub struct Args {
    /// What to scan: addresses, CIDR blocks, a-b ranges, host names
    #[arg(value_name = "TARGETS")]
    pub targets: Vec<String>,

    /// Arguments that came from the environment and from config files.
    #[arg(skip)]
    pub inherited: Vec<String>,

    /// What to scan, and where the results go.
    #[command(flatten)]
    pub basic: BasicArgs,

    /// How fast, how much, in which order.
    #[command(flatten)]
    pub scan: ScanArgs,

    /// Which part of a scan this machine takes.
    #[command(flatten)]
    pub sharding: ShardingArgs,

    /// From which addresses, through which interface.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// What each target is sent.
    #[command(flatten)]
    pub probe: ProbeArgs,

    /// What is written of the replies, and how.
    #[command(flatten)]
    pub output: OutputArgs,

    /// When an answer is a repeat.
    #[command(flatten)]
    pub dedup: DedupArgs,

    /// What is said about the scan, and where.
    #[command(flatten)]
    pub logging: LoggingArgs,

    /// With which workers, and how they reach the NIC.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// A whole number from `MIN` to `MAX`, which fit `T`.
fn number<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    let value = text.parse().ok().filter(|value| (MIN..=MAX).contains(value));
    value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| match MAX {
        MAX_64 => format!("give a whole number from {MIN} on"),
        _ => format!("give a whole number from {MIN} to {MAX}"),
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
        assert!(args.logging.quiet && args.scan.dryrun);
    }

    #[test]
    fn rate_and_bandwidth_exclude_each_other() {
        let error = Args::try_parse_from(["xdpmap", "-r", "5", "-B", "5M"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
