//! One JSON line into a file, all or nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use serde::Serialize;

use crate::printable::printable;

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

/// Finds out, before the scan, whether [`Metadata::write`](super::Metadata::write) to `path` can work. Leaves a file
/// at `path` as it is and creates none.
///
/// # Errors
/// [`MetadataError`], which names the file.
pub fn check(path: impl AsRef<Path>) -> Result<(), MetadataError> {
    let path = path.as_ref();
    let checked = Place::of(path).and_then(|place| match place {
        Place::Stdout => Ok(()),
        // A pipe may block until somebody reads it; that is for the end of the scan.
        Place::Special(path) => access(&path, AccessFlags::W_OK).map_err(io::Error::from),
        Place::File(path) => Replacement::create(&path).map(drop),
    });
    checked.map_err(|source| MetadataError { path: printable(path), source })
}

/// Writes `value` as one line to `path`.
pub(super) fn write(path: impl AsRef<Path>, value: &impl Serialize) -> Result<(), MetadataError> {
    let path = path.as_ref();
    let written = (|| {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        match Place::of(path)? {
            Place::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&line)?;
                stdout.flush()
            }
            Place::Special(path) => OpenOptions::new().write(true).open(path)?.write_all(&line),
            Place::File(path) => {
                let mut replacement = Replacement::create(&path)?;
                replacement.file.write_all(&line)?;
                replacement.put_in_place(&path)
            }
        }
    })();
    written.map_err(|source| MetadataError { path: printable(path), source })
}

/// What a path stands for.
enum Place {
    Stdout,
    /// A device, a pipe: written to, never replaced.
    Special(PathBuf),
    /// A regular file, or none yet.
    File(PathBuf),
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        // A link is followed, so that the file it points to is replaced and not the link.
        let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        match fs::metadata(&resolved) {
            Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => Ok(Self::Special(resolved)),
            _ => Ok(Self::File(resolved)),
        }
    }
}

/// A file beside the one that it will replace; removed unless put in its place.
struct Replacement {
    file: File,
    path: PathBuf,
    placed: bool,
}

impl Replacement {
    fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        let path = target.with_file_name(hidden);
        // Never through a file or link that lies there already.
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { file, path, placed: false })
    }

    fn put_in_place(mut self, target: &Path) -> io::Result<()> {
        // A name must not come to stand for a file whose data a crash can still lose.
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.placed {
            // Nothing can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileTypeExt;

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
        let text = path.to_str().unwrap();
        check(text).unwrap();
        assert!(names(directory.path()).is_empty());
        write(text, &[1, 2]).unwrap();
        let old = File::open(&path).unwrap();
        check(text).unwrap();
        write(text, &"new").unwrap();
        assert_eq!(io::read_to_string(old).unwrap(), "[1,2]\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"new\"\n");
        assert_eq!(names(directory.path()), ["meta.json"]);
    }

    #[test]
    fn link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(link.to_str().unwrap(), &7).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "7\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn device_is_written_and_not_replaced() {
        check("/dev/null").unwrap();
        write("/dev/null", &7).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let error = write("/dev/full", &7).unwrap_err().to_string();
        assert!(error.contains("/dev/full") && error.contains("No space"), "{error}");
    }

    #[test]
    fn failure_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("no/meta.json");
        let error = check(missing.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("no/meta.json"), "{error}");
        assert!(write(missing.to_str().unwrap(), &7).is_err());
        assert!(check(directory.path().to_str().unwrap()).is_err());
        assert!(names(directory.path()).is_empty());
    }
}
