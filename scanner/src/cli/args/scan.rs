//! How fast, how much, in which order.

use super::{MAX_32, MAX_64, number};

/// Help section "Scan".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Scan")]
pub struct ScanArgs {
    /// Packets a second over all workers; 0 is as fast as the NIC takes them [default: 10000]
    #[arg(short = 'r', long, value_name = "PPS", value_parser = number::<u64, 0, MAX_64>)]
    pub rate: Option<u64>,

    /// Bits a second on the wire, with suffix K, M or G; instead of --rate
    #[arg(short = 'B', long, value_name = "BPS", allow_hyphen_values = true, conflicts_with = "rate")]
    pub bandwidth: Option<String>,

    /// Probe at most this many targets, or this share of all allowed targets (1%): the first of the order, or of the
    /// shard's
    #[arg(short = 'n', long, value_name = "N|N%")]
    pub max_targets: Option<String>,

    /// Stop sending after this many seconds; the cooldown follows
    #[arg(short = 't', long, value_name = "SECONDS", value_parser = number::<u64, 0, MAX_64>)]
    pub max_runtime: Option<u64>,

    /// Stop after this many results, with no cooldown
    #[arg(short = 'N', long, value_name = "N", value_parser = number::<u64, 0, MAX_64>)]
    pub max_results: Option<u64>,

    /// Probes to each target, one after the other
    #[arg(short = 'P', long, value_name = "N", default_value_t = 1, value_parser = number::<u32, 0, MAX_32>)]
    pub probes: u32,

    /// How many seconds to wait for replies after the last probe
    #[arg(short = 'c', long, value_name = "SECONDS", default_value_t = 8, value_parser = number::<u64, 0, MAX_64>)]
    pub cooldown_time: u64,

    /// Seed of the order of targets; the same seed, lists and ports give the same order everywhere [default: random]
    #[arg(short = 'e', long, value_name = "N", value_parser = number::<u64, 0, MAX_64>)]
    pub seed: Option<u64>,

    /// Print the probes instead of sending them; needs no root
    #[arg(short = 'd', long)]
    pub dryrun: bool,
}
