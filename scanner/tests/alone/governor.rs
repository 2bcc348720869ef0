//! `--rate auto` over a path with a hidden knee: it is found, kept, and nothing is lost for it.

use std::collections::BTreeSet;

use lab::{Lab, have_root};
use support::{Scanned, Scans as _};

use crate::policer::{KNEE_PPS, counted, is_there, police, there};

const FIRST_PORT: u16 = 80;

/// A number of the state of the search.
#[track_caller]
fn state(scanned: &Scanned, key: &str) -> f64 {
    let rate = &scanned.metadata["rate_auto"];
    rate["state"][key].as_f64().unwrap_or_else(|| panic!("{key}: {rate:#}\n{}", scanned.stderr()))
}

/// A policer drops what is beyond 15,000 probes per second. Without resets, which a path without delay would get all at
/// once, when no room is left. The knee is found, the rate stays below it,
/// and all hosts are found but for a few: what was lost on the way to the knee was probed again.
#[test]
fn finds_the_knee_of_a_policer_and_loses_nobody() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let path = police(&lab);
    let ports = FIRST_PORT..FIRST_PORT + 10;
    let asked = format!("-p {}-{} --rate auto --io-mode copy --no-rst -c 2", ports.start, ports.end - 1);
    let scanned = lab.survey(&format!("{asked} -f saddr,sport 198.18.128.0/17"));
    let log = scanned.stderr();
    let rate = &scanned.metadata["rate_auto"];
    let [passed, dropped] = counted(&path);
    assert!(
        dropped > passed / 100,
        "the knee was passed in the search: {dropped} of {passed} dropped\n{log}"
    );
    let knee = state(&scanned, "knee_pps") / KNEE_PPS as f64;
    assert!((0.95..=1.05).contains(&knee), "{knee} of the knee\n{log}");
    assert_eq!(rate["state"]["held_for"], "knee", "{log}");
    let held = scanned.metadata["rate_last"].as_f64().unwrap() / KNEE_PPS as f64;
    assert!((0.9..=1.0).contains(&held), "{held} of the knee\n{log}");
    assert!(scanned.number("/counters/targets_again") > 0);
    let words: Vec<&str> = rate["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| decision["decision"].as_str().unwrap())
        .collect();
    let has = |word| words.contains(&word);
    assert!(has("rise") && has("loss") && has("measure") && has("found") && has("again"), "{words:?}");
    assert!(log.contains("the path carries") && log.contains("is probed again"), "{log}");
    let there = there(ports);
    let found: BTreeSet<&str> = scanned.results.lines().skip(1).collect();
    assert!(found.iter().all(|line| is_there(line)), "nothing else answers");
    assert!(found.len() * 100 >= there * 99, "{} of {there} found\n{log}", found.len());
}
