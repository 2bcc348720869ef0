//! Busy polling: workers that do the driver's work on the receiving side themselves.

use std::path::Path;

use crate::support::seccomp::{Refused, survey_without};
use crate::support::tools::tool;
use crate::support::truth::{FIELDS, assert_found, check_ledger, servers, truth, within};
use crate::support::{Lab, have_root};

/// Has the interface keep its interrupts back, as the tuning script does where it is told to, or not.
fn tune(lab: &Lab, verb: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/tune-nic.sh");
    let mut command = tool("ip");
    command.args(["netns", "exec", &lab.scan]).arg(&script).args(["scan0", verb, "--only", "busy-poll"]);
    let output = command.env("XDPMAP_TUNE_STATE", lab.folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{verb}: {said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether busy polling is to be had on a veth pair; where it is not, that is told with the flag, and nothing else is done.
fn polls_veth(lab: &Lab) -> bool {
    let tried = lab.survey("-p 80 -n 10 -c 0 -q --busy-poll 198.18.0.0/17");
    if tried.output.status.code() == Some(0) {
        return true;
    }
    let said = tried.stderr();
    assert_eq!(tried.output.status.code(), Some(4), "{said}");
    let words = "--busy-poll: scan0's driver does not tell the kernel who serves queue 0 in Copy mode";
    assert!(said.contains(words) && said.contains("leave the flag out"), "{said}");
    assert!(!lab.has_xdp());
    eprintln!("no busy polling on veth with this kernel; `zerocopy` has it on others");
    false
}

/// Exactly the responders that exist, with one socket a worker and with four, in copy mode and by live frames, whether
/// interrupts are kept back or not, which is said; the kernel says of each socket that it is polled. Newer kernels poll no
/// veth pair, and that is told.
#[test]
fn finds_exactly_who_is_there() {
    if !have_root() {
        return;
    }
    let servers = servers();
    let networks = ["198.18.96.0/19", "198.18.128.0/19"];
    let truth = within(&truth(&servers), &networks);
    let lab = Lab::new(1);
    let without = lab.survey("-p 80 -n 10 -c 0 -q 198.18.0.0/17");
    assert_eq!(without.metadata.get("busy_poll"), None);
    assert_eq!(without.metadata["sockets"][0].get("busy_polled"), None);
    if !polls_veth(&lab) {
        return;
    }
    for (queues, options, budget, tuned) in [
        (1, "--busy-poll --io-mode copy", 64, false),
        (4, "--busy-poll=8 -T 1 --io-mode copy", 8, true),
        (2, "--busy-poll=256 -T 1 --io-mode live", 256, true),
    ] {
        let mut lab = Lab::new(queues);
        lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "gro", "on"]); // live frames need it
        lab.start_nginx(&servers);
        if tuned {
            tune(&lab, "apply");
        }
        let scanned =
            lab.survey(&format!("-p 80 -r 10000 -c 1 -q {FIELDS} {options} {}", networks.join(" ")));
        assert_found(options, &scanned, &truth);
        check_ledger(&scanned, 1 << 14);
        assert_eq!(scanned.number("/busy_poll"), budget, "{options}");
        let sockets = scanned.metadata["sockets"].as_array().unwrap();
        assert_eq!(sockets.len() as u64, u64::from(queues), "{options}");
        assert!(sockets.iter().all(|socket| socket["busy_polled"] == true), "{options}: {sockets:?}");
        let words = "--busy-poll: scan0 has napi_defer_hard_irqs or gro_flush_timeout at 0";
        assert_eq!(scanned.stderr().contains(words), !tuned, "{options}: {}", scanned.stderr());
        if tuned {
            tune(&lab, "undo");
        }
    }
}

/// A kernel that does not poll for sockets, or not for us, is told of with the flag; nothing else is done instead.
#[test]
fn a_kernel_that_refuses() {
    if !have_root() {
        return;
    }
    const OPTIONS: [(&str, u64); 3] =
        [("SO_PREFER_BUSY_POLL", 69), ("SO_BUSY_POLL", 46), ("SO_BUSY_POLL_BUDGET", 70)];
    let lab = Lab::new(1);
    for (name, option) in OPTIONS {
        for (errno, code, words) in [
            (libc::ENOPROTOOPT, 4, "CONFIG_NET_RX_BUSY_POLL; leave the flag out"),
            (libc::EPERM, 3, "seccomp"),
        ] {
            let arguments = vec![(1, libc::SOL_SOCKET as u64), (2, option)];
            let refused = Refused { call: libc::SYS_setsockopt, arguments, errno };
            let scanned = survey_without(&lab, &refused, "-p 80 -n 10 -c 0 -q --busy-poll 198.18.0.0/17");
            assert_eq!(scanned.output.status.code(), Some(code), "{name}: {}", scanned.stderr());
            let flag = format!("--busy-poll: setting {name} on queue 0: ");
            let said = scanned.stderr();
            assert!(said.contains(&flag) && said.contains(words), "{name}: {said}");
            assert!(!lab.has_xdp());
        }
    }
}
