//! Routes other than one default route with one gateway, as networks have them.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use lab::lan::Lan;
use lab::{Lab, have_root, run};
use support::capture::Sniffer;
use support::scanner::binary;
use support::truth::FIELDS;
use support::{Scanned, Scans as _};

fn ip(ns: &str, arguments: &str) {
    run("ip", ["-n", ns].into_iter().chain(arguments.split(' ')));
}

fn mac(ns: &str, device: &str) -> String {
    let link = run("ip", ["-n", ns, "-br", "link", "show", "dev", device]);
    link.split_whitespace().nth(2).unwrap().to_owned()
}

/// Resets from port 80 of 198.18.x.y, for these last two bytes as one number.
fn resets(hosts: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    hosts.into_iter().map(|host| format!("198.18.{}.{},80,rst,0", host >> 8, host & 255)).collect()
}

/// A scan that is expected to find these and no others.
fn finds(lab: &Lab, options: &str, expected: &BTreeSet<String>) -> Scanned {
    let scanned = lab.survey(&format!("-p 80 -r 5000 -c 1 -q {FIELDS} {options}"));
    assert_eq!(scanned.output.status.code(), Some(0), "{options}: {}", scanned.stderr());
    assert_eq!(scanned.lines(), *expected, "{options}: {}", scanned.stderr());
    scanned
}

/// A scan that is expected to be refused, in these words.
fn refuses(lab: &Lab, options: &str, words: &[&str]) {
    let scanned = lab.survey(&format!("-p 80 {options}"));
    assert_eq!(scanned.output.status.code(), Some(4), "{options}: {}", scanned.stderr());
    for word in words {
        assert!(scanned.stderr().contains(word), "{options}: {word}: {}", scanned.stderr());
    }
}

/// The destination MAC address and IP address of each probe of a dry run.
fn printed(lab: &Lab, options: &str) -> (Vec<(String, String)>, String) {
    let output = lab.xdpmap(&format!("-d -r 0 -p 80 {options}")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |name: &str| -> Vec<String> {
        let values = text.split(name).skip(1);
        values.map(|rest| rest.split_whitespace().next().unwrap().to_owned()).collect()
    };
    (after("dhost: ").into_iter().zip(after("daddr: ")).collect(), stderr)
}

/// A switch with two routers in addition to the default one; 198.18.0.0/28 is behind the first of them.
fn two_routers() -> (Lan, String) {
    let lan = Lan::new(&[&[10], &[11]]);
    ip(&lan.hosts[0], "route add local 198.18.0.0/28 dev lo");
    ip(&lan.lab.scan, "route add 198.18.0.0/28 via 10.77.0.10");
    let default = mac(&lan.lab.net, "br0");
    (lan, default)
}

/// Each target and its reset go to the gateway of its own route, in each mode; targets that a route prohibits are left
/// out, counted and reported.
#[test]
fn each_target_goes_by_its_own_route() {
    if !have_root() {
        return;
    }
    let (lan, default) = two_routers();
    let lab = &lan.lab;
    ip(&lab.scan, "route add blackhole 198.18.0.32/29");
    ip(&lab.scan, "route add unreachable 198.18.0.40/30");
    ip(&lab.scan, "route add prohibit 198.18.0.44/31");
    let listener =
        lab.thread_in(&lan.hosts[0], || std::net::TcpListener::bind("198.18.0.5:80").unwrap()).join();
    let mut expected = resets((0..32).chain(46..64));
    expected.remove("198.18.0.5,80,rst,0");
    expected.insert("198.18.0.5,80,synack,1".to_owned());
    for mode in ["auto", "generic", "packet"] {
        let switch = Sniffer::start(lab, &lab.net, "net0", "tcp");
        let scanned = finds(lab, &format!("--io-mode {mode} 198.18.0.0/26"), &expected);
        assert_eq!(scanned.number("/targets_scanned"), 50, "{mode}");
        assert_eq!(scanned.number("/counters/targets_unreachable"), 14, "{mode}");
        for words in [
            "198.18.0.0/28 have another route",
            "targets in 198.18.0.32/29 are left out: their route is a blackhole",
            "targets in 198.18.0.40/30 are left out: their route says that they are unreachable",
            "targets in 198.18.0.44/31 are left out: their route says that they are prohibited",
        ] {
            assert!(scanned.stderr().contains(words), "{words}: {}", scanned.stderr());
        }
        let frames = switch.end(&["eth.dst", "ip.dst"]);
        assert!(frames.len() >= 51, "{mode}: {} frames", frames.len());
        for frame in frames {
            let last: u8 = frame[1].rsplit('.').next().unwrap().parse().unwrap();
            let gateway = if last < 16 { &lan.macs[0] } else { &default };
            assert_eq!(frame[0], *gateway, "{mode}: {}", frame[1]);
        }
    }
    drop(listener);
    let (probes, _) = printed(lab, "198.18.0.0/26");
    assert_eq!(probes.len(), 50);
    assert_eq!(probes.iter().filter(|(to, _)| *to == lan.macs[0]).count(), 16);
    assert_eq!(probes.iter().filter(|(to, _)| *to == default).count(), 34);
    refuses(lab, "198.18.0.32/29", &["scan0:", "from 198.18.0.32 on", "blackhole", "--gateway-mac"]);
    refuses(lab, "--io-mode live 198.18.0.0/26", &["live frames", "another next hop", "by a route"]);
}

/// If one gateway serves all targets, only that one is resolved, whatever other routes there are. A more specific route
/// within the own network counts.
#[test]
fn routes_of_others_do_not_matter() {
    if !have_root() {
        return;
    }
    let (lan, _) = two_routers();
    ip(&lan.lab.scan, "route add 198.18.64.0/24 via 10.77.0.77");
    let scanned = finds(&lan.lab, "198.18.1.0/26", &resets(256..320));
    assert_eq!(scanned.metadata["gateway_ip"], "198.19.0.2");
    ip(&lan.lab.scan, "route add 10.77.5.0/24 via 10.77.0.10");
    ip(&lan.hosts[0], "route add local 10.77.5.0/24 dev lo");
    let expected = ["10.77.0.11,80,rst,0", "10.77.5.1,80,rst,0"].map(str::to_owned).into();
    let scanned = finds(&lan.lab, "10.77.0.11 10.77.5.1", &expected);
    assert_eq!(scanned.number("/neighbors/targets"), 1);
}

/// A scan of the Internet uses the default route, and reports other routes; targets that a route prohibits are left out
/// nevertheless. A scan with too many routes uses the default route as well.
#[test]
fn a_wide_scan_goes_by_the_default_route() {
    if !have_root() {
        return;
    }
    let (lan, default) = two_routers();
    let lab = &lan.lab;
    // Known, so that a dry run can print it.
    ip(&lab.scan, &format!("neigh replace 198.19.0.2 lladdr {default} dev scan0"));
    ip(&lab.scan, &format!("neigh replace 10.77.0.10 lladdr {} dev scan0", lan.macs[0]));
    ip(&lab.scan, "route add 1.0.0.0/8 via 10.77.0.10");
    ip(&lab.scan, "route add blackhole 2.0.0.0/7");
    let (probes, stderr) = printed(lab, "-n 4000");
    assert!((3_900..4_000).contains(&probes.len()), "{}", probes.len());
    assert!(probes.iter().all(|(to, _)| *to == default));
    let in_net = |first: &str| probes.iter().filter(|(_, address)| address.starts_with(first)).count();
    assert!(in_net("1.") > 0 && in_net("2.") + in_net("3.") == 0);
    for words in ["default route, via 198.19.0.2", "1.0.0.0/8 via 10.77.0.10", "2.0.0.0/7 are left out"] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    let (probes, _) = printed(lab, "1.0.0.0/24");
    assert!(probes.iter().all(|(to, _)| *to == lan.macs[0]) && probes.len() == 256);
    for net in 0..130 {
        ip(&lab.scan, &format!("route add 198.18.{net}.128/25 via 10.77.0.10"));
    }
    let (probes, stderr) = printed(lab, "198.18.0.0/16");
    assert!(probes.iter().all(|(to, _)| *to == default) && probes.len() == 65_536);
    assert!(stderr.contains("more than 256 pieces"), "{stderr}");
}

/// A separate routing table for packets from the interface's address, as on hosts with several NICs.
#[test]
fn a_route_by_source_is_found() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    ip(&lab.scan, "route del default");
    ip(&lab.scan, "rule add from 198.19.0.1 table 100");
    ip(&lab.scan, "route add default via 198.19.0.2 table 100");
    let expected = resets(0..64);
    for options in ["-S 198.19.0.1 198.18.0.0/26", "198.18.0.0/26"] {
        let scanned = finds(&lab, options, &expected);
        assert_eq!(scanned.metadata["gateway_ip"], "198.19.0.2", "{options}");
    }
    let doctor = lab.shielded().args([binary(), "doctor", "-i", "scan0"]).output();
    let report = String::from_utf8_lossy(&doctor.unwrap().stdout).into_owned();
    assert!(report.contains("198.19.0.2 at "), "{report}");
}

/// A route without a gateway: its targets are on the link, and looked up like those of the own network.
#[test]
fn a_route_without_a_gateway_leads_to_neighbors() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    ip(&lab.scan, "route replace default dev scan0");
    // The far side answers ARP only for its own addresses: 198.18.0.0/17.
    let scanned = finds(&lab, "198.18.127.192/26 198.18.128.0/26", &resets(0x7fc0..0x8000));
    assert_eq!(scanned.number("/counters/targets_unreachable"), 64);
    assert_eq!(scanned.number("/neighbors/answered"), 64);
    ip(&lab.scan, "route replace default via 198.19.0.2");
    ip(&lab.scan, "route add 198.18.1.0/27 dev scan0");
    let scanned = finds(&lab, "198.18.1.0/26", &resets(256..320));
    assert_eq!(scanned.number("/neighbors/answered"), 32);
}

/// An IPv4 route whose next hop has an IPv6 address (RFC 8950).
#[test]
fn a_next_hop_may_have_an_ipv6_address() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for (ns, device, address) in [(&lab.scan, "scan0", "fe80::2/64"), (&lab.net, "net0", "fe80::1/64")] {
        for name in ["all", device] {
            lab.in_ns(ns, "sysctl", ["-qw", &format!("net.ipv6.conf.{name}.disable_ipv6=0")]);
        }
        ip(ns, &format!("addr add {address} dev {device} nodad"));
    }
    ip(&lab.scan, "-4 route replace default via inet6 fe80::1 dev scan0");
    let scanned = finds(&lab, "198.18.0.0/26", &resets(0..64));
    assert_eq!(scanned.metadata["gateway_ip"], "fe80::1");
    assert_eq!(scanned.metadata["gateway_mac"], mac(&lab.net, "net0"));
}

/// The address is on `lo`, and the route says that packets are from there.
#[test]
fn the_routes_source_may_be_elsewhere() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    ip(&lab.scan, "addr flush dev scan0");
    ip(&lab.scan, "addr add 198.19.0.1/32 dev lo");
    ip(&lab.scan, "route add default via 198.19.0.2 dev scan0 onlink src 198.19.0.1");
    let scanned = finds(&lab, "198.18.0.0/26", &resets(0..64));
    assert_eq!(scanned.metadata["source_ips"][0], "198.19.0.1");
    let given = finds(&lab, "-S 198.19.0.1 198.18.0.0/26", &resets(0..64));
    assert!(!given.stderr().contains("no reply arrives"), "{}", given.stderr());
}

/// No host has 00:00:00:00:00:00, and no gateway has our own MAC address, which is in the table if ARP is off.
#[test]
fn a_gateway_needs_a_mac_address_of_its_own() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    ip(&lab.scan, "link set scan0 arp off");
    refuses(&lab, "198.18.0.0/28", &["scan0:", "ARP is off", "198.19.0.2", "--gateway-mac"]);
    ip(&lab.scan, "link set scan0 arp on");
    finds(&lab, "198.18.0.0/28", &resets(0..16));
    ip(&lab.scan, "neigh replace 198.19.0.2 lladdr 00:00:00:00:00:00 dev scan0 nud permanent");
    refuses(&lab, "198.18.0.0/28", &["scan0:", "00:00:00:00:00:00", "198.19.0.2", "--gateway-mac"]);
}

/// Scans while the router is replaced by one with another MAC address, which announces itself.
fn moves_in_mid_scan(lab: &Lab, options: &str) -> Scanned {
    const NEW: &str = "02:00:00:00:00:99";
    lab.in_ns(&lab.net, "sysctl", ["-qw", "net.ipv4.conf.all.arp_notify=1"]);
    let old = mac(&lab.net, "net0");
    let scanned = thread::scope(|scope| {
        let survey = scope.spawn(|| lab.survey(options));
        thread::sleep(Duration::from_millis(2_500));
        ip(&lab.net, &format!("link set net0 address {NEW}"));
        survey.join().unwrap()
    });
    ip(&lab.net, &format!("link set net0 address {old}"));
    scanned
}

/// A gateway that moves to another MAC address is followed, and no target is missed, in each mode and with one next hop
/// or several.
#[test]
fn a_gateway_that_moves_is_followed() {
    if !have_root() {
        return;
    }
    for (mode, several) in [("auto", false), ("generic", false), ("packet", false), ("auto", true)] {
        let lab = Lab::new(1);
        let mut hosts = 0..4_096;
        if several {
            ip(&lab.scan, "route add blackhole 198.18.15.255/32");
            hosts.end -= 1;
        }
        let options = format!("-p 80 -r 1000 -c 2 -q --io-mode {mode} {FIELDS} 198.18.0.0/20");
        let scanned = moves_in_mid_scan(&lab, &options);
        assert_eq!(scanned.output.status.code(), Some(0), "{mode}: {}", scanned.stderr());
        let (found, expected) = (scanned.lines(), resets(hosts));
        let missing = expected.difference(&found).count();
        assert_eq!(missing, 0, "{mode}: of {}: {}", expected.len(), scanned.stderr());
        assert!(scanned.stderr().contains("is at 02:00:00:00:00:99 now"), "{}", scanned.stderr());
        let again = scanned.number("/counters/targets_again");
        assert!((100..3_000).contains(&again), "{mode}: {again} probed again");
        let outage = &scanned.metadata["link_outages"][0];
        assert_eq!((&outage["reason"], &outage["recovered"]), (&"gateway-moved".into(), &true.into()));
    }
}

/// Live frames keep their MAC address: the scan ends and says why, and which targets are in doubt.
#[test]
fn live_frames_cannot_follow_a_gateway() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    // A veth's far side accepts live frames only this way.
    lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "gro", "on"]);
    let scanned = moves_in_mid_scan(&lab, "-p 80 -r 1000 -c 0 -q --io-mode live 198.18.0.0/19");
    assert_eq!(scanned.output.status.code(), Some(4), "{}", scanned.stderr());
    assert_eq!(scanned.metadata["end_reason"], "gateway-changed");
    assert!(scanned.stderr().contains("live frames cannot follow"), "{}", scanned.stderr());
    assert!(scanned.number("/targets_left") > 0 && scanned.number("/targets_in_doubt") > 0);
}
