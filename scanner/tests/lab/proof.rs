//! What is distinguished from replies: packets that answer no probe, packets for the host's own sockets, and answers of
//! which only the beginning is in a packet.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::{Lab, have_root};
use support::Scans as _;
use support::running::Running;
use support::zmap::zmap;

/// The scanning host.
const OURS: &str = "198.19.0.1";

/// A socket on a port that an earlier one of this process may have had. A child that another test has just started
/// keeps that one open until it runs its own program.
fn bind(address: Ipv4Addr, port: u16) -> UdpSocket {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match UdpSocket::bind((address, port)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            bound => return bound.unwrap(),
        }
    }
}

/// Answers each datagram to one of these addresses with as many bytes as the position of the address in the list has,
/// until stopped.
struct Responder {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Responder {
    fn start(lab: &Lab, port: u16, hosts: &[(Ipv4Addr, usize)]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |&(address, len): &(Ipv4Addr, usize)| {
            let stop = Arc::clone(&stop);
            lab.thread_in(&lab.net, move || {
                let socket = bind(address, port);
                socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((_, from)) = socket.recv_from(&mut [0; 2000]) {
                        socket.send_to(&vec![b'x'; len], from).unwrap();
                    }
                }
            })
        };
        let threads = hosts.iter().map(start).collect();
        let responder = Self { stop, threads };
        let deadline = Instant::now() + Duration::from_secs(10);
        let last = format!("{}:{port} ", hosts[hosts.len() - 1].0);
        while !lab.in_ns(&lab.net, "ss", ["-Hlun"]).contains(&last) {
            assert!(Instant::now() < deadline, "the responder does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        responder
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Sends datagrams from each of these addresses and ports of the far side to a port of the scanning host.
fn send(lab: &Lab, from: &[(&str, u16)], port: u16) {
    let from: Vec<(String, u16)> = from.iter().map(|(ip, port)| ((*ip).to_owned(), *port)).collect();
    let sending = lab.thread_in(&lab.net, move || {
        for (address, own) in from {
            let socket = bind(address.parse().unwrap(), own);
            socket.send_to(b"hello", (OURS, port)).unwrap();
        }
    });
    sending.join().unwrap();
}

/// From one source port every datagram to it looks like an answer. Only those of targets are answers: not those of
/// hosts that were not probed, in the block list or not. And in a scan whose answers come from the probed port, not
/// those from other ports.
#[test]
fn results_obey_the_plan() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let blocked = lab.folder().join("blocked");
    std::fs::write(&blocked, "198.18.0.77\n").unwrap();
    let pairs = lab.folder().join("pairs");
    std::fs::write(&pairs, "198.18.0.1:9\n198.18.0.2:10\n").unwrap();
    let strangers = [("198.18.0.77", 9), ("198.18.66.66", 9), ("198.18.0.2", 4711)];
    let one = |mode: &str, what: &str, expected: &[&str], unasked: u64| {
        let responder = Responder::start(&lab, 9, &[(Ipv4Addr::new(198, 18, 0, 1), 5)]);
        let arguments = format!(
            "--io-mode {mode} -M udp --probe-args text:x -s 5353 -c 3 -b {} -f saddr,sport,success --output-filter success=1 \
             {what}",
            blocked.display()
        );
        let running = Running::start(&lab, &arguments);
        send(&lab, &strangers, 5353);
        let scanned = running.finish();
        responder.stop();
        assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        let expected: BTreeSet<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(scanned.lines(), expected, "{mode} {what}");
        assert_eq!(scanned.number("/counters/rx_unasked"), unasked, "{mode} {what}: {}", scanned.metadata);
        assert_eq!(scanned.row("frames", "unasked"), unasked, "{mode} {what}");
        let warned = scanned.stderr().contains(&format!("{unasked} replies were not about a target"));
        assert!(warned == (unasked > 0), "{}", scanned.stderr());
        assert!(scanned.stderr().contains("proves itself by 0.0 bits only"), "{}", scanned.stderr());
        assert_eq!(scanned.metadata["answer_bits"], 0.0);
    };
    let (asked, answer) = ("-p 9 198.18.0.0/24", "198.18.0.1,9,1");
    for mode in ["auto", "packet"] {
        // A server may answer from any port, so this one counts.
        one(mode, asked, &[answer, "198.18.0.2,4711,1"], 2);
        one(mode, &format!("--validate-source-port enable {asked}"), &[answer], 3);
    }
    let pairs = format!("--validate-source-port enable --pairs-file {}", pairs.display());
    one("auto", &pairs, &[answer], 3);
}

/// A port that a program of this host uses cannot be a source port, unless it is one of many.
#[test]
fn ports_of_own_sockets_are_refused() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let listen = |address: &str| {
        let address = address.to_owned();
        lab.thread_in(&lab.scan, move || UdpSocket::bind(address).unwrap()).join().unwrap()
    };
    let survey = |arguments: &str| lab.survey(&format!("-c 0 -p 53 {arguments} 198.18.0.1"));
    let udp = "-M udp --probe-args text:x";
    for (address, refused) in [("0.0.0.0:53", true), ("198.19.0.1:53", true), ("127.0.0.53:53", false)] {
        let listener = listen(address);
        for module in [udp, "-M dns", "-M ipip", "-M ntp", "-M tcp_synscan"] {
            let scanned = survey(&format!("{module} -s 53"));
            let refused = refused && !(module.ends_with("ntp") || module.ends_with("synscan"));
            let code = if refused { 2 } else { 0 };
            assert_eq!(scanned.output.status.code(), Some(code), "{address} {module}: {}", scanned.stderr());
            let said = scanned.stderr().contains("--source-port: a socket of this host has UDP port 53");
            assert_eq!(said, refused, "{address} {module}: {}", scanned.stderr());
        }
        let scanned = survey(&format!("{udp} -s 53-20000"));
        assert_eq!(scanned.output.status.code(), Some(0), "{address}: {}", scanned.stderr());
        let said = scanned.stderr().contains("have 1 of the 19948 ports (53 is the first)");
        assert_eq!(said, refused, "{address}: {}", scanned.stderr());
        drop(listener);
    }
    let scanned = survey(&format!("{udp} -s 53"));
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert!(!scanned.stderr().contains("a socket of this host"), "{}", scanned.stderr());
}

/// A socket that is opened while a scan runs gets the packets sent to it, even from targets.
#[test]
fn a_socket_of_the_host_keeps_its_datagrams() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let running = Running::start(
        &lab,
        "-M udp --probe-args text:x -s 5353 -c 4 -p 9 --successes-only -f saddr 198.18.0.0/24",
    );
    let senders = [("198.18.0.1", 9), ("198.18.0.2", 9), ("198.18.66.66", 9)];
    let socket = lab.thread_in(&lab.scan, || UdpSocket::bind("0.0.0.0:5353").unwrap()).join().unwrap();
    send(&lab, &senders, 5353);
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let heard: BTreeSet<String> = senders
        .iter()
        .map(|_| socket.recv_from(&mut [0; 100]).expect("the scan took it").1.ip().to_string())
        .collect();
    assert_eq!(heard, senders.iter().map(|(address, _)| (*address).to_owned()).collect());
    let scanned = running.finish();
    assert_eq!(scanned.number("/xdp_counters/pass_own_socket"), 3, "{}", scanned.metadata);
    assert_eq!(scanned.row("judged", "pass_own_socket"), 3);
    assert!(scanned.stderr().contains("3 datagrams with a right cookie"), "{}", scanned.stderr());
    assert_eq!(scanned.lines(), BTreeSet::new());
}

/// With `--drop-invalid` and the default source ports, which the host's own connections also use, these continue.
#[test]
fn drop_invalid_leaves_connections_alone() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let echo = lab.thread_in(&lab.net, || {
        let listener = TcpListener::bind("198.18.0.9:7").unwrap();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 100];
                while let Ok(len @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..len]).unwrap();
                }
            });
        }
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while !lab.in_ns(&lab.net, "ss", ["-Hltn"]).contains("198.18.0.9:7 ") {
        assert!(Instant::now() < deadline, "the server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let talk = |stream: &mut TcpStream| {
        for _ in 0..5 {
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut [0; 5]).expect("the echo of the other side");
        }
    };
    let connect = || {
        let stream =
            TcpStream::connect_timeout(&"198.18.0.9:7".parse().unwrap(), Duration::from_secs(3)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        assert!((32_768..61_000).contains(&stream.local_addr().unwrap().port()), "a port of the scan");
        stream
    };
    let mut before = lab.thread_in(&lab.scan, connect).join().unwrap();
    talk(&mut before);
    let running = Running::start(&lab, "--drop-invalid -p 80 -c 4 -f saddr 198.18.0.0/24");
    talk(&mut before);
    let mut during = lab.thread_in(&lab.scan, connect).join().unwrap();
    talk(&mut during);
    // Packets that were not requested are dropped.
    let stranger = lab.thread_in(&lab.net, || {
        let address = (OURS, 40_000);
        std::net::ToSocketAddrs::to_socket_addrs(&address)
            .unwrap()
            .map(|address| TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok())
            .collect::<Vec<_>>()
    });
    assert_eq!(stranger.join().unwrap(), [false]);
    let scanned = running.finish();
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert!(scanned.number("/xdp_counters/drop_other_flags") > 0, "{}", scanned.metadata);
    talk(&mut before);
    drop((before, during));
    echo.join().unwrap();
}

/// An answer that comes in fragments is found by its first one, as zmap does, in each way to receive.
#[test]
fn answers_in_fragments_are_found() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    lab.send_all_icmp_errors();
    let hosts: Vec<(Ipv4Addr, usize)> =
        (0..12).map(|i| (Ipv4Addr::new(198, 18, 0, i), if i < 8 { 2_000 } else { 20 })).collect();
    let responder = Responder::start(&lab, 7777, &hosts);
    let all: BTreeSet<String> = hosts.iter().map(|(address, _)| address.to_string()).collect();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let scan = "-M udp -p 7777 --probe-args text:hi";
    for mode in ["auto", "generic", "packet"] {
        let more = "-q -c 2 --successes-only -O json -f saddr,udp_pkt_size,data";
        let scanned = lab.survey(&format!("--io-mode {mode} {scan} {more} 198.18.0.0/28"));
        assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        let mut found = BTreeSet::new();
        for line in scanned.results.lines() {
            let reply: serde_json::Value = serde_json::from_str(line).unwrap();
            let address: Ipv4Addr = reply["saddr"].as_str().unwrap().parse().unwrap();
            let len = hosts.iter().find(|host| host.0 == address).unwrap().1;
            assert_eq!(reply["udp_pkt_size"], 8 + len, "the length of the whole");
            // What the first fragment holds.
            assert_eq!(reply["data"].as_str().unwrap().len(), 2 * len.min(1_472), "{mode}");
            found.insert(address.to_string());
        }
        assert_eq!(found, all, "{mode}");
        assert_eq!(scanned.number("/ip_fragments"), 8, "{mode}: the later ones");
    }
    let theirs = zmap(&lab, &format!("{} 198.18.0.0/28", scan.replace("args ", "args=")), |written| {
        lines(written).len() >= 12
    });
    assert_eq!(lines(&theirs), all);
    responder.stop();
}
