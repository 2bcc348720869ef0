//! Where results go: a file or standard output, opened before the first packet.
//!
//! Not buffered: the formats buffer. What can go wrong is told apart here: a reader that went away (`| head`) ends a
//! scan quietly, anything else is an error that names the file.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What went wrong with the results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The file could not be opened.
    #[error(
        "--output-file: cannot open {name} for writing ({source}); name a file in a directory you may write to"
    )]
    Open {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Whoever read the results closed the pipe: nobody wants more.
    #[error("the reader of {name} went away")]
    BrokenPipe {
        /// The file.
        name: String,
    },
    /// The file could not be written, such as on a full disk. What was written before stands.
    #[error("--output-file: cannot write to {name} ({source}); the results are incomplete")]
    Write {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl OutputError {
    /// An error of a write to the output called `name`.
    pub(super) fn from_write(name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe { name },
            _ => Self::Write { name, source },
        }
    }
}

/// An open file or standard output.
#[derive(Debug)]
pub struct Output {
    file: File,
    name: String,
}

impl Output {
    /// Opens `path`, emptying a file that exists; `-` is standard output.
    ///
    /// # Errors
    /// [`OutputError::Open`].
    pub fn open(path: &str) -> Result<Self, OutputError> {
        let (opened, name) = match path {
            // A descriptor of its own: the standard library would flush its stdout at every line.
            "-" => (io::stdout().as_fd().try_clone_to_owned().map(File::from), "standard output"),
            path => (File::create(path), path),
        };
        let name = name.to_owned();
        match opened {
            Ok(file) => Ok(Self { file, name }),
            Err(source) => Err(OutputError::Open { name, source }),
        }
    }

    /// An output to a file that is open already.
    pub fn from_file(file: File, name: &str) -> Self {
        Self { file, name: name.to_owned() }
    }

    /// How messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl io::Write for Output {
    /// Waits where the other end of a pipe made it non-blocking: that must not lose results.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut waiting = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut waiting, PollTimeout::NONE) {
                        Ok(_) | Err(nix::Error::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;

    #[test]
    fn open_errors_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/results.csv");
        let error = Output::open(path.to_str().unwrap()).unwrap_err();
        assert!(matches!(error, OutputError::Open { .. }));
        assert!(error.to_string().contains("missing/results.csv"), "{error}");
    }

    #[test]
    fn opening_empties_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old").unwrap();
        Output::open(file.path().to_str().unwrap()).unwrap().write_all(b"n").unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"n");
        assert_eq!(Output::open("-").unwrap().name(), "standard output");
    }

    /// A pipe that its reader made non-blocking takes everything all the same.
    #[test]
    fn non_blocking_pipe() {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = File::from(OwnedFd::from(writer));
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let reading = std::thread::spawn(move || {
            let mut bytes = vec![];
            reader.read_to_end(&mut bytes).map(|_| bytes)
        });
        let sent: Vec<u8> = (0..500_000u32).map(|i| i as u8).collect();
        let mut output = Output::from_file(writer, "pipe");
        output.write_all(&sent).unwrap();
        drop(output);
        assert!(reading.join().unwrap().unwrap() == sent);
    }
}
