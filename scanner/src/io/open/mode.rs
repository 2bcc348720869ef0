//! How frames travel between the scanner and the driver, and the names of these modes.

use std::fmt;

use crate::io::bpf::AttachMode;
use crate::io::xsk::BindMode;

/// How frames get to and from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Past the network stack.
    Xdp(XdpMode),
    /// Through the network stack.
    Packet,
}

/// How frames get past the network stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpMode {
    /// How the program is attached.
    pub attach: AttachMode,
    /// How sockets are bound.
    pub bind: BindMode,
    /// Whether probes leave as live frames, instead of through the sockets.
    pub live: bool,
}

impl Mode {
    /// The name in `--io-mode`, the metadata and the log.
    pub fn name(self) -> &'static str {
        let Self::Xdp(mode) = self else { return "packet" };
        match (mode.live, mode.attach, mode.bind) {
            (true, ..) => "live",
            (_, AttachMode::Generic, _) => "generic",
            (_, AttachMode::Native, BindMode::Copy) => "copy",
            (_, AttachMode::Native, BindMode::ZeroCopy) => "zerocopy",
        }
    }

    /// Whether probes leave as live frames.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Xdp(XdpMode { live: true, .. }))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.name() {
            "live" => "live frames (the driver sends without the kernel's packets), replies over AF_XDP",
            "generic" => "AF_XDP, generic (the kernel copies; program run by the network stack)",
            "copy" => "AF_XDP, copy (the kernel copies; program run by the driver)",
            "packet" => "AF_PACKET (through the network stack; no XDP)",
            _ => "AF_XDP, zero-copy",
        })
    }
}
