//! The guardian: a process next to the scan that restores the tables once the scan is gone, however it ended.
//!
//! It is this program, started again while there are still privileges to inherit. It keeps only CAP_NET_ADMIN (and
//! CAP_DAC_OVERRIDE, if the journals belong to another user), and has a sandbox of its own. It has its own session, so
//! that signals from a terminal to the scan do not reach it, and it ignores the signals that a service manager sends to
//! both. Its standard input is a pipe whose other end only the scan holds: when that closes, the scan is over or dead.
//! Its messages go to a pipe that the scan reads, and to standard error if the scan is gone.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::thread::CapabilitySet;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};

use super::Held;
use super::repair::{Restored, failure, outcome, restore};
use crate::exit::Exit;
use crate::journal::Folder;
use crate::privileges;
use crate::sandbox::{self, Class, Paths};

/// The first argument that makes this program a guardian. The others are names of journals.
const WORD: &str = "steering-guardian";
/// The argument after it if the guardian is to be confined as its scan is.
const CONFINED: &str = "confined";
/// What it writes when it is ready. The state of its filter follows, if it is confined.
const READY: &str = "ready";

/// The scan's handle of a guardian.
#[derive(Debug)]
pub(super) struct Guardian {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Guardian {
    /// Starts a guardian for these journals, and waits until it holds them.
    pub(super) fn start(held: &[Held]) -> io::Result<Self> {
        let names = held.iter().filter_map(|held| held.path.file_name());
        // The running program, whatever has happened to its file.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("xdpmap").arg(WORD);
        command.args(sandbox::is_armed().then_some(CONFINED)).args(names).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let said = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut guardian = Self { child, said: BufReader::new(said) };
        let mut line = String::new();
        guardian.said.read_line(&mut line)?;
        if let Some(state) = line.strip_prefix(READY) {
            sandbox::hear(Class::Guardian, state.trim());
            return Ok(guardian);
        }
        let _ = guardian.finish();
        Err(io::Error::other(if line.is_empty() { "it ended at once" } else { line.trim_end() }.to_owned()))
    }

    /// Makes it restore the tables, and waits for that. Returns its messages.
    pub(super) fn finish(&mut self) -> Result<Vec<String>, String> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        let read = self.said.read_to_string(&mut text);
        let status = self.child.wait().map_err(|error| error.to_string())?;
        match (read, status.success()) {
            (Ok(_), true) => Ok(text.lines().map(str::to_owned).collect()),
            (Ok(_), false) if !text.is_empty() => Err(text.trim_end().replace('\n', "; ")),
            _ => Err(format!("the process that restores the RSS indirection tables has ended ({status})")),
        }
    }
}

/// Runs a guardian if the command line `line`, the program's name first, selects it, and returns the exit code.
pub fn run(line: &[OsString]) -> Option<Exit> {
    let (_, arguments) = line.split_first()?;
    let (first, names) = arguments.split_first()?;
    if first != WORD {
        return None;
    }
    Some(match guard(names) {
        Ok(()) => Exit::Done,
        Err(error) => {
            say(&error.to_string());
            Exit::Failed
        }
    })
}

fn guard(names: &[OsString]) -> io::Result<()> {
    // Its own session. This fails only if it has one already, because a user started it by hand.
    let _ = rustix::process::setsid();
    let heard = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, Arc::clone(&heard))?;
    }
    let folder = Folder::of_host();
    let mut keep = CapabilitySet::NET_ADMIN;
    keep.set(CapabilitySet::DAC_OVERRIDE, folder.is_of_another());
    privileges::keep_only(keep)?;
    let names = match names.split_first() {
        Some((first, names)) if first == CONFINED => {
            sandbox::arm(Vec::new());
            names
        }
        _ => names,
    };
    let join = |name: &OsString| folder.join(&name.to_string_lossy());
    let held: Vec<Held> = names.iter().map(join).collect::<Result<_, _>>()?;
    sandbox::restrict(&Paths {
        read: sandbox::system_files(),
        write: vec![folder.path().to_owned()],
        ..Paths::default()
    });
    sandbox::enter(Class::Guardian);
    io::stdout().write_all(format!("{READY} {}\n", sandbox::told(Class::Guardian)).as_bytes())?;
    io::stdout().flush()?;
    // Nothing is sent. The end of the input is the signal.
    io::stdin().read_to_end(&mut Vec::new())?;
    let mut failed = None;
    for held in &held {
        let name = &held.journal.interface;
        let restored = restore(&held.journal);
        match restored {
            // The scan has logged that it set the table, so that it is restored is not worth a line.
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

/// Whether the scan is already gone.
fn is_orphan(held: &Held) -> bool {
    rustix::process::getppid()
        .is_none_or(|parent| parent.as_raw_nonzero().get().cast_unsigned() != held.journal.pid)
}

/// Writes a line to the scan, or to standard error if the scan is gone.
fn say(line: &str) {
    let told = io::stdout().write_all(format!("{line}\n").as_bytes()).and_then(|()| io::stdout().flush());
    if told.is_err() {
        let _ = io::stderr().write_all(format!("xdpmap: {line}\n").as_bytes());
    }
}
