use super::*;
use proptest::prelude::*;
use simple_dns::rdata::{A, AAAA, CNAME, MX, NS, NULL, OPT, PTR, RData, SOA, SRV, TXT};
use simple_dns::{CLASS, CharacterString, Name, Packet, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

const NOT_UTF8: &[u8] = &[0xff, 0xfe, 0, b'"', b'\n', b'\\'];

fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

fn data() -> Vec<(RData<'static>, &'static str, u8)> {
    vec![
        (RData::A(A { address: 0xc000_0201 }), "192.0.2.1", 1),
        (RData::AAAA(AAAA { address: 0x2001_0db8 << 96 | 1 }), "2001:db8::1", 1),
        (RData::NS(NS(name("ns.example.com"))), "ns.example.com", 1),
        (RData::CNAME(CNAME(name("a.example.com"))), "a.example.com", 1),
        (RData::PTR(PTR(name("host.example.com"))), "host.example.com", 1),
        (RData::MX(MX { preference: 10, exchange: name("mx.example.com") }), "10 mx.example.com", 1),
        (RData::TXT(TXT::new().with_string("v=spf1 -all").unwrap()), "v=spf1 -all", 1),
        (RData::TXT(TXT::new().with_string("a\"b").unwrap().with_string("c").unwrap()), "a\"bc", 1),
        (
            RData::TXT(TXT::new().with_char_string(CharacterString::new(NOT_UTF8).unwrap())),
            r#"\255\254\000"\010\\"#,
            1,
        ),
        (
            RData::SOA(SOA {
                mname: name("ns.example.com"),
                rname: name("root.example.com"),
                serial: 1,
                refresh: 2,
                retry: 3,
                expire: 4,
                minimum: 5,
            }),
            "ns.example.com root.example.com 1 2 3 4 5",
            1,
        ),
        (RData::NULL(65280, NULL::new(&[1, 0xab]).unwrap()), "01ab", 0),
    ]
}

fn answer(records: &[RData<'static>], compressed: bool) -> Vec<u8> {
    let mut packet = Packet::new_reply(0x1234);
    let (kind, class) = (QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN));
    packet.questions.push(Question::new(name("example.com"), kind, class, false));
    for record in records {
        packet.answers.push(ResourceRecord::new(name("www.example.com"), CLASS::IN, 300, record.clone()));
    }
    if compressed { packet.build_bytes_vec_compressed().unwrap() } else { packet.build_bytes_vec().unwrap() }
}

/// Messages of another library are parsed, each kind of data in ZMap's form, with names compressed or not.
#[test]
fn reads_what_simple_dns_writes() {
    for compressed in [false, true] {
        let records: Vec<_> = data().into_iter().map(|(record, ..)| record).collect();
        let bytes = answer(&records, compressed);
        let message = Message::parse(&bytes);
        assert!(!message.is_bad);
        assert_eq!(message.unconsumed_len, 0);
        let header = message.header.unwrap();
        assert_eq!((header.number(0), header.number(6)), (0x1234, records.len() as u16));
        assert!(header.is_good_answer());
        assert_eq!(
            message.sections[0],
            [json!({"name": "example.com", "qtype": 1, "qtype_str": "A", "qclass": 1})]
        );
        for (found, (_, text, is_parsed)) in message.sections[1].iter().zip(data()) {
            assert_eq!((&found["rdata"], &found["rdata_is_parsed"]), (&json!(text), &json!(is_parsed)));
            assert_eq!(
                (&found["name"], &found["class"], &found["ttl"]),
                (&json!("www.example.com"), &1.into(), &300.into())
            );
        }
        let types: Vec<_> = message.sections[1].iter().map(|record| &record["type_str"]).collect();
        let names = ["A", "AAAA", "NS", "CNAME", "PTR", "MX", "TXT", "TXT", "TXT", "SOA", "TYPE65280"]
            .map(|name| json!(name));
        assert_eq!(types, names.iter().collect::<Vec<_>>());
        assert_eq!(message.sections[1][0]["rdlength"], 4);
    }
}

/// Data of types that ZMap does not parse: as in a zone file; options of the transport stay as they are.
#[test]
fn other_types() {
    let service = SRV { priority: 1, weight: 2, port: 443, target: name("a.example.com") };
    let message = Message::parse(&answer(&[RData::SRV(service)], true));
    assert_eq!(message.sections[1][0]["type_str"], "SRV");
    assert!(message.sections[1][0]["rdata"].as_str().unwrap().starts_with("1 2 443 a.example.com"));

    let mut packet = Packet::new_reply(1);
    *packet.opt_mut() = Some(OPT { opt_codes: vec![], udp_packet_size: 1232, version: 0 });
    let message = Message::parse(&packet.build_bytes_vec().unwrap());
    let option = &message.sections[3][0];
    assert_eq!(
        (&option["type_str"], &option["class"], &option["rdata"]),
        (&json!("OPT"), &json!(1232), &json!(""))
    );
}

/// Everything before an error is kept, and the rest is counted.
#[test]
fn mistakes() {
    let records = [data()[0].0.clone(), data()[1].0.clone()];
    let bytes = answer(&records, false);
    let (question_end, first_end) = (12 + 17, 12 + 17 + 17 + 4 + 6 + 4 + 4 - 4);
    for len in 0..bytes.len() {
        let message = Message::parse(&bytes[..len]);
        assert!(message.is_bad, "{len}");
        assert_eq!(message.sections[0].len(), usize::from(len >= question_end), "{len}");
        assert_eq!(message.sections[1].len(), usize::from(len >= first_end), "{len}");
        let consumed = [(first_end, first_end), (question_end, question_end), (12, 12), (0, 0)];
        let consumed = consumed.into_iter().find(|(from, _)| len >= *from).unwrap().1;
        assert_eq!(message.unconsumed_len, len - consumed, "{len}");
    }
    let longer = [&bytes[..], &[0; 3]].concat();
    let message = Message::parse(&longer);
    assert_eq!((message.is_bad, message.unconsumed_len, message.sections[1].len()), (true, 3, 2));
    // A name that points to itself.
    let mut looped = answer(&records[..1], false);
    looped[12..14].copy_from_slice(&[0xc0, 12]);
    let message = Message::parse(&looped);
    assert_eq!((message.is_bad, message.unconsumed_len), (true, looped.len() - 12));
    assert!(message.sections.iter().all(Vec::is_empty));
    // Data that is not of its type's form.
    let mut short = answer(&records[..1], false);
    let len = short.len();
    short.truncate(len - 1);
    short[len - 5] = 3;
    let message = Message::parse(&short);
    assert_eq!(message.sections[1][0]["rdata"], "c00002");
    assert_eq!((&message.sections[1][0]["rdata_is_parsed"], message.is_bad), (&json!(0), false));
}

#[test]
fn header_bits() {
    let header = Header::parse(&[0, 0, 0b1010_1101, 0b1011_0101, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let bits = |lowest, width| header.bits(lowest, width);
    assert_eq!((bits(15, 1), bits(11, 4), bits(10, 1), bits(9, 1), bits(8, 1)), (1, 5, 1, 0, 1));
    assert_eq!((bits(7, 1), bits(6, 1), bits(5, 1), bits(4, 1), bits(0, 4)), (1, 0, 1, 1, 5));
    assert!(!header.is_good_answer());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Hostile bytes, alone and as damage to an answer, and data of every type.
    #[test]
    fn never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        kind in 0u16..300,
        compressed: bool,
    ) {
        Message::parse(&bytes);
        let records: Vec<_> = data().into_iter().map(|(record, ..)| record).collect();
        let mut message = answer(&records, compressed);
        for (place, value) in damage {
            let place = place.index(message.len());
            message[place] = value;
        }
        Message::parse(&message);
        let mut typed = vec![0, 0, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
        typed.extend(kind.to_be_bytes());
        typed.extend([0, 1, 0, 0, 0, 0]);
        typed.extend((bytes.len() as u16).to_be_bytes());
        typed.extend(&bytes);
        let message = Message::parse(&typed);
        prop_assert!(!message.is_bad);
        prop_assert_eq!(message.sections[1].len(), 1);
    }
}
