//! The scan of `--live`: the same program with the same command line, as a process of its own.
//!
//! It is in its own process group, so that the terminal's signals reach the view alone, which passes them on. Its
//! standard error is a pipe: what it logs is kept, the last [`KEPT_MAX`] lines, and printed at the end.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, raise};

use crate::control_socket::default_socket;
use crate::exit::Exit;

/// Says to a process that a view shows it. No option has this name, so that no config file can set it.
const VIEWED: &str = "LIVE_VIEW_OF_XDPMAP";
/// Lines of the log that are kept. Fewer: what happened at the start is lost. More: more memory.
const KEPT_MAX: usize = 10_000;
/// How long Ctrl-Z waits until the scan has stopped. Shorter: it stops with frames under way. Longer: a scan that hangs
/// holds the terminal.
const STOPS_WITHIN: Duration = Duration::from_secs(3);
/// Signals that are meant for the scan.
const PASSED_ON: [i32; 6] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// Whether a view shows this process.
pub fn is_viewed() -> bool {
    std::env::var_os(VIEWED).is_some()
}

/// What a scan has logged.
#[derive(Default)]
struct Log {
    lines: VecDeque<String>,
    /// Older lines that are not kept.
    dropped: u64,
}

/// A scan that was started.
pub(super) struct Process {
    child: Child,
    socket: Option<PathBuf>,
    log: Arc<Mutex<Log>>,
    reader: Option<JoinHandle<()>>,
    signals: Signals,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts the scan of this process's command line.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(control: Option<&Path>) -> io::Result<Self> {
        let signals = Signals::new(PASSED_ON.iter().chain(&[SIGTSTP]))?;
        let mut arguments = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        command.arg0(arguments.next().unwrap_or_default()).args(arguments).env(VIEWED, "1");
        // Keys are the view's.
        if io::stdin().is_terminal() {
            command.stdin(Stdio::null());
        }
        let mut child = command.stderr(Stdio::piped()).process_group(0).spawn()?;
        let log = Arc::<Mutex<Log>>::default();
        let reader = child.stderr.take().map(|stderr| read(stderr, Arc::clone(&log))).transpose()?;
        let socket = control.map(Path::to_owned).or_else(|| default_socket(child.id()));
        Ok(Self { child, socket, log, reader, signals, status: None })
    }

    /// Where its control socket is, once it is there.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref().filter(|path| path.exists())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status.is_some())
    }

    /// Passes on what was sent to this process for the scan. Returns whether the view is to stop, and the scan with it.
    pub(super) fn pass_signals_on(&mut self) -> bool {
        let signals: Vec<i32> = self.signals.pending().collect();
        for &signal in signals.iter().filter(|signal| PASSED_ON.contains(signal)) {
            self.send(Signal::try_from(signal).unwrap_or(Signal::SIGTERM));
        }
        signals.contains(&SIGTSTP)
    }

    /// Ends it as Ctrl-C does.
    pub(super) fn interrupt(&self) {
        self.send(Signal::SIGINT);
    }

    /// Stops it as Ctrl-Z does: once nothing is under way.
    pub(super) fn suspend(&self) {
        self.send(Signal::SIGTSTP);
        let since = Instant::now();
        while !self.is_stopped() && since.elapsed() < STOPS_WITHIN {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Continues it.
    pub(super) fn go_on(&self) {
        self.send(Signal::SIGCONT);
    }

    fn is_stopped(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        // A process that is gone does not move either.
        status
            .lines()
            .find_map(|line| line.strip_prefix("State:"))
            .is_none_or(|state| state.trim().starts_with(['T', 'Z']))
    }

    fn send(&self, signal: Signal) {
        if self.status.is_none() {
            // It may have ended in this moment; it is not waited for yet, so its number is still its own.
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
        }
    }

    /// The last lines that it has logged.
    pub(super) fn last_lines(&self, most: usize) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.lines.iter().skip(log.lines.len().saturating_sub(most)).cloned().collect()
    }

    /// Waits for its end, and prints what it has logged. Returns its exit code; if a signal has ended it, that ends
    /// this process as well.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn finish(mut self) -> io::Result<Exit> {
        while !self.has_ended()? {
            self.pass_signals_on();
            thread::sleep(Duration::from_millis(20));
        }
        // All that it has written is read.
        let _ = self.reader.take().map(JoinHandle::join);
        let log = std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner));
        let mut out = io::stderr().lock();
        if log.dropped > 0 {
            // What cannot be printed has no reader.
            let _ = writeln!(out, "({} older lines of the log are left out; -l FILE keeps all)", log.dropped);
        }
        for line in &log.lines {
            let _ = writeln!(out, "{line}");
        }
        let status = self.status.unwrap_or_default();
        if let Some(signal) = status.signal() {
            let _ = emulate_default_handler(signal).or_else(|_| raise(signal));
        }
        Ok(status.code().and_then(Exit::of_number).unwrap_or(Exit::Failed))
    }
}

/// Reads what a scan logs.
fn read(stderr: ChildStderr, log: Arc<Mutex<Log>>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("log".to_owned()).spawn(move || {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.lines.len() == KEPT_MAX {
                log.lines.pop_front();
                log.dropped += 1;
            }
            log.lines.push_back(String::from_utf8_lossy(&line).into_owned());
        }
    })
}
