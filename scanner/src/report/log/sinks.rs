//! Where the log's lines go: to stderr or a file, and to the system's log.
//!
//! A line that cannot be written is lost: there is no other place to report it, and the scan does not end because of
//! it. A line that nothing reads (a paused terminal or pager) is lost as well, because a scan waits only briefly for
//! it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::LogSettings;
use super::syslog::{Severity, Syslog};
use crate::local_time;
use crate::printable::printable;
use crate::report::progress;
use crate::results::output::has_room;

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file could not be opened.
    #[error("{flag}: cannot open {path} ({source}); name a {thing} that you may write to", path = printable(.path))]
    Open {
        /// The flag that names it.
        flag: &'static str,
        /// What the flag names.
        thing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Logging has been started before.
    #[error("the log has already been started")]
    Started,
}

/// The places that a process logs to.
#[derive(Debug)]
pub(super) struct Sinks {
    file: Option<File>,
    syslog: Option<Syslog>,
}

impl Sinks {
    pub(super) fn open(settings: &LogSettings<'_>) -> Result<Self, LogError> {
        let append =
            |flag, thing, path: PathBuf| match OpenOptions::new().append(true).create(true).open(&path) {
                Ok(file) => Ok(file),
                Err(source) => Err(LogError::Open { flag, thing, path, source }),
            };
        let file = match (settings.file, settings.directory) {
            (Some(path), _) => Some(append("--log-file", "file", path.to_owned())?),
            (None, Some(folder)) => {
                let name = local_time::now().strftime("xdpmap-%Y-%m-%dT%H%M%S%z.log").to_string();
                Some(append("--log-directory", "folder", folder.join(name))?)
            }
            (None, None) => None,
        };
        Ok(Self { file, syslog: settings.syslog.then(Syslog::system).flatten() })
    }

    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Writes a whole line to all places.
    fn write(&self, level: Level, line: &[u8]) {
        match &self.file {
            Some(file) => write(&mut &*file, file.as_fd(), line),
            None => to_stderr(line),
        }
        self.to_syslog(level.into(), line);
    }

    /// Copies a line that has gone to stderr, such as a fatal error, to the other places.
    pub(super) fn copy_fatal(&self, line: &str) {
        if let Some(file) = &self.file {
            write(&mut &*file, file.as_fd(), plain(line).as_bytes());
        }
        self.to_syslog(Severity::Critical, line.as_bytes());
    }

    fn to_syslog(&self, severity: Severity, line: &[u8]) {
        let Some(syslog) = &self.syslog else { return };
        let line = String::from_utf8_lossy(line);
        // The system's log adds its own times.
        let text = plain(&line);
        syslog.send(severity, text.get(TIME_LEN..).unwrap_or_default().trim_end());
    }
}

/// Length of `Mon DD HH:MM:SS.mmm ` at the start of a line.
const TIME_LEN: usize = 20;

/// A line without its colour.
fn plain(line: &str) -> String {
    match line.strip_prefix("\x1b[").and_then(|line| line.split_once('m')) {
        Some((_, line)) => line.replace("\x1b[0m", ""),
        None => line.to_owned(),
    }
}

/// Writes a whole line to stderr, without damaging a progress bar if there is one.
pub(super) fn to_stderr(line: &[u8]) {
    progress::beside_bar(|| write(&mut io::stderr(), io::stderr().as_fd(), line));
}

/// How long a line waits for a slow reader of the log. Lower: lines are lost during short pauses. Higher: a paused
/// terminal holds up the scan.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to check for room meanwhile. Lower: more CPU time. Higher: the line is written later.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Whether the last line waited in vain. If so, the next one does not wait.
static WAITED_IN_VAIN: AtomicBool = AtomicBool::new(false);

fn write(out: &mut dyn io::Write, file: BorrowedFd<'_>, line: &[u8]) {
    let patience = if WAITED_IN_VAIN.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
    let start = Instant::now();
    while !has_room(file) {
        if start.elapsed() >= patience {
            return WAITED_IN_VAIN.store(true, Ordering::Relaxed);
        }
        std::thread::sleep(ASK_EVERY);
    }
    WAITED_IN_VAIN.store(false, Ordering::Relaxed);
    drop(out.write_all(line));
}

/// Writes the lines of one event.
pub(super) struct Writer<'a> {
    sinks: &'a Sinks,
    level: Level,
}

impl io::Write for Writer<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.sinks.write(self.level, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for &'static Sinks {
    type Writer = Writer<'a>;

    fn make_writer(&'a self) -> Writer<'a> {
        Writer { sinks: self, level: Level::INFO }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Writer<'a> {
        Writer { sinks: self, level: *metadata.level() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::Verbosity;

    #[test]
    fn lines_lose_their_colour() {
        assert_eq!(plain("\x1b[31mJan 02 [FATAL] a: b\x1b[0m\n"), "Jan 02 [FATAL] a: b\n");
        assert_eq!(plain("Jan 02 [INFO] a: b\n"), "Jan 02 [INFO] a: b\n");
    }

    #[test]
    fn files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "before\n").unwrap();
        let settings = LogSettings {
            verbosity: Verbosity::default(),
            file: Some(&path),
            directory: None,
            syslog: false,
        };
        let sinks = Sinks::open(&settings).unwrap();
        sinks.write(Level::INFO, b"a line\n");
        sinks.copy_fatal("\x1b[31mthe last\x1b[0m\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\na line\nthe last\n");
        let missing = folder.path().join("none");
        let error =
            Sinks::open(&LogSettings { file: None, directory: Some(&missing), ..settings }).unwrap_err();
        assert!(error.to_string().starts_with("--log-directory: cannot open "), "{error}");
    }
}
