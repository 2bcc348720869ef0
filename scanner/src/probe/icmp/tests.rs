use super::EchoRequest;
use super::echo::{self, IcmpEcho};
use super::echo_time::{self, IcmpEchoTime};
use crate::probe::testing::{
    SOURCE, TARGET, assert_is_sound, classify, frames, header_of, icmp_error, packet, settings,
};
use crate::probe::{Probe, ProbeSettings, emit};
use crate::reply::Reply;
use crate::reply::fields::{Extractor, Value};
use crate::reply::record::{ICMP_ERROR, ReplyKind, SUCCESS};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use simd::Level;
use targets::TargetBatch;
use wire::packet::ICMP_ECHO_REPLY;

/// The target's answer: addresses swapped, type echo reply.
fn echo_reply(frame: &[u8]) -> Vec<u8> {
    let probe = packet(frame);
    let mut reply = frame.to_vec();
    reply[26..30].copy_from_slice(&probe.destination.to_be_bytes());
    reply[30..34].copy_from_slice(&probe.source.to_be_bytes());
    reply[34] = ICMP_ECHO_REPLY;
    reply
}

proptest! {
    #[test]
    fn frames_are_sound_and_replies_prove_them(
        address: u32,
        copies in 1u32..5,
        payload in prop::collection::vec(any::<u8>(), 0..60),
        bit in 0usize..32,
    ) {
        let probe = IcmpEcho::new(&settings(copies), &payload);
        for (copy, frame) in frames(&probe, &[(address, 0)]).iter().enumerate() {
            assert_is_sound(frame);
            prop_assert_eq!(&frame[42..], &payload[..]);
            let found = classify(&probe, &echo_reply(frame)).unwrap();
            prop_assert_eq!((found.kind, found.flags, usize::from(found.probe)), (ReplyKind::EchoReply, SUCCESS, copy));
            prop_assert_eq!((found.target, found.responder), (address, address));
            for field in [26, 30] {
                let mut forged = echo_reply(frame);
                forged[field + bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(classify(&probe, &forged), None);
            }
            let mut forged = echo_reply(frame);
            forged[38 + bit / 16] ^= 1 << (bit % 8); // the identifier
            prop_assert_eq!(classify(&probe, &forged), None);
        }
    }
}

/// Errors keep ZMap's names, and tell both the router and the target.
#[test]
fn errors_are_told_apart() {
    let probe = IcmpEcho::new(&settings(1), &[]);
    let frame = &frames(&probe, &[(TARGET, 0)])[0];
    for (kind, expected) in [
        (3, ReplyKind::Unreachable),
        (4, ReplyKind::SourceQuench),
        (5, ReplyKind::Redirect),
        (11, ReplyKind::TimeExceeded),
        (12, ReplyKind::Other),
    ] {
        let found = classify(&probe, &icmp_error(frame, kind, 0, 8)).unwrap();
        assert_eq!((found.kind, found.flags), (expected, ICMP_ERROR));
        assert_eq!((found.target, found.responder), (TARGET, 0xc000_0209));
    }
    assert_eq!(classify(&probe, &icmp_error(frame, 3, 0, 7)), None);
    assert_eq!(classify(&probe, frame), None, "our own request");
}

/// The time in the probe comes back as a round-trip time; times that cannot be are none.
#[test]
fn round_trip_times() {
    let probe = IcmpEchoTime::new(&ProbeSettings { reset: false, ..settings(1) }, b"\0tel:1\0");
    let sent_ns = 1_769_857_200_000_123_456;
    let mut targets = TargetBatch { len: 1, time_ns: sent_ns, ..TargetBatch::default() };
    targets.addresses[0] = TARGET;
    let mut patches = probe.template().batch();
    probe.emit(&targets, probe.check().copies.ordinary(), &mut patches);
    let frame = &crate::probe::testing::patched(probe.template(), &patches)[0];
    assert_is_sound(frame);
    assert_eq!((frame.len(), &frame[62..]), (69, &b"\0tel:1\0"[..]));
    let value = |frame: &[u8], name: &str, arrived_ns: u64| {
        let found = classify(&probe, frame).unwrap();
        let mut header = header_of(&found, frame.len());
        header.time_ns = arrived_ns;
        let reply = Reply::new(&header, frame, false);
        let field = echo_time::INFO.fields.find(name).unwrap();
        match Extractor::new(TimeZone::UTC).value(field, &reply) {
            Value::U64(number) => Some(number),
            _ => None,
        }
    };
    let reply = echo_reply(frame);
    assert_eq!(value(&reply, "rtt_us", sent_ns + 7_000), Some(7));
    assert_eq!(value(&reply, "rtt_us", sent_ns - 7_000), None);
    assert_eq!(value(&reply, "sent_timestamp_us", sent_ns), Some(123));
    assert_eq!(value(&reply, "dst_raw", sent_ns), Some(0x0201_12c6));
    assert_eq!(value(&reply, "seq", sent_ns), Some(u64::from(u16::from_be_bytes([reply[40], reply[41]]))));
    assert_eq!(value(&icmp_error(frame, 11, 0, 28), "rtt_us", sent_ns), None);
    let mut absurd = reply;
    absurd[42..50].fill(0xff);
    assert_eq!(value(&absurd, "rtt_us", sent_ns), None);
}

#[test]
fn arguments() {
    assert_eq!(echo::parse_args(None).unwrap(), [0; 20]);
    assert_eq!(echo::parse_args(Some("text:hi".as_ref())).unwrap(), b"hi");
    assert!(echo::parse_args(Some("hi".as_ref())).is_err());
}

/// Cookies and checksums that are not TCP's, however many are made at once.
#[test]
fn every_level_makes_the_same_requests() {
    for copies in [1, 3] {
        let probe = IcmpEcho::new(&settings(copies), &[0; 20]);
        let mut batch = TargetBatch { len: 17, ..TargetBatch::default() };
        for (i, address) in batch.addresses.iter_mut().enumerate() {
            *address = (i as u32).wrapping_mul(0x9e37_79b9);
        }
        let made = |level| {
            let mut patches = probe.template().batch();
            let numbers = probe.check().copies.ordinary();
            emit::fixed(level, probe.check(), probe.template(), EchoRequest, &batch, numbers, &mut patches);
            (0..patches.len).map(|i| patches.get(i)).collect::<Vec<_>>()
        };
        for (i, patch) in made(Level::Portable).into_iter().enumerate() {
            let cookie = probe.check().cookie(SOURCE, batch.addresses[i / copies as usize], 0);
            let copy = i as u32 % copies;
            let id = u32::from(cookie.echo_id()) << 16 | u32::from(cookie.echo_sequence(copy));
            assert_eq!((patch.l4_words[1], patch.ip_id()), (id, cookie.ip_id()));
        }
        for level in Level::available() {
            assert_eq!(made(level), made(Level::Portable), "{level:?}");
        }
    }
}
