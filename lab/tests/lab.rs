//! Labs come and go: whatever ends the owner of a lab, nothing of it is left.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use lab::tools::{clean, tool};
use lab::{Answer, HOSTS, Lab, have_root, run};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lab");

fn lab(arguments: &str) -> Output {
    clean(PROGRAM).args(arguments.split_whitespace()).output().unwrap()
}

/// A name that no other test run uses. A lab of this name is removed with it, also when the test fails.
struct Name(String);

impl Name {
    fn new(of: &str) -> Self {
        Self(format!("{of}-{}", std::process::id()))
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if nix::unistd::geteuid().is_root() {
            lab(&format!("down {self}"));
        }
    }
}

/// The existing parts of a lab that users call `name`.
fn parts(name: &str) -> Vec<PathBuf> {
    let paths = [
        format!("/run/netns/xm-{name}-scan"),
        format!("/run/netns/xm-{name}-net"),
        format!("/run/xdpmap-lab-{name}"),
    ];
    paths.into_iter().map(PathBuf::from).filter(|path| path.exists()).collect()
}

/// Processes with these words in their command line.
fn processes(words: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.map(|entry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(words)).collect()
}

#[track_caller]
fn within_seconds(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A lab that the program holds while a command runs in it. It returns when the command runs.
fn held(name: &str, command: &str) -> Child {
    let marker = format!("/tmp/lab-test-{name}");
    let _ = std::fs::remove_file(&marker);
    let mut run = clean(PROGRAM);
    run.args(["run", name, "1", "--", "sh", "-c", &format!("touch {marker}; {command}")]);
    run.stdin(Stdio::null()).stdout(Stdio::null());
    let child = std::os::unix::process::CommandExt::process_group(&mut run, 0).spawn().unwrap();
    within_seconds(30, "the command runs", || Path::new(&marker).exists());
    std::fs::remove_file(&marker).unwrap();
    child
}

#[test]
fn labs_are_made_and_removed() {
    if !have_root() {
        return;
    }
    let name = Name::new("made");
    // Twice: the second replaces the first.
    for _ in 0..2 {
        let output = lab(&format!("up {name} 2"));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(parts(&name).len(), 3, "{output:?}");
    }
    // Its worker renames itself after a moment.
    within_seconds(5, "one nginx", || processes(&format!("xdpmap-lab-{name}/nginx")).len() == 1);
    let queues =
        run("ip", ["netns", "exec", &format!("xm-{name}-scan"), "ls", "/sys/class/net/scan0/queues"]);
    assert_eq!(queues.split_whitespace().count(), 4, "{queues}");
    for _ in 0..2 {
        let output = lab(&format!("down {name}"));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(parts(&name), Vec::<PathBuf>::new());
    }
    assert_eq!(processes(&format!("xdpmap-lab-{name}/nginx")), Vec::<String>::new());
}

/// A lab can be removed from inside, and the other processes in it end.
#[test]
fn a_lab_goes_from_within() {
    if !have_root() {
        return;
    }
    let name = Name::new("within");
    assert!(lab(&format!("up {name} 1 --far kernel")).status.success());
    let scan = format!("xm-{name}-scan");
    let mut other = tool("ip").args(["netns", "exec", &scan, "sleep", "1000"]).spawn().unwrap();
    let script = format!("'{PROGRAM}' down {name} && echo gone");
    let shell = tool("ip").args(["netns", "exec", &scan, "sh", "-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "gone\n", "{shell:?}");
    within_seconds(5, "the other process has ended", || other.try_wait().unwrap().is_some());
    within_seconds(5, "the lab is gone", || parts(&name).is_empty());
}

#[test]
fn a_killed_lab_leaves_nothing() {
    if !have_root() {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let name = Name::new(&format!("killed-{signal}"));
        // The command does not end by itself, and a process that it started continues.
        let mut lab = held(&name, "sleep 1000 & exec sleep 1000");
        assert_eq!(parts(&name).len(), 3, "{signal}");
        let pid = Pid::from_raw(lab.id().cast_signed());
        match signal {
            // As a terminal sends it.
            Signal::SIGINT => killpg(pid, signal).unwrap(),
            _ => kill(pid, signal).unwrap(),
        }
        lab.wait().unwrap();
        within_seconds(10, &format!("{signal}: the lab is gone"), || parts(&name).is_empty());
        let left = || processes(&format!("xdpmap-lab-{name}"));
        within_seconds(10, &format!("{signal}: no process is left"), || left().is_empty());
    }
}

/// A half-made lab is removed like a whole one.
#[test]
fn a_lab_that_is_killed_while_it_is_made_leaves_nothing() {
    if !have_root() {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let name = Name::new(&format!("half-{signal}"));
        // A lab is made quickly, and may be whole before the signal comes.
        let is_half = |_| {
            // If a script runs tests in the background, its children ignore SIGINT.
            let mut making =
                clean("env").args(["--default-signal", PROGRAM, "up", &name, "1"]).spawn().unwrap();
            within_seconds(30, "it has begun", || !parts(&name).is_empty());
            kill(Pid::from_raw(making.id().cast_signed()), signal).unwrap();
            let is_half = !making.wait().unwrap().success();
            if !is_half {
                assert!(lab(&format!("down {name}")).status.success());
            }
            within_seconds(10, &format!("{signal}: it is gone"), || parts(&name).is_empty());
            is_half
        };
        assert!((0..20).any(is_half), "{signal} came too late each time");
    }
}

/// As on a slow machine: the lab's program dies when only the folder exists, or while `ip netns add` runs and the
/// namespace does not exist yet.
#[test]
fn a_lab_that_is_killed_at_the_worst_moments_leaves_nothing() {
    if !have_root() {
        return;
    }
    for moment in ["folder", "namespace"] {
        let name = Name::new(&format!("worst-{moment}"));
        // `lab` creates its folder, and `ip netns add` that of all namespaces first. Both are held up there.
        let mut strace = tool("strace");
        strace.args(["-f", "-qq", "-e", "trace=mkdir", "-e", "inject=mkdir:delay_exit=1000000"]);
        let log = strace.args([PROGRAM, "up", &name, "1"]).stderr(Stdio::piped());
        let mut making = log.spawn().unwrap();
        let mut log = making.stderr.take().unwrap();
        let pid = || {
            let children = format!("/proc/{0}/task/{0}/children", making.id());
            let children = std::fs::read_to_string(children).unwrap();
            children.split_whitespace().next().map(|pid| Pid::from_raw(pid.parse().unwrap()))
        };
        within_seconds(30, "it has begun", || !parts(&name).is_empty());
        let lab = pid().unwrap();
        let adding = || processes(&format!("netns add xm-{name}-scan"));
        within_seconds(30, "it adds a namespace", || moment == "folder" || !adding().is_empty());
        assert_eq!(parts(&name), [PathBuf::from(format!("/run/xdpmap-lab-{name}"))], "{moment}");
        kill(lab, Signal::SIGKILL).unwrap();
        // strace ends when all that it follows has ended, the keeper too.
        let mut said = String::new();
        std::io::Read::read_to_string(&mut log, &mut said).unwrap();
        making.wait().unwrap();
        assert_eq!(parts(&name), Vec::<PathBuf>::new(), "{moment}: {said}");
    }
}

#[test]
fn a_lab_that_cannot_be_finished_leaves_nothing() {
    if !have_root() {
        return;
    }
    let name = Name::new("unfinished");
    for (options, complaint) in
        [("--far all:nowhere", "lab: ip: Error: "), ("--program /no/such/object", "lab: bpftool: ")]
    {
        let output = lab(&format!("up {name} {options}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with(complaint) && said.lines().count() == 1, "{said}");
        assert_eq!(parts(&name), Vec::<PathBuf>::new(), "{options}");
    }
    // Also after a panic.
    let folder = std::thread::spawn(|| -> PathBuf {
        let lab = Lab::new(1);
        let folder = lab.folder().to_owned();
        std::panic::resume_unwind(Box::new(folder))
    });
    let folder = folder.join().unwrap_err().downcast::<PathBuf>().unwrap();
    let test = folder.file_name().unwrap().to_string_lossy().into_owned();
    let namespaces = run("ip", ["netns", "list"]);
    assert!(!folder.exists() && !namespaces.contains(&test), "{namespaces}");
}

/// Runs the given command and returns its exit code; holds a lab as long as its input is open.
#[test]
fn commands_run_in_labs() {
    if !have_root() {
        return;
    }
    let name = Name::new("run");
    let output = lab(&format!("run {name} 3 --far silent -- cat /sys/class/net/scan0/address"));
    assert!(output.status.success() && output.stdout.len() == 18, "{output:?}");
    let output = clean(PROGRAM).args(["run", &name, "--far", "silent", "--", "sh", "-c", "exit 7"]).output();
    assert_eq!(output.unwrap().status.code(), Some(7));
    assert_eq!(parts(&name), Vec::<PathBuf>::new());

    let mut hold = clean(PROGRAM);
    hold.args(["hold", &name, "1", "--far", "all:10.0.0.0/8"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut hold = hold.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(hold.stdout.take().unwrap()), &mut line)
        .unwrap();
    let mac = lab::wires::mac(&format!("xm-{name}-net"), "net0");
    assert_eq!(
        line,
        format!(
            "scan=xm-{name}-scan scan_interface=scan0 source_ip=198.19.0.1 net=xm-{name}-net net_interface=net0 \
             gateway_ip=198.19.0.2 gateway_mac={mac} folder=/run/xdpmap-lab-{name}\n"
        )
    );
    let show = ["netns", "exec", &format!("xm-{name}-scan"), "ip", "-s", "neigh", "show", "198.19.0.2"]
        .map(str::to_owned);
    let neighbors = run("ip", show);
    assert!(neighbors.contains("PERMANENT"), "{neighbors}");
    drop(hold.stdin.take());
    assert!(hold.wait().unwrap().success());
    assert_eq!(parts(&name), Vec::<PathBuf>::new());
}

/// Every address of the network has a server and resets connections to other ports.
#[test]
fn all_of_a_network_answers() {
    if !have_root() {
        return;
    }
    let name = Name::new("all");
    let connect = |to: &str| {
        let command = ["run", &name, "1", "--far", "all:10.0.0.0/8", "--", "bash", "-c"];
        clean(PROGRAM).args(command).arg(format!("exec 3<>/dev/tcp/{to}")).output().unwrap()
    };
    for to in ["10.0.0.1/80", "10.255.255.254/80"] {
        let output = connect(to);
        assert!(output.status.success(), "{to}: {output:?}");
    }
    let refused = connect("10.0.0.1/81");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Connection refused"), "{refused:?}");
}

/// An XDP program receives the arriving packets; it is removed with the lab, and so are the pins of its maps.
#[test]
fn the_far_side_may_have_a_program() {
    if !have_root() {
        return;
    }
    let name = Name::new("program");
    let own = Lab::new(1);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scanner/tests/support/rival.bpf.c");
    let object = own.folder().join("rival.bpf.o");
    ebpf_build::compile(&source, &object).unwrap();
    let output = lab(&format!("up {name} 1 --far silent --program {}", object.display()));
    assert!(output.status.success(), "{output:?}");
    let net = format!("xm-{name}-net");
    assert!(run("ip", ["-n", &net, "link", "show", "dev", "net0"]).contains(" xdp "));
    let pins = format!("/run/xdpmap-lab-{name}/bpf");
    assert!(Path::new(&pins).join("program").exists());
    assert!(lab(&format!("down {name}")).status.success());
    assert_eq!(parts(&name), Vec::<PathBuf>::new());
    assert!(!std::fs::read_to_string("/proc/mounts").unwrap().contains(&pins));
}

/// The truth agrees with real TCP connections.
#[test]
fn the_truth_is_true() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let servers = HOSTS.listening_on(80);
    lab.start_nginx(&servers);
    let answers = HOSTS.answers(&servers);
    // Each server, and some of the others.
    let tried: Vec<(Ipv4Addr, Answer)> = answers
        .into_iter()
        .enumerate()
        .filter(|(i, (_, answer))| *answer == Answer::SynAck || i % 100 == 0)
        .map(|(_, answer)| answer)
        .collect();
    assert!(tried.len() > 600, "{}", tried.len());
    let asked = tried.clone();
    let found = lab.thread_in(&lab.scan, move || {
        let answer = |address: Ipv4Addr| match TcpStream::connect((address, 80)) {
            Ok(_) => Answer::SynAck,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{address}");
                Answer::Reset
            }
        };
        asked.into_iter().map(|(address, _)| (address, answer(address))).collect::<Vec<_>>()
    });
    assert_eq!(found.join().unwrap(), tried);
}

#[test]
fn the_truth_is_printed() {
    let output = lab("truth 80 8080 9");
    let text = String::from_utf8(output.stdout).unwrap();
    let count = |end: &str| text.lines().filter(|line| line.ends_with(end)).count();
    assert_eq!((count(",80,synack"), count(",8080,synack"), count(",9,synack")), (300, 40, 0));
    assert_eq!(count(",9,rst"), 32_768);
    assert!(text.starts_with("198.18.0.0,80,rst\n") && text.contains("\n198.18.0.3,8080,synack\n"));
}

#[test]
fn mistakes_are_named() {
    for (arguments, complaint) in [
        ("", "give a command"),
        ("sideways", "there is no command sideways"),
        ("up", "give the lab a name"),
        ("up ../etc", "cannot be a lab's name"),
        ("up x.y", "cannot be a lab's name"),
        ("up x many", "many is neither an option nor a number of queues"),
        ("up x 0", "0 is neither"),
        ("up x --far away", "--far away: use servers, kernel, silent or all:NETWORK"),
        ("up x --program", "--program needs a value"),
        ("up x -- true", "up does not run a command"),
        ("run x", "run: give the command after --"),
        ("down x y", "down: name one lab"),
        ("truth", "truth: give a port"),
        ("truth http", "truth: http is not a port"),
    ] {
        let output = lab(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(said.contains(complaint) && said.ends_with("; see --help\n"), "{arguments}: {said}");
    }
}
