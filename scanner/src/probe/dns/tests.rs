use super::*;
use crate::probe::testing::{
    TARGET, assert_is_sound, classify, frames, icmp_error, row, settings, udp_answer,
};
use crate::reply::record::{ICMP_ERROR, SUCCESS};
use proptest::prelude::*;
use serde_json::json;

fn probe(args: &str, copies: u32) -> Dns {
    Dns::new(&settings(copies), &Query::parse_all(Some(args)).unwrap())
}

/// The answer to the query in `frame`, with these flags and nothing behind the question.
fn answer(frame: &[u8], flags: u16) -> Vec<u8> {
    let mut message = frame[42..].to_vec();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    udp_answer(frame, &message)
}

/// Copies take the questions in turn, and an answer is compared with the question of its copy.
#[test]
fn several_questions() {
    let probe = probe("A,example.com;MX:nr,much.longer.example.com", 4);
    let frames = frames(&probe, &[(TARGET, 53)]);
    assert_eq!(frames.len(), 4);
    for (copy, frame) in frames.iter().enumerate() {
        assert_is_sound(frame);
        let query = &probe.queries[copy % 2];
        assert!(query.is_echoed(&frame[42..]));
        assert_eq!(frame[44], u8::from(copy % 2 == 0), "recursion desired");
        let found = classify(&probe, &answer(frame, 0x8180)).unwrap();
        assert_eq!((usize::from(found.probe), found.flags), (copy, SUCCESS | APP_SUCCESS));
        let mut crossed = frame[42..44].to_vec();
        crossed.extend(&probe.queries[(copy + 1) % 2].message()[2..]);
        let found = classify(&probe, &udp_answer(frame, &crossed)).unwrap();
        assert_eq!((found.kind, found.flags), (ReplyKind::Dns, 0));
    }
}

/// Success is the echo; app_success also an answer without error.
#[test]
fn verdicts() {
    let probe = probe("A,example.com", 1);
    let frame = &frames(&probe, &[(TARGET, 53)])[0];
    for (flags, app_success) in
        [(0x8180, true), (0x8400, true), (0x8183, false), (0x0100, false), (0x8780, true)]
    {
        let found = classify(&probe, &answer(frame, flags)).unwrap();
        assert_eq!(found.flags, SUCCESS | if app_success { APP_SUCCESS } else { 0 }, "{flags:04x}");
    }
    let found = classify(&probe, &icmp_error(frame, 3, 3, 8)).unwrap();
    assert_eq!((found.kind, found.flags), (ReplyKind::Icmp, ICMP_ERROR));
    let row = row(&INFO.fields, &probe, &icmp_error(frame, 3, 3, 8));
    assert_eq!(
        ["classification", "dns_id", "dns_answers", "dns_parse_err", "dns_unconsumed_bytes", "raw_data"]
            .map(|name| row[name].clone()),
        [json!("icmp"), json!(null), json!([]), json!(1), json!(0), json!(null)]
    );
}

#[test]
fn fields() {
    let probe = probe("A,example.com", 1);
    let frame = &frames(&probe, &[(TARGET, 53)])[0];
    let row = row(&INFO.fields, &probe, &answer(frame, 0x8583));
    let id = u16::from_be_bytes([frame[42], frame[43]]);
    let expected = json!({
        "sport": 53, "classification": "dns", "success": true, "app_success": false, "udp_len": 8 + 29, "dns_id": id,
        "dns_rd": 1, "dns_tc": 0, "dns_aa": 1, "dns_opcode": 0, "dns_qr": 1, "dns_rcode": 3, "dns_cd": 0, "dns_ad": 0,
        "dns_z": 0, "dns_ra": 1, "dns_qdcount": 1, "dns_ancount": 0, "dns_nscount": 0, "dns_arcount": 0,
        "dns_questions": [{"name": "example.com", "qtype": 1, "qtype_str": "A", "qclass": 1}],
        "dns_answers": [], "dns_authorities": [], "dns_additionals": [], "dns_parse_err": 0, "dns_unconsumed_bytes": 0,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&row[name], value, "{name}");
    }
}

/// Servers that refuse may repeat no question: their message is parsed, but is not a success. Of an answer to another
/// question only the header is parsed.
#[test]
fn answers_without_our_question() {
    let probe = probe("A,example.com", 1);
    let frame = &frames(&probe, &[(TARGET, 53)])[0];
    let bare = [&frame[42..44], &[0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let other = [&frame[42..44], &[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1]].concat();
    for (payload, rcode, questions, error) in [(&bare, 5, 0, 0), (&other, 0, 1, 1)] {
        let row = row(&INFO.fields, &probe, &udp_answer(frame, payload));
        let told = [
            "success",
            "app_success",
            "dns_qr",
            "dns_ra",
            "dns_rcode",
            "dns_qdcount",
            "dns_questions",
            "dns_parse_err",
        ];
        assert_eq!(
            told.map(|name| row[name].clone()),
            [
                json!(false),
                json!(false),
                json!(1),
                json!(1),
                json!(rcode),
                json!(questions),
                json!([]),
                json!(error)
            ]
        );
    }
}

proptest! {
    /// With one wrong bit in the repeated part it is not a success.
    #[test]
    fn answers_prove_the_question(
        address: u32,
        port: u16,
        at: prop::sample::Index,
        noise in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let probe = probe("TXT,example.com", 1);
        let frame = &frames(&probe, &[(address, port)])[0];
        assert_is_sound(frame);
        let mut damaged = frame[42..].to_vec();
        let place = at.index(damaged.len() - 10);
        damaged[if place < 2 { place } else { place + 10 }] ^= 1;
        let found = classify(&probe, &udp_answer(frame, &damaged)).map(|found| found.flags);
        prop_assert_eq!(found, (place >= 2).then_some(0), "with another number it is not an answer");
        for payload in [[&frame[42..44], &noise].concat(), [&frame[42..], &noise].concat()] {
            row(&INFO.fields, &probe, &udp_answer(frame, &payload));
        }
    }
}
