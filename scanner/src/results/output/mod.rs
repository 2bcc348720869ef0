//! What a user named to be written to, opened before the first packet: whatever all outputs share about opening, replacing,
//! adding, waiting and ending is here, and here alone.
//!
//! What always holds:
//! - Opening changes nothing yet: a file keeps what it holds until [`Output::begin`], and one that was made for a scan that
//!   never began is removed again.
//! - What is there stays what it is: a device, a pipe, a link. A file that a new one takes the place of hands its mode and
//!   owner on ([`Replacement`]).
//! - [`Output::finish`] says whether what was written is on the disk. Until then it may be in the kernel's memory.
//! - A reader that takes nothing holds nobody up for longer than [`Patience`] allows.
//!
//! Not buffered: the sinks buffer. What can go wrong is told apart here: a reader that went away (`| head`) ends a
//! scan quietly, anything else is an error that names the file.

mod patience;
mod replacement;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::printable::printable;
pub use patience::{Patience, has_room};
pub use replacement::Replacement;

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
    /// Whoever reads the results takes nothing any more, and the scan is over.
    #[error(
        "--output-file: {name} took nothing any more, and was waited for no longer (--output-wait, or an interrupt); the results \
         are incomplete"
    )]
    Stuck {
        /// The file.
        name: String,
    },
    /// What writes the results came to a fault of its own.
    #[error("the results are incomplete: what writes them has ended by a panic")]
    Panic,
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
    /// What the system said, for an error that says all else.
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
    kind: Kind,
    untouched: Option<Untouched>,
    /// The folder that a file is in, whose entry for it goes to the disk, too.
    folder: Option<Arc<File>>,
    patience: Arc<Patience>,
}

/// What is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A regular file.
    File,
    /// A pipe, a terminal or a socket, which may have no room; the number of bytes that are written to it at a time. It
    /// takes so many without waiting once `poll(2)` says that it takes any.
    Stream(usize),
    /// A device.
    Other,
}

/// What a pipe takes whole (`PIPE_BUF`, pipe(7)).
const PIPE_LEN: usize = 4096;
/// What a terminal takes once it takes any (`WAKEUP_CHARS` of the kernel's drivers/tty/n_tty.c).
const TERMINAL_LEN: usize = 256;

impl Kind {
    fn of(file: &File) -> Self {
        match file.metadata().map(|found| found.file_type()) {
            Ok(kind) if kind.is_file() => Self::File,
            Ok(kind) if kind.is_fifo() || kind.is_socket() => Self::Stream(PIPE_LEN),
            Ok(kind) if kind.is_char_device() && file.is_terminal() => Self::Stream(TERMINAL_LEN),
            _ => Self::Other,
        }
    }
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

    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// [`OutputError::Open`], also if there is one.
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

    /// Leaves the first `keep` bytes of a file, and no more: results are about to come behind them. Standard output
    /// stays as it is: a shell may have opened it to append.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn begin(&mut self, keep: u64) -> Result<(), OutputError> {
        let is_old = self.untouched.take().is_some_and(|file| !file.is_new);
        // A pipe or a device cannot be cut.
        let Some(file) = self.file.as_mut().filter(|_| is_old && self.kind == Kind::File) else {
            return Ok(());
        };
        let cut = file.set_len(keep).and_then(|()| file.seek(SeekFrom::Start(keep)));
        cut.map(drop).map_err(|source| OutputError::from_write(&self.name, source))
    }

    /// From now on, a reader that takes nothing is waited for no longer than `patience` allows.
    pub fn be_patient(&mut self, patience: &Arc<Patience>) {
        self.patience = Arc::clone(patience);
    }

    /// The same file once more, begun already. It is the other one that is to be finished.
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

    /// The file, if it is one that was there before and can be read: what a scan is to be added to.
    pub fn earlier(&mut self) -> Option<&mut File> {
        let is_old = self.untouched.as_ref().is_some_and(|file| !file.is_new);
        self.file.as_mut().filter(|_| is_old && self.kind == Kind::File)
    }

    /// An output to a file that is open already.
    pub fn from_file(file: File, name: &str) -> Self {
        let kind = Kind::of(&file);
        let patience = Arc::default();
        Self { file: Some(file), name: name.to_owned(), kind, untouched: None, folder: None, patience }
    }

    /// How messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a regular file: only such have an end that can be cut off, and others after them.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Whether somebody may be looking at it.
    pub fn is_terminal(&self) -> bool {
        self.kind == Kind::Stream(TERMINAL_LEN)
    }

    /// Whether it would take a line at once.
    pub fn has_room(&self) -> bool {
        match (&self.file, self.kind) {
            (Some(file), Kind::Stream(_)) => has_room(file.as_fd()),
            _ => true,
        }
    }

    /// Brings what was written to the disk, if it is a file, and closes it. Nothing more is written.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn finish(&mut self) -> Result<(), OutputError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let on_disk = match self.kind {
            Kind::File => sync(&file, self.folder.as_deref()),
            Kind::Stream(_) | Kind::Other => Ok(()),
        };
        // Some file systems have their say only when a file is closed.
        let closed = nix::unistd::close(file).map_err(io::Error::from);
        on_disk.and(closed).map_err(|source| OutputError::from_write(&self.name, source))
    }

    fn opened(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::other("it is closed"))
    }
}

/// Brings a file to the disk, and the entry that its folder has for it.
fn sync(file: &File, folder: Option<&File>) -> io::Result<()> {
    file.sync_all()?;
    folder.map_or(Ok(()), sync_folder)
}

/// Brings the entries of a folder to the disk, on file systems where they can be.
fn sync_folder(folder: &File) -> io::Result<()> {
    match folder.sync_all() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Ok(()),
        synced => synced,
    }
}

/// The folder that a file is in; `None` where it may be written to and not be read.
fn folder_of(path: &Path) -> Option<Arc<File>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).ok().map(Arc::new)
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
    /// Waits where there is no room, and where the other end of a pipe made it non-blocking: that must not lose results.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.opened()?;
        let Kind::Stream(most) = self.kind else { return file.write(bytes) };
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

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

    /// What a killed scan has left under the other name is no obstacle, but somebody's link there is.
    #[test]
    fn a_file_in_anothers_place() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let [file, link, part] = ["r", "link", "r.part"].map(|name| directory.path().join(name));
        let open = |path: &Path| Replacement::open(path, "", ".part");
        symlink("r", &link).unwrap();
        drop(open(&link).unwrap().unwrap());
        assert!(!part.exists() && !file.exists());
        for (text, left) in [("one", None), ("two", Some("of a killed scan"))] {
            left.inspect(|left| fs::write(&part, left).unwrap());
            let (replacement, mut output) = open(&link).unwrap().unwrap();
            output.begin(0).unwrap();
            output.write_all(text.as_bytes()).unwrap();
            output.finish().unwrap();
            replacement.put_in_place().unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            assert!(link.is_symlink() && !part.exists());
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        symlink("/etc/passwd", &part).unwrap();
        assert_eq!(open(&file).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert!(open(Path::new("/dev/null")).unwrap().is_none());
        symlink("self", directory.path().join("self")).unwrap();
        assert_eq!(open(&directory.path().join("self")).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    }

    /// A reader that takes nothing is waited for until there is no patience any more, and what it took before is known.
    #[test]
    fn patience_ends() {
        let (reader, writer) = io::pipe().unwrap();
        let mut output = Output::from_file(File::from(OwnedFd::from(writer)), "pipe");
        let patience = Arc::<Patience>::default();
        output.be_patient(&patience);
        let ending = Arc::clone(&patience);
        let ends = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(200));
            ending.end();
        });
        let error = output.write_all(&[0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(ends.is_finished() && patience.moves() >= 16, "a pipe holds 64 KiB");
        assert!(matches!(OutputError::from_write("pipe", error), OutputError::Stuck { .. }));
        assert!(!output.has_room());
        drop(reader);
        assert_eq!(output.write(&[0]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
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
