//! Live frames through a real veth pair, whose far side accepts redirected frames only with GRO on (or XDP attached).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::PerCpuArray;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use lab::{HOSTS, Lab, have_root, run};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::capture::captured;
use support::live::{check_probes, live_lab};
use support::running::Running;
use support::truth::{FIELDS, assert_found, check_ledger, truth};
use support::{Scans as _, read};

/// Frames that the far side's interface has received.
fn received(lab: &Lab) -> u64 {
    lab.in_ns(&lab.net, "cat", ["/sys/class/net/net0/statistics/rx_packets"]).trim().parse().unwrap()
}

/// Exactly the responders that exist, and every probe's reset, with one worker on one and on four queues.
#[test]
fn finds_exactly_who_is_there() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let truth = truth(HOSTS, &servers);
    for queues in [1, 4] {
        let lab = live_lab(queues);
        lab.start_nginx(&servers);
        let scanned = lab.survey(&format!("-p 80 -r 40000 -c 2 -q --io-mode live {FIELDS} 198.18.0.0/16"));
        assert_found(&format!("{queues} queues"), &scanned, &truth);
        check_ledger(&scanned, 65_536);
        check_probes(&scanned);
        assert_eq!(scanned.number("/counters/rst_sent"), servers.len() as u64);
        // With two cores there is one worker for all queues: its sender has the other core.
        if std::thread::available_parallelism().unwrap().get() == 2 {
            assert_eq!(scanned.number("/senders"), 1);
            let all: Vec<_> = (0..queues).map(serde_json::Value::from).collect();
            assert_eq!(scanned.metadata["workers"][0]["rx_queues"], serde_json::Value::from(all));
        }
        assert!(!lab.has_xdp());
    }
}

/// With its NAPI in a thread the far side cannot keep up, and the driver refuses frames. They are sent again: every
/// target receives exactly one, with right checksums, in every layout.
#[test]
fn refused_probes_are_sent_again() {
    if !have_root() {
        return;
    }
    let mut refused = 0;
    for layout in ["windows", "smallest-probes", "linux"] {
        let mut lab = live_lab(1);
        lab.in_ns(&lab.net, "sh", ["-c", "echo 1 > /sys/class/net/net0/threaded"]);
        let capture = captured(&mut lab, |lab| {
            let options = format!("-p 80 -r 0 -c 0 -q --io-mode live --probe-args {layout} 198.18.128.0/17");
            let scanned = lab.survey(&options);
            assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
            check_probes(&scanned);
            assert_eq!(scanned.number("/counters/tx_lost"), 0);
            assert_eq!(scanned.number("/targets_scanned"), 1 << 15);
            refused += scanned.number("/counters/tx_refused");
        });
        let expected: BTreeSet<_> =
            (0xc612_8000..=0xc612_ffff_u32).map(|address| (Ipv4Addr::from(address), 80)).collect();
        assert_eq!(capture.syns.len(), 1 << 15, "{layout}");
        assert_eq!(capture.syns.into_iter().collect::<BTreeSet<_>>(), expected, "{layout}");
        assert_eq!(capture.bad, Vec::<String>::new(), "{layout}");
    }
    assert!(refused > 0, "the driver refused nothing: this test has shown nothing");
}

/// A sender that is moved to another core during the scan continues, and what it sends counts as sent.
#[test]
fn a_sender_may_be_moved() {
    if !have_root() {
        return;
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    if cores < 2 {
        eprintln!("SKIPPED a_sender_may_be_moved: it needs two cores");
        return;
    }
    let lab = live_lab(1);
    let before = received(&lab);
    let scan = Running::start(&lab, "-p 1-4 -r 30000 -T 1 -c 0 --io-mode live 198.18.128.0/17");
    let mut tasks = std::fs::read_dir(format!("/proc/{}/task", scan.child.id())).unwrap().flatten();
    let is_sender = |task: &std::fs::DirEntry| read(&task.path().join("comm")).trim() == "live-sender";
    let sender = tasks.find(is_sender).expect("a sender").file_name().into_string().unwrap();
    let sender = Pid::from_raw(sender.parse().unwrap());
    let pinned = sched_getaffinity(sender).unwrap();
    let mut other = CpuSet::new();
    let core = (0..CpuSet::count()).filter(|core| !pinned.is_set(*core).unwrap());
    let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
    core.filter(|core| all.is_set(*core).unwrap()).for_each(|core| other.set(core).unwrap());
    sched_setaffinity(sender, &other).unwrap();
    let scanned = scan.finish();
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    check_probes(&scanned);
    let [sent, lost] = ["tx_sent", "tx_lost"].map(|name| scanned.number(&format!("/counters/{name}")));
    // No frame of the batch during which it is moved is lost either: a batch stays on its core.
    assert_eq!((sent, lost), (4 << 15, 0), "{}", scanned.stderr());
    let arrived = received(&lab) - before;
    assert!((sent + 1..sent + 6).contains(&arrived), "{sent} sent, {arrived} arrived");
}

/// The far side counts what we report as sent, also with a rate, several probes and several ports.
#[test]
fn sent_is_received() {
    if !have_root() {
        return;
    }
    let lab = live_lab(1);
    for options in ["-p 80-83 -r 0 -n 500000 -P 2", "-p 80 -r 30000 -n 60000", "-p 80 -r 100 -n 100"] {
        let before = received(&lab);
        let scanned = lab.survey(&format!("-c 0 -q --io-mode live {options} 198.18.128.0/17"));
        check_probes(&scanned);
        assert_eq!(scanned.number("/counters/tx_lost"), 0);
        let sent = scanned.number("/packets_sent");
        // The first frame of all is the trial; neighbour discovery may add one or two.
        let arrived = received(&lab) - before;
        assert!((sent + 1..sent + 6).contains(&arrived), "{options}: {sent} sent, {arrived} arrived");
    }
}

/// The kernel reuses frames, and the far side has overwritten all of them: every frame is complete nevertheless.
#[test]
fn frames_are_written_anew() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let object = lab.folder().join("scribble.bpf.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/rival.bpf.c");
    ebpf_build::compile(&source, &object).unwrap();
    let attach = move || {
        let mut ebpf = Ebpf::load_file(object).unwrap();
        let program: &mut Xdp = ebpf.program_mut("scribble").unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach("net0", XdpMode::Driver).unwrap();
        ebpf
    };
    let ebpf = lab.thread_in(&lab.net, attach).join().unwrap();
    // The far side does not answer any more, not even ARP.
    let gateway = lab.in_ns(&lab.net, "cat", ["/sys/class/net/net0/address"]);
    let options = format!("-p 80-109 -r 0 -T 1 -c 0 -q --io-mode live -G {} 198.18.0.0/16", gateway.trim());
    let scanned = lab.survey(&options);
    check_probes(&scanned);
    let seen: PerCpuArray<_, u64> = ebpf.map("seen").unwrap().try_into().unwrap();
    let [whole, ruined] = [0, 1].map(|key| seen.get(&key, 0).unwrap().iter().sum::<u64>());
    assert_eq!((whole, ruined), (30 << 16, 0));
}

/// Without NAPI on the far side a veth accepts no redirected frames: copy mode is used then, and the reason is
/// reported; if live frames are required, it is an error.
#[test]
fn falls_back_where_the_driver_cannot() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let scanned = lab.survey("-p 80 -r 0 -T 1 -n 1000 -c 0 -q 198.18.128.0/17");
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.metadata["io_mode"], "copy");
    assert_eq!(scanned.number("/packets_sent"), 1000);
    let several_cores = std::thread::available_parallelism().unwrap().get() > 1;
    let reason = scanned.metadata["io_mode_reason"].as_str().unwrap();
    assert_eq!(reason.contains("the driver does not transmit redirected frames"), several_cores, "{reason}");
    let no_zero_copy = "veth does not report zero-copy to the kernel; so the kernel copies each frame";
    assert!(reason.contains(no_zero_copy) && scanned.stderr().contains(no_zero_copy), "{reason}");
    assert!(!reason.contains("os error") && !scanned.stderr().contains("os error"), "{}", scanned.stderr());
    let refused = lab.survey("-p 80 -n 1000 -c 0 -q --io-mode live 198.18.128.0/17");
    assert_eq!(refused.output.status.code(), Some(4));
    let error = refused.stderr();
    assert!(error.contains("live frames: the driver does not transmit redirected frames here"), "{error}");
    assert!(
        error.contains("--io-mode auto") && error.lines().filter(|line| line.contains("FATAL")).count() == 1
    );
    assert!(!lab.has_xdp());
}

/// At full speed live frames are chosen by themselves, where there are two cores for them; at a modest rate they are
/// not.
#[test]
fn chosen_at_full_speed() {
    if !have_root() {
        return;
    }
    if std::thread::available_parallelism().unwrap().get() < 2 {
        eprintln!("SKIPPED chosen_at_full_speed: it needs two cores");
        return;
    }
    let lab = live_lab(1);
    for (rate, mode) in [("0", "live"), ("10000", "copy")] {
        let scanned = lab.survey(&format!("-p 80 -r {rate} -n 10000 -c 0 -q 198.18.128.0/17"));
        assert_eq!(scanned.metadata["io_mode"], mode, "{}", scanned.stderr());
        assert_eq!(scanned.number("/packets_sent"), 10_000);
    }
}

/// Ctrl-C at full speed: the counters balance, all frames that were sent arrived, and nothing stays on the interface.
#[test]
fn an_interrupt_balances_the_books() {
    if !have_root() {
        return;
    }
    let lab = live_lab(1);
    let before = received(&lab);
    let metadata = lab.folder().join("metadata");
    let mut command = lab.xdpmap("-p 1-1000 -r 0 -c 1 --io-mode live -o /dev/null 198.18.128.0/17");
    let mut child = command.arg("-m").arg(&metadata).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.is_ok_and(|line| line.contains("send: "))), "a status line");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    log.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let metadata = support::ledger::metadata(&metadata);
    assert_eq!(metadata["end_reason"], "interrupted");
    let number = |name: &str| metadata["counters"][name].as_u64().unwrap();
    assert_eq!(number("tx_submitted"), number("tx_sent") + number("tx_lost"));
    assert_eq!(number("tx_lost"), 0);
    let arrived = received(&lab) - before;
    let sent = number("tx_sent");
    assert!((sent + 1..sent + 6).contains(&arrived), "{sent} sent, {arrived} arrived");
    assert!(!lab.has_xdp());
}

/// The far end goes down and comes back during the scan: frames that were refused meanwhile are sent when it is back,
/// and the counters balance. `kill -9` leaves nothing behind.
#[test]
fn survives_a_link_that_goes_down() {
    if !have_root() {
        return;
    }
    let lab = live_lab(1);
    let before = received(&lab);
    let metadata = lab.folder().join("metadata");
    let mut command = lab.xdpmap("-p 1-10 -r 60000 -c 0 --io-mode live -o /dev/null 198.18.128.0/17");
    let mut child = command.arg("-m").arg(&metadata).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.is_ok_and(|line| line.contains("send: "))), "a status line");
    run("ip", ["-n", &lab.net, "link", "set", "net0", "down"]);
    std::thread::sleep(Duration::from_millis(500));
    run("ip", ["-n", &lab.net, "link", "set", "net0", "up"]);
    log.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let metadata = support::ledger::metadata(&metadata);
    let number = |name: &str| metadata["counters"][name].as_u64().unwrap();
    assert_eq!(number("targets"), 327_680);
    assert_eq!(number("tx_submitted"), number("tx_sent") + number("tx_lost"));
    // Frames were refused or lost, unless the outage was noticed while none was on its way.
    let noticed = metadata["link_outages"].as_array().unwrap().len() as u64;
    assert!(number("tx_refused") + number("tx_lost") + noticed > 0, "the link was never missed");
    // A veth pair drops the frames in the far side's ring when that side goes down: up to 256 frames that it had
    // accepted.
    let (sent, arrived) = (number("tx_sent"), received(&lab) - before);
    assert!((sent - 256..sent + 10).contains(&arrived), "{sent} sent, {arrived} arrived");

    let mut child = lab
        .xdpmap("-p 1-1000 -r 0 --io-mode live -o /dev/null 198.18.128.0/17")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.is_ok_and(|line| line.contains("send: "))), "a status line");
    child.kill().unwrap();
    child.wait().unwrap();
    let again = lab.survey("-p 80 -n 1000 -r 0 -c 0 -q --io-mode live 198.18.128.0/17");
    assert_eq!(again.number("/packets_sent"), 1000, "{}", again.stderr());
    assert!(!lab.has_xdp());
}
