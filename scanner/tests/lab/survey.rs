//! Surveys through a real veth pair: the kernel's AF_XDP on one side, nginx and the kernel's TCP on the other.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::{HOSTS, Lab, have_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::Scans as _;
use support::capture::captured;
use support::scanner::on_terminal;
use support::truth::{FIELDS, assert_found, check_ledger, truth};

/// Exactly the responders that exist, none missing and none extra, over 65,536 targets: with 1, 2 and 4 queues, with
/// one worker on four queues, in native and in generic mode.
#[test]
fn finds_exactly_who_is_there() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let truth = truth(HOSTS, &servers);
    for (queues, options, mode) in [
        (1, "", "copy"),
        (2, "", "copy"),
        (4, "", "copy"),
        (4, "-T 1", "copy"),
        (4, "-T 2 --io-mode generic", "generic"),
    ] {
        let lab = Lab::new(queues);
        lab.start_nginx(&servers);
        // In generic mode replies wait in the kernel's backlog, which is short: a busy machine drops some at high
        // rates.
        let rate = if mode == "generic" { 10_000 } else { 40_000 };
        let scanned = lab.survey(&format!("-p 80 -r {rate} -c 2 -q {FIELDS} {options} 198.18.0.0/16"));
        let case = format!("{queues} queues {options}");
        assert_found(&case, &scanned, &truth);
        check_ledger(&scanned, 65_536);
        assert_eq!(scanned.metadata["io_mode"], mode, "{case}");
        assert_eq!(scanned.number("/rx_queues"), u64::from(queues));
        assert_eq!(scanned.number("/counters/rst_sent"), servers.len() as u64, "{case}");
        let half_open = lab.in_ns(&lab.net, "ss", ["-Htn", "state", "syn-recv"]);
        assert_eq!(half_open, "", "{case}: the resets left connections half open");
        assert!(!lab.has_xdp());
    }
}

/// The default output: bare addresses of servers, each once, no header; and JSON holds the same.
#[test]
fn default_output_is_zmaps() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let lab = Lab::new(2);
    lab.start_nginx(&servers);
    let expected: BTreeSet<String> = servers.iter().map(ToString::to_string).collect();
    let scanned = lab.survey("-p 80 -P 2 -r 40000 -c 1 -q 198.18.0.0/16");
    let lines: Vec<_> = scanned.results.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), servers.len(), "repeats are left out");
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(scanned.number("/packets_sent"), 2 * 65_536);
    assert_eq!(scanned.number("/success_unique"), servers.len() as u64);
    let json = lab
        .survey("-p 80 -r 40000 -c 1 -q -O json --successes-only -f saddr,sport,ttl,success 198.18.0.0/16");
    let addresses = json.results.lines().map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&value["sport"], &value["ttl"]), (&80.into(), &64.into()), "{line}");
        value["saddr"].as_str().unwrap().to_owned()
    });
    assert_eq!(addresses.collect::<BTreeSet<_>>(), expected);
}

/// Ctrl-C ends sending, waits for late replies, writes everything and says so by its exit code; a second one skips the
/// wait.
#[test]
fn an_interrupt_loses_nothing() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    for (cooldown, second) in [("1", false), ("30", true)] {
        let (results, metadata) = (lab.folder().join("results"), lab.folder().join("metadata"));
        let mut command = lab.xdpmap(&format!("-p 80 -r 2000 -c {cooldown} {FIELDS} 198.18.0.0/17"));
        command.arg("-o").arg(&results).arg("-m").arg(&metadata).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let sending = |line: &String| line.contains("send: ");
        assert!(log.any(|line| line.is_ok_and(|line| sending(&line))), "a status line");
        kill(pid, Signal::SIGINT).unwrap();
        if second {
            assert!(log.any(|line| line.is_ok_and(|line| line.contains("interrupted"))));
            kill(pid, Signal::SIGINT).unwrap();
        }
        let started = Instant::now();
        log.for_each(drop);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(started.elapsed() < Duration::from_secs(10), "the second interrupt skips the cooldown");
        let metadata = support::ledger::metadata(&metadata);
        assert_eq!(metadata["end_reason"], "interrupted");
        assert_eq!(metadata["exit_code"], 130);
        let lines = support::read(&results).lines().count() as u64;
        assert_eq!(
            metadata["packets_sent"],
            lines - 1,
            "all of the lower half answer, and all answers are written"
        );
        assert!(!lab.has_xdp());
    }
}

/// `kill -9` during a scan leaves no program on the interface, and a new scan starts at once.
#[test]
fn a_killed_scan_leaves_nothing() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(4);
    let mut child =
        lab.xdpmap("-p 80 -r 1000 -o /dev/null 198.18.0.0/16").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.is_ok_and(|line| line.contains("send: "))), "a status line");
    assert!(lab.has_xdp());
    child.kill().unwrap();
    child.wait().unwrap();
    let scanned = lab.survey(&format!("-p 80 -n 100 -c 1 -q {FIELDS} 198.18.0.0/17"));
    assert_eq!(scanned.lines().len(), 100, "{}", scanned.stderr());
    check_ledger(&scanned, 100);
    assert!(!lab.has_xdp());
}

/// A second scan on the same interface, and a foreign program there, are refused in one line that says what to do;
/// nothing is written.
#[test]
fn a_taken_interface_is_refused() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let mut first =
        lab.xdpmap("-p 80 -r 100 -o /dev/null 198.18.0.0/16").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(first.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.is_ok_and(|line| line.contains("send: "))), "a status line");
    let second = lab.survey("-p 80 -n 1 198.18.0.0/17");
    let stderr = second.stderr();
    assert_eq!(second.output.status.code(), Some(4), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("scan0: another XDP program is attached (native, id ")
            && stderr.contains(" `xdpmap`): another scan by xdpmap: wait for its end, or stop it"),
        "{stderr}"
    );
    assert_eq!((second.results.as_str(), second.metadata), ("", serde_json::Value::Null));
    kill(Pid::from_raw(first.id().cast_signed()), Signal::SIGINT).unwrap();
    kill(Pid::from_raw(first.id().cast_signed()), Signal::SIGINT).unwrap();
    first.wait().unwrap();
}

/// A reader that closes the pipe ends the scan quietly and early; the exit code shows that it has not had all results.
#[test]
fn a_closed_pipe_ends_quietly() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let mut child = lab
        .xdpmap("-p 80 -r 2000 -c 1 -q -v 1 -f saddr 198.18.0.0/17")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "saddr");
    assert!(lines.next().unwrap().unwrap().starts_with("198.18."));
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Three shards, with different numbers of workers and rates, probe each target once on the wire.
#[test]
fn shards_together_probe_each_target_once() {
    if !have_root() {
        return;
    }
    let mut lab = Lab::new(4);
    let capture = captured(&mut lab, |lab| {
        for (shard, options) in [(0, "-T 1 -r 5000"), (1, "-T 2 -r 9000"), (2, "-T 4 -r 7000")] {
            let scanned = lab.survey(&format!(
                "-p 80,443 -e 7 --shards 3 --shard {shard} -c 0 -q {options} 198.18.0.0/19"
            ));
            assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        }
    });
    assert_eq!(capture.syns.len(), 2 * 8192);
    let expected: BTreeSet<_> =
        (0xc612_0000..0xc612_2000u32).flat_map(|a| [80, 443].map(|port| (Ipv4Addr::from(a), port))).collect();
    assert_eq!(capture.syns.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(capture.bad, Vec::<String>::new());
}

/// `-n 1000 -e 7` probes the same thousand targets with any number of workers.
#[test]
fn max_targets_does_not_depend_on_workers() {
    if !have_root() {
        return;
    }
    let mut sets = vec![];
    for workers in [1, 2, 4] {
        let mut lab = Lab::new(4);
        let capture = captured(&mut lab, |lab| {
            let scanned = lab.survey(&format!("-p 80 -n 1000 -e 7 -c 0 -q -T {workers} 198.18.0.0/16"));
            assert_eq!(scanned.metadata["end_reason"], "max-targets");
            assert_eq!(scanned.number("/senders"), workers);
        });
        assert_eq!(capture.syns.len(), 1000);
        sets.push(capture.syns.into_iter().collect::<BTreeSet<_>>());
    }
    assert!(sets[0].len() == 1000 && sets[0] == sets[1] && sets[1] == sets[2]);
}

/// tshark finds every probe and reset of every option layout well formed, with right checksums.
#[test]
fn frames_are_right_on_the_wire() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    for layout in ["windows", "smallest-probes", "linux", "bsd"] {
        let mut lab = Lab::new(2);
        lab.start_nginx(&servers);
        let capture = captured(&mut lab, |lab| {
            let options = format!("-p 80 -P 2 -r 20000 -n 10000 -c 1 -q --probe-args {layout} 198.18.0.0/16");
            let scanned = lab.survey(&options);
            assert!(scanned.number("/counters/rst_sent") > 0, "{}", scanned.stderr());
        });
        assert_eq!(capture.syns.len(), 20_000, "{layout}");
        assert_eq!(capture.bad, Vec::<String>::new(), "{layout}");
    }
}

/// Status updates have as many values as names, and grow; as JSON they say the same.
#[test]
fn status_updates() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let file = |name: &str| lab.folder().join(name);
    let scan = |status: &str| {
        let path = file(status);
        let path = path.to_str().unwrap();
        let scanned = lab.survey(&format!("-p 80 -r 2000 -c 1 -q -n 5000 -u {path} 198.18.0.0/17"));
        assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        assert_eq!(scanned.number("/packets_sent"), 5_000);
        support::read(&file(status))
    };
    let csv = scan("status.csv");
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert!(lines.len() >= 4 && lines.iter().all(|line| line.len() == 21), "{csv}");
    let place = |name: &str| lines[0].iter().position(|column| *column == name).unwrap();
    let values = |name: &str| -> Vec<f64> {
        lines[1..].iter().map(|line| line[place(name)].parse().unwrap()).collect()
    };
    for name in ["time-elapsed", "sent-total", "percent-complete", "recv-total"] {
        assert!(values(name).is_sorted(), "{name}: {csv}");
    }
    assert_eq!(
        (values("sent-total").last(), values("percent-complete").last()),
        (Some(&5_000.0), Some(&100.0))
    );
    assert_eq!((values("active-send-threads")[0], values("recv-total").last()), (1.0, Some(&5_000.0)));
    let json = scan("status.jsonl");
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((&last["sent_total"], &last["recv_total"]), (&5_000.into(), &5_000.into()));
    // As columns of CSV, and with the estimate of the hit rate.
    assert!(last["hit_rate_lower"].as_f64() <= last["hit_rate_upper"].as_f64(), "{last}");
    assert_eq!(last.as_object().unwrap().len(), 24);
    // Outputs that cannot be opened are detected before the first packet.
    let refused = lab.survey("-p 80 -q -v 0 -u /nonexistent/status 198.18.0.0/17");
    assert_eq!(refused.output.status.code(), Some(2));
    assert!(refused.stderr().contains("--status-updates-file"), "{}", refused.stderr());
}

/// On a terminal `--progress` shows a bar with the status line, and log lines stay whole next to it; elsewhere there is
/// the ordinary line.
#[test]
fn a_progress_bar() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let arguments = "-p 80 -r 2000 -c 1 -n 4000 --progress -o /dev/null 198.18.0.0/17";
    let terminal = on_terminal(&lab.xdpmap(arguments), 200).output().unwrap();
    let shown = String::from_utf8_lossy(&terminal.stdout);
    assert_eq!(terminal.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("[====") && shown.contains(" 100%") && shown.contains("send: 4000 done"),
        "{shown}"
    );
    assert!(shown.contains("[INFO] summary: max-targets: 4000 targets"), "{shown}");
    let plain = lab.survey(&arguments.replace("-o /dev/null", ""));
    assert!(plain.stderr().contains(" 0:01 ") && !plain.stderr().contains("[="), "{}", plain.stderr());
}
