//! Surveys through a real veth pair: the kernel's AF_XDP on one side, nginx and the kernel's TCP on the other.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, connect, sendto, setsockopt,
    socket, sockopt::ReuseAddr,
};
use nix::unistd::Pid;
use support::{Lab, Scanned, have_root, run};

/// 240 servers, spread over the half that resets and the half that is silent.
fn servers() -> Vec<Ipv4Addr> {
    (0..240u32).map(|i| Ipv4Addr::from(0xc612_0000 + i * 271 + 5)).collect()
}

/// What a survey of 198.18.0.0/16 on port 80 must find: each server, and a reset from the rest of the lower half.
fn truth(servers: &[Ipv4Addr]) -> BTreeSet<String> {
    let open: BTreeSet<u32> = servers.iter().map(|&address| address.into()).collect();
    let resets = (0xc612_0000..0xc612_8000u32).filter(|address| !open.contains(address));
    let line = |address: u32, what: &str| format!("{},80,{what}", Ipv4Addr::from(address));
    let resets = resets.map(|address| line(address, "rst,0"));
    open.iter().map(|&address| line(address, "synack,1")).chain(resets).collect()
}

const FIELDS: &str = "-f saddr,sport,classification,success";

/// The books of a scan that lost nothing: every frame is accounted for, from target to output line.
fn check_ledger(scanned: &Scanned, targets: u64) {
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.number("/targets_scanned"), targets);
    assert_eq!(scanned.number("/packets_sent"), targets);
    assert_eq!(scanned.number("/counters/tx_submitted"), targets);
    let replies = scanned.number("/counters/rx_synack") + scanned.number("/counters/rx_rst");
    assert_eq!(scanned.number("/counters/rx_frames"), replies + scanned.number("/counters/rx_invalid"));
    assert_eq!(scanned.number("/counters/rx_invalid"), 0, "the XDP program and the worker disagree");
    assert_eq!(scanned.number("/xdp_counters/valid_redirected"), replies);
    assert_eq!(scanned.number("/success_total") + scanned.number("/failure_total"), replies);
    assert_eq!(scanned.number("/counters/rx_record_drops"), 0);
    let resets = ["rst_submitted", "rst_capped", "rst_no_room"]
        .map(|name| scanned.number(&format!("/counters/{name}")));
    assert_eq!(resets.iter().sum::<u64>(), scanned.number("/counters/rx_synack"));
    assert_eq!(scanned.number("/counters/rst_sent"), resets[0]);
}

/// Exactly the responders that exist, none missing and none extra, over 65,536 targets: with 1, 2 and 4 queues, with one
/// worker on four queues, in native and in generic mode.
#[test]
fn finds_exactly_who_is_there() {
    if !have_root("finds_exactly_who_is_there") {
        return;
    }
    let servers = servers();
    let truth = truth(&servers);
    for (queues, options, mode) in [
        (1, "", "copy"),
        (2, "", "copy"),
        (4, "", "copy"),
        (4, "-T 1", "copy"),
        (4, "-T 2 --io-mode generic", "generic"),
    ] {
        let mut lab = Lab::new(queues);
        lab.start_nginx(&servers);
        let scanned = lab.survey(&format!("-p 80 -r 40000 -c 2 -q {FIELDS} {options} 198.18.0.0/16"));
        let found = scanned.lines();
        let missing: Vec<_> = truth.difference(&found).take(5).collect();
        let extra: Vec<_> = found.difference(&truth).take(5).collect();
        let case = format!("{queues} queues {options}");
        assert!(missing.is_empty() && extra.is_empty(), "{case}: missing {missing:?}, extra {extra:?}");
        check_ledger(&scanned, 65_536);
        assert_eq!(scanned.metadata["io_mode"], mode, "{case}");
        assert_eq!(scanned.number("/rx_queues"), u64::from(queues));
        assert_eq!(scanned.number("/counters/rst_sent"), servers.len() as u64, "{case}");
        let half_open = lab.in_ns(&lab.net, "ss", ["-Htn", "state", "syn-recv"]);
        assert_eq!(half_open, "", "{case}: the resets left connections half open");
        assert!(!lab.has_xdp());
    }
}

/// What is written unless asked otherwise: bare addresses of servers, each once, no header; and JSON holds the same.
#[test]
fn default_output_is_zmaps() {
    if !have_root("default_output_is_zmaps") {
        return;
    }
    let servers = servers();
    let mut lab = Lab::new(2);
    lab.start_nginx(&servers);
    let expected: BTreeSet<String> = servers.iter().map(ToString::to_string).collect();
    let scanned = lab.survey("-p 80 -P 2 -r 40000 -c 1 -q 198.18.0.0/16");
    let lines: Vec<_> = scanned.results.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), servers.len(), "repeats are left out");
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(scanned.number("/packets_sent"), 2 * 65_536);
    assert_eq!(scanned.number("/success_unique"), servers.len() as u64);
    let json = lab
        .survey("-p 80 -r 40000 -c 1 -q -O json --successes-only -f saddr,sport,ttl,success 198.18.0.0/16");
    let addresses = json.results.lines().map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&value["sport"], &value["ttl"]), (&80.into(), &64.into()), "{line}");
        value["saddr"].as_str().unwrap().to_owned()
    });
    assert_eq!(addresses.collect::<BTreeSet<_>>(), expected);
}

/// Echoes over a connection ten times a second until told to stop; the round trips, or what went wrong.
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

/// Sends forged SYN-ACKs from addresses of the silent half to ports of the scan, until told to stop.
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

/// A minute of scanning at full speed: the host's own connections through the same interface, one of them from a port
/// of the scan, see no reset and answer in time; forged replies are counted and never become results.
#[test]
fn the_host_stays_reachable() {
    if !have_root("the_host_stays_reachable") {
        return;
    }
    let seconds = 60;
    let lab = Lab::new(4);
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
    let scanned = lab.survey(&format!("-p 1-1000 -r 0 -t {seconds} -c 2 -q {FIELDS} 198.18.0.0/16"));
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
    assert!(scanned.number("/packets_sent") > 1_000_000, "full speed: {}", scanned.number("/packets_sent"));
    let forged = forged.load(Ordering::Relaxed);
    let counted = scanned.number("/xdp_counters/pass_bad_cookie");
    assert!(
        forged > 1000 && counted > forged / 2 && counted <= forged,
        "{counted} of {forged} forged were counted"
    );
    // The forger speaks for 198.18.200.0 to 198.18.203.231, from which nobody else answers.
    let forged_result = |line: &str| (200..=203).any(|octet| line.starts_with(&format!("198.18.{octet}.")));
    assert!(!scanned.results.lines().any(forged_result), "a forged reply became a result");
    assert_eq!(scanned.number("/counters/rx_synack"), 0);
}

/// Ctrl-C ends sending, waits for late replies, writes everything and says so by its exit code; a second one skips the
/// wait.
#[test]
fn an_interrupt_loses_nothing() {
    if !have_root("an_interrupt_loses_nothing") {
        return;
    }
    let lab = Lab::new(2);
    for (cooldown, second) in [("1", false), ("30", true)] {
        let (results, metadata) = (lab.folder.path().join("results"), lab.folder.path().join("metadata"));
        let mut command = lab.xdpmap(&format!("-p 80 -r 2000 -c {cooldown} {FIELDS} 198.18.0.0/17"));
        command.arg("-o").arg(&results).arg("-m").arg(&metadata).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let sending = |line: &String| line.contains("send: ");
        assert!(log.any(|line| line.is_ok_and(|line| sending(&line))), "a status line");
        kill(pid, Signal::SIGINT).unwrap();
        if second {
            assert!(log.any(|line| line.is_ok_and(|line| line.contains("interrupted"))));
            kill(pid, Signal::SIGINT).unwrap();
        }
        let started = Instant::now();
        log.for_each(drop);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(started.elapsed() < Duration::from_secs(10), "the second interrupt skips the cooldown");
        let metadata: serde_json::Value = serde_json::from_str(&support::read(&metadata)).unwrap();
        assert_eq!(metadata["end_reason"], "interrupted");
        assert_eq!(metadata["exit_code"], 130);
        let lines = support::read(&results).lines().count() as u64;
        assert_eq!(
            metadata["packets_sent"],
            lines - 1,
            "all of the lower half answer, and all answers are written"
        );
        assert!(!lab.has_xdp());
    }
}

/// `kill -9` in mid-scan leaves no program on the interface, and a new scan starts at once.
#[test]
fn a_killed_scan_leaves_nothing() {
    if !have_root("a_killed_scan_leaves_nothing") {
        return;
    }
    let lab = Lab::new(4);
    let mut child =
        lab.xdpmap("-p 80 -r 1000 -o /dev/null 198.18.0.0/16").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.is_ok_and(|line| line.contains("send: "))), "a status line");
    assert!(lab.has_xdp());
    child.kill().unwrap();
    child.wait().unwrap();
    let scanned = lab.survey(&format!("-p 80 -n 100 -c 1 -q {FIELDS} 198.18.0.0/17"));
    assert_eq!(scanned.lines().len(), 100, "{}", scanned.stderr());
    check_ledger(&scanned, 100);
    assert!(!lab.has_xdp());
}

/// A second scan on the same interface, and a foreign program there, are refused in one line that says what to do;
/// nothing is written.
#[test]
fn a_taken_interface_is_refused() {
    if !have_root("a_taken_interface_is_refused") {
        return;
    }
    let lab = Lab::new(2);
    let mut first =
        lab.xdpmap("-p 80 -r 100 -o /dev/null 198.18.0.0/16").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(first.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.is_ok_and(|line| line.contains("send: "))), "a status line");
    let second = lab.survey("-p 80 -n 1 198.18.0.0/17");
    let stderr = second.stderr();
    assert_eq!(second.output.status.code(), Some(4), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("scan0") && stderr.contains("XDP program") && stderr.contains("xdp off"),
        "{stderr}"
    );
    assert_eq!((second.results.as_str(), second.metadata), ("", serde_json::Value::Null));
    kill(Pid::from_raw(first.id().cast_signed()), Signal::SIGINT).unwrap();
    kill(Pid::from_raw(first.id().cast_signed()), Signal::SIGINT).unwrap();
    first.wait().unwrap();
}

/// A reader that goes away ends the scan quietly and early.
#[test]
fn a_closed_pipe_ends_quietly() {
    if !have_root("a_closed_pipe_ends_quietly") {
        return;
    }
    let lab = Lab::new(1);
    let mut child = lab
        .xdpmap("-p 80 -r 2000 -c 1 -q -v 1 -f saddr 198.18.0.0/17")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "saddr");
    assert!(lines.next().unwrap().unwrap().starts_with("198.18."));
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// What one side of the wire saw: every TCP segment, as tshark reads it.
struct Capture {
    /// (address, port, source port, IP checksum good, TCP checksum good, malformed), for SYNs.
    syns: Vec<(Ipv4Addr, u16)>,
    bad: Vec<String>,
}

/// Captures on the far side while `work` runs.
fn captured(lab: &mut Lab, work: impl FnOnce(&Lab)) -> Capture {
    let file = lab.folder.path().join("capture");
    let log = lab.folder.path().join("capture.log");
    let mut command = std::process::Command::new("ip");
    command.args([
        "netns",
        "exec",
        &lab.net,
        "tcpdump",
        "-i",
        "net0",
        "-Z",
        "root",
        "-s",
        "96",
        "-B",
        "65536",
        "--immediate-mode",
    ]);
    command.args(["-U", "-w"]).arg(&file).arg("tcp").stderr(std::fs::File::create(&log).unwrap());
    let mut tcpdump = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !support::read(&log).contains("listening on") {
        assert!(Instant::now() < deadline, "{}", support::read(&log));
        std::thread::sleep(Duration::from_millis(20));
    }
    work(lab);
    std::thread::sleep(Duration::from_millis(300));
    kill(Pid::from_raw(tcpdump.id().cast_signed()), Signal::SIGINT).unwrap();
    tcpdump.wait().unwrap();
    assert!(support::read(&log).contains("0 packets dropped by kernel"), "{}", support::read(&log));
    let fields = "-T fields -e ip.src -e ip.dst -e tcp.dstport -e tcp.flags -e ip.checksum.status -e tcp.checksum.status \
                  -e _ws.malformed -e _ws.expert.severity -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE";
    let file = file.to_string_lossy().into_owned();
    let text = run("tshark", ["-n", "-r", &file].into_iter().chain(fields.split_whitespace()));
    let mut capture = Capture { syns: vec![], bad: vec![] };
    for line in text.lines() {
        let column: Vec<&str> = line.split('\t').collect();
        if column[0] != "198.19.0.1" {
            continue;
        }
        let [good, malformed] = [column[4] == "1" && column[5] == "1", !column[6].is_empty()];
        if !good || malformed {
            capture.bad.push(line.to_owned());
        }
        if column[3] == "0x0002" {
            capture.syns.push((column[1].parse().unwrap(), column[2].parse().unwrap()));
        }
    }
    capture
}

/// Three shards, with different numbers of workers and rates, probe each target once on the wire.
#[test]
fn shards_together_probe_each_target_once() {
    if !have_root("shards_together_probe_each_target_once") {
        return;
    }
    let mut lab = Lab::new(4);
    let capture = captured(&mut lab, |lab| {
        for (shard, options) in [(0, "-T 1 -r 5000"), (1, "-T 2 -r 9000"), (2, "-T 4 -r 7000")] {
            let scanned = lab.survey(&format!(
                "-p 80,443 -e 7 --shards 3 --shard {shard} -c 0 -q {options} 198.18.0.0/19"
            ));
            assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        }
    });
    assert_eq!(capture.syns.len(), 2 * 8192);
    let expected: BTreeSet<_> =
        (0xc612_0000..0xc612_2000u32).flat_map(|a| [80, 443].map(|port| (Ipv4Addr::from(a), port))).collect();
    assert_eq!(capture.syns.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(capture.bad, Vec::<String>::new());
}

/// `-n 1000 -e 7` probes the same thousand targets with any number of workers.
#[test]
fn max_targets_does_not_depend_on_workers() {
    if !have_root("max_targets_does_not_depend_on_workers") {
        return;
    }
    let mut sets = vec![];
    for workers in [1, 2, 4] {
        let mut lab = Lab::new(4);
        let capture = captured(&mut lab, |lab| {
            let scanned = lab.survey(&format!("-p 80 -n 1000 -e 7 -c 0 -q -T {workers} 198.18.0.0/16"));
            assert_eq!(scanned.metadata["end_reason"], "max-targets");
            assert_eq!(scanned.number("/senders"), workers);
        });
        assert_eq!(capture.syns.len(), 1000);
        sets.push(capture.syns.into_iter().collect::<BTreeSet<_>>());
    }
    assert!(sets[0].len() == 1000 && sets[0] == sets[1] && sets[1] == sets[2]);
}

/// tshark finds every probe and reset of every option layout well formed, with right checksums.
#[test]
fn frames_are_right_on_the_wire() {
    if !have_root("frames_are_right_on_the_wire") {
        return;
    }
    let servers = servers();
    for layout in ["windows", "smallest-probes", "linux", "bsd"] {
        let mut lab = Lab::new(2);
        lab.start_nginx(&servers);
        let capture = captured(&mut lab, |lab| {
            let options = format!("-p 80 -P 2 -r 20000 -n 10000 -c 1 -q --probe-args {layout} 198.18.0.0/16");
            let scanned = lab.survey(&options);
            assert!(scanned.number("/counters/rst_sent") > 0, "{}", scanned.stderr());
        });
        assert_eq!(capture.syns.len(), 20_000, "{layout}");
        assert_eq!(capture.bad, Vec::<String>::new(), "{layout}");
    }
}
