//! Shared code of the targets for network bytes: each module's probe, its possible answers, and a check of everything
//! that is made from an answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use targets::TargetBatch;
use wire::packet::{
    CAPTURE_MAX, ETHERNET_LEN, IPV4_LEN, LinkHeader, MacAddr, PROTOCOL_IPIP, PROTOCOL_UDP, RxFrame, UDP_LEN,
    VlanTags,
};
use wire::proof::{Copies, Key, PortRange, SourcePool};
use xdpmap::probe::{Module, Probe, ProbeSettings, ProvenReply, Visitor};
use xdpmap::reply;
use xdpmap::reply::fields::{Extractor, FieldSet};
use xdpmap::reply::record::{Header, ICMP_ERROR, mapped};
use xdpmap::results::format::{CsvEncoder, Encoder, JsonEncoder, PackedEncoder, PcapEncoder};

/// Our address.
pub const SOURCE: u32 = 0xc613_0001;
/// The probed target's address.
pub const TARGET: u32 = 0xc612_0102;
/// A router's address.
const ROUTER: [u8; 4] = [192, 0, 2, 9];

const NTP_PORT: u16 = 123;

/// A module with arguments and the port that it probes.
pub const MODULES: [(&str, Option<&str>, u16); 13] = [
    ("tcp_synscan", None, 80),
    ("tcp_synscan", Some("linux,rtt"), 443),
    ("tcp_synackscan", None, 80),
    ("icmp_echoscan", None, 0),
    ("icmp_echoscan", Some("text:hello"), 0),
    ("icmp_echo_time", None, 0),
    ("udp", Some("text:x"), 7),
    ("udp", Some("auto"), 161),
    ("dns", Some("A,example.com;TXT,example.com"), 53),
    ("ntp", None, NTP_PORT),
    ("upnp", None, 1900),
    ("bacnet", None, 47808),
    ("ipip", None, 53),
];

/// The module with this number; every number gives one.
pub fn module(number: u8) -> (Module, u16) {
    let (name, args, port) = MODULES[usize::from(number) % MODULES.len()];
    (Module::parse(name, args).expect("a module"), port)
}

fn settings() -> ProbeSettings {
    ProbeSettings {
        key: Key::from_bytes(*b"an example key!!"),
        sources: SourcePool { addresses: vec![SOURCE], ports: PortRange { first: 32_768, count: 28_233 } },
        other_sources: vec![],
        copies: Copies::of(2),
        link: LinkHeader::Ethernet,
        source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        gateway_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        tags: VlanTags::default(),
        ttl: 64,
        timestamp: 0x0102_0304,
        reset: true,
        port_in_cookie: true,
    }
}

struct Probed(u16);

impl Visitor for Probed {
    type Output = Vec<u8>;

    fn visit<P: Probe>(self, probes: &[P]) -> Vec<u8> {
        let probe = &probes[0];
        let mut batch = TargetBatch { len: 1, ..TargetBatch::default() };
        (batch.addresses[0], batch.ports[0]) = (TARGET, self.0);
        let mut patches = probe.template().batch();
        probe.emit(&batch, probe.check().copies.ordinary(), &mut patches);
        let mut frame = probe.template().bytes().to_vec();
        let len = probe.template().layout().finish(&mut frame, &patches, 0);
        frame.truncate(len);
        frame
    }
}

/// The frame that probes the target with this module.
pub fn probe_frame(module: &Module, port: u16) -> Vec<u8> {
    module.visit(&[settings()], Probed(port))
}

/// An IPv4 packet to us, in a frame like those of `probe`.
fn packet(probe: &[u8], protocol: u8, source: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = probe[..ETHERNET_LEN].to_vec();
    frame.extend([0x45, 0]);
    frame.extend(((IPV4_LEN + payload.len()) as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 60, protocol, 0, 0]);
    frame.extend(source);
    frame.extend(SOURCE.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A server's answer to a probe that is a UDP datagram.
pub fn udp_answer(probe: &[u8], payload: &[u8]) -> Vec<u8> {
    let ports = &probe[ETHERNET_LEN + IPV4_LEN..][..4];
    let mut datagram = vec![ports[2], ports[3], ports[0], ports[1]];
    datagram.extend(((UDP_LEN + payload.len()) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    packet(probe, PROTOCOL_UDP, TARGET.to_be_bytes(), &datagram)
}

/// The ICMP error of a router that quotes the probe.
pub fn icmp_error(probe: &[u8], kind: u8, code: u8, quoted: usize) -> Vec<u8> {
    let ip = &probe[ETHERNET_LEN..];
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(&ip[..(IPV4_LEN + quoted).min(ip.len())]);
    packet(probe, 1, ROUTER, &message)
}

/// The target's own answer to a probe: the SYN-ACK, the echo, the datagram.
pub fn answer(probe: &[u8]) -> Vec<u8> {
    let ip = &probe[ETHERNET_LEN..];
    let mut payload = ip[IPV4_LEN..].to_vec();
    match ip[9] {
        6 => {
            payload[..4].rotate_left(2);
            let acknowledged =
                u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]).wrapping_add(1);
            payload[8..12].copy_from_slice(&acknowledged.to_be_bytes());
            payload[13] = 0x12;
            packet(probe, 6, TARGET.to_be_bytes(), &payload)
        }
        1 => {
            payload[0] = 0;
            packet(probe, 1, TARGET.to_be_bytes(), &payload)
        }
        PROTOCOL_IPIP => [&probe[..ETHERNET_LEN], &payload].concat(),
        _ => {
            if payload[2..4] == NTP_PORT.to_be_bytes() {
                // The request's transmit timestamp is the answer's origin timestamp.
                payload.copy_within(UDP_LEN + 40..UDP_LEN + 48, UDP_LEN + 24);
            }
            udp_answer(probe, &payload[UDP_LEN..])
        }
    }
}

/// The outcome of a received frame.
pub struct Seen {
    /// The reply as the worker sees it.
    pub reply: ProvenReply,
    /// All its fields.
    pub fields: BTreeMap<&'static str, serde_json::Value>,
}

struct Received<'a> {
    frame: &'a [u8],
    fields: FieldSet,
}

thread_local! {
    static EXTRACTOR: RefCell<Extractor> = RefCell::new(Extractor::new(jiff::tz::TimeZone::UTC));
}

impl Visitor for Received<'_> {
    type Output = Option<Seen>;

    fn visit<P: Probe>(self, probes: &[P]) -> Option<Seen> {
        let probe = &probes[0];
        let captured = &self.frame[..self.frame.len().min(probe.capture_len()).min(CAPTURE_MAX)];
        let found = probe.classify(RxFrame { captured, frame_len: self.frame.len() as u32, queue: 0 })?;
        if found.wants_reset {
            let mut resets = probe.reset_template().expect("a reset").batch();
            probe.reset(&found, &mut resets);
            assert_eq!(resets.len, 1);
        }
        let header = Header {
            time_ns: 1_769_857_200_042_420_999,
            responder: mapped(Ipv4Addr::from(found.responder)),
            target: mapped(Ipv4Addr::from(found.target)),
            responder_port: found.responder_port,
            local_port: found.local_port,
            target_port: found.target_port,
            queue: 0,
            frame_len: self.frame.len() as u32,
            captured_len: captured.len() as u16,
            ip_offset: found.ip_offset,
            family: 4,
            kind: found.kind as u8,
            probe: found.probe,
            cooldown: 0,
            flags: found.flags,
            reserved: [0; 4],
        };
        EXTRACTOR.with_borrow_mut(|extractor| {
            let reply = reply::Reply::new(&header, captured, false);
            let fields: BTreeMap<_, _> = self
                .fields
                .fields()
                .iter()
                .map(|field| {
                    (field.name, serde_json::to_value(extractor.value(field, &reply)).expect("JSON"))
                })
                .collect();
            written(&self.fields, &reply, extractor, &fields);
            Some(Seen { reply: found, fields })
        })
    }
}

/// Writes the reply in every format, and checks that it agrees with the fields.
fn written(
    set: &FieldSet,
    reply: &reply::Reply<'_>,
    extractor: &mut Extractor,
    fields: &BTreeMap<&str, serde_json::Value>,
) {
    let mut encoded = |mut encoder: Encoder| {
        let mut out = Vec::new();
        encoder.encode(reply, extractor, &mut out).expect("memory");
        out
    };
    let line = encoded(Encoder::Json(JsonEncoder::new(set.clone())));
    let object: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&line).expect("JSON");
    for (name, value) in fields {
        assert_eq!(object.get(*name), Some(value).filter(|value| !value.is_null()), "{name}");
    }
    let row = encoded(Encoder::Csv(CsvEncoder::new(set.clone(), false)));
    let mut reader = csv_core::Reader::new();
    let (mut room, mut ends) = (vec![0; row.len() + 16], vec![0; fields.len() + 1]);
    let (result, _, _, count) = reader.read_record(&row, &mut room, &mut ends);
    assert!(matches!(result, csv_core::ReadRecordResult::Record), "{}", String::from_utf8_lossy(&row));
    assert_eq!(count, fields.len(), "{}", String::from_utf8_lossy(&row));
    encoded(Encoder::Packed(PackedEncoder::new(true)));
    encoded(Encoder::Pcap(PcapEncoder::default()));
}

/// Lets a module classify a received frame.
pub fn received(module: &Module, frame: &[u8]) -> Option<Seen> {
    let fields = FieldSet::parse("*", &module.info().fields).expect("all fields");
    let seen = module.visit(&[settings()], Received { frame, fields })?;
    let is_error = seen.reply.flags & ICMP_ERROR != 0;
    assert!(!is_error || seen.fields["success"] == false, "an error is no success");
    assert!(is_error || seen.reply.target == seen.reply.responder, "the target answers for itself");
    assert_eq!(seen.reply.source, SOURCE);
    Some(seen)
}

/// The frame with changes: each edit is an offset in it (two bytes) and a value to combine with the byte there. An edit
/// past the end shortens the frame by that many bytes.
pub fn edited(mut frame: Vec<u8>, edits: &[u8]) -> Vec<u8> {
    for edit in edits.chunks_exact(3).take(16) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        match frame.get_mut(at) {
            Some(byte) => *byte ^= edit[2],
            None => frame.truncate(frame.len().saturating_sub(usize::from(edit[2]))),
        }
    }
    frame
}
