//! Replies and their records for tests.

use std::net::Ipv4Addr;

use super::record::{Header, ReplyKind, SUCCESS, mapped};

/// 2026-01-31 11:00:00.042420 UTC.
const TIME_NS: u64 = 1_769_857_200_042_420_999;

/// The frame of a SYN-ACK from 198.18.1.2:80 to 192.0.2.7:40000, with Linux's options.
pub(crate) fn synack_frame() -> Vec<u8> {
    let mut frame = vec![0x02; 12];
    frame.extend_from_slice(&[0x08, 0x00]);
    frame.extend_from_slice(&[0x45, 0, 0, 60, 0x12, 0x34, 0x40, 0, 63, 6, 0, 0]);
    frame.extend_from_slice(&[198, 18, 1, 2, 192, 0, 2, 7]);
    frame.extend_from_slice(&80u16.to_be_bytes());
    frame.extend_from_slice(&40_000u16.to_be_bytes());
    frame.extend_from_slice(&3_000_000_000u32.to_be_bytes());
    frame.extend_from_slice(&17u32.to_be_bytes());
    frame.extend_from_slice(&[0xa0, 0x12, 0xfe, 0x88, 0, 0, 0, 0]);
    frame.extend_from_slice(&[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 1, 0, 1, 3, 3, 7]);
    frame
}

/// A record's header for a reply of `kind` from `responder:port`, holding `captured_len` bytes of the frame.
pub(crate) fn header(kind: ReplyKind, responder: Ipv4Addr, port: u16, captured_len: usize) -> Header {
    Header {
        time_ns: TIME_NS,
        responder: mapped(responder),
        target: mapped(responder),
        responder_port: port,
        local_port: 40_000,
        target_port: port,
        queue: 0,
        frame_len: captured_len as u32,
        captured_len: captured_len as u16,
        ip_offset: 14,
        family: 4,
        kind: kind as u8,
        probe: 0,
        cooldown: 0,
        flags: if kind == ReplyKind::SynAck { SUCCESS } else { 0 },
        reserved: [0; 4],
    }
}
