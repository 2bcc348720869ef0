//! `ntp`: a client's request for the time to each target; any UDP answer is a success, as in ZMap.
//!
//! The transmit timestamp is the whole cookie, and a server returns it as the originate timestamp (RFC 5905, section
//! 8); a message without it is not an answer. It says nothing about our clock, and a server does not need that.

use std::ffi::OsStr;

use targets::TargetBatch;
use wire::packet::{PatchBatch, RxFrame, Template};
use wire::proof::{AnswerBody, Check, Echo, NTP_ORIGIN, Numbers};

use super::payload::{self, PayloadError};
use super::udp::datagram::{Datagrams, PAYLOAD_LEN_MAX};
use super::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply};
use crate::reply;
use crate::reply::fields::FieldType::Int;
use crate::reply::fields::{FieldInfo, Table, Value, common};
use crate::reply::record::ReplyKind;

/// Bytes of the header (RFC 5905, figure 8); extensions may follow it in an answer.
const HEADER_LEN: usize = 48;
/// Leap indicator 3 (unknown), version 4, mode 3 (client): what ZMap sends.
const CLIENT: u8 = 3 << 6 | 4 << 3 | 3;
const MODE_MASK: u8 = 7;
const MODE_SERVER: u8 = 4;
const TRANSMIT: usize = 40;

/// Fields of the header, in its order. Numbers are as on the wire, without their scales: `precision` is a signed
/// exponent in a byte, the delays have 16 fractional bits, and timestamps have 32, counted from 1900.
#[rustfmt::skip]
const HEADER: [FieldInfo; 11] = [
    FieldInfo::new("LI_VN_MODE", Int, "leap indicator, version and mode, as one byte", |r, _| number::<1>(r, 0)),
    FieldInfo::new("stratum", Int, "stratum", |r, _| number::<1>(r, 1)),
    FieldInfo::new("poll", Int, "poll exponent", |r, _| number::<1>(r, 2)),
    FieldInfo::new("precision", Int, "precision exponent, a signed number as its byte", |r, _| number::<1>(r, 3)),
    FieldInfo::new("root_delay", Int, "root delay, in 1/65536 s", |r, _| number::<4>(r, 4)),
    FieldInfo::new("root_dispersion", Int, "root dispersion, in 1/65536 s", |r, _| number::<4>(r, 8)),
    FieldInfo::new("reference_clock_identifier", Int, "reference identifier", |r, _| number::<4>(r, 12)),
    FieldInfo::new("reference_timestamp", Int, "when the clock was last set, in 2^-32 s since 1900", |r, _| number::<8>(r, 16)),
    FieldInfo::new("originate_timestamp", Int, "field of the probe that the answer repeats; not a time", |r, _| number::<8>(r, NTP_ORIGIN)),
    FieldInfo::new("receive_timestamp", Int, "when the request arrived, in 2^-32 s since 1900", |r, _| number::<8>(r, 32)),
    FieldInfo::new("transmit_timestamp", Int, "when the answer left, in 2^-32 s since 1900", |r, _| number::<8>(r, TRANSMIT)),
];

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "ntp",
    help: "Sends an NTP client's request to each target and port. Classifications: ntp, other (UDP that repeats the \
           probe's timestamp and is not an NTP answer), both a success; icmp. Without it, a datagram is not an answer.\n\
           --probe-args is not needed: a payload in ZMap's forms is checked and not sent, as in ZMap.",
    fields: Table {
        groups: &[&common::IP, &common::VERDICT, &common::PORTS, &common::ICMP, &HEADER, &common::SYSTEM],
        extra: &[&common::EXTRA],
    },
    ports: Ports::Or(123),
    has_app_success: false,
};

/// `N` bytes of the header from `at` on, if the answer has all of it.
fn number<const N: usize>(reply: &reply::Reply<'_>, at: usize) -> Value<'static> {
    let header = reply.udp_payload().and_then(|payload| payload.first_chunk::<HEADER_LEN>());
    header.map_or(Value::Null, |header| {
        Value::U64(header[at..at + N].iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    })
}

/// Accepts the arguments of ZMap's module, which requires a payload and does not send it.
///
/// # Errors
/// It is not a valid payload.
pub fn check_args(args: Option<&OsStr>) -> Result<(), PayloadError> {
    args.map_or(Ok(()), |args| payload::parse(args, PAYLOAD_LEN_MAX).map(drop))
}

/// Whether `payload` is a server's answer.
fn is_answer(payload: &[u8]) -> bool {
    payload.first_chunk::<HEADER_LEN>().is_some_and(|header| header[0] & MODE_MASK == MODE_SERVER)
}

/// The probe module `ntp`.
#[derive(Debug)]
pub struct Ntp {
    datagrams: Datagrams,
}

impl Ntp {
    /// The probe of one scan.
    pub fn new(settings: &ProbeSettings) -> Self {
        Self { datagrams: Datagrams::varying(settings, HEADER_LEN).echoed(Echo::NtpOrigin) }
    }
}

impl Probe for Ntp {
    fn check(&self) -> &Check {
        &self.datagrams.check
    }

    fn template(&self) -> &Template {
        &self.datagrams.template
    }

    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        self.datagrams.emit_varying(targets, copies, out, |probe, room| {
            room.fill(0);
            room[0] = CLIENT;
            room[TRANSMIT..].copy_from_slice(&probe.cookie.0.to_be_bytes());
            HEADER_LEN
        });
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        let answer = self.datagrams.classify_udp(frame)?;
        let AnswerBody::Udp(payload) = answer.what else {
            return Some(ProvenReply::new(&answer, ReplyKind::Icmp, false));
        };
        let kind = if is_answer(payload) { ReplyKind::Ntp } else { ReplyKind::Other };
        Some(ProvenReply::new(&answer, kind, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::{
        TARGET, assert_is_sound, classify, frames, icmp_error, row, settings, udp_answer,
    };
    use crate::reply::record::{ICMP_ERROR, SUCCESS};
    use proptest::prelude::*;

    /// The answer of a stratum 2 server to the request in `frame`; each field has a different value.
    fn served(frame: &[u8]) -> Vec<u8> {
        let mut answer = vec![4 << 3 | 4, 2, 6, 0xe9];
        answer.extend([0, 0, 1, 2, 0, 0, 3, 4, 192, 0, 2, 1]);
        answer.extend(0xe900_0000_8000_0000_u64.to_be_bytes());
        answer.extend(&frame[frame.len() - 8..]);
        answer.extend(0xe900_0001_8000_0000_u64.to_be_bytes());
        answer.extend(0xe900_0002_8000_0000_u64.to_be_bytes());
        answer
    }

    proptest! {
        #[test]
        fn requests_and_answers(address: u32, port: u16, bit in 0usize..64, noise in prop::collection::vec(any::<u8>(), 0..80)) {
            let probe = Ntp::new(&settings(2));
            for frame in frames(&probe, &[(address, port)]) {
                assert_is_sound(&frame);
                prop_assert_eq!(frame.len(), 42 + HEADER_LEN);
                prop_assert_eq!((frame[42], &frame[43..82]), (227, &[0; 39][..]));
                let mut answer = served(&frame);
                let found = classify(&probe, &udp_answer(&frame, &answer)).unwrap();
                prop_assert_eq!((found.kind, found.flags), (ReplyKind::Ntp, SUCCESS));
                for len in 0..HEADER_LEN {
                    let cut = classify(&probe, &udp_answer(&frame, &answer[..len])).map(|found| found.kind);
                    prop_assert_eq!(cut, (len >= NTP_ORIGIN + 8).then_some(ReplyKind::Other), "{} bytes", len);
                }
                let other = [&[0; NTP_ORIGIN][..], &answer[NTP_ORIGIN..NTP_ORIGIN + 8], &noise].concat();
                let found = classify(&probe, &udp_answer(&frame, &other)).unwrap();
                prop_assert_eq!((found.kind, found.flags), (ReplyKind::Other, SUCCESS));
                row(&INFO.fields, &probe, &udp_answer(&frame, &other));
                answer[NTP_ORIGIN + bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(classify(&probe, &udp_answer(&frame, &answer)), None);
                prop_assert_eq!(classify(&probe, &udp_answer(&frame, &noise)), None);
                let found = classify(&probe, &icmp_error(&frame, 3, 3, 8)).unwrap();
                prop_assert_eq!((found.kind, found.flags), (ReplyKind::Icmp, ICMP_ERROR));
            }
        }
    }

    /// Each field is in its place, in network order.
    #[test]
    fn fields() {
        let probe = Ntp::new(&settings(1));
        let frame = &frames(&probe, &[(TARGET, 123)])[0];
        let cookie = u64::from_be_bytes(*frame.last_chunk().unwrap());
        let row = row(&INFO.fields, &probe, &udp_answer(frame, &served(frame)));
        assert_eq!(
            serde_json::Value::from_iter(HEADER.map(|field| (field.name, row[field.name].clone()))),
            serde_json::json!({
                "LI_VN_MODE": 0x24, "stratum": 2, "poll": 6, "precision": 0xe9, "root_delay": 0x102,
                "root_dispersion": 0x304, "reference_clock_identifier": 0xc000_0201_u32,
                "reference_timestamp": 0xe900_0000_8000_0000_u64, "originate_timestamp": cookie,
                "receive_timestamp": 0xe900_0001_8000_0000_u64, "transmit_timestamp": 0xe900_0002_8000_0000_u64,
            })
        );
        assert_eq!((row["sport"].clone(), row["classification"].clone()), (123.into(), "ntp".into()));
    }

    #[test]
    fn arguments() {
        assert!(check_args(None).is_ok() && check_args(Some("hex:1b".as_ref())).is_ok());
        assert!(check_args(Some("1b".as_ref())).is_err());
    }
}
