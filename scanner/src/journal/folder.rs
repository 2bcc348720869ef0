//! The folder of the journals: writes, finds and locks their files.
//!
//! A journal is written completely under another name, synced to the disk, and then given its name, which must be free.
//! Only then is anything changed. Each process that will restore it (a scan, and its guardian) holds a shared lock on
//! the file (`flock`) as long as it lives; the kernel releases the lock however the process ends. A file without a lock
//! is left over. Unlike a process ID, a lock means the same in every container, and cannot be reused by another
//! process.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Journal, Kept};

/// The folder of the journals. It is empty after a reboot, when the drivers have their own settings again.
const FOLDER: &str = "/run/xdpmap";
/// Longest journal that is read: more than the masks of a thousand interrupts on as many cores. Lower: real journals
/// are refused. Higher: more memory for a file that is not a journal.
const LEN_MAX: u64 = 1 << 20;

/// A journal's file, open and locked.
#[derive(Debug)]
pub struct Held<T> {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub journal: Journal<T>,
    // Holds the lock.
    _file: File,
}

impl<T: Kept> Held<T> {
    /// Removes the file.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// Writes the journal anew, as it is now. The file has all of the old text or all of the new one.
    ///
    /// # Errors
    /// The system's refusal; the file is then as it was.
    pub fn rewrite(&mut self) -> io::Result<()> {
        let unnamed = unnamed(&self.path);
        let written = write(&unnamed, &self.journal).and_then(|file| {
            fs::rename(&unnamed, &self.path)?;
            Ok(file)
        });
        let _ = fs::remove_file(&unnamed);
        self._file = written?;
        sync_folder(&self.path)
    }
}

/// The result of trying to hold a journal.
#[derive(Debug)]
pub enum JournalLock<T> {
    /// It is ours, and nobody else's.
    Alone(Held<T>),
    /// Another process works with it, or will restore what was there.
    Taken(Journal<T>),
    /// It is not a journal.
    Nonsense(String),
    /// It is gone.
    Gone,
}

/// The folder of the journals.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder of the host.
    pub fn of_host() -> Self {
        Self(PathBuf::from(FOLDER))
    }

    /// The one at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it belongs to another user, so that root needs a capability to change it.
    pub fn is_of_another(&self) -> bool {
        let own = nix::unistd::geteuid().as_raw();
        fs::metadata(&self.0).is_ok_and(|folder| folder.uid() != own)
    }

    /// Creates it if it does not exist, and ensures that no other user can put files there.
    ///
    /// # Errors
    /// The system's refusal, or others may write to it.
    pub fn make(&self) -> io::Result<()> {
        match DirBuilder::new().recursive(true).mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.check()
    }

    /// Ensures that it is a folder, and that no other user can put files there.
    ///
    /// # Errors
    /// The system's refusal, or others may write to it.
    pub fn check(&self) -> io::Result<()> {
        let folder = fs::symlink_metadata(&self.0)?;
        match folder.is_dir() && folder.mode() & 0o022 == 0 {
            true => Ok(()),
            false => Err(io::Error::other("it is not a folder, or others may write to it")),
        }
    }

    /// Writes a journal, and holds it.
    ///
    /// # Errors
    /// AlreadyExists if there is one for this interface, or the system's refusal.
    pub fn create<T: Kept>(&self, journal: Journal<T>) -> io::Result<Held<T>> {
        let path = self.0.join(journal.file_name());
        let unnamed = unnamed(&path);
        let named = |file: File| {
            // Like a rename, but never replaces another file.
            fs::hard_link(&unnamed, &path)?;
            Ok(file)
        };
        let named = write(&unnamed, &journal).and_then(named);
        let _ = fs::remove_file(&unnamed);
        let file = named?;
        sync_folder(&path)?;
        Ok(Held { path, journal, _file: file })
    }

    /// The files of all journals of a kind.
    ///
    /// # Errors
    /// The folder may not be read.
    pub fn all<T: Kept>(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.to_string_lossy().ends_with(T::ENDING));
        paths.sort();
        Ok(paths)
    }

    /// Holds the journal with this file name, together with other processes that hold it.
    ///
    /// # Errors
    /// It is not there, not ours, or not a journal.
    pub fn join<T: Kept>(&self, name: &str) -> io::Result<Held<T>> {
        if Path::new(name).components().count() != 1 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let path = self.0.join(name);
        let (file, text) = read(&path)?;
        file.lock_shared()?;
        let journal = Journal::parse(&text).map_err(io::Error::other)?;
        Ok(Held { path, journal, _file: file })
    }
}

/// The name that a journal has until all of it is on the disk.
fn unnamed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

/// Writes a journal to a file that is not there yet, and locks it.
fn write<T: Kept>(unnamed: &Path, journal: &Journal<T>) -> io::Result<File> {
    // Left by a killed process with this ID.
    let _ = fs::remove_file(unnamed);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unnamed)?;
    file.lock_shared()?;
    file.write_all(&serde_json::to_vec(journal)?)?;
    file.sync_all()?;
    Ok(file)
}

/// Syncs the folder of `path` to the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Holds a journal that no other process holds.
///
/// # Errors
/// It cannot be read, or is not ours.
pub fn hold<T: Kept>(path: &Path) -> io::Result<JournalLock<T>> {
    let (file, text) = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(JournalLock::Gone),
        read => read?,
    };
    let is_alone = match file.try_lock() {
        Ok(()) => true,
        Err(fs::TryLockError::WouldBlock) => false,
        Err(fs::TryLockError::Error(error)) => return Err(error),
    };
    // Another process may have been faster.
    let same = fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
    if !same {
        return Ok(JournalLock::Gone);
    }
    Ok(match (Journal::parse(&text), is_alone) {
        (Ok(journal), true) => JournalLock::Alone(Held { path: path.to_owned(), journal, _file: file }),
        (Ok(journal), false) => JournalLock::Taken(journal),
        (Err(what), _) => JournalLock::Nonsense(what),
    })
}

fn read(path: &Path) -> io::Result<(File, Vec<u8>)> {
    // Does not follow a link, and does not wait for the writer of a pipe.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let owner = file.metadata()?.uid();
    if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        let what = format!("it belongs to user {owner}: repair it as that user, or remove it");
        return Err(io::Error::other(what));
    }
    let mut text = Vec::new();
    (&file).take(LEN_MAX).read_to_end(&mut text)?;
    Ok((file, text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::tests::{Journal, journal};
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xdpmap");
        (folder, Folder(path))
    }

    fn is_taken(path: &Path) -> bool {
        matches!(hold::<Vec<u32>>(path).unwrap(), JournalLock::Taken(_))
    }

    #[test]
    fn written_held_and_let_go() {
        let (_sandbox, folder) = folder();
        assert!(folder.all::<Vec<u32>>().unwrap().is_empty());
        folder.make().unwrap();
        folder.make().unwrap();
        let held = folder.create(journal("eth7")).unwrap();
        let paths = folder.all::<Vec<u32>>().unwrap();
        assert_eq!(paths, [folder.path().join("eth7@02:00:5e:10:00:01.rss.json")]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        assert_eq!(fs::metadata(&paths[0]).unwrap().mode() & 0o777, 0o600);
        // While it is held, there is no second one, and nobody has it alone.
        let second = folder.create(journal("eth7")).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
        assert!(matches!(hold(&paths[0]).unwrap(), JournalLock::Taken(taken) if taken == journal("eth7")));
        let beside = folder.join::<Vec<u32>>("eth7@02:00:5e:10:00:01.rss.json").unwrap();
        drop(held);
        assert!(is_taken(&paths[0]));
        drop(beside);
        let JournalLock::Alone(mut held) = hold(&paths[0]).unwrap() else { panic!("it is nobody's") };
        assert_eq!(held.journal, journal("eth7"));
        assert!(is_taken(&paths[0]));
        // Nor while it is written anew.
        held.journal.set = vec![3, 1, 3, 1];
        held.rewrite().unwrap();
        assert!(is_taken(&paths[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        drop(held);
        let JournalLock::Alone(held) = hold(&paths[0]).unwrap() else { panic!("it is nobody's") };
        assert_eq!(held.journal, Journal { set: vec![3, 1, 3, 1], ..journal("eth7") });
        held.remove().unwrap();
        assert!(matches!(hold::<Vec<u32>>(&paths[0]).unwrap(), JournalLock::Gone));
        assert!(folder.join::<Vec<u32>>("../eth7").is_err());
    }

    #[test]
    fn what_is_no_journal() {
        let (_sandbox, folder) = folder();
        folder.make().unwrap();
        let path = folder.path().join("x.rss.json");
        fs::write(&path, "{}").unwrap();
        assert!(
            matches!(hold::<Vec<u32>>(&path).unwrap(), JournalLock::Nonsense(what) if what.contains("version"))
        );
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/proc/self/status", &path).unwrap();
        assert_eq!(hold::<Vec<u32>>(&path).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(hold::<Vec<u32>>(&path).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(folder.make().unwrap_err().to_string().contains("others may write"));
    }
}
