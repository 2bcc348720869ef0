//! AF_PACKET through a tunnel, whose packets have no Ethernet header.

use lab::tunnel::Tunnel;
use lab::{HOSTS, have_root, run};
use serde_json::Value;
use support::Scans as _;
use support::truth::{FIELDS, assert_found, check_ledger, truth, within};

/// Through a real tunnel, exactly the hosts that exist: detected automatically, with `--iplayer`, and in forced mode;
/// XDP modes are refused. Captured packets have the right link type.
#[test]
fn through_wireguard() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let networks = ["198.18.124.0/22", "198.18.128.0/22"];
    let truth = within(&truth(HOSTS, &servers), &networks);
    assert!(truth.iter().filter(|line| line.ends_with("synack,1")).count() > 5);
    let tunnel = Tunnel::new(&servers);
    let targets = networks.join(" ");
    let survey = |arguments: &str| tunnel.lab.survey_on(&tunnel.scan, arguments);
    for options in ["", "--iplayer", "-X --io-mode packet"] {
        let scanned = survey(&format!("-p 80 -r 2000 -c 2 -q {options} {FIELDS} {targets}"));
        assert_found(options, &scanned, &truth);
        check_ledger(&scanned, 2048);
        assert_eq!(scanned.metadata["io_mode"], "packet", "{options}");
        assert_eq!(
            (&scanned.metadata["gateway_mac"], &scanned.metadata["source_mac"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(scanned.metadata["source_ips"], serde_json::json!(["203.0.113.1"]));
        let reason = scanned.metadata["io_mode_reason"].as_str().unwrap();
        let asked = options.contains("packet");
        assert_eq!(reason.contains("XDP needs an Ethernet header"), !asked, "{reason}");
        assert_eq!(scanned.number("/counters/rst_by_kernel"), scanned.number("/counters/rx_synack"));
    }
    let half_open = tunnel.lab.in_ns(&tunnel.lab.net, "ss", ["-Htn", "state", "syn-recv"]);
    assert_eq!(half_open, "", "the kernel's resets left connections half open");
    let echoes = survey("-M icmp_echoscan -r 2000 -c 2 -q -f saddr,classification 198.18.127.0/24");
    assert_eq!(echoes.lines().len(), 256, "{}", echoes.stderr());
    for mode in ["zerocopy", "live", "copy", "generic"] {
        let refused = survey(&format!("-p 80 -n 1 -c 0 -q --io-mode {mode} {targets}"));
        assert_eq!(refused.output.status.code(), Some(4), "{mode}: {}", refused.stderr());
        assert!(refused.stderr().contains("no Ethernet header"), "{mode}: {}", refused.stderr());
    }
    for flag in ["--queues", "--busy-poll", "--steer"] {
        let value = if flag == "--queues" { "0" } else { "" };
        let refused = survey(&format!("-p 80 -n 1 -c 0 -q {flag} {value} {targets}"));
        assert_eq!(refused.output.status.code(), Some(2), "{flag}: {}", refused.stderr());
        assert!(refused.stderr().contains(&format!("{flag}: AF_PACKET")), "{flag}: {}", refused.stderr());
    }
    let file = tunnel.lab.folder().join("frames.pcap").display().to_string();
    let arguments = format!("-p 80 -r 2000 -c 2 -q -O pcap -o {file} 198.18.127.0/24");
    let output = tunnel.lab.xdpmap_on(&tunnel.scan, &arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let fields = "-T fields -e frame.protocols -e ip.dst -e tcp.flags.reset";
    let shown = run("tshark", ["-n", "-r", &file].into_iter().chain(fields.split(' ')));
    assert_eq!(shown.lines().count(), 256, "{shown}");
    assert!(shown.lines().all(|line| line.starts_with("raw:ip:tcp\t203.0.113.1\t")), "{shown}");
}
