//! What the threads of a running scan are refused. A debugger makes each of them ask for it, whatever its class may do
//! because of outputs and options. What each class may do is tested beside the code (`src/sandbox`).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};

use lab::tools::tool;
use lab::{Lab, have_root};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::Scans as _;
use support::live::live_lab;
use support::redis::Redis;

use crate::checkpoint::into_sending;

/// Calls that each thread makes, with the error that they end with where nothing confines it; 0 is none. No process and
/// no program has these numbers and names, so that nothing happens if they are allowed.
const ASKED: [(&str, i32); 6] = [
    ("open another file", 0),
    ("open another file to write", 0),
    ("execve", libc::ENOENT),
    ("connect", libc::ECONNREFUSED),
    ("ptrace", libc::ESRCH),
    ("kill", libc::ESRCH),
];

/// Prints a line for each thread and each of [`ASKED`]: its number, the error, and the thread's name. Of a connection,
/// the socket counts if there is none.
const PROGRAM: &str = r#"
import gdb, os
A = os.environ
def value(text):
    return int(gdb.parse_and_eval(text))
memory = value("((void *(*)(unsigned long)) malloc)(4096)")
process = gdb.selected_inferior()
def place(at, data):
    process.write_memory(memory + at, data)
    return memory + at
file = place(0, A["ASK_FILE"].encode() + b"\0")
program = place(1024, b"/no/such/program\0")
address = place(2048, bytes([2, 0, 0, 1, 127, 0, 0, 1] + [0] * 8))
nobody = (1 << 22) - 1
def call(number, *arguments):
    words = ", ".join(str(word) + "L" for word in (number, *arguments, *[0] * (6 - len(arguments))))
    result = value("((long (*)(long, long, long, long, long, long, long)) syscall)(" + words + ")")
    return result if result >= 0 else -value("*((int *(*)(void)) __errno_location)()")
def connect():
    socket = call(NUMBER["socket"], 2, 1)
    if socket < 0:
        return socket
    result = call(NUMBER["connect"], socket, address, 16)
    call(NUMBER["close"], socket)
    return result
def opened(flags):
    result = call(NUMBER["openat"], -100, file, flags)
    if result >= 0:
        call(NUMBER["close"], result)
    return min(result, 0)
NUMBER = dict(pair.split("=") for pair in A["ASK_NUMBERS"].split(","))
for thread in process.threads():
    thread.switch()
    for what, result in enumerate([
        opened(0), opened(1), call(NUMBER["execve"], program), connect(),
        call(NUMBER["ptrace"], 0x4206, nobody), call(NUMBER["kill"], nobody),
    ]):
        print("ASKED", what, -result, thread.name)
"#;

/// What each thread of a process was answered, by its name.
fn answers(lab: &Lab, process: &Child, file: &Path) -> BTreeMap<String, Vec<i32>> {
    let program = lab.folder().join("ask.py");
    std::fs::write(&program, PROGRAM).unwrap();
    let numbers = [
        ("openat", libc::SYS_openat),
        ("close", libc::SYS_close),
        ("execve", libc::SYS_execve),
        ("socket", libc::SYS_socket),
        ("connect", libc::SYS_connect),
        ("ptrace", libc::SYS_ptrace),
        ("kill", libc::SYS_kill),
    ];
    let numbers: Vec<String> = numbers.iter().map(|(name, number)| format!("{name}={number}")).collect();
    let mut debugger = tool("gdb");
    debugger.args(["-nx", "-q", "-batch", "-ex", "set language c", "-p", &process.id().to_string(), "-x"]);
    debugger.arg(program).env("ASK_FILE", file).env("ASK_NUMBERS", numbers.join(","));
    let output = debugger.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let mut answers = BTreeMap::<String, Vec<i32>>::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("ASKED ")) {
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().unwrap().parse::<i32>().unwrap();
        let (what, error) = (number(), number());
        let list = answers.entry(words.next().unwrap().to_owned()).or_default();
        assert_eq!(what as usize, list.len() % ASKED.len(), "{said}");
        list.push(error);
    }
    assert!(!answers.is_empty(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    answers
}

/// In every mode, with every kind of output and every option that widens the sandbox, apart from steering, whose
/// guardian is a process of its own. Without the sandbox the same calls are allowed.
#[test]
fn running_threads_are_refused_all_else() {
    if !have_root() {
        return;
    }
    let lab = live_lab(2);
    let redis = Redis::start(lab.folder());
    let [ours, theirs, lists] = ["ours", "theirs", "lists"].map(|name| lab.folder().join(name));
    for folder in [&ours, &theirs, &lists] {
        std::fs::create_dir(folder).unwrap();
    }
    let [file, list] = [theirs.join("file"), lists.join("names.conf")];
    std::fs::write(&file, "text").unwrap();
    std::fs::write(&list, "localhost\n").unwrap();
    let server = format!("socket={},key=k", redis.socket());
    let everywhere = "csv --rotate-seconds 60 -O json -O pcap -O hostport -O parquet";
    for (mode, outputs, flags) in [
        ("copy", everywhere, &["-O", "redis", "--output-args", &server][..]),
        ("live", "csv --rotate-bytes 1M -O json", &[]),
        ("packet", "csv --atomic-output", &[]),
        ("copy", "csv", &["--no-sandbox"]),
    ] {
        let is_confined = flags != ["--no-sandbox"];
        let mut command = lab.xdpmap(&format!(
            "-p 80 -r 500 -c 1 -q --successes-only --io-mode {mode} -O {outputs} 198.18.0.0/16"
        ));
        for number in 0..outputs.matches("-O").count() + 1 {
            command.arg("-o").arg(ours.join(format!("{mode}-{is_confined}-{number}")));
        }
        if flags.contains(&"redis") {
            command.args(["-o", "-"]);
        }
        command.args(flags).arg("-b").arg(&list).arg("--control").arg(ours.join("socket"));
        for (flag, name) in [("-u", "status"), ("--probes-file", "probes"), ("-m", "metadata")] {
            command.arg(flag).arg(ours.join(name));
        }
        let mut scan = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        into_sending(&ours.join(format!("{mode}-{is_confined}-0.xdpmap")), 1_000);
        let answers = answers(&lab, &scan, &file);
        kill(Pid::from_raw(scan.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(scan.wait().unwrap().code(), Some(130), "{mode} {flags:?}: {answers:?}");
        let mut names = vec![
            "xdpmap",
            "worker-0",
            "collector",
            "probes",
            "blocklist",
            "checkpoint",
            "signals",
            "watch",
            "control",
        ];
        names.extend(flags.contains(&"redis").then_some("redis"));
        names.extend((mode == "live").then_some("live-sender"));
        for name in names {
            assert!(answers.contains_key(name), "{mode} {flags:?}: no thread {name} in {answers:?}");
        }
        for (name, found) in &answers {
            for ((what, otherwise), error) in ASKED.iter().cycle().zip(found) {
                let is_refused = [libc::EPERM, libc::EACCES].contains(error);
                let told = Errno::from_raw(*error);
                assert_eq!(is_refused, is_confined, "{mode} {flags:?}: {name}: {what}: {told}");
                assert!(is_confined || error == otherwise, "{mode} {flags:?}: {name}: {what}: {told}");
            }
        }
    }
}
