//! `tcp_synscan`: a TCP SYN to each target; a SYN-ACK is a success, a RST means a closed port.
//!
//! The cookie fills the sequence number, the source port and the IP identification. So the acknowledgement number and
//! the destination port of a reply prove that its sender saw the probe (RFC 9293, section 3.5.2 for what a reset
//! acknowledges).

use std::str::FromStr;

use simd::{Lane, Level};
use targets::TargetBatch;
use wire::packet::template::TcpHeader;
use wire::packet::{PatchBatch, RxFrame, TCP_LEN, TCP_RST, TCP_SYN, Template};
use wire::proof::{AnswerBody, Check, Numbers, ProbeForm};

use super::emit::{self, FirstWords, Head};
use super::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply, tcp_fields};
use crate::reply;
use crate::reply::fields::FieldType::Int;
use crate::reply::fields::{FieldInfo, Table, common};
use crate::reply::record::{RTT_ECHOED, ReplyKind};

/// The TCP options of a SYN. Stacks and middleboxes answer a SYN without options less often, so each layout is that of
/// an operating system, including the order; the names and bytes are ZMap's.
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

/// Why a `--probe-args` value is refused. The texts complete "--probe-args: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// It does not name a layout.
    #[error("tcp_synscan has no option layout '{0}'; use windows, smallest-probes, linux or bsd, and rtt")]
    UnknownLayout(String),
    /// The layout has no timestamp option to carry a time.
    #[error("rtt needs the timestamp option, which '{0}' does not have; use linux,rtt or bsd,rtt")]
    NoTimestamps(&'static str),
}

/// The decisions in `--probe-args`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// The TCP options.
    pub layout: OptionLayout,
    /// Whether the timestamp option holds the time of sending, so that its echo gives the round-trip time.
    pub rtt: bool,
}

impl FromStr for Args {
    type Err = ArgsError;

    /// A layout, `rtt`, or both separated by a comma; `rtt` alone implies Linux's layout.
    fn from_str(text: &str) -> Result<Self, ArgsError> {
        let rtt = text.split(',').any(|word| word == "rtt");
        let mut words = text.split(',').filter(|word| *word != "rtt");
        let layout = match (words.next(), words.next()) {
            (None, _) => OptionLayout::Linux,
            (Some(name), None) => name.parse()?,
            (Some(_), Some(_)) => return Err(ArgsError::UnknownLayout(text.to_owned())),
        };
        if rtt && layout.timestamp_offset().is_none() {
            return Err(ArgsError::NoTimestamps(layout.name()));
        }
        Ok(Self { layout, rtt })
    }
}

impl FromStr for OptionLayout {
    type Err = ArgsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = OPTION_LAYOUTS.iter().find(|(_, name)| *name == text);
        found.map(|(layout, _)| *layout).ok_or_else(|| ArgsError::UnknownLayout(text.to_owned()))
    }
}

impl OptionLayout {
    /// Its name in `--probe-args`.
    pub fn name(self) -> &'static str {
        OPTION_LAYOUTS.iter().find(|(layout, _)| *layout == self).map_or("", |(_, name)| name)
    }

    /// The offset of TSval in the option bytes.
    fn timestamp_offset(self) -> Option<usize> {
        match self {
            Self::SmallestProbes | Self::Windows => None,
            Self::Linux => Some(8),
            Self::Bsd => Some(12),
        }
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

/// The fields of its replies, as in ZMap.
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
    extra: &[&RTT, &common::EXTRA],
};

/// The field of a SYN that carries its time of sending.
const RTT: [FieldInfo; 1] = [FieldInfo::new(
    "rtt_us",
    Int,
    "microseconds from probe to SYN-ACK; with the argument rtt, where the target echoes timestamps",
    |r, _| rtt_us(r).into(),
)];

/// Computed from the echo of our TSval, the low 32 bits of a count of microseconds. A difference of more than half its
/// range means that the value is not our echo.
fn rtt_us(reply: &reply::Reply<'_>) -> Option<u32> {
    let (_, echo) = reply.tcp_options().timestamps.filter(|_| reply.header().flags & RTT_ECHOED != 0)?;
    let rtt_us = microseconds(reply.header().time_ns).wrapping_sub(echo);
    (rtt_us < 1 << 31).then_some(rtt_us)
}

/// The low 32 bits of a time in microseconds: they repeat every 71 minutes.
fn microseconds(time_ns: u64) -> u32 {
    (time_ns / 1000) as u32
}

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "tcp_synscan",
    help: "Sends a TCP SYN to each target and port. Classifications: synack (a success), rst, icmp.\n\
           --probe-args chooses the TCP options of the SYN, as an operating system sends them, which decides how many \
           hosts answer: windows (the default), linux, bsd, or smallest-probes (MSS only: the shortest frame). With rtt \
           (linux,rtt or bsd,rtt; rtt alone is the first) the timestamp option carries the time of sending, and the \
           field rtt_us shows the round-trip time; the cookie keeps all its bits.",
    fields: FIELDS,
    ports: Ports::Named,
    has_app_success: false,
};

/// The probe module `tcp_synscan`.
#[derive(Debug)]
pub struct TcpSynScan {
    check: Check,
    template: Template,
    reset_template: Option<Template>,
    level: Level,
    rtt: Option<Rtt>,
}

/// The bytes after ports and sequence number of a SYN that carries its time of sending.
#[derive(Debug)]
struct Rtt {
    tail: Vec<u8>,
    /// The offset of TSval in it.
    timestamp: usize,
}

impl TcpSynScan {
    /// The probe of one scan.
    pub fn new(settings: &ProbeSettings, args: Args) -> Self {
        let options = args.layout.bytes(settings.timestamp);
        let syn = TcpHeader { flags: TCP_SYN, acknowledgement: 0, window: 65_535, options: &options };
        let segment = syn.segment();
        let place = args.layout.timestamp_offset().filter(|_| args.rtt);
        let rtt = place.map(|offset| Rtt { tail: segment[8..].to_vec(), timestamp: TCP_LEN - 8 + offset });
        Self {
            check: settings.check(ProbeForm::TcpSyn),
            template: match rtt {
                Some(_) => Template::tcp_with_tail(settings.envelope(), segment.len()),
                None => Template::tcp(settings.envelope(), syn),
            },
            reset_template: settings.reset.then(|| Template::tcp(settings.envelope(), RESET)),
            level: Level::detect(),
            rtt,
        }
    }

    /// The same probe, made with the instructions of `level`, for benchmarks. The result does not depend on it.
    #[must_use]
    pub fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }
}

/// Resets the connection that a SYN-ACK has half opened.
const RESET: TcpHeader<'static> = TcpHeader { flags: TCP_RST, acknowledgement: 0, window: 0, options: &[] };

/// Ports and sequence number.
#[derive(Clone, Copy)]
pub(super) struct Syn;

impl FirstWords for Syn {
    const IS_TCP: bool = true;

    #[inline(always)]
    fn words<L: Lane>(self, head: Head<L>) -> [L; 2] {
        [head.ports, head.cookie.sequence().wire()]
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

    fn tells_time(&self) -> bool {
        self.rtt.is_some()
    }

    fn rtt_us(&self, reply: &reply::Reply<'_>) -> Option<u64> {
        rtt_us(reply).map(u64::from)
    }

    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        let Some(Rtt { tail, timestamp }) = &self.rtt else {
            return emit::fixed(self.level, &self.check, &self.template, Syn, targets, copies, out);
        };
        let now = microseconds(targets.time_ns).to_be_bytes();
        emit::with_tails(&self.check, &self.template, targets, copies, out, |probe, room| {
            room.copy_from_slice(tail);
            room[*timestamp..timestamp + 4].copy_from_slice(&now);
            (Syn.words(probe.head()), tail.len())
        });
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        let answer = self.check.answer(frame)?;
        let AnswerBody::Tcp(segment) = answer.what else {
            return Some(ProvenReply::new(&answer, ReplyKind::Icmp, false));
        };
        let open = segment.flags & TCP_RST == 0;
        let kind = if open { ReplyKind::SynAck } else { ReplyKind::Rst };
        let reply = ProvenReply::new(&answer, kind, open);
        Some(ProvenReply {
            acknowledgement: segment.acknowledgement,
            wants_reset: open && self.reset_template.is_some(),
            flags: reply.flags | if open && self.rtt.is_some() { RTT_ECHOED } else { 0 },
            ..reply
        })
    }

    /// The reset carries the sequence number that the SYN-ACK acknowledged, and no ACK flag (RFC 9293, section
    /// 3.10.7.3), so the responder accepts it.
    fn reset(&self, reply: &ProvenReply, out: &mut PatchBatch) {
        let Some(template) = &self.reset_template else { return };
        let ports = u32::from(reply.local_port) << 16 | u32::from(reply.responder_port);
        let cookie = self.check.cookie(reply.source, reply.responder, reply.target_port);
        let ip_id = cookie.ip_id().wrapping_add(1);
        out.push(template.finish(reply.source, reply.responder, [ports, reply.acknowledgement], ip_id));
    }
}

#[cfg(test)]
mod tests;
