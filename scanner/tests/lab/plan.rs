//! `--plan`: what a scan would do, known without a frame on the wire.

use std::io::{BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use lab::{Lab, have_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::capture::Sniffer;
use support::running::Running;
use support::scanner::{on_terminal, program_for_nobody};
use support::{Scans as _, read};
use targets::PortList;

use crate::checkpoint::{into_sending, resume};

/// Runs it: what it prints on standard output, and the log.
#[track_caller]
fn printed(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}");
    (String::from_utf8(output.stdout).unwrap(), log)
}

/// Everything that leaves a lab's scanning side for the far one.
fn sniff(lab: &Lab) -> Sniffer {
    Sniffer::start(lab, &lab.net, "net0", "arp or ip")
}

/// A plan needs no privileges, does not look the gateway up, and sends nothing. With the privileges, and once the
/// gateway is known, it says so.
#[test]
fn a_plan_sends_nothing() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    // It may not be there.
    lab.output_in_ns(&lab.scan, "ip", ["neigh", "del", "198.19.0.2", "dev", "scan0"]);
    let program = program_for_nobody(lab.folder());
    let arguments = "-i scan0 --allow-reserved -p 80 -r 20000 --plan 198.18.0.0/16".split(' ');
    let sniffer = sniff(&lab);
    let (text, log) = printed(lab.as_nobody(&[]).arg(&program).args(arguments));
    assert!(text.contains("\ninterface   scan0 from 198.19.0.1 to gateway "), "{text}");
    assert!(text.contains(", whose MAC address is looked up at the start\n"), "{text}");
    assert!(text.starts_with("targets     65,536 (65,536 addresses x 1 port)\n"), "{text}");
    assert!(text.contains("\nworkers     ") && text.contains(", 2 RX queues\n"), "{text}");
    assert!(text.contains("\nprivileges  missing: CAP_NET_RAW"), "{text}");
    assert!(!text.contains("obstacle") && log.is_empty(), "{text}{log}");
    // As root, with an output beside which nothing is made.
    let results = lab.folder().join("results.csv");
    let mut command = lab.xdpmap("-p 80 --plan 198.18.0.0/16");
    let (text, _) = printed(command.arg("-o").arg(&results));
    assert!(text.contains("\nprivileges  all that the scan needs\n"), "{text}");
    assert_eq!(sniffer.end(&["frame.len"]), Vec::<Vec<String>>::new());
    assert!(!lab.has_xdp() && !results.exists() && !results.with_extension("csv.xdpmap").exists());
    // The far side answers, and the kernel remembers it.
    let scanned = lab.survey("-p 80 -n 10 -c 1 -q 198.18.0.0/17");
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    let (text, _) = printed(&mut lab.xdpmap("-p 80 --plan 198.18.0.0/16"));
    assert!(!text.contains("is looked up") && text.contains("to gateway "), "{text}");
}

/// While a scan is running, the next one can be planned on its interface.
#[test]
fn a_plan_beside_a_running_scan() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let running = Running::start(&lab, "-p 80 -r 1000 -c 1 -n 5000 198.18.0.0/16");
    let (text, _) = printed(&mut lab.xdpmap("-p 80 --plan 198.18.0.0/16"));
    assert!(text.contains("\nobstacle    the scan could not start now: scan0: "), "{text}");
    assert!(text.contains("\ninterface   scan0 from 198.19.0.1 "), "{text}");
    let scanned = running.finish();
    assert_eq!(scanned.number("/counters/targets"), 5000, "{}", scanned.stderr());
}

/// On a terminal, a scan of more targets than a /8 has waits for five seconds, and Ctrl-C ends it before anything is
/// sent. `--yes` skips that, and so does everything that is no terminal.
#[test]
fn a_large_scan_counts_down() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let results = lab.folder().join("results.csv");
    let large = |more: &str, targets: &str| {
        let mut scan = lab.xdpmap(&format!("-p 80 -r 1000 -t 1 -c 0 {more} {targets}"));
        scan.arg("-o").arg(&results);
        scan
    };
    let sniffer = Sniffer::start(&lab, &lab.net, "net0", "tcp");
    let mut terminal = on_terminal(&large("", "16.0.0.0/7"), 120);
    let mut scan = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = String::new();
    let mut screen = BufReader::new(scan.stdout.take().unwrap());
    while !shown.contains("33,554,432 targets in 4 s; Ctrl-C ends this, --yes skips it") {
        let mut next = [0; 1];
        screen.read_exact(&mut next).expect(&shown);
        shown.push(next[0].into());
    }
    scan.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    assert_eq!(scan.wait().unwrap().code(), Some(130), "{shown}");
    assert_eq!(sniffer.end(&["frame.len"]), Vec::<Vec<String>>::new());
    assert!(!results.exists() && !lab.has_xdp());
    for mut scan in [
        on_terminal(&large("--yes", "16.0.0.0/7"), 120),
        on_terminal(&large("", "17.0.0.0/8"), 120),
        large("", "16.0.0.0/7"),
    ] {
        let output = scan.output().unwrap();
        let shown = [output.stdout, output.stderr].map(|shown| String::from_utf8_lossy(&shown).into_owned());
        assert_eq!(output.status.code(), Some(0), "{shown:?}");
        assert!(shown.iter().all(|shown| !shown.contains("Ctrl-C")), "{shown:?}");
        assert!(shown.concat().contains("summary: max-runtime: "), "{shown:?}");
    }
}

/// What each of the busiest networks receives is in the plan and in the log, which warns if it is a lot.
#[test]
fn the_busiest_networks_are_named() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for (arguments, loads, is_heavy) in [
        ("-p 80 -r 20000 198.18.0.0/17", [("198.18.0.0/24", "156"), ("198.18.0.0/16", "20,000")], false),
        (
            "-p 1-2000 -r 30000 -t 1 198.18.3.0/24",
            [("198.18.3.0/24", "30,000"), ("198.18.0.0/16", "30,000")],
            true,
        ),
    ] {
        let (text, said) = printed(&mut lab.xdpmap(&format!("--plan {arguments}")));
        let scanned = lab.survey(&format!("{arguments} -c 0"));
        assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        for (network, mean_pps) in loads {
            let line = format!("{network} receives {mean_pps} probes per second on average, and some ");
            assert!(text.contains(&line) && scanned.stderr().contains(&line), "{line}: {text}");
        }
        let warns = |log: &str| log.contains("[WARN]") && log.contains("a lower --rate does less harm");
        assert_eq!((warns(&said), warns(&scanned.stderr())), (is_heavy, is_heavy), "{said}");
    }
}

/// The plan of a scan that goes on is that of its rest, in both ways to write it. It neither starts nor changes it.
#[test]
fn the_plan_of_a_rest() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let results = lab.folder().join("results.csv");
    let checkpoint = results.with_extension("csv.xdpmap");
    let command = |more: &str| {
        let arguments = format!("-p 80 -e 7 -r 4000 -c 1 -q --resume-or-start {more} 198.18.0.0/17");
        let mut command = lab.xdpmap(&arguments);
        command.arg("-o").arg(&results);
        command
    };
    let (text, _) = printed(&mut command("--plan"));
    assert!(text.starts_with("targets     32,768 (32,768 addresses x 1 port)\n"), "{text}");
    assert!(!results.exists() && !checkpoint.exists());
    let mut scan = command("").stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    into_sending(&checkpoint, 1000);
    kill(Pid::from_raw(scan.id().cast_signed()), Signal::SIGINT).unwrap();
    scan.wait().unwrap();
    let before = [&results, &checkpoint].map(|file| read(file));
    let sniffer = sniff(&lab);
    for mut plan in [command("--plan"), resume(&lab, &checkpoint, "--plan")] {
        let (text, log) = printed(&mut plan);
        let rest =
            text.strip_prefix("targets     ").and_then(|text| text.split_once(" of 32,768 ")).expect(&text).0;
        let rest: u32 = rest.replace(',', "").parse().expect(rest);
        assert!((20_000..32_768).contains(&rest), "{text}");
        assert!(text.contains("\norder       seed 7; shard 0 of 1\n"), "{text}");
        assert!(text.contains("results follow those that are there"), "{text}");
        assert!(!log.contains("FATAL"), "{log}");
    }
    assert_eq!(sniffer.end(&["frame.len"]), Vec::<Vec<String>>::new());
    assert_eq!([&results, &checkpoint].map(|file| read(file)), before);
    assert!(!lab.has_xdp());
}

/// With nmap's table, the most frequent ports are those that nmap would scan. It has no targets here, and so scans
/// none.
#[test]
fn the_most_frequent_ports_are_nmaps() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for (count, module, method, name) in [
        (1, "tcp_synscan", "-sS", "TCP"),
        (100, "tcp_synscan", "-sS", "TCP"),
        (1000, "tcp_synscan", "-sS", "TCP"),
        (20, "udp --probe-args auto", "-sU", "UDP"),
        (1000, "udp --probe-args auto", "-sU", "UDP"),
    ] {
        let words = format!("-v {method} -oG - --top-ports {count}");
        let said = lab.in_ns(&lab.scan, "nmap", words.split(' '));
        let begin = format!("{name}({count};");
        let theirs = said.split_once(&begin).and_then(|(_, rest)| rest.split_once(')')).expect(&said).0;
        let arguments =
            format!("--plan -M {module} --top-ports {count}:/usr/share/nmap/nmap-services 198.18.0.0/24");
        let (text, _) = printed(&mut lab.xdpmap(&arguments));
        let ours = text.lines().find_map(|line| line.strip_prefix("ports       ")).expect(&text);
        assert_eq!(PortList::parse(ours).unwrap(), PortList::parse(theirs).unwrap(), "{count} {name}");
    }
}
