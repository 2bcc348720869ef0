//! A scan that is observed, and interfered with, while it runs.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use lab::{Lab, run};

use crate::{Scanned, Scans as _, read};

/// A scan that is running: it has shown its first status line.
pub struct Running {
    /// Its process.
    pub child: Child,
    log: std::io::Lines<BufReader<ChildStderr>>,
    said: String,
    files: [std::path::PathBuf; 2],
}

impl Running {
    /// Starts it, and waits for that line.
    pub fn start(lab: &Lab, arguments: &str) -> Self {
        Self::of(lab, lab.xdpmap(arguments))
    }

    /// Starts it by this command, and waits for that line.
    pub fn of(lab: &Lab, mut command: Command) -> Self {
        let files = ["results", "metadata"].map(|name| lab.folder().join(format!("running-{name}")));
        command.arg("-o").arg(&files[0]).arg("-m").arg(&files[1]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut running = Self { child, log, said: String::new(), files };
        running.wait_for("send: ");
        running
    }

    /// Reads the log up to a line that holds `words`.
    pub fn wait_for(&mut self, words: &str) {
        self.wait_until(words, |line| line.contains(words));
    }

    /// Reads the log up to a status line that says that so many percent or more are done.
    pub fn wait_for_percent(&mut self, least: u32) {
        let done = |line: &str| {
            line.split_whitespace().nth(1)?.trim_end_matches(';').strip_suffix('%')?.parse().ok()
        };
        let is_there =
            |line: &str| line.contains("send: ") && done(line).is_some_and(|done: u32| done >= least);
        self.wait_until(&format!("{least} percent"), is_there);
    }

    /// Reads the log up to a line that is the one.
    fn wait_until(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        for line in self.log.by_ref() {
            let line = line.unwrap();
            let is_last = is_it(&line);
            self.said.push_str(&line);
            self.said.push('\n');
            if is_last {
                return;
            }
        }
        panic!("never said '{what}': {}", self.said);
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Scanned {
        for line in self.log.by_ref() {
            self.said.push_str(&line.unwrap());
            self.said.push('\n');
        }
        let mut output = self.child.wait_with_output().unwrap();
        output.stderr = self.said.into_bytes();
        Scanned::new(output, &self.files[0], &self.files[1])
    }
}

/// Sets a link `up` or `down`.
pub fn set_link(ns: &str, device: &str, state: &str) {
    run("ip", ["-n", ns, "link", "set", device, state]);
}

/// Time that a process and its threads have used, in hundredths of a second.
pub fn cpu_ticks(pid: u32) -> u64 {
    // `ip netns exec` becomes the scan: it has the same number.
    let stat = read(format!("/proc/{pid}/stat").as_ref());
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
