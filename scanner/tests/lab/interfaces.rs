//! Scans through several interfaces, and replies that come back over another one.

use std::collections::BTreeSet;

use lab::wires::{bend_replies, mac, two_wires};
use lab::{HOSTS, have_root, run};
use support::Scans as _;
use support::capture::Sniffer;
use support::truth::{FIELDS, assert_found, check_ledger, truth};

/// Two interfaces share a scan: every target is probed once, by one or the other, each from its own addresses; all are
/// found, even if all replies come back over one of them. The order does not depend on it. How much each sends depends
/// on the load of this machine: `alone` tests that.
#[test]
fn two_interfaces_share_a_scan() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let truth = truth(HOSTS, &servers);
    let lab = two_wires();
    lab.start_nginx(&servers);
    for bent in [false, true] {
        if bent {
            bend_replies(&lab, "198.19.4.1", "net0", "scan0");
        }
        let filter = "tcp[tcpflags] == tcp-syn";
        let wires = ["net0", "net1"].map(|device| Sniffer::start(&lab, &lab.net, device, filter));
        let scanned = lab.survey_on("scan0,scan1", &format!("-p 80 -r 20000 -c 1 -q {FIELDS} 198.18.0.0/16"));
        assert_found(&format!("replies bent: {bent}"), &scanned, &truth);
        check_ledger(&scanned, 65_536);
        let seen = wires.map(|wire| wire.end(&["ip.src", "ip.dst", "eth.src"]));
        let mut all = BTreeSet::new();
        for (i, probes) in seen.iter().enumerate() {
            let (source, sender) = (["198.19.0.1", "198.19.4.1"][i], mac(&lab.scan, ["scan0", "scan1"][i]));
            assert!(!probes.is_empty(), "{bent}: interface {i} sent nothing");
            assert!(probes.iter().all(|probe| probe[0] == source && probe[2] == sender));
            all.extend(probes.iter().map(|probe| probe[1].clone()));
        }
        assert_eq!((seen[0].len() + seen[1].len(), all.len()), (65_536, 65_536), "each target once");
        let number = |pointer: &str| scanned.number(pointer);
        assert_eq!((number("/senders"), number("/rx_queues")), (2, 4));
        assert_eq!(scanned.metadata["iface"], "scan0,scan1");
        let replies = [0, 1].map(|i| number(&format!("/interfaces/{i}/xdp_counters/valid_redirected")));
        assert_eq!(replies[0] + replies[1], number("/xdp_counters/valid_redirected"));
        assert_eq!(replies[1] == 0, bent, "{replies:?}");
        assert_eq!(scanned.metadata["interfaces"][1]["gateway_ip"], "198.19.4.2");
        assert_eq!(scanned.metadata["workers"][1]["interface"], "scan1");
        assert_eq!(lab.in_ns(&lab.net, "ss", ["-Htn", "state", "syn-recv"]), "", "{bent}");
    }
    let first = |interfaces: &str| {
        let wires = ["net0", "net1"].map(|device| Sniffer::start(&lab, &lab.net, device, "tcp"));
        let scanned = lab.survey_on(interfaces, "-p 81 -n 1000 -e 7 -c 0 -q 198.18.128.0/17");
        assert_eq!(scanned.number("/packets_sent"), 1000, "{}", scanned.stderr());
        wires.map(|wire| wire.end(&["ip.dst"])).concat().into_iter().collect::<BTreeSet<_>>()
    };
    let one = first("scan1");
    assert!(one.len() == 1000 && one == first("scan0,scan1"));
}

/// Requests for several interfaces that cannot be met.
#[test]
fn what_several_interfaces_cannot_do() {
    if !have_root() {
        return;
    }
    let lab = two_wires();
    for (interfaces, options, code, words) in [
        ("scan0,scan0", "", 4, "go through scan0"),
        ("scan0,scan9", "", 4, "no interface 'scan9'"),
        ("scan0,scan1", "-S 198.19.0.1", 2, "none of them is an address of scan1"),
        ("scan0,scan1", "-S 198.19.0.1,198.19.4.1,198.19.5.5", 2, "198.19.5.5"),
        ("scan0,scan1", "--source-mac 02:00:00:00:00:01", 2, "--source-mac"),
        ("scan0,scan1", "-G 02:00:00:00:00:01", 2, "--gateway-mac: give one for each of the 2"),
        ("scan0", "-G 02:00:00:00:00:01,02:00:00:00:00:02", 2, "--gateway-mac: give one"),
        ("scan0,scan1", "--io-mode live", 4, "only one interface"),
    ] {
        let scanned = lab.survey_on(interfaces, &format!("-p 80 -n 1 {options} 198.18.0.0/24"));
        let stderr = scanned.stderr();
        assert_eq!(scanned.output.status.code(), Some(code), "{interfaces} {options}: {stderr}");
        assert!(stderr.contains(words) && stderr.lines().count() == 1, "{interfaces} {options}: {stderr}");
        assert!(!lab.has_xdp());
    }
    // Of a route with several gateways one is used, and the log says so.
    run("ip", ["-n", &lab.net, "addr", "add", "198.19.7.9/24", "dev", "net0"]);
    run("ip", ["-n", &lab.scan, "addr", "add", "198.19.7.1/24", "dev", "scan0"]);
    let hops = "route replace default nexthop via 198.19.0.2 dev scan0 nexthop via 198.19.7.9 dev scan0";
    run("ip", ["-n", &lab.scan].into_iter().chain(hops.split(' ')));
    let scanned = lab.survey(&format!("-p 80 -c 1 -q {FIELDS} 198.18.0.0/24"));
    assert!(scanned.stderr().contains("scan0: its route has 2 gateways"), "{}", scanned.stderr());
    assert_eq!(scanned.lines().len(), 256, "{}", scanned.stderr());
    let gateways = format!("-G {},{}", mac(&lab.net, "net0"), mac(&lab.net, "net1"));
    let scanned = lab.survey_on("scan0,scan1", &format!("-p 80 -c 1 -q {FIELDS} {gateways} 198.18.0.0/24"));
    assert_eq!(scanned.lines().len(), 256, "{}", scanned.stderr());
}

/// Replies that come back over another wire are received there, natively and generically; resets leave as the probes
/// did.
#[test]
fn replies_may_come_another_way() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let truth = truth(HOSTS, &servers);
    let lab = two_wires();
    lab.start_nginx(&servers);
    bend_replies(&lab, "198.19.0.1", "net1", "scan1");
    let scan =
        |options: &str| lab.survey(&format!("-p 80 -r 20000 -c 1 -q {FIELDS} {options} 198.18.0.0/16"));
    let deaf = scan("-n 1000");
    assert_eq!((deaf.number("/packets_sent"), deaf.lines().len()), (1000, 0), "they do not come here");
    for mode in ["auto", "generic"] {
        let resets = Sniffer::start(&lab, &lab.net, "net0", "tcp[tcpflags] == tcp-rst");
        let scanned = scan(&format!("--reply-interface scan1 --io-mode {mode}"));
        assert_found(mode, &scanned, &truth);
        check_ledger(&scanned, 65_536);
        assert_eq!(resets.end(&["ip.src"]), vec![vec!["198.19.0.1".to_owned()]; servers.len()], "{mode}");
        assert_eq!(lab.in_ns(&lab.net, "ss", ["-Htn", "state", "syn-recv"]), "", "{mode}");
        assert_eq!(scanned.metadata["reply_iface"], "scan1");
        let sockets = scanned.metadata["sockets"].as_array().unwrap();
        assert_eq!(sockets.iter().filter(|socket| socket["interface"] == "scan1").count(), 2);
        assert!(!run("ip", ["-n", &lab.scan, "link"]).contains("xdp"), "nothing is left on either");
    }
    for (interfaces, words) in [("scan1", "leave it out"), ("scan0,scan1", "several interfaces")] {
        let refused = lab.survey_on(interfaces, "-p 80 --reply-interface scan1 198.18.0.0/24");
        assert_eq!(refused.output.status.code(), Some(2), "{}", refused.stderr());
        assert!(refused.stderr().contains(words), "{}", refused.stderr());
    }
    let unknown = lab.survey("-p 80 --reply-interface scan7 198.18.0.0/24");
    assert_eq!(unknown.output.status.code(), Some(4), "{}", unknown.stderr());
}
