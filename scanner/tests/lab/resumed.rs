//! Scans that go on in other ways than the plain one: outputs of every kind, shards, other interfaces, a disk that was
//! full, a link that was down.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lab::wires::two_wires;
use lab::{HOSTS, Lab, have_root, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::redis::Redis;
use support::running::set_link;
use support::truth::{FIELDS, truth, within};
use support::{Scans as _, read};

use crate::checkpoint::{COMMON, NETWORK, assert_whole, command, from_parquet, into_sending, resume};

fn end(scan: &mut Child, signal: Signal) {
    kill(Pid::from_raw(scan.id().cast_signed()), signal).unwrap();
    scan.wait().unwrap();
}

/// Starts a scan, waits until it has sent for a moment, and ends it.
fn interrupt(mut command: Command, checkpoint: &Path, signal: Signal) {
    let mut scan = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    into_sending(checkpoint, 700);
    end(&mut scan, signal);
}

/// Runs a command that must succeed. Returns its log.
#[track_caller]
pub(crate) fn succeeds(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// All files of a series of lines, in order, with one header.
fn series(first: &Path) -> String {
    let folder = first.parent().unwrap();
    let stem = first.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name == format!("{stem}.csv") || name.starts_with(&format!("{stem}-0")) && name.ends_with(".csv")
    });
    files.sort_by_key(|file| (file.as_os_str().len(), file.clone()));
    let text: String = files.iter().map(|file| read(file)).collect();
    let header = text.lines().next().unwrap().to_owned();
    assert!(files.len() > 2, "{files:?}");
    header.clone() + "\n" + &text.replace(&(header + "\n"), "")
}

/// A host that answers is in the results once, however often the scan is interrupted, just as without an interruption.
#[test]
fn no_host_is_there_twice() {
    if !have_root() {
        return;
    }
    let servers = HOSTS.servers();
    let truth: BTreeSet<String> = within(&truth(HOSTS, &servers), &[NETWORK]);
    let expected: BTreeSet<&str> = truth
        .iter()
        .filter(|line| line.ends_with(",synack,1"))
        .map(|line| line.split(',').next().unwrap())
        .collect();
    let lab = Lab::new(2);
    lab.start_nginx(&servers);
    // By address, by address and port, and in a window.
    for (name, arguments) in
        [("one", "-p 80"), ("more", "-p 80,81"), ("window", "-p 80 --dedup-method window")]
    {
        let results = lab.folder().join(format!("{name}.csv"));
        let scan = || {
            // The overlap is longer than the scan: all that was probed is probed again.
            let overlap = "--checkpoint-interval 0.1 --resume-overlap 30";
            let mut scan =
                lab.xdpmap(&format!("-r 20000 -c 1 -q --resume-or-start {overlap} {arguments} {NETWORK}"));
            scan.arg("-o").arg(&results);
            scan
        };
        let checkpoint = results.with_extension("csv.xdpmap");
        for _ in 0..2 {
            interrupt(scan(), &checkpoint, Signal::SIGKILL);
            assert!(!read(&results).is_empty(), "{name}: no results before the interruption");
        }
        succeeds(scan());
        let text = read(&results);
        let found: Vec<&str> = text.lines().map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{name}");
        assert!(!results.with_extension("csv.xdpmap-seen").exists(), "{name}: the journal is removed");
    }
}

/// Outputs in several files, one after the other: a killed scan goes on in them, and a new scan moves all of them.
#[test]
fn series_of_files_go_on() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let truth = within(&truth(HOSTS, &[]), &[NETWORK]);
    let results = lab.folder().join("series.csv");
    let checkpoint = results.with_extension("csv.xdpmap");
    for _ in 0..3 {
        interrupt(command(&lab, "--rotate-bytes 32K", &results), &checkpoint, Signal::SIGKILL);
    }
    // Another scan: that one is moved.
    let mut anew = lab.xdpmap(&format!("{COMMON} {FIELDS} --rotate-bytes 1M 198.18.0.0/24"));
    anew.arg("-o").arg(&results);
    let said = succeeds(anew);
    assert!(said.contains("series.csv.1.xdpmap"), "{said}");
    assert_eq!(read(&results).lines().count(), 257);
    assert!(!lab.folder().join("series-00002.csv").exists());
    succeeds(resume(&lab, &lab.folder().join("series.csv.1.xdpmap"), ""));
    // Under the names that they have as a series of CSV.
    for (number, file) in (1..).map(|number| (number, format!("series.csv-{number:05}.1"))) {
        let to = lab.folder().join(format!("moved-{number:05}.csv"));
        let from = if number == 1 { "series.csv.1".to_owned() } else { file };
        if std::fs::rename(lab.folder().join(from), to).is_err() {
            break;
        }
    }
    std::fs::rename(lab.folder().join("moved-00001.csv"), lab.folder().join("moved.csv")).unwrap();
    assert_whole("a series", &series(&lab.folder().join("moved.csv")), &truth, 20_000);
}

/// An unfinished scan is safe from one that keeps no checkpoint, or keeps it elsewhere; a running one as well.
#[test]
fn an_unfinished_scan_is_not_overwritten() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let results = lab.folder().join("kept.csv");
    let checkpoint = results.with_extension("csv.xdpmap");
    let mut running = command(&lab, "", &results).stderr(Stdio::null()).spawn().unwrap();
    into_sending(&checkpoint, 700);
    let other = |arguments: &str| {
        let mut other = lab.xdpmap(&format!("{COMMON} {FIELDS} {arguments} 198.18.0.0/24"));
        other.arg("-o").arg(&results);
        other
    };
    let refused = other("--no-checkpoint --io-mode packet").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("--output-file") && said.contains("is running"), "{said}");
    end(&mut running, Signal::SIGKILL);
    let before = read(&results);
    for (number, arguments) in [
        (1, "--no-checkpoint".to_owned()),
        (2, format!("--checkpoint {}", lab.folder().join("elsewhere").display())),
    ] {
        let said = succeeds(other(&arguments));
        assert!(said.contains(&format!("xdpmap resume {}.{number}.xdpmap", results.display())), "{said}");
        assert_eq!(read(&lab.folder().join(format!("kept.csv.{number}"))), before);
        assert_eq!(read(&results).lines().count(), 257);
        // As it was.
        std::fs::rename(lab.folder().join(format!("kept.csv.{number}")), &results).unwrap();
        let aside = lab.folder().join(format!("kept.csv.{number}.xdpmap"));
        let text = read(&aside).replace(&format!("kept.csv.{number}"), "kept.csv");
        std::fs::remove_file(&aside).unwrap();
        std::fs::write(&checkpoint, text).unwrap();
        std::fs::write(lab.folder().join(format!("kept.csv.{number}")), "").unwrap();
    }
}

/// Pipes and Redis: each result is there at least once, and the log and `checkpoint show` say so.
#[test]
fn streams_are_written_at_least_once() {
    if !have_root() {
        return;
    }
    let truth = within(&truth(HOSTS, &[]), &[NETWORK]);
    let lab = Lab::new(2);
    let redis = Redis::start(lab.folder());
    let checkpoint = lab.folder().join("streams.xdpmap");
    let scan = || {
        let mut scan =
            lab.xdpmap(&format!("{COMMON} {FIELDS} --resume-or-start -O csv -O redis-csv {NETWORK}"));
        let server = format!("socket={},key=replies", redis.socket());
        scan.args(["-o", "-", "-o", "-", "--output-args", &server, "--checkpoint"]).arg(&checkpoint);
        scan
    };
    let mut first = scan().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut pipe = first.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        text
    });
    into_sending(&checkpoint, 900);
    let show = ["checkpoint", "show"];
    let shown = lab.shielded().arg(support::scanner::binary()).args(show).arg(&checkpoint).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("at least once"), "{shown}");
    end(&mut first, Signal::SIGKILL);
    // The kill may have cut a line.
    let mut printed = reader.join().unwrap();
    printed.truncate(printed.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
    let rest = scan().output().unwrap();
    let said = String::from_utf8_lossy(&rest.stderr);
    assert_eq!(rest.status.code(), Some(0), "{said}");
    assert!(said.contains("each at least once"), "{said}");
    printed.extend(rest.stdout);
    let printed = String::from_utf8(printed).unwrap();
    let stored = redis.ask(&["LRANGE", "replies", "0", "-1"]);
    for (name, text) in [("pipe", printed), ("redis", stored)] {
        let found: Vec<&str> = text.lines().filter(|line| !line.starts_with("saddr")).collect();
        let unique: BTreeSet<String> = found.iter().map(|&line| line.to_owned()).collect();
        let missing: Vec<_> = truth.difference(&unique).take(5).collect();
        let extra: Vec<_> = unique.difference(&truth).take(5).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{name}: missing {missing:?}, extra {extra:?}");
        assert!(
            found.len() > unique.len() && found.len() < 2 * unique.len(),
            "{name}: {} lines",
            found.len()
        );
    }
}

/// One of three shards is interrupted; together they find everything, and nothing twice.
#[test]
fn one_of_three_shards_goes_on() {
    if !have_root() {
        return;
    }
    let truth = within(&truth(HOSTS, &[]), &[NETWORK]);
    let lab = Lab::new(2);
    let mut all = "saddr\n".to_owned();
    for shard in 0..3 {
        let results = lab.folder().join(format!("shard-{shard}.csv"));
        let scan = || command(&lab, &format!("--shards 3 --shard {shard} -e 5"), &results);
        if shard == 1 {
            let mut first = scan().stderr(Stdio::null()).spawn().unwrap();
            into_sending(&results.with_extension("csv.xdpmap"), 200);
            end(&mut first, Signal::SIGTERM);
            let before = read(&results).lines().count();
            succeeds(scan());
            assert!(read(&results).lines().count() > before + 100, "nothing was left to do");
        } else {
            succeeds(scan());
        }
        all.extend(read(&results).lines().skip(1).flat_map(|line| [line, "\n"]));
    }
    assert_whole("shards", &all, &truth, 0);
}

/// Through another interface, with another number of workers; Parquet, after SIGTERM.
#[test]
fn another_interface_goes_on() {
    if !have_root() {
        return;
    }
    let truth = within(&truth(HOSTS, &[]), &[NETWORK]);
    let lab = two_wires();
    let results = lab.folder().join("moved.parquet");
    let mut scan = lab.xdpmap(&format!("-T 2 {COMMON} {FIELDS} -O parquet {NETWORK}"));
    scan.arg("-o").arg(&results);
    let checkpoint = results.with_extension("parquet.xdpmap");
    interrupt(scan, &checkpoint, Signal::SIGTERM);
    succeeds(resume(&lab, &checkpoint, "-i scan1 -T 1"));
    assert_whole("another interface", &from_parquet(&results), &truth, 0);
    assert!(lab.folder().join("moved-00002.parquet").exists(), "it has gone on in the next file");
}

/// A file system in a folder, of a size that can be changed.
struct SmallDisk(String);

impl SmallDisk {
    fn mount(folder: &Path, size: &str) -> Self {
        std::fs::create_dir(folder).unwrap();
        let folder = folder.display().to_string();
        run("mount", ["-t", "tmpfs", "-o", &format!("size={size}"), "none", &folder]);
        Self(folder)
    }

    fn resize(&self, size: &str) {
        run("mount", ["-o", &format!("remount,size={size}"), &self.0]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", ["-l", &self.0]);
    }
}

/// A disk that was full, and has room again.
#[test]
fn after_a_full_disk() {
    if !have_root() {
        return;
    }
    let truth = within(&truth(HOSTS, &[]), &[NETWORK]);
    let lab = Lab::new(2);
    let disk = SmallDisk::mount(&lab.folder().join("disk"), "320K");
    for (kind, fields) in [("csv", FIELDS), ("parquet", FIELDS)] {
        disk.resize("320K");
        let results = Path::new(&disk.0).join(format!("full.{kind}"));
        // Rows that do not compress.
        let fields = format!("{fields},seqnum,acknum,timestamp_us,saddr_raw");
        let mut scan = lab.xdpmap(&format!("{COMMON} {fields} -O {kind} {NETWORK}"));
        let full = scan.arg("-o").arg(&results).output().unwrap();
        let said = String::from_utf8_lossy(&full.stderr);
        assert_eq!(full.status.code(), Some(1), "{kind}: {said}");
        disk.resize("64M");
        let checkpoint = results.with_extension(format!("{kind}.xdpmap"));
        succeeds(resume(&lab, &checkpoint, ""));
        let text = if kind == "csv" { short(&read(&results)) } else { from_parquet(&results) };
        assert_whole(kind, &text, &truth, 20_000);
        for file in std::fs::read_dir(&disk.0).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
}

/// The first four columns.
fn short(text: &str) -> String {
    let line = |line: &str| line.split(',').take(4).collect::<Vec<_>>().join(",") + "\n";
    text.lines().map(line).collect()
}

/// A link that stayed down for too long, and is up again.
#[test]
fn after_a_link_that_was_down() {
    if !have_root() {
        return;
    }
    let truth = within(&truth(HOSTS, &[]), &[NETWORK]);
    let lab = Lab::new(2);
    let results = lab.folder().join("down.csv");
    let checkpoint = results.with_extension("csv.xdpmap");
    let mut scan = command(&lab, "--max-link-down 1", &results).stderr(Stdio::null()).spawn().unwrap();
    into_sending(&checkpoint, 500);
    set_link(&lab.net, "net0", "down");
    assert_eq!(scan.wait().unwrap().code(), Some(5));
    set_link(&lab.net, "net0", "up");
    succeeds(resume(&lab, &checkpoint, ""));
    assert_whole("link down", &read(&results), &truth, 20_000);
}

/// A checkpoint says where each option was set and how long each list was. A payload that has changed makes another
/// plan, which is refused; with the old one the scan goes on, and has the same plan as before.
#[test]
fn a_changed_payload_is_another_plan() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let [config, list, payload, results, metadata] =
        ["own.conf", "block.conf", "payload", "udp.csv", "metadata"].map(|name| lab.folder().join(name));
    std::fs::write(&list, "198.18.64.0/18\n").unwrap();
    std::fs::write(&payload, "one").unwrap();
    std::fs::write(&config, format!("# ours\nblocklist-file {}\n", list.display())).unwrap();
    let mut scan =
        lab.xdpmap(&format!("-M udp -p 9 -c 1 -q --checkpoint-interval 0.1 --resume-overlap 0.2 {NETWORK}"));
    scan.env("XDPMAP_RATE", "4000").arg("-C").arg(&config).arg("-o").arg(&results);
    scan.arg("--probe-args").arg(format!("file:{}", payload.display()));
    let checkpoint = results.with_extension("csv.xdpmap");
    interrupt(scan, &checkpoint, Signal::SIGKILL);
    let mut show = lab.shielded();
    let shown =
        show.args([support::scanner::binary(), "checkpoint", "show", "--json"]).arg(&checkpoint).output();
    let shown: serde_json::Value = serde_json::from_slice(&shown.unwrap().stdout).unwrap();
    let file = &shown["lists"][0];
    assert_eq!((file["file"].as_str(), file["bytes"].as_u64()), (list.to_str(), Some(15)), "{shown}");
    let origin = |flag: &str| {
        let set = shown["origins"].as_array().unwrap().iter().find(|set| set["flag"] == flag);
        set.unwrap_or_else(|| panic!("no origin of {flag}: {shown}"))["origin"].clone()
    };
    assert_eq!(origin("probe-module"), "command-line");
    assert_eq!(origin("rate"), serde_json::json!({"environment": "XDPMAP_RATE"}));
    let line = format!("{}:2", config.display());
    assert_eq!(origin("blocklist-file"), serde_json::json!({"config-file": line}));
    std::fs::write(&payload, "two").unwrap();
    let before = [&results, &checkpoint].map(|file| read(file));
    let refused = resume(&lab, &checkpoint, "-r 20000").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!((refused.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("the plan is not the checkpoint's: --probe-args: it would be "), "{said}");
    assert_eq!([&results, &checkpoint].map(|file| read(file)), before, "files have changed");
    std::fs::write(&payload, "one").unwrap();
    let mut rest = resume(&lab, &checkpoint, "-r 20000");
    rest.arg("-m").arg(&metadata);
    succeeds(rest);
    let metadata = support::ledger::metadata(&metadata);
    assert_eq!(metadata["plan_hash"], shown["plan_hash"]);
    assert_eq!(metadata["targets_hash"], shown["targets_hash"]);
    assert_eq!(metadata["earlier_runs"]["started"].as_array().map(Vec::len), Some(1));
}
