//! The host stays reachable through the interface that is scanned at full speed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use lab::{Lab, have_root};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, connect, sendto, setsockopt,
    socket, sockopt::ReuseAddr,
};
use support::Scans as _;
use support::truth::FIELDS;

/// Echoes over a connection ten times per second until stopped; returns the round-trip times, or what went wrong.
fn echo(from: SocketAddr, to: SocketAddr, stop: &AtomicBool) -> Result<Vec<Duration>, String> {
    let error = |what: &str, e: &dyn std::fmt::Display| format!("{what} from port {}: {e}", from.port());
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)
        .map_err(|e| error("socket", &e))?;
    setsockopt(&fd, ReuseAddr, &true).map_err(|e| error("reuse", &e))?;
    let local = SockaddrIn::from(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, from.port()));
    bind(fd.as_raw_fd(), &local).map_err(|e| error("bind", &e))?;
    let SocketAddr::V4(to) = to else { return Err("IPv4 only".to_owned()) };
    connect(fd.as_raw_fd(), &SockaddrIn::from(to)).map_err(|e| error("connect", &e))?;
    let mut stream = TcpStream::from(fd);
    stream.set_nodelay(true).map_err(|e| error("nodelay", &e))?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|e| error("timeout", &e))?;
    let mut round_trips = vec![];
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let mut answer = [0; 8];
        stream.write_all(b"are you?").map_err(|e| error("write", &e))?;
        stream.read_exact(&mut answer).map_err(|e| error("read", &e))?;
        round_trips.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(100).saturating_sub(start.elapsed()));
    }
    Ok(round_trips)
}

/// Sends forged SYN-ACKs from addresses of the silent half to ports of the scan, until stopped.
fn forge(stop: &AtomicBool, sent: &AtomicU64) {
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).unwrap();
    let to = SockaddrIn::new(198, 19, 0, 1, 0);
    let mut number = 0u32;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let from = Ipv4Addr::from(0xc612_c800 + number % 1000);
        let port = 32_768 + (number % 28_000) as u16;
        let mut packet = vec![];
        PacketBuilder::ipv4(from.octets(), [198, 19, 0, 1], 64)
            .tcp(80, port, number, 1024)
            .syn()
            .ack(number.wrapping_mul(2_654_435_761))
            .write(&mut packet, &[])
            .unwrap();
        if sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty()).is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A minute of scanning at full speed in copy mode.
#[test]
fn in_copy_mode() {
    if have_root() {
        stays_reachable(&Lab::new(4), "copy", 60);
    }
}

/// The same with live frames, which occupy two cores.
#[test]
fn in_live_mode() {
    if have_root() {
        let lab = Lab::new(4);
        // Otherwise a veth pair accepts no redirected frames.
        lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "gro", "on"]);
        stays_reachable(&lab, "live", 20);
    }
}

/// While a scan runs at full speed, the host's own connections through the same interface, one of them from a port of
/// the scan, see no reset and answer in time; forged replies are counted and never become results.
fn stays_reachable(lab: &Lab, mode: &str, seconds: u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let forged = Arc::new(AtomicU64::new(0));
    let server = SocketAddr::from(([198, 19, 0, 2], 7777));
    let listener = lab.thread_in(&lab.net, move || TcpListener::bind(server).unwrap()).join().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut reader = stream.try_clone().unwrap();
                let mut writer = stream;
                let mut bytes = [0; 64];
                while let Ok(len @ 1..) = reader.read(&mut bytes) {
                    if writer.write_all(&bytes[..len]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let forger = lab.thread_in(&lab.net, {
        let (stop, forged) = (Arc::clone(&stop), Arc::clone(&forged));
        move || forge(&stop, &forged)
    });
    let clients: Vec<_> = [40_000u16, 20_000]
        .into_iter()
        .map(|port| {
            let stop = Arc::clone(&stop);
            let from = SocketAddr::from(([198, 19, 0, 1], port));
            lab.thread_in(&lab.scan, move || echo(from, server, &stop))
        })
        .collect();
    let scanned =
        lab.survey(&format!("-p 1-1000 -r 0 --io-mode {mode} -t {seconds} -c 2 -q {FIELDS} 198.18.0.0/16"));
    stop.store(true, Ordering::Relaxed);
    forger.join().unwrap();
    for client in clients {
        let mut round_trips = client.join().unwrap().expect("no reset, no silence");
        round_trips.sort_unstable();
        assert!(round_trips.len() as u64 > seconds * 7, "only {} echoes", round_trips.len());
        let p99 = round_trips[round_trips.len() * 99 / 100];
        eprintln!(
            "{} echoes, p99 {p99:?}, worst {:?}",
            round_trips.len(),
            round_trips[round_trips.len() - 1]
        );
        assert!(p99 < Duration::from_millis(200), "p99 round trip {p99:?}");
    }
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.metadata["end_reason"], "max-runtime");
    assert!(
        scanned.number("/packets_sent") > 20_000 * seconds,
        "full speed: {}",
        scanned.number("/packets_sent")
    );
    let forged = forged.load(Ordering::Relaxed);
    let counted = scanned.number("/xdp_counters/pass_bad_cookie");
    assert!(
        forged > 20 * seconds && counted > forged / 2 && counted <= forged,
        "{counted} of {forged} forged were counted"
    );
    // The forger uses 198.18.200.0 to 198.18.203.231, from which no real host answers.
    let forged_result = |line: &str| (200..=203).any(|octet| line.starts_with(&format!("198.18.{octet}.")));
    assert!(!scanned.results.lines().any(forged_result), "a forged reply became a result");
    assert_eq!(scanned.number("/counters/rx_synack"), 0);
}
