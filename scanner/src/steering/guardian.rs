//! The guardian: a process beside the scan that puts the tables back when the scan is gone, whatever has ended it.
//!
//! It is this program again, started while there still are privileges to hand on. Of these it keeps CAP_NET_ADMIN alone (and
//! CAP_DAC_OVERRIDE, where the journals are another user's). It is in a session of its own, so that what ends the scan
//! from a terminal does not end it, and deaf to what a service manager sends to both. Its standard input is a pipe whose
//! other end only the scan has: when that closes, the scan is over or dead. What it has to say goes to a pipe that the
//! scan reads, and to standard error if nobody does.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::thread::CapabilitySet;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};

use super::journal::{Folder, Held};
use super::repair::{Restored, failure, outcome, restore};
use crate::privileges;

/// The first argument that makes this program a guardian. The others are names of journals.
const WORD: &str = "steering-guardian";
/// What it says when it is ready.
const READY: &str = "ready\n";

/// The scan's end of a guardian.
#[derive(Debug)]
pub(super) struct Guardian {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Guardian {
    /// Starts one for these journals, and waits until it has them.
    pub(super) fn start(held: &[Held]) -> io::Result<Self> {
        let names = held.iter().filter_map(|held| held.path.file_name());
        // The program that runs now, whatever has become of its file.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("xdpmap").arg(WORD).args(names).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let said = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut guardian = Self { child, said: BufReader::new(said) };
        let mut line = String::new();
        guardian.said.read_line(&mut line)?;
        if line == READY {
            return Ok(guardian);
        }
        let _ = guardian.finish();
        Err(io::Error::other(
            if line.is_empty() { "it has ended at once" } else { line.trim_end() }.to_owned(),
        ))
    }

    /// Lets it put the tables back, and waits for that. What there is to say about it.
    pub(super) fn finish(&mut self) -> Result<Vec<String>, String> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        let read = self.said.read_to_string(&mut text);
        let status = self.child.wait().map_err(|error| error.to_string())?;
        match (read, status.success()) {
            (Ok(_), true) => Ok(text.lines().map(str::to_owned).collect()),
            (Ok(_), false) if !text.is_empty() => Err(text.trim_end().replace('\n', "; ")),
            _ => Err(format!("the process that puts the RSS indirection tables back has ended ({status})")),
        }
    }
}

/// Runs a guardian if the command line `line`, the program's name first, asks for one, and returns the exit code.
pub fn run(line: &[OsString]) -> Option<u8> {
    let (_, arguments) = line.split_first()?;
    let (first, names) = arguments.split_first()?;
    if first != WORD {
        return None;
    }
    Some(match guard(names) {
        Ok(()) => 0,
        Err(error) => {
            say(&error.to_string());
            1
        }
    })
}

fn guard(names: &[OsString]) -> io::Result<()> {
    // A session of its own; it has one already only where somebody plays with it by hand.
    let _ = rustix::process::setsid();
    let heard = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, Arc::clone(&heard))?;
    }
    let folder = Folder::of_host();
    let mut keep = CapabilitySet::NET_ADMIN;
    keep.set(CapabilitySet::DAC_OVERRIDE, folder.is_of_another());
    privileges::keep_only(keep)?;
    let join = |name: &OsString| folder.join(&name.to_string_lossy());
    let held: Vec<Held> = names.iter().map(join).collect::<Result<_, _>>()?;
    io::stdout().write_all(READY.as_bytes())?;
    io::stdout().flush()?;
    // Nothing comes: the end is what is waited for.
    io::stdin().read_to_end(&mut Vec::new())?;
    let mut failed = None;
    for held in &held {
        let name = &held.journal.interface;
        let restored = restore(&held.journal);
        match restored {
            // The scan says what it set: that it is undone is no news.
            Ok(Restored::Table | Restored::Nothing) if !is_orphan(held) => {}
            Ok(restored) => say(&outcome(name, held.journal.pid, restored)),
            Err(error) => {
                failed = Some(io::Error::other(failure(name, &error)));
                continue;
            }
        }
        held.remove()?;
    }
    failed.map_or(Ok(()), Err)
}

/// Whether the scan is gone already.
fn is_orphan(held: &Held) -> bool {
    rustix::process::getppid()
        .is_none_or(|parent| parent.as_raw_nonzero().get().cast_unsigned() != held.journal.pid)
}

/// Says a line to the scan, or to whoever reads standard error if there is none any more.
fn say(line: &str) {
    let told = io::stdout().write_all(format!("{line}\n").as_bytes()).and_then(|()| io::stdout().flush());
    if told.is_err() {
        let _ = io::stderr().write_all(format!("xdpmap: {line}\n").as_bytes());
    }
}
