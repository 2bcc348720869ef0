//! The ledger: the table, status updates, and losses that are forced at each place where a lab can force them. Others
//! are forced where their cause is tested; `docs/reference/ledger.md` names a test for each row.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::{HOSTS, Lab, have_root, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::frames::{BURST, Frames};
use support::running::Running;
use support::{Scans as _, ledger, read};

use crate::books::hold;

/// The silent half of the lab, where only the responder of a test answers.
const SILENT: &str = "198.18.128.0/19";
const TARGETS: usize = 8_192;
/// Where things are in a frame of a SYN: the addresses' last part begins the half that is silent.
const DESTINATION: usize = 14 + 16;
/// Bytes of an answer.
const FRAME_LEN: usize = 256;

/// Makes the SYN-ACK of a SYN for the silent half out of it. The scanner does not test checksums.
fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let is_syn = frame.len() >= 54 && frame[12..14] == [8, 0] && frame[23] == 6 && frame[47] == 2;
    if !is_syn || frame[DESTINATION + 2] < 128 {
        return None;
    }
    // As long as what is kept of a frame, so that rings fill up soon.
    let mut answer = vec![0; FRAME_LEN];
    answer[..54].copy_from_slice(&frame[..54]);
    answer[..6].copy_from_slice(&frame[6..12]);
    answer[6..12].copy_from_slice(&frame[..6]);
    answer[16..18].copy_from_slice(&(FRAME_LEN as u16 - 14).to_be_bytes());
    answer[26..30].copy_from_slice(&frame[DESTINATION..DESTINATION + 4]);
    answer[30..34].copy_from_slice(&frame[26..30]);
    answer[34..36].copy_from_slice(&frame[36..38]);
    answer[36..38].copy_from_slice(&frame[34..36]);
    let sequence = u32::from_be_bytes(frame[38..42].try_into().ok()?);
    answer[42..46].copy_from_slice(&sequence.wrapping_add(1).to_be_bytes());
    (answer[46], answer[47]) = (5 << 4, 0x12);
    Some(answer)
}

/// Keeps the answers to all probes until `go`, and then sends each of them this many times. Returns how many the driver
/// has accepted.
fn answer_later(go: &AtomicBool, times: usize) -> u64 {
    let mut frames = Frames::open("net0", true);
    frames.keep(Duration::from_secs(4), 20_000);
    let (mut buffer, mut answers, mut sent) = (vec![0; 2_048], vec![], 0);
    while !go.load(Ordering::Relaxed) {
        answers.extend(frames.receive(&mut buffer).and_then(answer));
    }
    for _ in 0..times {
        for burst in answers.chunks(BURST) {
            let mut left = burst;
            while !left.is_empty() {
                let accepted = frames.send(left);
                sent += accepted as u64;
                left = &left[accepted..];
            }
        }
    }
    sent
}

/// Replies that come while the scanner does not run, and for which its rings have no room: each is counted once, by the
/// kernel, and a line says what to do. All others are found.
#[test]
fn what_the_rings_have_no_room_for() {
    if !have_root() {
        return;
    }
    for (mode, times, account) in [("copy", 4, "sockets"), ("packet", 16, "packet_sockets")] {
        let lab = Lab::new(1);
        let go = Arc::new(AtomicBool::new(false));
        let going = Arc::clone(&go);
        let responder = lab.thread_in(&lab.net, move || answer_later(&going, times));
        std::thread::sleep(Duration::from_millis(200));
        let options = format!("-p 80 -r 10000 -c 4 --io-mode {mode} -f saddr,repeat {SILENT}");
        let mut scan = Running::start(&lab, &options);
        // All probes have left, and nothing has come back.
        scan.wait_for(" done ");
        let pid = Pid::from_raw(scan.child.id().cast_signed());
        kill(pid, Signal::SIGSTOP).unwrap();
        go.store(true, Ordering::Relaxed);
        let sent = responder.join().unwrap();
        kill(pid, Signal::SIGCONT).unwrap();
        let scanned = scan.finish();
        let log = scanned.stderr();
        assert_eq!(scanned.output.status.code(), Some(0), "{mode}: {log}");
        assert_eq!(sent, (times * TARGETS) as u64, "{mode}: the responder");
        let lost = scanned.row(account, "ring_full")
            + if account == "sockets" { scanned.row(account, "dropped") } else { 0 };
        let replies = scanned.number("/ledger/accounts/replies/total");
        assert!(lost > 1_000 && replies > 1_000, "{mode}: {lost} lost, {replies} received: {log}");
        assert_eq!(lost + replies, sent, "{mode}: {log}");
        assert!(log.contains(&format!("WARN] summary: {lost} replies were lost in the kernel")), "{log}");
        assert!(log.contains("use more queues or workers (-T), or a lower rate"), "{log}");
        assert_eq!(scanned.number("/pcap_drop"), lost, "{mode}");
    }
}

/// Replies that pass the filter once there are as many results as requested are not written, and are counted.
#[test]
fn what_comes_past_the_limit() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let scanned = lab.survey("-p 80 -r 20000 -c 1 -q -f saddr --max-results 10 198.18.0.0/17");
    assert_eq!(scanned.metadata["end_reason"], "max-results", "{}", scanned.stderr());
    assert_eq!((scanned.lines().len(), scanned.row("output-1", "written")), (10, 10));
    let past = scanned.row("results", "past_limit");
    assert!(past > 0, "{}", scanned.metadata["ledger"]);
    assert_eq!(scanned.number("/ledger/accounts/results/total"), 10 + past);
}

/// Of hosts that answer on every port only the first ports are written, also when the scan goes on after an
/// interruption; the rest is counted. Hosts that answer on few ports are not concerned.
#[test]
fn what_comes_past_the_ports_of_a_host() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    // A RST is a success of this module, so each host answers on all of 20 ports.
    let common =
        "-M tcp_synackscan -p 1-20 -c 1 -q -f saddr,sport,classification,success,repeat --successes-only";
    let ports = |lines: &BTreeSet<String>| {
        let mut ports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in lines.iter().filter(|line| !line.starts_with("saddr")) {
            let mut cells = line.split(',').map(str::to_owned);
            let (host, port) = (cells.next().unwrap(), cells.next().unwrap());
            assert!(ports.entry(host).or_default().insert(port), "{line} is twice");
        }
        ports
    };
    let scanned = lab.survey(&format!("{common} -r 20000 --max-ports-per-host 3 198.18.0.0/24"));
    let (found, hosts) = (ports(&scanned.lines()), 256);
    assert_eq!(found.len(), hosts);
    assert!(found.values().all(|ports| ports.len() == 3), "{found:?}");
    assert_eq!(scanned.row("results", "past_ports"), (hosts * 17) as u64, "{}", scanned.metadata["ledger"]);
    assert_eq!(scanned.number("/success_unique"), (hosts * 20) as u64);
    let log = scanned.stderr();
    assert!(log.contains(&format!("{} answers of {hosts} hosts are left out", hosts * 17)), "{log}");
    let scanned = lab.survey(&format!("{common} -r 20000 --max-ports-per-host 20 198.18.0.0/28"));
    assert_eq!((scanned.lines().len(), scanned.row("results", "past_ports")), (16 * 20, 0));

    let [results, metadata] = ["parts.csv", "parts.json"].map(|name| lab.folder().join(name));
    let mut scan = lab
        .xdpmap(&format!("{common} --max-ports-per-host 3 --checkpoint-interval 0.1 -r 4000 198.18.0.0/23"));
    let mut scan =
        scan.arg("-o").arg(&results).arg("-m").arg(&metadata).stderr(Stdio::null()).spawn().unwrap();
    let checkpoint = results.with_extension("csv.xdpmap");
    crate::checkpoint::into_sending(&checkpoint, 1_200);
    scan.kill().unwrap();
    scan.wait().unwrap();
    let output = crate::checkpoint::resume(&lab, &checkpoint, "-r 20000").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: BTreeSet<String> = read(&results).lines().map(str::to_owned).collect();
    let found = ports(&lines);
    assert_eq!(found.len(), 512);
    assert!(found.values().all(|ports| ports.len() == 3), "{found:?}");
}

/// Repeats give way to first answers while the output accepts nothing, and are counted; nobody is missed.
#[test]
fn repeats_give_way() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let go = Arc::new(AtomicBool::new(false));
    let going = Arc::clone(&go);
    let responder = lab.thread_in(&lab.net, move || answer_later(&going, 48));
    std::thread::sleep(Duration::from_millis(200));
    let metadata = lab.folder().join("metadata");
    // Longer lines: the pipe and the buffers before it hold fewer of them.
    let fields =
        "saddr,daddr,sport,dport,seqnum,acknum,window,classification,success,timestamp_str,timestamp_ts";
    let options = format!("-p 80 -r 4000 -c 8 --successes-only -f {fields} 198.18.128.0/20");
    let mut command = lab.xdpmap(&options);
    command.arg("-m").arg(&metadata).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut scan = command.spawn().unwrap();
    let mut log = BufReader::new(scan.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains(" done ")));
    go.store(true, Ordering::Relaxed);
    assert!(responder.join().unwrap() > 0);
    // Nothing is read before that.
    assert!(log.any(|line| line.contains("the scan is over;")));
    let results = BufReader::new(scan.stdout.take().unwrap()).lines().count() - 1;
    let said: Vec<String> = log.collect();
    assert_eq!(scan.wait().unwrap().code(), Some(0), "{said:#?}");
    let metadata = ledger::metadata(&metadata);
    let repeats = ledger::row(&metadata, "replies", "repeats");
    assert!(repeats > 1_000, "{}", metadata["ledger"]);
    assert_eq!(ledger::row(&metadata, "replies", "ring_full"), 0, "{}", metadata["ledger"]);
    assert_eq!(results, 4_096, "nobody is missed: {}", metadata["ledger"]);
    let told = format!("{repeats} repeats were dropped early because the output was slow");
    assert!(said.iter().any(|line| line.contains(&told)), "{said:#?}");
}

/// Resets that are never completed, because the far side keeps them, and those that find no room behind them. All
/// probes have been completed before: some kernels complete frames in their order only.
#[test]
fn resets_that_stay_in_a_queue() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    // Segments with RST, which stands in the 14th byte behind an IP header of 20.
    hold(&lab, "match ip protocol 6 0xff match u8 0x04 0x04 at 33");
    let go = Arc::new(AtomicBool::new(false));
    let going = Arc::clone(&go);
    let responder = lab.thread_in(&lab.net, move || answer_later(&going, 1));
    std::thread::sleep(Duration::from_millis(200));
    let mut scan = Running::start(&lab, &format!("-p 80 -r 10000 -c 4 --io-mode copy {SILENT}"));
    scan.wait_for(" done ");
    go.store(true, Ordering::Relaxed);
    responder.join().unwrap();
    let scanned = scan.finish();
    let log = scanned.stderr();
    assert_eq!(scanned.output.status.code(), Some(0), "{log}");
    let [stayed, no_room] = [scanned.row("reset_frames", "unconfirmed"), scanned.row("resets", "no_room")];
    assert!(stayed > 100 && no_room > 0, "{}: {log}", scanned.metadata["ledger"]);
    assert!(log.contains(&format!("{} resets were not sent", stayed + no_room)), "{log}");
    assert_eq!(scanned.row("probes", "completed"), TARGETS as u64, "{log}");
}

/// Resets that the kernel refuses each time are given up in the end, and are no loss of results.
#[test]
fn resets_that_are_refused() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    run("ip", ["-n", &lab.net, "route", "add", "203.0.113.0/24", "via", "198.19.0.1"]);
    lab.start_nginx(&HOSTS.servers());
    let rule = "table netdev t { chain e { type filter hook egress device scan0 priority 0; tcp flags & rst == rst drop; }; }";
    lab.in_ns(&lab.scan, "nft", [rule]);
    let scanned = lab.survey("-p 80 -r 10000 -c 1 -q --io-mode packet -S 203.0.113.5 198.18.0.0/18");
    let log = scanned.stderr();
    assert_eq!(scanned.output.status.code(), Some(0), "{log}");
    let [lost, refused] = ["lost", "refused"].map(|row| scanned.row("reset_frames", row));
    assert!(lost > 0 && refused > 0, "{}", scanned.metadata["ledger"]);
    assert_eq!(scanned.row("probes", "completed"), 1 << 14, "{log}");
    assert!(log.contains(" resets were not sent"), "{log}");
}

/// Results of two outputs, one of which is full: each has an account of its own.
#[test]
fn each_output_has_its_account() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    // A header row would fail before the first packet.
    let options = "-p 80 -r 10000 -c 1 -q -f saddr --no-header-row -O csv -O json -o /dev/full";
    let scanned = lab.survey(&format!("{options} 198.18.0.0/20"));
    let log = scanned.stderr();
    assert_eq!(scanned.output.status.code(), Some(1), "{log}");
    assert_eq!(scanned.row("output-1", "written"), 0, "{log}");
    let [lost, written] = [scanned.row("output-1", "lost"), scanned.row("output-2", "written")];
    assert!(
        lost > 0 && written > 0 && scanned.row("output-2", "lost") == 0,
        "{}",
        scanned.metadata["ledger"]
    );
    assert_eq!(scanned.number("/output_lost"), lost);
    assert_eq!(written, scanned.results.lines().count() as u64, "{log}");
    assert!(log.contains(&format!("ERROR] summary: {lost} results were lost with the output")), "{log}");
}

/// `--ledger` prints the table, on standard error and for 80 columns, and puts the ledger into status updates as JSON.
/// ZMap's columns stay as they are.
#[test]
fn the_table_and_the_status_updates() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let scan = |options: &str, status: &str| {
        let file = lab.folder().join(status);
        let options = format!("-p 80 -r 4000 -c 1 -q {options} -u {} 198.18.0.0/19", file.display());
        let scanned = lab.survey(&options);
        assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        (scanned, read(&file))
    };
    let (scanned, status) = scan("--ledger", "status.jsonl");
    let log = scanned.stderr();
    let table: Vec<&str> = log.lines().skip_while(|line| !line.starts_with("Ledger: ")).collect();
    assert!(table.iter().all(|line| line.chars().count() <= 80), "{log}");
    assert!(table.last().is_some_and(|line| line.ends_with(": all hold")), "{log}");
    let has = |name: &str, count: &str| table.iter().any(|line| line.contains(name) && line.ends_with(count));
    assert!(has("targets that the order gave", " 8,192") && has("  completed", " 8,192"), "{log}");
    assert!(has("frames redirected to AF_XDP sockets", " 8,192"), "{log}");
    assert!(table.iter().any(|line| line.starts_with("Beside it, what scan0 counted")), "{log}");
    let updates: Vec<Value> = status.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(updates.len() >= 3, "{status}");
    let completed = |update: &Value| {
        let probes = &update["ledger"]["accounts"]["probes"];
        let [done, under_way] = ["completed", "under_way"].map(|row| probes["parts"][row].as_u64().unwrap());
        assert_eq!(probes["exact"], false, "{update}");
        assert!(done + under_way <= 8_192, "{update}");
        done
    };
    let completed: Vec<u64> = updates.iter().map(completed).collect();
    assert!(completed.is_sorted() && completed.last() == Some(&8_192), "{status}");
    let judged = &updates.last().unwrap()["ledger"]["accounts"]["judged"];
    assert_eq!(judged["parts"]["valid_redirected"], 8_192);
    let (scanned, status) = scan("--ledger", "status.csv");
    assert!(scanned.stderr().contains("Ledger: "), "{}", scanned.stderr());
    assert!(status.lines().all(|line| line.split(',').count() == 21), "{status}");
    let (scanned, status) = scan("", "plain.jsonl");
    assert!(!scanned.stderr().contains("Ledger: ") && !status.contains("ledger"), "{}", scanned.stderr());
}

/// What the kernel counts of the interface bounds what the scan has counted; and what its queueing discipline drops,
/// which no probe goes through, is told.
#[test]
fn the_interface_is_a_bound() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let scan = Running::start(&lab, "-p 80 -r 2000 -c 1 --io-mode copy 198.18.0.0/20");
    lab.in_ns(&lab.scan, "tc", "qdisc add dev scan0 root tbf rate 8bit burst 100 limit 1".split(' '));
    // Longer than what it lets through at once.
    let send = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                for _ in range(5):\n try: s.sendto(b'.' * 500, ('198.19.0.2', 9))\n except OSError: pass";
    lab.in_ns(&lab.scan, "python3", ["-c", send]);
    let scanned = scan.finish();
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.row("probes", "completed"), 4_096);
    let number = |name: &str| scanned.number(&format!("/ledger/interfaces/0/{name}"));
    assert_eq!(scanned.metadata["ledger"]["interfaces"][0]["interface"], "scan0");
    assert!(number("tx_packets") >= 4_096, "{}", scanned.metadata["ledger"]);
    assert!(
        number("rx_packets") >= scanned.number("/ledger/accounts/judged/total"),
        "{}",
        scanned.metadata["ledger"]
    );
    assert!(number("qdisc_drops") >= 3, "{}", scanned.metadata["ledger"]);
    assert!(scanned.stderr().contains("queueing discipline dropped"), "{}", scanned.stderr());
}
