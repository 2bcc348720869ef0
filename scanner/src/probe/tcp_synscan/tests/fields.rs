//! The fields of a SYN-ACK, from whole captures and from those that are cut or hostile.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use std::net::Ipv4Addr;

use wire::packet::CAPTURE_MAX;

use super::FIELDS;
use crate::reply::Reply;
use crate::reply::fields::{Extractor, Field, FieldSet, FieldSetError, Hex, Utc, Value, common};
use crate::reply::record::{Header, ReplyKind};
use crate::reply::testing::{header, synack_frame};

const RESPONDER: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);

/// The value as text, null as "-".
fn text(extractor: &mut Extractor, field: Field, reply: &Reply<'_>) -> String {
    match extractor.value(field, reply) {
        Value::Null => "-".to_owned(),
        Value::U64(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Address(address) => address.to_string(),
        Value::Str(text) => text.to_owned(),
        Value::Bytes(bytes) => Hex(bytes).to_string(),
        Value::Time(time_ns) => Utc(time_ns).to_string(),
        Value::List(list) => serde_json::to_string(list).unwrap(),
    }
}

fn row(header: &Header, captured: &[u8], repeat: bool) -> Vec<String> {
    let mut extractor = Extractor::new(TimeZone::fixed(jiff::tz::offset(1)));
    let reply = Reply::new(header, captured, repeat);
    FIELDS.all().map(|field| text(&mut extractor, field, &reply)).collect()
}

/// The value of the field of that name in a row.
fn cell<'a>(row: &'a [String], name: &str) -> &'a str {
    FIELDS.all().zip(row).find(|(field, _)| field.name == name).map(|(_, value)| value.as_str()).unwrap()
}

#[test]
fn listing_in_zmaps_layout() {
    let listing = FIELDS.listing();
    assert_eq!(listing.lines().count(), FIELDS.all().count() + 1 + common::EXTRA.len());
    assert!(
        listing.starts_with("saddr           string: source address of the reply, or the probed target"),
        "{listing}"
    );
    assert!(listing.contains("\ntcpopt_sack_perm    int: TCP option"), "{listing}");
}

#[test]
fn field_sets() {
    assert_eq!(FieldSet::parse("*", &FIELDS).unwrap().fields().len(), 27);
    assert_eq!(FieldSet::parse("saddr, sport", &FIELDS).unwrap(), FieldSet::default_for(&FIELDS, true));
    assert_eq!(FieldSet::parse("saddr", &FIELDS).unwrap(), FieldSet::default_for(&FIELDS, false));
    assert_eq!(FieldSet::parse("saddr,-x", &FIELDS), Err(FieldSetError::Unknown { name: "-x".to_owned() }));
    assert_eq!(FieldSet::parse("ttl,ttl", &FIELDS), Err(FieldSetError::Twice { name: "ttl".to_owned() }));
    assert_eq!(FieldSet::parse(" ,", &FIELDS), Err(FieldSetError::Empty));
}

#[test]
fn values_of_a_synack() {
    let frame = synack_frame();
    let mut header = header(ReplyKind::SynAck, RESPONDER, 80, frame.len());
    header.cooldown = 1;
    #[rustfmt::skip]
    let expected = [
        "198.18.1.2", "33624774", "192.0.2.7", "117571776", "4660", "63", "80", "40000", "3000000000", "17", "65160",
        "1460", "128", "1", "9", "256", "synack", "true", "-", "-", "-", "-", "true", "true", "2026-01-31T12:00:00.042+0100",
        "1769857200", "42420",
    ];
    assert_eq!(row(&header, &frame, true), expected);
}

/// Only what the bytes lack is null; what the record's header knows is always there.
#[test]
fn cut_captures() {
    let frame = synack_frame();
    let header = header(ReplyKind::Rst, RESPONDER, 80, 0);
    let nothing = row(&header, &[], false);
    for (field, value) in FIELDS.all().zip(&nothing) {
        let known = matches!(
            field.name,
            "saddr" | "saddr_raw" | "sport" | "dport" | "classification" | "success" | "repeat" | "cooldown"
        );
        assert_eq!(value != "-", known || field.name.starts_with("timestamp"), "{}", field.name);
    }
    let until_sequence = row(&header, &frame[..14 + 20 + 8], false);
    assert_eq!(cell(&until_sequence, "seqnum"), "3000000000");
    assert_eq!(cell(&until_sequence, "acknum"), "-");
}

#[test]
fn absurd_window_scale_is_null() {
    let mut frame = synack_frame();
    let last = frame.len() - 1;
    for (shift, expected) in [(0, "1"), (14, "16384"), (63, "9223372036854775808"), (64, "-"), (255, "-")] {
        frame[last] = shift;
        let header = header(ReplyKind::SynAck, RESPONDER, 80, frame.len());
        assert_eq!(cell(&row(&header, &frame, false), "tcpopt_wscale"), expected);
    }
}

#[test]
fn ipv6_responder_has_no_raw_form() {
    let mut header = header(ReplyKind::SynAck, RESPONDER, 80, 0);
    header.family = 6;
    header.target = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let row = row(&header, &[], false);
    assert_eq!(&row[..2], ["2001:db8::1", "-"]);
}

proptest! {
    /// Hostile bytes, alone or as damage to a real frame, and any header: every field has some value.
    #[test]
    fn hostile_captures(
        bytes in prop::collection::vec(any::<u8>(), 0..=CAPTURE_MAX),
        numbers: [u8; 64],
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut: prop::sample::Index,
    ) {
        let arbitrary = zerocopy::transmute!(numbers);
        row(&arbitrary, &bytes, false);
        let mut frame = synack_frame();
        for (place, value) in damage {
            let place = place.index(frame.len());
            frame[place] = value;
        }
        frame.truncate(cut.index(frame.len() + 1));
        row(&header(ReplyKind::SynAck, RESPONDER, 80, frame.len()), &frame, true);
    }
}
