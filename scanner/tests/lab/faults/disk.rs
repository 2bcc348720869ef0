//! A disk that is full, and then has room again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lab::tools::tool;
use lab::{Lab, have_root, run};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::truth::FIELDS;
use support::{Scans as _, ledger, read};
use xdpmap::control_socket::{Connection, Request, Status};

use super::clocks::Clocks;
use super::{COMMON, Logged, NETWORK, lab_with_servers, number};
use crate::checkpoint::{assert_whole, resume};

/// Runs `work` on a thread whose mounts nobody else sees. They end with it.
fn with_own_mounts(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
            run("mount", ["--make-rslave", "/"]);
            work();
        };
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A small disk.
struct Disk(PathBuf);

impl Disk {
    /// With these limits.
    fn new(lab: &Lab, limits: &str) -> Self {
        let folder = lab.folder().join("disk");
        std::fs::create_dir(&folder).unwrap();
        run("mount", ["-t", "tmpfs", "-o", limits, "none", folder.to_str().unwrap()]);
        Self(folder)
    }

    /// Makes room.
    fn grow(&self) {
        run("mount", ["-o", "remount,size=64m,nr_inodes=10000", self.0.to_str().unwrap()]);
    }
}

/// By default the scan ends with exit code 1, and every result is on the disk or counted as lost. Once there is room,
/// it goes on, and has found everything.
#[test]
fn a_full_disk_ends_a_scan_that_can_go_on() {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    with_own_mounts(|| {
        let disk = Disk::new(&lab, "size=300k");
        let [results, metadata] = [disk.0.join("results.csv"), lab.folder().join("metadata")];
        let mut command = lab.xdpmap(&format!("{COMMON} -r 20000 -q {FIELDS} {NETWORK}"));
        let scan = Logged::start(command.arg("-o").arg(&results), &metadata);
        let (code, metadata, log) = scan.finish();
        assert_eq!(code, Some(1), "{log}");
        assert_eq!(
            (&metadata["end_reason"], &metadata["exit_code"]),
            (&"output-failed".into(), &1.into()),
            "{log}"
        );
        assert!(metadata["output_error"].as_str().unwrap().contains("No space left"), "{metadata}");
        let whole = read(&results).matches('\n').count() as u64 - 1;
        assert!(whole > 0);
        assert_eq!(
            whole + ledger::row(&metadata, "output-1", "lost"),
            number(&metadata, "/validation_passed"),
            "{log}"
        );
        disk.grow();
        let rest = resume(&lab, &disk.0.join("results.csv.xdpmap"), "-q").output().unwrap();
        assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
        // What was sent within interval and overlap, with as much again for a machine that is busy.
        assert_whole("resumed", &read(&results), &truth, truth.len() as u64 * 6 * 20_000 / 32_768 / 10 + 5);
    });
}

/// A scan on a small disk that pauses when it is full: `command` with its arguments.
fn pausing(
    lab: &Lab,
    command: &mut Command,
    disk: &Disk,
    arguments: &str,
    file: &str,
) -> (Logged, Connection) {
    let socket = lab.folder().join("control");
    let arguments = format!("{COMMON} -r 20000 {FIELDS} --on-output-error pause {arguments} {NETWORK}");
    command.args(arguments.split_whitespace());
    command.arg("-o").arg(disk.0.join(file)).arg("--control").arg(&socket);
    let mut scan = Logged::start(command, &lab.folder().join("metadata"));
    scan.wait_for("is tried again for at most 600 s (--on-output-error)");
    let last = scan.said.lines().last().unwrap();
    assert!(last.contains("No space left") && last.contains(file.split('.').next().unwrap()), "{last}");
    (scan, Connection::open(&socket).unwrap())
}

fn status(scan: &mut Connection) -> Status {
    scan.ask(&Request::Status {}).unwrap().status.unwrap()
}

/// Nothing is sent until there is room, which the status says; then the scan goes on, and has found everything once.
fn waits_for_room(limits: &str, arguments: &str, file: &str, found: impl Fn(&Path) -> Vec<String> + Sync) {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    with_own_mounts(|| {
        let disk = Disk::new(&lab, limits);
        let (scan, mut control) = pausing(&lab, &mut lab.xdpmap(""), &disk, arguments, file);
        // The counts are up to a second old.
        std::thread::sleep(Duration::from_millis(1_300));
        let before = status(&mut control);
        assert!(before.paused && before.paused_by == ["output"] && before.phase == "sending", "{before:?}");
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(status(&mut control).sent, before.sent);
        assert!(before.sent < before.targets_total);
        disk.grow();
        let (code, metadata, log) = scan.finish();
        assert_eq!((code, &metadata["end_reason"]), (Some(0), &"complete".into()), "{log}");
        assert!(log.contains("accepts everything again, after "), "{log}");
        for name in ["/output_lost", "/counters/rx_record_drops", "/counters/targets_again"] {
            assert_eq!(number(&metadata, name), 0, "{name}: {log}");
        }
        let lines = found(&disk.0);
        assert_eq!(lines.len(), truth.len(), "each once");
        assert!(lines.into_iter().collect::<BTreeSet<_>>() == truth);
    });
}

/// The files of a folder with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}

/// A write is cut off in the middle of a line, and goes on there.
#[test]
fn csv_waits_for_room() {
    let found = |folder: &Path| read(&folder.join("r.csv")).lines().skip(1).map(str::to_owned).collect();
    waits_for_room("size=300k", "", "r.csv", found);
}

/// The next file of a series cannot be created at first.
#[test]
fn the_next_file_waits_for_room() {
    let line = |line: &str| {
        let reply: serde_json::Value = serde_json::from_str(line).unwrap();
        let [address, class] =
            ["saddr", "classification"].map(|name| reply[name].as_str().unwrap().to_owned());
        format!("{address},{},{class},{}", reply["sport"], u8::from(reply["success"] == true))
    };
    let found = |folder: &Path| {
        let texts: Vec<String> = files(folder, "json").iter().map(|path| read(path)).collect();
        texts.iter().flat_map(|text| text.lines().map(line)).collect()
    };
    waits_for_room("nr_inodes=8", "-O json --rotate-bytes 100K", "r.json", found);
}

/// A row group is cut off in the middle.
#[test]
fn parquet_waits_for_room() {
    let found = |folder: &Path| {
        let program = "import sys, pyarrow.parquet as p\n\
                       for f in sys.argv[1:]:\n for r in p.read_table(f).to_pylist():\n  \
                       print(r['saddr'], r['sport'], r['classification'], int(r['success']), sep=',')";
        let output = tool("python3").arg("-c").arg(program).args(files(folder, "parquet")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    };
    waits_for_room("size=64k", "-O parquet --rotate-seconds 1", "r.parquet", found);
}

/// A scan that waits for room can be interrupted; it fails as one that does not wait, and can be resumed.
#[test]
fn an_interrupt_ends_the_wait_for_room() {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    with_own_mounts(|| {
        let disk = Disk::new(&lab, "size=300k");
        let (mut scan, _) = pausing(&lab, &mut lab.xdpmap(""), &disk, "", "r.csv");
        let pid = Pid::from_raw(scan.child.id().cast_signed());
        for said in ["no more probes; waiting for late replies", "summary: "] {
            kill(pid, Signal::SIGTERM).unwrap();
            scan.wait_for(said);
        }
        let (code, metadata, log) = scan.finish();
        assert_eq!((code, &metadata["end_reason"]), (Some(1), &"interrupted".into()), "{log}");
        assert!(number(&metadata, "/output_lost") > 0);
        disk.grow();
        let rest = resume(&lab, &disk.0.join("r.csv.xdpmap"), "-q").output().unwrap();
        assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
        assert_whole("resumed", &read(&disk.0.join("r.csv")), &truth, truth.len() as u64 / 2);
    });
}

/// The wait for room has a limit of ten minutes, on a clock that is moved on by that. Then the scan fails as one that
/// does not wait, and can be resumed.
#[test]
fn the_wait_for_room_ends_after_ten_minutes() {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    with_own_mounts(|| {
        let disk = Disk::new(&lab, "size=300k");
        let mut clocks = Clocks::new(&lab);
        let (scan, mut control) = pausing(&lab, clocks.command(), &disk, "", "r.csv");
        let began = Instant::now();
        clocks.step_steady(500);
        std::thread::sleep(Duration::from_secs(2));
        let now = status(&mut control);
        assert!(now.paused_by == ["output"] && now.phase == "sending", "{now:?}");
        assert!(now.elapsed_s > 500.0, "the clock was not moved on: {now:?}");
        assert!(began.elapsed() < Duration::from_secs(90), "the machine is too slow for this test");
        clocks.step_steady(601);
        // It answers as long as it runs.
        while control.ask(&Request::Status {}).is_ok() {
            if began.elapsed() > Duration::from_secs(120) {
                kill(Pid::from_raw(scan.child.id().cast_signed()), Signal::SIGKILL).unwrap();
                panic!("it still waits: {}", scan.finish().2);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let (code, metadata, log) = scan.finish();
        let ended = (&metadata["end_reason"], &metadata["exit_code"]);
        assert_eq!((code, ended), (Some(1), (&"output-failed".into(), &1.into())), "{log}");
        assert!(metadata["output_error"].as_str().unwrap().contains("No space left"), "{metadata}");
        assert!(number(&metadata, "/output_lost") > 0);
        disk.grow();
        let rest = resume(&lab, &disk.0.join("r.csv.xdpmap"), "-q").output().unwrap();
        assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
        assert_whole("resumed", &read(&disk.0.join("r.csv")), &truth, truth.len() as u64 / 2);
    });
}
