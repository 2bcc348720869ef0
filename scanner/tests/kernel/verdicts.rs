//! Every verdict and every counter, over the fixtures.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use wire::packet::VlanTags;
use xdpmap::io::bpf::ProgramSettings;
use xdpmap::io::bpf::abi::Counter;

use crate::fixtures::{Expected, KEY, PORTS, TARGET, action, all, settings, valid};
use crate::frames::{SYN_ACK, Segment};
use crate::loaders::{Loaded, both, judge};
use lab::have_root;
use support::network::{Socket, enter_namespace, index};

fn check_all(loader: &str, program: &mut dyn Loaded, drop_invalid: bool, socket: bool) {
    for fixture in all() {
        let counter = fixture.expected.counter(drop_invalid, socket);
        assert_eq!(
            judge(program, &fixture.frame),
            (action(counter), counter),
            "{}, through {loader}, drop_invalid {drop_invalid}, socket {socket}",
            fixture.name
        );
    }
}

#[test]
fn each_fixture_has_its_verdict_and_its_one_counter() {
    if !have_root() {
        return;
    }
    enter_namespace();
    for drop_invalid in [false, true] {
        for (loader, mut program) in both(&settings(drop_invalid)) {
            check_all(loader, &mut *program, drop_invalid, false);
        }
    }
}

#[test]
fn with_a_socket_on_the_queue_valid_replies_are_redirected_and_nothing_else() {
    if !have_root() {
        return;
    }
    enter_namespace();
    // A test run counts as received on queue 0 of the namespace's loopback interface.
    let socket = Socket::bind(index("lo"), 0);
    for drop_invalid in [false, true] {
        for (loader, mut program) in both(&settings(drop_invalid)) {
            program.set_socket(0, socket.as_fd());
            check_all(loader, &mut *program, drop_invalid, true);
        }
    }
}

#[test]
fn a_closed_socket_leaves_the_map_and_its_replies_to_the_host() {
    if !have_root() {
        return;
    }
    enter_namespace();
    let (_, frame) = valid().swap_remove(0);
    for (loader, mut program) in both(&settings(false)) {
        let socket = Socket::bind(index("lo"), 0);
        program.set_socket(0, socket.as_fd());
        assert_eq!(judge(&mut *program, &frame.bytes()).1, Counter::ValidRedirected, "{loader}");
        drop(socket);
        assert_eq!(judge(&mut *program, &frame.bytes()), (2, Counter::ValidNoSocket), "{loader}");
    }
}

#[test]
fn a_socket_on_another_queue_does_not_get_the_reply() {
    if !have_root() {
        return;
    }
    enter_namespace();
    let socket = Socket::bind(index("lo"), 0);
    let (_, frame) = valid().swap_remove(0);
    for (loader, mut program) in both(&settings(false)) {
        program.set_socket(1, socket.as_fd());
        assert_eq!(judge(&mut *program, &frame.bytes()), (2, Counter::ValidNoSocket), "{loader}");
    }
}

/// Cut at every length, headers included or not, a reply is passed as truncated: never dropped, never redirected.
#[test]
fn a_reply_cut_at_any_length_is_passed_as_truncated() {
    if !have_root() {
        return;
    }
    for (loader, mut program) in both(&settings(true)) {
        for (name, segment) in valid() {
            let frame = segment.bytes();
            for len in 14..frame.len() {
                assert_eq!(
                    judge(&mut *program, &frame[..len]),
                    (2, Counter::PassTruncated),
                    "{name} cut to {len} bytes, through {loader}"
                );
            }
        }
    }
}

/// Wrong lengths: whatever the IHL, total length and data offset fields contain, the verdict is the model's.
#[test]
fn every_combination_of_length_fields_is_judged_as_the_model_does() {
    if !have_root() {
        return;
    }
    let (_, synack) = valid().swap_remove(0);
    let [(_, mut program), _] = both(&settings(false));
    for ihl in 0..16u8 {
        for data_offset in 0..16u8 {
            for total_length in [0, 19, 20, 39, 40, 41, 59, 60, 79, 80, 99, 100, 101, 1_000, 65_535] {
                let frame = synack
                    .with(|s| {
                        (s.ihl, s.data_offset, s.total_length) =
                            (Some(ihl), Some(data_offset), Some(total_length));
                        s.padding = 60;
                    })
                    .bytes();
                let fits = lengths_fit(ihl, total_length, &frame[14..]);
                let (action, counter) = judge(&mut *program, &frame);
                assert_eq!(action, 2);
                assert_eq!(
                    counter == Counter::PassTruncated,
                    !fits,
                    "IHL {ihl}, data offset {data_offset}, total length {total_length}: {counter:?}"
                );
            }
        }
    }
}

/// Whether the headers fit into each other. The data offset is read where the IHL says that TCP begins.
fn lengths_fit(ihl: u8, total_length: u16, packet: &[u8]) -> bool {
    let (ip_len, total_len) = (usize::from(ihl) * 4, usize::from(total_length));
    if ip_len < 20 || total_len < ip_len + 20 || total_len > packet.len() {
        return false;
    }
    let tcp_len = usize::from(packet[ip_len + 12] >> 4) * 4;
    tcp_len >= 20 && ip_len + tcp_len <= total_len
}

/// One address, a dense range, scattered ones, a full map, the ends of the address space: each source is ours and its
/// neighbours are not.
#[test]
fn every_source_address_is_ours_and_no_other() {
    if !have_root() {
        return;
    }
    let number =
        |first: u32, step: u32, len: u32| (0..len).map(move |i| Ipv4Addr::from_bits(first + i * step));
    let sets: [Vec<Ipv4Addr>; 6] = [
        number(0xc612_0007, 1, 1).collect(),
        number(0xc612_0007, 1, 5).chain(number(0xc612_0007, 1, 1)).collect(),
        number(0xc612_0007, 2, 5).collect(),
        number(0xc612_0000, 257, 256).collect(),
        number(0x0a00_0000, 1, 256).collect(),
        vec![Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST],
    ];
    for sources in &sets {
        let settings = ProgramSettings { sources, ..settings(false) };
        for (loader, mut program) in both(&settings) {
            for source in sources {
                for step in [0, 1, u32::MAX] {
                    let address = Ipv4Addr::from_bits(source.to_bits().wrapping_add(step));
                    let reply = Segment::reply(KEY, PORTS, address, TARGET, 0, SYN_ACK);
                    let ours = sources.contains(&address);
                    let expected = if ours { Counter::ValidNoSocket } else { Counter::PassOtherAddress };
                    assert_eq!(judge(&mut *program, &reply.bytes()).1, expected, "{address}, {loader}");
                }
            }
        }
    }
}

/// The fixtures use every counter, with and without `drop_invalid`.
#[test]
fn the_fixtures_cover_every_counter() {
    let mut missing: Vec<_> = Counter::ALL.to_vec();
    for fixture in all() {
        for (drop_invalid, socket) in [(false, false), (true, true)] {
            missing.retain(|counter| *counter != fixture.expected.counter(drop_invalid, socket));
        }
    }
    // No fixture is for a scan of a VLAN: `replies_come_in_their_own_vlan` tries that one. None is UDP for a socket of
    // the host: `sockets.rs` has them.
    assert_eq!(missing, [Counter::PassOtherVlan, Counter::PassOwnSocket]);
}

/// etherparse parses the frames as intended, so that the fixtures are what they claim to be.
#[test]
fn an_independent_parser_reads_the_valid_fixtures() {
    for (name, segment) in valid() {
        let frame = segment.bytes();
        let parsed = etherparse::SlicedPacket::from_ethernet(&frame).expect(name);
        let Some(etherparse::TransportSlice::Tcp(tcp)) = parsed.transport else { panic!("{name}: no TCP") };
        let Segment { to_port, acknowledged, .. } = segment;
        assert_eq!((tcp.destination_port(), tcp.acknowledgment_number()), (to_port, acknowledged), "{name}");
        assert_eq!(parsed.link_exts.len(), segment.tags.len(), "{name}");
    }
    assert!(all().iter().any(|fixture| fixture.expected == Expected::Valid));
}

/// In a scan of a VLAN the tags that are still on a frame must be those of the VLAN; a NIC may have removed some, outer
/// first.
#[test]
fn replies_come_in_their_own_vlan() {
    if !have_root() {
        return;
    }
    use Counter::{PassOtherVlan, ValidNoSocket};
    let (_, plain) = valid().swap_remove(0);
    let tagged = |tags: &[u16]| plain.with(|segment| segment.tags = tags.to_vec()).bytes();
    // All tags of the fixtures have the number 7.
    let frames = [tagged(&[]), tagged(&[0x8100]), tagged(&[0x88a8, 0x8100])];
    let of = |ids: &[u16]| {
        ids.iter().fold(VlanTags::default(), |tags, id| tags.with(0x8100, *id).expect("room for two"))
    };
    for (ids, verdicts) in [
        (&[][..], [ValidNoSocket; 3]),
        (&[7], [ValidNoSocket, ValidNoSocket, PassOtherVlan]),
        (&[8], [ValidNoSocket, PassOtherVlan, PassOtherVlan]),
        (&[9, 7], [ValidNoSocket, ValidNoSocket, PassOtherVlan]),
        (&[7, 9], [ValidNoSocket, PassOtherVlan, PassOtherVlan]),
        (&[7, 7], [ValidNoSocket; 3]),
    ] {
        for (loader, mut program) in both(&ProgramSettings { tags: of(ids), ..settings(true) }) {
            for (frame, verdict) in frames.iter().zip(verdicts) {
                assert_eq!(judge(&mut *program, frame), (2, verdict), "{ids:?}, through {loader}");
            }
        }
    }
}
