//! Second probes, over a path that loses packets: what they find, and what a scan says of the hosts that it missed.

use std::path::Path;
use std::time::{Duration, Instant};

use lab::{Lab, have_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::{Scanned, Scans as _, read};

use crate::checkpoint::{into_sending, resume};
use crate::estimates::{HOSTS, NETWORK, drop_some, number};

/// A fifth of all packets, each by chance.
pub(crate) const FIFTH: &str = "numgen random mod 100 < 20";

/// Where the truth is in an interval: 0 is the estimate, and from -1 to 1 is within.
pub(crate) fn place(estimates: &Value, quantity: &str, truth: f64) -> f64 {
    let [value, lower, upper] =
        ["value", "lower", "upper"].map(|key| number(estimates, &format!("/{quantity}/{key}")));
    let reach = if truth < value { value - lower } else { upper - value };
    if truth == value { 0.0 } else { (truth - value) / reach }
}

/// The counts of the second probes in the metadata.
pub(crate) fn second(scanned: &Scanned, key: &str) -> u64 {
    scanned.number(&format!("/estimates/evidence/second/{key}"))
}

/// A path that loses one of five packets: each scan says how many hosts its probes missed, and second probes find some
/// of them. An interval of 95 % may miss the truth, and those of one scan do so together: two scans of four in one run
/// of seventy, three in one of two thousand. So half have to hold it; and none misses it by as much as its own length.
#[test]
fn what_one_probe_misses() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    drop_some(&lab, FIFTH);
    let (mut places, mut said_all) = (vec![], String::new());
    for (arguments, share, workers) in [
        ("-P 2 --probe-gap 0.7", 1.0, 1),
        ("--recheck 25% --probe-gap 0.5", 0.25, 2),
        ("-P 2 --probe-gap 1s", 1.0, 2),
        ("--recheck 50 --probe-gap 0.4 --dedup-method window", 0.5, 1),
    ] {
        let scanned = lab.survey(&format!(
            "-M icmp_echoscan -r 20000 -c 1 -T {workers} -f saddr --successes-only --canaries 0 {arguments} {NETWORK}"
        ));
        let case = format!("{arguments}: {}\n{}", scanned.metadata["estimates"], scanned.stderr());
        assert_eq!(scanned.output.status.code(), Some(0), "{case}");
        assert!(scanned.stderr().contains("; one probe misses "), "{case}");
        let checked = scanned.row("second_probes", "probed") as f64;
        let expected = share * HOSTS as f64;
        let deviation = (expected * (1.0 - share)).sqrt();
        assert!((checked - expected).abs() <= 5.0 * deviation, "{case}: {checked} of {expected}");
        assert_eq!(scanned.row("targets", "probed"), HOSTS, "{case}");
        // Each host is a result once, whichever probe it answered.
        let found = scanned.lines();
        assert_eq!((found.len(), scanned.results.lines().count()), (found.len(), found.len() + 1), "{case}");
        let [both, first_only, second_only, once] =
            ["both", "first_only", "second_only", "once"].map(|key| second(&scanned, key));
        assert_eq!(both + first_only + second_only + once, found.len() as u64, "{case}");
        assert!(second_only > 0 && (share < 1.0 || once == 0), "{case}");
        // The first probe missed what is known by none or by the second alone.
        let estimates = &scanned.metadata["estimates"];
        let first_found = both + first_only + once;
        let missed_by_first = 100.0 * (1.0 - first_found as f64 / HOSTS as f64);
        assert!((18.0..22.0).contains(&missed_by_first), "{case}: the lab has lost {missed_by_first} %");
        let missed = (HOSTS - found.len() as u64) as f64;
        // The share is that of all probes that might have been sent, of which the lab loses a fifth.
        places.push(("one probe", place(estimates, "missed_by_one_percent", 20.0)));
        places.push(("none", place(estimates, "missed_hosts", missed)));
        places.push(("hit rate", place(estimates, "hit_rate_percent", 100.0)));
        said_all += &case;
    }
    let inside = places.iter().filter(|(_, place)| place.abs() <= 1.0 + 1e-9).count();
    assert!(inside >= 6 && places.iter().all(|(_, place)| place.abs() < 2.2), "{places:?}\n{said_all}");
}

/// Killed in each part of a scan with second probes, again and again: what is left is done, and what was answered is
/// known, so that no host seems to be missed.
#[test]
fn second_probes_go_on() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    // Sending the first probes takes 1.6 s or more, and the last second one follows at 3.3 s.
    const COMMON: &str = "-M icmp_echoscan -r 10000 -c 1 -q --checkpoint-interval 0.1 --resume-overlap 0.2 -f saddr \
                          --successes-only";
    for (name, arguments, share, moments_ms) in [
        ("early", "-P 2 --probe-gap 0.8", 1.0, &[500, 600][..]),
        ("amid", "-P 2 --probe-gap 0.8", 1.0, &[1_500]),
        ("late", "-P 2 --probe-gap 0.8", 1.0, &[2_600, 1_200]),
        ("share", "--recheck 30% --probe-gap 1.2", 0.3, &[1_900, 900]),
    ] {
        let results = lab.folder().join(format!("{name}.csv"));
        let checkpoint = results.with_extension("csv.xdpmap");
        let mut scan = lab.xdpmap(&format!("{COMMON} {arguments} {NETWORK}"));
        let mut scan = scan.arg("-o").arg(&results).spawn().unwrap();
        into_sending(&checkpoint, 0);
        for &moment_ms in moments_ms {
            std::thread::sleep(Duration::from_millis(moment_ms));
            kill(Pid::from_raw(scan.id().cast_signed()), Signal::SIGKILL).unwrap();
            scan.wait().unwrap();
            scan = resume(&lab, &checkpoint, "").spawn().unwrap();
        }
        kill(Pid::from_raw(scan.id().cast_signed()), Signal::SIGKILL).unwrap();
        scan.wait().unwrap();
        let shown: Value = serde_json::from_str(&shown(&lab, &checkpoint)).unwrap();
        let (left, second_left) =
            (number(&shown, "/exponents_open") as u64, number(&shown, "/second_exponents_open") as u64);
        assert!(left <= second_left && second_left > 0, "{name}: {left} and {second_left}");
        let metadata = lab.folder().join(format!("{name}.json"));
        let started = Instant::now();
        let output = resume(&lab, &checkpoint, &format!("-m {}", metadata.display())).output().unwrap();
        let scanned = Scanned::new(output, &results, &metadata);
        let case = format!("{name}: {}\n{}", scanned.metadata["estimates"], scanned.stderr());
        assert_eq!(scanned.output.status.code(), Some(0), "{case}");
        assert_eq!(scanned.lines().len() as u64, HOSTS, "{case}");
        let again = scanned.results.lines().count() as u64 - 1 - HOSTS;
        assert!(again < HOSTS / 10, "{case}: {again} results are there again");
        // Nobody knows how long ago the first probes left, so all that is due waits for the gap once more.
        assert!(started.elapsed() > Duration::from_millis(800), "{case}");
        // Those of the runs before are counted by the places of the order, of which 26 are no target.
        let targets = scanned.number("/estimates/evidence/targets");
        assert!((HOSTS - 26..=HOSTS).contains(&targets), "{case}: {targets} targets");
        let covered = number(&scanned.metadata, "/estimates/evidence/covered");
        assert!((0.998..=1.0).contains(&covered), "{case}");
        assert_eq!(scanned.number("/estimates/evidence/found"), HOSTS, "{case}");
        let [both, first_only, second_only] =
            ["both", "first_only", "second_only"].map(|key| second(&scanned, key));
        let deviation = (HOSTS as f64 * share * (1.0 - share)).sqrt();
        assert!((both as f64 - share * HOSTS as f64).abs() <= 5.0 * deviation, "{case}");
        assert_eq!((first_only, second_only), (0, 0), "{case}");
        // Less was asked again than by a scan that starts anew.
        let asked = scanned.row("targets", "probed");
        assert!(asked <= left, "{case}: {asked} of {left}");
        assert!(scanned.row("second_probes", "probed") <= second_left, "{case}");
    }
}

pub(crate) fn shown(lab: &Lab, checkpoint: &Path) -> String {
    let mut show = lab.shielded();
    show.arg(support::scanner::binary()).args(["checkpoint", "show", "--json"]).arg(checkpoint);
    String::from_utf8(show.output().unwrap().stdout).unwrap()
}

/// The shards of a scan check their own targets; together they say what one scan would.
#[test]
fn shards_recheck_their_own() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    drop_some(&lab, FIFTH);
    let mut command = support::scanner::xdpmap();
    command.arg("merge").current_dir(lab.folder());
    let mut sum = 0;
    for shard in 0..3 {
        let [results, metadata] = ["r", "m"].map(|kind| lab.folder().join(format!("{kind}{shard}")));
        let arguments = format!(
            "-M icmp_echoscan -r 20000 -c 1 -e 5 --shards 3 --shard {shard} -f saddr -n 4000 --recheck 50% --probe-gap 0.3"
        );
        let mut scan = lab.xdpmap(&format!("{arguments} {NETWORK}"));
        let output = scan.arg("-o").arg(&results).arg("-m").arg(&metadata).output().unwrap();
        let scanned = Scanned::new(output, &results, &metadata);
        assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        // A limit is one on targets, and second probes do not count towards it.
        assert_eq!(scanned.row("targets", "probed"), 4_000, "{}", scanned.stderr());
        let checked = scanned.row("second_probes", "probed");
        assert!((1_800..2_200).contains(&checked), "{checked}");
        sum += second(&scanned, "both");
        command.arg(&metadata);
    }
    let whole = lab.folder().join("whole.json");
    let output = command.arg("-m").arg(&whole).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let whole: Value = serde_json::from_str(&read(&whole)).unwrap();
    assert_eq!(number(&whole, "/estimates/evidence/second/both") as u64, sum);
    assert!(place(&whole["estimates"], "missed_by_one_percent", 20.0).abs() < 2.2, "{}", whole["estimates"]);
}
