//! The file of a checkpoint. It is written completely under another name, synced to the disk, and then given its name,
//! so that at any moment, also after a power cut, the file is a whole checkpoint.
//!
//! Two files belong to it and are beside it: the journal of repeats, `-seen` behind its name, and the copy of the block
//! list, `-blocklist` behind its name. They are moved and removed with it.
//!
//! The process whose scan it is holds a lock on the file (`flock`) as long as it lives; the kernel releases it however
//! the process ends. What always holds: a checkpoint counts only if it is a regular file, not a link, that belongs to
//! root or to the user and that nobody else can write, because it says where probes go and which files are cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use targets::RangeSet;

use super::{Checkpoint, Request, State, blocklist, digits};
use crate::printable::printable;
use crate::results::output::{folder_of, sync_folder};
use crate::results::sink;

/// Longest checkpoint that is read: more than that of a block list of a million networks. Lower: real checkpoints are
/// refused. Higher: more memory for a file that is not a checkpoint.
const LEN_MAX: u64 = 1 << 26;

/// What is behind the name of a checkpoint: the journal of repeats, and the copy of the block list.
const SEEN: &str = "-seen";
const BLOCKLIST: &str = "-blocklist";

/// Why a checkpoint cannot be used: one line, without the flag.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", printable(.path))]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// The reason and the remedy.
    pub what: String,
    /// Whether another process has it.
    pub is_held: bool,
}

/// The checkpoint of this process's scan.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    /// Holds the lock; none before the first checkpoint is written.
    file: Option<File>,
}

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A checkpoint that no other process holds.
    Checkpoint(Held, Box<Checkpoint>),
}

impl Held {
    /// The checkpoint at this path, which is not written yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finds out whether files can be made beside the path, and changes nothing.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn check_place(&self) -> io::Result<()> {
        let interim = interim(&self.path);
        write_new(&interim, &[]).and_then(|_| fs::remove_file(interim))
    }

    /// Takes what is at this path.
    ///
    /// # Errors
    /// It is not a checkpoint, is not safe to use, or another process holds it.
    pub fn take(path: &Path) -> Result<Found, FileError> {
        let refused = |what: String| FileError { path: path.to_owned(), what, is_held: false };
        let held = || FileError {
            path: path.to_owned(),
            what: "its scan is running in another process".to_owned(),
            is_held: true,
        };
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(refused("it is a link; name the file itself".to_owned()));
            }
            opened => opened.map_err(|error| refused(error.to_string()))?,
        };
        let found = file.metadata().map_err(|error| refused(error.to_string()))?;
        let own = nix::unistd::geteuid().as_raw();
        if !found.is_file() {
            return Err(refused("it is not a regular file".to_owned()));
        }
        if found.uid() != 0 && found.uid() != own {
            return Err(refused(format!("it belongs to user {}: resume as that user", found.uid())));
        }
        if found.mode() & 0o022 != 0 {
            return Err(refused("others may write to it; if nobody has, `chmod 600` it".to_owned()));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(held()),
            Err(fs::TryLockError::Error(error)) => return Err(refused(error.to_string())),
        }
        // The other process may just have written the next one.
        if fs::symlink_metadata(path).map(|now| now.ino()).ok() != Some(found.ino()) {
            return Err(held());
        }
        let mut text = Vec::new();
        (&file).take(LEN_MAX).read_to_end(&mut text).map_err(|error| refused(error.to_string()))?;
        let checkpoint = Checkpoint::parse(&text).map_err(refused)?;
        Ok(Found::Checkpoint(Self { path: path.to_owned(), file: Some(file) }, Box::new(checkpoint)))
    }

    /// The journal of repeats of the checkpoint at this path.
    pub fn seen(path: &Path) -> PathBuf {
        beside(path, SEEN)
    }

    /// Writes the networks that are blocked into their file, and its hash into `request`.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn write_blocked(&self, request: &mut Request) -> io::Result<()> {
        let path = beside(&self.path, BLOCKLIST);
        if request.blocked.ranges().is_empty() {
            request.blocked_sha256 = None;
            return remove(&path);
        }
        let compressed = blocklist::compressed(&request.blocked)?;
        put(&path, &compressed)?;
        request.blocked_sha256 = Some(digits(&Sha256::digest(&compressed)));
        Ok(())
    }

    /// Reads the networks that were blocked at the start of this checkpoint's scan.
    ///
    /// # Errors
    /// The file is not there, or is another one.
    pub fn read_blocked(&self, request: &Request) -> Result<RangeSet, FileError> {
        let Some(sha256) = &request.blocked_sha256 else { return Ok(RangeSet::default()) };
        let path = beside(&self.path, BLOCKLIST);
        let read = || {
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
            let mut compressed = Vec::new();
            file.take(LEN_MAX).read_to_end(&mut compressed)?;
            if digits(&Sha256::digest(&compressed)) != *sha256 {
                return Err(io::Error::other(
                    "it is not the copy of the block list that the checkpoint names",
                ));
            }
            blocklist::parse(&compressed)
        };
        read().map_err(|error| FileError { path: path.clone(), what: error.to_string(), is_held: false })
    }

    /// Removes the files beside a checkpoint that nobody needs any more.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn remove_beside(&self) -> io::Result<()> {
        [SEEN, BLOCKLIST].iter().try_for_each(|behind| remove(&beside(&self.path, behind)))
    }

    /// Writes the checkpoint. The file has all of the old text or all of the new one.
    ///
    /// # Errors
    /// The system's refusal. The file is then as it was, unless only its folder could not be synced.
    pub fn write(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        let text = checkpoint.to_text()?;
        if text.len() as u64 > LEN_MAX {
            return Err(io::Error::other("it is too long"));
        }
        self.file = Some(put(&self.path, &text)?);
        folder_of(&self.path).as_deref().map_or(Ok(()), sync_folder)
    }

    /// Moves an unfinished scan out of the way of a new one: its outputs and the checkpoint get the first number that
    /// is free behind their names. Returns the new name of the checkpoint.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn set_aside(mut self, mut checkpoint: Checkpoint) -> io::Result<Option<PathBuf>> {
        if checkpoint.state == State::Finished {
            self.remove_beside()?;
            return Ok(None);
        }
        let files = checkpoint.outputs.iter().filter(|output| !output.is_stream).map(|output| &output.file);
        let files: Vec<PathBuf> = files.chain([&self.path]).cloned().collect();
        let number = (1..).find(|number| files.iter().all(|file| !numbered(file, *number).exists()));
        let number = number.unwrap_or(u32::MAX);
        let is_atomic = checkpoint.request.is_set("atomic-output");
        for output in checkpoint.outputs.iter_mut().filter(|output| !output.is_stream) {
            let aside = numbered(&output.file, number);
            match output.partitions {
                Some(partitions) => partitions.set_aside(&output.file, &aside)?,
                None => sink::set_aside(&output.file, &aside, output.number, is_atomic)?,
            }
            output.file = aside;
        }
        let aside = numbered(&self.path, number);
        let old = std::mem::replace(&mut self.path, aside);
        for behind in [SEEN, BLOCKLIST] {
            match fs::rename(beside(&old, behind), beside(&self.path, behind)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.write(&checkpoint)?;
        fs::remove_file(old)?;
        Ok(Some(self.path))
    }
}

/// `results.csv.1` for `results.csv`, and `results.csv.1.xdpmap` for `results.csv.xdpmap`.
fn numbered(file: &Path, number: u32) -> PathBuf {
    let text = file.as_os_str().to_owned();
    if file.extension().is_some_and(|ending| ending == "xdpmap") {
        let mut name = file.with_extension("").into_os_string();
        name.push(format!(".{number}.xdpmap"));
        return name.into();
    }
    let mut name = text;
    name.push(format!(".{number}"));
    name.into()
}

fn beside(path: &Path, behind: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(behind);
    name.into()
}

/// Removes a file if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The name of a file until it is written.
fn interim(path: &Path) -> PathBuf {
    beside(path, &format!(".{}", std::process::id()))
}

/// Puts a file with this text in the place of what is at `path`. It is synced to the disk, and locked.
fn put(path: &Path, text: &[u8]) -> io::Result<File> {
    let interim = interim(path);
    let written = write_new(&interim, text).and_then(|file| {
        fs::rename(&interim, path)?;
        Ok(file)
    });
    written.inspect_err(|_| {
        let _ = fs::remove_file(&interim);
    })
}

/// Writes a file that is not there yet, syncs it to the disk, and locks it.
fn write_new(path: &Path, text: &[u8]) -> io::Result<File> {
    // Left by a killed process with this ID.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.try_lock()?;
    file.write_all(text)?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::tests::checkpoint;
    use super::*;

    fn refusal(path: &Path) -> String {
        Held::take(path).unwrap_err().what
    }

    #[test]
    fn written_held_and_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.csv.xdpmap");
        assert!(matches!(Held::take(&path).unwrap(), Found::Nothing));
        let mut held = Held::at(path.clone());
        let mut checkpoint = checkpoint();
        for bytes in [100, 200] {
            checkpoint.outputs[0].bytes = bytes;
            held.write(&checkpoint).unwrap();
            assert!(refusal(&path).contains("another process"));
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        }
        drop(held);
        let Found::Checkpoint(held, read) = Held::take(&path).unwrap() else { panic!("it is there") };
        assert_eq!(*read, checkpoint);
        assert!(refusal(&path).contains("another process"));
        drop(held);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(refusal(&path).contains("others may write"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(refusal(&link).contains("it is a link"));
        assert!(refusal(folder.path()).contains("not a regular file"));
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(refusal(&path).contains("missing field"));
    }

    #[test]
    fn an_unfinished_scan_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let [path, results] = ["r.csv.xdpmap", "r.csv"].map(|name| folder.path().join(name));
        let mut checkpoint = checkpoint();
        checkpoint.outputs[0].file = results.clone();
        for number in 1..3 {
            fs::write(&results, "saddr\n").unwrap();
            let mut held = Held::at(path.clone());
            held.write(&checkpoint).unwrap();
            let aside = held.set_aside(checkpoint.clone()).unwrap().unwrap();
            assert_eq!(aside, folder.path().join(format!("r.csv.{number}.xdpmap")));
            assert!(!path.exists() && !results.exists());
            let Found::Checkpoint(_, read) = Held::take(&aside).unwrap() else { panic!("it is there") };
            assert_eq!(read.outputs[0].file, folder.path().join(format!("r.csv.{number}")));
            assert_eq!(fs::read_to_string(&read.outputs[0].file).unwrap(), "saddr\n");
        }
        checkpoint.finish();
        let mut held = Held::at(path.clone());
        held.write(&checkpoint).unwrap();
        assert_eq!(held.set_aside(checkpoint).unwrap(), None, "a finished scan is in nobody's way");
    }
}
