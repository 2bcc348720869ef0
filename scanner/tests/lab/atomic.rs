//! `--atomic-output`: whoever looks at a result file sees all of an earlier scan's, or all of this one's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lab::{HOSTS, Lab, have_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::scanner::binary;
use support::truth::{FIELDS, truth, within};
use support::{Scans as _, read};

use crate::checkpoint::{COMMON, NETWORK, assert_whole, into_sending, resume};
use crate::resumed::succeeds;

/// What was there before.
const YESTERDAY: &str = "saddr\n192.0.2.1\n";

/// A lab in whose folder are the files of an earlier scan.
struct Scene {
    lab: Lab,
    results: PathBuf,
    part: PathBuf,
    checkpoint: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new(2);
        let at = |name: &str| lab.folder().join(name);
        let [results, part, checkpoint] = [at("r.csv"), at("r.csv.part"), at("r.csv.xdpmap")];
        fs::write(&results, YESTERDAY).unwrap();
        Self { lab, results, part, checkpoint }
    }

    fn scan(&self, more: &str) -> Command {
        let mut command = self.lab.xdpmap(&format!("{COMMON} {FIELDS} --atomic-output {more} {NETWORK}"));
        command.arg("-o").arg(&self.results).arg("-m").arg(self.lab.folder().join("meta.json"));
        command
    }

    /// Starts a scan, and lets it run for a moment. By then there are results, and nobody sees them.
    fn running(&self, mut command: Command) -> Child {
        let scan = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        into_sending(&self.checkpoint, 700);
        assert_eq!(read(&self.results), YESTERDAY);
        assert!(read(&self.part).lines().count() > 1000, "results in {}", self.part.display());
        scan
    }

    #[track_caller]
    fn assert_done(&self, case: &str, most_again: u64) {
        assert!(!self.part.exists(), "{case}");
        let truth = within(&truth(HOSTS, &[]), &[NETWORK]);
        assert_whole(case, &read(&self.results), &truth, most_again);
    }
}

/// Sends a signal and waits: the exit code, if there is one, and the log.
fn end(scan: Child, signal: Signal) -> (Option<i32>, String) {
    kill(Pid::from_raw(scan.id().cast_signed()), signal).unwrap();
    let output = scan.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What `xdpmap verify` says of the scan, and its exit code.
fn verify(scene: &Scene) -> (Option<i32>, String) {
    let mut command = scene.lab.shielded();
    let output =
        command.arg(binary()).arg("verify").arg(scene.lab.folder().join("meta.json")).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A scan that ends by itself: until then its results have another name, whatever their format.
#[test]
fn results_appear_when_they_are_whole() {
    if !have_root() {
        return;
    }
    let scene = Scene::new();
    let mut command = scene.scan("");
    let others = ["r.json", "r.pcap", "r.txt"].map(|name| scene.lab.folder().join(name));
    for (module, file) in
        ["csv", "json", "pcap", "csv"].iter().zip([None].into_iter().chain(others.iter().map(Some)))
    {
        command.args(["-O", module]);
        if let Some(file) = file {
            command.arg("-o").arg(file);
        }
    }
    // Another link leads to the last one, and stays.
    let there = scene.lab.folder().join("there");
    fs::create_dir(&there).unwrap();
    std::os::unix::fs::symlink("there/target", &others[2]).unwrap();
    let scan = scene.running(command);
    assert!(there.join("target.part").exists() && others[..2].iter().all(|file| !file.exists()));
    let output = scan.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    scene.assert_done("a whole scan", 0);
    let rows = read(&scene.results).lines().count();
    assert_eq!(read(&others[0]).lines().count(), rows - 1);
    assert!(others[1].exists() && fs::symlink_metadata(&others[2]).unwrap().is_symlink());
    assert_eq!(read(&there.join("target")).lines().count(), rows);
    let left = [scene.lab.folder(), there.as_path()].map(|folder| fs::read_dir(folder).unwrap());
    let parts = left.into_iter().flatten().map(|entry| entry.unwrap().path());
    assert_eq!(parts.filter(|path| path.extension().is_some_and(|it| it == "part")).count(), 0);
    let (code, checked) = verify(&scene);
    assert!(code == Some(0) && !checked.contains(".part"), "{checked}");
}

/// An interruption leaves what was there, and the scan goes on in its own file: after Ctrl-C, and after `kill -9`.
#[test]
fn an_interruption_leaves_what_was_there() {
    if !have_root() {
        return;
    }
    let scene = Scene::new();
    let scan = scene.running(scene.scan(""));
    let (code, said) = end(scan, Signal::SIGINT);
    assert_eq!(code, Some(130), "{said}");
    let warning =
        format!("[WARN] output: {} keeps this name, because the scan is not whole", scene.part.display());
    assert!(said.contains(&warning), "{said}");
    assert_eq!(read(&scene.results), YESTERDAY);
    // The metadata knows which file is meant.
    let text = read(&scene.lab.folder().join("meta.json"));
    let metadata: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(metadata["outputs"][0]["is_part"], true, "{text}");
    let (code, checked) = verify(&scene);
    assert!(
        code == Some(1) && checked.contains("r.csv.part: ") && !checked.contains("192.0.2.1"),
        "{checked}"
    );
    for _ in 0..2 {
        let mut resumed = resume(&scene.lab, &scene.checkpoint, "-r 4000 -q");
        let scan = resumed.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(700));
        end(scan, Signal::SIGKILL);
        assert_eq!(read(&scene.results), YESTERDAY);
    }
    succeeds(resume(&scene.lab, &scene.checkpoint, "-q"));
    scene.assert_done("resumed", 40_000);
}

/// What a limit of time allows is whole. If the scan goes on all the same, its file loses its name until the rest is
/// done.
#[test]
fn a_limit_of_time_is_an_end() {
    if !have_root() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.scan("-t 1"));
    let first = read(&scene.results);
    assert!(first.lines().count() > 1000 && first != YESTERDAY && !scene.part.exists());
    let mut resumed = resume(&scene.lab, &scene.checkpoint, "-t 60 -r 8000 -q");
    let scan = resumed.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !scene.part.exists() {
        assert!(std::time::Instant::now() < deadline, "the file keeps its name");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(!scene.results.exists(), "the name is taken back");
    assert!(scan.wait_with_output().unwrap().status.success());
    scene.assert_done("after a limit", 10_000);
}

/// A new scan moves what an unfinished one has left, and not what was whole before.
#[test]
fn a_new_scan_leaves_what_is_whole() {
    if !have_root() {
        return;
    }
    let scene = Scene::new();
    let (_, _) = end(scene.running(scene.scan("")), Signal::SIGKILL);
    let scan = {
        let mut command = scene.scan("");
        command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    };
    let aside = |behind: &str| scene.lab.folder().join(format!("r.csv.1{behind}"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !aside(".xdpmap").exists() {
        assert!(std::time::Instant::now() < deadline, "the unfinished scan is not moved");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(read(&scene.results), YESTERDAY);
    assert!(aside(".part").exists() && !aside("").exists());
    assert!(scan.wait_with_output().unwrap().status.success());
    scene.assert_done("the new scan", 0);
    succeeds(resume(&scene.lab, &aside(".xdpmap"), "-q"));
    assert!(!aside(".part").exists() && is_of_this_scan(&aside("")));
}

/// Whether a file has the rows of a scan.
fn is_of_this_scan(file: &Path) -> bool {
    read(file).lines().count() > 10_000
}
