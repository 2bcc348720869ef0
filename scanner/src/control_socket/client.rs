//! The client's side: finds running scans, and asks one.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::listener::user_of;
use super::place::{runtime_folder, sockets_in};
use super::protocol::{Answer, LINE_MAX, Request};
use crate::printable::printable;

/// How long to wait for an answer. A scan answers at once, unless its process is stopped. Lower: a machine under load
/// is mistaken for that. Higher: the user waits for nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a scan did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("{}: {source}{}", printable(.path), hint(.path, .source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another user listens there.
    #[error("{}: user {user} listens there, and that is neither you nor root", printable(.path))]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Their ID.
        user: u32,
    },
    /// Nothing came.
    #[error("the scan does not answer; if its process is stopped, continue it (kill -CONT)")]
    Silent,
    /// The connection was lost.
    #[error("the connection to the scan: {0}")]
    Lost(io::Error),
    /// What came is not an answer.
    #[error("{0}")]
    Nonsense(String),
}

/// What may have been meant, as the end of the sentence.
fn hint(path: &Path, source: &io::Error) -> &'static str {
    let is_socket = || std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    match source.kind() {
        io::ErrorKind::ConnectionRefused if !is_socket() => {
            "; it is not a socket: name that of a running scan"
        }
        io::ErrorKind::NotFound => "; name the socket of a running scan",
        io::ErrorKind::ConnectionRefused => "; the scan that made it has ended",
        io::ErrorKind::PermissionDenied => "; only its user and root may control a scan",
        _ => "",
    }
}

/// A connection to a scan.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// Bytes that have been received and not returned.
    pending: Vec<u8>,
}

impl Connection {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// There is no scan, or not one of this user or root.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect { path: path.to_owned(), source };
        let stream = UnixStream::connect(path).map_err(failed)?;
        let user = user_of(&stream).map_err(failed)?;
        // Root may control every scan.
        let own = nix::unistd::geteuid();
        // A scan of root or of this user can be trusted; and root need not trust anybody.
        if user != 0 && user != own.as_raw() && !own.is_root() {
            return Err(ClientError::Stranger { path: path.to_owned(), user });
        }
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self { stream, pending: Vec::new() })
    }

    /// Asks for something, and returns the first answer.
    ///
    /// # Errors
    /// No answer came.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        match self.stream.write_all(request.to_line().as_bytes()) {
            // A scan that serves nobody else has said so before it closed the connection.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(lost)?,
        }
        let gone = || lost(io::ErrorKind::UnexpectedEof.into());
        self.receive()?.ok_or_else(gone)
    }

    /// Waits as long as it takes for further answers: a scan that is stopped sends none.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn be_patient(&self) -> Result<(), ClientError> {
        self.stream.set_read_timeout(None).map_err(lost)
    }

    /// Whether a whole answer has been received and not returned.
    pub fn has_line(&self) -> bool {
        memchr::memchr(b'\n', &self.pending).is_some()
    }

    /// The next answer; `None` if the scan has closed the connection.
    ///
    /// # Errors
    /// No answer came, or something else.
    pub fn receive(&mut self) -> Result<Option<Answer>, ClientError> {
        let mut chunk = [0; LINE_MAX];
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.pending) {
                let line: Vec<u8> = self.pending.drain(..=at).collect();
                return Answer::parse(&line[..at]).map(Some).map_err(ClientError::Nonsense);
            }
            if self.pending.len() > 2 * LINE_MAX {
                return Err(ClientError::Nonsense("not an answer of a scan: it has no end".to_owned()));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(len) => self.pending.extend(&chunk[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(error)),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn lost(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent,
        _ => ClientError::Lost(error),
    }
}

/// The sockets of this user's scans that are running, in the runtime folder.
///
/// # Errors
/// The folder may not be read.
pub fn running() -> io::Result<Vec<PathBuf>> {
    let Some(folder) = runtime_folder() else { return Ok(Vec::new()) };
    let sockets = sockets_in(folder.path())?.into_iter().map(|(path, _)| path);
    Ok(sockets.filter(|path| UnixStream::connect(path).is_ok()).collect())
}
