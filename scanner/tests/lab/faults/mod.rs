//! What a scan does when something around it fails: `docs/reliability.md` has a row for each fault. What else ends a
//! scan is in `../ends.rs`, what the kernel and the interface do in `../books.rs`, a link that is lost in
//! `../../alone/steady.rs`, and hosts that answer too much in `../../alone/chatty.rs`.

mod clocks;
mod disk;
mod memory;
mod panics;
mod readers;
mod stops;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use lab::{HOSTS, Lab};
use support::truth::{truth, within};
use support::{ledger, read};

/// What scans have in common that go on after a fault, and all that they must find.
const COMMON: &str = "-p 80 -c 1 --checkpoint-interval 0.1 --resume-overlap 0.2";
const NETWORK: &str = "198.18.0.0/17";

/// A lab with servers, and what a scan of [`NETWORK`] must find there.
fn lab_with_servers() -> (Lab, BTreeSet<String>) {
    let servers = HOSTS.servers();
    let lab = Lab::new(2);
    lab.start_nginx(&servers);
    (lab, within(&truth(HOSTS, &servers), &[NETWORK]))
}

/// A scan whose log is read while it runs.
struct Logged {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    said: String,
    metadata: PathBuf,
}

impl Logged {
    /// Starts it, with metadata in this file.
    fn start(command: &mut Command, metadata: &Path) -> Self {
        let mut child = command.arg("-m").arg(metadata).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log, said: String::new(), metadata: metadata.to_owned() }
    }

    /// Reads the log up to a line that holds `words`.
    #[track_caller]
    fn wait_for(&mut self, words: &str) {
        for line in self.log.by_ref() {
            self.said += &format!("{}\n", line.unwrap());
            if self.said.lines().last().is_some_and(|line| line.contains(words)) {
                return;
            }
        }
        panic!("never said '{words}': {}", self.said);
    }

    /// Waits for its end. Returns its exit code, its metadata and its log.
    fn finish(mut self) -> (Option<i32>, serde_json::Value, String) {
        self.log.by_ref().for_each(|line| self.said += &format!("{}\n", line.unwrap()));
        let code = self.child.wait().unwrap().code();
        let metadata = serde_json::from_str(&read(&self.metadata)).unwrap_or_default();
        ledger::check(&metadata);
        (code, metadata, self.said)
    }
}

/// A number in metadata.
#[track_caller]
fn number(metadata: &serde_json::Value, pointer: &str) -> u64 {
    let number = metadata.pointer(pointer).and_then(serde_json::Value::as_u64);
    number.unwrap_or_else(|| panic!("no number {pointer} in {metadata}"))
}
