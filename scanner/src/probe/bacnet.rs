//! `bacnet`: requests the object identifier of each target as a BACnet/IP device; a BACnet message to us is a success.
//!
//! The request is a ReadProperty (ANSI/ASHRAE 135, clause 15.5) of the property object-identifier of "the device,
//! whatever its number", in an original-unicast NPDU (annex J). Its invoke id is part of the cookie, and an answer with
//! an invoke id (clause 20.1) has to repeat it.

use targets::TargetBatch;
use wire::packet::{CAPTURE_MAX, PatchBatch, RxFrame, Template};
use wire::proof::{AnswerBody, Check, Cookie, Numbers};

use super::udp::datagram::Datagrams;
use super::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply};
use crate::reply::fields::FieldType::Binary;
use crate::reply::fields::{FieldInfo, Table, common};
use crate::reply::record::ReplyKind;

/// Type of a BACnet/IP message (annex J.2).
const BVLC_TYPE_IP: u8 = 0x81;
const INVOKE_ID: usize = 8;

const REQUEST: [u8; 17] = [
    BVLC_TYPE_IP,
    0x0a,
    0,
    17, // original-unicast NPDU of 17 bytes
    1,
    0x04, // NPDU: version 1, an answer is expected
    0x00,
    0x05,
    0,    // APDU: confirmed request, answers up to 1476 bytes and in one piece, invoke id
    0x0c, // ReadProperty
    0x0c,
    0x02,
    0x3f,
    0xff,
    0xff, // of the object device 4194303, which means any device (clause 12.11)
    0x19,
    75, // its object-identifier
];

const PAYLOAD: [FieldInfo; 1] =
    [FieldInfo::new("udp_payload", Binary, "payload of the UDP datagram", |r, _| r.udp_payload().into())];

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "bacnet",
    help: "Sends a BACnet/IP request to read the device's object identifier to each target and port. Classifications: \
           bacnet (a BACnet/IP message that answers it, a success), other (another UDP answer), icmp. Takes no \
           --probe-args.",
    fields: Table {
        groups: &[&common::IP, &common::PORTS, &common::VERDICT, &PAYLOAD, &common::ICMP, &common::SYSTEM],
        extra: &[&common::EXTRA],
    },
    ports: Ports::Or(47_808),
    has_app_success: false,
};

/// A BACnet/IP message in relation to our request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// An APDU that answers the request with this invoke id: an acknowledgement, error, reject or abort.
    Answer(u8),
    /// A request like ours; a device has no reason to send us one.
    Request,
    /// A message without an invoke id: a result of the link layer, a network layer message, an announcement.
    Other,
}

impl Content {
    /// Parses a UDP payload; `None` if it is not a BACnet/IP message. A truncated one is [`Content::Other`].
    fn parse(payload: &[u8]) -> Option<Self> {
        (payload.len() >= 4 && payload[0] == BVLC_TYPE_IP).then(|| Self::apdu(payload).unwrap_or(Self::Other))
    }

    fn apdu(payload: &[u8]) -> Option<Self> {
        const FORWARDED: u8 = 0x04;
        const NETWORK_MESSAGE: u8 = 0x80;
        const DESTINATION: u8 = 0x20;
        const SOURCE: u8 = 0x08;
        let mut at = match payload[1] {
            FORWARDED => 4 + 6, // behind the address of the origin
            0x09..=0x0b => 4,
            _ => return None,
        };
        let control = *payload.get(at + 1)?;
        if control & NETWORK_MESSAGE != 0 {
            return None;
        }
        at += 2;
        // Each has a network number, a length, and an address of that length; the hop count follows.
        for present in [DESTINATION, SOURCE] {
            if control & present != 0 {
                at += 3 + usize::from(*payload.get(at + 2)?);
            }
        }
        at += usize::from(control & DESTINATION != 0);
        match payload.get(at)? >> 4 {
            0 => Some(Self::Request),
            2..=7 => payload.get(at + 1).map(|&id| Self::Answer(id)), // 4 is a segment's acknowledgement
            _ => None,
        }
    }
}

/// The probe module `bacnet`.
#[derive(Debug)]
pub struct Bacnet {
    datagrams: Datagrams,
}

impl Bacnet {
    /// The probe of one scan.
    pub fn new(settings: &ProbeSettings) -> Self {
        Self { datagrams: Datagrams::varying(settings, REQUEST.len()) }
    }
}

fn invoke_id(cookie: Cookie) -> u8 {
    cookie.payload_bits() as u8
}

impl Probe for Bacnet {
    fn check(&self) -> &Check {
        &self.datagrams.check
    }

    fn template(&self) -> &Template {
        &self.datagrams.template
    }

    fn capture_len(&self) -> usize {
        CAPTURE_MAX
    }

    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        self.datagrams.emit_varying(targets, copies, out, |probe, room| {
            room.copy_from_slice(&REQUEST);
            room[INVOKE_ID] = invoke_id(probe.cookie);
            REQUEST.len()
        });
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        let answer = self.datagrams.classify_udp(frame)?;
        let AnswerBody::Udp(payload) = answer.what else {
            return Some(ProvenReply::new(&answer, ReplyKind::Icmp, false));
        };
        let cookie = self.check().cookie(answer.source, answer.target, answer.target_port);
        let success = match Content::parse(payload) {
            Some(Content::Answer(id)) => id == invoke_id(cookie),
            Some(Content::Other) => true,
            Some(Content::Request) | None => false,
        };
        Some(ProvenReply::new(&answer, if success { ReplyKind::Bacnet } else { ReplyKind::Other }, success))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::{assert_is_sound, classify, frames, icmp_error, row, settings, udp_answer};
    use crate::reply::record::{ICMP_ERROR, SUCCESS};
    use proptest::prelude::*;

    /// Acknowledgement, error, reject and abort, through a router or a broadcast device: the id is found in all.
    #[test]
    fn contents() {
        let ack = [0x30, 7, 0x0c, 0x0c, 2, 0, 0, 1];
        let message = |function: u8, between: &[u8], apdu: &[u8]| {
            let len = 4 + between.len() + apdu.len();
            [&[BVLC_TYPE_IP, function, 0, len as u8], between, apdu].concat()
        };
        let answer = Some(Content::Answer(7));
        assert_eq!(Content::parse(&message(0x0a, &[1, 0], &ack)), answer);
        for apdu in [[0x20, 7, 0x0c], [0x50, 7, 0x0c], [0x60, 7, 9], [0x71, 7, 4]] {
            assert_eq!(Content::parse(&message(0x0a, &[1, 0], &apdu)), answer);
        }
        assert_eq!(Content::parse(&message(0x0a, &[1, 0x08, 0, 5, 2, 9, 9], &ack)), answer);
        assert_eq!(Content::parse(&message(0x0a, &[1, 0x20, 0xff, 0xff, 0, 255], &ack)), answer);
        assert_eq!(Content::parse(&message(0x0a, &[1, 0x28, 0, 3, 1, 8, 0, 5, 2, 9, 9, 254], &ack)), answer);
        assert_eq!(Content::parse(&message(0x04, &[198, 18, 0, 1, 0xba, 0xc0, 1, 0], &ack)), answer);
        assert_eq!(Content::parse(&message(0x00, &[], &[0, 0x30])), Some(Content::Other));
        assert_eq!(Content::parse(&message(0x0a, &[1, 0x80], &[1, 2, 3])), Some(Content::Other));
        assert_eq!(Content::parse(&message(0x0b, &[1, 0], &[0x10, 0, 0xc4])), Some(Content::Other));
        assert_eq!(Content::parse(&REQUEST), Some(Content::Request));
        assert_eq!(Content::parse(&[BVLC_TYPE_IP, 0x0a, 0]), None);
        assert_eq!(Content::parse(b"hello"), None);
    }

    proptest! {
        #[test]
        fn requests_and_answers(address: u32, port: u16, noise in prop::collection::vec(any::<u8>(), 0..40)) {
            let probe = Bacnet::new(&settings(2));
            for frame in frames(&probe, &[(address, port)]) {
                assert_is_sound(&frame);
                let id = frame[42 + INVOKE_ID];
                let mut request = REQUEST;
                request[INVOKE_ID] = id;
                prop_assert_eq!(&frame[42..], &request);
                let mut ack = vec![BVLC_TYPE_IP, 0x0a, 0, 9, 1, 0, 0x30, id, 0x0c];
                let found = classify(&probe, &udp_answer(&frame, &ack)).unwrap();
                prop_assert_eq!((found.kind, found.flags), (ReplyKind::Bacnet, SUCCESS));
                ack[7] ^= 1;
                prop_assert_eq!(classify(&probe, &udp_answer(&frame, &ack)).unwrap().kind, ReplyKind::Other);
                let reflected = classify(&probe, &udp_answer(&frame, &frame[42..])).unwrap();
                prop_assert_eq!((reflected.kind, reflected.flags), (ReplyKind::Other, 0));
                for payload in [noise.clone(), [&[BVLC_TYPE_IP], &noise[..]].concat(), [&ack[..5], &noise].concat()] {
                    let answer = udp_answer(&frame, &payload);
                    let found = classify(&probe, &answer).unwrap();
                    prop_assert_eq!(found.flags == SUCCESS, found.kind == ReplyKind::Bacnet);
                    row(&INFO.fields, &probe, &answer);
                }
                let found = classify(&probe, &icmp_error(&frame, 3, 3, 8)).unwrap();
                prop_assert_eq!((found.kind, found.flags), (ReplyKind::Icmp, ICMP_ERROR));
            }
        }
    }
}
