//! Busy polling: workers that do the driver's receive work themselves.

use std::path::Path;

use lab::tools::tool;
use lab::{HOSTS, Lab, have_root};
use support::Scans as _;
use support::scanner::path;
use support::seccomp::{Refused, survey_without};
use support::truth::{FIELDS, assert_found, check_ledger, truth, within};

/// Makes the interface defer its interrupts, as the tuning script does on request, or not.
fn tune(lab: &Lab, verb: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/tune-nic.sh");
    let mut command = tool("ip");
    command.args(["netns", "exec", &lab.scan]).arg(&script).args(["scan0", verb, "--only", "busy-poll"]);
    let output = command.env("PATH", path()).env("XDPMAP_TUNE_STATE", lab.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{verb}: {said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether busy polling is available on a veth pair. If it is not, a scan says so and names the flag, and does nothing
/// else.
fn polls_veth(lab: &Lab) -> bool {
    let tried = lab.survey("-p 80 -n 10 -c 0 -q --busy-poll 198.18.0.0/17");
    if tried.output.status.code() == Some(0) {
        return true;
    }
    let said = tried.stderr();
    assert_eq!(tried.output.status.code(), Some(4), "{said}");
    let words = "--busy-poll: scan0's driver does not report the NAPI of queue 0 in Copy mode";
    assert!(said.contains(words) && said.contains("leave the flag out"), "{said}");
    assert!(!lab.has_xdp());
    eprintln!("no busy polling on veth with this kernel; `zerocopy` has it on others");
    false
}

/// Exactly the responders that exist, with one socket per worker and with four, in copy mode and with live frames,
/// whether or not interrupts are deferred, which is reported; the kernel reports that each socket is polled. Newer
/// kernels do not poll veth pairs, which is reported as well.
#[test]
fn finds_exactly_who_is_there() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let networks = ["198.18.96.0/19", "198.18.128.0/19"];
    let truth = within(&truth(HOSTS, &servers), &networks);
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
        let lab = Lab::new(queues);
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

/// If a kernel does not poll for sockets, or not for us, the scan says so and names the flag; nothing else is done
/// instead.
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
