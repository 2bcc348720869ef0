//! Scans that are interrupted and go on: whoever answers is in the results, however a scan ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::tools::tool;
use lab::{HOSTS, Lab, have_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::capture::Sniffer;
use support::drops::dropped;
use support::truth::{FIELDS, truth, within};
use support::{Scans as _, read};

/// Probes per second, of 32,768 targets on one port.
const RATE_PPS: u64 = 20_000;
pub(crate) const NETWORK: &str = "198.18.0.0/17";
const TARGETS: u64 = 32_768;
/// What scans of these tests have in common.
pub(crate) const COMMON: &str = "-p 80 -r 20000 -c 1 -q --checkpoint-interval 0.1 --resume-overlap 0.2";

/// The command line of a scan with results in `results`, for the first time and every other.
pub(crate) fn command(lab: &Lab, arguments: &str, results: &Path) -> Command {
    let mut command = lab.xdpmap(&format!("{COMMON} {FIELDS} --resume-or-start {arguments} {NETWORK}"));
    command.arg("-o").arg(results);
    command
}

/// `xdpmap resume` on the scanning side.
pub(crate) fn resume(lab: &Lab, checkpoint: &Path, arguments: &str) -> Command {
    let mut command = lab.shielded();
    command.arg(support::scanner::binary()).arg("resume").arg(checkpoint).args(arguments.split_whitespace());
    command
}

/// Waits until a scan that was just started keeps its checkpoint, and then for a moment of sending.
pub(crate) fn into_sending(checkpoint: &Path, moment_ms: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !checkpoint.exists() {
        assert!(Instant::now() < deadline, "{} does not appear", checkpoint.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(moment_ms));
}

/// How often each line of the results is there.
fn lines(text: &str) -> BTreeMap<&str, u64> {
    let mut lines = BTreeMap::new();
    for line in text.lines().skip(1) {
        *lines.entry(line).or_default() += 1;
    }
    lines
}

/// The lines of [`FIELDS`] that a JSON file stands for, with a header.
fn from_json(file: &Path) -> String {
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        let text = |name: &str| value[name].as_str().expect(name).to_owned();
        let success = u8::from(value["success"].as_bool().expect("success"));
        format!("{},{},{},{success}\n", text("saddr"), value["sport"], text("classification"))
    };
    "saddr\n".to_owned() + &read(file).lines().map(line).collect::<String>()
}

/// The same of all files of a Parquet series, as pyarrow reads them.
pub(crate) fn from_parquet(first: &Path) -> String {
    let program = "import sys, glob, pyarrow.parquet as p\n\
                   print('saddr')\n\
                   for f in sorted(glob.glob(sys.argv[1] + '.parquet') + glob.glob(sys.argv[1] + '-0*.parquet')):\n\
                   \tfor r in p.read_table(f).to_pylist():\n\
                   \t\tprint(r['saddr'], r['sport'], r['classification'], int(r['success']), sep=',')";
    let output = tool("python3").args(["-c", program]).arg(first.with_extension("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Checks that results hold everything that there is and nothing else, with at most so many lines twice.
#[track_caller]
pub(crate) fn assert_whole(case: &str, results: &str, truth: &BTreeSet<String>, most_again: u64) {
    let lines = lines(results);
    let found: BTreeSet<&str> = lines.keys().copied().collect();
    let expected: BTreeSet<&str> = truth.iter().map(String::as_str).collect();
    let missing: Vec<_> = expected.difference(&found).take(5).collect();
    let extra: Vec<_> = found.difference(&expected).take(5).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{case}: missing {missing:?}, extra {extra:?}");
    let again: u64 = lines.values().map(|count| count - 1).sum();
    assert!(again <= most_again, "{case}: {again} lines are there again, and {most_again} may be");
    assert_eq!(results.matches("saddr").count(), 1, "{case}: one header");
}

/// What the runs of a test of kills scan, and what there is to find.
struct Killed {
    kills: u32,
    network: &'static str,
    ports: &'static str,
    /// Of a whole scan, from its start to its end.
    whole: Duration,
    truth: BTreeSet<String>,
    targets: u64,
}

impl Killed {
    /// 20 short ones, or as many as `XDPMAP_TEST_KILLS` says, in a scan of some ten seconds.
    fn of_environment(servers: &[Ipv4Addr]) -> Self {
        let short = within(&truth(HOSTS, servers), &[NETWORK]);
        let Ok(kills) = std::env::var("XDPMAP_TEST_KILLS") else {
            // Sending takes 1.6 s, the cooldown one.
            let whole = Duration::from_millis(3_200);
            return Self { kills: 20, network: NETWORK, ports: "80", whole, truth: short, targets: TARGETS };
        };
        // Nobody listens on the other ports: there all hosts that exist answer by a RST.
        let others = [81, 443].map(|port| {
            let address = |line: String| line.split(',').next().expect("an address").to_owned();
            truth(HOSTS, servers).into_iter().map(move |line| format!("{},{port},rst,0", address(line)))
        });
        Self {
            kills: kills.parse().expect("a number"),
            network: "198.18.0.0/16",
            ports: "80,81,443",
            whole: Duration::from_millis(11_400),
            truth: truth(HOSTS, servers).into_iter().chain(others.into_iter().flatten()).collect(),
            targets: 3 * 65_536,
        }
    }

    /// The command of one of the runs, which is given again after each kill, and adds to `log`.
    fn command(&self, lab: &Lab, number: u32, log: &Path) -> Command {
        let common = "-r 20000 -c 1 -q --checkpoint-interval 0.1 --resume-overlap 0.2 --resume-or-start";
        let (workers, ports, network) = (1 + number % 4, self.ports, self.network);
        let mut command = lab.xdpmap(&format!("-p {ports} -T {workers} {common} {FIELDS} {network}"));
        for kind in ["csv", "json", "parquet"] {
            command.args(["-O", kind, "-o"]).arg(lab.folder().join(format!("killed-{number}.{kind}")));
        }
        command.stderr(File::options().create(true).append(true).open(log).unwrap());
        command
    }
}

/// Killed at any moment from the start to the cooldown, in some runs more than once: the same command, given again,
/// finds the rest, in outputs of every kind that is a file.
#[test]
fn killed_scans_go_on() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let lab = Lab::new(4);
    lab.start_nginx(&servers);
    let killed = Killed::of_environment(&servers);
    for number in 0..killed.kills {
        let case = format!("kill {number} of {}", killed.kills);
        let log = lab.folder().join(format!("killed-{number}.log"));
        let dropped_before = dropped(&lab);
        let mut runs = 0;
        for part in 0..=number % 3 {
            let moment = killed.whole * (number + 1) / (killed.kills * (part + 1));
            let mut scan = killed.command(&lab, number, &log).spawn().expect("the scan starts");
            std::thread::sleep(moment);
            kill(Pid::from_raw(scan.id().cast_signed()), Signal::SIGKILL).unwrap();
            scan.wait().unwrap();
            runs += 1;
        }
        let rest = killed.command(&lab, number, &log).output().unwrap();
        assert_eq!(rest.status.code(), Some(0), "{case}: {}", read(&log));
        let dropped = dropped(&lab) - dropped_before;
        // What was sent within interval and overlap, with as much again for a machine that is busy.
        let share = killed.truth.len() as u64 * RATE_PPS / killed.targets;
        let most_again = runs * share * 6 / 10 + 5;
        let file = |kind: &str| lab.folder().join(format!("killed-{number}.{kind}"));
        for (kind, results) in [
            ("csv", read(&file("csv"))),
            ("json", from_json(&file("json"))),
            ("parquet", from_parquet(&file("parquet"))),
        ] {
            let case = format!("{case}, {kind}, {dropped} frames dropped in the lab; {}", read(&log));
            assert_whole(&case, &results, &killed.truth, most_again);
        }
        // It is finished now, and nothing is left to do but what its process did not come to, if it was killed as it
        // ended.
        std::fs::write(file("csv.xdpmap-seen"), "").unwrap();
        let again = killed.command(&lab, number, &log).output().unwrap();
        assert_eq!(again.status.code(), Some(0), "{case}");
        assert!(String::from_utf8_lossy(&again.stdout).contains("finished"), "{case}");
        let checkpoint = read(&file("csv.xdpmap"));
        assert!(checkpoint.contains("\"key\": null"), "{case}: {checkpoint}");
        let left = std::fs::read_dir(lab.folder()).unwrap().map(|entry| entry.unwrap().path());
        let odd = |path: &PathBuf| {
            let name = path.display().to_string();
            [".part", "-seen", "-blocklist"].iter().any(|ending| name.ends_with(ending))
        };
        assert_eq!(left.filter(odd).collect::<Vec<_>>(), [] as [PathBuf; 0], "{case}");
    }
}

/// Ended by a signal, or by its own limit: it goes on with other workers, in another mode and at another rate.
#[test]
fn interrupted_scans_go_on() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let truth = within(&truth(HOSTS, &servers), &[NETWORK]);
    let lab = Lab::new(4);
    lab.start_nginx(&servers);
    for (name, arguments, signal, code, then) in [
        ("terminated", "-T 4", Some(Signal::SIGTERM), 130, "-T 1 -r 30000"),
        ("interrupted", "-T 1", Some(Signal::SIGINT), 130, "-T 3 --io-mode generic -r 10000"),
        ("out-of-time", "-T 2 -t 1", None, 0, "--io-mode packet -r 20000 -t 100"),
    ] {
        let results = lab.folder().join(format!("{name}.csv"));
        let mut scan = command(&lab, arguments, &results).stderr(Stdio::piped()).spawn().unwrap();
        let checkpoint = results.with_extension("csv.xdpmap");
        if let Some(signal) = signal {
            into_sending(&checkpoint, 700);
            kill(Pid::from_raw(scan.id().cast_signed()), signal).unwrap();
        }
        let code_there = scan.wait().unwrap().code();
        assert_eq!(code_there, Some(code), "{name}");
        let shown = lab
            .shielded()
            .arg(support::scanner::binary())
            .args(["checkpoint", "show"])
            .arg(&checkpoint)
            .output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        assert!(shown.contains("unfinished") && shown.contains("target-ports 80"), "{name}: {shown}");
        let metadata = lab.folder().join(format!("{name}.json"));
        let rest = resume(&lab, &checkpoint, then).arg("-m").arg(&metadata).output().unwrap();
        assert_eq!(rest.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&rest.stderr));
        let metadata = support::ledger::metadata(&metadata);
        assert_eq!(metadata["sandbox"]["seccomp"]["checkpoint"], "on", "{name}");
        // The cooldown was waited for, so nothing is probed again.
        assert_whole(name, &read(&results), &truth, 0);
    }
}

/// Of a scan of all of IPv4 a checkpoint is small, at whatever moment: also while what was sent in the last seconds is
/// open, by several workers at full speed.
#[test]
fn a_checkpoint_of_the_internet_is_small() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(4);
    let results = lab.folder().join("internet.csv");
    let mut command = lab.xdpmap("-p 80 -r 0 -T 4 -t 4 -c 2 -q --checkpoint-interval 0.1");
    let mut scan = command.arg("-o").arg(&results).stderr(Stdio::null()).spawn().unwrap();
    let checkpoint = results.with_extension("csv.xdpmap");
    let (mut largest, mut looks) = (0, 0);
    while scan.try_wait().unwrap().is_none() {
        if let Ok(found) = std::fs::metadata(&checkpoint) {
            (largest, looks) = (largest.max(found.len()), looks + 1);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(scan.wait().unwrap().code(), Some(0));
    let last: serde_json::Value = serde_json::from_str(&read(&checkpoint)).unwrap();
    assert_eq!(last["state"], "unfinished");
    let ends = |interval: &serde_json::Value| [0, 1].map(|end| interval[end].as_u64().unwrap());
    let open: Vec<[u64; 2]> = last["open"].as_array().unwrap().iter().map(ends).collect();
    let left: u64 = open.iter().map(|[from, to]| to - from).sum();
    assert!(left > 3 << 30 && left < u64::from(u32::MAX) - 100_000, "{left} of all exponents are open");
    assert!(looks > 50 && largest < 1 << 20, "{largest} bytes");
    eprintln!(
        "a checkpoint of all of IPv4: {largest} bytes at most, with {} open intervals at last",
        open.len()
    );
}

/// What a resumed scan may not change is refused, as is a checkpoint that is in use or not safe; a new start moves an
/// unfinished scan aside.
#[test]
fn what_is_refused() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let results = lab.folder().join("refused.csv");
    let checkpoint = results.with_extension("csv.xdpmap");
    let mut scan = command(&lab, "", &results).stderr(Stdio::null()).spawn().unwrap();
    into_sending(&checkpoint, 0);
    let refusal = |arguments: &str| {
        let output = resume(&lab, &checkpoint, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refusal("").contains("running in another process"));
    std::thread::sleep(Duration::from_millis(600));
    kill(Pid::from_raw(scan.id().cast_signed()), Signal::SIGKILL).unwrap();
    scan.wait().unwrap();
    assert!(refusal("-p 443").contains("keeps its --target-ports"));
    assert!(refusal("192.0.2.1").contains("keeps its targets"));
    assert!(refusal("--no-such").contains("--no-such"));
    // A target list that has changed is named by the flag.
    let anew = lab.xdpmap(&format!("{COMMON} -o {} 198.18.0.0/24", results.display())).output().unwrap();
    assert_eq!(anew.status.code(), Some(0));
    let said = String::from_utf8(anew.stderr).unwrap();
    assert!(said.contains("refused.csv.1.xdpmap"), "{said}");
    let aside = lab.folder().join("refused.csv.1.xdpmap");
    let rest = resume(&lab, &aside, "-r 0").output().unwrap();
    assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
    let truth = within(&truth(HOSTS, &[]), &[NETWORK]);
    assert_whole("moved aside", &read(&lab.folder().join("refused.csv.1")), &truth, 10_000);
}

/// Networks that the block list has gained since the start are not probed by the rest of the scan, and the books
/// balance.
#[test]
fn a_longer_block_list_is_obeyed() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let [results, list] = ["opted-out.csv", "block.txt"].map(|name| lab.folder().join(name));
    std::fs::write(&list, "198.18.1.0/24\n").unwrap();
    let arguments = format!("-b {} -n 8192", list.display());
    let mut scan = command(&lab, &arguments, &results).stderr(Stdio::null()).spawn().unwrap();
    let checkpoint = results.with_extension("csv.xdpmap");
    into_sending(&checkpoint, 150);
    kill(Pid::from_raw(scan.id().cast_signed()), Signal::SIGTERM).unwrap();
    scan.wait().unwrap();
    let before = read(&results);
    // Not the network that was listed, but another.
    std::fs::write(&list, "198.18.64.0/18\n").unwrap();
    let metadata = lab.folder().join("metadata.json");
    let sniffer = Sniffer::start(&lab, &lab.net, "net0", "dst net 198.18.64.0/18 or dst net 198.18.1.0/24");
    let rest = resume(&lab, &checkpoint, &format!("-m {}", metadata.display())).output().unwrap();
    assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
    assert_eq!(sniffer.end(&["ip.dst"]).len(), 0, "somebody was probed who had opted out");
    let metadata = support::ledger::metadata(&metadata);
    let late = metadata["counters"]["targets_excluded_late"].as_u64().unwrap();
    let probed = metadata["counters"]["targets"].as_u64().unwrap();
    assert!(late > 0 && probed > 0, "{late} {probed}");
    assert!(read(&results).starts_with(&before), "results follow those that were there");
}
