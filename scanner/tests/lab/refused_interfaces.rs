//! Interfaces and privileges that are unavailable, and what a scan prints then.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lab::{Lab, have_root, run};
use support::Scans as _;
use support::network::Socket;
use support::sandbox::{Sandbox, refusal};
use support::scanner::binary;
use support::scanner::program_for_nobody;
use support::seccomp::{Refused, run_without};

/// The program, in the scanning namespace of a lab, on its interface or the one that `-i` names.
fn scan(lab: &Lab) -> Command {
    let mut command = fresh(lab);
    command.args(["-o", "old.csv", "-m", "old.json"]);
    command
}

const TARGETS: &str = "198.18.0.0/24";

/// Each state of the network that makes a scan impossible, with the words of the error and the way to that state.
#[test]
fn networks_that_cannot_be_scanned() {
    if !have_root() {
        return;
    }
    let sandbox = Sandbox::new();
    for (arguments, spoil, words) in [
        ("-i nonesuch", &[][..], &["--interface", "'nonesuch'", "there is", "scan0"][..]),
        ("-i lo", &[], &["lo:", "leads back to this host", "name another interface with -i"]),
        (
            "-i lo --io-mode packet",
            &[],
            &["lo:", "leads back to this host", "name another interface with -i"],
        ),
        (
            "-i scan0 --busy-poll --io-mode generic",
            &[],
            &["scan0: --busy-poll:", "no driver's queue to poll", "leave the flag out"],
        ),
        ("-i scan0 -X", &[], &["scan0:", "Ethernet header", "--iplayer", "leave the flag out"]),
        ("-i scan0 --steer", &[], &["scan0: --steer", "no RSS indirection table", "leave the flag out"]),
        ("-i scan0", &["link set scan0 down"], &["scan0: the interface is down", "ip link set dev scan0 up"]),
        ("-i scan0", &["net0 down"], &["scan0:", "no carrier", "cable"]),
        ("-i scan0", &["addr flush dev scan0"], &["scan0:", "no IPv4 address", "--source-ip"]),
        ("", &["route del default"], &["no default route", "--interface"]),
        (
            "-i scan0",
            &["route del default"],
            &["scan0:", "no route through it to 198.18.0.0", "--gateway-mac"],
        ),
        (
            "-i scan0 --io-mode zerocopy",
            &[],
            &[
                "scan0:",
                "queue 0",
                "ZeroCopy",
                "veth does not report zero-copy to the kernel",
                "--io-mode auto",
            ],
        ),
    ] {
        let lab = Lab::new(1);
        for change in spoil {
            match *change {
                "net0 down" => run("ip", ["-n", &lab.net, "link", "set", "net0", "down"]),
                change => run("ip", ["-n", &lab.scan].into_iter().chain(change.split(' '))),
            };
        }
        sandbox.refuses(&mut scan(&lab), &format!("{arguments} {TARGETS}"), 4, words);
        assert!(!lab.has_xdp(), "{arguments}");
    }
}

/// A gateway that does not answer is named, without a long wait.
#[test]
fn a_silent_gateway_is_given_up() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    run("ip", ["-n", &lab.scan, "addr", "add", "198.19.1.1/24", "dev", "scan0"]);
    run("ip", ["-n", &lab.scan, "route", "replace", "default", "via", "198.19.1.77"]);
    let started = Instant::now();
    let words = ["scan0:", "198.19.1.77", "does not answer ARP", "--gateway-mac"];
    Sandbox::new().refuses(&mut scan(&lab), &format!("-i scan0 {TARGETS}"), 4, &words);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

/// An AF_XDP socket of another program on one queue: the scan names the queue, and leaves no program and no file
/// behind.
#[test]
fn a_queue_that_is_taken() {
    if !have_root() {
        return;
    }
    let sandbox = Sandbox::new();
    for queue in [0, 1] {
        let lab = Lab::new(2);
        let (bound, is_bound) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let holder = lab.thread_in(&lab.scan, move || {
            let socket = Socket::bind(nix::net::if_::if_nametoindex("scan0").unwrap(), queue);
            bound.send(()).unwrap();
            // Until the test ends, even by a panic.
            let _ = ended.recv();
            drop(socket);
        });
        is_bound.recv_timeout(Duration::from_secs(10)).unwrap();
        let queue = format!("queue {queue}");
        let words = ["scan0:", &queue, "another AF_XDP socket holds this queue", "--io-mode packet"];
        sandbox.refuses(&mut scan(&lab), &format!("-i scan0 {TARGETS}"), 4, &words);
        let arguments = format!("-i scan0 -o new.csv -m new.json {TARGETS}");
        sandbox.refuses(&mut fresh(&lab), &arguments, 4, &words);
        assert!(!lab.has_xdp());
        drop(end);
        holder.join().unwrap();
        let output = sandbox.run(&mut fresh(&lab), &format!("-i scan0 -c 0 {TARGETS}"));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Each step of setting up an AF_XDP socket that the kernel refuses is named, with its reason and the remedy.
#[test]
fn a_socket_that_is_refused() {
    if !have_root() {
        return;
    }
    /// The offset that stands for the TX ring, in the half that the filter looks at.
    const TX_RING: u64 = 0x8000_0000;
    let lab = Lab::new(1);
    let option = |number: libc::c_int| vec![(1, libc::SOL_XDP as u64), (2, number as u64)];
    let (no_memory, memory) = ("Cannot allocate memory", "not enough memory");
    for (call, arguments, errno, code, step, reason, remedy) in [
        (
            libc::SYS_socket,
            vec![(0, libc::AF_XDP as u64)],
            libc::EPERM,
            3,
            "opening an AF_XDP socket: ",
            "Operation not permitted",
            "a seccomp filter is active",
        ),
        (
            libc::SYS_setsockopt,
            option(libc::XDP_UMEM_REG),
            libc::ENOBUFS,
            4,
            "bytes of UMEM: ",
            "No buffer space available",
            memory,
        ),
        (
            libc::SYS_setsockopt,
            option(libc::XDP_TX_RING),
            libc::ENOMEM,
            4,
            "setting up the rings of an AF_XDP socket: ",
            no_memory,
            memory,
        ),
        (
            libc::SYS_mmap,
            vec![(5, TX_RING)],
            libc::ENOMEM,
            4,
            "setting up the rings of an AF_XDP socket: ",
            no_memory,
            memory,
        ),
    ] {
        let refused = Refused { call, arguments, errno };
        let output = run_without(&lab, &refused, "-p 80 -n 10 -c 0 -q --io-mode copy 198.18.0.0/17");
        let line = refusal(&output);
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!([step, reason, remedy].iter().all(|words| line.contains(words)), "{line}");
        assert!(!lab.has_xdp());
    }
}

/// The command that the error gives for removing another program works as printed, in each mode; the scan works then.
#[test]
fn the_way_out_works_as_printed() {
    if !have_root() {
        return;
    }
    let (sandbox, lab) = (Sandbox::new(), Lab::new(2));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/rival.bpf.c");
    let object = lab.folder().join("rival.bpf.o");
    ebpf_build::compile(&source, &object).unwrap();
    for mode in ["xdpdrv", "xdpgeneric"] {
        let object = object.to_str().unwrap();
        lab.in_ns(&lab.scan, "ip", ["link", "set", "dev", "scan0", mode, "obj", object, "sec", "xdp"]);
        let arguments = format!("-i scan0 -c 0 {TARGETS}");
        let refused = sandbox.run(&mut fresh(&lab), &arguments);
        assert_eq!(refused.status.code(), Some(4), "{mode}");
        let line = refusal(&refused);
        let command = line.split('`').find_map(|part| part.strip_prefix("ip ")).unwrap();
        lab.in_ns(&lab.scan, "ip", command.split(' '));
        let output = sandbox.run(&mut fresh(&lab), &arguments);
        assert_eq!(output.status.code(), Some(0), "{mode}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A limit on open files that is too low is named before anything fails because of it; one that can be raised is
/// raised.
#[test]
fn the_limit_on_open_files_is_named() {
    if !have_root() {
        return;
    }
    let (sandbox, lab) = (Sandbox::new(), Lab::new(2));
    let limited = |soft: u32, hard: u32| {
        let mut command = lab.shielded();
        command.args(["prlimit", &format!("--nofile={soft}:{hard}")]);
        command.args([binary(), "-p", "80", "-n", "3", "--allow-reserved"]);
        command
    };
    let arguments = format!("-i scan0 -c 0 {TARGETS}");
    for limit in [8, 10, 12, 14, 16, 18] {
        let words =
            ["of 2 queues", &format!("the limit on open files, which is {limit}, with `ulimit -n 1024`")];
        sandbox.refuses(&mut limited(limit, limit), &format!("{arguments} -o new.csv"), 1, &words);
        assert!(!lab.has_xdp());
    }
    let output = sandbox.run(&mut limited(8, 100), &arguments);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("AF_XDP, copy"), "{log}");
}

/// As [`scan`], without the files.
fn fresh(lab: &Lab) -> Command {
    let mut command = lab.shielded();
    command.args([binary(), "-p", "80", "-n", "3", "--allow-reserved"]);
    command
}

/// The program as `nobody` may run it, in a folder where `nobody` may write.
fn for_nobody(sandbox: &Sandbox) -> PathBuf {
    for name in ["old.csv", "old.json"] {
        set_permissions(sandbox.path().join(name), Permissions::from_mode(0o666)).unwrap();
    }
    program_for_nobody(sandbox.path())
}

fn as_nobody(lab: &Lab, program: &Path) -> Command {
    let mut command = lab.as_nobody(&[]);
    command.arg(program).args(["-p", "80", "-n", "3", "--allow-reserved", "-i", "scan0"]);
    command
}

/// Without privileges a scan says which ones it needs; a dry run needs none.
#[test]
fn without_privileges() {
    if !have_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let program = for_nobody(&sandbox);
    let lab = Lab::new(1);
    let files = "-o old.csv -m old.json";
    run("ip", ["-n", &lab.scan, "neigh", "flush", "dev", "scan0"]);
    let unknown = ["scan0:", "198.19.0.2", "needs root", "NET_ADMIN", "--gateway-mac"];
    sandbox.refuses(&mut as_nobody(&lab, &program), &format!("{files} {TARGETS}"), 3, &unknown);
    let privileges =
        ["scan0:", "Operation not permitted", "run as root", "CAP_NET_ADMIN (", "CAP_BPF (", "setcap"];
    let gateway = "-G 02:00:00:00:00:01";
    for files in [files, "-o new.csv -m new.json"] {
        sandbox.refuses(
            &mut as_nobody(&lab, &program),
            &format!("{gateway} {files} {TARGETS}"),
            3,
            &privileges,
        );
    }
    assert!(!lab.has_xdp());

    set_permissions(sandbox.path().join("good.conf"), Permissions::from_mode(0o600)).unwrap();
    for flag in ["-b", "-w"] {
        let words = ["good.conf", "Permission denied", "check the path and its permissions"];
        sandbox.refuses(&mut as_nobody(&lab, &program), &format!("{files} {flag} good.conf"), 2, &words);
    }
    set_permissions(sandbox.path().join("old.csv"), Permissions::from_mode(0o644)).unwrap();
    let words = ["--output-file", "old.csv", "Permission denied", "directory you may write to"];
    sandbox.refuses(&mut as_nobody(&lab, &program), &format!("{gateway} {files} {TARGETS}"), 2, &words);

    let output = sandbox.run(&mut as_nobody(&lab, &program), &format!("-d -q {TARGETS}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("saddr: 198.19.0.1 | daddr: 198.18.0.").count(), 3, "{text}");
}

/// Results go to standard output and everything else to standard error; `-q` and `-v` leave out what they should.
#[test]
fn standard_output_is_for_results() {
    if !have_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let lab = Lab::new(1);
    for (arguments, status, log) in
        [("-q -v 0", false, false), ("-v 0", true, false), ("-q", false, true), ("-o -", true, true)]
    {
        let arguments = format!("-i scan0 -c 1 -f saddr,classification {arguments} {TARGETS}");
        let output = sandbox.run(&mut fresh(&lab), &arguments);
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let mut lines = stdout.lines();
        assert_eq!(lines.next(), Some("saddr,classification"));
        assert!(
            lines.clone().all(|line| line.starts_with("198.18.0.") && line.ends_with(",rst")),
            "{stdout}"
        );
        assert_eq!(lines.count(), 3, "{stdout}");
        assert_eq!(stderr.contains("send: "), status, "{arguments}: {stderr}");
        assert_eq!(stderr.contains("[INFO]"), log, "{arguments}: {stderr}");
        assert_eq!(stderr.is_empty(), !status && !log, "{arguments}: {stderr}");
    }
}

/// The results of an earlier scan are replaced only by those of a scan that has begun.
#[test]
fn a_scan_that_began_replaces_its_files() {
    if !have_root() {
        return;
    }
    let (sandbox, lab) = (Sandbox::new(), Lab::new(1));
    let output = sandbox.run(&mut scan(&lab), &format!("-i scan0 -c 1 -q -v 0 -f saddr {TARGETS}"));
    assert_eq!((output.status.code(), output.stderr.len(), output.stdout.len()), (Some(0), 0, 0));
    let files = sandbox.files();
    assert_eq!(files["old.csv"].lines().count(), 4, "{}", files["old.csv"]);
    assert!(files["old.json"].contains("\"exit_code\":0"), "{}", files["old.json"]);
    // And its checkpoint, which says that nothing is left to do.
    assert!(files["old.csv.xdpmap"].contains("\"finished\""), "{}", files["old.csv.xdpmap"]);
    assert!(files.len() == Sandbox::new().files().len() + 1, "{:?}", files.keys());

    let full =
        sandbox.run(&mut fresh(&lab), &format!("-i scan0 -c 1 -q -v 0 -f saddr -o /dev/full {TARGETS}"));
    assert!(refusal(&full).contains("/dev/full") && full.status.code() == Some(1), "{full:?}");
}
