//! Steering (`--steer`): the NIC's RSS indirection table set so that replies come to the queues that are listened to, evenly,
//! and put back.
//!
//! What always holds: before a table is changed, what it was is on record (`journal`), and a process stands by that puts it
//! back when the scan is gone, however it went (`guardian`). If that is killed, too, the record stays, and the next scan of the
//! interface or `xdpmap doctor --repair` puts the table back (`repair`). A table that somebody else has changed in between is
//! left alone.

mod guardian;
mod journal;
mod repair;
mod table;

use std::io;

use tracing::{info, warn};

use crate::io::ethtool::Ethtool;
use crate::nic::Interface;
use crate::plan::{EXIT_INTERFACE, EXIT_PRIVILEGES};
use guardian::Guardian;
use journal::{Folder, Held};

pub use guardian::run;
pub use journal::Journal;
pub use repair::{Found, State, journals, recover};

/// Why replies cannot be steered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SteerError {
    /// The driver has no table.
    #[error(
        "{interface}: --steer: its driver has no RSS indirection table ({what}); leave the flag out, and listen on all queues"
    )]
    NoTable {
        /// The interface.
        interface: String,
        /// What the kernel says.
        what: String,
    },
    /// The table cannot be set.
    #[error("{interface}: --steer: setting its RSS indirection table: {source}{hint}", hint = remedy(.source))]
    Set {
        /// The interface.
        interface: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Another scan steers there.
    #[error("{interface}: --steer: {path} is there: {why}")]
    Taken {
        /// The interface.
        interface: String,
        /// The journal.
        path: String,
        /// Whose it is, and what to do.
        why: String,
    },
    /// What the table was cannot be written down.
    #[error("--steer: writing down in {folder} what the RSS indirection table is: {source}{hint}", hint = folder_remedy(.source, .folder))]
    Journal {
        /// The folder.
        folder: String,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody would put the table back.
    #[error("--steer: starting the process that puts the RSS indirection table back: {0}")]
    Guardian(io::Error),
}

impl SteerError {
    /// The exit code of the design's table.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Set { source, .. } | Self::Journal { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                EXIT_PRIVILEGES
            }
            Self::NoTable { .. } | Self::Set { .. } | Self::Taken { .. } => EXIT_INTERFACE,
            Self::Journal { .. } | Self::Guardian(_) => 1,
        }
    }
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(": {}", crate::privileges::why_refused()),
        _ => "; leave the flag out, and listen on all queues".to_owned(),
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

/// What is wanted of an interface.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The interface that frames come through.
    pub interface: &'a Interface,
    /// The queues that replies are to come to.
    pub queues: &'a [u32],
}

/// Tables that are set. They are put back when this is dropped, or when the process dies.
#[derive(Debug)]
pub struct Steering {
    guardian: Option<Guardian>,
    held: Vec<Held>,
    is_put_back: bool,
}

impl Steering {
    /// Sets the table of each interface. On an error none is left changed.
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

    /// Sees to it that each table is the one that was set. A driver may have made its own when an XDP program was attached.
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

    /// The entries of each table, in the order of the wishes.
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
    /// Puts the tables back. What there is to say about it is logged.
    pub fn put_back(&mut self) {
        if std::mem::replace(&mut self.is_put_back, true) {
            return;
        }
        let Some(guardian) = &mut self.guardian else {
            // No table was changed yet.
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
                warn!(target: "steer", "{names}: {why}; `xdpmap doctor --repair` puts back what is left");
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
    let set = table::even(before.len(), wish.queues);
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

/// Whose journal is in the way.
fn taken(interface: String) -> SteerError {
    let found = journals().unwrap_or_default();
    let found = found.iter().find(|found| found.interface() == interface);
    let path =
        found.map_or_else(|| Folder::of_host().path().display().to_string(), |found| found.path.clone());
    let why = match found.map(|found| (&found.state, &found.journal)) {
        Some((State::InUse, Some(journal))) => {
            format!("process {} steers replies there; end it, or leave the flag out", journal.pid)
        }
        _ => "what an earlier scan has left; `xdpmap doctor --repair` tells more".to_owned(),
    };
    SteerError::Taken { interface, path, why }
}
