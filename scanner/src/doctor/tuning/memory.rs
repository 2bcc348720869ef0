//! What settings were before they were first changed: a journal for each interface, which stays until all of it is put
//! back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Refused;
use crate::doctor::settings::{Key, Stage, Subject};
use crate::exit::Exit;
use crate::journal::{self, Folder, Held, Journal, JournalLock, Kept};
use crate::nic::Interface;

/// The variable that names the folder, where it is not the host's.
const FOLDER: &str = "XDPMAP_TUNE_STATE";
/// How long to wait for another process that only looks at a journal.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest value: the RSS indirection table with the most entries.
const VALUE_MAX: usize = 1 << 17;

/// Settings with their values, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Values(pub(super) BTreeMap<Key, String>);

impl Kept for Values {
    const ENDING: &'static str = ".tune.json";

    fn check(before: &Self, set: &Self) -> Result<(), String> {
        let is_odd = |value: &str| value.len() > VALUE_MAX || value.contains(char::is_control);
        match before.0.iter().chain(&set.0).find(|(_, value)| is_odd(value)) {
            Some((key, _)) => Err(format!("{key}: not a value")),
            None => Ok(()),
        }
    }
}

impl Values {
    /// Those of the host, which outlive the interface.
    fn of_host(&self) -> Self {
        let of_host = self.0.iter().filter(|(key, _)| key.stage.is_of_host());
        Self(of_host.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// The folder of these journals.
pub(super) fn folder() -> Folder {
    let named = std::env::var_os(FOLDER).filter(|path| !path.is_empty());
    named.map_or_else(Folder::of_host, |path| Folder::at(PathBuf::from(path)))
}

/// A journal that was found.
#[derive(Debug)]
pub(super) struct FoundMemory {
    pub(super) path: PathBuf,
    /// The interface that it is about, as far as its file's name tells.
    pub(super) name: String,
    pub(super) state: MemoryState,
}

/// How a journal stands.
#[derive(Debug)]
pub(super) enum MemoryState {
    /// It can be undone.
    Here(Held<Values>, Standing),
    /// Another process works with it.
    InUse,
    /// It is of another network namespace.
    Elsewhere,
    /// It is of an earlier boot: none of its changes is there any more.
    OfEarlierBoot(Held<Values>),
    /// It is no journal, or not ours; in what way.
    Nonsense(String),
}

/// What has become of the interface of a journal.
#[derive(Debug)]
pub(super) enum Standing {
    /// It is the one.
    Same(Box<Interface>),
    /// It was removed, and there is one again that has its name and its MAC address.
    Again(Box<Interface>),
    /// It is gone.
    Gone,
}

/// All journals of the folder. A bad one does not hide the others.
pub(super) fn journals(folder: &Folder) -> Result<Vec<FoundMemory>, Refused> {
    let paths = folder.all::<Values>().map_err(|error| refused(folder, &error))?;
    Ok(paths.into_iter().filter_map(|path| at(&path)).collect())
}

fn at(path: &Path) -> Option<FoundMemory> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut name = file.split('@').next().unwrap_or_default().to_owned();
    let start = Instant::now();
    let held = loop {
        match journal::hold(path) {
            Ok(JournalLock::Taken(_)) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            held => break held,
        }
    };
    let state = match held {
        Ok(JournalLock::Gone) => return None,
        Ok(JournalLock::Taken(_)) => MemoryState::InUse,
        Ok(JournalLock::Nonsense(what)) => MemoryState::Nonsense(what),
        Ok(JournalLock::Alone(held)) => {
            state_of(held).unwrap_or_else(|error| MemoryState::Nonsense(error.to_string()))
        }
        Err(error) => MemoryState::Nonsense(error.to_string()),
    };
    // It may have another name now.
    if let MemoryState::Here(_, Standing::Same(interface) | Standing::Again(interface)) = &state {
        name.clone_from(&interface.name);
    }
    Some(FoundMemory { path: path.to_owned(), name, state })
}

fn state_of(held: Held<Values>) -> io::Result<MemoryState> {
    let journal = &held.journal;
    if !journal.is_of_this_boot()? {
        return Ok(MemoryState::OfEarlierBoot(held));
    }
    let standing = match journal.device()? {
        Some(interface) if interface.index == journal.ifindex => Standing::Same(Box::new(interface)),
        Some(interface) => Standing::Again(Box::new(interface)),
        None if !journal.is_of_this_namespace()? => return Ok(MemoryState::Elsewhere),
        None => Standing::Gone,
    };
    Ok(MemoryState::Here(held, standing))
}

/// The journal of one interface, while its settings are changed. There is none until something is.
#[derive(Debug)]
pub(super) struct Memory<'a> {
    folder: Folder,
    interface: &'a Interface,
    held: Option<Held<Values>>,
}

impl<'a> Memory<'a> {
    /// Takes up the journal of this interface, if there is one.
    pub(super) fn of(interface: &'a Interface) -> Result<Self, Refused> {
        let folder = folder();
        folder.make().map_err(|error| refused(&folder, &error))?;
        let mut memory = Self { folder, interface, held: None };
        for found in journals(&memory.folder)? {
            if found.name == interface.name {
                memory.take(found)?;
            }
        }
        Ok(memory)
    }

    fn take(&mut self, found: FoundMemory) -> Result<(), Refused> {
        let FoundMemory { path, name, state } = found;
        let path = path.display();
        match state {
            MemoryState::Here(held, Standing::Same(_)) => self.held = Some(held),
            MemoryState::Here(mut held, Standing::Again(_)) => {
                // What was set went with it.
                let (before, set) = (held.journal.before.of_host(), held.journal.set.of_host());
                let journal = Journal::new(self.interface, before, set);
                held.journal = journal.map_err(|error| refused(&self.folder, &error))?;
                self.held = Some(held);
            }
            MemoryState::OfEarlierBoot(held) => {
                held.remove().map_err(|error| refused(&self.folder, &error))?;
            }
            // It is another interface's.
            MemoryState::Here(_, Standing::Gone) | MemoryState::Elsewhere => {}
            MemoryState::InUse => {
                return Err(Refused::new(
                    Exit::Failed,
                    format!("{name}: another process sets its settings: wait for its end"),
                ));
            }
            MemoryState::Nonsense(what) => {
                return Err(Refused::new(
                    Exit::Failed,
                    format!("{path}: not a journal of xdpmap ({what}): remove it"),
                ));
            }
        }
        Ok(())
    }

    /// Whether a value of this stage is known.
    pub(super) fn knows(&self, stage: Stage) -> bool {
        self.held.as_ref().is_some_and(|held| held.journal.before.0.keys().any(|key| key.stage == stage))
    }

    /// Writes down what is there, for settings of which it is not known what was there first, and what will be set.
    pub(super) fn write(&mut self, now: &[(Key, String)], set: Option<(&Key, &str)>) -> Result<(), Refused> {
        let known = self.held.as_ref().map(|held| (held.journal.before.clone(), held.journal.set.clone()));
        let (old_before, old_set) = known.unwrap_or_default();
        let (mut before, mut after) = (old_before.clone(), old_set.clone());
        for (key, value) in now {
            before.0.entry(key.clone()).or_insert_with(|| value.clone());
        }
        if let Some((key, value)) = set {
            after.0.insert(key.clone(), value.to_owned());
        }
        if (&before, &after) == (&old_before, &old_set) {
            return Ok(());
        }
        self.save(before, after).map_err(|error| refused(&self.folder, &error))
    }

    fn save(&mut self, before: Values, set: Values) -> io::Result<()> {
        match &mut self.held {
            Some(held) => {
                (held.journal.before, held.journal.set) = (before, set);
                held.rewrite()
            }
            None => {
                self.held = Some(self.folder.create(Journal::new(self.interface, before, set)?)?);
                Ok(())
            }
        }
    }
}

/// Settings of `subject` as they are, for the journal.
pub(super) fn values(subject: &Subject, stages: &[Stage]) -> Vec<(Key, String)> {
    let keys = stages.iter().flat_map(|stage| subject.keys(*stage));
    keys.filter_map(|key| Some((key.clone(), subject.now(&key)?))).collect()
}

pub(super) fn refused(folder: &Folder, error: &io::Error) -> Refused {
    let code = if error.kind() == io::ErrorKind::PermissionDenied { Exit::Privilege } else { Exit::Failed };
    Refused::new(code, format!("{}, where former settings are kept: {error}", folder.path().display()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A journal as it is written, and its text.
    fn journal() -> (Journal<Values>, String) {
        let lo = Interface::by_name("lo").unwrap();
        let value = |name: &str, text: &str| (Key::try_from(name.to_owned()).unwrap(), text.to_owned());
        let before = Values([value("channels.rx", "8"), value("governor.0", "powersave")].into());
        let journal = Journal::new(&lo, before.clone(), before.of_host()).unwrap();
        let text = serde_json::to_string(&journal).unwrap();
        (journal, text)
    }

    proptest! {
        /// A good journal with one of its bytes changed, and cut off, is another good one, or refused in one line.
        #[test]
        fn damaged(at in 0usize..400, byte in any::<u8>(), cut in 0usize..800) {
            let mut text = journal().1.into_bytes();
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
            text.truncate(text.len().saturating_sub(cut.saturating_sub(400)));
            match Journal::<Values>::parse(&text) {
                Ok(journal) => {
                    prop_assert_eq!(Journal::parse(&serde_json::to_vec(&journal).unwrap()), Ok(journal));
                }
                Err(error) => prop_assert_eq!(error.lines().count(), 1),
            }
        }
    }

    /// What is written is read again as the same; what is no setting, or no value, is refused in one line.
    #[test]
    fn journals_of_settings() {
        let (journal, text) = journal();
        assert_eq!(Journal::parse(text.as_bytes()), Ok(journal.clone()));
        assert_eq!(journal.set.0.keys().map(Key::to_string).collect::<Vec<_>>(), ["governor.0"]);
        for (good, bad) in [("channels.rx", "channels.eth"), ("powersave", "power\\nsave"), ("\"8\"", "8")] {
            let error = Journal::<Values>::parse(text.replace(good, bad).as_bytes()).unwrap_err();
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
