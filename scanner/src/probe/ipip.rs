//! `ipip`: a UDP datagram in an IPv4 packet in an IPv4 packet (RFC 2003) to each target and port. The inner packet is
//! from the target to us. A host that unwraps and forwards it sends us the datagram, and so is an open relay.
//!
//! The inner datagram's ports are those of the answer, because it *is* the answer: from the target's port to the port
//! that the cookie gives. A router that quotes 8 bytes of the outer packet's payload quotes the inner identification,
//! which is also part of the cookie.

use std::ffi::OsStr;

use targets::TargetBatch;
use wire::packet::{
    CAPTURE_MAX, ICMP_UNREACHABLE, IPV4_LEN, PROTOCOL_UDP, PatchBatch, RxFrame, Template, UDP_LEN, checksum,
};
use wire::proof::{AnswerBody, Check, Numbers, ProbeForm};

use super::payload::{self, PayloadError};
use super::udp::datagram::{DATA, UDP_PKT_SIZE};
use super::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply, emit};
use crate::reply::fields::{FieldInfo, Table, common};
use crate::reply::record::ReplyKind;

/// Most bytes of payload, as in ZMap.
const PAYLOAD_LEN_MAX: usize = 200;
/// The default payload, as in ZMap.
const PAYLOAD: &[u8] = b"GET / HTTP/1.1\r\nHost: www\r\n\r\n";

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "ipip",
    help: "Sends a UDP datagram in IPv4 in IPv4 to each target and port, addressed to us: a target that unwraps and \
           forwards it answers with it. Classifications: udp (a success), icmp-unreach, other.\n\
           --probe-args gives the datagram's payload, at most 200 bytes: file:PATH, text:TEXT or hex:DIGITS; without it, \
           an HTTP request.",
    fields: Table {
        groups: &[&common::IP, &common::VERDICT, &common::PORTS, &common::ICMP, &DATAGRAM, &common::SYSTEM],
        extra: &[&common::EXTRA],
    },
    ports: Ports::Named,
    has_app_success: false,
};

const DATAGRAM: [FieldInfo; 2] = [UDP_PKT_SIZE, DATA];

/// The payload in `args`.
///
/// # Errors
/// Why it is invalid.
pub fn parse_args(args: Option<&OsStr>) -> Result<Vec<u8>, PayloadError> {
    args.map_or_else(|| Ok(PAYLOAD.to_vec()), |args| payload::parse(args, PAYLOAD_LEN_MAX))
}

/// Offsets in the tail, which starts behind the inner header's first 8 bytes.
mod at {
    pub(super) const TTL: usize = 0;
    pub(super) const PROTOCOL: usize = 1;
    pub(super) const SOURCE: usize = 4;
    pub(super) const DESTINATION: usize = 8;
    /// End of the inner IPv4 header.
    pub(super) const UDP: usize = 12;
    pub(super) const UDP_CHECKSUM: usize = UDP + 6;
}

/// The probe module `ipip`.
#[derive(Debug)]
pub struct IpIp {
    check: Check,
    template: Template,
    /// Version, header length, TOS and total length of the inner packet.
    first_word: u32,
    /// The inner packet behind its first 8 bytes; addresses, ports and checksums are zero.
    tail: Vec<u8>,
    /// Sum of the inner datagram and its pseudo-header, without the fields that are zero in the tail.
    udp_sum: u32,
}

impl IpIp {
    /// The probe of one scan.
    pub fn new(settings: &ProbeSettings, payload: &[u8]) -> Self {
        let udp_len = UDP_LEN + payload.len();
        let inner_len = IPV4_LEN + udp_len;
        let mut tail = vec![0; at::UDP + UDP_LEN];
        tail[at::TTL] = settings.ttl;
        tail[at::PROTOCOL] = PROTOCOL_UDP;
        tail[at::UDP + 4..at::UDP + 6].copy_from_slice(&(udp_len as u16).to_be_bytes());
        tail.extend(payload);
        Self {
            check: settings.check(ProbeForm::IpIp),
            template: Template::ipip_with_tail(settings.envelope(), inner_len),
            first_word: 0x4500 << 16 | inner_len as u32,
            udp_sum: checksum::sum(&tail[at::UDP..]) + u32::from(PROTOCOL_UDP) + udp_len as u32,
            tail,
        }
    }
}

impl Probe for IpIp {
    fn check(&self) -> &Check {
        &self.check
    }

    fn template(&self) -> &Template {
        &self.template
    }

    fn capture_len(&self) -> usize {
        CAPTURE_MAX
    }

    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        emit::with_tails(&self.check, &self.template, targets, copies, out, |probe, tail| {
            tail.copy_from_slice(&self.tail);
            let ports = u32::from(probe.target_port) << 16 | u32::from(probe.source_port);
            let addresses = checksum::sum32(probe.target) + checksum::sum32(probe.source);
            let sum = checksum::finish(self.udp_sum + addresses + checksum::sum32(ports));
            // Zero would mean that there is no checksum (RFC 768).
            let sum = if sum == 0 { 0xffff } else { sum };
            tail[at::SOURCE..][..4].copy_from_slice(&probe.target.to_be_bytes());
            tail[at::DESTINATION..][..4].copy_from_slice(&probe.source.to_be_bytes());
            tail[at::UDP..][..4].copy_from_slice(&ports.to_be_bytes());
            tail[at::UDP_CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
            ([self.first_word, u32::from(probe.cookie.payload_bits()) << 16], tail.len())
        });
        for i in 0..out.len {
            let header =
                checksum::sum(&out.l4_words[i].to_ne_bytes()) + checksum::sum(&out.tails.get(i)[..at::UDP]);
            out.l4_checksums[i] = checksum::finish(header).to_be();
        }
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        let answer = self.check.answer(frame)?;
        Some(match answer.what {
            AnswerBody::Udp(_) => ProvenReply::new(&answer, ReplyKind::Udp, true),
            AnswerBody::Error(ICMP_UNREACHABLE) => ProvenReply::new(&answer, ReplyKind::IcmpUnreach, false),
            _ => ProvenReply::new(&answer, ReplyKind::Other, false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::{TARGET, assert_is_sound, classify, frames, icmp_error, packet, settings};
    use crate::reply::record::{ICMP_ERROR, SUCCESS};
    use proptest::prelude::*;
    use wire::packet::view::Datagram;
    use wire::packet::{ETHERNET_LEN, PROTOCOL_IPIP};

    /// The datagram that a target forwards to us after unwrapping the probe.
    fn forwarded(frame: &[u8]) -> Vec<u8> {
        let mut inner = frame[..ETHERNET_LEN].to_vec();
        inner.extend(packet(frame).payload);
        inner
    }

    proptest! {
        /// Outer and inner packet are sound, and the inner one proves the probe. One wrong bit makes it invalid.
        #[test]
        fn the_inner_packet_is_the_answer(
            targets in prop::collection::vec((any::<u32>(), any::<u16>()), 1..9),
            payload in prop::collection::vec(any::<u8>(), 0..70),
            copies in 1u32..4,
            bit in 0usize..32,
        ) {
            let probe = IpIp::new(&settings(copies), &payload);
            for (i, frame) in frames(&probe, &targets).iter().enumerate() {
                let (address, port) = targets[i / copies as usize];
                assert_is_sound(frame);
                let outer = packet(frame);
                prop_assert_eq!((outer.protocol, outer.destination), (PROTOCOL_IPIP, address));
                let answer = forwarded(frame);
                assert_is_sound(&answer);
                let inner = packet(&answer);
                prop_assert_eq!((inner.source, inner.destination), (outer.destination, outer.source));
                prop_assert_eq!(Datagram::parse(&inner).unwrap().payload, &payload[..]);
                let found = classify(&probe, &answer).unwrap();
                prop_assert_eq!((found.kind, found.flags), (ReplyKind::Udp, SUCCESS));
                prop_assert_eq!((found.target, found.target_port), (address, port));
                prop_assert_eq!(usize::from(found.probe), i % copies as usize);
                for (kind, expected) in [(3, ReplyKind::IcmpUnreach), (11, ReplyKind::Other)] {
                    for quoted in [8, 28] {
                        let found = classify(&probe, &icmp_error(frame, kind, 0, quoted)).unwrap();
                        prop_assert_eq!((found.kind, found.flags), (expected, ICMP_ERROR));
                        prop_assert_eq!((found.target, found.responder), (address, 0xc000_0209));
                    }
                }
                prop_assert_eq!(classify(&probe, &icmp_error(frame, 3, 0, 7)), None);
                let mut forged = icmp_error(frame, 3, 0, 8);
                forged[66 + bit / 16] ^= 1 << (bit % 8); // the quote's inner identification
                prop_assert_eq!(classify(&probe, &forged), None);
                let mut forged = answer.clone();
                forged[30 + bit / 8] ^= 1 << (bit % 8); // our address
                prop_assert_eq!(classify(&probe, &forged), None);
            }
        }
    }

    #[test]
    fn arguments_and_fields() {
        assert_eq!(parse_args(None).unwrap(), PAYLOAD);
        assert_eq!(parse_args(Some("hex:00".as_ref())).unwrap(), [0]);
        assert!(parse_args(Some(format!("text:{}", "x".repeat(201)).as_ref())).is_err());
        let names: Vec<_> = INFO.fields.all().map(|field| field.name).collect();
        let own = "classification success sport dport icmp_responder icmp_type icmp_code icmp_unreach_str udp_pkt_size data";
        assert_eq!(names[6..16].join(" "), own);
        let frame = &frames(&IpIp::new(&settings(1), PAYLOAD), &[(TARGET, 53)])[0];
        assert_eq!(frame.len(), ETHERNET_LEN + 2 * IPV4_LEN + UDP_LEN + PAYLOAD.len());
    }
}
