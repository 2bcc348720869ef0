//! What arrives at the far side of a lab, as tcpdump and tshark see it.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::tools::tool;
use lab::{Lab, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::read;

/// KiB that frames wait in for tcpdump: those of a second, at the rates of these tests. The kernel allots and clears
/// all of it in one piece, in which nothing else runs on that processor: 64 MiB took half a second, and cost a scan its
/// replies.
const BUFFER_KIB: &str = "8192";

/// A tcpdump that runs.
pub struct Tcpdump {
    process: Child,
    file: PathBuf,
    log: PathBuf,
}

impl Tcpdump {
    /// Starts it on `interface` in the namespace `ns`, and waits until it captures what `filter` selects. The buffer
    /// has room for `bytes` of each frame, however short it is. `options` are further ones.
    pub fn start(lab: &Lab, ns: &str, interface: &str, bytes: u32, options: &[&str], filter: &str) -> Self {
        let file = lab.folder().join(format!("{ns}-{interface}.pcap"));
        let log = file.with_extension("log");
        let mut command = tool("ip");
        command.args(["netns", "exec", ns, "tcpdump", "-Z", "root", "-i", interface]).args(options);
        command.args(["-s", &bytes.to_string(), "-B", BUFFER_KIB, "--immediate-mode", "-U", "-w"]).arg(&file);
        let command = command.arg(filter).stderr(File::create(&log).unwrap()).stdin(Stdio::null());
        let process = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !read(&log).contains("listening on") {
            assert!(Instant::now() < deadline, "{}", read(&log));
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, file, log }
    }

    /// Ends it once it has what was under way. Returns its file, in which nothing is missing.
    pub fn end(mut self) -> PathBuf {
        std::thread::sleep(Duration::from_millis(300));
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGINT).unwrap();
        self.process.wait().unwrap();
        assert!(read(&self.log).contains("0 packets dropped by kernel"), "{}", read(&self.log));
        self.file
    }
}

/// What the far side saw of the scanner's TCP segments, as tshark reads them.
pub struct Capture {
    /// Address and port of each SYN.
    pub syns: Vec<(Ipv4Addr, u16)>,
    /// What tshark says of segments that are wrong.
    pub bad: Vec<String>,
}

/// Captures on the far side while `work` runs.
pub fn captured(lab: &mut Lab, work: impl FnOnce(&Lab)) -> Capture {
    let tcpdump = Tcpdump::start(lab, &lab.net, "net0", 96, &[], "tcp");
    work(lab);
    let file = tcpdump.end().to_string_lossy().into_owned();
    let fields = "-T fields -e ip.src -e ip.dst -e tcp.dstport -e tcp.flags -e ip.checksum.status -e tcp.checksum.status \
                  -e _ws.malformed -e _ws.expert.severity -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE";
    let text = run("tshark", ["-n", "-r", &file].into_iter().chain(fields.split_whitespace()));
    let mut capture = Capture { syns: vec![], bad: vec![] };
    for line in text.lines() {
        let column: Vec<&str> = line.split('\t').collect();
        if column[0] != "198.19.0.1" {
            continue;
        }
        let [good, malformed] = [column[4] == "1" && column[5] == "1", !column[6].is_empty()];
        if !good || malformed {
            capture.bad.push(line.to_owned());
        }
        if column[3] == "0x0002" {
            capture.syns.push((column[1].parse().unwrap(), column[2].parse().unwrap()));
        }
    }
    capture
}

/// A running capture of short frames.
pub struct Sniffer(Tcpdump);

impl Sniffer {
    /// Starts a capture of what arrives on `interface` in the namespace `ns`.
    pub fn start(lab: &Lab, ns: &str, interface: &str, filter: &str) -> Self {
        Self(Tcpdump::start(lab, ns, interface, 256, &["-Q", "in"], filter))
    }

    /// Ends it: these fields of each frame, as tshark reads them.
    pub fn end(self, fields: &[&str]) -> Vec<Vec<String>> {
        let file = self.0.end().to_string_lossy().into_owned();
        let fields = fields.iter().flat_map(|field| ["-e", field]);
        let text = run("tshark", ["-n", "-r", &file, "-T", "fields"].into_iter().chain(fields));
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }
}
