//! The filter, run by the kernel: attached to one end of a pair of sockets, it judges what the other end sends.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use proptest::prelude::*;
use wire::packet::RxFrame;
use wire::proof::Reject;

use super::*;
use crate::io::packet::error::set;
use crate::probe::testing::{SOURCE, frames, icmp_error, settings, udp_answer};
use crate::probe::{Module, Probe, ProbeSettings, Visitor};

const KEEP: usize = 60;

/// A filter in the kernel.
struct Judge {
    sender: OwnedFd,
    receiver: OwnedFd,
}

impl Judge {
    fn new(check: &Check) -> Self {
        let (sender, receiver) =
            socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_NONBLOCK).unwrap();
        let mut program = program(check, KEEP);
        let attached =
            libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
        set(receiver.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &attached, "").unwrap();
        Self { sender, receiver }
    }

    /// How many bytes of a packet it keeps; `None` if it rejects the packet.
    fn keeps(&self, packet: &[u8]) -> Option<usize> {
        // Sending a packet that the filter rejects is an error.
        let _ = send(self.sender.as_raw_fd(), packet, MsgFlags::empty());
        let mut buffer = [0; 4096];
        recv(self.receiver.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()
    }
}

/// A SYN-ACK or RST to a TCP probe.
fn tcp_answer(probe: &[u8], flags: u8) -> Vec<u8> {
    let mut answer = probe[..54].to_vec();
    answer[16..18].copy_from_slice(&40u16.to_be_bytes());
    let (ours, theirs) = (probe[26..30].to_vec(), probe[30..34].to_vec());
    answer[26..34].copy_from_slice(&[theirs, ours].concat());
    let (ours, theirs) = (probe[34..36].to_vec(), probe[36..38].to_vec());
    answer[34..38].copy_from_slice(&[theirs, ours].concat());
    let sequence = u32::from_be_bytes(probe[38..42].try_into().unwrap());
    answer[42..46].copy_from_slice(&sequence.wrapping_add(1).to_be_bytes());
    answer[46] = 0x50;
    answer[47] = flags;
    answer
}

/// The check of a module and frames that answer its probe.
struct Case {
    check: Check,
    answers: Vec<Vec<u8>>,
}

fn cases(addresses: &[u32]) -> Vec<Case> {
    struct Answers;
    impl Visitor for Answers {
        type Output = Case;
        fn visit<P: Probe>(self, probes: &[P]) -> Case {
            let probe = &probes[0];
            let check = probe.check().clone();
            let probe = frames(probe, &[(0xc612_0707, 80)]).remove(0);
            let mut answers = match check.form {
                ProbeForm::TcpSyn | ProbeForm::TcpSynAck => {
                    [0x12, 0x04, 0x14].map(|flags| tcp_answer(&probe, flags)).to_vec()
                }
                ProbeForm::Udp => vec![udp_answer(&probe, b"12345")],
                ProbeForm::IcmpEcho => {
                    let mut reply = probe.clone();
                    let (ours, theirs) = (probe[26..30].to_vec(), probe[30..34].to_vec());
                    reply[26..34].copy_from_slice(&[theirs, ours].concat());
                    reply[34] = 0;
                    vec![reply]
                }
                ProbeForm::IpIp => vec![[&probe[..14], &probe[34..]].concat()],
            };
            answers.extend([3, 4, 5, 11, 12].map(|kind| icmp_error(&probe, kind, 1, 8)));
            Case { check, answers }
        }
    }
    let mut settings: ProbeSettings = settings(1);
    // The last ones as if by another interface.
    let (own, others) = addresses.split_at(addresses.len().div_ceil(2));
    settings.sources.addresses = own.to_vec();
    settings.other_sources = others.to_vec();
    let modules = [
        ("tcp_synscan", None),
        ("tcp_synackscan", None),
        ("icmp_echoscan", None),
        ("udp", Some("text:who?")),
        ("ipip", None),
    ];
    modules
        .map(|(name, args)| {
            Module::parse(name, args).unwrap().visit(std::slice::from_ref(&settings), Answers)
        })
        .into()
}

fn frame(bytes: &[u8]) -> RxFrame<'_> {
    RxFrame { captured: bytes, frame_len: bytes.len() as u32, queue: 0 }
}

/// Pools of source addresses: one, a range, scattered ones, ranges between which little is left.
fn pools() -> [Vec<u32>; 4] {
    [
        vec![SOURCE],
        (0..256).map(|i| SOURCE + 7 - i).collect(),
        (0..256).map(|i| SOURCE.wrapping_add(i * 0x0100_0103)).collect(),
        (0..256).map(|i| SOURCE + i + i / 3).collect(),
    ]
}

/// Every answer passes, and is cut to the requested length, over links with and without a header. None of the host's
/// own traffic passes.
#[test]
fn answers_pass_and_other_traffic_does_not() {
    for pool in pools() {
        for case in cases(&pool) {
            let judge = Judge::new(&case.check);
            let bare = Judge::new(&Check { link: LinkHeader::Bare, ..case.check.clone() });
            for answer in &case.answers {
                let what = format!("{:?}: {answer:02x?}", case.check.form);
                assert!(case.check.answer(frame(answer)).is_some(), "{what}");
                assert_eq!(judge.keeps(answer), Some(answer.len().min(KEEP)), "{what}");
                assert_eq!(bare.keeps(&answer[14..]), Some((answer.len() - 14).min(KEEP)), "{what}");
                let mut strange = answer.clone();
                strange[30] ^= 0x80; // to somebody else
                assert_eq!(judge.keeps(&strange), None, "{what}");
            }
            let mut segment = case.answers[0].clone();
            match case.check.form {
                ProbeForm::TcpSyn | ProbeForm::TcpSynAck => {
                    for flags in [0x10, 0x18, 0x02, 0x11] {
                        segment[47] = flags;
                        assert_eq!(judge.keeps(&segment), None, "flags {flags:#x}");
                    }
                }
                ProbeForm::Udp | ProbeForm::IpIp => {
                    segment[36..38].copy_from_slice(&[0, 53]);
                    assert_eq!(judge.keeps(&segment), None, "port 53");
                }
                ProbeForm::IcmpEcho => {}
            }
        }
    }
}

/// Packets to each source address pass, and to no other address.
#[test]
fn every_source_address_is_ours_and_no_other() {
    for pool in pools() {
        let case = cases(&pool).remove(0);
        let judge = Judge::new(&case.check);
        let mut answer = case.answers[0].clone();
        let neighbors =
            pool.iter().flat_map(|&address| [address, address.wrapping_add(1), address.wrapping_sub(1)]);
        for address in neighbors.chain([0, u32::MAX]) {
            answer[30..34].copy_from_slice(&address.to_be_bytes());
            assert_eq!(judge.keeps(&answer).is_some(), pool.contains(&address), "{address:#x}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever is done to an answer: what the check takes has passed the filter, and what the filter is for has not.
    #[test]
    fn the_filter_agrees_with_the_check(
        pool in 0usize..4,
        which in any::<prop::sample::Index>(),
        answer in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        len in prop::option::of(0usize..90),
    ) {
        let cases = cases(&pools()[pool]);
        let case = which.get(&cases);
        let mut bytes = answer.get(&case.answers).clone();
        for (place, value) in damage {
            let place = 14 + place.index(bytes.len() - 14); // the socket is given IPv4 only
            bytes[place] = value;
        }
        bytes.resize(len.unwrap_or(bytes.len()), 0);
        let passed = Judge::new(&case.check).keeps(&bytes).is_some();
        match case.check.verdict(frame(&bytes)) {
            Ok(_) => prop_assert!(passed, "{bytes:02x?}"),
            Err(Reject::OtherPort | Reject::OtherAddress | Reject::OtherProtocol) => prop_assert!(!passed),
            // A FIN is nothing that the filter looks for.
            Err(Reject::OtherFlags) => {
                let flags = bytes[14 + usize::from(bytes[14] & 0xf) * 4 + 13];
                prop_assert!(!passed || flags & 0x13 == 0x13);
            }
            Err(_) => {}
        }
    }
}
