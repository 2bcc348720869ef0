//! The rate of a scan: computed from a bandwidth, and in words.

use std::fmt;

use wire::packet::wire_len;

use super::{LimitPlan, PlanError};
use crate::cli::Args;
use crate::engine::{RATE_MAX_PPS, RATE_MIN_PPS, SCAN_MAX};
use crate::governor;

/// The share that one of `shards` has of a rate of all of them together: a whole number of probes per second if that is
/// at least one, and otherwise a multiple of the slowest rate. The first shards have what remains. Together they have
/// no more than `total_pps`.
pub(super) fn of_total(total_pps: f64, shard: u32, shards: u32) -> Result<f64, PlanError> {
    let shards = u64::from(shards.max(1));
    let units_per_probe = if total_pps >= shards as f64 { 1.0 } else { (1.0 / RATE_MIN_PPS).round() };
    let units = (total_pps * units_per_probe) as u64;
    let own = units / shards + u64::from(u64::from(shard) < units % shards);
    // For all of them, not only for those that would have nothing: what they miss would never be scanned.
    if units < shards {
        let what = format!(
            "{total_pps} probes per second in {shards} shards is less than {RATE_MIN_PPS} for each; give more, or fewer \
             shards"
        );
        return Err(PlanError::usage("--total-rate", what));
    }
    Ok(own as f64 / units_per_probe)
}

/// Probes per second if each takes `wire_len` bytes of the link. Never 0, which would mean no limit.
pub(super) fn of_bandwidth(bps: u64, wire_len: usize) -> Result<f64, PlanError> {
    let bits = 8.0 * wire_len as f64;
    let rate_pps = bps as f64 / bits;
    if rate_pps < RATE_MIN_PPS {
        let least = (RATE_MIN_PPS * bits).ceil();
        let what =
            format!("a probe has {bits} bits on the wire and would take hours to send; give {least} or more");
        return Err(PlanError::usage("--bandwidth", what));
    }
    Ok(rate_pps)
}

/// Probes per second if each takes `wire_len` bytes of the link.
///
/// # Errors
/// The bandwidth is too small or too large for such frames: why, without the flag.
pub fn rate_of_bandwidth(bps: u64, wire_len: usize) -> Result<f64, String> {
    match of_bandwidth(bps, wire_len) {
        Ok(rate_pps) if rate_pps > RATE_MAX_PPS => {
            Err("no NIC sends that many packets per second".to_owned())
        }
        Ok(rate_pps) => Ok(rate_pps),
        Err(PlanError::Usage { what, .. }) => Err(what),
        Err(error) => Err(error.to_string()),
    }
}

impl LimitPlan {
    /// The same limits for frames of this length: of frames with VLAN tags, fewer fit into a bandwidth.
    ///
    /// # Errors
    /// The bandwidth is too small for such frames.
    pub(super) fn of_frames(self, frame_len: usize) -> Result<Self, PlanError> {
        match self.bandwidth_bps {
            Some(bps) => Ok(Self { rate_pps: of_bandwidth(bps, wire_len(frame_len))?, ..self }),
            None => Ok(self),
        }
    }

    /// The rate in words, if it is limited. `may_reset` if resets are sent as well.
    pub fn rate_told(&self, may_reset: bool) -> Option<String> {
        let rate = Rate(self.rate_pps);
        if self.finds_rate {
            // With a limit below the start, the search begins at the limit.
            let starts = self.rate_pps == 0.0 || self.rate_pps > governor::START_PPS;
            let start = starts.then(|| format!("from {} probes per second on", Rate(governor::START_PPS)));
            let most = match (self.bandwidth_bps, self.rate_pps) {
                (Some(bps), _) => {
                    Some(format!("at most {bps} bits per second on the wire: {rate} probes per second"))
                }
                (None, 0.0) => None,
                (None, _) => Some(format!("at most {rate} probes per second")),
            };
            let bounds = start.into_iter().chain(most).collect::<Vec<_>>().join(", and ");
            return Some(format!("the fastest rate that loses nothing, {bounds}"));
        }
        if let Some(total_pps) = self.total_rate_pps {
            let resets = if may_reset { ", not counting resets" } else { "" };
            let total = Rate(total_pps);
            return Some(format!("at most {rate} probes per second{resets}, of {total} for all shards"));
        }
        match (self.bandwidth_bps, may_reset) {
            (Some(bps), true) => Some(format!(
                "at most {bps} bits per second on the wire: {rate} probes per second, less one for each reset"
            )),
            (Some(bps), false) => {
                Some(format!("at most {bps} bits per second on the wire: {rate} probes per second"))
            }
            (None, _) if self.rate_pps == 0.0 => None,
            (None, true) => Some(format!("at most {rate} probes per second, not counting resets")),
            (None, false) => Some(format!("at most {rate} probes per second")),
        }
    }
}

/// A rate with four significant digits, or more if its integer part has more: `0.1488`, `14881`.
struct Rate(f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = (3 - self.0.log10().floor() as i32).clamp(0, 8) as usize;
        let text = format!("{:.decimals$}", self.0);
        f.write_str(if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text })
    }
}

/// Refuses a scan that would outlast the workers' clocks.
pub(super) fn refuse_endless(limits: &LimitPlan, probes: f64, args: &Args) -> Result<(), PlanError> {
    if limits.rate_pps == 0.0 {
        return Ok(());
    }
    let seconds = probes / limits.rate_pps;
    let is_limited = limits.max_runtime.is_some_and(|limit| limit <= SCAN_MAX);
    if args.scan.is_dry() || is_limited || seconds <= SCAN_MAX.as_secs_f64() {
        return Ok(());
    }
    const DAY_S: u64 = 24 * 3600;
    let what = format!(
        "at {} packets/s the scan would take {} days, and a scan may take at most {}: raise the rate, or limit the scan by \
         --shards, --max-targets or --max-runtime",
        limits.rate_pps,
        (seconds / DAY_S as f64).floor(),
        SCAN_MAX.as_secs() / DAY_S
    );
    let flag = if args.scan.total_rate.is_some() { "--total-rate" } else { "--rate" };
    Err(PlanError::usage(flag, what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_short() {
        for (rate, text) in [
            (10_000.0, "10000"),
            (14_880.952, "14881"),
            (1_000.5, "1000"),
            (999.5, "999.5"),
            (7.0, "7"),
            (0.5, "0.5"),
            (0.148_809, "0.1488"),
            (1e-4, "0.0001"),
        ] {
            assert_eq!(Rate(rate).to_string(), text);
        }
    }

    #[test]
    fn shares_of_a_rate() {
        let shares = |total, shards| -> Vec<f64> {
            (0..shards).map(|shard| of_total(total, shard, shards).unwrap()).collect()
        };
        assert_eq!(shares(10_000.0, 3), [3_334.0, 3_333.0, 3_333.0]);
        assert_eq!(shares(16.9, 16), [1.0; 16]);
        assert_eq!(shares(0.5, 1), [0.5]);
        assert_eq!(shares(1.0, 3), [0.3334, 0.3333, 0.3333]);
        let error = of_total(0.001, 15, 16).unwrap_err().to_string();
        assert!(error.starts_with("--total-rate: 0.001 probes") && error.contains("give more"), "{error}");
    }

    proptest! {
        /// Together they have no more than the whole, and lack less than a unit for each.
        #[test]
        fn shares_make_up_the_whole(total in 0.0001f64..1e6, shards in 1u32..300) {
            let shares: Result<Vec<f64>, _> = (0..shards).map(|shard| of_total(total, shard, shards)).collect();
            let Ok(shares) = shares else {
                prop_assert!(total < RATE_MIN_PPS * f64::from(shards) * 1.0001);
                return Ok(());
            };
            let unit = if total >= f64::from(shards) { 1.0 } else { RATE_MIN_PPS };
            // In whole units, of which sums are exact.
            let units: u64 = shares.iter().map(|share| (share / unit).round() as u64).sum();
            prop_assert!(units as f64 * unit <= total * (1.0 + 1e-12), "{units} x {unit} of {total}");
            prop_assert!((units + 1) as f64 * unit > total * (1.0 - 1e-12), "{units} x {unit} of {total}");
            prop_assert!(shares.is_sorted_by(|one, next| one >= next));
            prop_assert!(shares.iter().all(|share| *share >= RATE_MIN_PPS));
        }
    }

    #[test]
    fn a_bandwidth_may_be_less_than_a_probe_a_second() {
        assert_eq!(of_bandwidth(10_000_000, 84).unwrap(), 1e7 / 672.0);
        assert_eq!(of_bandwidth(100, 84).unwrap(), 100.0 / 672.0);
        assert!(of_bandwidth(1, 84).is_ok());
        let error = of_bandwidth(1, 1_538).unwrap_err().to_string();
        assert!(error.contains("--bandwidth") && error.contains("give 2 or more"), "{error}");
        let error = rate_of_bandwidth(1, 1_538).unwrap_err();
        assert!(error.starts_with("a probe has") && error.contains("give 2 or more"), "{error}");
        assert_eq!(rate_of_bandwidth(10_000_000, 84), Ok(1e7 / 672.0));
        assert!(rate_of_bandwidth(1_000_000_000_000_000, 84).is_err());
    }
}
