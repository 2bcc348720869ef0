//! The TCP and ICMP modules against real kernels: hosts that answer, hosts that refuse, and a router that sends ICMP
//! errors for packets that it cannot deliver. Compared with Debian's zmap, if it has the module.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use lab::{Lab, have_root, run};
use support::capture::Tcpdump;
use support::truth::assert_found;
use support::zmap::{Row, csv_rows, json_rows, zmap};
use support::{Scanned, Scans as _};

/// 198.18.0.0/20 has 2,048 hosts that answer (the lower half), 1,024 that the router cannot reach, and 1,024 that it
/// must not reach.
const TARGETS: &str = "198.18.0.0/20";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    There,
    Unreachable,
    Prohibited,
}

fn fate(address: u32) -> Fate {
    match address >> 10 & 3 {
        0 | 1 => Fate::There,
        2 => Fate::Unreachable,
        _ => Fate::Prohibited,
    }
}

fn lab() -> Lab {
    let lab = Lab::new(2);
    // Not by unreachable routes: the kernel limits the number of errors for those.
    for (offset, reason) in [(8, "host-unreachable"), (12, "admin-prohibited")] {
        let prefix = format!("198.18.{offset}.0/22");
        let rule = format!(
            "add table ip refuse; add chain ip refuse early {{ type filter hook prerouting priority 0; }}; \
                 add rule ip refuse early ip daddr {prefix} reject with icmp type {reason}"
        );
        lab.in_ns(&lab.net, "nft", [rule]);
    }
    // A router that answers every packet: by default it answers only a few per second.
    lab.send_all_icmp_errors();
    lab.in_ns(&lab.net, "sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
    lab
}

/// A line for each of the 4,096 targets, in the format of `line`.
fn truth(line: impl Fn(Ipv4Addr, Fate) -> String) -> BTreeSet<String> {
    (0xc612_0000..0xc612_1000u32).map(|address| line(address.into(), fate(address))).collect()
}

fn survey(lab: &Lab, arguments: &str) -> Scanned {
    let scanned = lab.survey(&format!("-r 20000 -c 2 -q {arguments} {TARGETS}"));
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    let count = |name: &str| scanned.number(&format!("/counters/{name}"));
    assert_eq!(count("rx_invalid"), 0, "the XDP program and the worker disagree");
    assert_eq!(
        count("rx_frames"),
        ["rx_synack", "rx_rst", "rx_icmp_error", "rx_echo", "rx_udp"].map(count).iter().sum::<u64>()
    );
    assert_eq!(count("rx_frames"), scanned.number("/xdp_counters/valid_redirected"));
    scanned
}

#[test]
fn echo_requests_find_hosts_and_routers() {
    if !have_root() {
        return;
    }
    let lab = lab();
    let expected = truth(|address, fate| match fate {
        Fate::There => format!("{address},{address},0,0,echoreply,1"),
        Fate::Unreachable => format!("198.19.0.2,{address},3,1,unreach,0"),
        Fate::Prohibited => format!("198.19.0.2,{address},3,13,unreach,0"),
    });
    for module in ["icmp_echoscan", "icmp_echo_time", "icmp_echoscan --probe-args text:hello,world"] {
        let scanned = survey(&lab, &format!("-M {module} -f saddr,target,type,code,classification,success"));
        assert_found(module, &scanned, &expected);
    }
    // A probe that lives for one hop gets no farther than the router, which says so of each that it would forward.
    run("ip", ["-n", &lab.net, "route", "del", "local", "198.18.0.0/17", "dev", "lo"]);
    run("ip", ["-n", &lab.net, "route", "add", "198.18.0.0/17", "via", "198.19.0.1"]);
    let scanned = survey(&lab, "-M icmp_echoscan --probe-ttl 1 -f target,classification,responder");
    let expected = truth(|address, fate| match fate {
        Fate::There => format!("{address},timxceed,198.19.0.2"),
        Fate::Unreachable | Fate::Prohibited => format!("{address},unreach,198.19.0.2"),
    });
    assert_found("a time to live of 1", &scanned, &expected);
}

/// The URI of the sender arrives where RFC 9511 has it: at the start of the payload, or behind a zero byte. Hosts that
/// answer repeat it, and their answers still prove their probes.
#[test]
fn attribution_in_probes() {
    const URI: &str = "https://scan.example.org/.well-known/probing.txt";
    if !have_root() {
        return;
    }
    let lab = lab();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let uri = hex(URI.as_bytes());
    for (arguments, before) in [
        ("-M icmp_echoscan", ""),
        ("-M icmp_echoscan --probe-args hex:0102", "010200"),
        ("-M icmp_echo_time", ".{40}00"),
        ("-M udp -p 9", ""),
    ] {
        let tcpdump = Tcpdump::start(&lab, &lab.net, "net0", 200, &[], "icmp or udp");
        let scanned =
            lab.survey(&format!("-r 5000 -c 1 -q --attribution {URI} -f success {arguments} {TARGETS}"));
        let file = tcpdump.end();
        // Every target answers, or the router does for it.
        assert_eq!(scanned.results.lines().count(), 4096 + 1, "{arguments}: {}", scanned.stderr());
        assert_eq!(scanned.metadata["attribution_in_probes"], "all", "{arguments}");
        let fields = "-n -T fields -e icmp.type -e data.data -e ip.checksum.status -e icmp.checksum.status -e udp.checksum.status \
                      -e udp.payload -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE -r";
        let text = run("tshark", fields.split_whitespace().chain([file.to_str().unwrap()]));
        let probes: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .filter(|columns| columns[0] == "8" || columns[0].is_empty() && !columns[5].is_empty())
            .collect();
        assert_eq!(probes.len(), 4096, "{arguments}");
        for columns in probes {
            let data = if columns[0] == "8" { columns[1] } else { columns[5] };
            let carried = data.split_once(&format!("{uri}00"));
            let (found, rest) = carried.unwrap_or_else(|| panic!("{arguments}: {columns:?}"));
            let is_there = if before.starts_with('.') {
                found.len() == 42 && found.ends_with("00")
            } else {
                found == before
            };
            assert!(is_there && rest.is_empty(), "{arguments}: {columns:?}");
            assert!(columns[3] != "0" && columns[4] != "0", "a checksum is wrong: {columns:?}");
        }
    }
}

/// The round-trip time of a probe is what the network adds, and a little more.
#[test]
fn round_trip_times() {
    if !have_root() {
        return;
    }
    let lab = lab();
    lab.start_nginx(&[Ipv4Addr::new(198, 18, 0, 7), Ipv4Addr::new(198, 18, 3, 9)]);
    for (arguments, hosts) in [
        ("-M icmp_echo_time -f rtt_us,success", 2048),
        ("-M tcp_synscan -p 80 --probe-args rtt -f rtt_us,success", 2),
    ] {
        let scanned = lab.survey(&format!("-r 5000 -c 1 -q --successes-only {arguments} {TARGETS}"));
        assert_eq!(scanned.results.lines().count(), hosts + 1, "{arguments}: {}", scanned.stderr());
        for line in scanned.results.lines().skip(1) {
            let rtt_us: u64 = line.split(',').next().unwrap().parse().expect(line);
            assert!((1..2_000_000).contains(&rtt_us), "{arguments}: {line}");
        }
        // The percentiles are of the same times, and those of the probes' lateness of all probes.
        let mut times: Vec<u64> = scanned.results.lines().skip(1).map(first_number).collect();
        times.sort_unstable();
        let number = |name: &str| scanned.number(&format!("/rtt_us/{name}"));
        assert_eq!(number("count"), hosts as u64, "{arguments}");
        for (name, expected) in
            [("min", times[0]), ("p50", times[(hosts - 1) / 2]), ("max", times[hosts - 1])]
        {
            let found = number(name);
            assert!(
                found.abs_diff(expected) <= 1 + expected / 50,
                "{arguments}: {name} {found}, not {expected}"
            );
        }
        assert_eq!(scanned.number("/probes_late_ns/count"), scanned.number("/packets_sent"));
        let late = scanned.number("/probes_late_ns/p50");
        assert!(late < 100_000_000, "{arguments}: half of the probes were {late} ns late");
        let log = scanned.stderr();
        assert!(log.contains("round-trip times: median ") && log.contains("CPU time of a million"), "{log}");
        let cpu = |name: &str| scanned.metadata["cpu"][name].as_f64().unwrap();
        assert!(cpu("process_seconds") > 0.0 && cpu("machine_seconds") >= cpu("softirq_seconds"));
        let million = cpu("process_seconds") * 1e6 / scanned.number("/packets_sent") as f64;
        assert!((cpu("process_seconds_per_million") - million).abs() < 0.01 * million);
    }
    // Without a limit no probe is due at a time, and most modules do not tell how long answers took.
    let scanned = lab.survey(&format!("-p 80 -r 0 -c 1 -q {TARGETS}"));
    let keys = ["probes_late_ns", "rtt_us"].map(|key| scanned.metadata.get(key).is_some());
    assert_eq!(keys, [false, false], "{}", scanned.metadata);
}

/// The number that a line begins with.
fn first_number(line: &str) -> u64 {
    line.split(',').next().unwrap().parse().unwrap()
}

/// A router's answer to a SYN is a separate result, with the target and the responder.
#[test]
fn syns_hear_of_routers() {
    if !have_root() {
        return;
    }
    let lab = lab();
    let fields = "-f saddr,sport,classification,success,icmp_responder,icmp_type,icmp_code,icmp_unreach_str";
    for (module, there) in [("tcp_synscan", "rst,0,,,,"), ("tcp_synackscan", "rst,1,,,,")] {
        let expected = truth(|address, fate| match fate {
            Fate::There => format!("{address},443,{there}"),
            Fate::Unreachable => format!("{address},,icmp,0,198.19.0.2,3,1,host unreachable"),
            Fate::Prohibited => {
                format!("{address},,icmp,0,198.19.0.2,3,13,communication admin. prohibited")
            }
        });
        assert_found(module, &survey(&lab, &format!("-M {module} -p 443 {fields}")), &expected);
    }
}

/// Debian's zmap finds the same hosts, in the same words, for the modules and fields that both have: in CSV, in JSON
/// and in its default mode.
#[test]
fn agrees_with_zmap() {
    if !have_root() {
        return;
    }
    let lab = lab();
    lab.start_nginx(&[Ipv4Addr::new(198, 18, 0, 7), Ipv4Addr::new(198, 18, 3, 9)]);
    for (arguments, fields, successes) in [
        ("-M tcp_synscan -p 80", "sport,window,classification,success,repeat", 2),
        ("-M icmp_echoscan", "type,code,classification,success,repeat", 2048),
        ("-M icmp_echo_time", "type,code,classification,success,dst_raw", 2048),
    ] {
        let fields = format!("saddr,saddr_raw,daddr,daddr_raw,ttl,{fields}");
        for (format, rows) in [("csv", csv_rows as fn(&str) -> Vec<Row>), ("json", json_rows)] {
            // zmap 2.1.1 knows no probe in an ICMP error.
            let of_targets = |rows: Vec<Row>| -> BTreeSet<Row> {
                let of_router = |row: &Row| matches!(row["classification"].as_str(), "icmp" | "unreach");
                rows.into_iter().filter(|row| !of_router(row)).collect()
            };
            let named = fields.replace("_raw", "-raw");
            let of_targets = |written: &str| of_targets(rows(written));
            let theirs = zmap(&lab, &format!("{arguments} -O {format} -f {named} {TARGETS}"), |written| {
                of_targets(written).len() >= 2048
            });
            let ours = survey(&lab, &format!("{arguments} -O {format} -f {fields}"));
            let [theirs, ours] = [&theirs, &ours.results].map(|written| of_targets(written));
            let [only_ours, only_theirs]: [Vec<_>; 2] =
                [(&ours, &theirs), (&theirs, &ours)].map(|(a, b)| a.difference(b).take(4).collect());
            assert!(
                only_ours.is_empty() && only_theirs.is_empty(),
                "{arguments} {format}: only ours {only_ours:?}, only zmap's {only_theirs:?}"
            );
        }
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        // By default only successes.
        let all = |written: &str| lines(written).len() == successes;
        let theirs = lines(&zmap(&lab, &format!("{arguments} {TARGETS}"), all));
        let ours = lines(&survey(&lab, arguments).results);
        assert!(ours == theirs, "{arguments}: {} and {}", ours.len(), theirs.len());
    }
}
