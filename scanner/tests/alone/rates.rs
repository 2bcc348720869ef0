//! Rates that are kept: by live frames, whose sender has a core of its own, and as signals change them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::live::{check_probes, live_lab};
use crate::support::wires::{bend_replies, two_wires};
use crate::support::{Lab, have_root};

/// A rate that was asked for is kept: never is a scan faster, and one of three at least is not slower. Of the others, the machine
/// may have had something else to do.
#[test]
fn keeps_the_rate() {
    if !have_root() {
        return;
    }
    let lab = live_lab(1);
    let mut slow = vec![];
    for _ in 0..3 {
        let scanned = lab.survey("-p 80-90 -r 50000 -n 150000 -c 0 -q --io-mode live 198.18.128.0/17");
        check_probes(&scanned);
        let seconds = scanned.metadata["send_seconds"].as_f64().unwrap();
        assert!(seconds > 2.9, "{seconds} s for 3 s of probes");
        if seconds < 4.0 {
            return;
        }
        slow.push(seconds);
    }
    panic!("{slow:?} s for 3 s of probes");
}

/// Of two interfaces each sends half, also if all replies come back over one of them: a worker that replies keep awake does
/// not take the other's share.
#[test]
fn interfaces_send_alike() {
    if !have_root() {
        return;
    }
    let lab = two_wires();
    for bent in [false, true] {
        if bent {
            bend_replies(&lab, "198.19.4.1", "net0", "scan0");
        }
        let scanned = lab.survey_on("scan0,scan1", "-p 80 -r 20000 -c 0 -q 198.18.0.0/16");
        let sent = |interface: &str| -> u64 {
            let workers = scanned.metadata["workers"].as_array().unwrap().iter();
            let its = workers.filter(|worker| worker["interface"] == interface);
            its.map(|worker| worker["counters"]["tx_sent"].as_u64().unwrap()).sum()
        };
        let replies = scanned.number("/interfaces/1/xdp_counters/valid_redirected");
        assert_eq!(replies == 0, bent, "{replies}");
        for interface in ["scan0", "scan1"] {
            assert!(sent(interface) > 20_000, "{bent}: {interface} sent {}", sent(interface));
        }
    }
}

/// A scan that nobody answers ends by `--min-hitrate`, with its metadata and an exit code of its own; signals change its
/// rate before.
#[test]
fn limits_and_signals() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let metadata = lab.folder.path().join("metadata");
    let mut command = lab.xdpmap("-p 80 -r 1000 -c 1 --min-hitrate 5 198.18.128.0/17");
    command.arg("-m").arg(&metadata).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("send: ")), "a status line");
    for (signal, words) in [
        (Signal::SIGUSR1, "rate changed from 1000 to 1050 probes/s"),
        (Signal::SIGUSR1, "rate changed from 1050 to 1103 probes/s"),
        (Signal::SIGUSR2, "rate changed from 1103 to 1048 probes/s"),
    ] {
        kill(pid, signal).unwrap();
        assert!(log.any(|line| line.contains(words)), "{words}");
    }
    let rest: Vec<String> = log.collect();
    assert!(rest.iter().any(|line| line.contains("below --min-hitrate 5 %")), "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let metadata: serde_json::Value = serde_json::from_str(&crate::support::read(&metadata)).unwrap();
    assert_eq!((&metadata["end_reason"], &metadata["exit_code"]), (&"min-hitrate".into(), &5.into()));
    let sent = metadata["packets_sent"].as_u64().unwrap();
    assert!((9_500..15_000).contains(&sent), "some 10 s at 1,047 packets/s: {sent}");
}
