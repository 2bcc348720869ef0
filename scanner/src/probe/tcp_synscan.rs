//! `tcp_synscan`: a TCP SYN to each target; a SYN-ACK is a success, a RST a closed port.
//!
//! The cookie fills the sequence number, the source port and the IP identification, so a reply proves by its
//! acknowledgement number and destination port that its sender saw the probe (RFC 9293, section 3.5.2 for what a
//! reset acknowledges).

use std::str::FromStr;

use super::{Check, Form, ModuleInfo, Probe, Reply, Settings, What, tcp_fields};
use crate::cookie::Cookie;
use crate::io::batch::RxFrame;
use crate::packet::template::TcpHeader;
use crate::packet::{PatchBatch, TCP_RST, TCP_SYN, Template};
use crate::results::fields::{Table, common};
use crate::results::record::Kind;
use crate::simd::{Kernel, Level};
use crate::targets::{BATCH_MAX, TargetBatch};

/// Which TCP options a SYN carries. Stacks and middleboxes answer a SYN without options less often, so each layout
/// is that of an operating system, down to the order; the names and bytes are ZMap's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OptionLayout {
    /// MSS only: the frame fits the smallest Ethernet frame.
    SmallestProbes,
    /// As Windows sends it: MSS, window scale 8, SACK permitted. The smallest full set.
    #[default]
    Windows,
    /// As Linux sends it: MSS, SACK permitted, timestamps, window scale 7.
    Linux,
    /// As BSD and macOS send it: MSS, window scale 6, timestamps, SACK permitted.
    Bsd,
}

/// The layouts and their names in `--probe-args`.
pub const OPTION_LAYOUTS: [(OptionLayout, &str); 4] = [
    (OptionLayout::Windows, "windows"),
    (OptionLayout::SmallestProbes, "smallest-probes"),
    (OptionLayout::Linux, "linux"),
    (OptionLayout::Bsd, "bsd"),
];

/// A `--probe-args` value that names no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tcp_synscan knows no option layout '{0}'; use windows, smallest-probes, linux or bsd")]
pub struct UnknownLayout(String);

impl FromStr for OptionLayout {
    type Err = UnknownLayout;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = OPTION_LAYOUTS.iter().find(|(_, name)| *name == text);
        found.map(|(layout, _)| *layout).ok_or_else(|| UnknownLayout(text.to_owned()))
    }
}

impl OptionLayout {
    /// Its name in `--probe-args`.
    pub fn name(self) -> &'static str {
        OPTION_LAYOUTS.iter().find(|(layout, _)| *layout == self).map_or("", |(_, name)| name)
    }

    /// The option bytes. `timestamp` is the TSval of the layouts that have one (RFC 7323); its echo is 0.
    pub fn bytes(self, timestamp: u32) -> Vec<u8> {
        const MSS: [u8; 4] = [2, 4, 0x05, 0xb4]; // 1460, for an MTU of 1500
        const NOP: u8 = 1;
        const END: u8 = 0;
        const SACK_PERMITTED: [u8; 2] = [4, 2];
        let window_scale = |shift| [NOP, 3, 3, shift];
        let mut timestamps = vec![8, 10];
        timestamps.extend(timestamp.to_be_bytes());
        timestamps.extend([0; 4]);
        let mut bytes = MSS.to_vec();
        match self {
            Self::SmallestProbes => {}
            Self::Windows => {
                bytes.extend(window_scale(8));
                bytes.extend([NOP, NOP]);
                bytes.extend(SACK_PERMITTED);
            }
            Self::Linux => {
                bytes.extend(SACK_PERMITTED);
                bytes.extend(timestamps);
                bytes.extend(window_scale(7));
            }
            Self::Bsd => {
                bytes.extend(window_scale(6));
                bytes.extend([NOP, NOP]);
                bytes.extend(timestamps);
                bytes.extend(SACK_PERMITTED);
                bytes.extend([END, END]);
            }
        }
        bytes
    }
}

/// The fields of its replies, as ZMap has them.
pub const FIELDS: Table = Table {
    groups: &[
        &common::IP,
        &common::PORTS,
        &tcp_fields::SEGMENT,
        &tcp_fields::OPTIONS,
        &common::VERDICT,
        &common::ICMP,
        &common::SYSTEM,
    ],
    extra: &[&common::EXTRA],
};

/// The module as lists and help texts know it.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "tcp_synscan",
    help: "Sends a TCP SYN to each target and port. Classifications: synack (a success), rst, icmp.\n\
           --probe-args chooses the TCP options of the SYN, as an operating system sends them, which decides how many \
           hosts answer: windows (the default), linux, bsd, or smallest-probes (MSS only: the shortest frame).",
    fields: FIELDS,
    has_ports: true,
    has_app_success: false,
};

/// The probe module `tcp_synscan`.
#[derive(Debug)]
pub struct TcpSynScan {
    check: Check,
    template: Template,
    reset_template: Option<Template>,
    level: Level,
}

impl TcpSynScan {
    /// The probe of one scan.
    pub fn new(settings: &Settings, layout: OptionLayout) -> Self {
        let options = layout.bytes(settings.timestamp);
        let syn = TcpHeader { flags: TCP_SYN, acknowledgement: 0, window: 65_535, options: &options };
        Self {
            check: settings.check(Form::TcpSyn),
            template: Template::tcp(settings.envelope(), syn),
            reset_template: settings.reset.then(|| Template::tcp(settings.envelope(), RESET)),
            level: Level::detect(),
        }
    }

    /// The same probe, made with the instructions of `level`. For benchmarks: what it makes is the same.
    #[must_use]
    pub fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }
}

/// Resets a connection that a SYN-ACK has half opened.
const RESET: TcpHeader<'static> = TcpHeader { flags: TCP_RST, acknowledgement: 0, window: 0, options: &[] };

/// Makes patches of targets: cookies, the fields that they fill, and checksums.
struct Emit<'a> {
    probe: &'a TcpSynScan,
    targets: &'a TargetBatch,
    /// Number of the copy that each entry is; `None` if all are the first.
    copies: Option<&'a [u32; BATCH_MAX]>,
    out: &'a mut PatchBatch,
}

impl Kernel for Emit<'_> {
    type Output = ();

    /// Several short loops, each of which the compiler turns into vectors.
    #[inline(always)]
    fn run(self) {
        let Self { probe, targets, copies, out } = self;
        let len = targets.len.min(BATCH_MAX);
        let check = &probe.check;
        let (ports, makes, sums) = (check.sources.ports, check.cookies(), probe.template.sums());
        out.len = len;
        let copy = |i: usize| copies.map_or(0, |copies| copies[i]);
        let mut sources = [0; BATCH_MAX];
        for i in 0..len {
            sources[i] = check.sources.address(targets.addresses[i], copy(i));
        }
        let mut cookies = [Cookie(0); BATCH_MAX];
        for i in 0..len {
            cookies[i] = makes.cookie(sources[i], targets.addresses[i], targets.ports[i]);
        }
        for i in 0..len {
            let source_port = ports.source_port(cookies[i], copy(i));
            let ports = u32::from(source_port) << 16 | u32::from(targets.ports[i]);
            let (sequence, ip_id) = (cookies[i].sequence(), cookies[i].ip_id());
            out.set(i, sums.finish_tcp(sources[i], targets.addresses[i], [ports, sequence], ip_id));
        }
    }
}

impl Probe for TcpSynScan {
    fn check(&self) -> &Check {
        &self.check
    }

    fn template(&self) -> &Template {
        &self.template
    }

    fn reset_template(&self) -> Option<&Template> {
        self.reset_template.as_ref()
    }

    fn emit(&self, targets: &TargetBatch, out: &mut PatchBatch) {
        if self.check.copies == 1 {
            return self.level.run(Emit { probe: self, targets, copies: None, out });
        }
        let mut expanded =
            TargetBatch { len: targets.len * self.check.copies as usize, ..TargetBatch::default() };
        let mut copies = [0; BATCH_MAX];
        for i in 0..expanded.len {
            let target = i / self.check.copies as usize;
            expanded.addresses[i] = targets.addresses[target];
            expanded.ports[i] = targets.ports[target];
            copies[i] = i as u32 % self.check.copies;
        }
        self.level.run(Emit { probe: self, targets: &expanded, copies: Some(&copies), out });
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<Reply> {
        let answer = self.check.answer(frame)?;
        let What::Tcp(segment) = answer.what else { return Some(Reply::new(&answer, Kind::Icmp, false)) };
        let open = segment.flags & TCP_RST == 0;
        let kind = if open { Kind::SynAck } else { Kind::Rst };
        Some(Reply {
            acknowledgement: segment.acknowledgement,
            wants_reset: open && self.reset_template.is_some(),
            ..Reply::new(&answer, kind, open)
        })
    }

    /// The reset carries the sequence number that the SYN-ACK acknowledged, and no ACK flag (RFC 9293, section
    /// 3.10.7.3), so the responder accepts it.
    fn reset(&self, reply: &Reply, out: &mut PatchBatch) {
        let Some(template) = &self.reset_template else { return };
        let ports = u32::from(reply.local_port) << 16 | u32::from(reply.responder_port);
        let cookie = self.check.cookie(reply.source, reply.responder, reply.target_port);
        let ip_id = cookie.ip_id().wrapping_add(1);
        out.push(template.finish(reply.source, reply.responder, [ports, reply.acknowledgement], ip_id));
    }
}

#[cfg(test)]
mod tests;
