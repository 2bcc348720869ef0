//! How scans end: with metadata however they end, with outputs of the kind that the user named, and without being
//! delayed by programs that do not read.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, have_root, run};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, mkfifo};
use support::capture::Sniffer;
use support::scanner::binary;
use support::seccomp::{Refused, run_without};
use support::{Scans as _, read};

/// The outputs of a scan, each with the flags that name it.
const OUTPUTS: [(&str, &[&str]); 8] = [
    ("csv", &["-O", "csv", "-o"]),
    ("json", &["-O", "json", "-o"]),
    ("pcap", &["-O", "pcap", "-o"]),
    ("parquet", &["-O", "parquet", "-o"]),
    ("metadata", &["-m"]),
    ("status", &["-u"]),
    ("log", &["-l"]),
    ("probes", &["--probes-file"]),
];

fn fifo(path: &Path) {
    mkfifo(path, Mode::from_bits_truncate(0o600)).unwrap();
}

/// A device that accepts everything, like `/dev/null`.
fn null(path: &Path) {
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
}

/// What an output of this kind must hold after a scan.
#[track_caller]
fn check_content(kind: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let is_whole = match kind {
        "csv" => text.lines().count() == 17 && text.starts_with("saddr\n"),
        "json" => text.lines().filter(|line| line.starts_with("{\"saddr\":")).count() == 16,
        "pcap" | "probes" => bytes.len() > 16 * 54 && bytes.starts_with(&[0x4d, 0x3c, 0xb2, 0xa1]),
        "parquet" => bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1") && bytes.len() > 100,
        "metadata" => text.contains("\"end_reason\":\"complete\"") && text.lines().count() == 1,
        "status" => text.starts_with("real-time,") && text.lines().count() > 1,
        _ => text.contains("] summary: complete"),
    };
    assert!(is_whole, "{kind}: {} bytes: {}", bytes.len(), &text[..text.len().min(300)]);
}

fn survey(lab: &Lab, place: impl Fn(&str) -> PathBuf) -> Output {
    let mut command = lab.xdpmap("-p 80 -r 1000 -c 1 -f saddr 198.18.0.0/28");
    for (kind, flags) in OUTPUTS {
        command.args(flags).arg(place(kind));
    }
    command.output().unwrap()
}

/// Files that are named are written to and stay what they are: a device, a pipe, a link, a file of another owner. Each
/// kind of output with each.
#[test]
fn outputs_are_what_was_named() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for case in ["device", "pipe", "link", "link to nowhere", "file", "file of another"] {
        let folder = lab.folder().join(case.replace(' ', "-"));
        fs::create_dir(&folder).unwrap();
        let place = |kind: &str| folder.join(kind);
        let behind = |kind: &str| folder.join(format!("{kind}.file"));
        let mut readers = vec![];
        for (kind, _) in OUTPUTS {
            let path = place(kind);
            match case {
                "device" => null(&path),
                "pipe" => {
                    fifo(&path);
                    readers.push((kind, std::thread::spawn(move || fs::read(path).unwrap())));
                }
                "file" => {}
                "file of another" => {
                    fs::write(&path, if kind == "log" { "" } else { "of yesterday\n" }).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
                    chown(&path, Some(65_534), Some(1)).unwrap();
                }
                _ => {
                    if case == "link" {
                        fs::write(behind(kind), "").unwrap();
                    }
                    symlink(format!("{kind}.file"), &path).unwrap();
                }
            }
        }
        let output = survey(&lab, place);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{case}: {stderr}");
        for (kind, reader) in readers {
            check_content(kind, &reader.join().unwrap());
        }
        for (kind, _) in OUTPUTS {
            let found = fs::symlink_metadata(place(kind)).unwrap();
            let as_before = match case {
                "device" => found.file_type().is_char_device() && found.rdev() == makedev(1, 3),
                "pipe" => found.file_type().is_fifo(),
                "file" => found.is_file(),
                "file of another" => (found.uid(), found.gid(), found.mode()) == (65_534, 1, 0o100_640),
                _ => found.is_symlink() && behind(kind).is_file(),
            };
            assert!(as_before, "{case}: {kind} is {found:?}");
            if !matches!(case, "device" | "pipe") {
                check_content(kind, &fs::read(place(kind)).unwrap());
            }
        }
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        // A scan whose outputs are files keeps a checkpoint beside the first.
        let names: Vec<_> = names.filter(|name| name != "csv.xdpmap").collect();
        let others = if case.starts_with("link") { OUTPUTS.len() } else { 0 };
        assert_eq!(names.len(), OUTPUTS.len() + others, "{case}: {names:?}");
    }
}

/// No second file can follow a destination that is not a regular file.
#[test]
fn a_device_is_not_rotated() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let device = lab.folder().join("device");
    null(&device);
    for (module, flag) in [("csv", "--rotate-bytes 1K"), ("parquet", "--rotate-seconds 1")] {
        let output =
            lab.xdpmap(&format!("-p 80 -O {module} {flag} 198.18.0.0/28")).arg("-o").arg(&device).output();
        let output = output.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && stderr.contains("is not a regular file"), "{stderr}");
        assert!(stderr.contains(flag.split(' ').next().unwrap()), "{stderr}");
    }
}

/// A disk that fails on sync: each kind of output ends the scan with exit code 1, and no metadata claims that all went
/// well.
#[test]
fn a_disk_that_does_not_keep_it() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let fsync = Refused { call: libc::SYS_fsync, arguments: vec![], errno: libc::EIO };
    for (kind, flags) in OUTPUTS {
        let file = lab.folder().join(kind);
        let flags = flags.join(" ");
        let results = if kind == "metadata" || kind == "probes" { "-o /dev/null" } else { "" };
        let metadata = if kind == "metadata" { "" } else { "-m -" };
        let arguments =
            format!("-p 80 -c 0 -q 198.18.0.0/28 {results} {metadata} {flags} {}", file.display());
        if matches!(kind, "status" | "log") {
            continue;
        }
        let output = run_without(&lab, &fsync, &arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{kind}: {stderr}");
        let flag = match kind {
            "metadata" => "--metadata-file",
            "probes" => "--probes-file",
            _ => "--output-file",
        };
        assert!(stderr.contains(flag) && stderr.contains("Input/output error"), "{kind}: {stderr}");
        let metadata = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            metadata.contains("\"end_reason\":\"output-failed\""),
            kind != "metadata",
            "{kind}: {metadata}"
        );
        let named = format!("{}.parquet", file.display());
        assert!(!Path::new(&named).exists());
        if kind == "parquet" {
            assert!(!file.exists(), "a file that may not be whole has no name");
        }
    }
}

/// A scan behind a shell's `prelude`: its process, and the lines of its standard error.
fn behind(
    lab: &Lab,
    prelude: &str,
    arguments: &str,
) -> (std::process::Child, impl Iterator<Item = String> + use<>) {
    let mut command = lab.shielded();
    command.args(["sh", "-c", &format!("{prelude}; exec \"$@\""), "sh", binary(), "-i", "scan0"]);
    command.arg("--allow-reserved").args(arguments.split_whitespace()).current_dir(lab.folder());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

fn metadata(lab: &Lab, name: &str) -> serde_json::Value {
    support::ledger::metadata(&lab.folder().join(name))
}

/// Signals that were ignored when the scan began stay ignored: `nohup`, and shells that trap.
#[test]
fn ignored_signals_stay_ignored() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let scan = "-p 80 -r 1000 -c 1 -f saddr -o out -m ignored 198.18.0.0/21";
    let (mut child, mut log) = behind(&lab, "trap '' HUP INT TERM QUIT USR1", scan);
    log.find(|line| line.contains("send: ")).unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGUSR1] {
        kill(pid, signal).unwrap();
    }
    let log: Vec<String> = log.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{log:?}");
    assert_eq!(read(&lab.folder().join("out")).lines().count(), 2_049);
    assert_eq!(metadata(&lab, "ignored")["end_reason"], "complete");
}

/// Whatever signal ends a scan, its metadata is written, and nothing is left on the interface. SIGHUP does so only
/// where there is a terminal: see `reload.rs`.
#[test]
fn signals_leave_metadata() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for signal in [Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGXCPU] {
        let name = signal.as_str();
        let scan = format!("-p 80 -r 1000 -c 1 -f saddr -o out -m {name} 198.18.0.0/18");
        let (mut child, mut log) = behind(&lab, "true", &scan);
        log.find(|line| line.contains("send: ")).unwrap();
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let log: Vec<String> = log.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}: {log:?}");
        assert_eq!(metadata(&lab, name)["end_reason"], "interrupted", "{name}");
        assert!(!lab.has_xdp(), "{name}");
    }
}

/// A file that has reached its size limit is like a full disk.
#[test]
fn a_limit_on_the_size_of_files() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let scan = "-p 80 -r 20000 -c 1 -f * -o out -m limited 198.18.0.0/20";
    // Of 512 bytes each.
    let (mut child, log) = behind(&lab, "ulimit -f 64", scan);
    let log: Vec<String> = log.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{log:?}");
    let metadata = metadata(&lab, "limited");
    assert_eq!(metadata["end_reason"], "output-failed");
    assert!(metadata["output_error"].as_str().unwrap().contains("File too large"), "{metadata}");
    let results = lab.folder().join("out");
    let whole = read(&results).matches('\n').count() as u64 - 1;
    assert_eq!(fs::metadata(&results).unwrap().len(), 64 * 512);
    let [replies, lost] = ["validation_passed", "output_lost"].map(|name| metadata[name].as_u64().unwrap());
    assert_eq!(whole + lost, replies, "{metadata}");
}

/// The responders decide how much there is to remember, but not how much memory a scan uses for it.
#[test]
fn memory_for_repeats() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let scan = |arguments: &str| {
        lab.survey(&format!("-M icmp_echoscan -P 2 -r 8000 -c 1 -q {arguments} 198.18.0.0/20"))
    };
    let bounded = scan("--dedup-memory 1M --dedup-window-size 1000");
    assert_eq!(bounded.output.status.code(), Some(0), "{}", bounded.stderr());
    let [by_window, all] = ["/deduplicated_by_window", "/success_total"].map(|name| bounded.number(name));
    // There is room for a set of some hundreds, and a bitmap takes 2 MiB.
    assert!(all == 2 * 4_096 && (6_000..7_600).contains(&by_window), "{by_window} of {all}");
    assert_eq!(bounded.number("/deduplication_memory"), 1_000_000);
    assert_eq!(bounded.number("/deduplication_window_size"), 1_000);
    let warnings = bounded.stderr().matches("the table of targets that have answered takes all").count();
    assert!(warnings == 1 && bounded.stderr().contains("--dedup-memory allows"), "{}", bounded.stderr());
    assert_eq!(bounded.results.lines().count(), 4_096, "copies come one after the other, within the window");
    let ample = scan("");
    assert_eq!((ample.number("/deduplicated_by_window"), ample.results.lines().count()), (0, 4_096));
    assert_eq!(ample.metadata.get("deduplication_window_size"), None);
    let refused = lab.xdpmap("-p 80 --dedup-memory 900K 198.18.0.0/28").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

/// A pipe that is open, but not read.
fn unread(path: &Path) -> File {
    fifo(path);
    let flags = OFlag::O_NONBLOCK.bits();
    OpenOptions::new().read(true).custom_flags(flags).open(path).unwrap()
}

/// A scan whose output is a pipe that is not read, until it says what it waits for.
fn stuck(lab: &Lab, arguments: &str, name: &str) -> (std::process::Child, Vec<String>, File, Instant) {
    let results = lab.folder().join(format!("{name}.fifo"));
    let reader = unread(&results);
    let mut command = lab.xdpmap("-p 80 -r 20000 -c 1 -f * 198.18.0.0/20");
    command.args(arguments.split_whitespace()).arg("-o").arg(&results);
    command.arg("-m").arg(lab.folder().join(name)).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = vec![];
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        log.push(line.unwrap());
        if log[log.len() - 1].contains("the scan is over;") {
            break;
        }
    }
    assert!(log.iter().any(|line| line.contains("--output-wait")), "{log:?}");
    (child, log, reader, Instant::now())
}

/// A reader that does not read delays neither the metadata nor the end, and the interface is released before.
#[test]
fn a_reader_that_sleeps() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for (name, arguments, interrupts) in
        [("waited", "--output-wait 3", 0), ("skipped", "--output-wait 600", 1)]
    {
        let (mut child, log, mut reader, since) = stuck(&lab, arguments, name);
        assert!(!lab.has_xdp(), "{name}: {log:?}");
        for _ in 0..interrupts {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        }
        let code = child.wait().unwrap().code();
        assert!(since.elapsed() < Duration::from_secs(20), "{name}: {:?}", since.elapsed());
        assert_eq!(code, Some(1), "{name}: {log:?}");
        let metadata = metadata(&lab, name);
        assert_eq!(metadata["end_reason"], "output-failed", "{metadata}");
        assert!(metadata["output_error"].as_str().unwrap().contains("--output-wait"), "{metadata}");
        let mut taken = vec![0; 1 << 20];
        let len = reader.read(&mut taken).unwrap();
        let lines = taken[..len].iter().filter(|&&byte| byte == b'\n').count() as u64 - 1;
        let [replies, lost] =
            ["validation_passed", "output_lost"].map(|name| metadata[name].as_u64().unwrap());
        assert_eq!((replies, lines + lost), (4_096, 4_096), "{name}: what the pipe does not hold is lost");
    }
}

/// If a reader closes the pipe, the losses are counted and reported, after the scan as well as during it.
#[test]
fn a_reader_that_leaves() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let (mut child, _, reader, _) = stuck(&lab, "--output-wait 600", "late");
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(141));
    let late = metadata(&lab, "late");
    assert_eq!((&late["end_reason"], &late["exit_code"]), (&"output-closed".into(), &141.into()));
    let lost = late["output_lost"].as_u64().unwrap();
    assert!((2_000..4_096).contains(&lost) && late["validation_passed"] == 4_096, "{late}");

    let mut command = lab.xdpmap("-p 80 -r 5000 -c 1 -f saddr 198.18.0.0/18");
    command.arg("-m").arg(lab.folder().join("early")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(141), "{log}");
    assert!(log.contains("results were lost: the reader of standard output went away"), "{log}");
    let early = metadata(&lab, "early");
    assert_eq!(early["end_reason"], "output-closed");
    assert!(early["targets_left"].as_u64().unwrap() > 0 && early["output_lost"].as_u64().unwrap() > 0);
}

/// A pipe without any room left.
fn full(pipe: &impl std::os::fd::AsFd) -> bool {
    let mut writer = File::from(pipe.as_fd().try_clone_to_owned().unwrap());
    let flags = OFlag::from_bits_truncate(fcntl(&writer, FcntlArg::F_GETFL).unwrap());
    fcntl(&writer, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(flags)).is_ok()
}

/// A paused terminal, or a log, status or capture that is not read, does not delay a scan either.
#[test]
fn reports_that_nobody_reads() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for (kind, code) in [("stderr", 0), ("-u", 0), ("-l", 0), ("--probes-file", 1)] {
        let name = format!("unread{kind}");
        let path = lab.folder().join(format!("{name}.fifo"));
        let mut command: Command = lab.xdpmap("-p 80 -r 5000 -c 1 -f saddr --output-wait 1 198.18.0.0/19");
        let results = lab.folder().join("out");
        command.arg("-o").arg(&results).arg("-m").arg(lab.folder().join(&name));
        let (reader, writer) = std::io::pipe().unwrap();
        let _held: Box<dyn std::any::Any> = if kind == "stderr" {
            let writer = OwnedFd::from(writer);
            assert!(full(&writer));
            command.stderr(Stdio::from(writer));
            Box::new(reader)
        } else {
            let reader = unread(&path);
            if kind != "--probes-file" {
                assert!(full(&OpenOptions::new().write(true).open(&path).unwrap()));
            }
            command.arg(kind).arg(&path).stderr(Stdio::null());
            Box::new(reader)
        };
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        let ended = loop {
            match child.try_wait().unwrap() {
                None if start.elapsed() < Duration::from_secs(60) => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                other => break other,
            }
        };
        let _ = child.kill();
        assert_eq!(ended.and_then(|status| status.code()), Some(code), "{kind}");
        assert_eq!(read(&results).lines().count(), 8_193, "{kind}");
        assert!(!metadata(&lab, &name)["end_reason"].is_null());
    }
}

/// An output that cannot be opened is detected before anything is sent, even to a neighbour.
#[test]
fn a_status_file_that_cannot_be_opened() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    run("ip", ["-n", &lab.scan, "addr", "add", "10.99.0.1/24", "dev", "scan0"]);
    for (file, code, asked) in [("/no/such/folder/status.csv", 2, false), ("/dev/null", 0, true)] {
        let sniffer = Sniffer::start(&lab, &lab.net, "net0", "arp and dst net 10.99.0.0/24");
        let output = lab.xdpmap(&format!("-p 80 -c 0 -u {file} 10.99.0.0/28")).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        let requests = sniffer.end(&["arp.dst.proto_ipv4"]);
        assert_eq!(!requests.is_empty(), asked, "{file}: {requests:?}");
    }
}
