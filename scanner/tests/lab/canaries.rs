//! Canaries on a wire: what a capture at the far end says became of them, and to whom they go.

use std::collections::{BTreeMap, BTreeSet};

use lab::{Lab, have_root};
use support::capture::{Sniffer, Tcpdump};
use support::drops::dropped;
use support::running::Running;
use support::{Scanned, Scans as _};

use crate::control::{ctl, now_s, sleep_ms, sockets, text};

/// The kernel answers SYN-ACKs to each of these addresses by a RST.
const NETWORK: &str = "198.18.0.0/18";
const TARGETS: u64 = 16_384;
const OURS: &str = "198.19.0.1";

/// The far side loses one in twenty packets for the scan's targets.
fn lose_a_twentieth(lab: &Lab) {
    let rule = "table ip lossy { chain arrive { type filter hook prerouting priority -300; \
                tcp dport 80 numgen random mod 20 0 drop; }; }";
    lab.in_ns(&lab.net, "nft", [rule]);
}

/// The probes on the wire after the first to each host, by host, and how many of them got an answer.
fn canaries(frames: &[Vec<String>]) -> (BTreeMap<&str, BTreeSet<&str>>, u64) {
    let (mut seen, mut canaries) = (BTreeSet::new(), BTreeMap::<&str, BTreeSet<&str>>::new());
    let ours = frames.iter().filter(|frame| frame[0] == OURS && frame[4] == "0x0012");
    for frame in ours {
        let [target, port] = [frame[1].as_str(), frame[2].as_str()];
        if !seen.insert(target) {
            assert!(canaries.entry(target).or_default().insert(port), "{target} got one number twice");
        }
    }
    let answers: BTreeSet<(&str, &str)> = frames
        .iter()
        .filter(|frame| frame[1] == OURS)
        .map(|frame| (frame[0].as_str(), frame[3].as_str()))
        .collect();
    let all = canaries.iter().flat_map(|(host, ports)| ports.iter().map(move |port| (*host, *port)));
    let answered = all.filter(|canary| answers.contains(canary)).count() as u64;
    (canaries, answered)
}

fn check(scanned: &Scanned) {
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.number("/counters/targets"), TARGETS, "canaries are no targets");
    assert_eq!(scanned.metadata["end_reason"], "complete");
    let slots = scanned.metadata["canaries"]["slots"].as_array().unwrap();
    let sum = |name: &str| slots.iter().map(|slot| slot[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("sent"), scanned.number("/canaries/sent"));
    assert_eq!(sum("unanswered"), scanned.number("/canaries/unanswered"));
    assert_eq!(sum("probes"), scanned.number("/packets_sent"));
}

/// A path that loses a twentieth of the probes: the estimate says so, and canaries without an answer are exactly those
/// of the capture. Results are those of the first probes alone.
#[test]
fn a_lossy_path_is_measured() {
    if !have_root() {
        return;
    }
    for mode in ["copy", "packet"] {
        let lab = Lab::new(2);
        lose_a_twentieth(&lab);
        let before = dropped(&lab);
        let tcpdump = Tcpdump::start(&lab, &lab.net, "net0", 96, &[], "tcp");
        let scanned = lab.survey(&format!(
            "-M tcp_synackscan -p 80 -r 6000 -c 4 -T 2 -f saddr --canaries 10% --io-mode {mode} {NETWORK}"
        ));
        let file = tcpdump.end().to_string_lossy().into_owned();
        let fields = "-T fields -e ip.src -e ip.dst -e tcp.srcport -e tcp.dstport -e tcp.flags";
        let text = lab::run("tshark", ["-n", "-r", &file].into_iter().chain(fields.split_whitespace()));
        let frames: Vec<Vec<String>> =
            text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        check(&scanned);
        let (canaries, answered) = canaries(&frames);
        let sent = canaries.values().map(BTreeSet::len).sum::<usize>() as u64;
        assert_eq!(sent, scanned.number("/canaries/sent"), "{mode}");
        assert!(sent > 300, "{mode}: {sent} canaries");
        assert!(canaries.values().all(|ports| ports.len() <= 8), "{mode}");
        let lost_by_lab = dropped(&lab) - before;
        let unanswered = scanned.number("/canaries/unanswered");
        assert!(
            (sent - answered..=sent - answered + lost_by_lab).contains(&unanswered),
            "{mode}: {unanswered}"
        );
        let loss = &scanned.metadata["canaries"]["loss"];
        let percent = |name: &str| loss[name].as_f64().unwrap();
        // Four standard errors: one run in some ten thousand is beyond.
        let error = 4.0 * (5.0 * 95.0 / sent as f64).sqrt();
        assert!((percent("percent") - 5.0).abs() < error, "{mode}: {loss}");
        assert!(
            percent("low_percent") < 5.0 + error && percent("high_percent") > 5.0 - error,
            "{mode}: {loss}"
        );
        assert!(percent("low_percent") < percent("percent") && percent("percent") < percent("high_percent"));
        let hosts = scanned.lines().len() as u64;
        assert_eq!(scanned.row("frames", "canary"), answered.min(scanned.row("frames", "canary")), "{mode}");
        assert_eq!(scanned.number("/success_unique"), hosts, "{mode}");
        assert_eq!(scanned.row("replies", "taken"), hosts, "{mode}: an answer to a canary is no result");
        if percent("low_percent") > 2.0 {
            assert!(scanned.stderr().contains("the path lost"), "{mode}: {}", scanned.stderr());
        }
    }
}

/// The loss of two shards is that of their canaries together.
#[test]
fn the_loss_of_shards_is_merged() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    lose_a_twentieth(&lab);
    let file = |name: &str| lab.folder().join(name).display().to_string();
    let (mut sent, mut unanswered) = (0, 0);
    for shard in 0..2 {
        let [results, meta] = [format!("r{shard}.csv"), format!("m{shard}.json")].map(|name| file(&name));
        let arguments = format!(
            "-M tcp_synackscan -p 80 -r 6000 -c 2 -e 5 --shards 2 --shard {shard} -f saddr --canaries 10% -o {results} \
             -m {meta} {NETWORK}"
        );
        let output = lab.xdpmap(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let meta: serde_json::Value = serde_json::from_str(&support::read(meta.as_ref())).unwrap();
        sent += meta["canaries"]["sent"].as_u64().unwrap();
        unanswered += meta["canaries"]["unanswered"].as_u64().unwrap();
    }
    let output = support::scanner::xdpmap()
        .args(["merge", "m0.json", "m1.json", "-o", "all.csv", "-m", "all.json"])
        .current_dir(lab.folder())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let whole: serde_json::Value = serde_json::from_str(&support::read(file("all.json").as_ref())).unwrap();
    let canaries = &whole["canaries"];
    assert_eq!(
        (&canaries["sent"], &canaries["unanswered"]),
        (&sent.into(), &unanswered.into()),
        "{canaries}"
    );
    let loss = |key: &str| canaries["loss"][key].as_f64().unwrap();
    assert!((loss("percent") - 100.0 * unanswered as f64 / sent as f64).abs() < 1e-9, "{canaries}");
    assert!(loss("low_percent") < loss("percent") && loss("percent") < loss("high_percent"), "{canaries}");
    let error = 4.0 * (5.0 * 95.0 / sent as f64).sqrt();
    assert!((loss("percent") - 5.0).abs() < error, "{canaries}");
}

/// Without canaries nothing is said of them, and no host gets a second probe.
#[test]
fn small_scans_have_none() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for more in ["", "--canaries 0"] {
        let scanned = lab.survey(&format!("-M tcp_synackscan -p 80 -r 20000 -c 1 {more} 198.18.0.0/22"));
        assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        assert_eq!((scanned.number("/counters/canaries"), scanned.number("/packets_sent")), (0, 1_024));
        assert!(scanned.metadata.get("canaries").is_none() && !scanned.stderr().contains("canaries"));
    }
}

/// What is excluded while the scan runs gets no canary once that is acknowledged, although it had answered.
#[test]
fn no_canary_goes_to_what_was_excluded() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let socket = sockets(&lab).join("scan.sock").to_str().unwrap().to_owned();
    let filter = format!("src host {OURS} and dst net 198.18.0.0/19");
    let sniffer = Sniffer::start(&lab, &lab.net, "net0", &filter);
    let arguments =
        format!("-M tcp_synackscan -p 80 -r 4000 -c 2 -T 2 --canaries 10% --control {socket} {NETWORK}");
    let running = Running::start(&lab, &arguments);
    sleep_ms(700);
    let output = ctl(&[&socket, "exclude", "198.18.0.0/19"]);
    let acknowledged = now_s();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let scanned = running.finish();
    let frames = sniffer.end(&["frame.time_epoch", "ip.dst"]);
    let mut times = BTreeMap::<&str, Vec<f64>>::new();
    frames.iter().for_each(|frame| times.entry(&frame[1]).or_default().push(frame[0].parse().unwrap()));
    assert!(times.values().any(|times| times.len() > 1), "some had got canaries");
    let late = times.values().flatten().filter(|at| **at >= acknowledged).count();
    assert_eq!(late, 0, "frames after it was acknowledged that there are none");
    assert!(scanned.row("canaries", "excluded_late") > 0, "{}", scanned.metadata["ledger"]);
    assert!(scanned.number("/canaries/sent") > 100, "{}", scanned.metadata["canaries"]);
}
