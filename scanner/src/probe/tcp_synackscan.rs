//! `tcp_synackscan`: a TCP SYN-ACK to each target, as if it had requested a connection; any answer is a success.
//!
//! A host without such a connection answers with a RST whose sequence number is the probe's acknowledgement number (RFC
//! 9293, section 3.10.7.1). So the acknowledgement number is also part of the cookie.

use targets::TargetBatch;
use wire::packet::template::TcpHeader;
use wire::packet::{PatchBatch, RxFrame, TCP_ACK, TCP_RST, TCP_SYN, Template};
use wire::proof::{AnswerBody, Check, Numbers, ProbeForm};

use super::emit::{self, FirstWords};
use super::tcp_synscan::Syn;
use super::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply, tcp_fields};
use crate::reply::fields::{Table, common};
use crate::reply::record::ReplyKind;

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "tcp_synackscan",
    help: "Sends a TCP SYN-ACK without a SYN to each target and port. Classifications: rst and synack (both a \
           success: a host is there), icmp. Takes no --probe-args.",
    fields: Table {
        groups: &[
            &common::IP,
            &common::PORTS,
            &tcp_fields::SEGMENT,
            &common::VERDICT,
            &common::ICMP,
            &common::SYSTEM,
        ],
        extra: &[&tcp_fields::OPTIONS, &common::EXTRA],
    },
    ports: Ports::Named,
    has_app_success: false,
};

/// The probe module `tcp_synackscan`.
#[derive(Debug)]
pub struct TcpSynAckScan {
    check: Check,
    template: Template,
    /// The bytes after ports and sequence number, the acknowledgement number first.
    tail: Vec<u8>,
}

impl TcpSynAckScan {
    /// The probe of one scan.
    pub fn new(settings: &ProbeSettings) -> Self {
        let header =
            TcpHeader { flags: TCP_SYN | TCP_ACK, acknowledgement: 0, window: 65_535, options: &MSS };
        let segment = header.segment();
        Self {
            check: settings.check(ProbeForm::TcpSynAck),
            template: Template::tcp_with_tail(settings.envelope(), segment.len()),
            tail: segment[8..].to_vec(),
        }
    }
}

/// A maximum segment size of 1460.
const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];

impl Probe for TcpSynAckScan {
    fn check(&self) -> &Check {
        &self.check
    }

    fn template(&self) -> &Template {
        &self.template
    }

    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        emit::with_tails(&self.check, &self.template, targets, copies, out, |probe, room| {
            room.copy_from_slice(&self.tail);
            room[..4].copy_from_slice(&probe.cookie.acknowledgement().to_be_bytes());
            (Syn.words(probe.head()), self.tail.len())
        });
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        let answer = self.check.answer(frame)?;
        Some(match answer.what {
            AnswerBody::Tcp(segment) if segment.flags & TCP_RST != 0 => {
                ProvenReply::new(&answer, ReplyKind::Rst, true)
            }
            AnswerBody::Tcp(_) => ProvenReply::new(&answer, ReplyKind::SynAck, true),
            _ => ProvenReply::new(&answer, ReplyKind::Icmp, false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::{assert_is_sound, classify, frames, icmp_error, packet, segment, settings};
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    fn answer(frame: &[u8], flags: u8, sequence: u32, acknowledgement: u32) -> Vec<u8> {
        let (ip, probe) = (packet(frame), segment(frame));
        let mut reply = vec![];
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(ip.destination.to_be_bytes(), ip.source.to_be_bytes(), 60)
            .tcp(probe.destination_port, probe.source_port, sequence, 1000)
            .ack(acknowledgement)
            .write(&mut reply, &[])
            .unwrap();
        reply[47] = flags;
        reply
    }

    proptest! {
        /// The RST of a host without a connection, or any other segment that acknowledges the probe, is an answer. One
        /// wrong bit makes it invalid.
        #[test]
        fn replies_prove_the_probe(address: u32, port: u16, copies in 1u32..4, bit in 1u32..32) {
            let probe = TcpSynAckScan::new(&settings(copies));
            for (copy, frame) in frames(&probe, &[(address, port)]).iter().enumerate() {
                assert_is_sound(frame);
                prop_assert_eq!(frame.len(), 58);
                let asked = segment(frame);
                prop_assert_eq!(asked.flags, TCP_SYN | TCP_ACK);
                let found = classify(&probe, &answer(frame, TCP_RST, asked.acknowledgement, 0)).unwrap();
                prop_assert_eq!((found.kind, usize::from(found.probe)), (ReplyKind::Rst, copy));
                prop_assert!(!found.wants_reset);
                let acknowledged = answer(frame, TCP_SYN | TCP_ACK, 1, asked.sequence.wrapping_add(1));
                prop_assert_eq!(classify(&probe, &acknowledged).unwrap().kind, ReplyKind::SynAck);
                let forged = answer(frame, TCP_RST, asked.acknowledgement ^ 1 << bit, 0);
                prop_assert_eq!(classify(&probe, &forged), None);
                prop_assert_eq!(classify(&probe, &icmp_error(frame, 3, 1, 8)).unwrap().kind, ReplyKind::Icmp);
            }
        }
    }
}
