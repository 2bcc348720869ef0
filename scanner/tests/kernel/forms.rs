//! For each form of probe, the program and the scanner's own check give the same verdict on its answers.
//!
//! Frames are the real answers to a probe: of the target itself, or an ICMP error that quotes it. `differential.rs`
//! changes them.

use std::net::Ipv4Addr;

use wire::packet::{LinkHeader, RxFrame};
use wire::proof::{Check, Copies, Echo, Key, PortRange, ProbeForm, Reject, SourcePool};
use xdpmap::io::bpf::ProgramSettings;
use xdpmap::io::bpf::abi::Counter;

use crate::loaders::{both, judge};
use lab::have_root;

pub(crate) const KEY: Key = Key { k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908 };
const PORTS: PortRange = PortRange { first: 40_000, count: 1_000 };
pub(crate) const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

/// Each form, and UDP with each echo.
pub(crate) fn kinds() -> Vec<(ProbeForm, Echo)> {
    let forms = ProbeForm::ALL.into_iter().map(|form| (form, Echo::Nothing));
    forms.chain([(ProbeForm::Udp, Echo::DnsId), (ProbeForm::Udp, Echo::NtpOrigin)]).collect()
}

fn check((form, echo): (ProbeForm, Echo), copies: Copies, port_in_cookie: bool) -> Check {
    let sources = SourcePool { addresses: vec![SOURCE.to_bits()], ports: PORTS };
    let other_sources = vec![];
    Check { key: KEY, form, link: LinkHeader::Ethernet, sources, other_sources, copies, echo, port_in_cookie }
}

fn settings(check: &Check) -> ProgramSettings<'static> {
    ProgramSettings {
        key: KEY,
        ports: PORTS,
        copies: check.copies,
        form: check.form,
        port_in_cookie: check.port_in_cookie,
        echo: check.echo,
        drop_invalid: false,
        own_sockets: false,
        sources: &[SOURCE],
        tags: wire::packet::VlanTags::default(),
    }
}

pub(crate) fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(((20 + payload.len()) as u16).to_be_bytes());
    packet.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

pub(crate) fn ethernet(packet: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &[8, 0], packet].concat()
}

pub(crate) fn words(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn tcp(ports: [u16; 2], sequence: u32, acknowledged: u32, flags: u8) -> Vec<u8> {
    let mut segment = words(&ports);
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([0x50, flags, 0, 9, 0, 0, 0, 0]);
    segment
}

/// The probe as it left `source`: its IPv4 packet.
fn probe(check: &Check, source: Ipv4Addr, target: (Ipv4Addr, u16), copy: u32) -> Vec<u8> {
    let (address, port) = target;
    let cookie = check.cookie(source.to_bits(), address.to_bits(), port);
    let ours = check.sources.ports.source_port(cookie, copy);
    let payload = match check.form {
        ProbeForm::TcpSyn => tcp([ours, port], cookie.sequence(), 0, 2),
        ProbeForm::TcpSynAck => tcp([ours, port], cookie.sequence(), cookie.acknowledgement(), 0x12),
        ProbeForm::IcmpEcho => words(&[0x0800, 0, cookie.echo_id(), cookie.echo_sequence(copy), 7, 7]),
        ProbeForm::Udp => words(&[ours, port, 12, 0, 7, 7]),
        ProbeForm::IpIp => {
            let mut inner = ipv4(address, source, 17, &words(&[port, ours, 8, 0]));
            inner[4..6].copy_from_slice(&cookie.payload_bits().to_be_bytes());
            inner
        }
    };
    ipv4(source, address, check.form.protocol(), &payload)
}

/// The frames that answer it.
pub(crate) fn answers(check: &Check, source: Ipv4Addr, target: (Ipv4Addr, u16), copy: u32) -> Vec<Vec<u8>> {
    let (address, port) = target;
    let cookie = check.cookie(source.to_bits(), address.to_bits(), port);
    let ports = [port, check.sources.ports.source_port(cookie, copy)];
    let ahead = cookie.sequence().wrapping_add(1);
    let from_target = |protocol, payload: &[u8]| ipv4(address, source, protocol, payload);
    let mut answers = match check.form {
        ProbeForm::TcpSyn => vec![
            from_target(6, &tcp(ports, 1, ahead, 0x12)),
            from_target(6, &tcp(ports, 0, ahead, 0x14)),
            from_target(6, &tcp(ports, 0, cookie.sequence(), 0x04)),
        ],
        ProbeForm::TcpSynAck => vec![
            from_target(6, &tcp(ports, 1, ahead, 0x12)),
            from_target(6, &tcp(ports, cookie.acknowledgement(), 0, 0x04)),
        ],
        ProbeForm::IcmpEcho => {
            let echo = words(&[0, 0, cookie.echo_id(), cookie.echo_sequence(copy), 7, 7]);
            vec![from_target(1, &echo)]
        }
        ProbeForm::Udp | ProbeForm::IpIp => {
            let payload = match check.echo {
                Echo::Nothing => vec![0, 5],
                Echo::DnsId => [&cookie.payload_bits().to_be_bytes()[..], &[0x81, 5]].concat(),
                Echo::NtpOrigin => [&[7; 24][..], &cookie.0.to_be_bytes(), &[7; 5]].concat(),
            };
            let header = words(&[ports[0], ports[1], 8 + payload.len() as u16, 0]);
            vec![from_target(17, &[header, payload].concat())]
        }
    };
    if !matches!(check.form, ProbeForm::TcpSyn | ProbeForm::TcpSynAck) {
        // The first fragment of a longer one.
        let mut first = answers[0].clone();
        first[6] = 0x20;
        answers.push(first);
    }
    let probe = probe(check, source, target, copy);
    for (kind, quoted) in [(3, 8), (4, 100), (5, 100), (11, 12), (12, 8)] {
        let quote = &probe[..(20 + quoted).min(probe.len())];
        let message = [&[kind, 1, 0, 0, 0, 0, 0, 0], quote].concat();
        answers.push(ipv4(ROUTER, source, 1, &message));
    }
    answers.iter().map(|packet| ethernet(packet)).collect()
}

/// The counter that the scanner's own check would raise.
pub(crate) fn own_verdict(check: &Check, frame: &[u8]) -> Counter {
    let frame = RxFrame { captured: frame, frame_len: frame.len() as u32, queue: 0 };
    match check.verdict(frame) {
        Ok(_) => Counter::ValidNoSocket,
        Err(Reject::NotIpv4) => Counter::PassNotIpv4,
        Err(Reject::Truncated) => Counter::PassTruncated,
        Err(Reject::Fragment) => Counter::PassFragment,
        Err(Reject::OtherProtocol) => Counter::PassOtherProtocol,
        Err(Reject::OtherPort) => Counter::PassOtherPort,
        Err(Reject::OtherFlags) => Counter::PassOtherFlags,
        Err(Reject::OtherIcmp) => Counter::PassOtherIcmp,
        Err(Reject::OtherAddress) => Counter::PassOtherAddress,
        Err(Reject::BadCookie) => Counter::PassBadCookie,
        Err(Reject::BadQuote) => Counter::PassBadQuote,
    }
}

/// Every form of probe: its answers are accepted by the kernel's program, through both loaders, and by the scanner's
/// own check, whatever their copy number. The program of another form accepts none, except for UDP whose datagrams look
/// alike.
#[test]
fn every_form_knows_its_answers() {
    if !have_root() {
        return;
    }
    let target = (Ipv4Addr::new(198, 18, 128, 77), 443);
    for (form, echo) in kinds() {
        let numbers = Copies::of(2).with_canaries();
        let asked = check((form, echo), numbers, form != ProbeForm::IcmpEcho && form != ProbeForm::IpIp);
        let copies = if form == ProbeForm::IpIp { 0..1 } else { 0..numbers.all() };
        let frames: Vec<_> = copies.flat_map(|copy| answers(&asked, SOURCE, target, copy)).collect();
        for (loader, mut program) in both(&settings(&asked)) {
            for frame in &frames {
                let counter = judge(&mut *program, frame).1;
                assert_eq!(counter, Counter::ValidNoSocket, "{form:?} through {loader}: {frame:02x?}");
                assert_eq!(own_verdict(&asked, frame), counter, "{form:?}: {frame:02x?}");
            }
        }
        for other in ProbeForm::ALL.into_iter().filter(|other| other.protocol() != form.protocol()) {
            let other = check((other, Echo::Nothing), numbers, true);
            let [(_, mut program), _] = both(&settings(&other));
            for frame in &frames {
                assert_ne!(
                    judge(&mut *program, frame).1,
                    Counter::ValidNoSocket,
                    "{form:?} as {:?}",
                    other.form
                );
            }
        }
    }
}
