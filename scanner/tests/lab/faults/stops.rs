//! A process that does not run for a while, as on a machine that was suspended.

use std::time::Duration;

use lab::have_root;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::capture::Sniffer;
use support::running::Running;
use support::truth::{FIELDS, assert_found};

use super::{NETWORK, lab_with_servers};

/// Probes per second.
const RATE_PPS: usize = 8_000;

/// What left in the second before is probed again, because nobody has read what came meanwhile; no burst follows, and
/// nobody is missed.
#[test]
fn what_was_under_way_is_probed_again() {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    let sniffer = Sniffer::start(&lab, &lab.net, "net0", "tcp[tcpflags] == tcp-syn");
    let mut running = Running::start(&lab, &format!("-p 80 -r {RATE_PPS} -c 1 {FIELDS} {NETWORK}"));
    let pid = Pid::from_raw(running.child.id().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    kill(pid, Signal::SIGCONT).unwrap();
    running.wait_for("probes that may have been lost are repeated");
    let scanned = running.finish();
    let times =
        sniffer.end(&["frame.time_epoch"]).into_iter().map(|fields| fields[0].parse::<f64>().unwrap());
    let times: Vec<f64> = times.collect();
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_found("stopped for 4 s", &scanned, &truth);
    let again = scanned.number("/counters/targets_again") as usize;
    assert_eq!(scanned.number("/packets_sent") as usize, 32_768 + again);
    assert_eq!(times.len(), 32_768 + again);
    let gap = times.windows(2).position(|pair| pair[1] - pair[0] > 3.0).expect("it stood still");
    let late = times[..=gap].iter().filter(|&&time| time > times[gap] - 0.9).count();
    assert!((late..3 * RATE_PPS).contains(&again), "{again} targets again, {late} in the last 0.9 s");
    let continued = times[gap + 1];
    for tenth in 0..10 {
        let from = continued + f64::from(tenth) / 10.0;
        let sent = times.iter().filter(|&&time| (from..from + 0.1).contains(&time)).count();
        assert!(sent <= RATE_PPS / 5 + 50, "{sent} probes in 100 ms, {tenth} tenths after the stop");
    }
}
