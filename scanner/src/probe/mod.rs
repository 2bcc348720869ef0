//! The probes: how they are made, and how answers are read. One file per probe.
//!
//! Owns the probes' templates, the values that differ from one probe to the next, and the classification of replies.
//! Everything here is a pure function over values and byte slices: no rings, no clock, no allocation after a probe is
//! made. A probe is a static type to the engine; a back end sees only its template and its patches.

pub mod attribution;
pub mod bacnet;
pub mod dns;
mod emit;
pub mod icmp;
mod info;
pub mod ipip;
mod module;
pub mod ntp;
mod payload;
mod tcp_fields;
pub mod tcp_synackscan;
pub mod tcp_synscan;
#[cfg(test)]
pub(crate) mod testing;
pub mod udp;
pub mod upnp;

use crate::reply::Reply;
use crate::reply::record::{ICMP_ERROR, ReplyKind, SUCCESS};

pub use info::{ModuleInfo, Ports};
pub use module::{Carried, MODULES, Module, ModuleError, Visitor};
use targets::TargetBatch;
pub use tcp_synscan::TcpSynScan;
use wire::packet::{Envelope, LinkHeader, MacAddr, PatchBatch, RxFrame, Template, VlanTags};
use wire::proof::{Answer, Check, Copies, Echo, Key, Numbers, ProbeForm, SourcePool};

/// Bytes to capture of a reply: enough for all its headers and those of a packet that it quotes. Fewer would cut long
/// options; more take room in the rings of records.
pub const HEADERS_CAPTURE_LEN: usize = 256;

/// Most copies of a probe that one target gets (`--probes`): the number of a copy is a byte in a record.
pub const PROBES_MAX: u32 = 255;

/// The input for every probe, whatever its module.
#[derive(Clone, Debug)]
pub struct ProbeSettings {
    /// The scan's cookie key.
    pub key: Key,
    /// The source addresses and ports of its probes.
    pub sources: SourcePool,
    /// The source addresses of the scan's probes through other interfaces, whose answers may arrive here.
    pub other_sources: Vec<u32>,
    /// The numbers of each probe's copies, which fit the source ports.
    pub copies: Copies,
    /// The header before the IP header of a frame.
    pub link: LinkHeader,
    /// Our MAC address, on Ethernet.
    pub source_mac: MacAddr,
    /// The gateway's MAC address, on Ethernet.
    pub gateway_mac: MacAddr,
    /// VLAN tags of the frames.
    pub tags: VlanTags,
    /// IP time to live.
    pub ttl: u8,
    /// TSval of TCP options with timestamps.
    pub timestamp: u32,
    /// Whether to reset the connections that SYN-ACKs have half opened.
    pub reset: bool,
    /// Whether the cookie holds the target's port: a packet from another port is then not an answer.
    pub port_in_cookie: bool,
}

impl ProbeSettings {
    /// The check of a probe of this form.
    pub fn check(&self, form: ProbeForm) -> Check {
        Check {
            key: self.key,
            form,
            link: self.link,
            sources: self.sources.clone(),
            other_sources: self.other_sources.clone(),
            copies: self.copies,
            echo: Echo::Nothing,
            port_in_cookie: self.port_in_cookie
                && matches!(form, ProbeForm::TcpSyn | ProbeForm::TcpSynAck | ProbeForm::Udp),
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
    /// Distinguishes its answers from other packets.
    fn check(&self) -> &Check;

    /// The frame that every probe of the scan starts from.
    fn template(&self) -> &Template;

    /// The frame that ends a connection which a reply has half opened, if this probe can cause one.
    fn reset_template(&self) -> Option<&Template> {
        None
    }

    /// Microseconds from the probe to a reply, if the frames hold the time of sending and the reply repeats it.
    fn rtt_us(&self, _reply: &Reply<'_>) -> Option<u64> {
        None
    }

    /// Whether the frames hold the time of sending.
    fn tells_time(&self) -> bool {
        false
    }

    /// Bytes of a reply's frame that its fields may need, at most
    /// [`CAPTURE_MAX`](wire::packet::CAPTURE_MAX).
    fn capture_len(&self) -> usize {
        HEADERS_CAPTURE_LEN
    }

    /// Fills `out` with the patches of the copies with these numbers for all targets; replaces its content. The copies
    /// of a target stay next to each other, so they leave back to back. The caller ensures that they fit:
    /// `targets.len * copies.count <= BATCH_MAX`.
    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch);

    /// The reply in a received frame; `None` if its cookie is wrong or it is not an answer at all.
    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply>;

    /// Appends the patch of the frame that resets the connection that `reply` has half opened. Called only for replies
    /// whose `wants_reset` is set, and if `out` has room.
    fn reset(&self, _reply: &ProvenReply, _out: &mut PatchBatch) {}
}

/// A reply whose cookie is right. Numbers are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenReply {
    /// The kind of reply.
    pub kind: ReplyKind,
    /// Its sender (IPv4).
    pub responder: u32,
    /// Our address, the destination of the reply.
    pub source: u32,
    /// The probed target: the responder, unless a router answered for it.
    pub target: u32,
    /// Target port of the probe.
    pub target_port: u16,
    /// Whether the reply proves that port; if not, it is the port that the reply came from, or 0.
    pub tells_port: bool,
    /// Port the reply came from.
    pub responder_port: u16,
    /// Our port, the destination of the reply.
    pub local_port: u16,
    /// Which copy of the probe it answers, from 0; [`Copies::kind`] tells why that was sent.
    pub probe: u8,
    /// Offset of its IP header in the frame.
    pub ip_offset: u8,
    /// The acknowledgement number of a TCP reply.
    pub acknowledgement: u32,
    /// [`SUCCESS`] and the other bits of [`Header::flags`](crate::reply::record::Header::flags).
    pub flags: u8,
    /// Whether it leaves a connection half open at the responder.
    pub wants_reset: bool,
}

impl ProvenReply {
    /// The probed port, if the reply proves it.
    #[inline]
    pub fn asked_port(&self) -> Option<u16> {
        self.tells_port.then_some(self.target_port)
    }

    /// The classified reply from an answer.
    pub fn new(answer: &Answer<'_>, kind: ReplyKind, success: bool) -> Self {
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
