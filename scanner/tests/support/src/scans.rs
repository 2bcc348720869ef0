//! Scans of a lab.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use lab::Lab;
use lab::tools::tool;

use crate::scanner::{binary, shield};
use crate::{ledger, read};

/// What a scan printed, wrote and counted.
pub struct Scanned {
    /// What it printed, and how it ended.
    pub output: Output,
    /// The results' file.
    pub results: String,
    /// The metadata's file; null if it is not there.
    pub metadata: serde_json::Value,
}

impl Scanned {
    /// What a scan has left in these files. If there is metadata, its ledger adds up.
    #[track_caller]
    pub fn new(output: Output, results: &Path, metadata: &Path) -> Self {
        let metadata = serde_json::from_str(&read(metadata)).unwrap_or_default();
        ledger::check(&metadata);
        Self { results: read(results), metadata, output }
    }

    /// A count of its ledger.
    #[track_caller]
    pub fn row(&self, account: &str, row: &str) -> u64 {
        ledger::row(&self.metadata, account, row)
    }

    /// The log.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// A number in the metadata, by its path.
    #[track_caller]
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

/// The scanner on the scanning side of a lab.
pub trait Scans {
    /// What runs the command behind it on the scanning side, shielded as the scanner has to be.
    fn shielded(&self) -> Command;

    /// A command that runs xdpmap on an interface of the scanning side.
    fn xdpmap_on(&self, interface: &str, arguments: &str) -> Command;

    /// Runs a scan through an interface of the scanning side to its end: results to a file, metadata beside it.
    fn survey_on(&self, interface: &str, arguments: &str) -> Scanned;

    /// As [`Self::xdpmap_on`], on the lab's own interface.
    fn xdpmap(&self, arguments: &str) -> Command {
        self.xdpmap_on("scan0", arguments)
    }

    /// As [`Self::survey_on`], on the lab's own interface.
    fn survey(&self, arguments: &str) -> Scanned {
        self.survey_on("scan0", arguments)
    }

    /// What runs a program of the scanning side as `nobody`; `setpriv` are further arguments of setpriv(1), and
    /// programs that it is to go through.
    fn as_nobody(&self, setpriv: &[&str]) -> Command {
        let mut command = self.shielded();
        command.args(["setpriv", "--reuid=65534", "--regid=65534"]);
        command.arg("--clear-groups").args(setpriv);
        command
    }
}

impl Scans for Lab {
    fn shielded(&self) -> Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.scan]).args(shield(None));
        command
    }

    fn xdpmap_on(&self, interface: &str, arguments: &str) -> Command {
        let mut command = self.shielded();
        command.args([binary(), "-i", interface, "--allow-reserved"]);
        command.args(arguments.split_whitespace());
        command
    }

    fn survey_on(&self, interface: &str, arguments: &str) -> Scanned {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let [results, metadata] =
            ["results", "metadata"].map(|kind| self.folder().join(format!("{kind}-{number}")));
        let mut command = self.xdpmap_on(interface, arguments);
        let output = command.arg("-o").arg(&results).arg("-m").arg(&metadata).output().expect("a scan");
        Scanned::new(output, &results, &metadata)
    }
}
