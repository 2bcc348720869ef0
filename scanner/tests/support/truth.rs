//! Who answers in a lab, and whether a scan's books balance.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::Scanned;

/// 240 servers, spread over the half that resets and the half that is silent.
pub fn servers() -> Vec<Ipv4Addr> {
    (0..240u32).map(|i| Ipv4Addr::from(0xc612_0000 + i * 271 + 5)).collect()
}

/// What a survey of 198.18.0.0/16 on port 80 must find: each server, and a reset from the rest of the lower half.
pub fn truth(servers: &[Ipv4Addr]) -> BTreeSet<String> {
    let open: BTreeSet<u32> = servers.iter().map(|&address| address.into()).collect();
    let resets = (0xc612_0000..0xc612_8000u32).filter(|address| !open.contains(address));
    let line = |address: u32, what: &str| format!("{},80,{what}", Ipv4Addr::from(address));
    let resets = resets.map(|address| line(address, "rst,0"));
    open.iter().map(|&address| line(address, "synack,1")).chain(resets).collect()
}

/// The part of a truth that these networks hold.
pub fn within(truth: &BTreeSet<String>, networks: &[&str]) -> BTreeSet<String> {
    let networks: Vec<ipnet::Ipv4Net> = networks.iter().map(|network| network.parse().unwrap()).collect();
    let address = |line: &str| line.split(',').next().unwrap().parse::<Ipv4Addr>().unwrap();
    let inside = |line: &&String| networks.iter().any(|network| network.contains(&address(line)));
    truth.iter().filter(inside).cloned().collect()
}

/// Found exactly who is there; if not, says who is missing and who is not there.
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

/// The books of a scan that lost nothing: every frame is accounted for, from target to output line.
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
    let resets = ["rst_submitted", "rst_by_kernel", "rst_capped", "rst_no_room"]
        .map(|name| scanned.number(&format!("/counters/{name}")));
    assert_eq!(resets.iter().sum::<u64>(), scanned.number("/counters/rx_synack"));
    assert_eq!(scanned.number("/counters/rst_sent"), resets[0]);
}
