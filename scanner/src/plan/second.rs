//! Whether targets get second probes some time after the first ones: which share of them, and when.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use targets::Sample;
use wire::proof::Key;

use super::{Plan, PlanError, ProbePlan, TargetPlan};
use crate::cli::{Args, DedupMethod};

const SHARE_FLAG: &str = "--recheck";
const GAP_FLAG: &str = "--probe-gap";
/// How long after the first probe the second one follows, unless the cooldown is longer or another time is given.
/// Lower: what loses the first probe, such as a full queue or a change of routes, more often loses the second as well.
/// Higher: a scan ends later.
const GAP: Duration = Duration::from_secs(30);

/// The second probes of a scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecondPlan {
    /// The share of the targets that get one, above 0 to 1.
    pub share: f64,
    /// How long after the first probe.
    pub gap: Duration,
    /// Whether they are the second of two probes to each target (`--probes 2`).
    pub is_for_all: bool,
    /// The targets that get one.
    pub sample: Sample,
}

impl SecondPlan {
    /// That of a scan, if it has second probes. Then `probe` gets a number for them.
    ///
    /// # Errors
    /// What the flags say is contradictory, or this scan cannot have second probes.
    pub(super) fn new(args: &Args, probe: &mut ProbePlan) -> Result<Option<Self>, PlanError> {
        let (share, gap) = (args.scan.recheck.filter(|percent| *percent > 0.0), args.scan.probe_gap);
        let (flag, share) = match (share, gap, args.scan.probes) {
            (None, None, _) => return Ok(None),
            (Some(percent), _, 1) => (SHARE_FLAG, percent / 100.0),
            (None, Some(_), 2) => (GAP_FLAG, 1.0),
            (Some(_), _, _) => {
                let what = "it is about what a single probe misses; leave --probes out, or give --probes 2 --probe-gap 30s \
                            instead";
                return Err(PlanError::usage(SHARE_FLAG, what));
            }
            (None, Some(_), 1) => {
                let what = "there is only one probe to each target; also give --probes 2, or --recheck 1%";
                return Err(PlanError::usage(GAP_FLAG, what));
            }
            (None, Some(_), _) => {
                let what = "it is the time between two probes to a target; give --probes 2, or leave it out";
                return Err(PlanError::usage(GAP_FLAG, what));
            }
        };
        if args.dedup.dedup_method == DedupMethod::None && args.scan.recheck.is_some() {
            let what = "with --dedup-method none a host that answers both probes is not known as one; leave one of them out";
            return Err(PlanError::usage(SHARE_FLAG, what));
        }
        let copies = probe.copies.with_one().with_seconds();
        if probe.module.check_copies(1).is_err() {
            let what = "the probes to a target ask different questions, so that none of them is a second one; ask a single \
                        question";
            return Err(PlanError::usage("--probe-args", what));
        }
        if !copies.fit(probe.source_ports) {
            let what = format!(
                "a second probe needs a source port of its own, so that its answer is told from the first one's; give \
                 --source-port a range of {} ports or more",
                copies.all()
            );
            return Err(PlanError::usage(flag, what));
        }
        probe.copies = copies;
        let gap = match gap {
            // Nothing is lost and nobody answers: there is no reason to wait.
            _ if args.scan.is_dry() => Duration::ZERO,
            Some(gap_s) => Duration::from_secs_f64(gap_s),
            None => GAP.max(Duration::from_secs(args.scan.cooldown_time)),
        };
        let sample = Sample::new(sample_key(probe.key), share);
        Ok(Some(Self { share, gap, is_for_all: args.scan.probes == 2, sample }))
    }

    /// The share in percent.
    pub fn percent(&self) -> f64 {
        100.0 * self.share
    }

    /// It in words.
    pub fn told(&self) -> String {
        let gap_s = self.gap.as_secs_f64();
        match self.is_for_all {
            true => format!("each target gets its second probe {gap_s} s after the first"),
            false => format!(
                "{} % of the targets get a second probe {gap_s} s after the first, which shows what one probe misses",
                self.percent()
            ),
        }
    }
}

/// How many probes a scan will send to its targets, about.
pub(super) fn expected_probes(targets: &TargetPlan, probe: &ProbePlan, second: Option<&SecondPlan>) -> f64 {
    let seconds = second.map_or(0.0, |second| second.share * targets.expected_second() as f64);
    targets.expected() as f64 * f64::from(probe.copies.probes()) + seconds
}

impl Plan {
    /// How many probes it will send to its targets, about.
    pub fn expected_probes(&self) -> f64 {
        expected_probes(&self.targets, &self.probe, self.second.as_ref())
    }

    /// How many second probes are among them.
    pub fn expected_seconds(&self) -> u64 {
        self.second.map_or(0, |second| (second.share * self.targets.expected_second() as f64).round() as u64)
    }
}

/// The key by which targets are selected. It is the same in every run of a scan; and as anybody may see which targets
/// are probed twice, it tells nothing of the cookie key.
fn sample_key(key: Key) -> u64 {
    let mut hash = Sha256::new();
    hash.update(b"xdpmap second probes 1\n");
    hash.update(key.k0.to_le_bytes());
    hash.update(key.k1.to_le_bytes());
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.finalize().into();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
