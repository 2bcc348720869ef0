//! A machine that loses its power in mid-scan: the files that it has on its disk are all that is left.

use std::collections::{BTreeMap, BTreeSet};

use lab::{GUEST, have_root};
use support::read;
use support::truth::truth;

use super::Guest;

/// The seconds that may be probed again after each loss: the checkpoint's interval, the overlap, and as much again for
/// a busy machine.
const SECONDS_AGAIN: u64 = 3;

/// The scan is started by the same command in each boot, finds what its checkpoint says, and misses nobody in the end.
/// `XDPMAP_TEST_POWER_LOSSES` is how often the power is lost, at moments from the scan's start on.
#[test]
fn a_machine_that_loses_power() {
    if !have_root() {
        return;
    }
    let losses: u64 = std::env::var("XDPMAP_TEST_POWER_LOSSES")
        .map_or(1, |losses| losses.parse().expect("XDPMAP_TEST_POWER_LOSSES is a number"));
    let Some(guest) = Guest::boot("power", &["power", &losses.to_string()]) else { return };
    let case = guest.case("power");
    assert_eq!(case.code, "0", "{}", case.log);
    // The first loss may come before there is a file.
    for number in 2..losses {
        let console = read(&guest.folder.join(format!("console-{number}")));
        assert!(!console.contains("begins with 0 files"), "boot {number}: {console}");
    }
    let truth = truth(GUEST, &GUEST.servers());
    let mut lines: BTreeMap<&str, u64> = BTreeMap::new();
    case.results.lines().skip(1).for_each(|line| *lines.entry(line).or_default() += 1);
    let found: BTreeSet<String> = lines.keys().map(|&line| line.to_owned()).collect();
    let missing: Vec<_> = truth.difference(&found).take(5).collect();
    let extra: Vec<_> = found.difference(&truth).take(5).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}\n{}", case.log);
    let again: u64 = lines.values().map(|count| count - 1).sum();
    // Sending takes four seconds for each boot.
    let rate_pps = u64::from(GUEST.addresses) / 4 / (losses + 1);
    assert!(again <= losses * rate_pps * SECONDS_AGAIN, "{again} lines are there again");
    let json = read(&guest.folder.join("power/results.json"));
    let address = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        value["saddr"].as_str().expect("an address").to_owned()
    };
    let there: BTreeSet<String> = json.lines().map(address).collect();
    let expected: BTreeSet<String> =
        truth.iter().map(|line| line.split(',').next().expect("an address").to_owned()).collect();
    assert!(there == expected, "{} of {} in the JSON file", there.len(), expected.len());
    eprintln!("{losses} losses of power: {} hosts, none missing, {again} lines again", truth.len());
}
