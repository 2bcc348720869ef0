//! Journals: a file per interface that holds what was there before xdpmap has set something. What that is, such as an
//! RSS indirection table, is the type parameter of a journal ([`Kept`]).
//!
//! This file is what a journal says; `folder` is where journals are, and who holds one.
//!
//! What always holds: a journal counts only if it belongs to root or to the user. It decides what an interface is set
//! to, and no other user may decide that.

mod folder;

use std::os::unix::fs::MetadataExt as _;
use std::{fs, io};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::packet::MacAddr;

use crate::nic::{Interface, NicError};
pub use folder::{Folder, Held, JournalLock, hold};

const VERSION: u32 = 1;

/// What a kind of journal keeps.
pub trait Kept: Serialize + DeserializeOwned {
    /// What the names of its files end with.
    const ENDING: &'static str;

    /// Whether these can be what was there before, and what was set instead.
    ///
    /// # Errors
    /// What is wrong with them, in one line.
    fn check(before: &Self, set: &Self) -> Result<(), String>;
}

/// What was changed, on which interface, by which process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal<T> {
    version: u32,
    /// Name of the interface.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    mac: String,
    /// Inode number of the network namespace (of `/proc/self/ns/net`).
    namespace: u64,
    /// The kernel's ID of this boot (`/proc/sys/kernel/random/boot_id`).
    boot_id: String,
    /// The process that made it.
    pub pid: u32,
    /// What was there.
    pub before: T,
    /// What that process has set.
    pub set: T,
}

impl<T: Kept> Journal<T> {
    /// The journal of this process for this interface.
    ///
    /// # Errors
    /// The kernel does not tell the boot or the network namespace.
    pub fn new(interface: &Interface, before: T, set: T) -> io::Result<Self> {
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

    /// Parses a journal's text.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        // The message may quote the text, which may contain anything.
        Self::read(text).map_err(|what| what.replace(char::is_control, " "))
    }

    fn read(text: &[u8]) -> Result<Self, String> {
        let journal: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let name = journal.interface.as_bytes();
        let odd = |byte: &u8| *byte == b'/' || !byte.is_ascii_graphic();
        if !(1..libc::IFNAMSIZ).contains(&name.len()) || name == b"." || name == b".." || name.iter().any(odd)
        {
            return Err("interface: not the name of an interface".to_owned());
        }
        if journal.version != VERSION {
            return Err(format!("version {}: this xdpmap supports {VERSION}", journal.version));
        }
        let mac = journal.mac.parse::<MacAddr>().map_err(|error| format!("mac: {error}"))?;
        if mac.to_string() != journal.mac {
            return Err("mac: not in the form 02:00:5e:10:00:01".to_owned());
        }
        let boot = journal.boot_id.as_bytes();
        if boot.len() != 36 || !boot.iter().all(|byte| *byte == b'-' || byte.is_ascii_hexdigit()) {
            return Err("boot_id: not the number of a boot".to_owned());
        }
        T::check(&journal.before, &journal.set)?;
        Ok(journal)
    }

    /// The name of its file.
    fn file_name(&self) -> String {
        format!("{}@{}{}", self.interface, self.mac, T::ENDING)
    }

    /// Whether it was written since the last boot.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn is_of_this_boot(&self) -> io::Result<bool> {
        Ok(self.boot_id == boot_id()?)
    }

    /// Whether it was written in this network namespace.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn is_of_this_namespace(&self) -> io::Result<bool> {
        Ok(self.namespace == namespace()?)
    }

    /// The current interface, perhaps with another name; `None` if this namespace does not have it.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn device(&self) -> io::Result<Option<Interface>> {
        let same = |interface: &Interface| {
            interface.mac.unwrap_or_default().to_string() == self.mac
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

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/net")?.ino())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The journal of steering.
    pub(super) type Journal = super::Journal<Vec<u32>>;

    pub(super) fn journal(name: &str) -> Journal {
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
                    prop_assert!(journal.before.iter().chain(&journal.set).all(|queue| *queue < 1 << 16));
                    prop_assert!(!journal.file_name().contains('/'));
                    prop_assert_eq!(Journal::parse(&serde_json::to_vec(&journal).unwrap()), Ok(journal));
                }
                Err(error) => prop_assert_eq!(error.lines().count(), 1),
            }
        }
    }
}
