//! Putting tables back: what the guardian does at a scan's end, and a next start or the doctor for scans that were killed
//! together with their guardians.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::journal::{self, Folder, Held, Hold, Journal};
use super::table;
use crate::io::ethtool::Ethtool;

/// How long a guardian may take to put a table back, once its scan was killed.
const GUARDIAN_PATIENCE: Duration = Duration::from_secs(3);

/// What there was to put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restored {
    /// The table, which was as the scan had set it.
    Table,
    /// Nothing: it was as before.
    Nothing,
    /// Nothing: somebody else has changed it since, and it was left so.
    Foreign,
    /// Nothing: the interface is gone.
    Gone,
}

/// Puts the table of a journal back.
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

/// How a journal stands.
#[derive(Debug)]
pub enum State {
    /// A running scan's.
    InUse,
    /// Left by a scan that was killed.
    LeftOver,
    /// Left by one whose changes are no longer there, and why.
    Stale(&'static str),
    /// Left by one in another network namespace.
    Elsewhere,
    /// It is no journal; in what way.
    Nonsense(String),
}

/// A journal that was found.
#[derive(Debug)]
pub struct Found {
    /// Its file.
    pub path: String,
    /// What it says, if it is one.
    pub journal: Option<Journal>,
    /// How it stands.
    pub state: State,
    /// What the interface is called now, if it is here.
    name: Option<String>,
    held: Option<Held>,
}

impl Found {
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let found = |state, journal: Option<Journal>, held| {
            let device = journal.as_ref().map(Journal::device).transpose()?.flatten();
            let (path, name) = (path.display().to_string(), device.map(|device| device.name));
            Ok(Some(Self { path, journal, state, name, held }))
        };
        match journal::hold(path)? {
            Hold::Gone => Ok(None),
            Hold::Taken(journal) => found(State::InUse, Some(journal), None),
            Hold::Nonsense(what) => found(State::Nonsense(what), None, None),
            Hold::Alone(held) => {
                let journal = &held.journal;
                let state = match (journal.is_of_this_boot()?, journal.device()?) {
                    (false, _) => State::Stale("the host was booted since"),
                    (_, Some(_)) => State::LeftOver,
                    (_, None) if !journal.is_of_this_namespace()? => State::Elsewhere,
                    (_, None) => State::Stale("its interface is gone, or has another MAC address"),
                };
                found(state, Some(journal.clone()), Some(held))
            }
        }
    }

    /// The interface that the journal is about, by the name that it has now.
    pub fn interface(&self) -> &str {
        match (&self.name, &self.journal) {
            (Some(name), _) => name,
            (None, Some(journal)) => &journal.interface,
            // As files are named.
            (None, None) => {
                self.path.rsplit('/').next().and_then(|name| name.split('@').next()).unwrap_or_default()
            }
        }
    }

    /// The queues that the scan has steered replies to.
    pub fn queues(&self) -> String {
        self.journal.as_ref().map(|journal| table::queues(&journal.set)).unwrap_or_default()
    }

    /// Puts back what is left over, and removes what is stale. What came of it, in one line, or what is in the way.
    ///
    /// # Errors
    /// The same as a line, where the table could not be put back, or the file not be removed.
    pub fn repair(&self) -> Result<String, String> {
        let name = self.interface();
        let Some(held) = &self.held else {
            return Err(match &self.state {
                State::Nonsense(what) => {
                    format!(
                        "{}: no journal of xdpmap's ({what}); compare `ethtool -x {name}`, and remove the file",
                        self.path
                    )
                }
                _ => {
                    format!("{name}: a running scan steers replies there, and puts its table back at its end")
                }
            });
        };
        let pid = held.journal.pid;
        let said = match &self.state {
            State::Elsewhere => {
                return Err(format!(
                    "{name}: it is an interface of another network namespace: repair it from there"
                ));
            }
            State::Stale(why) => format!("{name}: nothing to put back after process {pid}: {why}"),
            _ => match restore(&held.journal) {
                Ok(restored) => outcome(name, pid, restored),
                Err(error) => return Err(failure(name, &error)),
            },
        };
        held.remove().map_err(|error| format!("{}: removing it: {error}", self.path))?;
        Ok(said)
    }
}

/// What came of putting a table back, in one line.
pub(super) fn outcome(name: &str, pid: u32, restored: Restored) -> String {
    match restored {
        Restored::Table => {
            format!("{name}: its RSS indirection table is again as it was before process {pid}")
        }
        Restored::Nothing => format!("{name}: its RSS indirection table is as it was before process {pid}"),
        Restored::Foreign => format!(
            "{name}: its RSS indirection table is not the one that process {pid} has set: somebody else has changed it, so \
             it stays"
        ),
        Restored::Gone => format!("{name}: the interface is gone, and its RSS indirection table with it"),
    }
}

/// Why a table could not be put back, with what else does it.
pub(super) fn failure(name: &str, error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "; it takes CAP_NET_ADMIN: repeat it as root with `xdpmap doctor --repair`".to_owned()
        }
        _ => format!(
            "; `xdpmap doctor --repair` tries again, `ethtool -X {name} default` spreads over all queues"
        ),
    };
    format!("{name}: its RSS indirection table could not be put back: {error}{hint}")
}

/// All journals of the host, and what stands in their folder and is none: one bad file must not hide the others.
///
/// # Errors
/// The folder may not be read.
pub fn journals() -> io::Result<Vec<Found>> {
    let found = |path: PathBuf| {
        let unreadable = |error: io::Error| {
            let state = State::Nonsense(error.to_string());
            Some(Found { path: path.display().to_string(), journal: None, state, name: None, held: None })
        };
        Found::at(&path).unwrap_or_else(unreadable)
    };
    Ok(Folder::of_host().all()?.into_iter().filter_map(found).collect())
}

/// Puts back what killed scans have left of these interfaces, and removes what is stale. One line for each, or for what is in
/// the way.
pub fn recover(interfaces: &[&str]) -> Vec<Result<String, String>> {
    let start = Instant::now();
    loop {
        let found = match journals() {
            Ok(found) => found,
            // Whoever may not read them has no table set either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Vec::new(),
            Err(error) => return vec![Err(format!("what scans may have left is not known: {error}"))],
        };
        let concerns = |found: &&Found| match &found.state {
            State::Stale(_) => true,
            State::LeftOver | State::Nonsense(_) => interfaces.contains(&found.interface()),
            State::InUse | State::Elsewhere => false,
        };
        let is_busy =
            |found: &Found| matches!(found.state, State::InUse) && interfaces.contains(&found.interface());
        // A guardian may be at it at this very moment.
        if found.iter().any(is_busy) && start.elapsed() < GUARDIAN_PATIENCE {
            drop(found);
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        return found.iter().filter(concerns).map(Found::repair).collect();
    }
}
