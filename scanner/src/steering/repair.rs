//! Restores tables: for the guardian at a scan's end, and for a later start or the doctor if a scan was killed together
//! with its guardian.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::table;
use super::{Held, Journal};
use crate::journal::{self, Folder, JournalLock};
use crate::nic::ethtool::Ethtool;

/// How long a guardian may take to restore a table after its scan was killed. Lower: a scan that follows is refused.
/// Higher: a guardian that hangs delays the refusal.
const GUARDIAN_PATIENCE: Duration = Duration::from_secs(3);

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restored {
    /// The table, which was as the scan had set it.
    Table,
    /// Nothing: it was as before the scan.
    Nothing,
    /// Nothing: somebody else has changed it since, so it was left alone.
    Foreign,
    /// Nothing: the interface is gone.
    Gone,
}

/// Restores the table of a journal.
pub(super) fn restore(journal: &Journal) -> io::Result<Restored> {
    let Some(interface) = journal.device()? else { return Ok(Restored::Gone) };
    let ethtool = Ethtool::new(&interface.name)?;
    let now = ethtool.indirection()?;
    if now == journal.before {
        return Ok(Restored::Nothing);
    }
    if now != journal.set {
        return Ok(Restored::Foreign);
    }
    table::put_back(&ethtool, &journal.before, interface.rx_queues)?;
    Ok(Restored::Table)
}

/// The state of a journal.
#[derive(Debug)]
pub enum JournalState {
    /// It belongs to a running scan.
    InUse,
    /// It was left by a scan that was killed.
    LeftOver,
    /// It was left by a scan whose changes are no longer in force, for this reason.
    Stale(&'static str),
    /// It was left by a scan in another network namespace.
    Elsewhere,
    /// It is not a journal, for this reason.
    Nonsense(String),
}

/// A journal that was found.
#[derive(Debug)]
pub struct FoundJournal {
    /// Its file.
    pub path: String,
    /// Its content, if it is a journal.
    pub journal: Option<Journal>,
    /// Its state.
    pub state: JournalState,
    /// The current name of the interface, if it is in this namespace.
    name: Option<String>,
    held: Option<Held>,
}

impl FoundJournal {
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let found = |state, journal: Option<Journal>, held| {
            let device = journal.as_ref().map(Journal::device).transpose()?.flatten();
            let (path, name) = (path.display().to_string(), device.map(|device| device.name));
            Ok(Some(Self { path, journal, state, name, held }))
        };
        match journal::hold(path)? {
            JournalLock::Gone => Ok(None),
            JournalLock::Taken(journal) => found(JournalState::InUse, Some(journal), None),
            JournalLock::Nonsense(what) => found(JournalState::Nonsense(what), None, None),
            JournalLock::Alone(held) => {
                let journal = &held.journal;
                let state = match (journal.is_of_this_boot()?, journal.device()?) {
                    (false, _) => JournalState::Stale("the host has been booted since"),
                    (_, Some(_)) => JournalState::LeftOver,
                    (_, None) if !journal.is_of_this_namespace()? => JournalState::Elsewhere,
                    (_, None) => JournalState::Stale("its interface is gone, or has another MAC address"),
                };
                found(state, Some(journal.clone()), Some(held))
            }
        }
    }

    /// The interface that the journal is about, by its current name.
    pub fn interface(&self) -> &str {
        match (&self.name, &self.journal) {
            (Some(name), _) => name,
            (None, Some(journal)) => &journal.interface,
            // Derived from the file's name.
            (None, None) => {
                self.path.rsplit('/').next().and_then(|name| name.split('@').next()).unwrap_or_default()
            }
        }
    }

    /// The queues that the scan has steered replies to.
    pub fn queues(&self) -> String {
        self.journal.as_ref().map(|journal| table::queues(&journal.set)).unwrap_or_default()
    }

    /// Restores a table that is left over, and removes a journal that is stale. Returns the outcome in one line.
    ///
    /// # Errors
    /// The same as a line, if the table could not be restored or the file not removed.
    pub fn repair(&self) -> Result<String, String> {
        let name = self.interface();
        let Some(held) = &self.held else {
            return Err(match &self.state {
                JournalState::Nonsense(what) => {
                    format!(
                        "{}: not a journal of xdpmap ({what}); compare `ethtool -x {name}`, and remove the file",
                        self.path
                    )
                }
                _ => {
                    format!("{name}: a running scan steers replies there, and restores the table at its end")
                }
            });
        };
        let pid = held.journal.pid;
        let said = match &self.state {
            JournalState::Elsewhere => {
                return Err(format!("{name}: it is in another network namespace: repair it from there"));
            }
            JournalState::Stale(why) => format!("{name}: nothing to restore after process {pid}: {why}"),
            _ => match restore(&held.journal) {
                Ok(restored) => outcome(name, pid, restored),
                Err(error) => return Err(failure(name, &error)),
            },
        };
        held.remove().map_err(|error| format!("{}: removing it: {error}", self.path))?;
        Ok(said)
    }
}

/// The outcome of restoring a table, in one line.
pub(super) fn outcome(name: &str, pid: u32, restored: Restored) -> String {
    match restored {
        Restored::Table => {
            format!("{name}: its RSS indirection table is restored to what it was before process {pid}")
        }
        Restored::Nothing => format!("{name}: its RSS indirection table is as it was before process {pid}"),
        Restored::Foreign => format!(
            "{name}: its RSS indirection table is not the one that process {pid} has set; somebody else has changed it, so \
             it stays"
        ),
        Restored::Gone => format!("{name}: the interface is gone, and its RSS indirection table with it"),
    }
}

/// Why a table could not be restored, and the alternatives.
pub(super) fn failure(name: &str, error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "; this needs CAP_NET_ADMIN: repeat it as root with `xdpmap doctor --repair`".to_owned()
        }
        _ => format!(
            "; `xdpmap doctor --repair` tries again, `ethtool -X {name} default` spreads over all queues"
        ),
    };
    format!("{name}: its RSS indirection table could not be restored: {error}{hint}")
}

/// All journals of the host, and files in their folder that are not journals: one bad file must not hide the others.
///
/// # Errors
/// The folder cannot be read.
pub fn journals() -> io::Result<Vec<FoundJournal>> {
    let found = |path: PathBuf| {
        let unreadable = |error: io::Error| {
            let state = JournalState::Nonsense(error.to_string());
            Some(FoundJournal {
                path: path.display().to_string(),
                journal: None,
                state,
                name: None,
                held: None,
            })
        };
        FoundJournal::at(&path).unwrap_or_else(unreadable)
    };
    Ok(Folder::of_host().all::<Vec<u32>>()?.into_iter().filter_map(found).collect())
}

/// Restores what killed scans have left on these interfaces, and removes journals that are stale. Returns one line for
/// each interface or obstacle.
pub fn recover(interfaces: &[&str]) -> Vec<Result<String, String>> {
    let start = Instant::now();
    loop {
        let found = match journals() {
            Ok(found) => found,
            // A user who may not read them cannot have set a table either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Vec::new(),
            Err(error) => return vec![Err(format!("it is not known what killed scans have left: {error}"))],
        };
        let concerns = |found: &&FoundJournal| match &found.state {
            JournalState::Stale(_) => true,
            JournalState::LeftOver | JournalState::Nonsense(_) => interfaces.contains(&found.interface()),
            JournalState::InUse | JournalState::Elsewhere => false,
        };
        let is_busy = |found: &FoundJournal| {
            matches!(found.state, JournalState::InUse) && interfaces.contains(&found.interface())
        };
        // A guardian may be restoring one at this moment.
        if found.iter().any(is_busy) && start.elapsed() < GUARDIAN_PATIENCE {
            drop(found);
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        return found.iter().filter(concerns).map(FoundJournal::repair).collect();
    }
}
