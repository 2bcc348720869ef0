//! Networks that are excluded on the command line: a capture at the far end shows that nothing goes there.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;

use lab::{Lab, have_root};
use support::capture::captured;
use support::{Scans as _, read};

use crate::checkpoint::resume;

/// All targets of the scans here, on one port.
const NETWORK: &str = "198.18.0.0/20";
const TARGETS: u32 = 4096;
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);

/// The targets whose numbers in the network are not in any of `holes`, first and last.
fn without(holes: &[(u32, u32)]) -> BTreeSet<Ipv4Addr> {
    let is_left = |number: &u32| !holes.iter().any(|(first, last)| (first..=last).contains(&number));
    (0..TARGETS).filter(is_left).map(|number| Ipv4Addr::from(FIRST + number)).collect()
}

/// Two lists and two options, each with another network: in every mode exactly the others are probed.
#[test]
fn excluded_networks_are_never_probed() {
    if !have_root() {
        return;
    }
    let mut lab = Lab::new(2);
    let lists = ["one.conf", "two.conf"].map(|name| lab.folder().join(name));
    fs::write(&lists[0], "198.18.1.0/24 # opted out\n").unwrap();
    fs::write(&lists[1], "198.18.2.0-198.18.3.9\n").unwrap();
    let lists = lists.map(|list| list.display().to_string());
    let expected = without(&[(256, 511), (512, 777), (1024, 1279), (2048, 3071), (4095, 4095)]);
    for mode in ["copy", "generic", "packet"] {
        let arguments = format!(
            "-p 80 -P 2 -r 20000 -c 1 -q --io-mode {mode} -b {} -b {} --exclude 198.18.4.0/24,198.18.15.255 \
             --exclude 198.18.8.0-198.18.11.255 {NETWORK}",
            lists[0], lists[1]
        );
        let mut scanned = None;
        let capture = captured(&mut lab, |lab| scanned = Some(lab.survey(&arguments)));
        let scanned = scanned.unwrap();
        assert_eq!(scanned.output.status.code(), Some(0), "{mode}: {}", scanned.stderr());
        let probed: BTreeSet<Ipv4Addr> = capture.syns.iter().map(|(address, _)| *address).collect();
        assert_eq!(probed, expected, "{mode}");
        assert_eq!(scanned.number("/counters/targets"), expected.len() as u64, "{mode}");
        let blocked = scanned.metadata["blocklisted_networks"].as_array().unwrap();
        for network in ["198.18.1.0/24", "198.18.4.0/24", "198.18.8.0/22", "198.18.15.255/32"] {
            assert!(blocked.contains(&network.into()), "{mode}: {network} in {blocked:?}");
        }
        assert_eq!(scanned.metadata["blocklist_filename"], lists.join(","), "{mode}");
        assert_eq!(scanned.metadata["lists"].as_array().unwrap().len(), 2, "{mode}");
        let log = scanned.stderr();
        assert!(log.contains("block list --exclude: 3 entries, 1281 addresses"), "{mode}: {log}");
    }
}

/// What is excluded when a scan is resumed is not probed any more, and what was excluded before stays so.
#[test]
fn a_resumed_scan_excludes_more() {
    if !have_root() {
        return;
    }
    let mut lab = Lab::new(2);
    let results = lab.folder().join("results.csv");
    let checkpoint = results.with_extension("csv.xdpmap");
    let first = captured(&mut lab, |lab| {
        let arguments = format!(
            "-p 80 -r 1000 -t 1 -c 1 -q -f saddr --resume-overlap 0.1 --exclude 198.18.1.0/24 {NETWORK}"
        );
        let output = lab.xdpmap(&arguments).arg("-o").arg(&results).output().unwrap();
        assert!(checkpoint.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    let second = captured(&mut lab, |lab| {
        let output = resume(lab, &checkpoint, "--exclude 198.18.8.0/21 -r 10000").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    });
    let [first, second] = [first, second]
        .map(|capture| capture.syns.into_iter().map(|(address, _)| address).collect::<BTreeSet<_>>());
    assert!(first.len() > 500 && first.len() < 3000, "{} probes before the interruption", first.len());
    let left = without(&[(256, 511), (2048, 4095)]);
    assert!(second.is_subset(&left), "{:?}", second.difference(&left).take(5).collect::<Vec<_>>());
    assert!(first.is_subset(&without(&[(256, 511)])));
    let both: BTreeSet<_> = first.union(&second).copied().collect();
    assert!(left.is_subset(&both), "{:?}", left.difference(&both).take(5).collect::<Vec<_>>());
    assert!(read(&results).lines().count() > left.len() / 2);
}
