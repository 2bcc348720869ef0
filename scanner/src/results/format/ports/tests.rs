use std::io::Write as _;
use std::net::Ipv4Addr;

use super::*;
use crate::reply::testing::{header, synack_frame};

const FORMS: [Form; 4] = [Form::Xml, Form::Grepable, Form::List, Form::MasscanJson];

/// A file with so many records, and its tail.
fn written(encoder: &mut PortsEncoder, records: u8) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = encoder.head();
    add(encoder, 0..records, &mut bytes);
    (bytes, encoder.tail())
}

fn add(encoder: &mut PortsEncoder, records: std::ops::Range<u8>, bytes: &mut Vec<u8>) {
    let frame = synack_frame();
    for host in records {
        let header = header(ReplyKind::SynAck, Ipv4Addr::new(198, 18, 1, host), 80, frame.len());
        encoder.encode(&Reply::new(&header, &frame, false), bytes).unwrap();
    }
}

fn one(form: Form, kind: ReplyKind, has_ports: bool) -> String {
    let frame = synack_frame();
    let header = header(kind, Ipv4Addr::new(198, 18, 1, 2), 80, frame.len());
    let (mut encoder, mut bytes) = (PortsEncoder::new(form, has_ports), vec![]);
    encoder.head();
    encoder.encode(&Reply::new(&header, &frame, false), &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn exact_records() {
    assert_eq!(
        one(Form::Xml, ReplyKind::SynAck, true),
        "<host endtime=\"1769857200\"><status state=\"up\" reason=\"syn-ack\" reason_ttl=\"63\"/>\
         <address addr=\"198.18.1.2\" addrtype=\"ipv4\"/><ports><port protocol=\"tcp\" portid=\"80\">\
         <state state=\"open\" reason=\"syn-ack\" reason_ttl=\"63\"/></port></ports></host>\n"
    );
    assert_eq!(
        one(Form::Grepable, ReplyKind::SynAck, true),
        "Host: 198.18.1.2 ()\tPorts: 80/open/tcp/////\n"
    );
    assert_eq!(one(Form::List, ReplyKind::SynAck, true), "open tcp 80 198.18.1.2 1769857200\n");
    assert_eq!(
        one(Form::MasscanJson, ReplyKind::SynAck, true),
        "{   \"ip\": \"198.18.1.2\",   \"timestamp\": \"1769857200\", \"ports\": [ {\"port\": 80, \"proto\": \"tcp\", \
         \"status\": \"open\", \"reason\": \"syn-ack\", \"ttl\": 63} ] }\n"
    );
    assert_eq!(one(Form::Grepable, ReplyKind::EchoReply, false), "Host: 198.18.1.2 ()\tStatus: Up\n");
    assert_eq!(one(Form::List, ReplyKind::EchoReply, false), "open icmp 0 198.18.1.2 1769857200\n");
    assert!(!one(Form::Xml, ReplyKind::EchoReply, false).contains("port"));
    assert!(one(Form::Xml, ReplyKind::Rst, true).contains("state=\"unfiltered\" reason=\"reset\""));
    assert!(one(Form::List, ReplyKind::Dns, true).starts_with("open udp 80 "));
}

/// However a file was cut, and whether or not it has its tail, a scan that goes on finds its whole records, counts
/// them, and makes the same file of it.
#[test]
fn cut_files_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    for form in FORMS {
        let mut first = PortsEncoder::new(form, true);
        first.start_s = 1_700_000_000;
        let (bytes, tail) = written(&mut first, 3);
        let ends: Vec<usize> = (0..=3).map(|records| written(&mut first, records).0.len()).collect();
        let whole = [&bytes[..], &tail].concat();
        for len in ends[0]..=whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let mut file = File::options().read(true).write(true).open(&path).unwrap();
            let mut encoder = PortsEncoder::new(form, true);
            let records = ends.iter().rposition(|&end| end <= len).unwrap();
            let keep = encoder.whole_len(&mut file).unwrap();
            assert_eq!(keep, Some(ends[records] as u64), "{form:?} {len}");
            encoder.continue_from(&mut file, ends[records] as u64).unwrap();
            assert_eq!(
                (encoder.records, encoder.start_s),
                (records as u64, if form == Form::Xml { 1_700_000_000 } else { encoder.start_s })
            );
            let mut more = whole[..ends[records]].to_vec();
            add(&mut encoder, records as u8..3, &mut more);
            assert_eq!(more, bytes, "{form:?} {len}");
        }
        // Another file is not ours.
        for text in ["", "x", "saddr\n192.0.2.1\n"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(PortsEncoder::new(form, true).whole_len(&mut file).unwrap(), None);
        }
    }
}

/// The end of a long file is found without reading all of it, and never within a record.
#[test]
fn long_files() {
    for form in FORMS {
        let mut encoder = PortsEncoder::new(form, true);
        let mut bytes = encoder.head();
        while bytes.len() < 3 << 20 {
            add(&mut encoder, 0..200, &mut bytes);
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file.write_all(&encoder.tail()).unwrap();
        let mut again = PortsEncoder::new(form, true);
        assert_eq!(again.whole_len(&mut file).unwrap(), Some(bytes.len() as u64), "{form:?}");
        again.continue_from(&mut file, bytes.len() as u64).unwrap();
        assert_eq!(again.records, encoder.records);
    }
}
