//! What is sent to a target and how its answers are read. One file a probe.
//!
//! Owns: the probes' templates, the values that make one probe differ from the next, and the classification of
//! replies. Everything here is a pure function over values and byte slices: no rings, no clock, no allocation once a
//! probe is made. A probe is a static type to the engine; a back end sees only its template and its patches.

pub mod bacnet;
mod check;
pub mod dns;
mod emit;
pub mod icmp;
pub mod ipip;
mod module;
pub mod ntp;
mod payload;
mod proof;
pub mod source;
mod tcp_fields;
pub mod tcp_synackscan;
pub mod tcp_synscan;
#[cfg(test)]
pub(crate) mod testing;
pub mod udp;
pub mod upnp;

use crate::cookie::Key;
use crate::io::batch::RxFrame;
use crate::packet::{Envelope, Link, MacAddr, PatchBatch, Template, VlanTags};
use crate::results::record::{ICMP_ERROR, Kind, SUCCESS};
use crate::targets::TargetBatch;

pub use check::{Answer, Check, Cookies, Echo, Form, Refusal, What};
pub use module::{MODULES, Module, ModuleError, ModuleInfo, Visitor};
pub use proof::Proof;
pub use source::SourcePool;
pub use tcp_synscan::TcpSynScan;

/// Bytes of a reply that hold all its headers, and those of a packet that it quotes.
pub const HEADERS_CAPTURE_LEN: usize = 256;

/// Most copies of a probe that one target gets (`--probes`).
pub const PROBES_MAX: u32 = 255;

/// What every probe is made from, whatever its module.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The scan's cookie key.
    pub key: Key,
    /// Where probes come from.
    pub sources: SourcePool,
    /// Where the scan's other probes come from, which leave by other interfaces: answers to them may arrive here.
    pub other_sources: Vec<u32>,
    /// Copies of each probe, 1 to [`PROBES_MAX`], at most as many as there are source ports.
    pub copies: u32,
    /// What stands before the IP header of a frame.
    pub link: Link,
    /// Our MAC address, on Ethernet.
    pub source_mac: MacAddr,
    /// The gateway's MAC address, likewise.
    pub gateway_mac: MacAddr,
    /// VLAN tags of the frames.
    pub tags: VlanTags,
    /// IP time to live.
    pub ttl: u8,
    /// TSval of TCP options with timestamps.
    pub timestamp: u32,
    /// Whether to reset what a SYN-ACK has half opened.
    pub reset: bool,
    /// Whether the cookie holds the target's port: an answer from another port is then none.
    pub port_in_cookie: bool,
}

impl Settings {
    /// The check of a probe of this form.
    pub fn check(&self, form: Form) -> Check {
        Check {
            key: self.key,
            form,
            link: self.link,
            sources: self.sources.clone(),
            other_sources: self.other_sources.clone(),
            copies: self.copies,
            echo: Echo::Nothing,
            port_in_cookie: self.port_in_cookie && matches!(form, Form::TcpSyn | Form::TcpSynAck | Form::Udp),
        }
    }

    /// The constant fields of its frames' headers.
    pub fn envelope(&self) -> Envelope {
        let Self { link, source_mac, gateway_mac, tags, ttl, .. } = *self;
        Envelope { link, source_mac, gateway_mac, tags, ttl }
    }
}

/// A probe module. Made once, before the first packet, and shared by all workers.
pub trait Probe: Send + Sync {
    /// What tells its answers from other packets.
    fn check(&self) -> &Check;

    /// The frame that every probe of the scan starts from.
    fn template(&self) -> &Template;

    /// The frame that ends a connection which a reply has half opened, if this probe leaves such.
    fn reset_template(&self) -> Option<&Template> {
        None
    }

    /// Whether the frames hold the time at which they leave.
    fn tells_time(&self) -> bool {
        false
    }

    /// Bytes of a reply's frame that its fields may need, at most
    /// [`CAPTURE_MAX`](crate::results::record::CAPTURE_MAX).
    fn capture_len(&self) -> usize {
        HEADERS_CAPTURE_LEN
    }

    /// Fills `out` with the patches of all copies for all targets, in place of what it holds; the copies of a target
    /// stay next to each other, as they leave back to back. The caller sees to it that they fit:
    /// `targets.len * check().copies <= BATCH_MAX`.
    fn emit(&self, targets: &TargetBatch, out: &mut PatchBatch);

    /// What a received frame answers; `None` if its cookie is not right or it is no answer at all.
    fn classify(&self, frame: RxFrame<'_>) -> Option<Reply>;

    /// Appends the patch of the frame that resets what `reply` has half opened. Called only for replies whose
    /// `wants_reset` is set, and with room in `out`.
    fn reset(&self, _reply: &Reply, _out: &mut PatchBatch) {}
}

/// A reply whose cookie is right. Numbers are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it is.
    pub kind: Kind,
    /// Who sent it (IPv4).
    pub responder: u32,
    /// Our address, to which it was sent.
    pub source: u32,
    /// Who was probed: the responder, unless a router answered for it.
    pub target: u32,
    /// Target port of the probe.
    pub target_port: u16,
    /// Whether the reply tells that port; if not, it is the one that the reply came from, or 0.
    pub tells_port: bool,
    /// Port the reply came from.
    pub responder_port: u16,
    /// Our port, to which it was sent.
    pub local_port: u16,
    /// Which copy of the probe it answers, from 0.
    pub probe: u8,
    /// Offset of its IP header in the frame.
    pub ip_offset: u8,
    /// The acknowledgement number of a TCP reply.
    pub acknowledgement: u32,
    /// [`SUCCESS`] and the bits beside it.
    pub flags: u8,
    /// Whether it leaves a connection half open at the responder.
    pub wants_reset: bool,
}

impl Reply {
    /// The port that was probed, if the reply tells it.
    #[inline]
    pub fn asked_port(&self) -> Option<u16> {
        self.tells_port.then_some(self.target_port)
    }

    /// The reply that an answer is, classified.
    pub fn new(answer: &Answer<'_>, kind: Kind, success: bool) -> Self {
        Self {
            kind,
            responder: answer.responder,
            source: answer.source,
            target: answer.target,
            target_port: answer.target_port,
            tells_port: answer.tells_port,
            responder_port: answer.responder_port,
            local_port: answer.local_port,
            probe: answer.probe,
            ip_offset: answer.ip_offset as u8,
            acknowledgement: 0,
            flags: if success { SUCCESS } else { 0 } | if answer.is_error() { ICMP_ERROR } else { 0 },
            wants_reset: false,
        }
    }
}
