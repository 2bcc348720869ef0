//! A file that is written under an interim name and then replaces the named file.
//!
//! What always holds: only a regular file is replaced, or none; a link is first followed to its file. The new file has
//! the mode and owner of the old one. It is on the disk before it gets its name, unless its writer can do without
//! ([`Replacement::rename`]). Until then the old file stays whole.
//! A scan that goes on may take a file's name back from it: what it writes on is not whole any more.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Output, Untouched, folder_of, sync_folder};
use crate::printable::printable;

/// Most links to follow, as in the kernel. More would only make a loop of links take longer.
const LINKS_MAX: usize = 40;

/// The name that a file has until it is complete, and its final name.
#[derive(Clone, Debug)]
pub struct Replacement {
    interim: PathBuf,
    target: PathBuf,
    folder: Option<Arc<File>>,
    /// Whether it has its final name already.
    is_named: bool,
}

impl Replacement {
    /// A file next to the one at `path`, with `before` and `behind` around its name: open, empty, and removed again
    /// unless it is written to. `None` if the existing destination cannot be replaced: it is then written directly.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, before: &str, behind: &str) -> io::Result<Option<(Self, Output)>> {
        let found = match fs::metadata(path) {
            Ok(found) if !found.is_file() && !found.is_dir() => return Ok(None),
            found => found.ok(),
        };
        let (interim, target) = Self::names(path, before, behind)?;
        let (file, is_new) = open_interim(&interim)?;
        let mut output = Output::from_file(file, &printable(path));
        output.untouched = Some(Untouched { path: interim.clone(), is_new });
        output.folder = folder_of(&target);
        if let Some(found) = found {
            output.opened().and_then(|file| take_after(file, &found)).map_err(|error| {
                let (owner, group) = (found.uid(), found.gid());
                let what = format!("a new file cannot get its owner {owner}:{group} and mode: {error}");
                io::Error::new(error.kind(), what)
            })?;
        }
        let folder = output.folder.clone();
        Ok(Some((Self { interim, target, folder, is_named: false }, output)))
    }

    /// As [`open`](Self::open), for a file of a scan that goes on: if it is not there by its interim name, it has got
    /// its final one in the meantime. It keeps that until [`take_back`](Self::take_back).
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn reopen(path: &Path, before: &str, behind: &str) -> io::Result<Option<(Self, Output)>> {
        let (interim, target) = Self::names(path, before, behind)?;
        let is_file = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_file());
        if interim.symlink_metadata().is_ok() || !is_file(&target) {
            return Self::open(path, before, behind);
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(&target)?;
        let mut output = Output::from_file(file, &printable(path));
        output.untouched = Some(Untouched { path: target.clone(), is_new: false });
        output.folder = folder_of(&target);
        let folder = output.folder.clone();
        Ok(Some((Self { interim, target, folder, is_named: true }, output)))
    }

    /// Gives the file its interim name again, if it has its final one.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn take_back(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_named) {
            fs::rename(&self.target, &self.interim)?;
        }
        Ok(())
    }

    /// The interim name, and the final one, of a file at `path`, with `before` and `behind` around the interim name.
    ///
    /// # Errors
    /// There can be no such file.
    pub fn names(path: &Path, before: &str, behind: &str) -> io::Result<(PathBuf, PathBuf)> {
        let target = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => fs::canonicalize(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => followed(path)?,
            Err(error) => return Err(error),
        };
        let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut interim = OsString::from(before);
        interim.push(name);
        interim.push(behind);
        Ok((target.with_file_name(interim), target))
    }

    /// Gives the file its final name. It is complete and on the disk.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn put_in_place(&self) -> io::Result<()> {
        self.rename()?;
        self.folder.as_deref().map_or(Ok(()), sync_folder)
    }

    /// Gives the file its final name, and leaves it to the kernel when that is on the disk: for what is soon written
    /// anew.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn rename(&self) -> io::Result<()> {
        fs::rename(&self.interim, &self.target)
    }
}

/// The path where a missing file would be created, perhaps through a dangling link.
///
/// # Errors
/// The links go in a circle.
pub fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("")).join(link),
            // Not a link, or it does not exist.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// The interim file: a new one, or one that a killed scan has left. Never through a link.
fn open_interim(path: &Path) -> io::Result<(File, bool)> {
    // It is read as well where a scan goes on in it.
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
            match file.metadata()? {
                found if found.is_file() && found.nlink() == 1 => Ok((file, false)),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Gives a file the owner and mode of another.
fn take_after(file: &File, found: &fs::Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    let differing = |own: u32, wanted: u32| (own != wanted).then_some(wanted);
    let (user, group) = (differing(own.uid(), found.uid()), differing(own.gid(), found.gid()));
    if user.is_some() || group.is_some() {
        fchown(file, user, group)?;
    }
    file.set_permissions(Permissions::from_mode(found.mode() & 0o7777))
}
