//! Which privileges a scan needs, what it reports if one is missing, and that it runs without them after its start.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lab::{Lab, have_root, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::Scans as _;
use support::redis::Redis;
use support::sandbox::refusal;
use support::scanner::binary;
use support::scanner::program_for_nobody;

const NOBODY: u32 = 65_534;
const DAC_OVERRIDE: u64 = 1 << 1;
const ALL: [&str; 5] = ["cap_net_raw", "cap_net_admin", "cap_bpf", "cap_perfmon", "cap_ipc_lock"];

/// A scan that has begun: its process, and its standard error.
fn begun(command: &mut Command) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    let line = log.by_ref().find(|line| {
        said.push(line.clone());
        line.contains("send: ")
    });
    assert!(line.is_some(), "{said:?}");
    (child, log)
}

fn interrupt(mut child: Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// A number of each thread's status, which all threads agree on.
fn of_all_threads(child: &Child, name: &str, radix: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().map(Result::unwrap);
    let value = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim_start_matches(':').trim(), radix).unwrap()
    };
    let values: Vec<u64> = tasks.map(value).collect();
    assert!(values.len() > 3 && values.iter().all(|value| *value == values[0]), "{name}: {values:?}");
    values[0]
}

fn thread_names(child: &Child) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().map(Result::unwrap);
    tasks.map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap().trim().to_owned()).collect()
}

/// All threads of root's scan have no capability left, nor a way to gain one, with every kind of output; the files that
/// are written at its end are written.
#[test]
fn a_running_scan_has_none() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let redis = Redis::start(lab.folder());
    lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "gro", "on"]);
    for mode in ["copy", "live"] {
        let (results, metadata) = (lab.folder().join("results"), lab.folder().join(mode));
        let mut command = lab.xdpmap(&format!("-p 80 -r 500 -c 1 --io-mode {mode} -f saddr 198.18.0.0/16"));
        for module in ["json", "parquet", "pcap"] {
            command.args(["-O", module, "-o"]).arg(results.with_extension(module));
        }
        command.args(["-O", "csv", "-o"]).arg(&results);
        command.args(["-O", "redis", "--output-args", &format!("socket={},key={mode}", redis.socket())]);
        for (flag, name) in [("-u", "status"), ("--probes-file", "probes")] {
            command.arg(flag).arg(lab.folder().join(name));
        }
        let (child, log) = begun(command.arg("-m").arg(&metadata));
        let names = thread_names(&child);
        for name in ["redis", "probes", "blocklist", "collector", "signals", "watch", "worker-0"] {
            assert!(names.iter().any(|found| found == name), "no thread {name} in {names:?}");
        }
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"] {
            assert_eq!(of_all_threads(&child, set, 16), 0, "{mode}: {set}");
        }
        assert_eq!(of_all_threads(&child, "NoNewPrivs", 10), 1);
        interrupt(child);
        let log: Vec<String> = log.collect();
        let metadata = support::ledger::metadata(&metadata);
        assert_eq!((&metadata["io_mode"], &metadata["end_reason"]), (&mode.into(), &"interrupted".into()));
        // The program's counters could be read as well.
        let redirected = metadata["xdp_counters"]["valid_redirected"].as_u64();
        assert!(redirected.is_some_and(|count| count > 0), "{metadata}\n{log:?}");
        assert!(std::fs::read_to_string(&results).unwrap().lines().count() > 1);
        assert!(!lab.has_xdp());
    }
}

/// Root keeps what its last files need in the folder of another user, and nothing else.
#[test]
fn files_in_folders_of_others() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for (mode, kept) in [(0o755, DAC_OVERRIDE), (0o1777, 0), (0o777, 0)] {
        let folder = lab.folder().join(format!("{mode:o}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
        let metadata = folder.join("metadata.json");
        std::fs::write(&metadata, "of yesterday").unwrap();
        for path in [&folder, &metadata] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut command = lab.xdpmap("-p 80 -r 500 -c 1 --rotate-seconds 1 -f saddr 198.18.0.0/16");
        let (child, mut log) = begun(command.arg("-o").arg(folder.join("out.csv")).arg("-m").arg(&metadata));
        assert_eq!(of_all_threads(&child, "CapEff", 16), kept, "{mode:o}");
        assert_eq!(of_all_threads(&child, "CapBnd", 16), kept, "{mode:o}");
        // Until a second file must have been made.
        log.by_ref().filter(|line| line.contains("send: ")).nth(2).unwrap();
        interrupt(child);
        assert!(std::fs::read_to_string(&metadata).unwrap().contains("\"interrupted\""), "{mode:o}");
        assert!(folder.join("out-00002.csv").exists(), "{mode:o}");
    }
}

/// A copy of the program in a folder where nobody may write, with these capabilities.
fn with_capabilities(folder: &Path, capabilities: &[&str]) -> PathBuf {
    let program = program_for_nobody(folder);
    let text = format!("{}+ep", capabilities.join(","));
    run("setcap", [text.as_str(), program.to_str().unwrap()]);
    program
}

/// `program` as nobody, who may lock 64 KiB of memory.
fn as_nobody(lab: &Lab, program: &Path, arguments: &str) -> Command {
    let mut command = lab.as_nobody(&["prlimit", "--memlock=65536:65536"]);
    command.arg(program).args(arguments.split(' ')).current_dir(lab.folder());
    command
}

/// With the capabilities that the README names a user can scan like root; if one of them is missing, it is named, by
/// the scan and by the doctor.
#[test]
fn a_user_with_capabilities() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let program = with_capabilities(lab.folder(), &ALL);
    let survey = "-i scan0 -p 80 -n 300 -c 1 --allow-reserved -f saddr -o out.csv -m out.json 198.18.0.0/17";
    let output = as_nobody(&lab, &program, survey).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name| std::fs::read_to_string(lab.folder().join(name)).unwrap();
    assert_eq!(read("out.csv").lines().count(), 301);
    let metadata = support::ledger::metadata(&lab.folder().join("out.json"));
    assert_eq!((&metadata["io_mode"], metadata["packets_sent"].as_u64()), (&"copy".into(), Some(300)));
    let slow = "-i scan0 -p 80 -r 100 -c 1 -o out.csv --allow-reserved 198.18.0.0/17";
    let (child, _log) = begun(&mut as_nobody(&lab, &program, slow));
    assert_eq!((of_all_threads(&child, "CapEff", 16), of_all_threads(&child, "CapPrm", 16)), (0, 0));
    interrupt(child);
    let examined = as_nobody(&lab, &program, "doctor -i scan0").output().unwrap();
    assert_eq!(examined.status.code(), Some(0), "{}", String::from_utf8_lossy(&examined.stdout));

    for (missing, words) in [
        ("cap_net_raw", "missing: CAP_NET_RAW (opens AF_XDP sockets); run as root, or"),
        ("cap_net_admin", "missing: CAP_NET_ADMIN (attaches the XDP program"),
        ("cap_bpf", "missing: CAP_BPF (loads the XDP program and its maps); run as root, or"),
        ("cap_perfmon", "missing: CAP_PERFMON (lets the XDP program pass the verifier); run as root, or"),
        (
            "cap_ipc_lock",
            "the limit is 64 KiB (RLIMIT_MEMLOCK), and CAP_IPC_LOCK, which lifts it, is missing",
        ),
    ] {
        let others: Vec<&str> = ALL.into_iter().filter(|name| *name != missing).collect();
        let program = with_capabilities(lab.folder(), &others);
        let refused = as_nobody(&lab, &program, survey).output().unwrap();
        let line = refusal(&refused);
        assert_eq!(refused.status.code(), Some(3), "{missing}: {line}");
        assert!(line.contains(words) && line.contains("setcap cap_net_raw,"), "{missing}: {line}");
        assert!(!lab.has_xdp(), "{missing}");
        let examined = as_nobody(&lab, &program, "doctor -i scan0").output().unwrap();
        let text = String::from_utf8(examined.stdout).unwrap();
        assert_eq!(examined.status.code(), Some(3), "{missing}: {text}");
        assert!(text.contains(&format!("missing: {}\n", missing.to_uppercase())), "{missing}: {text}");
    }
}

/// The commands in the README and the tuning guide leave a program with the capabilities that a group may run, and no
/// other user: a change of the group removes them.
#[test]
fn the_advice_on_groups_holds() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for text in [include_str!("../../../README.md"), include_str!("../../../docs/tuning.md")] {
        let program = program_for_nobody(lab.folder());
        let block =
            text.split("```\n").find(|block| block.starts_with("sudo ") && block.contains("setcap")).unwrap();
        assert!(block.contains("groupadd --force scan\n"), "{block}");
        for line in block.lines().filter(|line| !line.contains("groupadd")) {
            let line = line.strip_prefix("sudo ").unwrap();
            let line = line.replace("/usr/local/bin/xdpmap", program.to_str().unwrap());
            run("bash", ["-c", &line.replace("chgrp scan", "chgrp nogroup")]);
        }
        let file = std::fs::metadata(&program).unwrap();
        assert_eq!((file.mode() & 0o7777, file.gid()), (0o750, NOBODY));
        let examined = as_nobody(&lab, &program, "doctor -i scan0").output().unwrap();
        assert_eq!(examined.status.code(), Some(0), "{}", String::from_utf8_lossy(&examined.stdout));
    }
}

/// Root in a container that has these five capabilities and no others can scan; root in a user namespace has them all,
/// but they do not count.
#[test]
fn root_of_a_container() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let run = |wrapper: &[&str], arguments: &str| {
        let mut command = lab.shielded();
        command.args(wrapper).arg(binary());
        command.args(arguments.split(' ')).current_dir(lab.folder()).output().unwrap()
    };
    let survey = "-i scan0 -p 80 -n 300 -c 1 --allow-reserved -f saddr -o out.csv -m out.json 198.18.0.0/17";
    let five = ["setpriv", "--bounding-set", "-all,+net_raw,+net_admin,+bpf,+perfmon,+ipc_lock"];
    let output = run(&five, survey);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_to_string(lab.folder().join("out.csv")).unwrap().lines().count(), 301);
    assert!(std::fs::read_to_string(lab.folder().join("out.json")).unwrap().contains("\"max-targets\""));
    assert_eq!(run(&five, "doctor -i scan0").status.code(), Some(0));

    let user_namespace = ["unshare", "--user", "--map-root-user"];
    let refused = run(&user_namespace, &format!("-G 02:00:00:00:00:01 {survey}"));
    let line = refusal(&refused);
    assert_eq!(refused.status.code(), Some(3), "{line}");
    assert!(line.contains("the capabilities are those of a user namespace"), "{line}");
    let examined = run(&user_namespace, "doctor -i scan0");
    let text = String::from_utf8(examined.stdout).unwrap();
    assert_eq!(examined.status.code(), Some(3), "{text}");
    assert!(text.contains("  fail  privileges   all of them, in a user namespace\n"), "{text}");
}

/// With CAP_NET_RAW alone a user can scan over AF_PACKET, which needs no other capability, and the doctor foresees it.
#[test]
fn a_user_with_net_raw_alone() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let program = with_capabilities(lab.folder(), &ALL[..1]);
    let gateway = lab.in_ns(&lab.net, "cat", ["/sys/class/net/net0/address"]);
    let examined = as_nobody(&lab, &program, "doctor -i scan0 --json").output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&examined.stdout).unwrap();
    assert_eq!((&report["exit_code"], &report["io_mode"]), (&0.into(), &"packet".into()), "{report}");
    let survey = format!(
        "-i scan0 -G {} -p 80 -n 300 -c 1 -r 1000 --allow-reserved -f saddr -o out.csv -m out.json 198.18.0.0/17",
        gateway.trim()
    );
    let output = as_nobody(&lab, &program, &survey).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name| std::fs::read_to_string(lab.folder().join(name)).unwrap();
    assert_eq!(read("out.csv").lines().count(), 301);
    assert!(read("out.json").contains("\"io_mode\":\"packet\""));
}

/// A filter on system calls is named if no capability is missing.
#[test]
fn a_seccomp_filter_in_the_way() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let without_bpf = lab.folder().join("without_bpf");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/without_bpf.c");
    run("cc", [Path::new("-o"), &without_bpf, &source]);
    let run = |arguments: &str| {
        let mut command = lab.shielded();
        command.arg(&without_bpf).arg(binary());
        command.args(arguments.split(' ')).output().unwrap()
    };
    let why = "no capability is missing, but a seccomp filter is active";
    let refused = run("-i scan0 -p 80 -n 1 --io-mode copy --allow-reserved 198.18.0.0/17");
    let line = refusal(&refused);
    assert!(refused.status.code() == Some(3) && line.contains(why), "{line}");
    let report: serde_json::Value = serde_json::from_slice(&run("doctor -i scan0 --json").stdout).unwrap();
    let program = report["host"].as_array().unwrap().iter().find(|finding| finding["topic"] == "XDP program");
    let found = program.unwrap()["found"].as_str().unwrap();
    assert!(report["exit_code"] == 3 && found.contains(why), "{report}");
    assert!(report.to_string().contains("\"found\":\"a seccomp filter\""), "{report}");
}
