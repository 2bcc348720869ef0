//! Changes of the block list while a scan runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What took targets out of a running scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The block list was read again.
    #[default]
    Reload,
    /// A network was named.
    Exclude,
}

/// A change of the block list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlocklistChange {
    /// When (RFC 3339).
    pub time: String,
    /// What happened.
    pub command: ChangeKind,
    /// Who wanted it: `user` and its number, or a signal.
    pub by: String,
    /// The file that was read, or the network; absent if there is no block list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Entries of the list: networks and host names.
    pub entries: u64,
    /// Addresses in them.
    pub addresses: u64,
    /// Addresses of the scan's targets that are left out from then on, and were not before.
    pub addresses_taken_out: u64,
}

/// In one line.
impl fmt::Display for BlocklistChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = &self.by;
        match (self.command, self.what.as_deref()) {
            (ChangeKind::Reload, None) => write!(f, "{by} reloads the block list: there is none")?,
            (ChangeKind::Reload, Some(file)) => write!(
                f,
                "{by} reloads {file}: entries: {}, addresses in them: {}",
                self.entries, self.addresses
            )?,
            (ChangeKind::Exclude, network) => write!(f, "{by} excludes {}", network.unwrap_or_default())?,
        }
        write!(f, "; addresses taken out of the scan: {}", self.addresses_taken_out)
    }
}
