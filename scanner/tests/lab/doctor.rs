//! `xdpmap doctor` on real interfaces, each in its own network namespace.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use lab::tools::tool;
use lab::{Lab, have_root, run};
use support::Scans as _;
use support::capture::Tcpdump;
use support::scanner::{binary, path};

/// Topics that differ from host to host: only the topic itself is compared.
const OF_THE_HOST: [&str; 7] =
    ["kernel", "BTF", "sandbox", "processor", "governor", "block list", "confinement"];

fn doctor(lab: &Lab, arguments: &str) -> Output {
    let mut command = lab.shielded();
    command.args([binary(), "doctor"]);
    command.args(arguments.split_whitespace()).output().unwrap()
}

/// The doctor's output, without the parts that differ from run to run and from host to host.
fn normalised(output: &Output) -> String {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut lines = Vec::new();
    let mut of_the_host = false;
    for line in text.lines() {
        let is_more = line.starts_with("       ");
        if !is_more {
            let topic = line.get(8..21).unwrap_or_default().trim();
            of_the_host = line.starts_with("  ") && OF_THE_HOST.contains(&topic);
            if of_the_host && topic != "confinement" {
                lines.push(format!("  {topic}"));
            }
        }
        if !of_the_host {
            lines.push(line.split(' ').map(without_address).collect::<Vec<_>>().join(" "));
        }
    }
    lines.join("\n") + "\n"
}

/// A word, or `MAC` for a MAC address.
fn without_address(word: &str) -> String {
    let digits = word.trim_end_matches(',');
    let is_mac = digits.len() == 17 && digits.split(':').all(|pair| u8::from_str_radix(pair, 16).is_ok());
    if is_mac { word.replace(digits, "MAC") } else { word.to_owned() }
}

/// The host's part, as root of a host without limits; `for_scan` is what this kind of scan needs.
fn host(for_scan: &str) -> String {
    format!(
        "\
host
  kernel
  BTF
{for_scan}
  sandbox
  processor
  governor
  note  ports        probes leave from 32768-61000, the host's own connections from 32768-60999; 0 connections
                     and 0 listening sockets there now
                     harmless over AF_XDP: only replies with the scan's cookie are kept from the host, and no
                     UDP reply for which a socket waits; without AF_XDP, or if this host translates addresses
                     for others (containers) and --drop-invalid is used, give the scan separate ports with -s
  ok    replies      64 bits: ntp; 45 bits: tcp_synscan, tcp_synackscan; 32 bits: icmp_echoscan,
                     icmp_echo_time; 30 bits: dns; 14 bits: udp, upnp, bacnet, ipip
                     with the default source ports, a reply must repeat this many bits of its probe; if they
                     are few (UDP), a forger can try all values; fewer ports (-s) or more probes (-P) lower
                     the number
  block list
"
    )
}

/// A scan with this many queues. How much memory it locks depends on how much there is.
fn xdp(queues: u32) -> String {
    let locked_kib = xdpmap::io::xsk::memory_bytes(queues) >> 10;
    let queues = xdpmap::units::counted(queues.into(), "queue");
    format!(
        "  ok    privileges   all that a scan needs
  ok    memory       {locked_kib} KiB for {queues}, locked without a limit (CAP_IPC_LOCK)
  ok    XDP program  the kernel accepts it"
    )
}

const NO_SCAN: &str = "no scan can run through this interface\n";

const PACKET: &str = "  ok    privileges   all that a scan over AF_PACKET needs";

const VETH: &str = "\
interface scan0
  ok    link         up, MAC, 10000 Mbit/s
  ok    driver       veth
  note  XDP          native, redirect, multi-buffer; not: zero-copy, redirect target (live frames)
  ok    XDP holder   none
  ok    MTU          1500
  ok    queues       2 to receive; channels: receive 2 of at most 2, transmit 2 of at most 2
  ok    offloads     none that conflicts with XDP
  ok    source       198.19.0.1
  ok    gateway      198.19.0.2 at MAC
  note  io mode      copy
                     better mode unavailable: the driver has no AF_XDP zero-copy here; no live frames: the
                     driver accepts no redirected frames at present; some do once a program is attached, so a
                     fast scan tries
  note  ceiling      some 0.65 million packets per second and core: measured on a veth pair (bench/README.md),
                     not with this driver
                     the link's 10000 Mbit/s carry at most 14880952 packets per second
a scan can run
";

const LOOPBACK: &str = "\
interface lo
  fail  link         it leads back to this host
                     the kernel drops packets there that come from one of its own addresses
no scan can run through this interface
";

const TUNNEL: &str = "\
interface tun0
  ok    link         up, no Ethernet header (a tunnel)
  ok    driver       tun
  ok    source       10.9.8.7
  note  io mode      packet
                     better mode unavailable: XDP needs Ethernet headers
  note  ceiling      less than the 0.65 million packets per second and core of copying; not measured yet
a scan can run
";

/// A tun device, held open by a process as for a VPN: without one it has no carrier.
fn tunnel(lab: &mut Lab) {
    const HOLD: &str = "import fcntl, struct, time; tun = open('/dev/net/tun', 'r+b', buffering=0); \
                        fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH', b'tun0', 0x1001)); time.sleep(600)";
    let ns = lab.scan.clone();
    lab.start(&ns, "python3", ["-c", HOLD]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !run("ip", ["-n", &ns, "link"]).contains(" tun0:") {
        assert!(Instant::now() < deadline, "there is no tun0");
        std::thread::sleep(Duration::from_millis(20));
    }
    run("ip", ["-n", &ns, "addr", "add", "10.9.8.7/24", "dev", "tun0"]);
    run("ip", ["-n", &ns, "link", "set", "tun0", "up"]);
}

/// One lab, three interfaces, and one that does not exist.
#[test]
fn golden_outputs() {
    if !have_root() {
        return;
    }
    let mut lab = Lab::new(2);
    tunnel(&mut lab);
    let gateway = run("ip", ["-n", &lab.net, "-j", "link", "show", "dev", "net0"]);
    let gateway: serde_json::Value = serde_json::from_str(&gateway).unwrap();
    let gateway = gateway[0]["address"].as_str().unwrap();
    run("ip", ["-n", &lab.scan, "neigh", "replace", "198.19.0.2", "lladdr", gateway, "dev", "scan0"]);
    for (arguments, for_scan, expected, code) in [
        ("-i scan0", xdp(2), VETH, 0),
        ("", xdp(2), VETH, 0),
        ("-i lo", xdp(1), LOOPBACK, 4),
        ("-i tun0", PACKET.to_owned(), TUNNEL, 0),
    ] {
        let output = doctor(&lab, arguments);
        assert_eq!(normalised(&output), host(&for_scan) + expected, "{arguments}");
        assert_eq!(output.status.code(), Some(code), "{arguments}");
    }

    // Several, as a scan accepts them: one section each, and one that cannot carry a scan prevents it.
    let section = |text: &str| text.replace("a scan can run\n", "").replace(NO_SCAN, "");
    for (others, ends, code) in
        [("tun0", "a scan can run\n", 0), ("lo", "no scan can run through these interfaces together\n", 4)]
    {
        let output = doctor(&lab, &format!("-i scan0,{others}"));
        let (for_scan, second) = if others == "lo" { (xdp(3), LOOPBACK) } else { (xdp(2), TUNNEL) };
        let expected = host(&for_scan) + &section(VETH) + &section(second) + ends;
        assert_eq!((normalised(&output), output.status.code()), (expected, Some(code)), "{others}");
    }
    let report: serde_json::Value =
        serde_json::from_slice(&doctor(&lab, "-i scan0,tun0 --json").stdout).unwrap();
    let names = (&report["interface"], &report["others"][0]["interface"], &report["others"][0]["io_mode"]);
    assert_eq!(names, (&"scan0".into(), &"tun0".into(), &"packet".into()), "{report}");

    let output = doctor(&lab, "-i nonesuch");
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), line.lines().count()), (Some(4), 0, 1), "{line}");
    let words = "[FATAL] doctor: --interface: there is no interface 'nonesuch'; there is lo, scan0, tun0\n";
    assert!(line.ends_with(words), "{line}");
    let output = doctor(&lab, "--nonesuch");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && line.contains("see xdpmap doctor --help"), "{line}");
}

/// The finding about a topic.
fn finding(output: &Output, topic: &str) -> serde_json::Value {
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = report["host"].as_array().unwrap().iter().chain(report["nic"].as_array().unwrap());
    let mut found = all.filter(|finding| finding["topic"] == topic);
    found.next().cloned().unwrap_or_else(|| panic!("nothing about {topic} in {report}"))
}

/// Everything that prevents a scan is reported, with its remedy, and the doctor sends nothing.
#[test]
fn what_is_wrong_is_told() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let sent = |lab: &Lab| lab.in_ns(&lab.scan, "cat", ["/sys/class/net/scan0/statistics/tx_packets"]);
    let before = sent(&lab);
    let set = |what: &str| {
        run("ip", ["-n", &lab.scan].into_iter().chain(what.split(' ')));
    };

    set("link set scan0 mtu 9000");
    let mtu = finding(&doctor(&lab, "--json"), "MTU");
    assert_eq!((&mtu["verdict"], &mtu["remedy"]), (&"note".into(), &"ip link set dev scan0 mtu 1500".into()));
    set("link set scan0 mtu 1500");

    set("route del default");
    let output = doctor(&lab, "--json");
    assert_eq!((output.status.code(), &finding(&output, "interface")["verdict"]), (Some(4), &"fail".into()));
    let output = doctor(&lab, "--json -i scan0");
    assert_eq!((output.status.code(), &finding(&output, "gateway")["verdict"]), (Some(0), &"warn".into()));
    set("route add default via 198.19.0.2");

    set("addr flush dev scan0");
    let output = doctor(&lab, "--json -i scan0");
    assert_eq!((output.status.code(), &finding(&output, "source")["verdict"]), (Some(4), &"fail".into()));
    set("addr add 198.19.0.1/30 dev scan0");

    set("link set scan0 down");
    let output = doctor(&lab, "--json -i scan0");
    let link = finding(&output, "link");
    assert_eq!((&link["found"], &link["remedy"]), (&"down".into(), &"ip link set dev scan0 up".into()));
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(sent(&lab), before, "the doctor sends nothing");
}

/// XDP programs of others, with the names that they really have, in either mode: named with the remedy, by the doctor
/// and by a scan; neither replaces them.
#[test]
fn another_program_is_named() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xdp-prog/bpf.h");
    for (name, mode, word, way_out) in [
        ("xdp_dispatcher", XdpMode::Driver, "native", "`xdp-loader unload scan0 --all` removes it"),
        ("cil_xdp_entry", XdpMode::Skb, "generic", "turn its XDP acceleration off for scan0"),
        ("my_filter", XdpMode::Driver, "native", "`ip link set dev scan0 xdpdrv off`"),
    ] {
        let (source, object) = (lab.folder().join("rival.bpf.c"), lab.folder().join("rival.bpf.o"));
        let text = format!(
            "#include \"{}\"\nSEC(\"xdp\") int {name}(struct xdp_md *ctx) {{ return XDP_PASS; }}\n\
             const char LICENSE[] SEC(\"license\") = \"Dual MIT/GPL\";\n",
            header.display()
        );
        std::fs::write(&source, text).unwrap();
        ebpf_build::compile(&source, &object).unwrap();
        let attach = move || {
            let mut ebpf = Ebpf::load_file(object).unwrap();
            let program: &mut Xdp = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach("scan0", mode).unwrap();
            (program.info().unwrap().id(), ebpf)
        };
        let (id, ebpf) = lab.thread_in(&lab.scan, attach).join().unwrap();
        let who = format!("another XDP program is attached ({word}, id {id} `{name}`): ");
        let output = doctor(&lab, "--json");
        let holder = finding(&output, "XDP holder");
        let found = holder["found"].as_str().unwrap();
        assert!(found.starts_with(&who) && found.contains(way_out), "{found}");
        assert_eq!((output.status.code(), &holder["verdict"]), (Some(4), &"fail".into()));
        for io_mode in ["auto", "generic"] {
            let scanned = lab.survey(&format!("-p 80 -n 1 --io-mode {io_mode} 198.18.0.0/24"));
            let stderr = scanned.stderr();
            assert_eq!((scanned.output.status.code(), stderr.lines().count()), (Some(4), 1), "{stderr}");
            assert!(stderr.contains(&format!("scan0: {who}")) && stderr.contains(way_out), "{stderr}");
        }
        let text = run("ip", ["-n", &lab.scan, "-d", "link", "show", "dev", "scan0"]);
        assert!(text.contains(&format!("id {id} ")), "it is still there: {text}");
        drop(ebpf);
        let deadline = Instant::now() + Duration::from_secs(5);
        while lab.has_xdp() {
            assert!(Instant::now() < deadline, "the program went with its owner");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert_eq!(finding(&doctor(&lab, "--json"), "XDP holder")["verdict"], "ok");
}

/// `ethtool` with each of these switches, if the driver supports it, and how interrupts are deferred.
fn ethtool(lab: &Lab) -> Vec<String> {
    let ask = |switch| {
        let asked = tool("ip").args(["netns", "exec", &lab.scan, "ethtool", switch, "scan0"]).output();
        String::from_utf8(asked.unwrap().stdout).unwrap()
    };
    let mut said = ["-k", "-l", "-g", "-c", "-x", "-a"].map(ask).to_vec();
    let kept_back = "/sys/class/net/scan0/napi_defer_hard_irqs /sys/class/net/scan0/gro_flush_timeout";
    said.push(lab.in_ns(&lab.scan, "cat", kept_back.split(' ')));
    said
}

/// The tuning script reports which settings differ, sets them, and restores exactly the former values, any number of
/// times.
#[test]
fn tuning_is_undone() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(4);
    lab.in_ns(&lab.scan, "ethtool", ["-L", "scan0", "rx", "1", "tx", "2"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/tune-nic.sh");
    let state = lab.folder().join("state");
    let tune = |arguments: &str| {
        let mut command = tool("ip");
        command.args(["netns", "exec", &lab.scan]).arg(&script).args(arguments.split(' '));
        let output = command.env("PATH", path()).env("XDPMAP_TUNE_STATE", &state).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code(), text)
    };
    // The other settings belong to the whole host, which this test must not change.
    let only = "--workers 3 --only channels,ring,coalesce,offload,pause,rss,irq,busy-poll";
    let line = |text: &str, setting: &str| {
        let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(setting));
        line.unwrap_or_else(|| panic!("no {setting} in {text}"))
            .split_whitespace()
            .take(4)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let before = ethtool(&lab);
    for _ in 0..2 {
        let (code, text) = tune(&format!("scan0 check {only}"));
        assert_eq!(code, Some(1), "{text}");
        assert_eq!(line(&text, "channels.rx"), "off channels.rx 1 3");
        assert_eq!(line(&text, "busy-poll.gro_flush_timeout"), "off busy-poll.gro_flush_timeout 0 200000");
        // Interrupts are not deferred for a scan unless that stage is requested by name.
        assert!(!tune("scan0 check").1.contains("busy-poll"));
        assert_eq!(ethtool(&lab), before, "check changes nothing");
        for verdict in ["set", "ok"] {
            let (code, text) = tune(&format!("scan0 apply {only}"));
            assert_eq!(code, Some(0), "{text}");
            assert!(line(&text, "channels.rx").starts_with(verdict), "{text}");
            assert!(line(&text, "channels.tx").ends_with(" 3"), "{text}");
        }
        let (code, text) = tune(&format!("scan0 check {only}"));
        assert_eq!((code, line(&text, "channels.tx").as_str()), (Some(0), "ok channels.tx 3 3"), "{text}");
        assert_ne!(ethtool(&lab), before);
        let (code, text) = tune("scan0 undo");
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(ethtool(&lab), before);
    }
    let (code, text) = tune("scan0 undo");
    assert!(code == Some(0) && text.contains("nothing to undo"), "{text}");
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);

    for (arguments, words) in [
        ("nonesuch check", "there is no interface 'nonesuch'; there is lo scan0"),
        ("scan0 check --only chanels", "there is no stage 'chanels'"),
        ("scan0 check --workers 0", "--workers: '0'"),
        ("scan0", "IFACE check"),
    ] {
        let (code, text) = tune(arguments);
        assert!(code == Some(2) && text.contains(words), "{arguments}: {text}");
    }
}

/// unbound on an address of the far side: it knows names of the source address by `records`.
fn start_resolver(lab: &mut Lab, records: &[&str]) {
    let root = lab.folder().display().to_string();
    let mut config = format!(
        "server:\n interface: 198.18.0.18\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
         directory: \"{root}\"\n pidfile: \"{root}/unbound.pid\"\n use-syslog: no\n logfile: \"{root}/unbound.log\"\n \
         num-threads: 1\n local-zone: \"19.198.in-addr.arpa.\" static\n local-zone: \"example.org.\" static\n"
    );
    for record in records {
        config.push_str(&format!(" local-data: '{record}'\n"));
    }
    config.push_str("remote-control:\n control-enable: no\n");
    let file = lab.folder().join("unbound.conf");
    std::fs::write(&file, config).unwrap();
    let net = lab.net.clone();
    lab.start(&net, "unbound", ["-d".into(), "-c".into(), file]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !lab.in_ns(&net, "ss", ["-Hlun"]).contains("198.18.0.18:53 ") {
        assert!(Instant::now() < deadline, "unbound does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The doctor with another resolv.conf, which only it sees, and what the scanning side sent meanwhile to port 53.
fn doctor_with_resolver(lab: &Lab, resolver: &str, arguments: &str) -> (String, usize) {
    let config = lab.folder().join("resolv.conf");
    std::fs::write(&config, resolver).unwrap();
    let capture = Tcpdump::start(lab, &lab.net, "net0", 200, &[], "udp port 53 or tcp port 53");
    let mut command = lab.shielded();
    let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
    command.args(["unshare", "-m", "sh", "-c", script, "sh"]).arg(&config).args([
        binary(),
        "doctor",
        "-i",
        "scan0",
    ]);
    let output = command.args(arguments.split_whitespace()).output().unwrap();
    let file = capture.end();
    let frames = run("tshark", ["-n", "-r", file.to_str().unwrap()]).lines().count();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    // Lines are wrapped.
    let text = String::from_utf8(output.stdout).unwrap();
    (text.split_whitespace().collect::<Vec<_>>().join(" "), frames)
}

/// The names of the source addresses are asked for on demand only, of the resolver of this host, and what was asked is
/// said. A name has to lead back, and a resolver that is silent is not waited for.
#[test]
fn names_of_source_addresses() {
    const PTR: &str = "1.0.19.198.in-addr.arpa. 300 IN PTR scan.example.org.";
    const SERVER: &str = "nameserver 198.18.0.18\noptions attempts:1\n";
    if !have_root() {
        return;
    }
    for (records, expected) in [
        (
            &[PTR, "scan.example.org. 300 IN A 198.19.0.1"][..],
            "ok reverse DNS 198.19.0.1 is scan.example.org people who look it up expect \
             https://scan.example.org/.well-known/probing.txt there",
        ),
        (
            &[PTR, "scan.example.org. 300 IN A 198.19.0.9"],
            "warn reverse DNS 198.19.0.1 is scan.example.org scan.example.org is not a name of 198.19.0.1",
        ),
        (&[], "warn reverse DNS 198.19.0.1 has no name"),
    ] {
        let mut lab = Lab::new(2);
        start_resolver(&mut lab, records);
        let (text, frames) = doctor_with_resolver(&lab, SERVER, "--reverse-dns");
        let asked = "note reverse DNS asked 198.18.0.18 for the names of 198.19.0.1";
        assert!(text.contains(asked) && text.contains(expected) && frames > 1, "{text}");
        let (text, frames) = doctor_with_resolver(&lab, SERVER, "");
        assert!(frames == 0 && !text.contains("reverse DNS"), "asked nothing, but {frames} frames: {text}");
    }
    let lab = Lab::new(2);
    let (text, frames) = doctor_with_resolver(&lab, "# none\n", "--reverse-dns");
    assert!(text.contains("nothing was asked: /etc/resolv.conf names no server") && frames == 0, "{text}");
    // Nobody listens there, and no error says so.
    lab.in_ns(
        &lab.net,
        "nft",
        ["add table ip quiet; add chain ip quiet in { type filter hook input priority 0; }; \
                                add rule ip quiet in udp dport 53 drop"],
    );
    let began = Instant::now();
    let (text, frames) = doctor_with_resolver(&lab, SERVER, "--reverse-dns");
    assert!(text.contains("198.19.0.1: no answer within 3 s") && frames > 0, "{text}");
    assert!(began.elapsed() < Duration::from_secs(30));
}
