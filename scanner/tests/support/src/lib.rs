//! What the scanner's test programs share about the scanner: how it is started, its output, files and counters, and
//! what these are compared with. Labs, programs of the system and [`lab::have_root`] are in the crate [`lab`].

pub mod browser;
pub mod capture;
pub mod drops;
pub mod frames;
pub mod ledger;
pub mod live;
pub mod network;
pub mod promtool;
pub mod redis;
pub mod running;
pub mod sandbox;
pub mod scanner;
pub mod scans;
pub mod seccomp;
pub mod truth;
pub mod zmap;

use std::path::Path;

pub use scans::{Scanned, Scans};

/// What a file holds, or nothing if there is none.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
