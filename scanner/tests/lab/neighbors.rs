//! Targets on the interface's own network: a switch with real hosts on it, each behind its own MAC address.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use lab::lan::Lan;
use lab::{have_root, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::Scans as _;
use support::capture::Sniffer;
use support::truth::FIELDS;

/// The hosts' last bytes: the third one only captures.
const HOSTS: [&[u8]; 3] = [&[10, 11, 12, 13, 99, 254], &[50, 51], &[200]];

/// What a scan of 10.77.0.0/24 on port 80 finds: resets from all, but for the one address where something listens.
fn truth() -> BTreeSet<String> {
    let line = |&host: &u8| match host {
        50 => "10.77.0.50,80,synack,1".to_owned(),
        _ => format!("10.77.0.{host},80,rst,0"),
    };
    HOSTS.into_iter().flatten().map(line).collect()
}

/// A sweep of the own network finds exactly its hosts. Each probe and reset goes to the target's MAC address, and no
/// other host sees it. Targets behind the gateway may be among them. The kernel's neighbour table is left alone.
#[test]
fn a_sweep_of_the_own_network_finds_its_hosts() {
    if !have_root() {
        return;
    }
    let lan = Lan::new(&HOSTS);
    let lab = &lan.lab;
    let listener = lab.thread_in(&lan.hosts[1], || TcpListener::bind("10.77.0.50:80").unwrap()).join();
    let third = Sniffer::start(lab, &lan.hosts[2], "lan0", "tcp");
    let switch = Sniffer::start(lab, &lab.net, "net0", "tcp");
    let scanned = lab.survey(&format!("-p 80 -P 2 -r 5000 -c 1 -q {FIELDS} 10.77.0.0/24"));
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.lines(), truth(), "{}", scanned.stderr());
    assert_eq!(scanned.number("/targets_scanned"), 9);
    assert_eq!(scanned.number("/packets_sent"), 18);
    assert_eq!(scanned.number("/counters/targets_unreachable"), 256 - 9, "no target is forgotten");
    assert_eq!(
        (scanned.number("/ledger/accounts/targets/total"), scanned.row("targets", "unreachable")),
        (256, 247)
    );
    assert_eq!(scanned.number("/counters/rst_sent"), 2);
    let neighbors = |name: &str| scanned.number(&format!("/neighbors/{name}"));
    // Neither our own nor the network's own address is looked up, and only hosts that are silent are looked up twice.
    assert_eq!((neighbors("targets"), neighbors("answered"), neighbors("requests")), (254, 9, 254 + 245));
    assert_eq!(scanned.metadata["neighbors"]["networks"][1], "10.77.0.0/16");
    assert_eq!(scanned.metadata.get("gateway_mac"), None);

    let owner = |address: &str| {
        let last: u8 = address.rsplit('.').next().unwrap().parse().unwrap();
        HOSTS.iter().position(|addresses| addresses.contains(&last)).map(|i| lan.macs[i].as_str())
    };
    let frames = switch.end(&["eth.dst", "ip.dst", "tcp.flags.reset"]);
    assert_eq!(frames.iter().filter(|frame| frame[2].contains(['1', 'T'])).count(), 2, "{frames:?}");
    assert_eq!(frames.len(), 18 + 2);
    assert!(frames.iter().all(|frame| owner(&frame[1]) == Some(frame[0].as_str())), "{frames:?}");
    let strays = third.end(&["ip.dst"]);
    assert_eq!(strays, vec![vec!["10.77.0.200".to_owned()]; 2], "what the third host saw");
    let table = run("ip", ["-n", &lab.scan, "neigh", "show"]);
    assert!(table.lines().count() <= 2, "the kernel's own table: {table}");
    let half_open = lab.in_ns(&lan.hosts[1], "ss", ["-Htn", "state", "syn-recv"]);
    assert_eq!(half_open, "", "the resets reach their hosts");

    // Together with a network behind the gateway, in generic mode.
    run("ip", ["-n", &lab.net, "addr", "add", "10.77.0.2/16", "dev", "br0"]);
    let options = format!("-p 80 -r 5000 -c 1 -q --io-mode generic {FIELDS} 10.77.0.0/24 198.18.7.0/24");
    let scanned = lab.survey(&options);
    let behind = (0..256).map(|host| format!("198.18.7.{host},80,rst,0"));
    let expected: BTreeSet<String> =
        truth().into_iter().chain(["10.77.0.2,80,rst,0".to_owned()]).chain(behind).collect();
    assert_eq!(scanned.lines(), expected, "{}", scanned.stderr());
    assert_eq!(scanned.number("/targets_scanned") + scanned.number("/counters/targets_unreachable"), 512);
    assert_eq!(scanned.metadata["gateway_ip"], "198.19.0.2");
    drop(listener);
}

/// Of a large network only those addresses are looked up that a scan reaches: the first N, or those of its shard.
#[test]
fn only_what_is_scanned_is_asked_for() {
    if !have_root() {
        return;
    }
    let lan = Lan::new(&[&[10, 11]]);
    let scanned = lan.lab.survey("-p 80,443 -n 500 -c 0 -q 10.77.0.0/16");
    assert_eq!(scanned.metadata["end_reason"], "max-targets", "{}", scanned.stderr());
    let done = scanned.number("/targets_scanned") + scanned.number("/counters/targets_unreachable");
    assert_eq!(done, 500);
    assert!((250..=500).contains(&scanned.number("/neighbors/targets")), "{}", scanned.metadata);
    let mut asked = 0;
    for shard in 0..2 {
        let options = format!("-p 80 -e 5 --shards 2 --shard {shard} -c 0 -q 10.77.0.0/25");
        let scanned = lan.lab.survey(&options);
        assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        asked += scanned.number("/neighbors/targets");
    }
    assert_eq!(asked, 126, "each by one shard");
}

/// Requests that cannot be met are refused, and a long look-up can be interrupted.
#[test]
fn limits_of_the_search() {
    if !have_root() {
        return;
    }
    let lan = Lan::new(&[&[10]]);
    let lab = &lan.lab;
    let live = lab.survey("-p 80 --io-mode live 10.77.0.0/28");
    assert_eq!(live.output.status.code(), Some(4), "{}", live.stderr());
    assert!(live.stderr().contains("on the local network"), "{}", live.stderr());
    run("ip", ["-n", &lab.scan, "addr", "add", "10.9.0.1/8", "dev", "scan0"]);
    let many = lab.survey("-p 80 10.0.0.0/8");
    run("ip", ["-n", &lab.scan, "addr", "del", "10.9.0.1/8", "dev", "scan0"]);
    assert_eq!(many.output.status.code(), Some(4), "{}", many.stderr());
    for words in ["scan0: 16777216 targets", "own network", "1048576", "--gateway-mac"] {
        assert!(many.stderr().contains(words), "{}", many.stderr());
    }
    let given = lab.survey("-p 80 -c 0 -q -G 02:77:00:00:00:00 10.77.0.8/29");
    assert_eq!(given.number("/packets_sent"), 8, "a next hop that was given is believed");
    assert_eq!(given.metadata.get("neighbors"), None);

    let metadata = lab.folder().join("metadata");
    let mut command = lab.xdpmap("-p 80 -c 0 --arp-rate 10 -o /dev/null 10.77.0.0/16");
    let mut child = command.arg("-m").arg(&metadata).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(
        log.any(|line| line.contains("ARP requests for 65533 neighbours sent")),
        "it tells how far it is"
    );
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    log.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let metadata = support::ledger::metadata(&metadata);
    assert_eq!((&metadata["end_reason"], &metadata["packets_sent"]), (&"interrupted".into(), &0.into()));
}
