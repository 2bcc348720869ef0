//! The metadata file: one line of JSON, written completely or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, getegid, geteuid};
use serde::Serialize;

use crate::printable::printable;
use crate::results::output::{Output, OutputError, Replacement};

/// Why the metadata could not be written.
#[derive(Debug, thiserror::Error)]
#[error("--metadata-file: cannot write {path} ({source}); name a file in a directory you may write to")]
#[non_exhaustive]
pub struct MetadataError {
    /// The file.
    pub path: String,
    /// Why.
    pub source: io::Error,
}

/// Where the metadata will be written.
#[derive(Debug)]
pub struct MetadataFile {
    path: PathBuf,
    place: Destination,
}

/// What kind of file a path names.
#[derive(Debug)]
enum Destination {
    Stdout,
    /// A device or a pipe: written to, never replaced.
    Special(PathBuf),
    /// A file of another owner, which would change its owner if replaced: also written to.
    Theirs(File),
    /// Our file, or none yet: replaced as a whole.
    Ours,
}

impl MetadataFile {
    /// Checks, before the scan, that the metadata can be written to `path`. Does not change a file there, and creates
    /// none.
    ///
    /// # Errors
    /// [`MetadataError`], which names the file.
    pub fn open(path: &Path) -> Result<Self, MetadataError> {
        let place =
            Destination::of(path).map_err(|source| MetadataError { path: printable(path), source })?;
        Ok(Self { path: path.to_owned(), place })
    }

    /// Whether it is opened only when it is written.
    pub fn is_opened_later(&self) -> bool {
        matches!(self.place, Destination::Ours | Destination::Special(_))
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `value` as one line.
    ///
    /// # Errors
    /// [`MetadataError`], which names the file.
    pub fn write(&self, value: &impl Serialize) -> Result<(), MetadataError> {
        self.try_to_write(value).map_err(|source| MetadataError { path: printable(&self.path), source })
    }

    fn try_to_write(&self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        match &self.place {
            Destination::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&line)?;
                stdout.flush()
            }
            Destination::Special(path) => OpenOptions::new().write(true).open(path)?.write_all(&line),
            Destination::Theirs(file) => {
                file.set_len(0)?;
                (&*file).write_all(&line)?;
                file.sync_all()
            }
            Destination::Ours => match replacement(&self.path)? {
                Some((replacement, mut output)) => write_whole(&replacement, &mut output, &line),
                // If a file has appeared there since, it is written to.
                None => OpenOptions::new().write(true).open(&self.path)?.write_all(&line),
            },
        }
    }
}

impl Destination {
    fn of(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        if let Ok(found) = fs::metadata(path) {
            let is_ours = found.uid() == geteuid().as_raw() && found.gid() == getegid().as_raw();
            if found.is_file() && !is_ours {
                return Ok(Self::Theirs(OpenOptions::new().write(true).open(path)?));
            }
        }
        match replacement(path)? {
            Some(_) => Ok(Self::Ours),
            // Opening a pipe may block until it has a reader, so that is done at the end of the scan.
            None => {
                access(path, AccessFlags::W_OK)?;
                Ok(Self::Special(path.into()))
            }
        }
    }
}

/// A file that will replace the one at `path`, and is removed unless it is written to.
fn replacement(path: &Path) -> io::Result<Option<(Replacement, Output)>> {
    Replacement::open(path, ".", &format!(".{}.tmp", std::process::id()))
}

fn write_whole(replacement: &Replacement, output: &mut Output, line: &[u8]) -> io::Result<()> {
    output.write_all(line)?;
    output.begin(line.len() as u64).and_then(|()| output.finish()).map_err(OutputError::into_source)?;
    replacement.put_in_place()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    fn write(path: impl AsRef<Path>, value: &impl Serialize) -> Result<(), MetadataError> {
        MetadataFile::open(path.as_ref())?.write(value)
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("meta.json");
        drop(MetadataFile::open(&path).unwrap());
        assert!(names(directory.path()).is_empty());
        write(&path, &[1, 2]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let old = File::open(&path).unwrap();
        drop(MetadataFile::open(&path).unwrap());
        write(&path, &"new").unwrap();
        assert_eq!(io::read_to_string(old).unwrap(), "[1,2]\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"new\"\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(names(directory.path()), ["meta.json"]);
    }

    #[test]
    fn link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        for value in [7, 8] {
            write(&link, &value).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{value}\n"));
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
    }

    #[test]
    fn pipe_and_device_are_written_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // A pipe that is open for reading and writing needs no other end.
        let mut reader = File::options().read(true).write(true).open(&pipe).unwrap();
        write(&pipe, &7).unwrap();
        let mut text = [0; 2];
        io::Read::read_exact(&mut reader, &mut text).unwrap();
        assert!(&text == b"7\n" && fs::metadata(&pipe).unwrap().file_type().is_fifo());
        let error = write("/dev/full", &7).unwrap_err().to_string();
        assert!(error.contains("/dev/full") && error.contains("No space"), "{error}");
    }

    #[test]
    fn failure_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("no/meta.json");
        let error = MetadataFile::open(&missing).unwrap_err().to_string();
        assert!(error.contains("no/meta.json"), "{error}");
        assert!(MetadataFile::open(directory.path()).is_err());
        assert!(names(directory.path()).is_empty());
    }
}
