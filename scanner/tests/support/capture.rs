//! What arrives at the far side of a lab, as tcpdump and tshark see it.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::tools::tool;
use super::{Lab, read, run};

/// What one side of the wire saw: every TCP segment, as tshark reads it.
pub struct Capture {
    /// (address, port, source port, IP checksum good, TCP checksum good, malformed), for SYNs.
    pub syns: Vec<(Ipv4Addr, u16)>,
    pub bad: Vec<String>,
}

/// Captures on the far side while `work` runs.
pub fn captured(lab: &mut Lab, work: impl FnOnce(&Lab)) -> Capture {
    let file = lab.folder.path().join("capture");
    let log = lab.folder.path().join("capture.log");
    let mut command = tool("ip");
    command.args([
        "netns",
        "exec",
        &lab.net,
        "tcpdump",
        "-i",
        "net0",
        "-Z",
        "root",
        "-s",
        "96",
        "-B",
        "65536",
        "--immediate-mode",
    ]);
    command.args(["-U", "-w"]).arg(&file).arg("tcp").stderr(File::create(&log).unwrap());
    let mut tcpdump = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !read(&log).contains("listening on") {
        assert!(Instant::now() < deadline, "{}", read(&log));
        std::thread::sleep(Duration::from_millis(20));
    }
    work(lab);
    std::thread::sleep(Duration::from_millis(300));
    kill(Pid::from_raw(tcpdump.id().cast_signed()), Signal::SIGINT).unwrap();
    tcpdump.wait().unwrap();
    assert!(read(&log).contains("0 packets dropped by kernel"), "{}", read(&log));
    let fields = "-T fields -e ip.src -e ip.dst -e tcp.dstport -e tcp.flags -e ip.checksum.status -e tcp.checksum.status \
                  -e _ws.malformed -e _ws.expert.severity -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE";
    let file = file.to_string_lossy().into_owned();
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

/// A running capture.
pub struct Sniffer {
    tcpdump: Child,
    file: PathBuf,
    log: PathBuf,
}

impl Sniffer {
    /// Starts a capture of what arrives on `interface` in the namespace `ns`.
    pub fn start(lab: &Lab, ns: &str, interface: &str, filter: &str) -> Self {
        let file = lab.folder.path().join(format!("{ns}-{interface}.pcap"));
        let log = file.with_extension("log");
        let mut command = tool("ip");
        command.args(["netns", "exec", ns, "tcpdump", "-Z", "root", "-i", interface, "-Q", "in"]);
        command.args(["-B", "65536", "--immediate-mode", "-U", "-w"]).arg(&file).arg(filter);
        let tcpdump = command.stderr(File::create(&log).unwrap()).stdin(Stdio::null());
        let tcpdump = tcpdump.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !read(&log).contains("listening on") {
            assert!(Instant::now() < deadline, "{}", read(&log));
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { tcpdump, file, log }
    }

    /// Ends it: these fields of each frame, as tshark reads them.
    pub fn end(mut self, fields: &[&str]) -> Vec<Vec<String>> {
        std::thread::sleep(Duration::from_millis(300));
        kill(Pid::from_raw(self.tcpdump.id().cast_signed()), Signal::SIGINT).unwrap();
        self.tcpdump.wait().unwrap();
        assert!(read(&self.log).contains("0 packets dropped by kernel"), "{}", read(&self.log));
        let file = self.file.to_string_lossy().into_owned();
        let fields = fields.iter().flat_map(|field| ["-e", field]);
        let text = run("tshark", ["-n", "-r", &file, "-T", "fields"].into_iter().chain(fields));
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }
}
