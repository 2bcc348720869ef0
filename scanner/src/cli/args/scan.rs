//! How fast, how much, in which order.

use super::{MAX_32, MAX_64, number};
use crate::engine::RATE_MIN_PPS;

/// Help section "Scan".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Scan")]
pub struct ScanArgs {
    /// Probes a second over all workers, also fractions (0.5); 0 is as fast as the NIC takes them. Resets are not counted
    /// in: --bandwidth caps them, too
    #[arg(short = 'r', long, value_name = "PPS", default_value_t = 10_000.0, value_parser = rate)]
    pub rate: f64,

    /// Bits a second on the wire, with suffix K, M or G, resets included; instead of --rate
    #[arg(short = 'B', long, value_name = "BPS", allow_hyphen_values = true, conflicts_with = "rate")]
    pub bandwidth: Option<String>,

    /// Send at most this many probes at a time; more than 256 are sent as 256
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = number::<u32, 1, 65535>)]
    pub batch: u32,

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

    /// Accepted for ZMap's sake: a probe that the kernel does not take stays where it is until it does
    #[arg(long, value_name = "N", value_parser = number::<u32, 0, MAX_32>)]
    pub retries: Option<u32>,

    /// End the scan when the kernel has refused to send more often than this; -1 is no limit
    #[arg(long, value_name = "N", default_value_t = -1, value_parser = failures)]
    pub max_sendto_failures: i64,

    /// End the scan when fewer than this many percent of targets have answered for 5 seconds, the first 5 apart; 0 is
    /// no limit
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub min_hitrate: f64,

    /// End the scan when the link stays down longer than this many seconds; until then nothing is sent, and afterwards
    /// what may have been lost is probed again
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = number::<u64, 0, MAX_32>)]
    pub max_link_down: u64,

    /// Print the probes instead of sending them; needs no root
    #[arg(short = 'd', long)]
    pub dryrun: bool,

    /// Write the targets instead of probing them: 4 bytes of address and 2 of port each, in network order
    #[arg(long)]
    pub fast_dryrun: bool,
}

impl ScanArgs {
    /// Whether nothing is to be sent.
    pub fn is_dry(&self) -> bool {
        self.dryrun || self.fast_dryrun
    }
}

/// Probes a second, with or without a fraction.
fn rate(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let rate = text.parse().ok().filter(|_| plain);
    rate.filter(|&rate| rate == 0.0 || rate >= RATE_MIN_PPS)
        .ok_or_else(|| format!("give a number from {RATE_MIN_PPS} on such as 5000 or 0.5, or 0 for no limit"))
}

/// A count of failures, or -1.
fn failures(text: &str) -> Result<i64, String> {
    let count = text.parse().ok().filter(|count| *count >= -1);
    count.ok_or_else(|| "give a whole number, or -1 for no limit".to_owned())
}

/// Percent, with or without a fraction.
fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "give a number of percent from 0 to 100, such as 0.5".to_owned())
}
