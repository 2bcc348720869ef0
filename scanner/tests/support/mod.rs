//! A lab for tests: two network namespaces and a veth pair, torn down when it goes, also on a panic. Beside it what else
//! tests share: how programs and the scanner are started, captures, truths.
//!
//! One side (`scan`) runs xdpmap; the other (`net`) answers for 198.18.0.0/16: its kernel resets what no server
//! listens on in 198.18.0.0/17, stays silent for 198.18.128.0/17, and servers may be started on any of it. No packet
//! can leave the machine: neither namespace has any other interface.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of the lab")]

pub mod capture;
pub mod lan;
pub mod live;
pub mod network;
pub mod redis;
pub mod running;
pub mod sandbox;
pub mod scanner;
pub mod seccomp;
pub mod tools;
pub mod truth;
pub mod tunnel;
pub mod wires;
pub mod zmap;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, Permissions, set_permissions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tools::{path_of, tool};

/// Whether the calling test, which needs root, can run. Where `XDPMAP_REQUIRE_ROOT` is set to anything, it fails without root;
/// elsewhere it says loudly that it is skipped. The variable means nothing else.
pub fn have_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let test = std::thread::current().name().unwrap_or("this test").to_owned();
    assert!(std::env::var_os("XDPMAP_REQUIRE_ROOT").is_none(), "{test} needs root");
    // Past the harness, which hides what `eprintln!` says in a test that passes.
    writeln!(std::io::stderr(), "SKIPPED {test}: it needs root; ./scripts/test.sh runs it").expect("stderr");
    false
}

/// What a scan printed, wrote and counted.
pub struct Scanned {
    pub output: Output,
    pub results: String,
    pub metadata: serde_json::Value,
}

impl Scanned {
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// A number in the metadata, by its path.
    pub fn number(&self, pointer: &str) -> u64 {
        self.metadata
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("no number {pointer} in {}\n{}", self.metadata, self.stderr()))
    }

    /// The results' lines but for the header.
    pub fn lines(&self) -> BTreeSet<String> {
        self.results.lines().skip(1).map(str::to_owned).collect()
    }
}

/// Two namespaces and a veth pair.
pub struct Lab {
    pub scan: String,
    pub net: String,
    pub folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Lab {
    /// A lab whose veth pair has this many queues.
    pub fn new(queues: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("xm{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let lab = Self {
            scan: format!("{name}-scan"),
            net: format!("{name}-net"),
            folder: tempfile::tempdir().unwrap(),
            children: vec![],
        };
        let q = queues.to_string();
        run("ip", ["netns", "add", &lab.scan]);
        run("ip", ["netns", "add", &lab.net]);
        let mut link = vec!["link", "add", "scan0", "netns", &lab.scan, "numrxqueues", &q, "numtxqueues", &q];
        link.extend(["type", "veth", "peer", "name", "net0", "netns", &lab.net]);
        link.extend(["numrxqueues", &q, "numtxqueues", &q]);
        run("ip", link);
        for (ns, device, address) in
            [(&lab.scan, "scan0", "198.19.0.1/30"), (&lab.net, "net0", "198.19.0.2/30")]
        {
            lab.in_ns(ns, "sysctl", ["-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
            run("ip", ["-n", ns, "addr", "add", address, "dev", device]);
            run("ip", ["-n", ns, "link", "set", "lo", "up"]);
            run("ip", ["-n", ns, "link", "set", device, "up"]);
        }
        run("ip", ["-n", &lab.scan, "route", "add", "default", "via", "198.19.0.2"]);
        run("ip", ["-n", &lab.net, "route", "add", "local", "198.18.0.0/17", "dev", "lo"]);
        run("ip", ["-n", &lab.net, "route", "add", "blackhole", "198.18.128.0/17"]);
        // Without this the kernel leaves SYN-ACKs' TCP checksums to an offload that a veth does not have.
        lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "tx", "off"]);
        lab
    }

    /// Runs a command in a namespace; it must succeed.
    pub fn in_ns<S: AsRef<OsStr>>(
        &self,
        ns: &str,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> String {
        let output = self.output_in_ns(ns, program, arguments);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// As `in_ns`, for a program that may fail.
    pub fn output_in_ns<S: AsRef<OsStr>>(
        &self,
        ns: &str,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Output {
        self.command_in_ns(ns, program).args(arguments).output().unwrap()
    }

    /// A program of [`tools::TOOLS`], to be run in a namespace.
    pub fn command_in_ns(&self, ns: &str, program: &str) -> Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", ns]).arg(path_of(program));
        command
    }

    /// Has the kernel of the far side send an ICMP error for each packet that deserves one: no kind of error is counted.
    /// Limits, however high, would not do. The kernel fills its count at the first error, and of two processors that send
    /// one at the same moment the other finds it empty (`IcmpOutRateLimitGlobal`).
    pub fn send_all_icmp_errors(&self) {
        self.in_ns(&self.net, "sysctl", ["-qw", "net.ipv4.icmp_ratemask=0"]);
    }

    /// Starts a command in a namespace; it is ended with the lab.
    pub fn start<S: AsRef<OsStr>>(
        &mut self,
        ns: &str,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) {
        let mut command = self.command_in_ns(ns, program);
        command.args(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children.push(child.unwrap());
    }

    /// Starts a real nginx on port 80 of 198.18.x.y for each address given, and waits until it answers.
    pub fn start_nginx(&mut self, addresses: &[Ipv4Addr]) {
        let folder = self.folder.path().join("nginx");
        std::fs::create_dir_all(&folder).unwrap();
        let mut config = File::create(folder.join("nginx.conf")).unwrap();
        let root = folder.display();
        writeln!(config, "worker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log;\ndaemon off;")
            .unwrap();
        writeln!(config, "events {{ worker_connections 4096; }}\nhttp {{ access_log off; server {{").unwrap();
        for address in addresses {
            run("ip", ["-n", &self.net, "route", "replace", "local", &format!("{address}/32"), "dev", "lo"]);
            writeln!(config, "listen {address}:80;").unwrap();
        }
        writeln!(config, "return 200; }} }}").unwrap();
        drop(config);
        let arguments = ["-p".into(), folder.clone(), "-c".into(), folder.join("nginx.conf")];
        let net = self.net.clone();
        self.start(&net, "nginx", arguments);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.in_ns(&net, "ss", ["-Hltn"]).contains(&format!("{}:80", addresses[addresses.len() - 1])) {
            let log = std::fs::read_to_string(folder.join("error.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nginx does not listen: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What runs the command behind it on the scanning side, shielded as the scanner has to be.
    pub fn shielded(&self) -> Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.scan]).args(scanner::shield(None));
        command
    }

    /// A command that runs xdpmap on the lab's interface.
    pub fn xdpmap(&self, arguments: &str) -> Command {
        self.xdpmap_on("scan0", arguments)
    }

    /// A command that runs xdpmap on an interface of the scanning side.
    pub fn xdpmap_on(&self, interface: &str, arguments: &str) -> Command {
        let mut command = self.shielded();
        command.args([scanner::BINARY, "-i", interface, "--allow-reserved"]);
        command.args(arguments.split_whitespace());
        command
    }

    /// What runs a program of the scanning side as `nobody`; `setpriv` are further arguments of setpriv(1), and programs
    /// that it is to go through.
    pub fn as_nobody(&self, setpriv: &[&str]) -> Command {
        let mut command = self.shielded();
        command.args(["setpriv", "--reuid=65534", "--regid=65534"]);
        command.arg("--clear-groups").args(setpriv);
        command
    }

    /// Runs a scan to its end: results to a file, metadata beside it.
    pub fn survey(&self, arguments: &str) -> Scanned {
        self.survey_on("scan0", arguments)
    }

    /// The same through an interface of the scanning side.
    pub fn survey_on(&self, interface: &str, arguments: &str) -> Scanned {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| self.folder.path().join(format!("{kind}-{number}"));
        let (results, metadata) = (file("results"), file("metadata"));
        let output = self
            .xdpmap_on(interface, arguments)
            .arg("-o")
            .arg(&results)
            .arg("-m")
            .arg(&metadata)
            .output()
            .unwrap();
        Scanned {
            results: read(&results),
            metadata: serde_json::from_str(&read(&metadata)).unwrap_or_default(),
            output,
        }
    }

    /// Runs `work` on a thread inside a namespace: sockets it opens belong there.
    pub fn thread_in<T: Send + 'static>(
        &self,
        ns: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let ns = File::open(Path::new("/var/run/netns").join(ns)).unwrap();
        std::thread::spawn(move || {
            nix::sched::setns(&ns, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }

    /// Whether an XDP program is attached to the scanning interface.
    pub fn has_xdp(&self) -> bool {
        run("ip", ["-n", &self.scan, "link", "show", "dev", "scan0"]).contains("xdp")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            // SIGTERM first, so that a server takes its own workers with it.
            let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(3);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        for ns in [&self.scan, &self.net] {
            let _ = tool("ip").args(["netns", "del", ns]).output();
        }
    }
}

/// A copy of the program that `nobody` may run, in a folder where `nobody` may write.
pub fn program_for_nobody(folder: &Path) -> PathBuf {
    set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    let program = folder.join("xdpmap");
    if !program.exists() {
        std::fs::copy(scanner::BINARY, &program).unwrap();
        set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    }
    program
}

/// Runs a command that must succeed; what it printed.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> String {
    let output = tool(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
