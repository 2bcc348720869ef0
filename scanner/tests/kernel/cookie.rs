//! The kernel's cookie is Rust's cookie.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use wire::proof::{Copies, Echo, Key, PortRange, ProbeForm};
use xdpmap::io::bpf::abi::Counter;
use xdpmap::io::bpf::{ProgramSettings, XdpProgram};

use crate::frames::{ACK, RST, SYN_ACK, Segment, cookie_of};
use crate::loaders::judge;
use lab::have_root;

/// The verdict of the scanner's own check, without the program, on a SYN-ACK or RST.
fn model(settings: &ProgramSettings<'_>, reply: &Segment) -> Counter {
    let offset = u32::from(reply.to_port).wrapping_sub(settings.ports.first.into());
    if offset >= settings.ports.count {
        return Counter::PassOtherPort;
    }
    if !settings.sources.contains(&reply.to) {
        return Counter::PassOtherAddress;
    }
    let cookie = cookie_of(settings.key, reply.to, (reply.from, reply.from_port));
    let port_right = settings.ports.probe_number(cookie, reply.to_port, settings.copies.all()).is_some();
    let ahead = reply.acknowledged.wrapping_sub(cookie.sequence());
    let sequence_right = ahead == 1 || (ahead == 0 && reply.flags & RST != 0);
    if port_right && sequence_right { Counter::ValidNoSocket } else { Counter::PassBadCookie }
}

/// The reply with each single bit of its addresses, ports and acknowledgment flipped, and with the acknowledgments
/// next to the right one.
fn mutations(reply: &Segment) -> Vec<Segment> {
    let word = |bit: u32, change: fn(&mut Segment, u32)| reply.with(|s| change(s, 1 << bit));
    let mut all = vec![];
    for bit in 0..32 {
        all.push(word(bit, |s, mask| s.acknowledged ^= mask));
        all.push(word(bit, |s, mask| s.from = Ipv4Addr::from_bits(s.from.to_bits() ^ mask)));
        all.push(word(bit, |s, mask| s.to = Ipv4Addr::from_bits(s.to.to_bits() ^ mask)));
    }
    for bit in 0..16 {
        all.push(word(bit, |s, mask| s.from_port ^= mask as u16));
        all.push(word(bit, |s, mask| s.to_port ^= mask as u16));
    }
    for step in [1, 2, u32::MAX, u32::MAX - 1] {
        all.push(reply.with(|s| s.acknowledged = s.acknowledged.wrapping_add(step)));
    }
    all
}

fn port_ranges() -> impl Strategy<Value = (PortRange, u32)> {
    let counts = prop_oneof![Just(1u32), 1..=8u32, 1..=65_536u32, Just(65_536u32)];
    (any::<u16>(), counts, 1..=8u32).prop_map(|(first, count, probes)| {
        let count = count.min(65_536 - u32::from(first));
        (PortRange { first, count }, probes.min(count))
    })
}

#[test]
fn the_kernel_accepts_what_rust_sent_and_refuses_what_rust_refuses() {
    if !have_root() {
        return;
    }
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(
        key: [u8; 16],
        (ports, probes) in port_ranges(),
        sources in prop::collection::vec(any::<Ipv4Addr>(), 1..4),
        target: (Ipv4Addr, u16),
        pick: prop::sample::Index,
        probe: prop::sample::Index,
        flags in prop::sample::select(vec![SYN_ACK, RST | ACK, RST]),
    )| {
        let key = Key::from_bytes(key);
        let settings = ProgramSettings {
            key,
            ports,
            copies: Copies::of(probes),
            form: ProbeForm::TcpSyn,
            port_in_cookie: true,
            echo: Echo::Nothing,
            drop_invalid: false,
            own_sockets: false,
            sources: &sources,
            tags: wire::packet::VlanTags::default(),
        };
        let mut program = XdpProgram::load(&settings).expect("aya loads the object");
        let source = sources[pick.index(sources.len())];
        let probe = probe.index(probes as usize) as u32;
        let reply = Segment::reply(key, ports, source, target, probe, flags);

        prop_assert_eq!(judge(&mut program, &reply.bytes()).1, Counter::ValidNoSocket);
        for mutation in mutations(&reply) {
            let counter = judge(&mut program, &mutation.bytes()).1;
            prop_assert_eq!(counter, model(&settings, &mutation), "{:?}", mutation);
        }
    });
}
