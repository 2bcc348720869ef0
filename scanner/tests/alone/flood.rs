//! A flood of forged replies, a million per second if the machine can: against the modules with the most and the fewest
//! bits of proof. `XDPMAP_TEST_FLOOD_SECONDS` makes each flood longer.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::{HOSTS, Lab, have_root};
use support::drops::dropped;
use support::truth::{FIELDS, truth, within};
use support::{Scans as _, read};

use crate::forger::{FIRST, Forged, Forger, PORTS, TARGETS};

/// Half of these exist.
const NETWORKS: [&str; 2] = ["198.18.96.0/19", "198.18.128.0/19"];
/// Forged replies per second.
const RATE_PPS: u32 = 1_100_000;
/// Most that the scanner's memory may grow during a flood: its table of answers takes 2 MiB at once, and rings are
/// filled for the first time. In a long flood, a byte for each forged reply would be more.
const GROWTH_KIB: u64 = 5_120;

fn seconds() -> u32 {
    std::env::var("XDPMAP_TEST_FLOOD_SECONDS").map_or(4, |text| text.parse().expect("a number"))
}

/// Asks the scanning host over UDP ten times per second until stopped. Returns how many of how many questions were
/// answered within a second, and the longest that one took.
fn ask(stop: &AtomicBool) -> (u32, u32, Duration) {
    let socket = UdpSocket::bind("198.19.0.2:0").unwrap();
    socket.connect("198.19.0.1:7777").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let (mut asked, mut answered, mut longest) = (0_u32, 0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        asked += 1;
        let began = Instant::now();
        socket.send(&asked.to_be_bytes()).unwrap();
        let mut answer = [0; 4];
        // Answers to earlier questions do not count.
        while let Ok(4) = socket.recv(&mut answer) {
            if answer == asked.to_be_bytes() {
                answered += 1;
                longest = longest.max(began.elapsed());
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    (answered, asked, longest)
}

/// Sends back each datagram to these addresses until stopped, and nothing else.
fn echo(lab: &Lab, ns: &str, addresses: &[String], stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let start = |address: &String| {
        let (address, stop) = (address.clone(), Arc::clone(stop));
        let socket = lab.thread_in(ns, move || UdpSocket::bind(address).unwrap()).join().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..len], from);
                }
            }
        })
    };
    addresses.iter().map(start).collect()
}

/// The memory of a process that is in use, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = read(format!("/proc/{pid}/status").as_ref());
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// What a scan under a flood has found, and how many replies were forged and arrived.
struct Flooded {
    lines: Vec<String>,
    metadata: serde_json::Value,
    counted: u64,
    /// Frames that were lost in the lab.
    dropped: u64,
}

impl Flooded {
    /// Checks that nothing else was found, each host once, and nobody missed but for what the lab itself has dropped.
    #[track_caller]
    fn check(&self, truth: &BTreeSet<String>) {
        let found: BTreeSet<String> = self.lines.iter().cloned().collect();
        let extra: Vec<_> = found.difference(truth).take(5).collect();
        assert!(extra.is_empty() && found.len() == self.lines.len(), "forged: {extra:?}");
        let missing = truth.difference(&found).count() as u64;
        assert!(
            missing <= self.dropped && missing * 10 <= truth.len() as u64,
            "{missing} of {} are missing, and the lab has dropped {} frames",
            truth.len(),
            self.dropped
        );
    }
}

/// A scan whose replies are forged from a second after its start until its end: memory is flat, and the host can be
/// reached.
fn flooded(lab: &Lab, forged: Forged, arguments: &str) -> Flooded {
    let stop = Arc::new(AtomicBool::new(false));
    let forger = Forger::load(lab, forged, RATE_PPS);
    let mut threads = echo(lab, &lab.scan, &["198.19.0.1:7777".to_owned()], &stop);
    if forged == Forged::Datagram {
        threads.extend(echo(lab, &lab.net, &responders(), &stop));
    }
    let [results, metadata] = ["results", "metadata"].map(|name| lab.folder().join(name));
    let mut command =
        lab.xdpmap(&format!("-r {} -c 2 {arguments} {}", TARGETS / seconds(), NETWORKS.join(" ")));
    command.arg("-o").arg(&results).arg("-m").arg(&metadata).stderr(Stdio::piped());
    let mut scan = command.spawn().unwrap();
    let mut log = BufReader::new(scan.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("send: ")), "a status line");
    let dropped_before = dropped(lab);
    let ask_stop = Arc::clone(&stop);
    let began = Instant::now();
    let forger = forger.start(lab, &stop);
    let asker = lab.thread_in(&lab.net, move || ask(&ask_stop));
    let reading = std::thread::spawn(move || log.collect::<Vec<_>>().join("\n"));
    let mut resident = vec![];
    while scan.try_wait().unwrap().is_none() {
        resident.push(resident_kib(scan.id()));
        std::thread::sleep(Duration::from_millis(200));
    }
    let lasted = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (sent, (answered, asked, longest)) = (forger.join().unwrap(), asker.join().unwrap());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let log = reading.join().unwrap();
    assert_eq!(scan.wait().unwrap().code(), Some(0), "{log}");
    let metadata = support::ledger::metadata(&metadata);
    let dropped = dropped(lab) - dropped_before;
    let counted = metadata["xdp_counters"]["pass_bad_cookie"].as_u64().unwrap();
    // At its end the process gives its memory back.
    let (first, most) = (resident[0], *resident.iter().max().unwrap());
    eprintln!(
        "{arguments}: {:.0} forged replies per second judged for {:.1} s, {counted} of {sent}; {first} to {most} KiB; \
         {answered} of {asked} questions answered, {longest:?} at most; {dropped} frames dropped",
        counted as f64 / lasted.as_secs_f64(),
        lasted.as_secs_f64()
    );
    assert!(sent > 50_000 * u64::from(seconds()), "only {sent} forged replies");
    assert!(counted > sent / 2, "{counted} of {sent} forged replies were judged");
    assert!(most - first < GROWTH_KIB, "memory: {resident:?} KiB");
    assert!(answered * 10 >= asked * 9 && asked > 3 * seconds(), "{answered} of {asked} questions answered");
    for name in ["rx_record_drops", "rx_socket_drops", "rx_invalid"] {
        assert_eq!(metadata["counters"][name], 0, "{name}: {log}");
    }
    let lines = read(&results).lines().skip(1).map(str::to_owned).collect();
    Flooded { lines, metadata, counted, dropped }
}

/// Hosts that answer datagrams.
fn responders() -> Vec<String> {
    (0..16).map(|number| format!("{}:9", Ipv4Addr::from(FIRST + 17 + 311 * number))).collect()
}

/// No forged SYN-ACK is a result, and nobody is missed.
#[test]
fn forged_syn_acks_are_no_results() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let lab = Lab::new(2);
    lab.start_nginx(&servers);
    // The far side has the processors of this one: resets by the host to each forged SYN-ACK would occupy both.
    let rule = "table ip t { chain c { type filter hook prerouting priority raw; \
                tcp flags & (syn | ack) == syn | ack drop; }; }";
    lab.in_ns(&lab.scan, "nft", [rule]);
    let flooded = flooded(&lab, Forged::SynAck, &format!("-p 80 {FIELDS}"));
    let truth = within(&truth(HOSTS, &servers), &NETWORKS);
    flooded.check(&truth);
}

/// No forged echo reply is a result, and nobody is missed.
#[test]
fn forged_echo_replies_are_no_results() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let flooded = flooded(&lab, Forged::EchoReply, "-M icmp_echoscan --successes-only -f saddr");
    let truth: BTreeSet<String> =
        (FIRST..FIRST + TARGETS / 2).map(|address| Ipv4Addr::from(address).to_string()).collect();
    flooded.check(&truth);
}

/// Of forged datagrams as many pass as the arithmetic of `docs/security.md` says, since a source port is all that they
/// have to guess. Nobody is missed.
#[test]
fn forged_datagrams_pass_as_the_arithmetic_says() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let flooded = flooded(
        &lab,
        Forged::Datagram,
        "-M udp --probe-args text:x -p 9 --successes-only --dedup-method none -f saddr",
    );
    let truth: BTreeSet<String> =
        responders().iter().map(|address| address.trim_end_matches(":9").to_owned()).collect();
    let found: BTreeSet<String> = flooded.lines.iter().cloned().collect();
    assert!(truth.is_subset(&found), "missing {:?}", truth.difference(&found));
    let passed = (flooded.lines.len() - truth.len()) as f64;
    let expected = flooded.counted as f64 / f64::from(PORTS.1);
    assert_eq!(flooded.metadata["answer_bits"], 14.8);
    let deviation = 6.0 * expected.sqrt();
    assert!((passed - expected).abs() < deviation, "{passed} passed, and {expected:.0} are to be expected");
}
