//! Scans of a VLAN: the XDP program and the sockets on the interface below it, tags in the probes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::tools::tool;
use lab::{HOSTS, Lab, have_root, run};
use support::Scans as _;
use support::truth::{FIELDS, assert_found, check_ledger, truth};

/// Whether the kernel has VLAN interfaces. Prints a warning if not; then only the XDP program's own tests cover tags.
fn have_vlans(test: &str) -> bool {
    let script = "ip link add one type veth peer name two && ip link add link one name one.1 type vlan id 1";
    let made = tool("unshare").args(["-n", "sh", "-c", script]).output().unwrap();
    if !made.status.success() {
        eprintln!(
            "SKIPPED {test}: this kernel has no VLAN interfaces ({})",
            String::from_utf8_lossy(&made.stderr).trim()
        );
    }
    made.status.success()
}

/// A VLAN over the lab's wire, and another one for the host.
fn lab() -> Lab {
    let lab = Lab::new(2);
    for (ns, device, last) in [(&lab.scan, "scan0", 1), (&lab.net, "net0", 2)] {
        let ip = |arguments: &str| run("ip", ["-n", ns].into_iter().chain(arguments.split(' ')));
        for (id, network) in [(100, 1), (200, 2)] {
            ip(&format!("link add link {device} name {device}.{id} type vlan id {id}"));
            ip(&format!("addr add 198.19.{network}.{last}/30 dev {device}.{id}"));
            ip(&format!("link set {device}.{id} up"));
        }
        ip(&format!("link add link {device} name service type vlan proto 802.1ad id 7"));
        ip("link set service up");
        ip("link add link service name customer type vlan id 8");
        ip(&format!("addr add 198.19.3.{last}/30 dev customer"));
        ip("link set customer up");
    }
    lab
}

/// The host's traffic to the far side while a scan runs, for some three seconds.
const MESSAGES: usize = 300;

/// A TCP connection of the host to an address of the far side: how many messages were echoed, each within a second.
fn talk(lab: &Lab, address: &'static str) -> JoinHandle<usize> {
    let listener = lab.thread_in(&lab.net, move || TcpListener::bind((address, 7)).unwrap()).join().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut message = [0; 8];
        while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
    });
    lab.thread_in(&lab.scan, move || {
        let mut stream = TcpStream::connect((address, 7)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut echoed = |i: &usize| {
            let (message, mut echo) = (i.to_le_bytes(), [0; 8]);
            std::thread::sleep(Duration::from_millis(10));
            stream.write_all(&message).is_ok() && stream.read_exact(&mut echo).is_ok() && echo == message
        };
        (0..MESSAGES).take_while(|i| echoed(i)).count()
    })
}

/// All responders are found through a VLAN and through two, natively and generically, whether the tags of replies are
/// in the frames or in their metadata; the host's traffic on the wire and on another VLAN continues, and so does the
/// VLAN's own.
#[test]
fn finds_exactly_who_is_in_the_vlan() {
    let test = "finds_exactly_who_is_in_the_vlan";
    if !have_root() || !have_vlans(test) {
        return;
    }
    let servers = HOSTS.servers();
    // A part of the lab, slowly: machines with a VLAN kernel may be emulated.
    let is_part = |address: &Ipv4Addr| address.octets() < [198, 18, 32, 0];
    let there = servers.iter().filter(|address| is_part(address)).count() as u64;
    let mut truth = truth(HOSTS, &servers);
    truth.retain(|line| is_part(&line.split(',').next().unwrap().parse().unwrap()));
    let lab = lab();
    lab.start_nginx(&servers);
    let mut vlans = vec![];
    for (device, gateway, offload, mode) in [
        ("scan0.100", "198.19.1.2", "on", "copy"),
        ("scan0.100", "198.19.1.2", "off", "copy"),
        ("scan0.100", "198.19.1.2", "off", "generic"),
        ("customer", "198.19.3.2", "off", "copy"),
    ] {
        let case = format!("{device}, offload {offload}, {mode}");
        lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "tx-vlan-hw-insert", offload]);
        run("ip", ["-n", &lab.scan, "route", "replace", "default", "via", gateway]);
        let talks = ["198.19.0.2", "198.19.1.2", "198.19.2.2"].map(|address| talk(&lab, address));
        let options = format!("-p 80 -r 2500 -c 2 -q --io-mode {mode} {FIELDS} 198.18.0.0/19");
        let scanned = lab.survey_on(device, &options);
        assert_found(&case, &scanned, &truth);
        check_ledger(&scanned, 8_192);
        assert_eq!(scanned.number("/counters/rst_sent"), there, "{case}");
        assert_eq!(scanned.metadata["io_mode"], mode, "{case}");
        assert_eq!(
            (&scanned.metadata["iface"], &scanned.metadata["parent_iface"]),
            (&device.into(), &"scan0".into())
        );
        assert_eq!(scanned.number("/rx_queues"), 2, "those of the interface below");
        vlans.push(scanned.metadata["vlan_ids"].clone());
        for talk in talks {
            assert_eq!(talk.join().unwrap(), MESSAGES, "{case}");
        }
        let half_open = lab.in_ns(&lab.net, "ss", ["-Htn", "state", "syn-recv"]);
        assert_eq!(half_open, "", "{case}");
        assert!(!lab.has_xdp());
    }
    assert_eq!(vlans, [vec![100], vec![100], vec![100], vec![7, 8]].map(serde_json::Value::from));
}

/// A VLAN's own network is swept with its own tag; a program on the interface below prevents the scan; live frames do
/// not support VLANs, and the error says so.
#[test]
fn neighbors_and_refusals() {
    let test = "neighbors_and_refusals";
    if !have_root() || !have_vlans(test) {
        return;
    }
    let lab = lab();
    run("ip", ["-n", &lab.net, "addr", "add", "198.19.1.9/24", "dev", "net0.100"]);
    run("ip", ["-n", &lab.scan, "addr", "add", "198.19.1.1/24", "dev", "scan0.100"]);
    let scanned = lab.survey_on("scan0.100", &format!("-p 80 -c 1 -q {FIELDS} 198.19.1.0/24"));
    let found: Vec<_> = scanned.lines().into_iter().collect();
    assert_eq!(found, ["198.19.1.2,80,rst,0", "198.19.1.9,80,rst,0"], "{}", scanned.stderr());
    let live = lab.survey_on("scan0.100", "-p 80 --io-mode live -G 02:00:00:00:00:01 198.18.0.0/30");
    assert_eq!(live.output.status.code(), Some(4), "{}", live.stderr());
    assert!(live.stderr().contains("VLAN tags"), "{}", live.stderr());
    let mut first = lab.xdpmap("-p 80 -r 100 -q -v 0 -o /dev/null 198.18.0.0/16").spawn().unwrap();
    while !lab.has_xdp() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = lab.survey_on("scan0.100", "-p 80 -G 02:00:00:00:00:01 198.18.0.0/30");
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.output.status.code(), Some(4), "{}", second.stderr());
    assert!(second.stderr().contains("scan0: another XDP program"), "{}", second.stderr());
}
