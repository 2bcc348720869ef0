//! Folders with the files of a scan, in which the program is run and must refuse what it should.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use lab::tools::tool;

use crate::read;
use crate::scanner::xdpmap;

/// A folder with lists, and with files from an earlier scan that a refused one must leave alone.
pub struct Sandbox {
    folder: tempfile::TempDir,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// A folder with these files.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("old.csv", "results of yesterday\n"),
            ("old.json", "metadata of yesterday\n"),
            ("good.conf", "198.51.100.0/24 # ours\n8.8.8.0/24\n"),
            ("bad.conf", "# a list\n8.8.4.0/24\n\n8.8.8.0/33 # a slip\n1.1.1.1\n"),
            ("all.conf", "0.0.0.0/0\n"),
            ("empty.conf", "# nothing\n2001:db8::/32\n"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Every file's content by its name.
    pub fn files(&self) -> BTreeMap<String, String> {
        let name = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let entries = std::fs::read_dir(self.path()).unwrap().map(Result::unwrap);
        let entries = entries.filter(|entry| entry.path().is_file());
        entries.map(|entry| (name(&entry), read(&entry.path()))).collect()
    }

    /// Runs a command with these arguments in the folder; `''` is an empty argument. One that goes on for longer than
    /// any of these should (a scan of everything that was to be refused) is ended by `timeout`, with code 124.
    pub fn run(&self, command: &mut Command, arguments: &str) -> Output {
        let arguments = arguments.split_whitespace().map(|word| if word == "''" { "" } else { word });
        let mut bounded = tool("timeout");
        bounded.args(["--kill-after=5", "120"]).arg(command.get_program()).args(command.get_args());
        bounded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bounded.current_dir(self.path()).args(arguments).output().unwrap()
    }

    /// Runs a command that must be refused with `code` and a line that has all of `words`, and change nothing.
    pub fn refuses(&self, command: &mut Command, arguments: &str, code: i32, words: &[&str]) {
        let before = self.files();
        let output = self.run(command, arguments);
        let line = refusal(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {line}");
        for word in words {
            assert!(line.contains(word), "{arguments}: no \"{word}\" in: {line}");
        }
        assert!(self.files() == before, "{arguments}: files have changed: {:?}", self.files().keys());
    }
}

/// The one line by which a run was refused.
pub fn refusal(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "one line: {stderr}");
    assert!(stderr.ends_with('\n') && stderr.contains(" [FATAL] "), "{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing on standard output");
    stderr
}

/// A dry run to one port, that needs neither a route nor an address of the machine's.
pub fn dry() -> Command {
    let mut command = xdpmap();
    command.args(["-d", "-i", "lo", "-G", "02:00:00:00:00:02", "--source-mac", "02:00:00:00:00:01"]);
    command
}
