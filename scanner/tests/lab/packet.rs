//! AF_PACKET: the same surveys without XDP, next to another XDP program and without privileges for XDP.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lab::{HOSTS, Lab, have_root, run};
use serde_json::Value;
use support::running::Running;
use support::scanner::program_for_nobody;
use support::seccomp::{Refused, survey_without};
use support::truth::{FIELDS, assert_found, check_ledger, truth, within};
use support::{Scanned, Scans as _};
use targets::TargetBatch;
use wire::packet::{LinkHeader, MacAddr, RxBatch, VlanTags};
use wire::proof::{Copies, Echo, Key, PortRange, ProbeForm, SourcePool};
use xdpmap::io::bpf::abi::Counter;
use xdpmap::io::bpf::{self, AttachMode, XdpProgram};
use xdpmap::io::packet::{PacketRequest, open_ports};
use xdpmap::io::{Port, Stream};
use xdpmap::nic::Interface;
use xdpmap::probe::{Module, Probe, ProbeSettings, Visitor};

/// The results by address, without what differs from scan to scan: times, and values that depend on the cookie key or
/// are random on the far side.
fn lasting(scanned: &Scanned) -> BTreeMap<String, Value> {
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let fields = record.as_object_mut().unwrap();
        for name in ["timestamp_str", "timestamp_ts", "timestamp_us", "cooldown"] {
            assert!(fields.remove(name).is_some(), "{line}");
        }
        for name in ["dport", "seqnum", "acknum"] {
            assert!(fields.remove(name).is_some_and(|value| value.is_u64()), "{line}");
        }
        (fields["saddr"].as_str().unwrap().to_owned(), record)
    };
    scanned.results.lines().map(record).collect()
}

/// Copy, generic mode, AF_PACKET and live frames find the same, in every field, and count the same.
#[test]
fn every_mode_finds_the_same() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let networks = ["198.18.96.0/19", "198.18.128.0/19"];
    let truth = within(&truth(HOSTS, &servers), &networks);
    let lab = Lab::new(1);
    lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "gro", "on"]); // live frames need it
    lab.start_nginx(&servers);
    let mut first: Option<BTreeMap<String, Value>> = None;
    for mode in ["copy", "generic", "packet", "live"] {
        let survey = |output: &str| {
            let options =
                format!("-p 80 -e 7 -r 10000 -c 1 -q --io-mode {mode} {output} {}", networks.join(" "));
            let scanned = lab.survey(&options);
            check_ledger(&scanned, 1 << 14);
            assert_eq!(scanned.metadata["io_mode"], mode);
            scanned
        };
        let csv = survey(FIELDS);
        assert_found(mode, &csv, &truth);
        let fields = lasting(&survey("-O json -f *"));
        assert_eq!(fields.len(), truth.len());
        match &first {
            None => first = Some(fields),
            Some(first) => assert!(*first == fields, "{mode}: fields differ from those of copy mode"),
        }
    }
}

/// Exactly the responders that exist over 65,536 targets, with one socket and with four that share the replies. The
/// host's own kernel resets connections that are half open, and the host's own packets are filtered out in the kernel.
#[test]
fn finds_exactly_who_is_there() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let truth = truth(HOSTS, &servers);
    for (queues, options) in [(1, ""), (4, "-T 4")] {
        let lab = Lab::new(queues);
        lab.start_nginx(&servers);
        let scanned =
            lab.survey(&format!("-p 80 -r 40000 -c 2 -q --io-mode packet {options} {FIELDS} 198.18.0.0/16"));
        let case = format!("{queues} queues");
        assert_found(&case, &scanned, &truth);
        check_ledger(&scanned, 65_536);
        assert_eq!(scanned.number("/counters/rst_by_kernel"), servers.len() as u64, "{case}");
        assert_eq!(scanned.number("/counters/rst_submitted"), 0, "{case}");
        assert_eq!(lab.in_ns(&lab.net, "ss", ["-Htn", "state", "syn-recv"]), "", "{case}: half open");
        assert!(
            scanned.stderr().contains("this host's kernel also receives the replies"),
            "{}",
            scanned.stderr()
        );
        for worker in scanned.metadata["workers"].as_array().unwrap() {
            assert!(worker["counters"]["rx_frames"].as_u64().unwrap() > 1000, "{case}: {worker}");
        }
        assert!(!lab.has_xdp());
    }
}

/// Neighbours get their probes directly, and hosts behind the gateway through it.
#[test]
fn neighbours_and_others() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let scanned = lab.survey(&format!("-p 80 -c 1 -q --io-mode packet {FIELDS} 198.19.0.2 198.18.0.0/28"));
    check_ledger(&scanned, 17);
    assert!(scanned.lines().contains("198.19.0.2,80,rst,0"), "{}", scanned.results);
    assert_eq!(scanned.lines().len(), 17, "{}", scanned.results);
}

/// From an address that the host does not have, only the scan can send resets; with several, each is reset by whichever
/// can.
#[test]
fn resets_where_the_kernel_does_not() {
    if !have_root() {
        return;
    }
    let servers: Vec<Ipv4Addr> = (1..=100).map(|host| Ipv4Addr::new(198, 18, 128, host)).collect();
    let lab = Lab::new(1);
    run("ip", ["-n", &lab.net, "route", "add", "203.0.113.0/24", "via", "198.19.0.1"]);
    lab.start_nginx(&servers);
    for (sources, by_kernel) in [("203.0.113.5", 0..=0), ("198.19.0.1,203.0.113.5", 30..=70)] {
        let options = format!("-p 80 -c 1 -q --io-mode packet -S {sources} {FIELDS} 198.18.128.0/24");
        let scanned = lab.survey(&options);
        check_ledger(&scanned, 256);
        assert_eq!(scanned.lines().len(), servers.len(), "{sources}");
        let [kernel, own] =
            ["rst_by_kernel", "rst_sent"].map(|name| scanned.number(&format!("/counters/{name}")));
        assert!(by_kernel.contains(&kernel), "{sources}: {kernel} by the kernel");
        assert_eq!(kernel + own, servers.len() as u64, "{sources}");
        assert_eq!(lab.in_ns(&lab.net, "ss", ["-Htn", "state", "syn-recv"]), "", "{sources}: half open");
    }
}

/// Runs `work` while another program is attached to the scanning interface.
fn beside_a_rival(lab: &Lab, work: impl FnOnce()) {
    let (attached, is_attached) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let rival = lab.thread_in(&lab.scan, move || {
        let mut program = XdpProgram::load(&bpf::ProgramSettings {
            key: Key::from_bytes([7; 16]),
            ports: PortRange { first: 1, count: 1 },
            copies: Copies::of(1),
            form: ProbeForm::TcpSyn,
            port_in_cookie: true,
            echo: Echo::Nothing,
            drop_invalid: false,
            own_sockets: true,
            sources: &[Ipv4Addr::new(192, 0, 2, 1)],
            tags: VlanTags::default(),
        })
        .unwrap();
        program.attach(Interface::by_name("scan0").unwrap().index, AttachMode::Native).unwrap();
        attached.send(()).unwrap();
        // Until the test ends, even by a panic.
        let _ = ended.recv();
    });
    is_attached.recv_timeout(Duration::from_secs(20)).unwrap();
    work();
    drop(end);
    rival.join().unwrap();
}

/// Two scans of one interface at once: the second is refused and, as its error says, it works next to the first with
/// `--io-mode packet`. Each finds all responders, and receives none of the other's replies.
#[test]
fn beside_another_scan() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let first = Running::start(&lab, "-p 80 -r 250 -c 2 -f saddr,sport 198.18.0.0/21");
    let options = "-p 8080 -r 2000 -c 1 -f saddr,sport 198.18.0.0/21";
    let refused = lab.survey(options);
    assert_eq!(refused.output.status.code(), Some(4), "{}", refused.stderr());
    let said = refused.stderr();
    assert!(
        said.contains("another scan by xdpmap")
            && said.contains("--io-mode packet scans without removing it"),
        "{said}"
    );
    let second = lab.survey(&format!("--io-mode packet {options}"));
    let first = first.finish();
    for (scanned, port) in [(&first, 80), (&second, 8080)] {
        assert_eq!(scanned.output.status.code(), Some(0), "{port}: {}", scanned.stderr());
        let lines = scanned.lines();
        assert_eq!(lines.len(), 2_048, "{port}: {}", scanned.stderr());
        assert!(lines.iter().all(|line| line.ends_with(&format!(",{port}"))), "{port}");
    }
    assert!(!first.stderr().contains("the link"), "{}", first.stderr());
}

/// Another XDP program is not a reason to fall back silently, and does not prevent a scan next to it if that is
/// requested.
#[test]
fn beside_another_program() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    beside_a_rival(&lab, || {
        for mode in ["auto", "copy", "generic"] {
            let refused = lab.survey(&format!("-p 80 -n 10 -c 0 -q --io-mode {mode} 198.18.0.0/24"));
            assert_eq!(refused.output.status.code(), Some(4), "{mode}: {}", refused.stderr());
            assert!(refused.stderr().contains("--io-mode packet"), "{mode}: {}", refused.stderr());
            assert!(lab.has_xdp());
        }
        let scanned = lab.survey(&format!("-p 80 -c 1 -q --io-mode packet {FIELDS} 198.18.0.0/24"));
        check_ledger(&scanned, 256);
        assert_eq!(scanned.lines().len(), 256);
        assert!(lab.has_xdp(), "the other program has gone");
    });
}

/// If the kernel has no BPF or no AF_XDP, a scan falls back and says why; a mode that was requested is required. A
/// refusal for lack of privileges is not such a case.
#[test]
fn falls_back_where_there_is_no_xdp() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    lab.start_nginx(&[Ipv4Addr::new(198, 18, 128, 7)]);
    let missing = [
        (
            libc::SYS_bpf,
            vec![],
            libc::ENOSYS,
            "this kernel was built without BPF, or a seccomp filter blocks bpf(2)",
        ),
        (
            libc::SYS_socket,
            vec![(0, libc::AF_XDP as u64)],
            libc::EAFNOSUPPORT,
            "Address family not supported",
        ),
    ];
    for (call, arguments, errno, reason) in missing {
        let refused = Refused { call, arguments, errno };
        let run = |arguments: &str| survey_without(&lab, &refused, arguments);
        let scanned = run(&format!("-p 80 -c 1 -q --queues 0 {FIELDS} 198.18.128.0/24"));
        check_ledger(&scanned, 256);
        assert_eq!(scanned.lines(), ["198.18.128.7,80,synack,1".to_owned()].into());
        assert_eq!(scanned.metadata["io_mode"], "packet", "{}", scanned.stderr());
        let told = scanned.metadata["io_mode_reason"].as_str().unwrap();
        assert!(told.contains(reason), "{told}");
        assert!(scanned.stderr().contains(reason), "{}", scanned.stderr());
        assert!(scanned.stderr().contains("--queues has no effect"), "{}", scanned.stderr());
        for insisting in ["copy", "generic", "zerocopy", "live", "auto --busy-poll"] {
            let refused = run(&format!("-p 80 -c 0 -q --io-mode {insisting} 198.18.128.0/24"));
            assert_eq!(refused.output.status.code(), Some(4), "{insisting}: {}", refused.stderr());
            assert!(refused.stderr().contains(reason), "{insisting}: {}", refused.stderr());
        }
        assert!(!lab.has_xdp());
    }
}

/// With CAP_NET_RAW alone AF_PACKET is used, and the log says so; with no capability, or with some of those that XDP
/// needs, a scan says what is missing and does nothing else.
#[test]
fn with_one_capability() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let program = program_for_nobody(lab.folder());
    let gateway = lab.in_ns(&lab.net, "cat", ["/sys/class/net/net0/address"]);
    let run = |capabilities: &str, arguments: &str| {
        let mut command = lab.as_nobody(&["--inh-caps", capabilities, "--ambient-caps", capabilities]);
        command.arg(&program).args(["-i", "scan0", "--allow-reserved", "-G", gateway.trim()]);
        command.args("-p 80 -c 1 -q".split(' ')).args(arguments.split_whitespace()).output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for mode in ["auto", "packet"] {
        let output = run("+net_raw", &format!("--io-mode {mode} {FIELDS} 198.18.0.0/24"));
        assert_eq!(output.status.code(), Some(0), "{mode}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout).lines().count(), 257, "{mode}");
        assert!(text(&output.stderr).contains("AF_PACKET"), "{}", text(&output.stderr));
        let says_why =
            text(&output.stderr).contains("better mode unavailable: the kernel refuses the XDP program");
        assert_eq!(says_why, mode == "auto", "{}", text(&output.stderr));
    }
    for (capabilities, mode, words) in [
        ("-all", "auto", "CAP_NET_ADMIN"),
        ("-all", "packet", "CAP_NET_RAW"),
        ("+net_raw,+net_admin", "auto", "CAP_BPF"),
        ("+net_raw", "copy", "CAP_BPF"),
    ] {
        let output = run(capabilities, &format!("--io-mode {mode} 198.18.0.0/24"));
        assert_eq!(output.status.code(), Some(3), "{capabilities} {mode}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{capabilities} {mode}: {}", text(&output.stderr));
    }
}

/// A probe that the interface never accepts, here because of its length, is counted as lost, and the scan continues.
#[test]
fn what_the_interface_never_takes_is_counted() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    run("ip", ["-n", &lab.scan, "link", "set", "scan0", "mtu", "80"]);
    let payload = "x".repeat(100);
    let options =
        format!("-M udp --probe-args text:{payload} -p 53 -c 0 -q --io-mode packet 198.18.128.0/24");
    let scanned = lab.survey(&options);
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    let number = |name: &str| scanned.number(&format!("/counters/{name}"));
    assert_eq!((number("tx_submitted"), number("tx_sent"), number("tx_lost")), (256, 0, 256));
    assert_eq!(number("wakeup_other"), 256);
    let log = scanned.stderr();
    assert!(log.contains("Message too long") && log.contains("256 probes were lost"), "{log}");
}

/// One reads as many packets as were counted, and packets for a full ring are counted as dropped: here the ring is not
/// read.
#[test]
fn drops_are_counted() {
    if !have_root() {
        return;
    }
    struct Unread(u32);
    impl Visitor for Unread {
        /// Replies in the ring, and drops.
        type Output = (u64, u64, u64);
        fn visit<P: Probe>(self, probes: &[P]) -> Self::Output {
            let probe = &probes[0];
            let request = PacketRequest {
                ifindex: self.0,
                workers: 1,
                check: probe.check(),
                capture_len: probe.capture_len(),
                ring_len: 1 << 16,
                probe: probe.template(),
                reset: None,
            };
            let mut port = open_ports(&request).unwrap().remove(0);
            let mut patches = probe.template().batch();
            for block in 0..8u32 {
                let mut targets = TargetBatch { len: 256, ..TargetBatch::default() };
                for i in 0..256 {
                    targets.addresses[i as usize] = 0xc612_0000 + block * 256 + i;
                    targets.ports[i as usize] = 80;
                }
                probe.emit(&targets, probe.check().copies.ordinary(), &mut patches);
                assert_eq!(port.room(Stream::Probe, 256), 256);
                port.transmit(Stream::Probe, &patches);
                while port.outstanding() > 0 {
                    port.flush().unwrap();
                }
            }
            assert_eq!(port.counts().probes_sent, 2048);
            let deadline = Instant::now() + Duration::from_secs(10);
            let mut dropped = 0;
            while dropped < 1700 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(50));
                dropped = port.socket_drops();
            }
            std::thread::sleep(Duration::from_millis(100));
            let mut batch = RxBatch::new(probe.capture_len());
            let mut received = 0;
            loop {
                batch.clear();
                port.receive(&mut batch);
                if batch.is_empty() {
                    break;
                }
                received += batch.len() as u64;
            }
            let verdicts = port.statistics().verdicts.unwrap();
            (received, port.socket_drops(), verdicts[Counter::ValidRedirected as usize])
        }
    }
    let lab = Lab::new(1);
    let gateway = lab.in_ns(&lab.net, "cat", ["/sys/class/net/net0/address"]);
    let gateway: MacAddr = gateway.trim().parse().unwrap();
    let work = move || {
        let interface = Interface::by_name("scan0").unwrap();
        let settings = ProbeSettings {
            key: Key::from_bytes([5; 16]),
            sources: SourcePool {
                addresses: vec![0xc613_0001],
                ports: PortRange { first: 40_000, count: 1000 },
            },
            other_sources: vec![],
            copies: Copies::of(1),
            link: LinkHeader::Ethernet,
            source_mac: interface.mac.unwrap(),
            gateway_mac: gateway,
            tags: VlanTags::default(),
            ttl: 64,
            timestamp: 0,
            reset: false,
            port_in_cookie: true,
        };
        Module::parse("tcp_synscan", None).unwrap().visit(&[settings], Unread(interface.index))
    };
    let (received, dropped, valid) = lab.thread_in(&lab.scan, work).join().unwrap();
    assert!((50..400).contains(&received), "the ring of 64 KiB held {received} replies");
    assert_eq!((received + dropped, valid), (2048, received));
}

/// Two interfaces share a scan, each with its own sockets; another interface for replies, and queues, need XDP.
#[test]
fn several_interfaces() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let mut link = vec!["link", "add", "scan1", "netns", &lab.scan, "type", "veth"];
    link.extend(["peer", "name", "net1", "netns", &lab.net]);
    run("ip", link);
    for (ns, name, address) in [(&lab.scan, "scan1", "198.19.7.1/30"), (&lab.net, "net1", "198.19.7.2/30")] {
        run("ip", ["-n", ns, "addr", "add", address, "dev", name]);
        run("ip", ["-n", ns, "link", "set", name, "up"]);
    }
    run("ip", ["-n", &lab.scan, "route", "add", "198.18.0.0/16", "via", "198.19.7.2"]);
    let options = format!("-p 80 -c 1 -q --io-mode packet {FIELDS} 198.18.3.0/24");
    let scanned = lab.survey_on("scan1,scan0", &options);
    check_ledger(&scanned, 256);
    assert_eq!(scanned.lines().len(), 256, "{}", scanned.stderr());
    assert_eq!(scanned.metadata["workers"].as_array().unwrap().len(), 2);
    for (flag, words) in [
        ("--reply-interface scan0", "--reply-interface: AF_PACKET receives on one interface"),
        ("--queues 0", "--queues: AF_PACKET receives from all queues"),
        ("--busy-poll", "--busy-poll: AF_PACKET gets its packets from the network stack"),
    ] {
        let options = format!("-p 80 -n 1 -c 0 -q --io-mode packet {flag} 198.18.3.0/24");
        let refused = lab.survey_on("scan1", &options);
        assert_eq!(refused.output.status.code(), Some(2), "{flag}: {}", refused.stderr());
        assert!(refused.stderr().contains(words), "{flag}: {}", refused.stderr());
    }
}
