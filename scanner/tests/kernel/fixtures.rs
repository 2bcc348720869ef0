//! The named frames, and the program's verdict on each.

use std::net::Ipv4Addr;

use wire::proof::{Copies, Echo, Key, PortRange, ProbeForm};
use xdpmap::io::bpf::ProgramSettings;
use xdpmap::io::bpf::abi::Counter;

use super::frames::{ACK, FIN, PSH, RST, SYN, SYN_ACK, Segment, cookie_of};

pub(crate) const KEY: Key = Key { k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908 };
pub(crate) const PORTS: PortRange = PortRange { first: 40_000, count: 1_000 };
pub(crate) const PROBES: u32 = 3;
pub(crate) const SOURCES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 9), Ipv4Addr::new(10, 0, 0, 1)];
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
pub(crate) const TARGET: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 18, 128, 77), 443);

pub(crate) fn settings(drop_invalid: bool) -> ProgramSettings<'static> {
    ProgramSettings {
        key: KEY,
        ports: PORTS,
        copies: Copies::of(PROBES),
        form: ProbeForm::TcpSyn,
        port_in_cookie: true,
        echo: Echo::Nothing,
        drop_invalid,
        own_sockets: true,
        sources: &SOURCES,
        tags: wire::packet::VlanTags::default(),
    }
}

/// The program's verdict on a frame, whether it drops or passes frames that are not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The cookie is right.
    Valid,
    /// Passed under this counter, whatever `drop_invalid` says.
    Passed(Counter),
    /// For one of our addresses, not valid by its flags.
    OtherFlags,
    /// For one of our addresses, not valid by its cookie.
    BadCookie,
}

impl Expected {
    pub(crate) fn counter(self, drop_invalid: bool, socket: bool) -> Counter {
        match (self, drop_invalid, socket) {
            (Self::Valid, _, true) => Counter::ValidRedirected,
            (Self::Valid, _, false) => Counter::ValidNoSocket,
            (Self::Passed(counter), ..) => counter,
            (Self::OtherFlags, false, _) => Counter::PassOtherFlags,
            (Self::OtherFlags, true, _) => Counter::DropOtherFlags,
            (Self::BadCookie, false, _) => Counter::PassBadCookie,
            (Self::BadCookie, true, _) => Counter::DropBadCookie,
        }
    }
}

/// The `enum xdp_action` that goes with a counter.
pub(crate) fn action(counter: Counter) -> u32 {
    match counter {
        Counter::DropOtherFlags | Counter::DropBadCookie => 1,
        Counter::ValidRedirected => 4,
        _ => 2,
    }
}

pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    pub(crate) frame: Vec<u8>,
    pub(crate) expected: Expected,
}

pub(crate) fn reply(flags: u8) -> Segment {
    Segment::reply(KEY, PORTS, SOURCES[0], TARGET, 0, flags)
}

/// Valid replies in every form that the parser knows.
pub(crate) fn valid() -> Vec<(&'static str, Segment)> {
    let synack = reply(SYN_ACK);
    let copy = |probe| Segment::reply(KEY, PORTS, SOURCES[0], TARGET, probe, SYN_ACK);
    let source = |index: usize| Segment::reply(KEY, PORTS, SOURCES[index], TARGET, 0, SYN_ACK);
    vec![
        ("SYN-ACK", synack.clone()),
        ("SYN-ACK with ECE", synack.with(|s| s.flags |= 0x40)),
        ("SYN-ACK with TCP options", synack.with(|s| s.tcp_options = vec![1; 40])),
        ("SYN-ACK with data", synack.with(|s| s.payload = vec![7; 100])),
        ("SYN-ACK with IP options", synack.with(|s| s.ip_options = vec![1; 4])),
        ("SYN-ACK with the longest IP header", synack.with(|s| s.ip_options = vec![1; 40])),
        ("SYN-ACK in one VLAN tag", synack.with(|s| s.tags = vec![0x8100])),
        ("SYN-ACK in one service tag", synack.with(|s| s.tags = vec![0x88a8])),
        ("SYN-ACK in QinQ", synack.with(|s| s.tags = vec![0x88a8, 0x8100])),
        ("SYN-ACK in two customer tags", synack.with(|s| s.tags = vec![0x8100, 0x8100])),
        (
            "SYN-ACK with everything",
            synack.with(|s| {
                s.tags = vec![0x88a8, 0x8100];
                s.ip_options = vec![1; 40];
                s.tcp_options = vec![1; 40];
            }),
        ),
        ("SYN-ACK with don't fragment", synack.with(|s| s.fragment = 0x4000)),
        ("RST that acknowledges the SYN", reply(RST | ACK)),
        ("RST that acknowledges the sequence number", reply(RST | ACK).with(|s| s.acknowledged -= 1)),
        ("RST alone", reply(RST)),
        ("RST with SYN and ACK", reply(RST | SYN_ACK)),
        ("answer to copy 1", copy(1)),
        ("answer to the last copy", copy(PROBES - 1)),
        ("to the second source address", source(1)),
        ("to the third source address", source(2)),
    ]
}

pub(crate) fn all() -> Vec<Fixture> {
    use Counter::*;
    use Expected::*;
    let synack = reply(SYN_ACK);
    let fixture = |name, segment: Segment, expected| Fixture { name, frame: segment.bytes(), expected };

    let mut all: Vec<_> = valid().into_iter().map(|(name, segment)| fixture(name, segment, Valid)).collect();
    for (name, segment, expected) in [
        ("valid behind Ethernet padding", synack.with(|s| s.padding = 6), Valid),
        // Not for a scan.
        ("ARP", synack.with(|s| s.ethertype = 0x0806), Passed(PassNotIpv4)),
        ("IPv6", synack.with(|s| s.ethertype = 0x86dd), Passed(PassNotIpv4)),
        ("version 6 under IPv4's EtherType", synack.with(|s| s.version = 6), Passed(PassNotIpv4)),
        ("third VLAN tag", synack.with(|s| s.tags = vec![0x88a8, 0x8100, 0x8100]), Passed(PassNotIpv4)),
        (
            "ARP in a VLAN tag",
            synack.with(|s| (s.tags, s.ethertype) = (vec![0x8100], 0x0806)),
            Passed(PassNotIpv4),
        ),
        ("UDP", synack.with(|s| s.protocol = 17), Passed(PassOtherProtocol)),
        ("ICMP of an unknown type", synack.with(|s| s.protocol = 1), Passed(PassOtherIcmp)),
        (
            "ICMP that quotes nothing of ours",
            synack.with(|s| (s.protocol, s.from_port) = (1, 0x0300)),
            Passed(PassBadQuote),
        ),
        ("first fragment", synack.with(|s| s.fragment = 0x2000), Passed(PassFragment)),
        ("later fragment", synack.with(|s| s.fragment = 0x2001), Passed(PassFragment)),
        ("last fragment", synack.with(|s| s.fragment = 185), Passed(PassFragment)),
        ("fragment of UDP", synack.with(|s| (s.fragment, s.protocol) = (0x2000, 17)), Passed(PassFragment)),
        // Impossible lengths.
        ("IHL 4", synack.with(|s| s.ihl = Some(4)), Passed(PassTruncated)),
        ("IHL 0", synack.with(|s| s.ihl = Some(0)), Passed(PassTruncated)),
        ("IHL beyond the frame", synack.with(|s| s.ihl = Some(15)), Passed(PassTruncated)),
        ("total length below IHL", synack.with(|s| s.total_length = Some(19)), Passed(PassTruncated)),
        ("total length 0", synack.with(|s| s.total_length = Some(0)), Passed(PassTruncated)),
        ("total length beyond the frame", synack.with(|s| s.total_length = Some(41)), Passed(PassTruncated)),
        ("largest total length", synack.with(|s| s.total_length = Some(65_535)), Passed(PassTruncated)),
        (
            "TCP header in the padding",
            synack.with(|s| (s.total_length, s.padding) = (Some(39), 20)),
            Passed(PassTruncated),
        ),
        ("data offset 4", synack.with(|s| s.data_offset = Some(4)), Passed(PassTruncated)),
        ("data offset 0", synack.with(|s| s.data_offset = Some(0)), Passed(PassTruncated)),
        ("data offset beyond the packet", synack.with(|s| s.data_offset = Some(6)), Passed(PassTruncated)),
        (
            "TCP options in the padding",
            synack.with(|s| (s.data_offset, s.padding) = (Some(15), 40)),
            Passed(PassTruncated),
        ),
        // The host's own traffic.
        ("SYN-ACK to a stranger", synack.with(|s| s.to = STRANGER), Passed(PassOtherAddress)),
        ("port below the range", synack.with(|s| s.to_port = PORTS.first - 1), Passed(PassOtherPort)),
        ("port above the range", synack.with(|s| s.to_port = PORTS.first + 1_000), Passed(PassOtherPort)),
        ("port 0", synack.with(|s| s.to_port = 0), Passed(PassOtherPort)),
        ("port 65,535", synack.with(|s| s.to_port = 65_535), Passed(PassOtherPort)),
        ("data to a scan port", reply(ACK | PSH), OtherFlags),
        ("ACK to a scan port", reply(ACK), OtherFlags),
        ("SYN to a scan port", reply(SYN), OtherFlags),
        ("FIN-ACK to a scan port", reply(FIN | ACK), OtherFlags),
        ("SYN-ACK with FIN", reply(SYN_ACK | FIN), OtherFlags),
        ("no flags", reply(0), OtherFlags),
        ("ACK to a scan port of a stranger", reply(ACK).with(|s| s.to = STRANGER), Passed(PassOtherFlags)),
        // For us, but forged or late.
        ("SYN-ACK of the sequence number itself", synack.with(|s| s.acknowledged -= 1), BadCookie),
        ("SYN-ACK one beyond", synack.with(|s| s.acknowledged += 1), BadCookie),
        ("RST one beyond", reply(RST).with(|s| s.acknowledged += 1), BadCookie),
        ("RST two before", reply(RST).with(|s| s.acknowledged -= 2), BadCookie),
        ("RST that acknowledges nothing", reply(RST).with(|s| s.acknowledged = 0), BadCookie),
        ("from another port", synack.with(|s| s.from_port += 1), BadCookie),
        ("from another address", synack.with(|s| s.from = STRANGER), BadCookie),
        ("to the wrong one of our addresses", synack.with(|s| s.to = SOURCES[1]), BadCookie),
        ("answer to copy P", Segment::reply(KEY, PORTS, SOURCES[0], TARGET, PROBES, SYN_ACK), BadCookie),
        (
            "answer to the copy before the first",
            Segment::reply(KEY, PORTS, SOURCES[0], TARGET, PORTS.count - 1, SYN_ACK),
            BadCookie,
        ),
    ] {
        all.push(fixture(name, segment, expected));
    }
    all.push(wrapped_copy());
    all
}

/// A later copy whose source port wrapped around the end of the range.
fn wrapped_copy() -> Fixture {
    let wraps = |target: &(Ipv4Addr, u16)| {
        let cookie = cookie_of(KEY, SOURCES[0], *target);
        PORTS.source_port(cookie, PROBES - 1) < PORTS.source_port(cookie, 0)
    };
    let target = (1..=u16::MAX).map(|port| (TARGET.0, port)).find(wraps).expect("one in 500 ports does");
    let segment = Segment::reply(KEY, PORTS, SOURCES[0], target, PROBES - 1, SYN_ACK);
    Fixture { name: "copy whose port wrapped", frame: segment.bytes(), expected: Expected::Valid }
}
