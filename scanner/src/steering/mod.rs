//! Steering (`--steer`): sets the NIC's RSS indirection table so that replies spread evenly over the queues that are
//! read, and restores it.
//!
//! What always holds: before a table is changed, its old content is recorded ([`crate::journal`]), and a process is
//! running that restores the table once the scan is gone, however it ended (`guardian`). If that process is killed as
//! well, the record stays, and the next scan of the interface or `xdpmap doctor --repair` restores the table
//! (`repair`). A table that has been changed by somebody else meanwhile is left alone.

mod guardian;
mod repair;
mod table;

use std::io;

use tracing::{info, warn};

use crate::exit::Exit;
use crate::journal::Folder;
use crate::nic::Interface;
use crate::nic::ethtool::Ethtool;
use guardian::Guardian;

pub use guardian::run;
pub use repair::{FoundJournal, JournalState, journals, recover};
pub(crate) use table::{even, put_back};

/// What a table was, and what a scan has set it to.
pub type Journal = crate::journal::Journal<Vec<u32>>;
type Held = crate::journal::Held<Vec<u32>>;

/// Why replies cannot be steered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SteerError {
    /// The driver has no table.
    #[error(
        "{interface}: --steer: its driver has no RSS indirection table ({what}); leave the flag out, and receive on all \
         queues"
    )]
    NoTable {
        /// The interface.
        interface: String,
        /// The kernel's error.
        what: String,
    },
    /// The table cannot be set.
    #[error("{interface}: --steer: setting its RSS indirection table: {source}{hint}", hint = remedy(.source))]
    Set {
        /// The interface.
        interface: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// Another scan steers there.
    #[error("{interface}: --steer: {path} exists: {why}")]
    Taken {
        /// The interface.
        interface: String,
        /// The journal.
        path: String,
        /// Which process holds it, and what to do.
        why: String,
    },
    /// The old table cannot be recorded.
    #[error("--steer: recording the RSS indirection table in {folder}: {source}{hint}", hint = folder_remedy(.source, .folder))]
    Journal {
        /// The folder.
        folder: String,
        /// The system's error.
        source: io::Error,
    },
    /// The guardian cannot be started, so the table would not be restored.
    #[error("--steer: starting the process that restores the RSS indirection table: {0}")]
    Guardian(io::Error),
}

impl SteerError {
    /// The exit code of a scan that ends by it.
    pub fn exit_code(&self) -> Exit {
        match self {
            Self::Set { source, .. } | Self::Journal { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::Privilege
            }
            Self::NoTable { .. } | Self::Set { .. } | Self::Taken { .. } => Exit::Interface,
            Self::Journal { .. } | Self::Guardian(_) => Exit::Failed,
        }
    }
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(": {}", crate::privileges::why_refused()),
        _ => "; leave the flag out, and receive on all queues".to_owned(),
    }
}

fn folder_remedy(error: &io::Error, folder: &str) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let user = nix::unistd::geteuid();
            format!("; as root: `install -d -m 700 -o {user} {folder}`, or run it as root")
        }
        _ => String::new(),
    }
}

/// What is requested for an interface.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The interface that frames come through.
    pub interface: &'a Interface,
    /// The queues that are to receive replies.
    pub queues: &'a [u32],
}

/// Tables that are set. They are restored when this is dropped, or when the process dies.
#[derive(Debug)]
pub struct Steering {
    guardian: Option<Guardian>,
    held: Vec<Held>,
    is_put_back: bool,
}

impl Steering {
    /// Sets the table of each interface. On an error, none remains changed.
    ///
    /// # Errors
    /// [`SteerError`].
    pub fn begin(wishes: &[Wish<'_>]) -> Result<Self, SteerError> {
        let mut journals = Vec::new();
        for wish in wishes {
            journals.push(journal_of(wish)?);
        }
        let folder = Folder::of_host();
        let name = || folder.path().display().to_string();
        folder.make().map_err(|source| SteerError::Journal { folder: name(), source })?;
        let mut steering = Self { guardian: None, held: Vec::new(), is_put_back: false };
        for journal in journals {
            let interface = journal.interface.clone();
            match folder.create(journal) {
                Ok(held) => steering.held.push(held),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(interface)),
                Err(source) => return Err(SteerError::Journal { folder: name(), source }),
            }
        }
        steering.guardian = Some(Guardian::start(&steering.held).map_err(SteerError::Guardian)?);
        steering.set()?;
        for Held { journal, .. } in &steering.held {
            info!(
                target: "steer",
                "{}: replies are steered to queues {} ({} entries of the RSS indirection table)",
                journal.interface,
                table::queues(&journal.set),
                journal.set.len(),
            );
        }
        Ok(steering)
    }

    /// Ensures that each table is the one that was set. A driver may have created its own when an XDP program was
    /// attached.
    ///
    /// # Errors
    /// [`SteerError`].
    pub fn set(&self) -> Result<(), SteerError> {
        for Held { journal, .. } in &self.held {
            set(journal).map_err(|source| {
                let interface = journal.interface.clone();
                SteerError::Set { interface, source }
            })?;
        }
        Ok(())
    }

    /// The number of entries of each table, in the order of the wishes.
    pub fn entries(&self) -> impl Iterator<Item = usize> {
        self.held.iter().map(|held| held.journal.set.len())
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        self.put_back();
    }
}

impl Steering {
    /// Restores the tables, and logs the outcome.
    pub fn put_back(&mut self) {
        if std::mem::replace(&mut self.is_put_back, true) {
            return;
        }
        let Some(guardian) = &mut self.guardian else {
            // No table has been changed yet.
            for held in &self.held {
                let _ = held.remove();
            }
            return;
        };
        match guardian.finish() {
            Ok(lines) => lines.iter().for_each(|line| warn!(target: "steer", "{line}")),
            Err(why) => {
                let names: Vec<&str> = self.held.iter().map(|held| held.journal.interface.as_str()).collect();
                let names = names.join(", ");
                warn!(target: "steer", "{names}: {why}; `xdpmap doctor --repair` restores what is left");
            }
        }
    }
}

fn journal_of(wish: &Wish<'_>) -> Result<Journal, SteerError> {
    let interface = || wish.interface.name.clone();
    let none = |what: String| SteerError::NoTable { interface: interface(), what };
    let ethtool = Ethtool::new(&wish.interface.name).map_err(|error| none(error.to_string()))?;
    let before = ethtool.indirection().map_err(|error| none(error.to_string()))?;
    if before.is_empty() {
        return Err(none("its length is 0".to_owned()));
    }
    let set = even(before.len(), wish.queues);
    Journal::new(wish.interface, before, set).map_err(|source| {
        let folder = Folder::of_host().path().display().to_string();
        SteerError::Journal { folder, source }
    })
}

fn set(journal: &Journal) -> io::Result<()> {
    let ethtool = Ethtool::new(&journal.interface)?;
    match ethtool.indirection()? == journal.set {
        true => Ok(()),
        false => table::set(&ethtool, &journal.set),
    }
}

/// Which process's journal is in the way.
fn taken(interface: String) -> SteerError {
    let found = journals().unwrap_or_default();
    let found = found.iter().find(|found| found.interface() == interface);
    let path =
        found.map_or_else(|| Folder::of_host().path().display().to_string(), |found| found.path.clone());
    let why = match found.map(|found| (&found.state, &found.journal)) {
        Some((JournalState::InUse, Some(journal))) => {
            format!("process {} steers replies there; end it, or leave the flag out", journal.pid)
        }
        _ => "an earlier scan has left it; `xdpmap doctor --repair` reports more".to_owned(),
    };
    SteerError::Taken { interface, path, why }
}
