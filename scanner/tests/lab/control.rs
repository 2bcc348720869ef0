//! Scans that are controlled while they run: through the control socket, by the signals that stop and continue a
//! process, and their reports to systemd. A capture at the far end shows what is sent meanwhile.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use lab::{Lab, have_root, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::capture::Sniffer;
use support::running::Running;
use support::scanner::{binary, program_for_nobody, xdpmap};
use support::{Scans as _, read};
use xdpmap::control_socket::{Connection, Request, Status};

/// Probes per second of the scans here, and targets enough for half a minute.
const RATE: usize = 1_000;
const SCAN: &str = "-p 80 -r 1000 -c 1 -f saddr 198.18.0.0/17";

/// A folder for sockets, in which nobody else can put anything.
pub(crate) fn sockets(lab: &Lab) -> PathBuf {
    let folder = lab.folder().join("sockets");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn ask(scan: &mut Connection, request: Request) -> Status {
    let answer = scan.ask(&request).unwrap();
    assert!(answer.ok, "{request:?}: {answer:?}");
    answer.status.unwrap()
}

/// Runs `xdpmap ctl` with these arguments.
pub(crate) fn ctl(arguments: &[&str]) -> Output {
    xdpmap().arg("ctl").args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn now_s() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

pub(crate) fn sleep_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// A capture of the probes at the far end.
fn probes(lab: &Lab) -> Sniffer {
    Sniffer::start(lab, &lab.net, "net0", "tcp[tcpflags] == tcp-syn")
}

/// The times of the captured probes.
fn times(sniffer: Sniffer) -> Vec<f64> {
    sniffer.end(&["frame.time_epoch"]).into_iter().map(|fields| fields[0].parse().unwrap()).collect()
}

fn within(times: &[f64], from: f64, to: f64) -> usize {
    times.iter().filter(|&&time| time > from && time < to).count()
}

/// Nothing left between these times; then sending went on, and never at more than twice the rate, at which workers on a
/// busy machine catch up.
fn check_break(times: &[f64], stopped: f64, continued: f64) {
    assert_eq!(within(times, stopped, continued), 0, "probes from {stopped} to {continued}");
    assert!(within(times, continued, continued + 1.0) > RATE / 10, "it goes on");
    for tenth in 0..10 {
        let from = continued + f64::from(tenth) / 10.0;
        let sent = within(times, from, from + 0.1);
        assert!(sent <= 2 * RATE / 10 + 50, "{sent} probes in 100 ms, {tenth} tenths after the break");
    }
}

/// Status, pause, resume, rate, bandwidth and stop, as the far end sees them; and the socket is gone afterwards.
#[test]
fn commands_take_effect() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let socket = sockets(&lab).join("scan.sock");
    let sniffer = probes(&lab);
    let running = Running::start(&lab, &format!("{SCAN} --control {}", socket.display()));
    let file = fs::symlink_metadata(&socket).unwrap();
    assert!(file.file_type().is_socket() && file.mode() & 0o777 == 0o600, "{:o}", file.mode());
    let mut scan = Connection::open(&socket).unwrap();
    let begun = ask(&mut scan, Request::Status {});
    assert_eq!((begun.phase.as_str(), begun.paused, begun.rate_pps), ("sending", false, RATE as f64));
    assert_eq!(begun.targets_total, 32_768);
    assert!(begun.sent > 0 && begun.replies > 0 && begun.remaining_s.is_some(), "{begun:?}");

    assert!(ask(&mut scan, Request::Pause {}).paused);
    // Workers take naps of 5 ms.
    sleep_ms(100);
    let paused = now_s();
    sleep_ms(2_200);
    let before = ask(&mut scan, Request::Status {});
    sleep_ms(1_200);
    let after = ask(&mut scan, Request::Status {});
    assert_eq!((before.sent, before.paused, before.phase.as_str()), (after.sent, true, "sending"));
    assert_eq!(after.sent, after.replies, "late replies were received, since all of these hosts answer");
    assert!(after.elapsed_s > before.elapsed_s);
    let resumed = now_s();
    assert!(!ask(&mut scan, Request::Resume {}).paused);
    sleep_ms(1_500);

    assert_eq!(ask(&mut scan, Request::Rate { pps: 200.0 }).rate_pps, 200.0);
    sleep_ms(100);
    let slowed = now_s();
    sleep_ms(2_000);
    let unslowed = now_s();
    // A SYN of 58 bytes takes 82 on the wire, 656 bits.
    let faster = ask(&mut scan, Request::Bandwidth { bps: 672_000 });
    assert!(faster.rate_counts_resets && (900.0..1_100.0).contains(&faster.rate_pps), "{faster:?}");
    assert_eq!(faster.rate_changes, 2);
    sleep_ms(1_000);
    let stopped = ask(&mut scan, Request::Stop {});
    assert_eq!(stopped.end_reason.as_deref(), Some("interrupted"));
    let refused = scan.ask(&Request::Pause {}).unwrap();
    assert!(!refused.ok && refused.error.unwrap().contains("nothing is sent any more"));
    let scanned = running.finish();
    assert!(!socket.exists());

    let times = times(sniffer);
    check_break(&times, paused, resumed);
    let slow = within(&times, slowed, unslowed);
    assert!((250..=500).contains(&slow), "{slow} in 2 s at 200 per second");
    assert_eq!(scanned.output.status.code(), Some(130), "{}", scanned.stderr());
    assert_eq!(scanned.metadata["end_reason"], "interrupted");
    assert_eq!(scanned.number("/rate_changes"), 2);
    assert_eq!(scanned.metadata["rate_last"], faster.rate_pps);
    assert_eq!(scanned.number("/packets_sent"), times.len() as u64);
    assert_eq!(scanned.number("/counters/targets_again"), 0, "a pause puts nothing in doubt");
    // Averages leave the pause out.
    let seconds = |name: &str| scanned.metadata[name].as_f64().unwrap();
    let pause = seconds("pause_seconds");
    assert!((pause - (resumed - paused)).abs() < 0.3, "{pause} s of {} s", resumed - paused);
    let average = scanned.number("/packets_sent") as f64 / (seconds("send_seconds") - pause);
    assert!((seconds("sending_rate") - average).abs() < 0.01 * average, "{}", scanned.metadata);
    assert!(scanned.stderr().contains(&format!("without {pause:.1} s of pauses")), "{}", scanned.stderr());
}

/// A scan without a limit gets one while it runs.
#[test]
fn an_unlimited_scan_gets_a_limit() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let socket = sockets(&lab).join("scan.sock");
    let arguments =
        format!("-p 1-400 -r 5000 -c 1 -f saddr -n 20000 198.18.0.0/17 --control {}", socket.display());
    let running = Running::start(&lab, &arguments);
    let mut scan = Connection::open(&socket).unwrap();
    // Most of what is left leaves at once; so the limit comes while sending is paused.
    ask(&mut scan, Request::Pause {});
    assert_eq!(ask(&mut scan, Request::Rate { pps: 0.0 }).rate_pps, 0.0);
    assert_eq!(ask(&mut scan, Request::Rate { pps: 500.0 }).rate_pps, 500.0);
    sleep_ms(100);
    let sniffer = probes(&lab);
    ask(&mut scan, Request::Resume {});
    sleep_ms(2_000);
    let sent = times(sniffer).len();
    assert!((700..=1_500).contains(&sent), "{sent} in some 2.3 s at 500 per second");
    ask(&mut scan, Request::Stop {});
    assert_eq!(running.finish().number("/rate_changes"), 2);
}

/// `xdpmap ctl watch` prints a status per second until the end, and `status` prints names and values.
#[test]
fn watching_until_the_end() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let socket = sockets(&lab).join("scan.sock");
    let name = socket.to_str().unwrap();
    let running = Running::start(&lab, &format!("{SCAN} -n 3500 --control {name}"));
    let watch = xdpmap().args(["ctl", "--json", name, "watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let status = ctl(&[name, "status"]);
    let listing = text(&status.stdout);
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    assert!(
        listing.contains("targets_total        3500\n") && listing.contains("rate_pps             1000\n"),
        "{listing}"
    );
    let watched = watch.wait_with_output().unwrap();
    assert_eq!(watched.status.code(), Some(0));
    let lines: Vec<serde_json::Value> =
        text(&watched.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 4 && lines.iter().all(|line| line["ok"] == true), "{lines:?}");
    let sent: Vec<u64> = lines.iter().map(|line| line["status"]["sent"].as_u64().unwrap()).collect();
    assert!(sent.is_sorted() && sent.last() == Some(&3_500), "{sent:?}");
    let last = &lines[lines.len() - 1]["status"];
    assert_eq!((&last["phase"], &last["end_reason"]), (&"done".into(), &"max-targets".into()));
    assert_eq!(running.finish().output.status.code(), Some(0));
    let gone = ctl(&[name, "status"]);
    assert!(
        gone.status.code() == Some(1) && text(&gone.stderr).contains("running scan"),
        "{}",
        text(&gone.stderr)
    );
}

/// Runs a script in the lab, with a `/run` of its own; `$0` is the program, and `$1` the lab's folder.
fn script(lab: &Lab, script: &str) -> Output {
    let run_folder = lab.folder().join("run");
    fs::create_dir_all(&run_folder).unwrap();
    let mut command = lab.shielded();
    let text = format!("set -e\nmount --bind \"$1/run\" /run\ncd \"$1\"\n{script}");
    command.args(["sh", "-c", &text, binary()]).arg(lab.folder()).output().unwrap()
}

/// Without a path, the scan is found by its socket in the runtime folder, unless there are several; the socket is
/// removed at the end. A scan goes on without a socket if that folder cannot be used.
#[test]
fn the_runtime_folder() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let begin = r#"
scan() { "$0" -i scan0 --allow-reserved -p 80 -r 500 -c 0 -f saddr -q "$@" 198.18.0.0/17 & }
await() { for i in $(seq 200); do [ "$(ls /run/xdpmap/*.sock 2>/dev/null | wc -l)" = "$1" ] && return; sleep 0.05; done; false; }
"#;
    let output = script(
        &lab,
        &format!(
            r#"{begin}
"$0" ctl status && exit 9
scan -o first
first=$!
await 1
stat -c '%a' /run/xdpmap /run/xdpmap/$first.sock
"$0" ctl rate 400
scan -o second --io-mode packet
second=$!
await 2
"$0" ctl status && exit 9
echo "code $?"
"$0" ctl /run/xdpmap/$second.sock stop
wait $second || echo "second $?"
"$0" ctl stop
wait $first || echo "first $?"
ls /run/xdpmap
scan -o third --control none -n 10
wait $!
rmdir /run/xdpmap
touch /run/xdpmap
scan -o fourth -n 10
wait $!
echo end"#
        ),
    );
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}{errors}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["700", "600"], "{said}");
    assert!(lines[2].starts_with("sending ") && lines[2].contains("(limit 400 p/s)"), "{said}");
    assert_eq!(lines[3], "code 2", "{said}");
    let ends: Vec<&&str> = lines.iter().filter(|line| line.contains("130") || **line == "end").collect();
    assert_eq!(ends, [&"second 130", &"first 130", &"end"], "{said}");
    assert!(!said.contains(".sock"), "none is left: {said}");
    assert!(errors.contains("no scan with a control socket runs"), "{errors}");
    let several = errors.lines().find(|line| line.contains("several scans run")).unwrap();
    assert_eq!(several.matches("/run/xdpmap/").count(), 2, "{several}");
    let warnings: Vec<&str> = errors.lines().filter(|line| line.contains("no control socket")).collect();
    assert_eq!(warnings.len(), 1, "the one whose folder is a file: {errors}");
    assert!(warnings[0].contains("[WARN]") && warnings[0].contains("--control"), "{warnings:?}");
}

/// Only the scan's user and root may control it: others are refused by the mode of the socket, and by their credentials
/// where the mode would let them in. Root may control a user's scan, whose socket is in the user's runtime folder.
#[test]
fn who_may_control_a_scan() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let program = program_for_nobody(lab.folder());
    let socket = sockets(&lab).join("scan.sock");
    let name = socket.to_str().unwrap();
    let running = Running::start(&lab, &format!("{SCAN} --control {name}"));
    let by_nobody =
        |words: &[&str]| lab.as_nobody(&[]).arg(&program).arg("ctl").args(words).output().unwrap();
    let barred = by_nobody(&[name, "stop"]);
    assert_eq!(barred.status.code(), Some(1));
    assert!(text(&barred.stderr).contains("Permission denied"), "{}", text(&barred.stderr));
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = by_nobody(&[name, "stop"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("only its user and root"), "{}", text(&refused.stderr));
    let mut scan = Connection::open(&socket).unwrap();
    assert_eq!(ask(&mut scan, Request::Status {}).end_reason, None, "nothing was stopped");
    ask(&mut scan, Request::Stop {});
    running.finish();
    // A user's own scan.
    run(
        "setcap",
        ["cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon,cap_ipc_lock+ep", program.to_str().unwrap()],
    );
    let runtime = lab.folder().join("user");
    fs::create_dir(&runtime).unwrap();
    std::os::unix::fs::chown(&runtime, Some(65_534), Some(65_534)).unwrap();
    let mut command = lab.as_nobody(&["prlimit", "--memlock=65536:65536", "env"]);
    command.arg(format!("XDG_RUNTIME_DIR={}", runtime.display())).arg(&program);
    command.args("-i scan0 -p 80 -r 500 -c 0 -q --allow-reserved -o user.csv 198.18.0.0/17".split(' '));
    let mut child = command.current_dir(lab.folder()).stderr(Stdio::null()).spawn().unwrap();
    let own = runtime.join("xdpmap").join(format!("{}.sock", child.id()));
    for _ in 0..200 {
        if own.exists() {
            break;
        }
        sleep_ms(50);
    }
    let file = fs::symlink_metadata(&own).unwrap();
    assert_eq!((file.uid(), file.mode() & 0o777), (65_534, 0o600));
    let asked = by_nobody(&[own.to_str().unwrap(), "status"]);
    assert_eq!(asked.status.code(), Some(0), "{}", text(&asked.stderr));
    let stopped = ctl(&[own.to_str().unwrap(), "stop"]);
    assert_eq!(stopped.status.code(), Some(0), "{}", text(&stopped.stderr));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!own.exists());
}

/// A path that cannot be used is an error before the first packet, and what is there stays.
#[test]
fn a_socket_that_cannot_be_made() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let folder = sockets(&lab);
    let taken = folder.join("taken.sock");
    let _server = UnixListener::bind(&taken).unwrap();
    let open = lab.folder().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    for (path, words) in [
        (taken.clone(), "another process listens there"),
        (folder.join("none/scan.sock"), "No such file"),
        (folder.join("x".repeat(200)), "too long"),
        (open.join("scan.sock"), "others may write to it"),
    ] {
        let output = lab.xdpmap(&format!("{SCAN} -q --control {}", path.display())).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--control: ") && stderr.contains(words), "{stderr}");
        assert!(!lab.has_xdp());
    }
    assert!(fs::symlink_metadata(&taken).unwrap().file_type().is_socket());
    // What a killed scan has left is replaced.
    let left = folder.join("left.sock");
    drop(UnixListener::bind(&left).unwrap());
    let scanned = lab.survey(&format!("{SCAN} -n 100 -q --control {}", left.display()));
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert!(!left.exists());
}

/// The state of a process, as `R`, `S` or `T`.
fn state(pid: u32) -> String {
    let stat = read(Path::new(&format!("/proc/{pid}/stat")));
    stat.rsplit(") ").next().unwrap_or_default().chars().take(1).collect()
}

fn wait_for_state(pid: u32, stopped: bool) {
    for _ in 0..1_000 {
        if (state(pid) == "T") == stopped {
            return;
        }
        sleep_ms(5);
    }
    panic!("its state is {}", state(pid));
}

/// Ctrl-Z stops the process once sending has paused, and nothing is lost; after a SIGSTOP, which gives no warning, and
/// after Ctrl-Z, sending goes on at its rate.
#[test]
fn a_process_that_is_stopped() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    for signal in [Signal::SIGTSTP, Signal::SIGSTOP] {
        let sniffer = probes(&lab);
        let running = Running::start(&lab, &format!("{SCAN} --control none"));
        let pid = Pid::from_raw(running.child.id().cast_signed());
        let mut breaks = vec![];
        for _ in 0..2 {
            kill(pid, signal).unwrap();
            wait_for_state(running.child.id(), true);
            sleep_ms(50);
            let stopped = now_s();
            sleep_ms(2_000);
            breaks.push((stopped, now_s()));
            kill(pid, Signal::SIGCONT).unwrap();
            wait_for_state(running.child.id(), false);
            sleep_ms(1_500);
        }
        kill(pid, Signal::SIGTERM).unwrap();
        let scanned = running.finish();
        assert_eq!(scanned.output.status.code(), Some(130), "{signal}: {}", scanned.stderr());
        let times = times(sniffer);
        for (stopped, continued) in breaks {
            check_break(&times, stopped, continued);
        }
        assert_eq!(scanned.number("/packets_sent"), times.len() as u64, "{signal}");
        let said = scanned.stderr().matches("suspended: nothing is sent").count();
        assert_eq!(said, if signal == Signal::SIGTSTP { 2 } else { 0 }, "{}", scanned.stderr());
        if signal == Signal::SIGTSTP {
            assert_eq!(
                scanned.number("/validation_passed"),
                times.len() as u64,
                "all answer, and no answer is lost"
            );
        }
    }
}

/// What a service that reports tells systemd.
#[test]
fn reports_to_the_service_manager() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let path = lab.folder().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut command: Command = lab.xdpmap(&format!("{SCAN} -q -n 3500 --control none"));
    command.arg("-o").arg(lab.folder().join("out"));
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut heard: Vec<String> = vec![];
    let mut bytes = [0; 4096];
    let code = loop {
        match manager.recv(&mut bytes) {
            Ok(len) => heard.push(text(&bytes[..len])),
            Err(_) => {
                if let Some(status) = child.try_wait().unwrap() {
                    break status.code();
                }
            }
        }
    };
    assert_eq!(code, Some(0), "{heard:?}");
    assert_eq!(heard[0], "READY=1\nSTATUS=sending", "{heard:?}");
    let count = |begin: &str| heard.iter().filter(|text| text.starts_with(begin)).count();
    // It sends for 3.5 s and cools down for one.
    assert!(count("STATUS=sending ") >= 2, "{heard:?}");
    assert!(count("WATCHDOG=1") >= 5, "{heard:?}");
    assert_eq!((count("READY=1"), count("STOPPING=1")), (1, 1), "{heard:?}");
    let stopping = heard.iter().position(|text| text.starts_with("STOPPING=1")).unwrap();
    let after = heard[stopping..].iter().filter(|text| text.starts_with("STATUS=sending ")).count();
    assert_eq!(after, 0, "{heard:?}");
}
