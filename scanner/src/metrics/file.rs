//! The file of the metrics. It is written under another name in its folder and then renamed, so that a reader finds all
//! of the old text or all of the new one.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::results::output::{Output, OutputError, Replacement};

/// A file that is replaced again and again.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
}

impl MetricsFile {
    /// Checks that the file can be written. Does not change what is there, and leaves nothing.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn open(path: &Path) -> io::Result<Self> {
        // A scan that has dropped its privileges cannot give a file to another user.
        if let Ok(found) = fs::metadata(path)
            && found.is_file()
            && found.uid() != geteuid().as_raw()
        {
            return Err(io::Error::other(format!("it belongs to user {}", found.uid())));
        }
        replacement(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces it. What it holds is soon written anew, so nothing waits for the disk.
    ///
    /// # Errors
    /// The system's refusal. The file is then as it was.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        let (replacement, mut output) = replacement(&self.path)?;
        output.write_all(text)?;
        output.begin(text.len() as u64).map_err(OutputError::into_source)?;
        replacement.rename()
    }
}

/// A file that will replace the one at `path`, and is removed unless it is written to. Its name does not end in
/// `.prom`, so that node_exporter does not read it.
fn replacement(path: &Path) -> io::Result<(Replacement, Output)> {
    let opened = Replacement::open(path, ".", &format!(".{}.tmp", std::process::id()))?;
    opened.ok_or_else(|| io::Error::other("it is not a regular file"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(folder).unwrap().map(name).collect()
    }

    #[test]
    fn replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.prom");
        let file = MetricsFile::open(&path).unwrap();
        assert_eq!(names(folder.path()), [""; 0], "nothing is made before the scan");
        file.write(b"first, and longer\n").unwrap();
        let old = fs::File::open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        // Of a killed process that had the same ID.
        fs::write(folder.path().join(format!(".scan.prom.{}.tmp", std::process::id())), [b'x'; 100]).unwrap();
        file.write(b"second\n").unwrap();
        assert_eq!(io::read_to_string(old).unwrap(), "first, and longer\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(names(folder.path()), ["scan.prom"]);
    }

    #[test]
    fn links_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        MetricsFile::open(&link).unwrap().write(b"text\n").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(path).unwrap(), "text\n");
    }

    #[test]
    fn what_is_in_the_way_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| MetricsFile::open(path).unwrap_err().to_string();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(refused(&pipe).contains("not a regular file"));
        assert!(refused(folder.path()).contains("directory"));
        assert!(refused(&folder.path().join("no/scan.prom")).contains("No such file"));
        assert_eq!(names(folder.path()), ["pipe"]);
    }
}
