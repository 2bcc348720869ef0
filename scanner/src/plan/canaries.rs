//! Whether the scan sends canaries, to which share of its probes, and why not.

use wire::proof::{Copies, ProbeForm};

use super::{PlanError, ProbePlan};
use crate::cli::{Args, Rate};
use crate::engine::canaries::{PPM, SHARE_PPM};

const FLAG: &str = "--canaries";
/// From how many targets on a scan sends canaries unless it is told otherwise, or finds its rate by them. Lower: scans
/// whose loss nobody would see in so few canaries send packets for it. Higher: fewer scans know what they lost.
const TARGETS_MIN: u64 = 1 << 20;

/// The canaries of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CanaryPlan {
    /// Their share among the probes, in parts per million; 0 if there are none.
    pub share_ppm: u32,
    /// Why a scan that is large enough for them has none, although nobody has switched them off.
    pub why_none: Option<&'static str>,
}

impl CanaryPlan {
    /// That of a scan of this many targets. Gives `probe` numbers for canaries, if there are some.
    ///
    /// # Errors
    /// Canaries are requested, and this scan cannot have any.
    pub(super) fn new(args: &Args, probe: &mut ProbePlan, targets: u64) -> Result<Self, PlanError> {
        let share = args.scan.canaries;
        let is_small = targets < TARGETS_MIN && matches!(args.scan.rate, Rate::Pps(_));
        if args.scan.is_dry() || share == Some(0.0) || share.is_none() && is_small {
            return Ok(Self::default());
        }
        let copies = probe.copies.with_canaries();
        match (why_none(probe, copies), share) {
            (Some(why), Some(_)) => Err(PlanError::usage(FLAG, format!("{why}; leave it out"))),
            (Some(why), None) => Ok(Self { share_ppm: 0, why_none: Some(why) }),
            (None, share) => {
                probe.copies = copies;
                let ppm = share.map(|percent| (percent / 100.0 * PPM as f64).round() as u32);
                Ok(Self { share_ppm: ppm.unwrap_or(SHARE_PPM), why_none: None })
            }
        }
    }

    /// It in words; `None` if there is nothing to say.
    pub fn told(&self) -> Option<String> {
        let percent = f64::from(self.share_ppm) * 100.0 / PPM as f64;
        match (self.share_ppm, self.why_none) {
            (0, why) => why.map(|why| format!("none: {why}")),
            _ => Some(format!(
                "{percent} % of the probes go to hosts that have answered, and measure loss (--canaries 0: none)"
            )),
        }
    }
}

/// Why this probe cannot have canaries, if `copies` are its numbers with them.
fn why_none(probe: &ProbePlan, copies: Copies) -> Option<&'static str> {
    let (form, _) = probe.module.replies();
    if form == ProbeForm::IpIp {
        return Some("an ICMP error does not tell a canary of this probe module from its other probes");
    }
    if !probe.port_in_cookie && form != ProbeForm::IcmpEcho {
        return Some("an answer does not prove which port was probed (--validate-source-port enable)");
    }
    if !copies.fit(probe.source_ports) {
        return Some(
            "there are too few source ports to tell the answers to canaries (--source-port, --probes)",
        );
    }
    None
}
