//! The UDP modules against real servers and kernels: snmpd, unbound, chrony, memcached, rpcbind, atftpd; ports without
//! a listener; a router that refuses; a host that unwraps IP in IP. Compared with Debian's zmap.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use lab::{Lab, have_root, run};
use support::zmap::zmap;
use support::{Scanned, Scans as _};

/// SNMPv1, GetRequest of sysDescr.0, community public.
const SNMP_GET: &str = "hex:302902010004067075626c6963a01c020478647\
                        06d020100020100300e300c06082b060102010101000500";

/// The field `data` of an answer must have this, as hexadecimal digits.
type Servers = [(&'static str, u16, &'static str); 5];

/// Where each server is, what its port is, and by what its answer to the ready payload is known.
const SERVERS: Servers = [
    ("198.18.0.17", 161, "6120686f7374206f6620746865206c6162"), // "a host of the lab"
    ("198.18.0.18", 53, "756e626f756e64"),                      // "unbound"
    ("198.18.0.19", 123, "7864706d61700000"),                   // the transmit timestamp of the probe
    ("198.18.0.20", 11_211, "56455253494f4e"),                  // "VERSION"
    ("198.18.0.21", 111, "7864706d00000001"),                   // transaction, reply
];
/// It answers from another port.
const TFTP: &str = "198.18.0.22";

/// A lab whose kernel sends an ICMP error for each packet that deserves one, and a router that refuses 198.18.1.0/24.
fn lab() -> Lab {
    let lab = Lab::new(2);
    lab.send_all_icmp_errors();
    lab.in_ns(&lab.net, "sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
    let rule = "add table ip refuse; add chain ip refuse early { type filter hook prerouting priority 0; }; \
                add rule ip refuse early ip daddr 198.18.1.0/24 reject with icmp type admin-prohibited";
    lab.in_ns(&lab.net, "nft", [rule]);
    lab
}

/// Starts all servers and waits until they listen.
fn start_servers(lab: &mut Lab) {
    let folder = lab.folder().to_owned();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let root = folder.display();
    let snmpd = write("snmpd.conf", "rocommunity public\nsysDescr a host of the lab\n");
    let unbound = write(
        "unbound.conf",
        &format!(
            "server:\n interface: 198.18.0.18\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n username: \"\"\n \
             chroot: \"\"\n directory: \"{root}\"\n pidfile: \"{root}/unbound.pid\"\n use-syslog: no\n \
             logfile: \"{root}/unbound.log\"\n num-threads: 1\nremote-control:\n control-enable: no\n"
        ),
    );
    let chrony = write(
        "chrony.conf",
        &format!(
            "local stratum 8\nallow all\nbindaddress 198.18.0.19\ncmdport 0\nbindcmdaddress /\n\
             pidfile {root}/chronyd.pid\n"
        ),
    );
    let net = lab.net.clone();
    let commands = [
        format!(
            "env SNMP_PERSISTENT_DIR={root} snmpd -f -LF n {root}/snmpd.log -C -c {snmpd} -p {root}/snmpd.pid \
             udp:198.18.0.17:161"
        ),
        format!("unbound -d -c {unbound}"),
        format!("chronyd -d -x -u root -f {chrony}"),
        "memcached -u root -l 198.18.0.20 -p 11211 -U 11211".to_owned(),
        format!("atftpd --daemon --no-fork --user root.root --bind-address {TFTP} --port 69 {root}"),
    ];
    for command in &commands {
        let mut words = command.split_whitespace();
        lab.start(&net, words.next().unwrap(), words);
    }
    // Its lock and its socket are separate from those of the machine.
    lab.start(&net, "sh", ["-c", "mount -t tmpfs none /run && exec rpcbind -f -h 198.18.0.21"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    for (address, port) in SERVERS.iter().map(|server| (server.0, server.1)).chain([(TFTP, 69)]) {
        while !lab.in_ns(&net, "ss", ["-Hlun"]).contains(&format!("{address}:{port} ")) {
            assert!(Instant::now() < deadline, "nobody listens on {address}:{port}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn survey(lab: &Lab, arguments: &str) -> Scanned {
    let scanned = lab.survey(&format!("-r 10000 -c 2 {arguments}"));
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    let count = |name: &str| scanned.number(&format!("/counters/{name}"));
    assert_eq!(count("rx_invalid"), 0, "the XDP program and the worker disagree");
    assert_eq!(count("rx_frames"), count("rx_udp") + count("rx_icmp_error"));
    assert_eq!(count("rx_frames"), scanned.number("/xdp_counters/valid_redirected"));
    scanned
}

#[track_caller]
fn assert_same(found: &BTreeSet<String>, truth: &BTreeSet<String>, case: &str) {
    let missing: Vec<_> = truth.difference(found).take(4).collect();
    let extra: Vec<_> = found.difference(truth).take(4).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{case}: missing {missing:?}, extra {extra:?}");
}

/// Each server answers the ready payload for its port, and only that one; every other port is reported as closed.
#[test]
fn ready_payloads_find_servers() {
    if !have_root() {
        return;
    }
    let mut lab = lab();
    start_servers(&mut lab);
    let arguments = "-M udp --probe-args auto -p 53,69,111,123,161,11211 \
                     -f saddr,target_port,classification,success,icmp_responder,icmp_type,icmp_code,data 198.18.0.16/28";
    let open: BTreeMap<(String, u16), &str> =
        SERVERS.iter().map(|(address, port, data)| (((*address).to_owned(), *port), *data)).collect();
    for validate in [false, true] {
        let flag = if validate { "--validate-source-port enable" } else { "" };
        let scanned = survey(&lab, &format!("{flag} {arguments}"));
        let mut found = BTreeSet::new();
        for line in scanned.lines() {
            let (rest, data) = line.rsplit_once(',').unwrap();
            let columns: Vec<_> = rest.split(',').collect();
            let port = columns[1].parse().unwrap();
            if columns[0] == TFTP && columns[2] == "udp" {
                assert!(!validate && port != 69 && data.starts_with("0005"), "an error of tftpd: {line}");
                found.insert("tftp".to_owned());
                continue;
            }
            if let Some(known) = open.get(&(columns[0].to_owned(), port)) {
                assert!(data.contains(known), "{line}: no {known}");
            }
            found.insert(rest.to_owned());
        }
        let mut truth: BTreeSet<_> = if validate { [].into() } else { ["tftp".to_owned()].into() };
        for address in (0xc612_0010..0xc612_0020u32).map(|address| Ipv4Addr::from(address).to_string()) {
            for port in [53, 69, 111, 123, 161, 11_211] {
                match open.contains_key(&(address.clone(), port)) {
                    _ if (address.as_str(), port) == (TFTP, 69) => false,
                    true => truth.insert(format!("{address},{port},udp,1,,,")),
                    false => truth.insert(format!("{address},{port},icmp,0,{address},3,3")),
                };
            }
        }
        assert_same(&found, &truth, flag);
    }
    let scanned = survey(&lab, "-q -M udp --probe-args auto -p 161,162 198.18.0.16/28");
    assert!(scanned.stderr().contains("no payload for ports 162"), "{}", scanned.stderr());
    assert_eq!(scanned.results.trim(), "198.18.0.17,161");
}

/// A fixed payload: which hosts answer, which refuse and which are behind a router that does; sent in the usual way and
/// as live frames.
#[test]
fn fixed_payloads_find_servers_and_routers() {
    if !have_root() {
        return;
    }
    let mut lab = lab();
    start_servers(&mut lab);
    let fields = "-f saddr,sport,classification,success,udp_pkt_size,icmp_responder,icmp_type,icmp_code,icmp_unreach_str";
    let truth: BTreeSet<_> = (0xc612_0000..0xc612_0200u32)
        .map(|number| {
            let address = Ipv4Addr::from(number);
            match number {
                0xc612_0011 => format!("{address},161,udp,1,68,,,,"),
                0xc612_0100.. => {
                    format!("{address},,icmp,0,,198.19.0.2,3,13,communication admin. prohibited")
                }
                _ => format!("{address},,icmp,0,,{address},3,3,port unreachable"),
            }
        })
        .collect();
    for options in ["", "-P 3", "--validate-source-port enable"] {
        let scanned = survey(
            &lab,
            &format!("-q -M udp --probe-args {SNMP_GET} -p 161 {options} {fields} 198.18.0.0/23"),
        );
        assert_same(&scanned.lines(), &truth, options);
    }
}

/// The output of a template reaches the target as written, as a server that echoes it shows.
#[test]
fn templates_are_filled_in() {
    if !have_root() {
        return;
    }
    let lab = lab();
    let file = lab.folder().join("template");
    std::fs::write(&file, "${DADDR} ${DPORT} ${SADDR} ${SPORT} ${RAND_ALPHANUM=12} ${FOO}${HEX=0a}").unwrap();
    let echo = lab.thread_in(&lab.net, || {
        let socket = UdpSocket::bind("198.18.0.40:7").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut bytes = [0; 2000];
        for _ in 0..2 {
            let (len, from) = socket.recv_from(&mut bytes).unwrap();
            socket.send_to(&bytes[..len], from).unwrap();
        }
    });
    while !lab.in_ns(&lab.net, "ss", ["-Hlun"]).contains("198.18.0.40:7 ") {
        std::thread::sleep(Duration::from_millis(20));
    }
    let arguments = format!(
        "-q -M udp --probe-args template:{} -p 7 -P 2 -O json -f dport,data,success 198.18.0.40",
        file.display()
    );
    let scanned = survey(&lab, &arguments);
    echo.join().unwrap();
    let mut random = BTreeSet::new();
    for line in scanned.results.lines() {
        let reply: serde_json::Value = serde_json::from_str(line).unwrap();
        let digits = reply["data"].as_str().unwrap().as_bytes().to_vec();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let text = String::from_utf8(digits.chunks(2).map(byte).collect()).unwrap();
        let words: Vec<_> = text.split(' ').collect();
        assert_eq!(words[..3], ["198.18.0.40", "7", "198.19.0.1"], "{text}");
        assert_eq!(words[3], reply["dport"].to_string(), "{text}");
        assert_eq!((words[4].len(), words[5]), (12, "${FOO}\n"), "{text}");
        random.insert(words[4].to_owned());
    }
    assert_eq!(random.len(), 2, "each copy has its own: {}", scanned.results);
}

/// Debian's zmap finds the same servers and reports the same about them.
#[test]
fn agrees_with_zmap() {
    if !have_root() {
        return;
    }
    let mut lab = lab();
    start_servers(&mut lab);
    for (port, payload, count) in
        [(161, SNMP_GET, 1), (11_211, "hex:00010000000100007665720d0a", 1), (161, "text:x", 0)]
    {
        let arguments = format!(
            "-M udp --probe-args={payload} -p {port} -f saddr,classification,success,sport,udp_pkt_size,data,ttl"
        );
        // zmap 2.1.1 knows no UDP probe in an ICMP error.
        let of_servers = |written: &str| -> BTreeSet<String> {
            written.lines().filter(|line| line.contains(",udp,")).map(str::to_owned).collect()
        };
        let all = |written: &str| of_servers(written).len() == count;
        let theirs = of_servers(&zmap(&lab, &format!("{arguments} -O csv 198.18.0.0/24"), all));
        let ours = of_servers(&survey(&lab, &format!("-q {arguments} 198.18.0.0/24")).results);
        assert_same(&ours, &theirs, &arguments);
    }
}

/// A host that unwraps the packets that it gets and forwards their content: those with odd addresses.
const RELAY: &str = "
import socket
packets = socket.socket(socket.AF_INET, socket.SOCK_RAW, 4)
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
while True:
    inner = packets.recv(2000)[20:]
    if inner[15] % 2:
        out.sendto(inner, (socket.inet_ntoa(inner[16:20]), 0))
";

/// Routers report about IP in IP as about everything else. Not by a rule of nftables, as in the rest of this file:
/// before it refuses anything that is not UDP, the kernel needs the whole payload to add up to an Internet checksum
/// (`nf_reject_verify_csum`), which an IPv4 packet does not. By routes, for which the kernel sends one sender five
/// errors at a time (`net.ipv4.route.error_burst`). Probes come from one worker: two processors at once would update
/// that count at the same time, without a lock, and some errors that are due would be held back.
fn routers_answer_for_ipip(lab: &Lab) {
    for (kind, network) in [("prohibit", "198.18.4.0/24"), ("unreachable", "198.18.5.0/24")] {
        run("ip", ["-n", &lab.net, "route", "add", kind, network]);
    }
    run("ip", ["-n", &lab.net, "route", "add", "198.18.6.0/24", "via", "198.19.0.1"]);
    let fields = "-f saddr,classification,success,icmp_responder,icmp_type,icmp_code,icmp_unreach_str";
    for more in ["", "--validate-source-port enable -P 1"] {
        // What an earlier scan has used of the five is replenished, one per second.
        std::thread::sleep(Duration::from_secs(4));
        let scanned =
            survey(lab, &format!("-q -T 1 -M ipip -p 53 {more} {fields} 198.18.4.0/31 198.18.5.0/31"));
        let truth = BTreeSet::from([
            "198.18.4.0,icmp-unreach,0,198.19.0.2,3,13,communication admin. prohibited".to_owned(),
            "198.18.4.1,icmp-unreach,0,198.19.0.2,3,13,communication admin. prohibited".to_owned(),
            "198.18.5.0,icmp-unreach,0,198.19.0.2,3,1,host unreachable".to_owned(),
            "198.18.5.1,icmp-unreach,0,198.19.0.2,3,1,host unreachable".to_owned(),
        ]);
        assert_same(&scanned.lines(), &truth, more);
    }
    let fields = "-f saddr,classification,success,icmp_responder,icmp_type,icmp_code";
    let scanned = survey(lab, &format!("-q -M ipip -p 53 --probe-ttl 1 {fields} 198.18.6.0/25"));
    let expired = |number: u32| format!("{},other,0,198.19.0.2,11,0", Ipv4Addr::from(0xc612_0600 + number));
    assert_same(&scanned.lines(), &(0..128).map(expired).collect(), "a time to live of 1");
}

/// Hosts that forward the inner packet are found; hosts that do not support IP in IP say so.
#[test]
fn ipip_finds_relays() {
    if !have_root() {
        return;
    }
    let mut lab = lab();
    let arguments = "-q -M ipip -p 53 \
        -f saddr,sport,classification,success,icmp_responder,icmp_type,icmp_code,data 198.18.0.128/25";
    let refused = |number: u32| {
        let address = Ipv4Addr::from(number);
        format!("{address},,icmp-unreach,0,{address},3,2,")
    };
    let targets = || 0xc612_0080..0xc612_0100u32;
    let scanned = survey(&lab, arguments);
    assert_same(&scanned.lines(), &targets().map(refused).collect(), "nobody unwraps");
    routers_answer_for_ipip(&lab);
    let net = lab.net.clone();
    lab.start(&net, "python3", ["-c", RELAY]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while lab.in_ns(&net, "ss", ["-Hwan"]).lines().count() < 2 {
        assert!(Instant::now() < deadline, "the relay does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let truth = targets()
        .filter(|number| number % 2 == 1)
        .map(|number| format!("{},53,udp,1,,,,68656c6c6f", Ipv4Addr::from(number)));
    let scanned = survey(&lab, &format!("--probe-args text:hello {arguments}"));
    assert_same(&scanned.lines(), &truth.collect(), "odd addresses unwrap");
}
