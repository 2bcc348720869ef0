//! Help section "Scan": how fast, how much, in which order.

use super::{MAX_32, MAX_64, TYPED_ONLY, count, interval, number, seconds};
use crate::engine::canaries::PPM;
use crate::engine::{CANARY_SHARE_MAX_PPM, RATE_MIN_PPS};
use crate::units;

/// Help section "Scan".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Scan")]
pub struct ScanArgs {
    /// Probes per second over all workers, with suffix K or M, also fractions (0.5); 0 is as fast as the NIC accepts
    /// them. Does not count resets; --bandwidth limits those as well. With auto, xdpmap finds the fastest rate that
    /// loses nothing, with auto:50K or auto:1Gbit at most that
    #[arg(short = 'r', long, value_name = "PPS|auto", default_value = "10000", value_parser = rate_or_auto)]
    pub rate: Rate,

    /// Bits per second on the wire, including resets, as 10M or 1Gbit; instead of --rate
    #[arg(short = 'B', long, value_name = "BPS", allow_hyphen_values = true, conflicts_with = "rate")]
    pub bandwidth: Option<String>,

    /// Probes per second of all shards together, instead of --rate: this one sends its share, in whole probes if that
    /// is one or more; the first shards send what remains
    #[arg(long, value_name = "PPS", value_parser = total_rate, conflicts_with_all = ["rate", "bandwidth"])]
    pub total_rate: Option<f64>,

    /// Send at most this many probes at a time; more than 256 are sent as 256
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = number::<u32, 1, 65535>)]
    pub batch: u32,

    /// Probe at most this many targets (10000, 10K), or this share of all allowed targets (1%): the first in the order
    /// of the scan, or of the shard
    #[arg(short = 'n', long, value_name = "N|N%")]
    pub max_targets: Option<String>,

    /// Stop sending after this time, in seconds or as 5m, 1h30m or 2d; the cooldown follows
    #[arg(short = 't', long, value_name = "TIME", value_parser = seconds::<u64, 0, MAX_64>)]
    pub max_runtime: Option<u64>,

    /// Stop after this many results, with no cooldown
    #[arg(short = 'N', long, value_name = "N", value_parser = count::<u64, 0, MAX_64>)]
    pub max_results: Option<u64>,

    /// Probes to each target, one after the other
    #[arg(short = 'P', long, value_name = "N", default_value_t = 1, value_parser = number::<u32, 0, MAX_32>)]
    pub probes: u32,

    /// Time between the two probes to a target of --probes 2, or between the first and the second of --recheck, in
    /// seconds or as 1m: the second one follows after it, and not at once [default: with --recheck 30 seconds, or the
    /// cooldown if that is longer]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub probe_gap: Option<f64>,

    /// Share of the targets, in percent, that get a second probe some time after the first (--probe-gap): how many
    /// hosts only these find shows how many a single probe misses; 0 is none [default: 0]
    #[arg(long, value_name = "PERCENT", value_parser = recheck)]
    pub recheck: Option<f64>,

    /// Share of probes, in percent up to 10, that go to hosts that have answered before: their answers measure loss and
    /// are no results; 0 is none [default: 0.1% from 1,048,576 targets on, else 0]
    #[arg(long, value_name = "PERCENT", value_parser = canaries)]
    pub canaries: Option<f64>,

    /// How long to wait for replies after the last probe, in seconds or as 1m
    #[arg(short = 'c', long, value_name = "TIME", default_value_t = 8, value_parser = seconds::<u64, 0, MAX_64>)]
    pub cooldown_time: u64,

    /// Seed of the order of targets; the same seed, lists and ports give the same order everywhere [default: random]
    #[arg(short = 'e', long, value_name = "N", value_parser = number::<u64, 0, MAX_64>)]
    pub seed: Option<u64>,

    /// Ignored, for ZMap compatibility: a probe that the kernel refuses stays queued until it is accepted
    #[arg(long, value_name = "N", value_parser = number::<u32, 0, MAX_32>)]
    pub retries: Option<u32>,

    /// End the scan when the kernel has refused to send more often than this; -1 is no limit
    #[arg(long, value_name = "N", default_value_t = -1, value_parser = failures)]
    pub max_sendto_failures: i64,

    /// End the scan if the hit rate stays below this percentage for 5 seconds, not counting the first 5; 0 is no limit
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub min_hitrate: f64,

    /// End the scan when the link stays down longer than this, in seconds or as 5m; until then nothing is sent, and
    /// afterwards targets whose probes may have been lost are probed again
    #[arg(long, value_name = "TIME", default_value_t = 60, value_parser = seconds::<u64, 0, MAX_32>)]
    pub max_link_down: u64,

    /// Begin at once: otherwise a scan of more than 16,777,216 targets waits for five seconds, in which Ctrl-C ends it,
    /// if standard error is a terminal
    #[arg(long)]
    pub yes: bool,

    /// Print the plan of the scan instead of carrying it out: targets, duration, bandwidth, lists, interfaces, outputs.
    /// Sends nothing, changes no file, and does not need root
    #[arg(long, group = TYPED_ONLY)]
    pub plan: bool,

    /// Print the probes instead of sending them; does not need root
    #[arg(short = 'd', long, conflicts_with = "plan")]
    pub dryrun: bool,

    /// Write the targets in binary instead of probing them: 4 bytes of address and 2 bytes of port each, big-endian
    #[arg(long, conflicts_with = "plan")]
    pub fast_dryrun: bool,
}

/// The value of `--rate`.
#[derive(Clone, Debug, PartialEq)]
pub enum Rate {
    /// Probes per second; 0 is no limit.
    Pps(f64),
    /// The fastest rate that loses nothing.
    Auto,
    /// The same, but at most this many probes per second.
    AutoPps(f64),
    /// The same, but at most this many bits per second on the wire, as `--bandwidth` is given.
    AutoBandwidth(String),
    /// One rate after the other, up to this many probes per second (`xdpmap calibrate`); it cannot be typed.
    Steps(f64),
}

impl ScanArgs {
    /// Whether probes are printed instead of sent.
    pub fn is_dry(&self) -> bool {
        self.dryrun || self.fast_dryrun
    }
}

/// Probes per second, with or without a fraction or a suffix, as `--rate` is given.
///
/// # Errors
/// Why it is none.
pub fn rate(text: &str) -> Result<f64, String> {
    units::amount(text).filter(|&rate| rate == 0.0 || rate >= RATE_MIN_PPS).ok_or_else(|| {
        format!("give a number from {RATE_MIN_PPS} on such as 5000 or 0.5 or 10K, or 0 for no limit")
    })
}

/// As [`rate`], or `auto`, with or without what it may be at most: a rate, or a bandwidth with its unit.
fn rate_or_auto(text: &str) -> Result<Rate, String> {
    let most = match text.split_once(':') {
        _ if text.eq_ignore_ascii_case("auto") => return Ok(Rate::Auto),
        Some((auto, most)) if auto.eq_ignore_ascii_case("auto") => most,
        _ => {
            let what = |what: String| format!("{what}; auto finds it, auto:50K or auto:1Gbit at most that");
            return rate(text).map(Rate::Pps).map_err(what);
        }
    };
    let unit = most.to_ascii_lowercase();
    if unit.ends_with("bit") || unit.ends_with("bps") {
        return Ok(Rate::AutoBandwidth(most.to_owned()));
    }
    let pps = units::amount(most).filter(|&rate| rate >= RATE_MIN_PPS);
    pps.map(Rate::AutoPps).ok_or_else(|| {
        "after auto:, give the most probes per second, such as 50K, or a bandwidth with its unit, such as 1Gbit".to_owned()
    })
}

/// As [`rate`], but limited: what has no limit cannot be divided.
fn total_rate(text: &str) -> Result<f64, String> {
    rate(text).ok().filter(|&rate| rate > 0.0).ok_or_else(|| {
        format!("give a number from {RATE_MIN_PPS} on such as 5000 or 10K; for no limit, give --rate 0")
    })
}

/// A count of failures, or -1.
fn failures(text: &str) -> Result<i64, String> {
    let count = text.parse().ok().filter(|count| *count >= -1);
    count.ok_or_else(|| "give a whole number, or -1 for no limit".to_owned())
}

/// A share of canaries, with or without a percent sign.
fn canaries(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).parse().ok();
    let most = f64::from(CANARY_SHARE_MAX_PPM) * 100.0 / PPM as f64;
    percent
        .filter(|percent| (0.0..=most).contains(percent))
        .ok_or_else(|| format!("give a percentage from 0 to {most}, such as 0.1 or 0.1%"))
}

/// A share of the targets, with or without a percent sign.
fn recheck(text: &str) -> Result<f64, String> {
    percent(text.strip_suffix('%').unwrap_or(text))
        .map_err(|_| "give a percentage from 0 to 100, such as 1 or 1%".to_owned())
}

/// Percent, with or without a fraction.
fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "give a percentage from 0 to 100, such as 0.5".to_owned())
}
