//! The destinations that a user named, opened before the first packet. Everything that all outputs share about opening,
//! replacing, appending, waiting and finishing is here and nowhere else.
//!
//! What always holds:
//! - Opening changes nothing: a file keeps its content until [`Output::begin`], and a file that was created for a scan
//!   that never began is removed again.
//! - An existing device, pipe or link stays what it is. A file that is replaced passes its mode and owner on to the
//!   new one ([`Replacement`]).
//! - [`Output::finish`] reports whether everything written is on the disk. Until then it may be in the kernel's memory.
//! - A reader that does not read delays a thread for no longer than [`Patience`] allows. A write that fails is tried
//!   again for as long, if the patience says so; what was accepted before is not written a second time.
//!
//! Nothing is buffered here: the sinks buffer. Errors are classified here: a reader that has gone (`| head`) ends a
//! scan quietly, anything else is an error that names the file.

mod patience;
mod place;
mod replacement;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Seek, SeekFrom, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::printable::printable;
use patience::Failures;
pub use patience::{Patience, Retry, Trouble, has_room};
pub use place::{Place, Reach, UnderWay};
pub use replacement::{Replacement, followed};

/// An error of an output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The file could not be opened.
    #[error("cannot open {name} for writing ({source}); name a file in a directory you may write to")]
    Open {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The reader of the results closed the pipe: it needs no more.
    #[error("the reader of {name} went away")]
    BrokenPipe {
        /// The file.
        name: String,
    },
    /// The file could not be written, for example because the disk is full. Everything written before is kept.
    #[error("cannot write to {name} ({source}); the results are incomplete")]
    Write {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The reader of the results has stopped reading, and the scan is over.
    #[error(
        "the reader of {name} stopped reading, and the wait for it has ended; the results are incomplete"
    )]
    Stuck {
        /// The file.
        name: String,
    },
    /// The thread that writes the results has panicked.
    #[error("the results are incomplete: the thread that writes them panicked")]
    Panic,
    /// An earlier scan has left a file of the series.
    #[error("{name} exists from an earlier scan; move it away")]
    Exists {
        /// The file.
        name: String,
    },
    /// The output is not possible as requested.
    #[error("{what}")]
    Refused {
        /// The part of the request that is not possible.
        part: OutputPart,
        /// The reason and the remedy.
        what: String,
    },
    /// A server does not accept the results, or no longer.
    #[error("{name}: {what}; the results are incomplete")]
    Server {
        /// The server.
        name: String,
        /// The server's error.
        what: String,
    },
}

/// A part of what is requested of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputPart {
    /// The file.
    File,
    /// To continue after what an earlier scan wrote.
    Append,
    /// A new file after so many bytes.
    RotateBytes,
    /// A new file after so much time.
    RotateTime,
    /// The kind of output.
    Module,
    /// What else the kind of output is told.
    Arguments,
}

impl OutputError {
    /// The system's error, for an error that adds all else.
    pub fn into_source(self) -> io::Error {
        match self {
            Self::Open { source, .. } | Self::Write { source, .. } => source,
            other => io::Error::other(other),
        }
    }

    /// An error of a write to the output called `name`.
    pub(super) fn from_write(name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe { name },
            io::ErrorKind::TimedOut => Self::Stuck { name },
            _ => Self::Write { name, source },
        }
    }
}

/// An open file or standard output.
#[derive(Debug)]
pub struct Output {
    file: Option<File>,
    name: String,
    kind: OutputKind,
    untouched: Option<Untouched>,
    /// The directory of a file, whose entry for the file is also synced to the disk.
    folder: Option<Arc<File>>,
    patience: Arc<Patience>,
    failures: Failures,
}

/// The kind of destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputKind {
    /// A regular file.
    File,
    /// A pipe, a terminal or a socket, which may have no room, and the number of bytes per write. It accepts this many
    /// without waiting once `poll(2)` reports room.
    Stream(usize),
    /// A device.
    Other,
}

/// Bytes that a pipe accepts whole (`PIPE_BUF`, pipe(7)).
const PIPE_LEN: usize = 4096;
/// Bytes that a terminal accepts once it has room (`WAKEUP_CHARS` of the kernel's drivers/tty/n_tty.c).
const TERMINAL_LEN: usize = 256;

impl OutputKind {
    fn of(file: &File) -> Self {
        match file.metadata().map(|found| found.file_type()) {
            Ok(kind) if kind.is_file() => Self::File,
            Ok(kind) if kind.is_fifo() || kind.is_socket() => Self::Stream(PIPE_LEN),
            Ok(kind) if kind.is_char_device() && file.is_terminal() => Self::Stream(TERMINAL_LEN),
            _ => Self::Other,
        }
    }
}

/// A file that has been opened and not written to.
#[derive(Debug)]
struct Untouched {
    path: PathBuf,
    /// Whether it did not exist before.
    is_new: bool,
}

impl Output {
    /// Opens `path` and leaves its content; `-` is standard output.
    ///
    /// # Errors
    /// [`OutputError::Open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OutputError> {
        let path = path.as_ref();
        if path == Path::new("-") {
            let name = "standard output".to_owned();
            // A separate descriptor: the standard library would flush its stdout at every line.
            return match io::stdout().as_fd().try_clone_to_owned() {
                Ok(descriptor) => Ok(Self::from_file(descriptor.into(), &name)),
                Err(source) => Err(OutputError::Open { name, source }),
            };
        }
        match open_file(path) {
            Ok((file, is_new)) => {
                let mut output = Self::from_file(file, &printable(path));
                output.untouched = Some(Untouched { path: path.to_owned(), is_new });
                output.folder = folder_of(path);
                Ok(output)
            }
            Err(source) => Err(OutputError::Open { name: printable(path), source }),
        }
    }

    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// [`OutputError::Open`], also if it exists.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let name = printable(path);
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => {
                let mut output = Self::from_file(file, &name);
                output.folder = folder_of(path);
                Ok(output)
            }
            Err(source) => Err(OutputError::Open { name, source }),
        }
    }

    /// Truncates a file to its first `keep` bytes; results follow them. Standard output stays as it is, because a shell
    /// may have opened it to append.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn begin(&mut self, keep: u64) -> Result<(), OutputError> {
        let is_old = self.untouched.take().is_some_and(|file| !file.is_new);
        // A pipe or a device cannot be truncated.
        let Some(file) = self.file.as_mut().filter(|_| is_old && self.kind == OutputKind::File) else {
            return Ok(());
        };
        let cut = file.set_len(keep).and_then(|()| file.seek(SeekFrom::Start(keep)));
        cut.map(drop).map_err(|source| OutputError::from_write(&self.name, source))
    }

    /// What is written next overwrites the last `len` bytes of a file.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn step_back(&mut self, len: u64) -> Result<(), OutputError> {
        let back = self.opened().and_then(|mut file| file.seek(SeekFrom::Current(-len.cast_signed())));
        back.map(drop).map_err(|source| OutputError::from_write(&self.name, source))
    }

    /// From now on, waits for a reader only as long as `patience` allows.
    pub fn be_patient(&mut self, patience: &Arc<Patience>) {
        self.patience = Arc::clone(patience);
    }

    /// As patient as another output.
    pub fn be_patient_as(&mut self, other: &Self) {
        self.patience = Arc::clone(&other.patience);
    }

    /// Does `work` until it succeeds, as patiently as writes are done.
    ///
    /// # Errors
    /// The last error of `work`.
    pub fn persist<T>(&mut self, mut work: impl FnMut() -> Result<T, OutputError>) -> Result<T, OutputError> {
        loop {
            match work() {
                Err(OutputError::Open { source, .. })
                    if self.failures.may_end(&self.patience, &self.name, &source) => {}
                Err(error) => return Err(error),
                Ok(done) => {
                    self.failures.end(&self.patience, &self.name);
                    return Ok(done);
                }
            }
        }
    }

    /// The same file once more, already begun. Only the original one is finished.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn again(&self) -> Result<Self, OutputError> {
        let file = self.opened().and_then(File::try_clone);
        let file = file.map_err(|source| OutputError::from_write(&self.name, source))?;
        let mut again = Self::from_file(file, &self.name);
        again.patience = Arc::clone(&self.patience);
        Ok(again)
    }

    /// The file once more, for syncing it to the disk. `None` if it is not a regular file, or closed.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn file(&self) -> Result<Option<File>, OutputError> {
        let file = self.file.as_ref().filter(|_| self.kind == OutputKind::File);
        let file = file.map(File::try_clone).transpose();
        file.map_err(|source| OutputError::from_write(&self.name, source))
    }

    /// The file, if it existed before and is readable: a scan appends to it.
    pub fn earlier(&mut self) -> Option<&mut File> {
        let is_old = self.untouched.as_ref().is_some_and(|file| !file.is_new);
        self.file.as_mut().filter(|_| is_old && self.kind == OutputKind::File)
    }

    /// An output to a file that is already open.
    pub fn from_file(file: File, name: &str) -> Self {
        let kind = OutputKind::of(&file);
        let (patience, failures) = (Arc::default(), Failures::default());
        Self {
            file: Some(file),
            name: name.to_owned(),
            kind,
            untouched: None,
            folder: None,
            patience,
            failures,
        }
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a regular file: only those can be truncated or followed by further files.
    pub fn is_file(&self) -> bool {
        self.kind == OutputKind::File
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.kind == OutputKind::Stream(TERMINAL_LEN)
    }

    /// Whether it has room for a line now.
    pub fn has_room(&self) -> bool {
        match (&self.file, self.kind) {
            (Some(file), OutputKind::Stream(_)) => has_room(file.as_fd()),
            _ => true,
        }
    }

    /// Syncs a file to the disk and closes it. Nothing more is written.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn finish(&mut self) -> Result<(), OutputError> {
        let on_disk = match (&self.file, self.kind) {
            (Some(file), OutputKind::File) => sync(file, self.folder.as_deref()),
            _ => Ok(()),
        };
        let closed = self.close();
        on_disk.map_err(|source| OutputError::from_write(&self.name, source)).and(closed)
    }

    /// Closes a file that is on the disk by other means. Nothing more is written.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn close(&mut self) -> Result<(), OutputError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        // Some file systems report errors only when a file is closed.
        let closed = nix::unistd::close(file).map_err(io::Error::from);
        closed.map_err(|source| OutputError::from_write(&self.name, source))
    }

    fn opened(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::other("it is closed"))
    }
}

/// Syncs a file to the disk, and its directory's entry for it.
fn sync(file: &File, folder: Option<&File>) -> io::Result<()> {
    file.sync_all()?;
    folder.map_or(Ok(()), sync_folder)
}

/// Syncs the entries of a directory to the disk, on file systems that support it.
pub fn sync_folder(folder: &File) -> io::Result<()> {
    match folder.sync_all() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Ok(()),
        synced => synced,
    }
}

/// The path of a file's directory.
pub fn folder_path(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The directory of a file; `None` if it can be written to but not read.
pub fn folder_of(path: &Path) -> Option<Arc<File>> {
    File::open(folder_path(path)).ok().map(Arc::new)
}

/// Opens the file at `path` for writing; also returns whether it did not exist before.
fn open_file(path: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().write(true).read(true).create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        // A dangling link also exists, and opening it creates its file.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            // Open it for reading as well if results may be appended; the reading end of a pipe is not ours to open.
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
    /// Waits if there is no room, also where the other end of a pipe made it non-blocking: that must not lose results.
    /// An error leaves nothing of `bytes` in the file, so they can be written again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.opened()?;
        loop {
            match self.write_once(bytes) {
                Err(error) if self.failures.may_end(&self.patience, &self.name, &error) => {}
                Ok(count) if count == bytes.len() => {
                    self.failures.end(&self.patience, &self.name);
                    return Ok(count);
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn write_once(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.opened()?;
        let OutputKind::Stream(most) = self.kind else { return file.write(bytes) };
        loop {
            self.patience.wait_for_room(file.as_fd())?;
            match file.write(&bytes[..bytes.len().min(most)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.patience.moved();
                    return written;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
