//! Where the sockets of scans are.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::journal::Folder;

/// Ends the names of sockets in the runtime folder; before it is the ID of the process.
const ENDING: &str = ".sock";

/// The folder of this user's sockets: `/run/xdpmap` for root, `xdpmap` in `$XDG_RUNTIME_DIR` for others; `None` if that
/// is unset.
pub(super) fn runtime_folder() -> Option<Folder> {
    if nix::unistd::geteuid().is_root() {
        return Some(Folder::of_host());
    }
    // A relative path means nothing (XDG Base Directory Specification).
    let folder = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?);
    folder.is_absolute().then(|| Folder::at(folder.join("xdpmap")))
}

/// The path of this process's socket in that folder.
pub(super) fn default_path(folder: &Folder) -> PathBuf {
    path_of(folder, std::process::id())
}

/// Where the socket of a process of this user is unless it is named; `None` if there is no place for it.
pub fn default_socket(pid: u32) -> Option<PathBuf> {
    runtime_folder().map(|folder| path_of(&folder, pid))
}

fn path_of(folder: &Folder, pid: u32) -> PathBuf {
    folder.path().join(format!("{pid}{ENDING}"))
}

/// The sockets in a folder, and the IDs of the processes that have made them.
///
/// # Errors
/// The folder may not be read.
pub(super) fn sockets_in(folder: &Path) -> io::Result<Vec<(PathBuf, u32)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let socket = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.strip_suffix(ENDING)?.parse().ok()?;
        entry.file_type().is_ok_and(|kind| kind.is_socket()).then(|| (entry.path(), pid))
    };
    let mut sockets: Vec<(PathBuf, u32)> = entries.flatten().filter_map(socket).collect();
    sockets.sort();
    Ok(sockets)
}
