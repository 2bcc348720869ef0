//! Turns a classified reply into its counter and the head of its record.

use std::time::{SystemTime, UNIX_EPOCH};

use super::counters::Counts;
use crate::probe::ProvenReply;
use crate::reply::record::{self, ReplyKind};

/// Nanoseconds since the Unix epoch.
pub(super) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Counts a reply by its kind.
#[inline]
pub(super) fn count(counts: &mut Counts, reply: &ProvenReply) {
    *match reply.kind {
        _ if reply.flags & record::ICMP_ERROR != 0 => &mut counts.rx_icmp_error,
        ReplyKind::SynAck => &mut counts.rx_synack,
        ReplyKind::Rst => &mut counts.rx_rst,
        ReplyKind::EchoReply => &mut counts.rx_echo,
        _ => &mut counts.rx_udp,
    } += 1;
}

/// The head of a reply's record.
pub(super) fn header(
    reply: &ProvenReply,
    time_ns: u64,
    cooldown: bool,
    queue: u16,
    frame_len: u32,
    captured_len: usize,
) -> record::Header {
    record::Header {
        time_ns,
        responder: record::mapped(reply.responder.into()),
        target: record::mapped(reply.target.into()),
        responder_port: reply.responder_port,
        local_port: reply.local_port,
        target_port: reply.target_port,
        queue,
        frame_len,
        captured_len: captured_len as u16,
        ip_offset: reply.ip_offset,
        family: 4,
        kind: reply.kind as u8,
        probe: reply.probe,
        cooldown: u8::from(cooldown),
        flags: reply.flags,
        reserved: [0; 4],
    }
}
