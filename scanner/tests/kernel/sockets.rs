//! Packets for a socket of the host stay with the host: datagrams whose cookie has few bits, ICMP errors about such,
//! and with `drop_invalid` all packets for which the kernel knows a socket.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::ReuseAddr;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket};
use wire::packet::VlanTags;
use wire::proof::{Copies, Echo, PortRange, ProbeForm};
use xdpmap::io::bpf::ProgramSettings;
use xdpmap::io::bpf::abi::Counter;

use crate::forms::{KEY, ROUTER, SOURCE, ethernet, ipv4, words};
use crate::frames::{ACK, RST, SYN, SYN_ACK, Segment};
use crate::loaders::{both, judge};
use lab::have_root;
use support::network::{enter_namespace, ip};

/// The only source port, so that an answer proves itself by no bits.
const PORT: u16 = 5353;
const PEER: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 18, 77, 77), 1234);

fn settings(form: ProbeForm, echo: Echo) -> ProgramSettings<'static> {
    ProgramSettings {
        key: KEY,
        ports: PortRange { first: PORT, count: 1 },
        copies: Copies::of(1),
        form,
        port_in_cookie: true,
        echo,
        drop_invalid: false,
        own_sockets: true,
        sources: &[SOURCE],
        tags: VlanTags::default(),
    }
}

/// A namespace that has our address, and a route to others.
fn host() {
    enter_namespace();
    ip(&format!("addr add {SOURCE}/32 dev lo"));
    ip("route add default dev lo");
}

/// A connection from our port to the peer, as far as it goes.
fn connection() -> OwnedFd {
    let ours = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
    let address = |(ip, port)| SockaddrIn::from(SocketAddrV4::new(ip, port));
    setsockopt(&ours, ReuseAddr, &true).unwrap();
    bind(ours.as_raw_fd(), &address((SOURCE, PORT))).unwrap();
    assert_eq!(connect(ours.as_raw_fd(), &address(PEER)), Err(Errno::EINPROGRESS));
    ours
}

/// A datagram from the peer, and the ICMP error about one to it.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let header = words(&[PEER.1, PORT, 8 + payload.len() as u16, 0]);
    ethernet(&ipv4(PEER.0, SOURCE, 17, &[header, payload.to_vec()].concat()))
}

fn error() -> Vec<u8> {
    let quoted = ipv4(SOURCE, PEER.0, 17, &words(&[PORT, PEER.1, 8, 0]));
    ethernet(&ipv4(ROUTER, SOURCE, 1, &[vec![3, 3, 0, 0, 0, 0, 0, 0], quoted].concat()))
}

#[track_caller]
fn assert_verdicts(settings: &ProgramSettings<'_>, frames: &[Vec<u8>], expected: Counter, case: &str) {
    for (loader, mut program) in both(settings) {
        for frame in frames {
            assert_eq!(judge(&mut *program, frame).1, expected, "{case}, through {loader}: {frame:02x?}");
        }
    }
}

#[test]
fn datagrams_for_a_socket_are_left_to_it() {
    if !have_root() {
        return;
    }
    host();
    let frames = [datagram(b"hi"), error()];
    let udp = settings(ProbeForm::Udp, Echo::Nothing);
    let ipip = settings(ProbeForm::IpIp, Echo::Nothing);
    let assert = |expected, case: &str| {
        assert_verdicts(&udp, &frames, expected, case);
        assert_verdicts(&ipip, &frames[..1], expected, case);
    };
    assert(Counter::ValidNoSocket, "no socket");
    for address in ["0.0.0.0", "198.18.0.1", "[::]"] {
        let socket = UdpSocket::bind(format!("{address}:{PORT}")).unwrap();
        assert(Counter::PassOwnSocket, address);
        let elsewhere = ProgramSettings { own_sockets: false, ..udp };
        assert_verdicts(&elsewhere, &frames, Counter::ValidNoSocket, "our address is not the host's");
        drop(socket);
        assert(Counter::ValidNoSocket, "the socket is gone");
    }
    let socket = UdpSocket::bind((SOURCE, PORT)).unwrap();
    socket.connect((PEER.0, PEER.1 + 1)).unwrap();
    assert(Counter::ValidNoSocket, "connected to somebody else");
    socket.connect(PEER).unwrap();
    assert(Counter::PassOwnSocket, "connected to the sender");
    drop(socket);
    ip(&format!("addr add {}/32 dev lo", PEER.0));
    let _other = UdpSocket::bind((PEER.0, PORT)).unwrap();
    assert(Counter::ValidNoSocket, "bound to another address");
}

/// Answers that prove themselves by 64 bits are accepted nevertheless: they cannot be for another socket.
#[test]
fn ntp_answers_are_nobody_elses() {
    if !have_root() {
        return;
    }
    host();
    let _server = UdpSocket::bind((SOURCE, PORT)).unwrap();
    let settings = settings(ProbeForm::Udp, Echo::NtpOrigin);
    let cookie = wire::proof::cookie::cookie(KEY, SOURCE.to_bits(), PEER.0.to_bits(), PEER.1, 17);
    let answer = |origin: u64| datagram(&[&[0x24; 24][..], &origin.to_be_bytes(), &[0; 16]].concat());
    assert_verdicts(&settings, &[answer(cookie.0)], Counter::ValidNoSocket, "the cookie");
    assert_verdicts(&settings, &[answer(cookie.0 ^ 1)], Counter::PassBadCookie, "one wrong bit");
    assert_verdicts(&settings, &[error()], Counter::PassOwnSocket, "an error, which has no bit");
}

/// A TCP segment from the peer to our port.
fn segment(flags: u8) -> Vec<u8> {
    let ports = PortRange { first: PORT, count: 1 };
    let reply = Segment::reply(KEY, ports, SOURCE, PEER, 0, flags);
    reply.with(|segment| segment.acknowledged = segment.acknowledged.wrapping_add(7)).bytes()
}

#[test]
fn drop_invalid_leaves_the_hosts_connections_alone() {
    use Counter::{DropBadCookie, DropOtherFlags, PassBadCookie, PassOtherFlags};
    if !have_root() {
        return;
    }
    host();
    let tcp = ProgramSettings { drop_invalid: true, ..settings(ProbeForm::TcpSyn, Echo::Nothing) };
    let judged = |[syn, ack, synack, reset]: [Counter; 4], case: &str| {
        let frames = [(SYN, syn), (ACK, ack), (SYN_ACK, synack), (RST | ACK, reset)];
        for (flags, expected) in frames {
            assert_verdicts(&tcp, &[segment(flags)], expected, &format!("{case}, flags {flags:02x}"));
        }
    };
    let dropped = [DropOtherFlags, DropOtherFlags, DropBadCookie, DropBadCookie];
    let passed = [PassOtherFlags, PassOtherFlags, PassBadCookie, PassBadCookie];
    judged(dropped, "nobody is there");
    let listener = TcpListener::bind((SOURCE, PORT)).unwrap();
    judged(passed, "a listener");
    drop(listener);
    judged(dropped, "the listener is gone");

    // No host has the peer's address yet, so a connection to it is only begun.
    let begun = connection();
    judged(passed, "a connection that is being made");
    drop(begun);
    judged(dropped, "it is given up");
    ip(&format!("addr add {}/32 dev lo", PEER.0));
    let listener = TcpListener::bind(PEER).unwrap();
    let connected = connection();
    let (accepted, from) = listener.accept().unwrap();
    assert_eq!(from, (SOURCE, PORT).into());
    judged(passed, "an established connection");
    drop((connected, accepted));

    let udp = ProgramSettings { drop_invalid: true, ..settings(ProbeForm::Udp, Echo::DnsId) };
    let asked = UdpSocket::bind((SOURCE, PORT)).unwrap();
    assert_verdicts(&udp, &[datagram(b"an answer")], PassBadCookie, "the host's own question");
    drop(asked);
    assert_verdicts(&udp, &[datagram(b"an answer")], DropBadCookie, "nobody asked");
}

/// No look-up shows whether a program on the host waits for an echo.
#[test]
fn drop_invalid_leaves_pings_alone() {
    if !have_root() {
        return;
    }
    host();
    let settings = ProgramSettings { drop_invalid: true, ..settings(ProbeForm::IcmpEcho, Echo::Nothing) };
    let echo = ethernet(&ipv4(PEER.0, SOURCE, 1, &words(&[0, 0, 7, 1, 7, 7])));
    assert_verdicts(&settings, &[echo], Counter::PassBadCookie, "an echo reply");
}
