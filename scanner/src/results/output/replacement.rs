//! A file that is written under another name and then takes the place of the one that was named.
//!
//! What always holds: only a regular file is replaced, or none; a link is followed to its file first. The new file has the
//! mode and owner of the old one, and is on the disk before it has its name. Until then the old one is there, whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Output, Untouched, folder_of, sync_folder};
use crate::printable::printable;

/// Most links that are followed.
const LINKS_MAX: usize = 40;

/// The name that a file has until it is complete, and the one that it will have.
#[derive(Clone, Debug)]
pub struct Replacement {
    interim: PathBuf,
    target: PathBuf,
    folder: Option<Arc<File>>,
}

impl Replacement {
    /// A file beside the one that `path` stands for, called as that one with `before` and `behind` around its name: open, empty,
    /// and removed again unless it is written to. `None` where what is there cannot be replaced: it is to be written to as it is.
    ///
    /// # Errors
    /// It is not to be had.
    pub fn open(path: &Path, before: &str, behind: &str) -> io::Result<Option<(Self, Output)>> {
        let (target, found) = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => return Ok(None),
            Ok(found) => (fs::canonicalize(path)?, Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (followed(path)?, None),
            Err(error) => return Err(error),
        };
        let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut interim = OsString::from(before);
        interim.push(name);
        interim.push(behind);
        let interim = target.with_file_name(interim);
        let (file, is_new) = open_interim(&interim)?;
        let mut output = Output::from_file(file, &printable(path));
        output.untouched = Some(Untouched { path: interim.clone(), is_new });
        output.folder = folder_of(&target);
        if let Some(found) = found {
            output.opened().and_then(|file| take_after(file, &found)).map_err(|error| {
                let (owner, group) = (found.uid(), found.gid());
                let what = format!(
                    "its owner {owner}:{group} and mode cannot be given to a file in its place: {error}"
                );
                io::Error::new(error.kind(), what)
            })?;
        }
        let folder = output.folder.clone();
        Ok(Some((Self { interim, target, folder }, output)))
    }

    /// Gives the file, which is complete and on the disk, its name.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn put_in_place(&self) -> io::Result<()> {
        fs::rename(&self.interim, &self.target)?;
        self.folder.as_deref().map_or(Ok(()), sync_folder)
    }
}

/// Where a file is made that is not there, perhaps through a link to nowhere.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("")).join(link),
            // No link, or nothing at all.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// A file for what is to come: a new one, or one that a killed scan has left. Never through a link.
fn open_interim(path: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
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
