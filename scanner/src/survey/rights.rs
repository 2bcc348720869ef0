//! What a running scan may still do. Setup takes privileges, the scan runs without them.
//!
//! Everything privileged is open when the first packet leaves. What comes later is tried without privileges, and only what
//! fails then keeps its capability: reading the program's counters (CAP_BPF, before Linux 5.19), and files that are made at
//! the end or in between in folders of somebody else's (root's CAP_DAC_OVERRIDE and CAP_FOWNER). All else is given up for
//! good, before the scan's threads start.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat, geteuid};
use rustix::thread::CapabilitySet;
use tracing::debug;

use super::wire::Wire;
use crate::plan::Plan;
use crate::privileges;
use crate::report::metadata::MetadataFile;

/// Gives up what the scan of `plan` can do without, for this thread and those that it starts.
pub(super) fn give_up(plan: &Plan, wire: &Wire, metadata: Option<&MetadataFile>) -> io::Result<()> {
    let keep = privileges::without_any(|| needed(plan, wire, metadata))?;
    debug!(target: "privileges", "kept: {keep:?}");
    privileges::keep_only(keep)
}

/// What fails without privileges; asked while there are none.
fn needed(plan: &Plan, wire: &Wire, metadata: Option<&MetadataFile>) -> CapabilitySet {
    let mut keep = CapabilitySet::empty();
    if wire.programs().any(|program| program.counters().is_err()) {
        keep |= CapabilitySet::BPF;
    }
    for file in later_files(plan, metadata) {
        keep |= to_replace(&file);
    }
    keep
}

/// Files that are made, replaced, renamed or opened once the scan runs.
fn later_files(plan: &Plan, metadata: Option<&MetadataFile>) -> Vec<PathBuf> {
    let sinks = plan.output.sinks.iter();
    let sockets = sinks.clone().filter_map(|sink| sink.redis.as_ref()?.socket().map(Path::to_owned));
    let files = sinks.filter(|sink| sink.redis.is_none()).map(|sink| sink.file.as_path());
    let files = files.chain(metadata.filter(|file| file.is_opened_later()).map(MetadataFile::path));
    let files = files.chain(plan.report.status_file.as_ref().map(|(path, _)| path.as_path()));
    let files = files.filter(|file| *file != Path::new("-"));
    // Where a link leads, as it is followed then; the next file of a series is beside the link.
    let files = files.flat_map(|file| [Some(file.to_owned()), fs::canonicalize(file).ok()]);
    files.flatten().chain(sockets).collect()
}

/// Whether a file or folder may be used so, by the rights that count.
fn may(path: &Path, flags: AccessFlags) -> bool {
    faccessat(AT_FDCWD, path, flags, AtFlags::AT_EACCESS).is_ok()
}

/// The capabilities that it takes to replace this file, or to open it if it is no regular one.
fn to_replace(path: &Path) -> CapabilitySet {
    let file = fs::metadata(path).ok();
    if file.as_ref().is_some_and(|file| !file.is_file()) {
        let may_write = may(path, AccessFlags::W_OK);
        return if may_write { CapabilitySet::empty() } else { CapabilitySet::DAC_OVERRIDE };
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut keep = CapabilitySet::empty();
    if !may(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        keep |= CapabilitySet::DAC_OVERRIDE;
    }
    // In a folder with the sticky bit, such as /tmp, only its owner and the file's may replace a file.
    let owner = geteuid().as_raw();
    let sticky =
        fs::metadata(folder).is_ok_and(|folder| folder.mode() & 0o1000 != 0 && folder.uid() != owner);
    if sticky && file.is_some_and(|file| file.uid() != owner) {
        keep |= CapabilitySet::FOWNER;
    }
    keep
}
