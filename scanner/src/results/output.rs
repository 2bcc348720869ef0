//! A file or standard output, opened before the first packet.
//!
//! Opening changes nothing yet: a file keeps what it holds until [`Output::begin`], and one that was made for a scan that
//! never began is removed again.
//!
//! Not buffered: the sinks buffer. What can go wrong is told apart here: a reader that went away (`| head`) ends a
//! scan quietly, anything else is an error that names the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::printable::printable;

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
    /// It is not to be had as it was asked for.
    #[error("{flag}: {what}")]
    Refused {
        /// The flag.
        flag: &'static str,
        /// Why, and what to do.
        what: String,
    },
    /// A server does not take the results, or no longer.
    #[error("{name}: {what}; the results are incomplete")]
    Server {
        /// The server.
        name: String,
        /// What it said.
        what: String,
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
    untouched: Option<Untouched>,
}

/// A file that has been opened and not been written to.
#[derive(Debug)]
struct Untouched {
    path: PathBuf,
    /// Whether it was not there before.
    is_new: bool,
}

impl Output {
    /// Opens `path` and leaves what it holds; `-` is standard output.
    ///
    /// # Errors
    /// [`OutputError::Open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OutputError> {
        let path = path.as_ref();
        if path == Path::new("-") {
            let name = "standard output".to_owned();
            // A descriptor of its own: the standard library would flush its stdout at every line.
            return match io::stdout().as_fd().try_clone_to_owned() {
                Ok(descriptor) => Ok(Self::from_file(descriptor.into(), &name)),
                Err(source) => Err(OutputError::Open { name, source }),
            };
        }
        let name = printable(path);
        match open_file(path) {
            Ok((file, is_new)) => {
                Ok(Self { file, name, untouched: Some(Untouched { path: path.into(), is_new }) })
            }
            Err(source) => Err(OutputError::Open { name, source }),
        }
    }

    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// [`OutputError::Open`], also if there is one.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let name = printable(path);
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self::from_file(file, &name)),
            Err(source) => Err(OutputError::Open { name, source }),
        }
    }

    /// Leaves the first `keep` bytes of a file, and no more: results are about to come behind them. Standard output
    /// stays as it is: a shell may have opened it to append.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn begin(&mut self, keep: u64) -> Result<(), OutputError> {
        let is_old = self.untouched.take().is_some_and(|file| !file.is_new);
        let cut = self.file.metadata().and_then(|found| {
            // A pipe or a device cannot be cut.
            if is_old && found.is_file() {
                self.file.set_len(keep)?;
                self.file.seek(SeekFrom::Start(keep))?;
            }
            Ok(())
        });
        cut.map_err(|source| OutputError::from_write(&self.name, source))
    }

    /// The same file once more, begun already.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    #[cfg(feature = "parquet")]
    pub(super) fn again(&self) -> Result<Self, OutputError> {
        let file = self.file.try_clone().map_err(|source| OutputError::from_write(&self.name, source))?;
        Ok(Self::from_file(file, &self.name))
    }

    /// The file, if it is one that was there before and can be read: what a scan is to be added to.
    pub(super) fn earlier(&mut self) -> Option<&mut File> {
        let is_old = self.untouched.as_ref().is_some_and(|file| !file.is_new);
        let is_file = self.file.metadata().is_ok_and(|found| found.is_file());
        (is_old && is_file).then_some(&mut self.file)
    }

    /// An output to a file that is open already.
    pub fn from_file(file: File, name: &str) -> Self {
        Self { file, name: name.to_owned(), untouched: None }
    }

    /// How messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The file at `path` for writing, and whether it was not there before.
fn open_file(path: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().write(true).read(true).create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        // A link to nowhere is there, too, and its file is made.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            // To be read where something may be added to it; a pipe's reading end is not ours to open.
            let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
            Ok((options.clone().read(is_file).open(path).or_else(|_| options.open(path))?, false))
        }
        Err(error) => Err(error),
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(Untouched { path, is_new: true }) = self.untouched.take() {
            // Nothing can be done about a file that cannot be removed.
            let _ = fs::remove_file(path);
        }
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
    fn a_file_is_as_it_was_until_results_begin() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        fs::write(&old, "old").unwrap();
        for (path, before) in [(&old, Some("old")), (&new, None)] {
            let text = path.to_str().unwrap();
            drop(Output::open(text).unwrap());
            assert_eq!(fs::read_to_string(path).ok().as_deref(), before);
            let mut output = Output::open(text).unwrap();
            output.begin(0).unwrap();
            output.write_all(b"n").unwrap();
            drop(output);
            assert_eq!(fs::read(path).unwrap(), b"n");
        }
        for other in ["-", "/dev/null"] {
            Output::open(other).unwrap().begin(0).unwrap();
        }
        assert!(fs::metadata("/dev/null").is_ok());
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
