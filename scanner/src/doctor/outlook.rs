//! Which back end `--io-mode auto` would give a scan, why not a better one, and how fast that is.
//!
//! Told by what the kernel says of the driver; the scan itself tries, and reports what it got.

use super::finding::Finding;
use super::kernel::{LIVE_FRAMES, Version, XDP_FEATURES};
use crate::engine::cores;
use crate::io::bpf::Features;
use crate::nic::Interface;

/// A back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IoMode {
    ZeroCopy,
    Copy,
    Generic,
}

impl IoMode {
    /// Its word in `--io-mode`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zerocopy",
            Self::Copy => "copy",
            Self::Generic => "generic",
        }
    }

    /// Where the number of packets a second comes from, and what it is.
    fn ceiling(self, live: bool) -> &'static str {
        match (self, live) {
            (Self::ZeroCopy, _) => "no figure of ours: zero-copy has not been measured on real hardware",
            (Self::Copy, true) => {
                "some 0.65 million packets a second and core by copying, 4.4 million from two cores by live frames: \
                 measured on a veth pair (bench/README.md), not with this driver"
            }
            (Self::Copy, false) => {
                "some 0.65 million packets a second and core: measured on a veth pair (bench/README.md), not with this \
                 driver"
            }
            (Self::Generic, _) => {
                "less than the 0.65 million packets a second and core of copying; not measured"
            }
        }
    }
}

/// What a scan would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outlook {
    /// The back end.
    pub(super) mode: IoMode,
    /// Whether a fast scan would send live frames beside it.
    live: bool,
    /// Why not better.
    reasons: Vec<String>,
}

impl Outlook {
    /// What a scan would get from a driver with these features, `None` if they are not known.
    pub(super) fn new(features: Option<Features>, cores: usize, version: Version) -> Self {
        let Some(features) = features else {
            let reasons = vec![
                "the kernel does not tell what the driver can do: a scan tries all, best first".to_owned(),
            ];
            return Self { mode: IoMode::Copy, live: false, reasons };
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
        let mut live = mode == IoMode::Copy;
        for (holds, reason) in [
            (
                features.redirect_target(),
                "the driver takes no redirected frames at present; some do once a program is attached, so a fast scan tries",
            ),
            (version >= LIVE_FRAMES, "they need Linux 5.18"),
            (cores >= 2, "they take two cores for each worker"),
        ] {
            if live && !holds {
                live = false;
                reasons.push(format!("no live frames: {reason}"));
            }
        }
        Self { mode, live, reasons }
    }

    /// What a scan through `interface` would get.
    pub(super) fn of(interface: &Interface) -> Self {
        let version = Version::running();
        let known = (version >= XDP_FEATURES).then(|| Features::of(interface.index).ok()).flatten();
        Self::new(known, cores::choose(&[]).map_or(1, |cores| cores.len()), version)
    }

    /// The same as findings; `speed_mbps` is that of the link.
    pub(super) fn findings(&self, speed_mbps: Option<u64>) -> Vec<Finding> {
        let name = self.mode.name();
        let found = match self.live {
            true => format!("{name}; live where the rate asks for more than it gives"),
            false => name.to_owned(),
        };
        let reasons = self.reasons.join("; ");
        let mode = match self.mode {
            IoMode::ZeroCopy => Finding::ok("io mode", found),
            _ => Finding::note("io mode", found).means(format!("not better because: {reasons}")),
        };
        let ceiling = Finding::note("ceiling", self.mode.ceiling(self.live));
        // A minimum-size frame takes 84 bytes of the wire: 64, preamble 8, gap 12.
        let line = speed_mbps.map(|mbps| (mbps, mbps * 1_000_000 / (84 * 8)));
        let ceiling = match line {
            Some((mbps, pps)) => {
                ceiling.means(format!("the link's {mbps} Mbit/s are at most {pps} packets a second"))
            }
            None => ceiling,
        };
        vec![mode, ceiling]
    }
}
