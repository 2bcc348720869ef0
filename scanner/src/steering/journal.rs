//! The journal: what an RSS indirection table was before a scan has set it, in a file for each interface.
//!
//! It is written as a whole under another name, brought to the disk, and then given its name, which must be free; only then
//! is the table changed. Whoever is to put the table back (the scan, and the guardian beside it) holds a shared lock on the
//! file (`flock`) for as long as it lives; the kernel lets go of it however they end. A file that nobody has locked is left
//! over. Unlike a process's number a lock means the same in every container, and cannot be somebody else's.
//!
//! What always holds: a journal counts only if it is root's or the user's own. It says what a table is set to, and nobody else
//! may say that.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::io::ethtool::INDIRECTION_MAX;
use crate::nic::{Interface, NicError};
use crate::packet::MacAddr;

/// Where journals are. Empty after a reboot, as tables are the drivers' own again.
const FOLDER: &str = "/run/xdpmap";
/// What a journal's name ends with.
const ENDING: &str = ".rss.json";
const VERSION: u32 = 1;
/// More bytes than any journal has: two tables of the longest kind.
const LEN_MAX: u64 = 1 << 18;
/// More than any queue's number.
const QUEUES_MAX: u32 = 1 << 16;

/// What was changed, of which interface, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    version: u32,
    /// Name of the interface.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    mac: String,
    /// Number of the network namespace (the inode of `/proc/self/ns/net`).
    namespace: u64,
    /// The kernel's number of this boot (`/proc/sys/kernel/random/boot_id`).
    boot_id: String,
    /// The scan's process.
    pub pid: u32,
    /// The table as it was.
    pub before: Vec<u32>,
    /// The table as the scan has set it.
    pub set: Vec<u32>,
}

impl Journal {
    /// Of this process, for this interface.
    pub(super) fn new(interface: &Interface, before: Vec<u32>, set: Vec<u32>) -> io::Result<Self> {
        Ok(Self {
            version: VERSION,
            interface: interface.name.clone(),
            ifindex: interface.index,
            mac: interface.mac.unwrap_or_default().to_string(),
            namespace: namespace()?,
            boot_id: boot_id()?,
            pid: std::process::id(),
            before,
            set,
        })
    }

    /// Reads a journal's text.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        // What is said may quote the text, and the text may hold anything.
        Self::read(text).map_err(|what| what.replace(char::is_control, " "))
    }

    fn read(text: &[u8]) -> Result<Self, String> {
        let journal: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let name = journal.interface.as_bytes();
        let odd = |byte: &u8| *byte == b'/' || !byte.is_ascii_graphic();
        if !(1..libc::IFNAMSIZ).contains(&name.len()) || name == b"." || name == b".." || name.iter().any(odd)
        {
            return Err("interface: no name of an interface".to_owned());
        }
        if journal.version != VERSION {
            return Err(format!("version {}: this xdpmap knows {VERSION}", journal.version));
        }
        let mac = journal.mac.parse::<MacAddr>().map_err(|error| format!("mac: {error}"))?;
        if mac.to_string() != journal.mac {
            return Err("mac: not in the form 02:00:5e:10:00:01".to_owned());
        }
        let boot = journal.boot_id.as_bytes();
        if boot.len() != 36 || !boot.iter().all(|byte| *byte == b'-' || byte.is_ascii_hexdigit()) {
            return Err("boot_id: not the number of a boot".to_owned());
        }
        if !(1..=INDIRECTION_MAX).contains(&journal.before.len()) || journal.before.len() != journal.set.len()
        {
            return Err("before, set: no two tables of one length".to_owned());
        }
        if journal.before.iter().chain(&journal.set).any(|queue| *queue >= QUEUES_MAX) {
            return Err("before, set: a number that is no queue's".to_owned());
        }
        Ok(journal)
    }

    /// The name of its file.
    fn file_name(&self) -> String {
        format!("{}@{}{ENDING}", self.interface, self.mac)
    }

    /// Whether it is of this boot.
    pub(super) fn is_of_this_boot(&self) -> io::Result<bool> {
        Ok(self.boot_id == boot_id()?)
    }

    /// Whether it is of this network namespace.
    pub(super) fn is_of_this_namespace(&self) -> io::Result<bool> {
        Ok(self.namespace == namespace()?)
    }

    /// The interface as it is now, perhaps by another name; `None` if no interface of this namespace is the one.
    pub(super) fn device(&self) -> io::Result<Option<Interface>> {
        let same = |interface: &Interface| {
            interface.mac.is_some_and(|mac| mac.to_string() == self.mac)
                && (interface.name == self.interface || interface.index == self.ifindex)
        };
        for found in [Interface::by_name(&self.interface), Interface::by_index(self.ifindex)] {
            match found {
                Ok(interface) if same(&interface) => return Ok(Some(interface)),
                Ok(_) | Err(NicError::Unknown { .. }) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(None)
    }
}

/// A journal's file, open and locked.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) path: PathBuf,
    pub(super) journal: Journal,
    // What holds the lock.
    _file: File,
}

impl Held {
    /// Removes the file.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// What taking hold of a journal came to.
#[derive(Debug)]
pub(super) enum Hold {
    /// It is ours, and nobody else's.
    Alone(Held),
    /// Somebody is to put its table back.
    Taken(Journal),
    /// It is no journal.
    Nonsense(String),
    /// It is gone.
    Gone,
}

/// The folder of the journals.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The host's.
    pub(super) fn of_host() -> Self {
        Self(PathBuf::from(FOLDER))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it belongs to another user, so that root needs a capability to change it.
    pub(super) fn is_of_another(&self) -> bool {
        let own = nix::unistd::geteuid().as_raw();
        fs::metadata(&self.0).is_ok_and(|folder| folder.uid() != own)
    }

    /// Makes it, if it is not there, and sees to it that nobody else can put journals there.
    pub(super) fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let folder = fs::symlink_metadata(&self.0)?;
        match folder.is_dir() && folder.mode() & 0o022 == 0 {
            true => Ok(()),
            false => Err(io::Error::other("it is no folder, or one that others may write to")),
        }
    }

    /// Writes a journal, and holds it. AlreadyExists if there is one of this interface.
    pub(super) fn create(&self, journal: Journal) -> io::Result<Held> {
        let path = self.0.join(journal.file_name());
        let unnamed = self.0.join(format!("{}.{}", journal.file_name(), std::process::id()));
        let written = self.write(&unnamed, &path, &journal);
        let _ = fs::remove_file(&unnamed);
        let file = written?;
        Ok(Held { path, journal, _file: file })
    }

    fn write(&self, unnamed: &Path, path: &Path, journal: &Journal) -> io::Result<File> {
        // What a killed process with this number has left.
        let _ = fs::remove_file(unnamed);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unnamed)?;
        file.lock_shared()?;
        file.write_all(&serde_json::to_vec(journal)?)?;
        file.sync_all()?;
        // As renaming would, but never over another.
        fs::hard_link(unnamed, path)?;
        File::open(&self.0)?.sync_all()?;
        Ok(file)
    }

    /// The files of all journals.
    pub(super) fn all(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.to_string_lossy().ends_with(ENDING));
        paths.sort();
        Ok(paths)
    }

    /// Takes hold of the journal with this file name beside others that do.
    pub(super) fn join(&self, name: &str) -> io::Result<Held> {
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

/// Takes hold of a journal that nobody else holds.
pub(super) fn hold(path: &Path) -> io::Result<Hold> {
    let (file, text) = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Hold::Gone),
        read => read?,
    };
    let is_alone = match file.try_lock() {
        Ok(()) => true,
        Err(fs::TryLockError::WouldBlock) => false,
        Err(fs::TryLockError::Error(error)) => return Err(error),
    };
    // Somebody else may have been first.
    let same = fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
    if !same {
        return Ok(Hold::Gone);
    }
    Ok(match (Journal::parse(&text), is_alone) {
        (Ok(journal), true) => Hold::Alone(Held { path: path.to_owned(), journal, _file: file }),
        (Ok(journal), false) => Hold::Taken(journal),
        (Err(what), _) => Hold::Nonsense(what),
    })
}

fn read(path: &Path) -> io::Result<(File, Vec<u8>)> {
    // Neither through a link, nor waiting for the writer of a pipe.
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

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/net")?.ino())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::*;

    use super::*;

    fn journal(name: &str) -> Journal {
        Journal {
            version: VERSION,
            interface: name.to_owned(),
            ifindex: 7,
            mac: "02:00:5e:10:00:01".to_owned(),
            namespace: namespace().unwrap(),
            boot_id: boot_id().unwrap(),
            pid: 1234,
            before: vec![0, 1, 2, 3],
            set: vec![1, 3, 1, 3],
        }
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xdpmap");
        (folder, Folder(path))
    }

    #[test]
    fn written_held_and_let_go() {
        let (_sandbox, folder) = folder();
        assert!(folder.all().unwrap().is_empty());
        folder.make().unwrap();
        folder.make().unwrap();
        let held = folder.create(journal("eth7")).unwrap();
        let paths = folder.all().unwrap();
        assert_eq!(paths, [folder.path().join("eth7@02:00:5e:10:00:01.rss.json")]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        assert_eq!(fs::metadata(&paths[0]).unwrap().mode() & 0o777, 0o600);
        // While it is held, there is no second one, and nobody has it alone.
        let second = folder.create(journal("eth7")).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
        assert!(matches!(hold(&paths[0]).unwrap(), Hold::Taken(taken) if taken == journal("eth7")));
        let beside = folder.join("eth7@02:00:5e:10:00:01.rss.json").unwrap();
        drop(held);
        assert!(matches!(hold(&paths[0]).unwrap(), Hold::Taken(_)));
        drop(beside);
        let Hold::Alone(held) = hold(&paths[0]).unwrap() else { panic!("it is nobody's") };
        assert_eq!(held.journal, journal("eth7"));
        assert!(matches!(hold(&paths[0]).unwrap(), Hold::Taken(_)));
        held.remove().unwrap();
        assert!(matches!(hold(&paths[0]).unwrap(), Hold::Gone));
        assert!(folder.join("../eth7").is_err());
    }

    #[test]
    fn what_is_no_journal() {
        let (_sandbox, folder) = folder();
        folder.make().unwrap();
        let path = folder.path().join("x.rss.json");
        fs::write(&path, "{}").unwrap();
        assert!(matches!(hold(&path).unwrap(), Hold::Nonsense(what) if what.contains("version")));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/proc/self/status", &path).unwrap();
        assert_eq!(hold(&path).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(hold(&path).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(folder.make().unwrap_err().to_string().contains("others may write"));
    }

    /// Each of these makes nonsense of a good journal.
    #[test]
    fn nonsense_is_refused() {
        let good = serde_json::to_value(journal("eth7")).unwrap();
        let parse = |value: &serde_json::Value| Journal::parse(&serde_json::to_vec(value).unwrap());
        assert_eq!(parse(&good), Ok(journal("eth7")));
        for (key, bad) in [
            ("version", serde_json::json!(2)),
            ("interface", "".into()),
            ("interface", "../etc".into()),
            ("interface", "..".into()),
            ("interface", "a name".into()),
            ("interface", "sixteen-letters-".into()),
            ("mac", "02:00:5E:10:00:01".into()),
            ("mac", "eth7".into()),
            ("boot_id", "yesterday".into()),
            ("pid", (-1).into()),
            ("before", serde_json::json!([])),
            ("before", serde_json::json!([0, 1, 2])),
            ("set", serde_json::json!([0, 1, 2, 65536])),
            ("another", 1.into()),
        ] {
            let mut value = good.clone();
            value[key] = bad;
            let error = parse(&value).expect_err(key);
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    proptest! {
        /// Whatever bytes a file has, it is a journal that can be written as it was read, or refused in one line.
        #[test]
        fn any_bytes(text in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Err(error) = Journal::parse(&text) {
                prop_assert_eq!(error.lines().count(), 1);
            }
        }

        /// A good journal with some of its bytes changed or cut off.
        #[test]
        fn damaged(
            at in 0usize..300,
            byte in any::<u8>(),
            cut in 0usize..300,
            before in prop::collection::vec(0u32..70_000, 0..40),
        ) {
            let set = before.iter().map(|queue| queue / 2).collect();
            let mut text = serde_json::to_vec(&Journal { before, set, ..journal("eth7") }).unwrap();
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
            text.truncate(text.len().saturating_sub(cut.saturating_sub(150)));
            match Journal::parse(&text) {
                Ok(journal) => {
                    prop_assert_eq!(journal.before.len(), journal.set.len());
                    prop_assert!(journal.before.iter().chain(&journal.set).all(|queue| *queue < QUEUES_MAX));
                    prop_assert!(!journal.file_name().contains('/'));
                    prop_assert_eq!(Journal::parse(&serde_json::to_vec(&journal).unwrap()), Ok(journal));
                }
                Err(error) => prop_assert_eq!(error.lines().count(), 1),
            }
        }
    }
}
