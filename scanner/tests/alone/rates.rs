//! Rates are kept: by live frames, whose sender has its own core, and when signals change them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use lab::wires::{bend_replies, two_wires};
use lab::{Lab, have_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::Scans as _;
use support::live::{check_probes, live_lab};

/// A requested rate is kept: no scan is faster, and at least one of three is not slower. For the others, the machine
/// may have been busy, so the rate is a quarter of what it has just sent.
#[test]
fn keeps_the_rate() {
    if !have_root() {
        return;
    }
    let lab = live_lab(1);
    let mut slow = vec![];
    for _ in 0..3 {
        let seconds = |options: &str| {
            let scanned = lab.survey(&format!("-p 80-150 -c 0 -q --io-mode live {options} 198.18.128.0/17"));
            check_probes(&scanned);
            scanned.metadata["send_seconds"].as_f64().unwrap()
        };
        let rate_pps = (200_000.0 / seconds("-r 0 -n 200000") / 4.0) as u64;
        let took = seconds(&format!("-r {rate_pps} -n {}", 3 * rate_pps));
        assert!(took > 2.9, "{took} s for 3 s of probes, at {rate_pps} per second");
        if took < 4.0 {
            return;
        }
        slow.push((took, rate_pps));
    }
    panic!("seconds for 3 s of probes, and their rates: {slow:?}");
}

/// On a machine on which other programs want every core and more, a scan that needs a hundredth of one keeps its rate.
#[test]
fn keeps_the_rate_beside_busy_programs() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let cores = std::thread::available_parallelism().unwrap().get();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..=cores {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        for rate_pps in [1_000.0, 10_000.0] {
            let scanned = lab.survey(&format!("-p 80 -r {rate_pps} -t 4 -c 0 -q 198.18.128.0/17"));
            let kept = scanned.metadata["sending_rate"].as_f64().unwrap();
            assert!((0.8 * rate_pps..=1.01 * rate_pps).contains(&kept), "{kept} of {rate_pps} probes/s");
        }
        ends.store(true, Ordering::Relaxed);
    });
}

/// Of two interfaces each sends half, even if all replies come back over one of them: a worker kept awake by replies
/// does not take the other's share.
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

/// A scan that gets no answers ends by `--min-hitrate`, with its metadata and its own exit code; signals change its
/// rate before.
#[test]
fn limits_and_signals() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let metadata = lab.folder().join("metadata");
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
    let metadata = support::ledger::metadata(&metadata);
    assert_eq!((&metadata["end_reason"], &metadata["exit_code"]), (&"min-hitrate".into(), &5.into()));
    let sent = metadata["packets_sent"].as_u64().unwrap() as f64;
    let seconds = metadata["send_seconds"].as_f64().unwrap();
    assert!((9.0..30.0).contains(&seconds), "5 s twice: {seconds} s");
    // A machine that is busy sends less, but never more.
    assert!((500.0 * seconds..1_110.0 * seconds).contains(&sent), "{sent} in {seconds} s at 1,048 probes/s");
}
