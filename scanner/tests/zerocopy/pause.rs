//! A machine that is paused in mid-scan, while its far side goes on.

use std::collections::BTreeSet;
use std::path::Path;

use lab::{have_root, run};

use super::Guest;

/// Probes per second.
const RATE_PPS: usize = 400;

/// When each probe passed the far side, in seconds.
fn times(capture: &Path) -> Vec<f64> {
    let file = capture.display().to_string();
    let text = run("tshark", ["-n", "-r", &file, "-T", "fields", "-e", "frame.time_epoch"]);
    text.lines().map(|line| line.trim().parse().unwrap_or_else(|_| panic!("no time: {line}"))).collect()
}

/// The machine is paused twice: once its clocks stand still, once they have gone on. What was on its way to it half a
/// second before is lost each time. It is probed again, no burst follows, and nobody is missed.
/// `XDPMAP_TEST_PAUSE_SECONDS` is how long each pause lasts.
#[test]
fn a_machine_that_is_paused() {
    if !have_root() {
        return;
    }
    let seconds: u32 = std::env::var("XDPMAP_TEST_PAUSE_SECONDS")
        .map_or(10, |seconds| seconds.parse().expect("XDPMAP_TEST_PAUSE_SECONDS is a number"));
    let Some(guest) = Guest::boot("pause", &["pause", &seconds.to_string()]) else { return };
    let case = guest.case("pause");
    assert_eq!(case.code, "0", "{}", case.log);
    assert_eq!(case.metadata["io_mode"], "zerocopy");
    let found: BTreeSet<String> = case.results.lines().skip(1).map(str::to_owned).collect();
    let missing: Vec<_> = guest.truth.difference(&found).take(5).collect();
    assert!(missing.is_empty() && found.len() == guest.truth.len(), "missing {missing:?}\n{}", case.log);
    for who in ["this machine", "this process"] {
        assert!(case.log.contains(&format!("{who} did not run for")), "{who}: {}", case.log);
    }

    let times = times(&guest.folder.join("probes.pcap"));
    let gaps: Vec<usize> =
        (1..times.len()).filter(|&at| times[at] - times[at - 1] > f64::from(seconds) - 1.0).collect();
    assert_eq!(gaps.len(), 2, "pauses at {gaps:?} of {} probes", times.len());
    for &at in &gaps {
        for half in 0..6 {
            let from = times[at] + f64::from(half) / 2.0;
            let sent = times.iter().filter(|&&time| (from..from + 0.5).contains(&time)).count();
            assert!(sent < RATE_PPS, "{sent} probes in half a second, {half} halves after a pause");
        }
    }
    // Before each pause half a second's answers were lost. At most, the first is noticed a second late by a clock that
    // was read a second before, and there is a margin of another second.
    let again = case.number("/counters/targets_again") as usize;
    assert!((RATE_PPS / 2..8 * RATE_PPS).contains(&again), "{again} targets again");
    eprintln!("paused twice for {seconds} s: {} hosts, none missing, {again} targets again", found.len());
}
