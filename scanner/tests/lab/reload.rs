//! Block lists that grow while a scan runs: through the control socket, and by SIGHUP. A capture at the far end shows
//! that nothing goes to what was listed once that has been acknowledged.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lab::tools::path_of;
use lab::{HOSTS, Lab, have_root};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::capture::Sniffer;
use support::live::live_lab;
use support::running::{Running, set_link};
use support::scanner::binary;
use support::{Scanned, Scans as _, read};
use xdpmap::control_socket::{Connection, Request};

use crate::control::{ctl, now_s, sleep_ms, sockets, text};

/// All targets of the scans here, on one port, with two probes each.
const NETWORK: &str = "198.18.0.0/16";
const TARGETS: u64 = 65_536;
/// What is listed first, and what later.
const FIRST: &str = "198.18.128.0/18";
const SECOND: &str = "198.18.192.0/18";

/// A lab with a scan's block list and the path of its control socket.
struct Scene {
    lab: Lab,
    list: PathBuf,
    socket: String,
}

impl Scene {
    fn new(lab: Lab) -> Self {
        let lists = lab.folder().join("lists");
        fs::create_dir(&lists).unwrap();
        let list = lists.join("block.conf");
        fs::write(&list, "198.18.1.0/24\n").unwrap();
        let socket = sockets(&lab).join("scan.sock").to_str().unwrap().to_owned();
        Self { lab, list, socket }
    }

    /// Replaces the list, as editors and package managers do it: by another file.
    fn relist(&self, text: &str) {
        let new = self.list.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &self.list).unwrap();
    }

    /// The arguments of a scan with that list and socket.
    fn arguments(&self, more: &str) -> String {
        let list = self.list.display();
        let rate = if more.contains("-r ") { "" } else { "-r 20000" };
        format!("-p 80 -P 2 {rate} -c 1 -f saddr -b {list} --control {} {more} {NETWORK}", self.socket)
    }

    /// A capture of what the scanner sends to `network`, at the far end. One of `any` interface does not end when the
    /// link goes down.
    fn sniff(&self, interface: &str, network: &str) -> Sniffer {
        let filter = format!("src host 198.19.0.1 and dst net {network}");
        Sniffer::start(&self.lab, &self.lab.net, interface, &filter)
    }

    /// Runs `xdpmap ctl`, which must succeed. Returns what it said, and when.
    fn ctl(&self, words: &[&str]) -> (String, f64) {
        let output = ctl(&[&[self.socket.as_str()], words].concat());
        let at = now_s();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        (text(&output.stdout), at)
    }
}

/// Frames at the far end: when, and to where.
fn frames(sniffer: Sniffer) -> Vec<(f64, ipnet::Ipv4Net)> {
    let fields = sniffer.end(&["frame.time_epoch", "ip.dst"]);
    fields
        .into_iter()
        .map(|field| (field[0].parse().unwrap(), format!("{}/32", field[1]).parse().unwrap()))
        .collect()
}

/// Checks that frames went to `network` before `acknowledged`, and none afterwards.
#[track_caller]
fn check_wire(case: &str, frames: &[(f64, ipnet::Ipv4Net)], network: &str, acknowledged: f64) {
    let network: ipnet::Ipv4Net = network.parse().unwrap();
    let to_it = || frames.iter().filter(|(_, to)| network.contains(to));
    assert!(to_it().any(|(at, _)| *at < acknowledged), "{case}: {network} was never probed");
    let late = to_it().filter(|(at, _)| *at >= acknowledged).count();
    assert_eq!(late, 0, "{case}: frames to {network} after it was acknowledged that there are none");
}

/// Checks that each target was probed or left out, and each probe sent.
#[track_caller]
fn check_books(case: &str, scanned: &Scanned, targets: u64) {
    assert_eq!(scanned.output.status.code(), Some(0), "{case}: {}", scanned.stderr());
    let number = |name: &str| scanned.number(&format!("/counters/{name}"));
    let late = number("targets_excluded_late");
    assert!(late > 0, "{case}: nothing was left out");
    assert_eq!(scanned.row("targets", "excluded_late"), late, "{case}");
    assert_eq!(number("targets") + late, targets, "{case}: {}", scanned.metadata);
    let probed = number("targets") + number("targets_again");
    assert_eq!(number("tx_submitted"), 2 * probed, "{case}");
    assert_eq!(number("tx_submitted"), number("tx_sent") + number("tx_lost"), "{case}");
    assert_eq!(scanned.metadata["end_reason"], "complete", "{case}");
    assert_eq!(scanned.number("/targets_left"), 0, "{case}");
}

/// The changes of the block list that the metadata names: what, by whom, and how much they took out.
fn changes(metadata: &Value) -> Vec<(String, String, u64)> {
    let word = |change: &Value, name: &str| change[name].as_str().unwrap_or("none").to_owned();
    let changes = metadata["blocklist_changes"].as_array().unwrap().iter();
    let named = changes.map(|change| {
        assert!(word(change, "time").starts_with("20"), "{change}");
        (
            format!("{} {}", word(change, "command"), word(change, "what")),
            word(change, "by"),
            change["addresses_taken_out"].as_u64().unwrap(),
        )
    });
    named.collect()
}

/// In every mode, with several workers and two probes for each target: after a reload, and after a network was excluded
/// by hand, the wire is free of them; and the rest of the scan goes on.
#[test]
fn nothing_goes_to_what_was_listed() {
    if !have_root() {
        return;
    }
    for (mode, workers) in [("copy", 2), ("generic", 2), ("live", 1), ("packet", 2)] {
        let scene = Scene::new(live_lab(2));
        let sniffer = scene.sniff("net0", "198.18.128.0/17");
        let arguments = scene.arguments(&format!("--io-mode {mode} -T {workers}"));
        let running = Running::start(&scene.lab, &arguments);
        scene.relist(&format!("{FIRST} # opted out\n"));
        let (said, first) = scene.ctl(&["reload"]);
        assert!(
            said.contains("entries: 1, addresses in them: 16384; addresses taken out of the scan: 16384"),
            "{said}"
        );
        sleep_ms(300);
        let (said, second) = scene.ctl(&["exclude", SECOND]);
        assert!(
            said.contains(&format!("excludes {SECOND}; addresses taken out of the scan: 16384")),
            "{said}"
        );
        // Again, it takes nothing out.
        assert!(scene.ctl(&["reload"]).0.contains("taken out of the scan: 0"));
        let scanned = running.finish();
        let frames = frames(sniffer);
        check_wire(mode, &frames, FIRST, first);
        check_wire(mode, &frames, SECOND, second);
        check_books(mode, &scanned, TARGETS - 256);
        assert_eq!(scanned.metadata["io_mode"], mode);
        let list = format!("reload {}", scene.list.display());
        let by = || format!("user {}", nix::unistd::geteuid());
        assert_eq!(
            changes(&scanned.metadata),
            [(list.clone(), by(), 16_384), (format!("exclude {SECOND}"), by(), 16_384), (list, by(), 0)]
        );
        let blocked = scanned.metadata["blocklisted_networks"].as_array().unwrap();
        for network in ["198.18.1.0/24", "198.18.128.0/17"] {
            assert!(blocked.contains(&network.into()), "{mode}: {network} in {blocked:?}");
        }
        let taken_out = scanned.stderr().matches("taken out of the scan: 16384").count();
        assert_eq!(taken_out, 2, "{}", scanned.stderr());
    }
}

/// The thread of a process by its name.
fn thread(pid: u32, name: &str) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let found = tasks.into_iter().find(|task| read(&task.path().join("comm")).trim() == name);
    Pid::from_raw(found.expect(name).file_name().to_str().unwrap().parse().unwrap())
}

/// Frames that the driver refuses wait, and leave when it accepts frames again. A change is acknowledged after that,
/// and others are served meanwhile. The thread that would notice the outage is stopped, so that the rings are full.
#[test]
fn frames_that_wait_for_the_link_leave_first() {
    if !have_root() {
        return;
    }
    for mode in ["copy", "packet"] {
        let scene = Scene::new(Lab::new(2));
        let sniffer = scene.sniff("any", "198.18.128.0/17");
        let running = Running::start(&scene.lab, &scene.arguments(&format!("--io-mode {mode} -T 2")));
        let watch = thread(running.child.id(), "watch");
        ptrace::seize(watch, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(watch).unwrap();
        set_link(&scene.lab.net, "net0", "down");
        sleep_ms(300);
        let mut asking = UnixStream::connect(&scene.socket).unwrap();
        let line = format!("{{\"command\":\"exclude\",\"network\":\"{FIRST}\"}}\n");
        asking.write_all(line.as_bytes()).unwrap();
        let waiting = std::thread::spawn(move || {
            let mut answer = String::new();
            BufReader::new(asking).read_line(&mut answer).unwrap();
            (answer, now_s())
        });
        let mut other = Connection::open(Path::new(&scene.socket)).unwrap();
        for _ in 0..5 {
            sleep_ms(100);
            assert!(other.ask(&Request::Status {}).unwrap().ok, "{mode}");
        }
        let up = now_s();
        set_link(&scene.lab.net, "net0", "up");
        let (answer, acknowledged) = waiting.join().unwrap();
        ptrace::detach(watch, None).unwrap();
        assert!(answer.starts_with("{\"ok\":true,\"change\":{"), "{mode}: {answer}");
        let scanned = running.finish();
        let frames = frames(sniffer);
        check_wire(mode, &frames, FIRST, acknowledged);
        assert!(acknowledged > up, "{mode}: acknowledged while frames were waiting");
        let first: ipnet::Ipv4Net = FIRST.parse().unwrap();
        let waited = frames.iter().filter(|(at, to)| *at > up && first.contains(to)).count();
        assert!(waited > 10, "{mode}: {waited} frames were waiting");
        check_books(mode, &scanned, TARGETS - 256);
    }
}

/// After an outage, what is probed again is not what was listed meanwhile.
#[test]
fn repeats_leave_out_what_was_listed() {
    if !have_root() {
        return;
    }
    let scene = Scene::new(Lab::new(2));
    let sniffer = scene.sniff("any", "198.18.128.0/17");
    let running = Running::start(&scene.lab, &scene.arguments("-T 2"));
    set_link(&scene.lab.net, "net0", "down");
    sleep_ms(300);
    let up = std::thread::scope(|scope| {
        let linked = scope.spawn(|| {
            sleep_ms(500);
            set_link(&scene.lab.net, "net0", "up");
        });
        let acknowledged = scene.ctl(&["exclude", FIRST]).1;
        linked.join().unwrap();
        acknowledged
    });
    let scanned = running.finish();
    check_wire("repeats", &frames(sniffer), FIRST, up);
    check_books("repeats", &scanned, TARGETS - 256);
    assert!(scanned.number("/counters/targets_again") > 0, "{}", scanned.stderr());
}

/// Answers that come late get no reset from then on.
#[test]
fn late_answers_get_no_reset() {
    if !have_root() {
        return;
    }
    let scene = Scene::new(Lab::new(1));
    let (lab, servers) = (&scene.lab, HOSTS.servers());
    lab.start_nginx(&servers);
    // No resets but those of the scan. Once it has ended, its host would reset what still comes. And those of the far
    // side must not wait: the kernel makes them through one socket per processor for all namespaces, and one that waits
    // takes room there (`ip_send_unicast_reply`), so that labs beside this one would get none.
    let rule = "table ip t { chain c { type filter hook output priority 0; tcp flags & rst == rst drop; }; }";
    for side in [&lab.scan, &lab.net] {
        lab.in_ns(side, "nft", [rule]);
    }
    // Answers wait for seconds.
    lab.in_ns(&lab.net, "tc", "qdisc add dev net0 root tbf rate 8kbit burst 200 limit 1000000".split(' '));
    // The half that has hosts.
    let sniffer = scene.sniff("net0", "198.18.0.0/17");
    let running = Running::start(lab, &scene.arguments("--io-mode copy").replace("-c 1", "-c 12"));
    let mut scan = Connection::open(Path::new(&scene.socket)).unwrap();
    while scan.ask(&Request::Status {}).unwrap().status.unwrap().sent < 10_000 {
        sleep_ms(50);
    }
    let acknowledged = scene.ctl(&["exclude", "198.18.0.0/17"]).1;
    let scanned = running.finish();
    check_wire("resets", &frames(sniffer), "198.18.0.0/17", acknowledged);
    check_books("resets", &scanned, TARGETS - 256);
    let number = |name: &str| scanned.number(&format!("/counters/{name}"));
    assert!(number("rst_excluded_late") > 0 && number("rst_sent") > 0, "{}", scanned.metadata["counters"]);
    assert_eq!(scanned.row("resets", "excluded_late"), number("rst_excluded_late"));
    let resets = ["rst_submitted", "rst_capped", "rst_no_room", "rst_excluded_late"].map(number);
    assert_eq!(resets.iter().sum::<u64>(), number("rx_synack"));
}

/// The scan as `setsid`, cron and service managers start it.
fn without_terminal(scene: &Scene, arguments: &str) -> Command {
    let mut command = scene.lab.shielded();
    command.arg(path_of("setsid")).args([binary(), "-i", "scan0", "--allow-reserved"]);
    command.args(scene.arguments(arguments).split_whitespace());
    command
}

/// SIGHUP reloads where there is no terminal, however often; a list that is wrong changes nothing, and the log says
/// why.
#[test]
fn a_signal_reloads_without_a_terminal() {
    if !have_root() {
        return;
    }
    let scene = Scene::new(Lab::new(2));
    let sniffer = scene.sniff("net0", "198.18.128.0/17");
    let mut running = Running::of(&scene.lab, without_terminal(&scene, "-T 2"));
    let pid = Pid::from_raw(running.child.id().cast_signed());
    scene.relist("198.18.128.0/17\n198.18.999.0/24\n");
    kill(pid, Signal::SIGHUP).unwrap();
    running.wait_for("block.conf:2: \"198.18.999.0/24\" is not an IPv4 address");
    scene.relist(&format!("{FIRST}\n"));
    kill(pid, Signal::SIGHUP).unwrap();
    running.wait_for("what was handed over before that change has left");
    let acknowledged = now_s();
    let scanned = running.finish();
    let frames = frames(sniffer);
    check_wire("a signal", &frames, FIRST, acknowledged);
    let second: ipnet::Ipv4Net = SECOND.parse().unwrap();
    let to_second = frames.iter().filter(|(at, to)| *at > acknowledged && second.contains(to)).count();
    assert!(to_second > 1_000, "{to_second}: the list that is wrong changed nothing");
    check_books("a signal", &scanned, TARGETS - 256);
    let list = format!("reload {}", scene.list.display());
    assert_eq!(changes(&scanned.metadata), [(list, "SIGHUP".to_owned(), 16_384)]);
}

/// With a terminal, SIGHUP means that it was closed: the scan ends.
#[test]
fn a_signal_ends_a_scan_with_a_terminal() {
    if !have_root() {
        return;
    }
    let scene = Scene::new(Lab::new(1));
    let [pid, metadata] = ["pid", "metadata"].map(|name| scene.lab.folder().join(name));
    let program = format!("{} -i scan0 --allow-reserved", binary());
    let script = format!(
        "echo $$ > {}; exec {program} {} -q -o /dev/null -m {}",
        pid.display(),
        scene.arguments("--no-checkpoint"),
        metadata.display()
    );
    let mut command = scene.lab.shielded();
    command.arg(path_of("script")).args(["-qec", &script, "/dev/null"]).env("TERM", "xterm");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut scan = (0..200).find_map(|_| {
        sleep_ms(50);
        Connection::open(Path::new(&scene.socket)).ok()
    });
    let scan = scan.as_mut().expect("a scan");
    while scan.ask(&Request::Status {}).unwrap().status.unwrap().sent == 0 {
        sleep_ms(50);
    }
    kill(Pid::from_raw(read(&pid).trim().parse().unwrap()), Signal::SIGHUP).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let metadata = support::ledger::metadata(&metadata);
    assert_eq!(metadata["end_reason"], "interrupted");
    assert_eq!(metadata["blocklist_changes"], serde_json::json!([]));
}

/// What the thread that reads lists may not read, and what is no list, is said; and nothing is changed.
#[test]
fn lists_that_cannot_be_used() {
    if !have_root() {
        return;
    }
    let scene = Scene::new(Lab::new(1));
    let running = Running::start(&scene.lab, &scene.arguments("-r 1000"));
    let refused = |words: &[&str]| {
        let output = ctl(&[&scene.socket, "reload"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in words {
            assert!(said.contains(word), "no '{word}' in {said}");
        }
    };
    scene.relist("198.18.128.0/17\nlocalhost\n");
    refused(&["block.conf:2: ", "localhost", "give its addresses"]);
    scene.relist("198.18.128.0/17 and more\n");
    refused(&["block.conf:1: "]);
    fs::remove_file(&scene.list).unwrap();
    refused(&["cannot read", "block.conf", "No such file"]);
    // Out of the folder that the list was in when the scan began.
    let elsewhere = scene.lab.folder().join("elsewhere");
    fs::write(&elsewhere, format!("{FIRST}\n")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &scene.list).unwrap();
    refused(&["cannot read", "Permission denied", "may only read the folder"]);
    fs::remove_file(&scene.list).unwrap();
    // Root could have read it at the start, by a capability that the scan has dropped.
    scene.relist(&format!("{FIRST}\n"));
    std::os::unix::fs::chown(&scene.list, Some(65_534), Some(65_534)).unwrap();
    fs::set_permissions(&scene.list, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    refused(&["cannot read", "Permission denied", "dropped its privileges"]);
    std::os::unix::fs::chown(&scene.list, Some(0), Some(0)).unwrap();
    let said = scene.ctl(&["reload"]).0;
    assert!(said.contains("taken out of the scan: 16384"), "{said}");
    scene.ctl(&["stop"]);
    let scanned = running.finish();
    assert_eq!(changes(&scanned.metadata).len(), 1, "{}", scanned.metadata["blocklist_changes"]);
    assert_eq!(scanned.metadata["sandbox"]["seccomp"]["blocklist"], "on");
    let warnings = scanned.stderr().matches("nothing is changed").count();
    assert_eq!(warnings, 5, "{}", scanned.stderr());
}

/// A list that had host names when the scan began may have them later. A list on standard input cannot be read again,
/// but networks can be excluded. A list that is there only later is found if its folder was there.
#[test]
fn other_lists() {
    if !have_root() {
        return;
    }
    let scene = Scene::new(Lab::new(1));
    scene.relist("localhost\n");
    let running = Running::start(&scene.lab, &scene.arguments("-r 1000"));
    scene.relist(&format!("{FIRST}\nlocalhost\n"));
    let said = scene.ctl(&["reload"]).0;
    assert!(
        said.contains("entries: 2, addresses in them: 16385; addresses taken out of the scan: 16384"),
        "{said}"
    );
    scene.ctl(&["stop"]);
    running.finish();

    let list = scene.list.to_str().unwrap().to_owned();
    let mut command = scene.lab.xdpmap(&scene.arguments("-r 1000").replace(&list, "-"));
    command.stdin(fs::File::open(&list).unwrap());
    let running = Running::of(&scene.lab, command);
    let refused = ctl(&[&scene.socket, "reload"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("cannot be read again"), "{}", text(&refused.stderr));
    let said = scene.ctl(&["exclude", "198.18.200.7"]).0;
    assert!(said.contains("excludes 198.18.200.7; addresses taken out of the scan: 1"), "{said}");
    scene.ctl(&["stop"]);
    running.finish();
}

/// What was excluded by hand, and what a list had for a while, stays out of a scan that was killed and goes on.
#[test]
fn exclusions_outlast_a_scan() {
    if !have_root() {
        return;
    }
    let scene = Scene::new(Lab::new(2));
    let folder = scene.lab.folder();
    let [results, metadata] = ["outlast.csv", "outlast.json"].map(|name| folder.join(name));
    let checkpoint = folder.join("outlast.csv.xdpmap");
    // No checkpoint is due before the scan is killed: those of the changes have to be enough.
    let arguments = scene.arguments("-q --checkpoint-interval 600 --resume-overlap 0.2");
    let mut scan = scene.lab.xdpmap(&arguments);
    let mut scan = scan.arg("-o").arg(&results).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..400 {
        if Connection::open(Path::new(&scene.socket)).is_ok() && checkpoint.exists() {
            break;
        }
        sleep_ms(25);
    }
    scene.relist(&format!("{FIRST}\n"));
    scene.ctl(&["reload"]);
    scene.ctl(&["exclude", SECOND]);
    scan.kill().unwrap();
    scan.wait().unwrap();
    // The list has lost it again.
    scene.relist("198.18.1.0/24\n");
    let mut show = scene.lab.shielded();
    let shown = show.args([binary(), "checkpoint", "show", "--json"]).arg(&checkpoint).output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["withdrawn"], serde_json::json!(["198.18.128.0/17"]), "{shown}");
    assert_eq!(shown["blocklist_changes"][1]["what"], SECOND, "{shown}");
    let sniffer = scene.sniff("net0", "198.18.128.0/17");
    let mut rest = scene.lab.shielded();
    rest.args([binary(), "resume"]).arg(&checkpoint).args(["-r", "40000", "-m"]).arg(&metadata);
    let rest = rest.output().unwrap();
    assert_eq!(rest.status.code(), Some(0), "{}", text(&rest.stderr));
    assert_eq!(frames(sniffer).len(), 0, "what was excluded is probed");
    let metadata = support::ledger::metadata(&metadata);
    let number = |name: &str| metadata["counters"][name].as_u64().unwrap();
    // Nothing counted as done before it was killed.
    assert_eq!(number("targets_excluded_late"), TARGETS / 2);
    assert_eq!(number("targets"), TARGETS / 2 - 256);
}
