//! One JSON line into a file, all or nothing.

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

/// Where metadata will be written.
#[derive(Debug)]
pub struct MetadataFile {
    path: PathBuf,
    place: Place,
}

/// What a path stands for.
#[derive(Debug)]
enum Place {
    Stdout,
    /// A device, a pipe: written to, never replaced.
    Special(PathBuf),
    /// A file of another owner, which only it can keep being: written to, too.
    Theirs(File),
    /// Our file, or none yet: replaced as a whole.
    Ours,
}

impl MetadataFile {
    /// Finds out, before the scan, whether the metadata can be written to `path`. Leaves a file there as it is and creates
    /// none.
    ///
    /// # Errors
    /// [`MetadataError`], which names the file.
    pub fn open(path: &Path) -> Result<Self, MetadataError> {
        let place = Place::of(path).map_err(|source| MetadataError { path: printable(path), source })?;
        Ok(Self { path: path.to_owned(), place })
    }

    /// Whether it is only opened when it is written.
    pub fn is_opened_later(&self) -> bool {
        matches!(self.place, Place::Ours | Place::Special(_))
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
            Place::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&line)?;
                stdout.flush()
            }
            Place::Special(path) => OpenOptions::new().write(true).open(path)?.write_all(&line),
            Place::Theirs(file) => {
                file.set_len(0)?;
                (&*file).write_all(&line)?;
                file.sync_all()
            }
            Place::Ours => match replacement(&self.path)? {
                Some((replacement, mut output)) => write_whole(&replacement, &mut output, &line),
                // What has come there since is written to.
                None => OpenOptions::new().write(true).open(&self.path)?.write_all(&line),
            },
        }
    }
}

impl Place {
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
            // A pipe may block until somebody reads it; that is for the end of the scan.
            None => {
                access(path, AccessFlags::W_OK)?;
                Ok(Self::Special(path.into()))
            }
        }
    }
}

/// A file that will take the place of the one at `path`, and is removed unless it is written to.
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
    fn device_is_written_and_not_replaced() {
        write("/dev/null", &7).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
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
