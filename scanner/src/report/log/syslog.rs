//! The system's log: datagrams of RFC 3164's form, without a host name, to the socket that `syslog(3)` uses.
//!
//! Never waits and never fails: if there is no logger, or if it is behind, a line is lost.

use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::Level;

use crate::local_time;

/// The socket that a system's logger reads.
const SOCKET: &str = "/dev/log";
/// Facility "user", shifted to its place in a priority (RFC 3164, section 4.1.1).
const USER: u8 = 1 << 3;

/// Severities, with RFC 3164's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Critical = 2,
    Error = 3,
    Warning = 4,
    Informational = 6,
    Debug = 7,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            Level::INFO => Self::Informational,
            _ => Self::Debug,
        }
    }
}

/// The system's log.
pub(super) struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
}

impl fmt::Debug for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Syslog").field(&self.path).finish()
    }
}

impl Syslog {
    /// The log of this system; `None` if there is none.
    pub(super) fn system() -> Option<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> Option<Self> {
        path.exists().then_some(())?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, path: path.to_owned() })
    }

    /// Sends one line. It is addressed by path, because a connection would not survive a restart of the logger.
    pub(super) fn send(&self, severity: Severity, text: &str) {
        let time = local_time::now();
        let time = time.strftime("%b %e %H:%M:%S");
        let line = format!("<{}>{time} xdpmap[{}]: {text}", USER | severity as u8, std::process::id());
        let _ = self.socket.send_to(line.as_bytes(), &self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(Syslog::at(&path).is_none());
        let logger = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::at(&path).unwrap();
        let heard = |logger: &UnixDatagram| {
            let mut bytes = [0; 512];
            let len = logger.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..len].to_vec()).unwrap()
        };
        syslog.send(Level::WARN.into(), "[WARN] monitor: a line");
        let line = heard(&logger);
        assert!(line.starts_with("<12>"), "{line}");
        let tail = format!(" xdpmap[{}]: [WARN] monitor: a line", std::process::id());
        assert!(line.ends_with(&tail) && line.len() == "<12>Jan  2 03:04:05".len() + tail.len(), "{line}");
        drop(logger);
        std::fs::remove_file(&path).unwrap();
        syslog.send(Severity::Critical, "nobody hears this");
        let logger = UnixDatagram::bind(&path).unwrap();
        syslog.send(Severity::Critical, "back again");
        assert!(heard(&logger).ends_with("back again"));
        // A logger that does not read does not block.
        (0..10_000).for_each(|_| syslog.send(Severity::Debug, "much"));
    }
}
