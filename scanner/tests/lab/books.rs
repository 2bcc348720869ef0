//! What the kernel, the interface and the far end do to probes and replies without telling the scanner: all of it is
//! counted, and no scan waits for it for ever.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle, MapType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use lab::{Lab, have_root, run};
use support::Scans as _;
use support::capture::captured;
use support::live::live_lab;
use support::running::Running;

/// A far side whose NAPI has its own thread, so that its ring of 256 frames overflows, and drivers drop frames.
fn slow_lab() -> Lab {
    let lab = live_lab(1);
    // A veth's peer polls only for a device that cannot send packets that need segmentation.
    lab.in_ns(&lab.scan, "ethtool", ["-K", "scan0", "tso", "off"]);
    lab.in_ns(&lab.net, "sh", ["-c", "echo 1 > /sys/class/net/net0/threaded"]);
    lab
}

/// In copy mode the kernel completes frames that the driver drops, and only returns EBUSY. Such probes are sent again:
/// every target receives one, and the counters balance.
#[test]
fn overload_of_copy_mode_loses_nothing() {
    if !have_root() {
        return;
    }
    let mut refused = 0;
    for mode in ["copy", "generic"] {
        let mut lab = slow_lab();
        let capture = captured(&mut lab, |lab| {
            let options = format!("-p 80 -r 0 -c 0 -q --io-mode {mode} 198.18.128.0/17");
            let scanned = lab.survey(&options);
            assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
            assert_eq!(scanned.metadata["io_mode"], mode);
            let number = |name: &str| scanned.number(&format!("/counters/{name}"));
            assert_eq!((number("tx_submitted"), number("tx_sent"), number("tx_lost")), (1 << 15, 1 << 15, 0));
            assert_eq!(number("tx_refused"), number("wakeup_ebusy"), "{mode}");
            assert_eq!(scanned.number("/send_to_failures"), number("wakeup_ebusy"), "{mode}");
            // The scanner learned of all frames that the interface dropped, so there is nothing to warn about.
            assert_eq!(scanned.number("/interface_tx_dropped"), number("tx_refused"), "{mode}");
            assert!(!scanned.stderr().contains("frames on transmission"), "{}", scanned.stderr());
            assert_eq!(scanned.row("probes", "refused"), number("tx_refused"), "{mode}");
            refused += number("tx_refused");
        });
        let expected: BTreeSet<_> =
            (0xc612_8000..=0xc612_ffff_u32).map(|address| (Ipv4Addr::from(address), 80)).collect();
        assert_eq!(capture.syns.len(), 1 << 15, "{mode}");
        assert_eq!(capture.syns.into_iter().collect::<BTreeSet<_>>(), expected, "{mode}");
        assert_eq!(capture.bad, Vec::<String>::new(), "{mode}");
    }
    assert!(refused > 0, "the driver dropped nothing: this test has shown nothing");
}

/// `--max-sendto-failures` counts refusals in copy mode.
#[test]
fn overload_of_copy_mode_can_end_a_scan() {
    if !have_root() {
        return;
    }
    let lab = slow_lab();
    let options = "-p 1-200 -r 0 -c 0 -q --io-mode copy --max-sendto-failures 0 198.18.128.0/17";
    let scanned = lab.survey(options);
    assert_eq!(scanned.output.status.code(), Some(5), "{}", scanned.stderr());
    assert_eq!(scanned.metadata["end_reason"], "max-sendto-failures");
}

/// Probes to a destination that an egress rule always refuses are given up and counted as lost; those after them are
/// sent. So are probes after a reset that is refused.
#[test]
fn what_is_always_refused_holds_nothing_up() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let rule = "table netdev t { chain e { type filter hook egress device scan0 priority 0; ip daddr 198.18.0.77 drop; \
                ip daddr 198.18.3.0/28 drop; }; }";
    lab.in_ns(&lab.scan, "nft", [rule]);
    let scanned = lab.survey("-p 80 -r 20000 -c 1 -f saddr --max-runtime 30 --io-mode packet 198.18.0.0/18");
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.metadata["end_reason"], "complete", "{}", scanned.stderr());
    let number = |name: &str| scanned.number(&format!("/counters/{name}"));
    assert_eq!((number("tx_submitted"), number("tx_lost")), (1 << 14, 17), "{}", scanned.stderr());
    assert_eq!((number("tx_sent"), scanned.lines().len()), ((1 << 14) - 17, (1 << 14) - 17));
    assert_eq!(scanned.row("probes", "lost"), 17);
    let log = scanned.stderr();
    assert!(log.contains("is there an egress rule (`nft list ruleset`)?"), "{log}");
    assert!(log.contains("WARN] summary: 17 probes were lost: the kernel refused them for good"), "{log}");

    // Too few other frames to compare with: in the end it is given up nevertheless.
    let scanned = lab.survey("-p 80 -c 0 -q -f saddr --max-runtime 30 --io-mode packet 198.18.0.76/31");
    assert_eq!(
        (scanned.metadata["end_reason"].as_str(), scanned.number("/counters/tx_lost")),
        (Some("complete"), 1)
    );
}

/// A far side that keeps the frames that it gets: no frame is completed any more, as with a driver that loses
/// completions or a queue that has stopped.
fn holding_lab() -> Lab {
    let lab = Lab::new(1);
    hold(&lab, "match ip dst 198.18.0.0/16");
    lab
}

/// Has the far side keep the frames that match these words of `tc`'s filter u32.
pub(crate) fn hold(lab: &Lab, matching: &str) {
    let tc = |arguments: &str| lab.in_ns(&lab.net, "tc", arguments.split(' '));
    lab.in_ns(&lab.net, "ip", ["link", "add", "hold", "type", "ifb"]);
    lab.in_ns(&lab.net, "ip", ["link", "set", "hold", "up"]);
    tc("qdisc add dev hold root tbf rate 8bit burst 2000 limit 100000000");
    tc("qdisc add dev net0 ingress");
    tc(&format!(
        "filter add dev net0 parent ffff: protocol ip u32 {matching} action mirred egress redirect dev hold"
    ));
}

/// The scan says that its queue has stopped, ends with a reason, and names what to look at.
#[test]
fn a_queue_that_stops_ends_the_scan() {
    if !have_root() {
        return;
    }
    for (mode, network) in [("copy", "198.18.0.0/19"), ("packet", "198.18.0.0/17")] {
        let lab = holding_lab();
        let options = format!("-p 80 -r 20000 -c 1 -q --max-runtime 60 --io-mode {mode} {network}");
        let scanned = lab.survey(&options);
        let log = scanned.stderr();
        assert_eq!(scanned.output.status.code(), Some(4), "{mode}: {log}");
        assert_eq!(scanned.metadata["end_reason"], "tx-stalled", "{mode}: {log}");
        assert_eq!(scanned.number("/exit_code"), 4);
        assert!(log.contains("WARN] send: scan0: no frame has been completed for 5 s"), "{mode}: {log}");
        assert!(log.contains("`tc -s qdisc show dev scan0`"), "{mode}: {log}");
        assert!(scanned.number("/targets_left") > 0, "{mode}");
    }
}

/// The same if a scan's queue stops after the last target has been handed over: the frames that were never completed
/// are lost, and their targets are in doubt.
#[test]
fn a_queue_that_stops_at_the_end_is_told() {
    if !have_root() {
        return;
    }
    let lab = holding_lab();
    let scanned = lab.survey("-p 80 -r 20000 -c 1 -q --io-mode copy 198.18.0.0/24");
    let log = scanned.stderr();
    assert_eq!(scanned.output.status.code(), Some(4), "{log}");
    assert_eq!(scanned.metadata["end_reason"], "tx-stalled", "{log}");
    let number = |name: &str| scanned.number(&format!("/counters/{name}"));
    assert_eq!((number("targets"), number("tx_submitted")), (256, 256));
    assert_eq!(number("tx_submitted"), number("tx_sent") + number("tx_lost"));
    let lost = number("tx_lost");
    assert!(lost > 200, "the queue let {} through", number("tx_sent"));
    assert_eq!((scanned.row("probes", "unconfirmed"), scanned.row("probes", "lost")), (lost, 0));
    let said = format!("{lost} probes were handed over but never completed, and count as lost");
    assert!(log.contains(&said), "{log}");
    assert!(scanned.number("/targets_in_doubt") >= lost && scanned.number("/targets_left") == 0, "{log}");
}

/// Received frames that the interface itself dropped are in `pcap_ifdrop`, and in a warning.
#[test]
fn what_the_interface_drops_is_told() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let scan = Running::start(&lab, "-p 80 -r 1000 -c 1 198.18.0.0/21");
    // With an EtherType that no protocol here uses (IEEE 802 local experimental 1).
    let send = "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('net0', 0)); \
                [s.send(b'\\xff' * 6 + b'\\x02' * 6 + b'\\x88\\xb5' + b'.' * 50) for _ in range(500)]";
    lab.in_ns(&lab.net, "python3", ["-c", send]);
    let scanned = scan.finish();
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    let dropped = scanned.number("/pcap_ifdrop");
    assert!((500..510).contains(&dropped), "{dropped}");
    let said = format!("WARN] summary: the interface dropped {dropped} received frames (pcap_ifdrop)");
    assert!(scanned.stderr().contains(&said), "{}", scanned.stderr());
}

/// The map of AF_XDP sockets that the program on `scan0` redirects to.
fn sockets_of_the_scan(lab: &Lab) -> MapHandle {
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let link = json(run("ip", ["-j", "-n", &lab.scan, "link", "show", "dev", "scan0"]));
    let program = link[0]["xdp"]["prog"]["id"].as_u64().unwrap().to_string();
    let program = json(run("bpftool", ["-j", "prog", "show", "id", &program]));
    let ids = program["map_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32);
    let mut maps = ids.map(|id| MapHandle::from_map_id(id).unwrap());
    maps.find(|map| map.map_type() == MapType::Xskmap).unwrap()
}

/// Puts the first XDP socket of the process `pid` into `map`, for queue 0.
fn put_socket_of(pid: u32, map: &MapHandle) {
    let process = pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let numbers = descriptors.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_put = numbers.into_iter().any(|number: i32| {
        let Ok(copy) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else { return false };
        // The kernel accepts only sockets that are bound to a queue.
        let socket = copy.as_raw_fd().cast_unsigned().to_ne_bytes();
        map.update(&0u32.to_ne_bytes(), &socket, MapFlags::ANY).is_ok()
    });
    assert!(is_put, "{pid} has no socket for XDP");
}

/// Replies that the program redirects, and that the kernel then refuses to deliver to the socket, as it does on a bond,
/// because the socket is not on the interface that they came in by (`xsk_rcv_check`). No socket counts them.
#[test]
fn replies_that_vanish_are_told() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let ip = |arguments: &str| run("ip", ["-n", &lab.scan].into_iter().chain(arguments.split(' ')));
    ip("link add other0 type veth peer name other1");
    ip("link set other0 up");
    ip("link set other1 up");
    let mut other = lab.xdpmap_on(
        "other0",
        "-p 80 -r 10 -c 0 -q --io-mode copy -S 198.19.9.1 -G 02:00:00:00:00:02 -o /dev/null 198.18.0.0/18",
    );
    let mut other = other.spawn().unwrap();
    let scan = Running::start(&lab, "-p 80 -r 1000 -c 1 --io-mode copy 198.18.0.0/20");
    put_socket_of(other.id(), &sockets_of_the_scan(&lab));
    let scanned = scan.finish();
    other.kill().unwrap();
    other.wait().unwrap();
    let log = scanned.stderr();
    assert_eq!(scanned.output.status.code(), Some(0), "{log}");
    let redirected = scanned.number("/xdp_counters/valid_redirected");
    let (vanished, received) = (scanned.number("/replies_vanished"), scanned.number("/validation_passed"));
    assert_eq!((redirected, vanished + received), (4_096, 4_096), "{log}");
    assert_eq!(scanned.row("sockets", "vanished"), vanished);
    assert!(vanished > 1_000 && received > 100, "{vanished}, {received}");
    let said = format!(
        "WARN] summary: {vanished} valid replies were redirected by the XDP program but did not reach a socket"
    );
    assert!(log.contains(&said), "{log}");
}
