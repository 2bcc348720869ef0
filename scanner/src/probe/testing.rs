//! Shared helpers for the tests of all probes.

use etherparse::{SlicedPacket, TransportSlice};
use jiff::tz::TimeZone;
use targets::TargetBatch;
use wire::packet::view::{Packet, TcpSegment};
use wire::packet::{LinkHeader, MacAddr, PatchBatch, RxFrame, Template, checksum};
use wire::proof::{Copies, Key, PortRange, SourcePool};

use super::{Probe, ProbeSettings, ProvenReply};
use crate::reply as results;
use crate::reply::fields::{Extractor, Table};
use crate::reply::record::{Header, mapped};
use crate::reply::testing::header;

pub(crate) const SOURCE: u32 = 0xc613_0001;
pub(crate) const TARGET: u32 = 0xc612_0102;

pub(crate) fn settings(copies: u32) -> ProbeSettings {
    ProbeSettings {
        key: Key::from_bytes(*b"an example key!!"),
        sources: SourcePool { addresses: vec![SOURCE], ports: PortRange { first: 32_768, count: 28_233 } },
        other_sources: vec![],
        copies: Copies::of(copies),
        link: LinkHeader::Ethernet,
        source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        gateway_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        tags: wire::packet::VlanTags::default(),
        ttl: 64,
        timestamp: 0x0102_0304,
        reset: true,
        port_in_cookie: true,
    }
}

/// The frames for these targets, as a back end makes them.
pub(crate) fn frames(probe: &impl Probe, targets: &[(u32, u16)]) -> Vec<Vec<u8>> {
    let mut batch = TargetBatch { len: targets.len(), ..TargetBatch::default() };
    for (i, (address, port)) in targets.iter().enumerate() {
        (batch.addresses[i], batch.ports[i]) = (*address, *port);
    }
    let mut patches = probe.template().batch();
    probe.emit(&batch, probe.check().copies.ordinary(), &mut patches);
    patched(probe.template(), &patches)
}

pub(crate) fn patched(template: &Template, patches: &PatchBatch) -> Vec<Vec<u8>> {
    let finish = |i| {
        let mut frame = template.bytes().to_vec();
        let len = template.layout().finish(&mut frame, patches, i);
        frame.truncate(len);
        frame
    };
    (0..patches.len).map(finish).collect()
}

pub(crate) fn classify(probe: &impl Probe, frame: &[u8]) -> Option<ProvenReply> {
    probe.classify(RxFrame { captured: frame, frame_len: frame.len() as u32, queue: 0 })
}

pub(crate) fn packet(frame: &[u8]) -> Packet<'_> {
    Packet::parse(frame, frame.len() as u32, LinkHeader::Ethernet).expect("an IPv4 packet")
}

pub(crate) fn segment(frame: &[u8]) -> TcpSegment {
    TcpSegment::parse(&packet(frame)).expect("a TCP segment")
}

/// Checks lengths and checksums of the frame with etherparse, an independent library.
pub(crate) fn assert_is_sound(frame: &[u8]) {
    let packet = SlicedPacket::from_ethernet(frame).expect("a frame");
    let ip = packet.net.as_ref().and_then(|net| net.ipv4_ref()).expect("IPv4").header();
    assert_eq!(ip.to_header().calc_header_checksum(), ip.header_checksum());
    assert_eq!(usize::from(ip.total_len()) + 14, frame.len());
    match packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            assert_eq!(tcp.calc_checksum_ipv4(ip.source(), ip.destination()).expect("a sum"), tcp.checksum());
        }
        Some(TransportSlice::Udp(udp)) => {
            assert_eq!(usize::from(udp.length()) + 34, frame.len());
            let header = udp.to_header();
            let sum = header.calc_checksum_ipv4_raw(ip.source(), ip.destination(), udp.payload());
            assert_eq!(sum.expect("a sum"), udp.checksum());
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            assert_eq!(checksum::finish(checksum::sum(icmp.slice())), 0);
        }
        _ => {}
    }
}

/// The target's answer to a UDP probe: ports and addresses swapped, with this payload.
pub(crate) fn udp_answer(frame: &[u8], payload: &[u8]) -> Vec<u8> {
    let probe = packet(frame);
    let mut reply = vec![];
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(probe.destination.to_be_bytes(), probe.source.to_be_bytes(), 60)
        .udp(
            u16::from_be_bytes([probe.payload[2], probe.payload[3]]),
            u16::from_be_bytes([probe.payload[0], probe.payload[1]]),
        )
        .write(&mut reply, payload)
        .expect("a frame");
    reply
}

/// The ICMP error of this type and code that a router at 192.0.2.9 sends about a probe. It quotes this many bytes of
/// the probe's payload.
pub(crate) fn icmp_error(frame: &[u8], kind: u8, code: u8, quoted: usize) -> Vec<u8> {
    let probe = packet(frame);
    let ip = &frame[probe.ip_offset..];
    let quote = &ip[..(20 + quoted).min(ip.len())];
    let mut error = frame[..14].to_vec();
    error.extend([0x45, 0]);
    error.extend(((20 + 8 + quote.len()) as u16).to_be_bytes());
    error.extend([0, 0, 0, 0, 60, 1, 0, 0, 192, 0, 2, 9]);
    error.extend(probe.source.to_be_bytes());
    error.extend([kind, code, 0, 0, 0, 0, 0, 0]);
    error.extend(quote);
    error
}

/// The record's header of a classified reply.
pub(crate) fn header_of(reply: &ProvenReply, captured_len: usize) -> Header {
    Header {
        responder: mapped(reply.responder.into()),
        target: mapped(reply.target.into()),
        responder_port: reply.responder_port,
        local_port: reply.local_port,
        target_port: reply.target_port,
        ip_offset: reply.ip_offset,
        flags: reply.flags,
        probe: reply.probe,
        ..header(reply.kind, reply.responder.into(), reply.responder_port, captured_len)
    }
}

/// All fields of the reply in `frame` to `probe`.
pub(crate) fn row(table: &Table, probe: &impl Probe, frame: &[u8]) -> serde_json::Value {
    let found = classify(probe, frame).expect("a reply");
    let captured = &frame[..frame.len().min(probe.capture_len())];
    let header = header_of(&found, captured.len());
    let reply = results::Reply::new(&header, captured, false);
    let mut extractor = Extractor::new(TimeZone::UTC);
    table
        .all()
        .map(|field| (field.name, serde_json::to_value(extractor.value(field, &reply)).expect("JSON")))
        .collect()
}
