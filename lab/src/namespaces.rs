//! The lab itself: its namespaces, the wire between them, and the processes in it.

use std::ffi::OsStr;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns};
use nix::unistd::mkdtemp;

use crate::HOSTS;
use crate::keeper::Keeper;
use crate::tools::{Error, path_of, run, tool, try_path_of};
use crate::wires::try_mac;

/// What answers on the far side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Far {
    /// Nothing.
    Silent,
    /// The kernel, with resets from the lower half of [`HOSTS`]; packets to the upper half are lost.
    Kernel,
    /// The kernel, and nginx on the servers of [`HOSTS`].
    Servers,
    /// The kernel, from all addresses of a network, and nginx on port 80 of each. It answers a SYN to that port with
    /// a SYN cookie and keeps no state; it resets other ports.
    All(String),
}

/// The settings of a lab.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Queues of each end of the wire.
    pub queues: u32,
    /// What answers on the far side.
    pub far: Far,
    /// An object file whose XDP program receives the packets that arrive at the far side. Program and maps are pinned
    /// in the directory `bpf` of the lab's directory, the program as `program`.
    pub program: Option<PathBuf>,
}

/// An end of the wire.
struct End {
    device: &'static str,
    address: &'static str,
}

/// The end of the side that scans, and that of its gateway.
const SCAN: End = End { device: "scan0", address: "198.19.0.1" };
const NET: End = End { device: "net0", address: "198.19.0.2" };

/// Two namespaces and a veth pair.
pub struct Lab {
    /// The namespace that scans.
    pub scan: String,
    /// The namespace that answers.
    pub net: String,
    folder: PathBuf,
    children: Vec<Child>,
    keeper: Keeper,
}

impl Lab {
    /// A lab for a test, whose kernel answers. Panics if it cannot be made.
    #[track_caller]
    pub fn new(queues: u32) -> Self {
        let folder = mkdtemp(&std::env::temp_dir().join("xm-XXXXXX")).expect("a folder for the lab");
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let settings = Settings { queues, far: Far::Kernel, program: None };
        Self::make(&name, folder, &settings).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The lab that users call `name`. It replaces an earlier one of that name.
    pub fn named(name: &str, settings: &Settings) -> Result<Self, Error> {
        Self::remove(name)?;
        Self::make(&format!("xm-{name}"), folder_of(name), settings)
    }

    /// Removes the lab that users call `name` with all processes in it, if it exists.
    pub fn remove(name: &str) -> Result<(), Error> {
        let [scan, net] = sides(&format!("xm-{name}"));
        if Keeper::start(&folder_of(name), &[&scan, &net])?.end() {
            return Ok(());
        }
        Err(Error::Failed(format!("lab {name}"), "something of it is left".to_owned()))
    }

    /// Keeps the lab when this process ends, until [`Self::remove`].
    pub fn leave(mut self) -> Result<(), Error> {
        self.keeper.leave()
    }

    fn make(name: &str, folder: PathBuf, settings: &Settings) -> Result<Self, Error> {
        let [scan, net] = sides(name);
        // From here on, a failure removes what has been made so far.
        let keeper = Keeper::start(&folder, &[&scan, &net])?;
        let mut lab = Self { scan, net, folder, children: vec![], keeper };
        std::fs::create_dir_all(&lab.folder)
            .map_err(|error| Error::io(lab.folder.display().to_string(), error))?;
        for namespace in [&lab.scan, &lab.net] {
            lab.keeper.run("ip", ["netns", "add", namespace], "")?;
        }
        lab.join(settings.queues)?;
        lab.answer_as(&settings.far)?;
        if let Some(object) = &settings.program {
            lab.attach(object)?;
        }
        Ok(lab)
    }

    /// Creates the wire between the sides.
    fn join(&self, queues: u32) -> Result<(), Error> {
        let (scan, net) = (&self.scan, &self.net);
        let queues = format!("numrxqueues {queues} numtxqueues {queues}");
        let [near, far] = [SCAN, NET].map(|end| end.device);
        let link =
            format!("link add {near} netns {scan} {queues} type veth peer name {far} netns {net} {queues}\n");
        self.keeper.run("ip", ["-batch", "-"], &link)?;
        for (namespace, End { device, address }) in [(scan, SCAN), (net, NET)] {
            // IPv6 would send packets on its own initiative.
            self.try_in_ns(namespace, "sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"])?;
            let address = format!("addr add {address}/30 dev {device}\n");
            self.ip(namespace, &format!("{address}link set lo up\nlink set {device} up\n"))?;
        }
        self.ip(scan, &format!("route add default via {}\n", NET.address))
    }

    /// Configures the addresses of the far side.
    fn answer_as(&mut self, far: &Far) -> Result<(), Error> {
        if *far == Far::Silent {
            return Ok(());
        }
        // Otherwise SYN-ACKs leave without a TCP checksum: the kernel leaves it to an offload that a veth does not
        // have.
        self.try_in_ns(&self.net, "ethtool", &["-K", NET.device, "tx", "off"])?;
        match far {
            Far::Silent => {}
            Far::Kernel | Far::Servers => {
                let lower = "route add local 198.18.0.0/17 dev lo\n";
                self.ip(&self.net, &format!("{lower}route add blackhole 198.18.128.0/17\n"))?;
                if *far == Far::Servers {
                    let ports = [80, 8080];
                    let on = |port| HOSTS.listening_on(port).into_iter().map(move |address| (address, port));
                    self.serve(&ports.into_iter().flat_map(on).collect::<Vec<_>>())?;
                }
            }
            Far::All(network) => {
                self.ip(&self.net, &format!("route add local {network} dev lo\n"))?;
                self.try_in_ns(&self.net, "sysctl", &["-qw", "net.ipv4.tcp_syncookies=2"])?;
                // The ends know each other's MAC addresses, so that no probe waits for ARP.
                let [scan, net] = [try_mac(&self.scan, SCAN.device)?, try_mac(&self.net, NET.device)?];
                let neighbor = |end: End, mac: &str, device: &str| {
                    format!("neigh replace {} lladdr {mac} dev {device}\n", end.address)
                };
                self.ip(&self.net, &neighbor(SCAN, &scan, NET.device))?;
                self.ip(&self.scan, &neighbor(NET, &net, SCAN.device))?;
                self.serve(&[(Ipv4Addr::UNSPECIFIED, 80)])?;
            }
        }
        Ok(())
    }

    /// Attaches the XDP program of an object to the far end of the wire.
    fn attach(&self, object: &Path) -> Result<(), Error> {
        let pins = self.folder.join("bpf");
        std::fs::create_dir(&pins).map_err(|error| Error::io(pins.display().to_string(), error))?;
        let [object, pins] = [object, &pins].map(|path| path.display().to_string());
        let program = format!("{pins}/program");
        // A separate file system: programs and maps disappear when it is unmounted.
        self.keeper.run("mount", ["-t", "bpf", "bpf", &pins], "")?;
        let load = ["prog", "load", &object, &program, "type", "xdp", "pinmaps", &pins];
        self.keeper.run("bpftool", load, "")?;
        // With nsenter, because `ip netns exec` would hide that file system.
        let namespace = format!("--net=/run/netns/{}", self.net);
        let bpftool = try_path_of("bpftool")?.display().to_string();
        let attach = [&bpftool, "net", "attach", "xdpdrv", "pinned", &program, "dev", NET.device];
        self.keeper.run("nsenter", [&namespace[..]].into_iter().chain(attach), "").map(drop)
    }

    /// Runs lines of `ip -batch` in a namespace, which make a part of the lab.
    pub(crate) fn ip(&self, namespace: &str, lines: &str) -> Result<(), Error> {
        self.keeper.run("ip", ["-n", namespace, "-batch", "-"], lines).map(drop)
    }

    /// Runs a command in a namespace; it must succeed.
    pub(crate) fn try_in_ns(&self, namespace: &str, program: &str, arguments: &[&str]) -> Result<(), Error> {
        let program = try_path_of(program)?.display().to_string();
        let words = ["netns", "exec", namespace, &program];
        self.keeper.run("ip", words.iter().chain(arguments), "").map(drop)
    }

    /// What another program has to know of the lab, in words of the form NAME=VALUE.
    pub fn described(&self) -> Result<String, Error> {
        let mac = try_mac(&self.net, NET.device)?;
        Ok([
            format!("scan={} scan_interface={} source_ip={}", self.scan, SCAN.device, SCAN.address),
            format!("net={} net_interface={} gateway_ip={}", self.net, NET.device, NET.address),
            format!("gateway_mac={mac} folder={}", self.folder.display()),
        ]
        .join(" "))
    }

    /// A folder that is removed with the lab.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates a further namespace, which is removed with the lab.
    #[track_caller]
    pub fn add_namespace(&mut self, name: &str) {
        let added = self.keeper.add(name).and_then(|()| self.keeper.run("ip", ["netns", "add", name], ""));
        added.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs a command in a namespace; it must succeed. Returns its output.
    #[track_caller]
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

    /// As [`Self::in_ns`], for a program that may fail.
    #[track_caller]
    pub fn output_in_ns<S: AsRef<OsStr>>(
        &self,
        ns: &str,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Output {
        self.command_in_ns(ns, program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"))
    }

    /// A program of [`crate::tools::TOOLS`] that will run in a namespace.
    #[track_caller]
    pub fn command_in_ns(&self, ns: &str, program: &str) -> Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", ns]).arg(path_of(program));
        command
    }

    /// Starts a command in a namespace; it ends with the lab.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(
        &mut self,
        ns: &str,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) {
        let mut command = self.command_in_ns(ns, program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.children.push(command.spawn().unwrap_or_else(|e| panic!("{program}: {e}")));
    }

    /// Runs `work` on a thread inside a namespace: sockets it opens belong there.
    pub fn thread_in<T: Send + 'static>(
        &self,
        ns: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let ns = File::open(Path::new("/run/netns").join(ns)).expect("the namespace");
        std::thread::spawn(move || {
            setns(&ns, CloneFlags::CLONE_NEWNET).expect("a thread in the namespace");
            work()
        })
    }

    /// Makes the kernel of the far side send an ICMP error for each packet that causes one, without counting any kind
    /// of error. Limits, however high, would not do. The kernel fills its count at the first error, and if two
    /// processors send one at the same moment, the second finds it empty (`IcmpOutRateLimitGlobal`).
    pub fn send_all_icmp_errors(&self) {
        self.in_ns(&self.net, "sysctl", ["-qw", "net.ipv4.icmp_ratemask=0"]);
    }

    /// Whether an XDP program is attached to the scanning interface.
    pub fn has_xdp(&self) -> bool {
        run("ip", ["-n", &self.scan, "link", "show", "dev", "scan0"]).contains("xdp")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.keeper.end();
        for child in &mut self.children {
            // The keeper has ended it.
            let _ = child.wait();
        }
    }
}

/// The namespaces of a lab.
fn sides(name: &str) -> [String; 2] {
    ["scan", "net"].map(|side| format!("{name}-{side}"))
}

/// The directory of a lab. The lab's name must have no dot, because libbpf refuses dots in the path of a pinned map.
fn folder_of(name: &str) -> PathBuf {
    PathBuf::from(format!("/run/xdpmap-lab-{name}"))
}
