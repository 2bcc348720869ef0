//! Second probes of scans of all kinds: several ports, workers and interfaces, and a rate that is found; and what a
//! merge says where they are missing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use lab::wires::two_wires;
use lab::{Lab, have_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::capture::Sniffer;
use support::{Scanned, Scans as _, read};

use crate::estimates::{drop_some, number};
use crate::recheck::{FIFTH, place, second, shown};

/// All of these hosts are there. They listen on port 80, and reset connections to others.
const NETWORK: &str = "198.18.0.0/19";
const HOSTS: u64 = 1 << 13;
/// The share of the targets that is probed twice.
const SHARE: f64 = 0.3;

/// A scan, by its interfaces, its own arguments, and how many ports of each host it probes.
const SCANS: [(&str, &str, u64); 3] = [
    ("scan0", "-p 80,81,443 -T 2 -r 20000 --canaries 0", 3),
    ("scan0,scan1", "-p 80 -T 4 -r 20000 --canaries 0", 1),
    ("scan0,scan1", "-p 80-83 -T 2 --rate auto:20000", 4),
];

fn scan(lab: &Lab, interfaces: &str, arguments: &str) -> Scanned {
    lab.survey_on(
        interfaces,
        &format!(
            "-M tcp_synscan -c 1 -f saddr,sport --successes-only --recheck 30% --probe-gap 0.5 {arguments} {NETWORK}"
        ),
    )
}

/// The counts of all second probes of a scan add up: each target of the sample has got one, and each host is a result
/// once.
#[track_caller]
fn check(case: &str, scanned: &Scanned, ports: u64) {
    assert_eq!(scanned.output.status.code(), Some(0), "{case}: {}", scanned.stderr());
    assert_eq!(scanned.row("targets", "probed"), ports * HOSTS, "{case}");
    let checked = scanned.row("second_probes", "probed");
    let expected = SHARE * (ports * HOSTS) as f64;
    let deviation = (expected * (1.0 - SHARE)).sqrt();
    assert!((checked as f64 - expected).abs() <= 5.0 * deviation, "{case}: {checked} of {expected}");
    assert_eq!(scanned.number("/ledger/accounts/second_probes/total"), checked, "{case}");
    let again = scanned.number("/counters/targets_again") + scanned.row("second_probes", "again");
    let canaries = scanned.number("/counters/canaries");
    assert_eq!(
        scanned.number("/ledger/accounts/probes/total"),
        ports * HOSTS + checked + again + canaries,
        "{case}: {}",
        scanned.metadata["ledger"]
    );
    let found = scanned.lines().len() as u64;
    assert_eq!(scanned.results.lines().count() as u64, found + 1, "{case}");
    let of_twice = ["both", "first_only", "second_only", "once"].map(|key| second(scanned, key));
    assert_eq!(of_twice.iter().sum::<u64>(), found, "{case}: {}", scanned.metadata["estimates"]);
    assert!(scanned.metadata.get("second_intervals_left").is_none(), "{case}");
}

/// Several ports, several workers on two interfaces, and a rate that is found: each target gets its probes, and hosts
/// that answer both are not taken for missed ones. Where a fifth of the probes is lost, the estimates say so. Those of
/// one scan reach 2.5 times as far as their intervals do, which is 4.9 standard errors.
#[test]
fn in_scans_of_all_kinds() {
    if !have_root() {
        return;
    }
    let lab = two_wires();
    lab.in_ns(&lab.net, "sysctl", ["-qw", "net.ipv4.tcp_syncookies=2"]);
    lab.start_nginx(&[Ipv4Addr::UNSPECIFIED]);
    for (interfaces, arguments, ports) in SCANS {
        let case = format!("{interfaces} {arguments}");
        let filter = "tcp[tcpflags] == tcp-syn";
        let wires = ["net0", "net1"].map(|device| Sniffer::start(&lab, &lab.net, device, filter));
        let scanned = scan(&lab, interfaces, arguments);
        let mut syns = BTreeMap::<Vec<String>, u64>::new();
        for syn in wires.map(|wire| wire.end(&["ip.dst", "tcp.dstport"])).concat() {
            *syns.entry(syn).or_default() += 1;
        }
        check(&case, &scanned, ports);
        assert_eq!(syns.len() as u64, ports * HOSTS, "{case}");
        // Of a rate that is found, some may be probed again.
        if scanned.number("/counters/canaries") == 0 {
            let twice = syns.values().filter(|count| **count == 2).count() as u64;
            assert_eq!(twice, scanned.row("second_probes", "probed"), "{case}");
            assert!(syns.values().all(|count| *count <= 2), "{case}");
        }
        assert_eq!(scanned.lines().len() as u64, HOSTS, "{case}: {}", scanned.stderr());
        let [first_only, second_only] = ["first_only", "second_only"].map(|key| second(&scanned, key));
        assert_eq!((first_only, second_only), (0, 0), "{case}: {}", scanned.metadata["estimates"]);
        let hit_rate = 100.0 / ports as f64;
        assert!((number(&scanned.metadata, "/estimates/hit_rate_percent/value") - hit_rate).abs() < 1e-9);
    }
    drop_some(&lab, &format!("tcp flags == syn {FIFTH}"));
    for (interfaces, arguments, ports) in SCANS {
        let case = format!("a fifth lost, {interfaces} {arguments}");
        let scanned = scan(&lab, interfaces, arguments);
        check(&case, &scanned, ports);
        assert!(second(&scanned, "second_only") > 0, "{case}");
        let missed = (HOSTS - scanned.lines().len() as u64) as f64;
        let estimates = &scanned.metadata["estimates"];
        let places = [
            place(estimates, "missed_by_one_percent", 20.0),
            place(estimates, "missed_hosts", missed),
            place(estimates, "hit_rate_percent", 100.0 / ports as f64),
        ];
        assert!(places.iter().all(|place| place.abs() < 2.5), "{case}: {places:?} {estimates}");
    }
}

/// Runs `xdpmap merge` in the lab's folder.
fn merge(lab: &Lab) -> (Option<i32>, String) {
    let mut command = support::scanner::xdpmap();
    command.args(["merge", "m0", "m1", "-o", "all", "-m", "whole"]).current_dir(lab.folder());
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), [stdout, stderr].map(|text| String::from_utf8(text).unwrap()).concat())
}

/// A shard that ended before its second probes: a merge says that they are missing, and the command that it prints
/// sends just them. Without the checkpoint it says that only the whole shard can be scanned again.
#[test]
fn a_merge_says_how_to_send_those_that_are_missing() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let shard = |number: u32| -> Command {
        let mut command = lab.xdpmap(&format!(
            "-M icmp_echoscan -r 20000 -c 1 -e 5 --shards 2 --shard {number} -f saddr --recheck 30% --probe-gap 3 \
             --checkpoint-interval 0.1 --resume-overlap 0.2 {NETWORK}"
        ));
        command.current_dir(lab.folder()).args(["-o", &format!("r{number}"), "-m", &format!("m{number}")]);
        command
    };
    let output = shard(1).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let mut scan = shard(0).spawn().unwrap();
    let checkpoint = lab.folder().join("r0.xdpmap");
    crate::checkpoint::into_sending(&checkpoint, 0);
    let left = |key: &str| {
        let shown: Value = serde_json::from_str(&shown(&lab, &checkpoint)).unwrap_or_default();
        shown[key].as_u64()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while left("exponents_open") != Some(0) {
        assert!(Instant::now() < deadline, "the first probes have not left");
        std::thread::sleep(Duration::from_millis(50));
    }
    kill(Pid::from_raw(scan.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(scan.wait().unwrap().code(), Some(130));
    let open = left("second_exponents_open").unwrap();
    let kept = lab.folder().join("kept");
    std::fs::rename(&checkpoint, &kept).unwrap();
    let (code, said) = merge(&lab);
    assert_eq!(code, Some(1), "{said}");
    let words = format!("0 targets left, second probes left at {open} places of the order");
    for words in [&words, "# shard 0 lacks second probes alone", " --recheck 30% "] {
        assert!(said.contains(words), "{words}: {said}");
    }
    std::fs::rename(&kept, &checkpoint).unwrap();
    let (code, said) = merge(&lab);
    assert_eq!(code, Some(1), "{said}");
    let printed =
        said.lines().find_map(|line| line.strip_prefix("xdpmap resume ")).unwrap_or_else(|| panic!("{said}"));
    let mut resume = crate::checkpoint::resume(&lab, Path::new(printed), "");
    let output = resume.current_dir(lab.folder()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let resumed = support::ledger::metadata(&lab.folder().join("m0"));
    assert_eq!(support::ledger::row(&resumed, "targets", "probed"), 0, "the first probes had left");
    let (code, said) = merge(&lab);
    assert_eq!(code, Some(0), "{said}");
    let whole: Value = serde_json::from_str(&read(&lab.folder().join("whole"))).unwrap();
    let counts = ["both", "first_only", "second_only"]
        .map(|key| number(&whole, &format!("/estimates/evidence/second/{key}")));
    let expected = SHARE * HOSTS as f64;
    assert!((counts[0] - expected).abs() <= 5.0 * (expected * (1.0 - SHARE)).sqrt(), "{counts:?}");
    assert_eq!(counts[1..], [0.0; 2], "{whole}");
}
