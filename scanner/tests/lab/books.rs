//! What the kernel, the interface and the far end do to probes and replies behind the scanner's back: nothing of it is
//! missing in the books, and no scan waits for it for ever.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::support::capture::captured;
use crate::support::live::live_lab;
use crate::support::running::Running;
use crate::support::{Lab, have_root};

/// A far side whose NAPI has a thread of its own, so that its ring of 256 frames runs over, and drivers drop what they are
/// given.
fn slow_lab() -> Lab {
    let lab = live_lab(1);
    // A veth's peer polls only for a device that cannot send packets to be cut up.
    lab.in_ns(&lab.scan, "ethtool", ["-K", "scan0", "tso", "off"]);
    lab.in_ns(&lab.net, "sh", ["-c", "echo 1 > /sys/class/net/net0/threaded"]);
    lab
}

/// In copy mode the kernel completes what the driver drops, and only says EBUSY. Such probes are sent again: every target
/// arrives once and the books balance.
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
            // All that the interface dropped was told, so nothing is left to be warned of.
            assert_eq!(scanned.number("/interface_tx_dropped"), number("tx_refused"), "{mode}");
            assert!(!scanned.stderr().contains("frames on their way out"), "{}", scanned.stderr());
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

/// `--max-sendto-failures` knows of what copy mode is refused.
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

/// A destination that an egress rule always refuses is given up, and counted as lost; all behind it go on. So do probes
/// behind a reset that is refused.
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
    let log = scanned.stderr();
    assert!(log.contains("is there an egress rule (`nft list ruleset`)?"), "{log}");
    assert!(log.contains("WARN] summary: 17 probes were lost: refused for good"), "{log}");

    // Too few others to tell by: in the end it is given up all the same.
    let scanned = lab.survey("-p 80 -c 0 -q -f saddr --max-runtime 30 --io-mode packet 198.18.0.76/31");
    assert_eq!(
        (scanned.metadata["end_reason"].as_str(), scanned.number("/counters/tx_lost")),
        (Some("complete"), 1)
    );
}

/// A far side that holds on to what it is given: no frame is completed any more, as with a driver that loses completions or
/// a queue that stands still. The scan says so, ends with a reason, and names what to look at.
#[test]
fn a_queue_that_stops_ends_the_scan() {
    if !have_root() {
        return;
    }
    for (mode, network) in [("copy", "198.18.0.0/19"), ("packet", "198.18.0.0/17")] {
        let lab = Lab::new(1);
        let tc = |arguments: &str| lab.in_ns(&lab.net, "tc", arguments.split(' '));
        lab.in_ns(&lab.net, "ip", ["link", "add", "hold", "type", "ifb"]);
        lab.in_ns(&lab.net, "ip", ["link", "set", "hold", "up"]);
        tc("qdisc add dev hold root tbf rate 8bit burst 2000 limit 100000000");
        tc("qdisc add dev net0 ingress");
        tc(
            "filter add dev net0 parent ffff: protocol ip u32 match ip dst 198.18.0.0/16 action mirred egress redirect dev hold",
        );
        let options = format!("-p 80 -r 20000 -c 1 -q --max-runtime 60 --io-mode {mode} {network}");
        let scanned = lab.survey(&options);
        let log = scanned.stderr();
        assert_eq!(scanned.output.status.code(), Some(4), "{mode}: {log}");
        assert_eq!(scanned.metadata["end_reason"], "tx-stalled", "{mode}: {log}");
        assert_eq!(scanned.number("/exit_code"), 4);
        assert!(log.contains("WARN] send: scan0: nothing has been reported sent for 5 s"), "{mode}: {log}");
        assert!(log.contains("`tc -s qdisc show dev scan0`"), "{mode}: {log}");
        assert!(scanned.number("/targets_left") > 0, "{mode}");
    }
}

/// What the interface itself dropped on its way in is in `pcap_ifdrop`, and in a warning.
#[test]
fn what_the_interface_drops_is_told() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let scan = Running::start(&lab, "-p 80 -r 1000 -c 1 198.18.0.0/21");
    // Of an EtherType that nobody asks for (IEEE 802 local experimental 1).
    let send = "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('net0', 0)); \
                [s.send(b'\\xff' * 6 + b'\\x02' * 6 + b'\\x88\\xb5' + b'.' * 50) for _ in range(500)]";
    lab.in_ns(&lab.net, "python3", ["-c", send]);
    let scanned = scan.finish();
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    let dropped = scanned.number("/pcap_ifdrop");
    assert!((500..510).contains(&dropped), "{dropped}");
    let said = format!("WARN] summary: the interface dropped {dropped} frames on their way in (pcap_ifdrop)");
    assert!(scanned.stderr().contains(&said), "{}", scanned.stderr());
}
