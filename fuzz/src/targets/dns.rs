//! DNS answers: the input is the part after the transaction number, or after the question.

use crate::support::{module, probe_frame, received, udp_answer};

const DNS: u8 = 8;
/// Offsets of the message in a frame, and of its header's end.
const MESSAGE: usize = 42;
const HEADER_LEN: usize = 12;

pub fn run(bytes: &[u8]) {
    let (module, port) = module(DNS);
    let probe = probe_frame(&module, port);
    let query = &probe[MESSAGE..];
    let other = [&query[..2], bytes].concat();
    received(&module, &udp_answer(&probe, &other)).expect("an answer, by its number");
    let repeats = bytes.starts_with(&query[..2]);
    assert_eq!(received(&module, &udp_answer(&probe, bytes)).is_some(), repeats);
    let Some((header, rest)) = bytes.split_at_checked(HEADER_LEN - 2) else { return };
    let answer = [&query[..2], header, &query[HEADER_LEN..], rest].concat();
    let seen = received(&module, &udp_answer(&probe, &answer)).expect("an answer");
    let fields = &seen.fields;
    assert_eq!(fields["success"], true, "it repeats the question");
    let number = |name: &str| fields[name].as_u64().expect(name);
    let unread = number("dns_unconsumed_bytes");
    assert!(unread <= answer.len() as u64);
    assert!(number("dns_parse_err") == 1 || unread == 0);
    for (count, section) in [
        ("dns_qdcount", "dns_questions"),
        ("dns_ancount", "dns_answers"),
        ("dns_nscount", "dns_authorities"),
        ("dns_arcount", "dns_additionals"),
    ] {
        let records = fields[section].as_array().expect("a list");
        let whole = records.len() as u64 == number(count);
        assert!(records.len() as u64 <= number(count) && (whole || number("dns_parse_err") == 1));
        for record in records.iter().filter(|_| section != "dns_questions") {
            assert!(record["rdlength"].as_u64().expect("a length") <= answer.len() as u64);
        }
    }
}
