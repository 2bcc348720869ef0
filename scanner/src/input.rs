//! Files that are read before a scan: lists, config files, payloads, passwords.
//!
//! What always holds: the user learns of every long wait for a writer. If nothing has been written to a FIFO, a
//! pipe or a terminal for a while, the log names it. No signal is caught meanwhile, so Ctrl-C ends the wait.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

use crate::printable::printable;

/// How long a read waits before that is reported, in milliseconds. Lower: a pipe whose writer is only slow causes a log
/// line. Higher: a user who forgot to redirect the input sees nothing for longer.
const TELL_AFTER_MS: u16 = 1_500;

/// A file, pipe or terminal to be read from its beginning to its end.
#[derive(Debug)]
pub struct Input {
    file: File,
    name: String,
    /// Whether a long wait is reported.
    tells: bool,
}

impl Input {
    /// Opens the file `path`. If it is a FIFO, it need not have a writer yet.
    ///
    /// # Errors
    /// The system's error.
    pub fn open(path: &Path) -> io::Result<Self> {
        // The first read waits for a writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let tells = !file.metadata()?.is_file();
        Ok(Self { file, name: printable(path), tells })
    }

    /// Standard input, from its beginning.
    ///
    /// # Errors
    /// The system's error.
    pub fn standard() -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let tells = !file.metadata()?.is_file() && !file.is_terminal();
        Ok(Self { file, name: "standard input".to_owned(), tells })
    }

    /// Whether it has its text also when it is opened again: not a pipe, a socket or a terminal.
    pub fn is_lasting(&self) -> bool {
        let is_lasting = |file: fs::Metadata| file.is_file() || file.file_type().is_char_device();
        self.file.metadata().is_ok_and(is_lasting) && !self.file.is_terminal()
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// Waits until there is something to read, or the end.
    fn wait(&mut self) -> io::Result<()> {
        loop {
            let timeout = if self.tells { PollTimeout::from(TELL_AFTER_MS) } else { PollTimeout::NONE };
            match poll(&mut [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => {
                    self.tells = false;
                    warn!(target: "input", "waiting for input to be written: {}", self.name);
                }
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait()?;
            match self.file.read(buffer) {
                // Another reader of the same pipe was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }
}

/// The bytes of the file `path`.
///
/// # Errors
/// The system's error.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Input::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// Late and slow writers are waited for, and everything that they write is read.
    #[test]
    fn late_writers_are_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        let writer = path.clone();
        let writing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let mut file = OpenOptions::new().write(true).open(writer).unwrap();
            for part in ["one\n", "two\n"] {
                std::thread::sleep(Duration::from_millis(50));
                file.write_all(part.as_bytes()).unwrap();
            }
        });
        assert_eq!(read(&path).unwrap(), b"one\ntwo\n");
        writing.join().unwrap();
    }

    #[test]
    fn what_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(read(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
        fs::write(folder.path().join("file"), "text").unwrap();
        assert_eq!(read(&folder.path().join("file")).unwrap(), b"text");
    }
}
