//! The rate of a scan: from a bandwidth, and in words.

use std::fmt;

use super::{LimitPlan, PlanError};
use crate::engine::RATE_MIN_PPS;

/// Probes a second, if each takes `wire_len` bytes of the link. Never 0, which would mean no limit at all.
pub(super) fn of_bandwidth(bps: u64, wire_len: usize) -> Result<f64, PlanError> {
    let bits = 8.0 * wire_len as f64;
    let rate_pps = bps as f64 / bits;
    if rate_pps < RATE_MIN_PPS {
        let least = (RATE_MIN_PPS * bits).ceil();
        let what = format!("a probe has {bits} bits on the wire and would take hours; give {least} or more");
        return Err(PlanError::usage("--bandwidth", what));
    }
    Ok(rate_pps)
}

impl LimitPlan {
    /// The rate in words, if there is one; `may_reset` where resets are sent as well.
    pub fn rate_told(&self, may_reset: bool) -> Option<String> {
        let rate = Rate(self.rate_pps);
        match (self.bandwidth_bps, may_reset) {
            (Some(bps), true) => Some(format!(
                "at most {bps} bits a second on the wire: {rate} probes a second, less one for each reset"
            )),
            (Some(bps), false) => {
                Some(format!("at most {bps} bits a second on the wire: {rate} probes a second"))
            }
            (None, _) if self.rate_pps == 0.0 => None,
            (None, true) => Some(format!("at most {rate} probes a second; resets are not counted in")),
            (None, false) => Some(format!("at most {rate} probes a second")),
        }
    }
}

/// A rate in four digits, or more where it has more before the point: `0.1488`, `14881`.
struct Rate(f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = (3 - self.0.log10().floor() as i32).clamp(0, 8) as usize;
        let text = format!("{:.decimals$}", self.0);
        f.write_str(if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text })
    }
}

#[cfg(test)]
mod tests {
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
    fn a_bandwidth_may_be_less_than_a_probe_a_second() {
        assert_eq!(of_bandwidth(10_000_000, 84).unwrap(), 1e7 / 672.0);
        assert_eq!(of_bandwidth(100, 84).unwrap(), 100.0 / 672.0);
        assert!(of_bandwidth(1, 84).is_ok());
        let error = of_bandwidth(1, 1_538).unwrap_err().to_string();
        assert!(error.contains("--bandwidth") && error.contains("give 2 or more"), "{error}");
    }
}
