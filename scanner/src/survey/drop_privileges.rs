//! Drops the privileges that a running scan does not need. Only the set-up needs most of them.
//!
//! Everything privileged is open before the first packet leaves. Later steps are tried without privileges, and only
//! those that fail keep their capability: reading the program's counters (CAP_BPF, before Linux 5.19), and files that
//! are created or removed during or after the scan in folders of another user (root's CAP_DAC_OVERRIDE and CAP_FOWNER).
//! All other capabilities are dropped for good before the scan's threads start.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat, geteuid};
use rustix::thread::CapabilitySet;
use tracing::debug;

use super::nics::Nics;
use crate::plan::Plan;
use crate::privileges;
use crate::report::metadata_file::MetadataFile;
use crate::results::output::folder_path;

/// Drops what the scan of `plan` does not need, for this thread and the threads that it starts.
pub(super) fn keep_needed(
    plan: &Plan,
    nics: &Nics,
    metadata: Option<&MetadataFile>,
    control_socket: Option<&Path>,
) -> io::Result<()> {
    let keep = privileges::without_any(|| {
        let removal = control_socket.map_or_else(CapabilitySet::empty, in_folder_of);
        needed(plan, nics, metadata) | removal
    })?;
    debug!(target: "privileges", "kept: {keep:?}");
    privileges::keep_only(keep)
}

/// The capabilities for what fails without privileges. Called while there are none.
fn needed(plan: &Plan, nics: &Nics, metadata: Option<&MetadataFile>) -> CapabilitySet {
    let mut keep = CapabilitySet::empty();
    if nics.programs().any(|program| program.counters().is_err()) {
        keep |= CapabilitySet::BPF;
    }
    for file in later_files(plan, metadata) {
        keep |= to_replace(&file);
    }
    keep
}

/// Files that are created, replaced, renamed or opened once the scan runs.
fn later_files(plan: &Plan, metadata: Option<&MetadataFile>) -> Vec<PathBuf> {
    let sinks = plan.output.sinks.iter();
    let sockets = sinks.clone().filter_map(|sink| sink.redis.as_ref()?.socket().map(Path::to_owned));
    let files = sinks.filter(|sink| sink.redis.is_none()).map(|sink| sink.file.as_path());
    let files = files.chain(metadata.filter(|file| file.is_opened_later()).map(MetadataFile::path));
    let files = files.chain(plan.checkpoint.as_ref().map(|checkpoint| checkpoint.file.as_path()));
    let files = files.chain(plan.report.metrics.file.as_deref());
    let files = files.chain(plan.report.status_file.as_ref().map(|(path, _)| path.as_path()));
    let files = files.filter(|file| *file != Path::new("-"));
    // Also the target of a link, because links are followed. The next file of a series is next to the link.
    let files = files.flat_map(|file| [Some(file.to_owned()), fs::canonicalize(file).ok()]);
    files.flatten().chain(sockets).collect()
}

/// Whether a file or folder may be accessed in this way with the effective rights.
fn may(path: &Path, flags: AccessFlags) -> bool {
    faccessat(AT_FDCWD, path, flags, AtFlags::AT_EACCESS).is_ok()
}

/// The capabilities that are needed to replace this file, or to open it if it is not a regular one.
fn to_replace(path: &Path) -> CapabilitySet {
    let file = fs::metadata(path).ok();
    if file.as_ref().is_some_and(|file| !file.is_file()) {
        let may_write = may(path, AccessFlags::W_OK);
        return if may_write { CapabilitySet::empty() } else { CapabilitySet::DAC_OVERRIDE };
    }
    in_folder_of(path)
}

/// The capabilities that are needed to replace or remove this file, given that its folder must be written to.
fn in_folder_of(path: &Path) -> CapabilitySet {
    let file = fs::symlink_metadata(path).ok();
    let folder = folder_path(path);
    let mut keep = CapabilitySet::empty();
    if !may(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        keep |= CapabilitySet::DAC_OVERRIDE;
    }
    // In a folder with the sticky bit, such as /tmp, only the owner of the folder or of the file may replace a file.
    let owner = geteuid().as_raw();
    let sticky =
        fs::metadata(folder).is_ok_and(|folder| folder.mode() & 0o1000 != 0 && folder.uid() != owner);
    if sticky && file.is_some_and(|file| file.uid() != owner) {
        keep |= CapabilitySet::FOWNER;
    }
    keep
}
