use super::*;
use crate::probe::testing::{
    TARGET, assert_is_sound, classify, frames, header_of, icmp_error, packet, settings, udp_answer,
};
use crate::reply;
use crate::reply::fields::{Extractor, Value};
use crate::reply::record::{ICMP_ERROR, SUCCESS};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use wire::packet::view::Datagram;

fn fixed(payload: &[u8]) -> Payload {
    Payload::Fixed(payload.to_vec())
}

fn carried(frame: &[u8]) -> &[u8] {
    Datagram::parse(&packet(frame)).unwrap().payload
}

proptest! {
    /// Whatever datagrams carry: sound frames, whose answers prove them; one wrong bit refuses those.
    #[test]
    fn frames_are_sound_and_answers_prove_them(
        targets in prop::collection::vec((any::<u32>(), any::<u16>()), 1..9),
        bytes in prop::collection::vec(any::<u8>(), 0..70),
        kind in 0..3,
        copies in 1u32..4,
        bit in 0usize..32,
    ) {
        let payload = match kind {
            0 => fixed(&bytes),
            1 => Payload::Template(PayloadTemplate::parse(b"${DADDR} ${DPORT} ${SPORT} ${RAND_BYTE=9}", 99).unwrap()),
            _ => Payload::Auto { entries: auto::all().to_vec(), otherwise: b"other".to_vec() },
        };
        let probe = Udp::new(&settings(copies), &payload);
        for (i, frame) in frames(&probe, &targets).iter().enumerate() {
            let (address, port) = targets[i / copies as usize];
            assert_is_sound(frame);
            match kind {
                0 => prop_assert_eq!(carried(frame), &bytes[..]),
                1 => {
                    let text = format!("{} {port} ", std::net::Ipv4Addr::from(address));
                    prop_assert!(carried(frame).starts_with(text.as_bytes()));
                }
                _ => prop_assert_eq!(carried(frame), auto::find(auto::all(), port).unwrap_or(b"other")),
            }
            let found = classify(&probe, &udp_answer(frame, b"hello")).unwrap();
            prop_assert_eq!((found.kind, found.flags), (ReplyKind::Udp, SUCCESS));
            prop_assert_eq!((found.target, found.responder, found.target_port), (address, address, port));
            prop_assert_eq!(usize::from(found.probe), i % copies as usize);
            for (kind, code, quoted) in [(3, 3, 8), (3, 13, 28), (11, 0, 8)] {
                let found = classify(&probe, &icmp_error(frame, kind, code, quoted)).unwrap();
                prop_assert_eq!((found.kind, found.flags), (ReplyKind::Icmp, ICMP_ERROR));
                prop_assert_eq!((found.target, found.responder, found.target_port), (address, 0xc000_0209, port));
            }
            prop_assert_eq!(classify(&probe, &icmp_error(frame, 3, 3, 7)), None);
            if copies == 1 {
                let mut forged = udp_answer(frame, b"hello");
                forged[30 + bit / 8] ^= 1 << (bit % 8); // our address
                prop_assert_eq!(classify(&probe, &forged), None);
            }
        }
    }
}

/// An answer from another port counts if the cookie leaves the port out, and its port is the one that is reported.
#[test]
fn answers_from_another_port() {
    for in_cookie in [true, false] {
        let probe = Udp::new(&ProbeSettings { port_in_cookie: in_cookie, ..settings(1) }, &fixed(b"hi"));
        let frame = &frames(&probe, &[(TARGET, 69)])[0];
        let mut answer = udp_answer(frame, b"data");
        answer[34..36].copy_from_slice(&50_000u16.to_be_bytes());
        match classify(&probe, &answer) {
            Some(found) => assert_eq!((found.responder_port, in_cookie), (50_000, false)),
            None => assert!(in_cookie),
        }
        // An error quotes the probe, and so proves its port in any case.
        let found = classify(&probe, &icmp_error(frame, 3, 3, 8)).unwrap();
        assert_eq!((found.target, found.target_port), (TARGET, 69));
    }
}

/// The fields and their order are ZMap's; what an answer does not have is null.
#[test]
fn fields() {
    let names: Vec<_> = INFO.fields.all().map(|field| field.name).collect();
    let own = "classification success sport dport udp_pkt_size data icmp_responder icmp_type icmp_code icmp_unreach_str";
    assert_eq!(names[6..16].join(" "), own);
    let probe = Udp::new(&settings(1), &fixed(b"hi"));
    let frame = &frames(&probe, &[(TARGET, 161)])[0];
    let values = |frame: &[u8], names: &str| {
        let found = classify(&probe, frame).unwrap();
        let header = header_of(&found, frame.len());
        let reply = reply::Reply::new(&header, frame, false);
        let mut extractor = Extractor::new(TimeZone::UTC);
        let mut texts = vec![];
        for name in names.split(' ') {
            let value = extractor.value(INFO.fields.find(name).unwrap(), &reply);
            texts.push(serde_json::to_string(&value).unwrap());
        }
        texts.join(" ")
    };
    let shown = "saddr sport udp_pkt_size data icmp_type classification target_port";
    let answer = udp_answer(frame, b"pong");
    assert_eq!(values(&answer, shown), r#""198.18.1.2" 161 12 "706f6e67" null "udp" 161"#);
    assert_eq!(values(&udp_answer(frame, b""), shown), r#""198.18.1.2" 161 8 null null "udp" 161"#);
    let error = icmp_error(frame, 3, 3, 8);
    assert_eq!(values(&error, shown), r#""198.18.1.2" null null null 3 "icmp" 161"#);
    assert_eq!(values(&error, "icmp_responder icmp_unreach_str"), r#""192.0.2.9" "port unreachable""#);
    assert!(matches!(Value::from(None::<u16>), Value::Null));
}

#[test]
fn arguments() {
    assert_eq!(Payload::parse(Some("hex:00ff".as_ref())).unwrap(), fixed(&[0, 255]));
    assert_eq!(Payload::parse(Some("text:".as_ref())).unwrap(), fixed(b""));
    let refused = |args: Option<&str>| Payload::parse(args.map(str::as_ref)).unwrap_err().to_string();
    assert!(refused(None).ends_with("its fields) or auto"));
    assert!(refused(Some("auto:1")).ends_with("or auto, not \"auto:1\""));
    assert!(refused(Some("hex:0")).contains("pairs of hexadecimal digits"));
    assert!(refused(Some("template:/nowhere/at/all")).contains("/nowhere/at/all"));
    let long = format!("text:{}", "x".repeat(1473));
    assert_eq!(refused(Some(&long)), "the payload has 1473 bytes; a probe holds at most 1472");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "${DPORT}").unwrap();
    let args = format!("template:{}", file.path().display());
    assert!(matches!(Payload::parse(Some(args.as_ref())), Ok(Payload::Template(_))));
}

/// Ready payloads: only those of the ports scanned count, and one port alone has a payload that is fixed.
#[test]
fn ready_payloads_follow_the_ports() {
    let kept = |ports: &str| {
        let mut payload = Payload::parse(Some("auto".as_ref())).unwrap();
        let without = payload.keep(&PortList::parse(ports).unwrap());
        (payload, without.map(|ports| ports.to_string()))
    };
    assert_eq!(kept("161"), (fixed(auto::find(auto::all(), 161).unwrap()), None));
    assert_eq!(kept("80,81"), (fixed(b""), Some("80-81".to_owned())));
    let (payload, without) = kept("53,80,123");
    assert_eq!((payload.len_max(), without.as_deref()), (48, Some("80")));
    let (payload, without) = kept("*");
    assert_eq!(payload.len_max(), 1200);
    assert!(without.is_some());
}

/// tshark, which knows these protocols, finds nothing wrong with any payload.
#[test]
fn tshark_understands_the_ready_payloads() {
    /// The expert severity that means nothing: "this is a request".
    const CHAT: u32 = 0x20_0000;
    let probe = Udp::new(&settings(1), &Payload::Auto { entries: auto::all().to_vec(), otherwise: vec![] });
    let targets: Vec<_> = auto::all().iter().map(|entry| (TARGET, entry.0)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    // A pcap file: header of version 2.4, Ethernet; then each frame behind its time and lengths.
    let mut pcap = vec![];
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        pcap.extend(word.to_ne_bytes());
    }
    for frame in frames(&probe, &targets) {
        [0, 0, frame.len() as u32, frame.len() as u32]
            .iter()
            .for_each(|word| pcap.extend(word.to_ne_bytes()));
        pcap.extend(frame);
    }
    std::fs::write(file.path(), pcap).unwrap();
    let fields = "-n -T fields -e udp.dstport -e frame.protocols -e _ws.malformed -e _ws.expert.severity \
                  -e _ws.expert.message -e udp.checksum.status -o udp.check_checksum:TRUE -o ip.check_checksum:TRUE \
                  -d udp.port==6881,bt-dht -r";
    let output =
        lab::tools::tool("tshark").args(fields.split_whitespace()).arg(file.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), auto::all().len(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut wrong = vec![];
    for (line, (port, name, _)) in text.lines().zip(auto::all()) {
        let columns: Vec<_> = line.split('\t').collect();
        assert_eq!(columns[0], port.to_string());
        // A packet of an unsupported QUIC version cannot be decrypted: that is what makes servers list their versions.
        let notes = if *name == "quic" { "" } else { columns[3] };
        let notes = notes.split(',').filter_map(|severity| severity.parse::<u32>().ok());
        if !columns[2].is_empty() || columns[5] != "1" || notes.into_iter().any(|severity| severity > CHAT) {
            wrong.push(format!("{name}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
