//! Which back end `--io-mode auto` would give a scan, why not a better one, and how fast it is.
//!
//! The answer is based on what the kernel reports about the driver. The scan itself tries the modes, and reports what
//! it got.

use super::finding::Finding;
use super::kernel::{LIVE_FRAMES, Version, XDP_FEATURES};
use crate::engine::cores;
use crate::nic::{Interface, XdpFeatures};

/// A back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IoMode {
    ZeroCopy,
    Copy,
    Generic,
    Packet,
}

impl IoMode {
    /// The word for it in `--io-mode`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zerocopy",
            Self::Copy => "copy",
            Self::Generic => "generic",
            Self::Packet => "packet",
        }
    }

    /// The number of packets per second, and where the number comes from.
    fn ceiling(self, live: bool) -> &'static str {
        match (self, live) {
            (Self::ZeroCopy, _) => "unknown: zero-copy has not been measured on real hardware",
            (Self::Copy, true) => {
                "some 0.65 million packets per second and core by copying, 4.4 million from two cores by live frames: \
                 measured on a veth pair (bench/README.md), not with this driver"
            }
            (Self::Copy, false) => {
                "some 0.65 million packets per second and core: measured on a veth pair (bench/README.md), not with this \
                 driver"
            }
            (Self::Packet, _) => {
                "less than the 0.65 million packets per second and core of copying; not measured yet"
            }
            (Self::Generic, _) => {
                "less than the 0.65 million packets per second and core of copying; not measured"
            }
        }
    }
}

/// The expected mode of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outlook {
    /// The back end; `None` if only a try would show.
    pub(super) mode: Option<IoMode>,
    /// Whether a fast scan would also send live frames.
    live: bool,
    /// Why no better mode is available.
    reasons: Vec<String>,
}

/// The facts that decide.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// The driver's XDP features, if the kernel reports them.
    features: Option<XdpFeatures>,
    /// Cores that a scan may use.
    cores: usize,
    /// Whether the kernel supports live frames.
    has_live_frames: bool,
    /// Why live frames must not be sent to the driver, if so.
    hazard: Option<String>,
}

impl Outlook {
    /// AF_PACKET, for this reason.
    pub(super) fn packet(reason: &str) -> Self {
        Self { mode: Some(IoMode::Packet), live: false, reasons: vec![reason.to_owned()] }
    }

    /// What a scan through `interface` would get with XDP.
    pub(super) fn of(interface: &Interface) -> Self {
        let version = Version::running();
        Self::from(Facts {
            features: (version >= XDP_FEATURES).then(|| XdpFeatures::of(interface.index).ok()).flatten(),
            cores: cores::choose(&[]).map_or(1, |cores| cores.len()),
            has_live_frames: version >= LIVE_FRAMES,
            hazard: interface.redirect_hazard(),
        })
    }

    fn from(facts: Facts) -> Self {
        let Some(features) = facts.features else {
            let reason =
                "the kernel does not report what the driver can do: a scan tries the modes, the best first";
            return Self { mode: None, live: false, reasons: vec![reason.to_owned()] };
        };
        let mut reasons = Vec::new();
        let mode = match (features.native(), features.zero_copy()) {
            (true, true) => IoMode::ZeroCopy,
            (true, false) => {
                reasons.push("the driver has no AF_XDP zero-copy here".to_owned());
                IoMode::Copy
            }
            (false, _) => {
                reasons.push("the driver does not run XDP programs here: the network stack does".to_owned());
                IoMode::Generic
            }
        };
        let why_not_live = match (facts.hazard, features.redirect_target()) {
            _ if mode != IoMode::Copy => None,
            _ if !facts.has_live_frames => Some("they need Linux 5.18".to_owned()),
            (Some(hazard), _) => Some(hazard),
            _ if facts.cores < 2 => Some("they need two cores per worker".to_owned()),
            (None, false) => Some(
                "the driver accepts no redirected frames at present; some do once a program is attached, so a fast scan \
                 tries"
                    .to_owned(),
            ),
            (None, true) => None,
        };
        let live = mode == IoMode::Copy && why_not_live.is_none();
        reasons.extend(why_not_live.map(|why| format!("no live frames: {why}")));
        Self { mode: Some(mode), live, reasons }
    }

    /// The outlook as findings; `speed_mbps` is the link's.
    pub(super) fn findings(&self, speed_mbps: Option<u64>) -> Vec<Finding> {
        let reasons = format!("better mode unavailable: {}", self.reasons.join("; "));
        let Some(mode) = self.mode else {
            return vec![Finding::note("io mode", "not known before a scan").means(self.reasons.join("; "))];
        };
        let found = match self.live {
            true => format!("{}; live frames if the rate is more than that mode can send", mode.name()),
            false => mode.name().to_owned(),
        };
        let ceiling = Finding::note("ceiling", mode.ceiling(self.live));
        let mode = match mode {
            IoMode::ZeroCopy => Finding::ok("io mode", found),
            _ => Finding::note("io mode", found).means(reasons),
        };
        // A minimum-size frame occupies 84 bytes on the wire: 64, preamble 8, gap 12.
        let line = speed_mbps.map(|mbps| (mbps, mbps * 1_000_000 / (84 * 8)));
        let ceiling = match line {
            Some((mbps, pps)) => {
                ceiling.means(format!("the link's {mbps} Mbit/s carry at most {pps} packets per second"))
            }
            None => ceiling,
        };
        vec![mode, ceiling]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `enum netdev_xdp_act` of: nothing; a driver that runs programs; one that transmits for others, too; igb of
    /// today.
    const FLAGS: [u64; 4] = [0, 0b11, 0b111, 0b1111];

    fn outlook(flags: Option<u64>, change: impl FnOnce(&mut Facts)) -> (Option<IoMode>, bool, String) {
        let features = flags.map(XdpFeatures::new);
        let mut facts = Facts { features, cores: 4, has_live_frames: true, hazard: None };
        change(&mut facts);
        let Outlook { mode, live, reasons } = Outlook::from(facts);
        (mode, live, reasons.join("; "))
    }

    #[test]
    fn best_that_there_is() {
        let modes = FLAGS.map(|flags| {
            let (mode, live, _) = outlook(Some(flags), |_| {});
            (mode.map(IoMode::name), live)
        });
        let expected = [("generic", false), ("copy", false), ("copy", true), ("zerocopy", false)];
        assert_eq!(modes, expected.map(|(mode, live)| (Some(mode), live)));
        assert_eq!(outlook(Some(FLAGS[3]), |_| {}).2, "", "nothing is better");
        assert_eq!(outlook(None, |_| {}).0, None);
    }

    #[test]
    fn why_no_live_frames() {
        let why = |change: fn(&mut Facts)| outlook(Some(FLAGS[2]), change).2;
        assert!(!why(|_| {}).contains("live frames"));
        assert!(why(|facts| facts.cores = 1).contains("no live frames: they need two cores"));
        assert!(why(|facts| facts.has_live_frames = false).contains("no live frames: they need Linux 5.18"));
        assert!(why(|facts| facts.hazard = Some("a fault".to_owned())).ends_with("no live frames: a fault"));
    }
}
