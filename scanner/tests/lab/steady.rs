//! Changes of an interface under a running scan: a link that goes down and comes back, or does not; the interface, its
//! XDP program or its queues are taken away.

use std::time::Duration;

use lab::tools::tool;
use lab::{HOSTS, Lab, have_root, run};
use support::running::{Running, cpu_ticks, set_link};
use support::truth::{FIELDS, assert_found, truth};
use support::{Scanned, Scans as _};

/// The accounting of a scan that may have probed some targets again.
fn check_books(scanned: &Scanned, targets: u64) {
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    let number = |name: &str| scanned.number(&format!("/counters/{name}"));
    assert_eq!(number("targets"), targets);
    assert_eq!(number("tx_submitted"), number("targets") + number("targets_again"));
    assert_eq!(number("tx_submitted"), number("tx_sent") + number("tx_lost"));
    assert_eq!(scanned.number("/targets_left") + scanned.number("/targets_in_doubt"), 0);
    assert_eq!(scanned.metadata["intervals_left"], serde_json::json!([]));
}

/// The far end goes down for five seconds during the scan: every responder is found nevertheless, in copy mode, with
/// live frames and over AF_PACKET. The metadata reports the outage and how many targets were probed again.
#[test]
fn a_link_that_comes_back_loses_nobody() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let truth = truth(HOSTS, &servers);
    let lab = Lab::new(2);
    lab.start_nginx(&servers);
    lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "gro", "on"]);
    for (mode, down) in [("copy", 5), ("live", 1), ("packet", 1)] {
        let options = format!("-p 80 -r 20000 -c 2 --io-mode {mode} {FIELDS} 198.18.0.0/16");
        let mut running = Running::start(&lab, &options);
        set_link(&lab.net, "net0", "down");
        running.wait_for("the link is down; sending is paused");
        std::thread::sleep(Duration::from_secs(down));
        set_link(&lab.net, "net0", "up");
        let scanned = running.finish();
        assert_found(mode, &scanned, &truth);
        check_books(&scanned, 65_536);
        assert_eq!(scanned.metadata["io_mode"], mode);
        // The second before the loss, and the time until it was noticed.
        let again = scanned.row("targets", "again");
        assert!((5_000..45_000).contains(&again), "{again} at 20,000 a second");
        let outages = scanned.metadata["link_outages"].as_array().unwrap();
        assert_eq!((outages.len(), &outages[0]["recovered"]), (1, &true.into()), "{outages:?}");
        let seconds = outages[0]["seconds"].as_f64().unwrap();
        assert!((down as f64..down as f64 + 3.0).contains(&seconds), "{seconds}");
    }
}

/// A link that is lost only for a moment, at either end: no responder is missed. Nor is one missed if the link is lost
/// when all probes have been sent, but not all replies have arrived.
#[test]
fn short_losses_and_late_ones() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let truth = truth(HOSTS, &servers);
    let lab = Lab::new(2);
    lab.start_nginx(&servers);
    for (what, ns, device) in
        [("flap", &lab.net, "net0"), ("own end", &lab.scan, "scan0"), ("cooldown", &lab.net, "net0")]
    {
        let options = format!("-p 80 -r 40000 -c 2 {FIELDS} 198.18.0.0/16");
        let mut running = Running::start(&lab, &options);
        if what == "cooldown" {
            running.wait_for(" done (");
        }
        set_link(ns, device, "down");
        set_link(ns, device, "up");
        let scanned = running.finish();
        // Our own end loses its routes with the link; the scan does not need them.
        run("ip", ["-n", &lab.scan, "route", "replace", "default", "via", "198.19.0.2"]);
        let found = scanned.lines();
        assert_eq!(truth.difference(&found).count(), 0, "{what}: {}", scanned.stderr());
        check_books(&scanned, 65_536);
        assert_eq!(scanned.metadata["link_outages"].as_array().unwrap().len(), 1, "{what}");
    }
}

/// A link that stays down ends the scan with a separate reason, and the metadata says what is left; meanwhile no worker
/// uses the processor. An interrupt while it is down does the same.
#[test]
fn a_link_that_stays_down_ends_the_scan() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let mut running = Running::start(&lab, "-p 80 -r 2000 -c 30 --max-link-down 3 198.18.0.0/16");
    set_link(&lab.net, "net0", "down");
    running.wait_for("the link is down");
    std::thread::sleep(Duration::from_millis(300));
    let busy = cpu_ticks(running.child.id());
    std::thread::sleep(Duration::from_secs(1));
    let busy = cpu_ticks(running.child.id()) - busy;
    assert!(busy <= 10, "{busy} of 100 ticks of a second in which there was nothing to do");
    let scanned = running.finish();
    assert_eq!(scanned.output.status.code(), Some(5), "{}", scanned.stderr());
    assert!(scanned.stderr().contains("down for 3 s, the limit of --max-link-down"), "{}", scanned.stderr());
    assert_eq!(
        (&scanned.metadata["end_reason"], &scanned.metadata["exit_code"]),
        (&"link-down".into(), &5.into())
    );
    let (left, in_doubt) = (scanned.number("/targets_left"), scanned.number("/targets_in_doubt"));
    assert_eq!(left + scanned.number("/targets_scanned"), 65_536);
    assert!((1_000..8_000).contains(&in_doubt), "{in_doubt} of 2,000 a second");
    let intervals = scanned.metadata["intervals_left"].as_array().unwrap();
    let exponents: u64 =
        intervals.iter().map(|part| part[1].as_u64().unwrap() - part[0].as_u64().unwrap()).sum();
    // The group of 65,536 targets is that of the prime 65,537: each exponent stands for a target.
    assert_eq!(exponents, left + in_doubt);
    assert_eq!(scanned.metadata["link_outages"][0]["recovered"], false);
    assert!(!lab.has_xdp());

    set_link(&lab.net, "net0", "up");
    let mut running = Running::start(&lab, "-p 80 -r 2000 -c 1 198.18.0.0/16");
    set_link(&lab.net, "net0", "down");
    running.wait_for("the link is down");
    let pid = nix::unistd::Pid::from_raw(running.child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let scanned = running.finish();
    assert_eq!(scanned.output.status.code(), Some(130), "{}", scanned.stderr());
    assert!(scanned.number("/targets_in_doubt") > 0);
    assert_eq!(scanned.number("/targets_left") + scanned.number("/targets_scanned"), 65_536);
}

/// Taking the interface, the program or queues away during a scan ends it with that reason, and everything is written.
#[test]
fn what_is_taken_away_ends_the_scan() {
    if !have_root() {
        return;
    }
    type Taking = fn(&Lab);
    let cases: [(&str, &str, Taking); 3] = [
        ("xdp-program-lost", "its XDP program was detached", |lab| {
            let links = run("ip", ["-n", &lab.scan, "-j", "link", "show", "dev", "scan0"]);
            let links: serde_json::Value = serde_json::from_str(&links).unwrap();
            let program = &links[0]["xdp"]["prog"]["id"];
            assert!(program.is_u64(), "{links}");
            let held = run("bpftool", ["-j", "link", "list"]);
            let held: serde_json::Value = serde_json::from_str(&held).unwrap();
            let ours = held.as_array().unwrap().iter().find(|link| link["prog_id"] == *program);
            let id = ours.unwrap()["id"].to_string();
            run("bpftool", ["link", "detach", "id", &id]);
        }),
        ("queues-changed", "RX queues now, but had 2", |lab| {
            lab.in_ns(&lab.scan, "ethtool", ["-L", "scan0", "rx", "3"]);
        }),
        ("interface-lost", "the interface is gone", |lab| {
            run("ip", ["-n", &lab.scan, "link", "del", "scan0"]);
        }),
    ];
    for (reason, words, take) in cases {
        let lab = Lab::new(4);
        lab.in_ns(&lab.net, "ethtool", ["-L", "net0", "rx", "2", "tx", "2"]);
        lab.in_ns(&lab.scan, "ethtool", ["-L", "scan0", "rx", "2", "tx", "2"]);
        let running = Running::start(&lab, "-p 80 -r 2000 -c 1 -f saddr 198.18.0.0/16");
        take(&lab);
        let scanned = running.finish();
        assert_eq!(scanned.output.status.code(), Some(4), "{reason}: {}", scanned.stderr());
        assert!(scanned.stderr().contains(words), "{reason}: {}", scanned.stderr());
        assert_eq!(
            (&scanned.metadata["end_reason"], &scanned.metadata["exit_code"]),
            (&reason.into(), &4.into())
        );
        assert!(scanned.lines().len() > 100, "{reason}: what had come is written");
        assert_eq!(scanned.number("/targets_left") + scanned.number("/targets_scanned"), 65_536, "{reason}");
        assert!(scanned.number("/targets_in_doubt") > 0, "{reason}");
    }
}

/// While a scan runs, its program cannot be removed, nor another one be attached next to it, native or generic, by the
/// usual ways.
#[test]
fn a_rival_program_is_kept_out() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/rival.bpf.c");
    let object = lab.folder().join("rival.bpf.o");
    ebpf_build::compile(&source, &object).unwrap();
    let object = object.to_str().unwrap();
    // The same succeeds on an interface that is not in use.
    lab.in_ns(&lab.net, "ip", ["link", "set", "dev", "net0", "xdpdrv", "obj", object, "sec", "xdp"]);
    lab.in_ns(&lab.net, "ip", ["link", "set", "dev", "net0", "xdpdrv", "off"]);
    let running = Running::start(&lab, "-p 80 -r 2000 -n 6000 -c 1 -f saddr 198.18.0.0/17");
    for mode in ["xdpdrv", "xdpgeneric", "xdp"] {
        for arguments in [vec![mode, "off"], vec![mode, "obj", object, "sec", "xdp"]] {
            let mut command = tool("ip");
            command.args(["netns", "exec", &lab.scan, "ip", "-force", "link", "set", "dev", "scan0"]);
            command.args(&arguments);
            let output = command.output().unwrap();
            let refused = String::from_utf8_lossy(&output.stderr).into_owned();
            // Removing a program that is not there succeeds, and does nothing.
            let harmless = mode == "xdpgeneric" && arguments[1] == "off";
            assert!(harmless || !output.status.success(), "{arguments:?} was done: {refused}");
        }
    }
    let scanned = running.finish();
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.lines().len(), 6_000);
    assert_eq!(scanned.metadata["link_outages"], serde_json::json!([]));
}

/// Queues that are not read: replies on them are counted and warned about, during the scan and at the end; all others
/// are found. Queues that do not exist are refused.
#[test]
fn replies_on_other_queues_are_told() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(4);
    let mut running = Running::start(&lab, "-p 80 -r 5000 -c 1 --queues 2,0 -f saddr 198.18.0.0/18");
    running.wait_for("valid replies so far came in on RX queues that are not read");
    let scanned = running.finish();
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    let unheard = scanned.row("judged", "valid_no_socket");
    let found = scanned.lines().len() as u64;
    assert!(unheard > 1_000 && found > 1_000, "{unheard} not heard, {found} found");
    assert_eq!(found, scanned.number("/xdp_counters/valid_redirected"));
    assert_eq!(found + unheard, 1 << 14, "each of them answered, here or there");
    assert!(scanned.stderr().contains(&format!(
        "{unheard} valid replies were lost: they came in on RX queues that are not read, or when the scan had ended"
    )));
    let queues: Vec<_> =
        scanned.metadata["sockets"].as_array().unwrap().iter().map(|s| s["queue"].clone()).collect();
    assert!(queues.iter().all(|queue| *queue == 0 || *queue == 2) && queues.len() == 2, "{queues:?}");
    assert_eq!(scanned.number("/rx_queues"), 2);
    for (queues, words) in [("1-4", "queues of scan0, which are 0-3"), ("x", "'x' is not a queue")] {
        let refused = lab.survey(&format!("-p 80 -n 1 --queues {queues} 198.18.0.0/18"));
        assert_eq!(refused.output.status.code(), Some(2), "{}", refused.stderr());
        assert!(
            refused.stderr().contains("--queues") && refused.stderr().contains(words),
            "{}",
            refused.stderr()
        );
    }
}

/// Jumbo frames: a driver that refuses native XDP with them is reported, with the remedy, and generic mode works; a
/// reply that is longer than our frames is counted and reported.
#[test]
fn jumbo_frames_are_told() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let set_mtu = |mtu: &str| {
        run("ip", ["-n", &lab.net, "link", "set", "net0", "mtu", mtu]);
        run("ip", ["-n", &lab.scan, "link", "set", "scan0", "mtu", mtu]);
    };
    set_mtu("9000");
    let scanned = lab.survey("-p 80 -n 200 -c 1 -q -f saddr 198.18.0.0/17");
    assert_eq!(
        (&scanned.metadata["io_mode"], scanned.lines().len()),
        (&"generic".into(), 200),
        "{}",
        scanned.stderr()
    );
    let reason = scanned.metadata["io_mode_reason"].as_str().unwrap();
    assert!(reason.contains("needs a smaller MTU") && reason.contains("mtu 1500"), "{reason}");
    let refused = lab.survey("-p 80 -n 200 -c 1 -q --io-mode copy 198.18.0.0/17");
    assert_eq!(refused.output.status.code(), Some(4), "{}", refused.stderr());
    assert!(refused.stderr().contains("ip link set dev scan0 mtu 1500"), "{}", refused.stderr());
    set_mtu("3400");
    let serve = || {
        let sockets: Vec<_> = [("198.18.0.7:7", 2_500), ("198.18.0.8:7", 1_500)]
            .map(|(address, len)| (std::net::UdpSocket::bind(address).unwrap(), vec![7; len]))
            .into();
        for (socket, answer) in sockets {
            std::thread::spawn(move || {
                let mut probe = [0; 2_000];
                while let Ok((_, from)) = socket.recv_from(&mut probe) {
                    socket.send_to(&answer, from).unwrap();
                }
            });
        }
    };
    lab.thread_in(&lab.net, serve).join().unwrap();
    let scanned =
        lab.survey("-M udp -p 7 -c 1 -q --probe-args text:hello -f saddr,udp_pkt_size 198.18.0.7 198.18.0.8");
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.metadata["io_mode"], "copy");
    assert_eq!(scanned.lines().into_iter().collect::<Vec<_>>(), ["198.18.0.8,1508"], "{}", scanned.stderr());
    assert_eq!(scanned.number("/sockets/0/rx_dropped"), 1);
    assert_eq!(scanned.row("sockets", "dropped"), 1);
    assert_eq!(scanned.number("/counters/rx_socket_drops"), 1);
    assert!(scanned.stderr().contains("1 replies were lost in the kernel"), "{}", scanned.stderr());
}
