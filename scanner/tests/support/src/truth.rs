//! Which hosts answer in a lab, and whether a scan's counters balance.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use lab::{Answer, Hosts};

use crate::Scanned;

/// What a survey of these hosts on port 80 must find where these servers listen on it: the lines of [`FIELDS`].
pub fn truth(hosts: Hosts, servers: &[Ipv4Addr]) -> BTreeSet<String> {
    let line = |(address, answer)| format!("{address},80,{answer},{}", u8::from(answer == Answer::SynAck));
    hosts.answers(servers).into_iter().map(line).collect()
}

/// The part of a truth that these networks hold.
pub fn within(truth: &BTreeSet<String>, networks: &[&str]) -> BTreeSet<String> {
    let networks: Vec<ipnet::Ipv4Net> = networks.iter().map(|network| network.parse().unwrap()).collect();
    let address = |line: &str| line.split(',').next().unwrap().parse::<Ipv4Addr>().unwrap();
    let inside = |line: &&String| networks.iter().any(|network| network.contains(&address(line)));
    truth.iter().filter(inside).cloned().collect()
}

/// Checks that the scan found exactly the hosts that exist; if not, says which are missing and which do not exist.
#[track_caller]
pub fn assert_found(case: &str, scanned: &Scanned, truth: &BTreeSet<String>) {
    let found = scanned.lines();
    let missing: Vec<_> = truth.difference(&found).take(5).collect();
    let extra: Vec<_> = found.difference(truth).take(5).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{case}: missing {missing:?}, extra {extra:?}\n{}",
        scanned.stderr()
    );
}

/// The fields that [`truth`] has.
pub const FIELDS: &str = "-f saddr,sport,classification,success";

/// The accounting of a scan that lost nothing: every frame is accounted for, from target to output line.
pub fn check_ledger(scanned: &Scanned, targets: u64) {
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.number("/targets_scanned"), targets);
    assert_eq!(scanned.number("/packets_sent"), targets);
    assert_eq!(scanned.number("/counters/tx_submitted"), targets);
    let replies = scanned.number("/counters/rx_synack") + scanned.number("/counters/rx_rst");
    assert_eq!(scanned.number("/counters/rx_frames"), replies + scanned.number("/counters/rx_invalid"));
    assert_eq!(scanned.number("/counters/rx_invalid"), 0, "the XDP program and the worker disagree");
    assert_eq!(scanned.number("/xdp_counters/valid_redirected"), replies);
    assert_eq!(scanned.number("/replies_vanished"), 0, "redirected, and never seen again");
    assert_eq!(scanned.number("/success_total") + scanned.number("/failure_total"), replies);
    assert_eq!(scanned.number("/counters/rx_record_drops"), 0);
    let resets = ["rst_submitted", "rst_by_kernel", "rst_capped", "rst_no_room", "rst_excluded_late"]
        .map(|name| scanned.number(&format!("/counters/{name}")));
    assert_eq!(resets.iter().sum::<u64>(), scanned.number("/counters/rx_synack"));
    assert_eq!(scanned.number("/counters/rst_sent"), resets[0]);
}
