//! The scan's side: makes the socket's file, accepts those who may control the scan, and removes the file.
//!
//! What always holds: the file is a socket with mode 0600 from the moment that it exists, in a folder where no other
//! user can put anything. Each peer is checked once more by the credentials that the kernel gives (SO_PEERCRED). The
//! file is removed when the listener is dropped, if it is still the same.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;

use super::place::{default_path, runtime_folder, sockets_in};
use crate::journal::Folder;
use crate::printable::printable;
use crate::results::output::folder_path;

/// Connections that wait to be accepted. Lower: a client is refused while the scan is busy. Higher: no use.
const BACKLOG: i32 = 8;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", printable(.path))]
pub struct ListenerError {
    path: PathBuf,
    what: String,
}

impl ListenerError {
    fn new(path: &Path, what: impl ToString) -> Self {
        Self { path: path.to_owned(), what: what.to_string() }
    }
}

/// The socket of a scan.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
    /// The user of this process. Kept, because the thread that serves may not ask for it.
    owner: u32,
}

impl Listener {
    /// Makes the socket in the runtime folder; `None` if there is no such folder. Sockets that dead processes have left
    /// there are removed.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn in_runtime_folder() -> Result<Option<Self>, ListenerError> {
        let Some(folder) = runtime_folder() else { return Ok(None) };
        folder.make().map_err(|error| ListenerError::new(folder.path(), error))?;
        // Without privileges the socket could not be removed from there.
        if folder.is_of_another() {
            return Err(ListenerError::new(folder.path(), "it belongs to another user"));
        }
        remove_left(&folder);
        Self::bind(&default_path(&folder)).map(Some)
    }

    /// Makes the socket at this path, whose folder must exist.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn at(path: &Path) -> Result<Self, ListenerError> {
        let folder = folder_path(path);
        // A link to a folder is as good as the folder.
        let folder = fs::canonicalize(folder).map_err(|error| ListenerError::new(folder, error))?;
        let checked = Folder::at(&folder).check();
        checked.map_err(|error| ListenerError::new(path, format!("its folder cannot be used: {error}")))?;
        Self::bind(path)
    }

    fn bind(path: &Path) -> Result<Self, ListenerError> {
        let failed = |error: io::Error| ListenerError::new(path, error);
        clear(path)?;
        let address =
            UnixAddr::new(path).map_err(|_| ListenerError::new(path, "the path is too long for a socket"))?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(|e| failed(e.into()))?;
        // The file gets the mode of the socket, less the umask, so that nobody else can ever connect.
        fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| failed(error.into()))?;
        bind(socket.as_raw_fd(), &address).map_err(|error| failed(error.into()))?;
        let made = Self::of(socket, path).map_err(failed)?;
        let backlog = Backlog::new(BACKLOG).map_err(|error| failed(error.into()))?;
        listen(&made.socket, backlog).map_err(|error| failed(error.into()))?;
        Ok(made)
    }

    fn of(socket: OwnedFd, path: &Path) -> io::Result<Self> {
        // Still the same if the process changes its folder.
        let path = std::path::absolute(path)?;
        let file = fs::symlink_metadata(&path)?;
        Ok(Self { socket: socket.into(), file: (file.dev(), file.ino()), path, owner: geteuid().as_raw() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next peer that waits, with its user, if there is one. A peer that may not control the scan has been told so
    /// and is not returned.
    ///
    /// # Errors
    /// The system's refusal; WouldBlock if no peer waits.
    pub fn accept(&self) -> io::Result<Option<(UnixStream, u32)>> {
        let (peer, _) = self.socket.accept()?;
        peer.set_nonblocking(true)?;
        let user = user_of(&peer)?;
        if user == 0 || user == self.owner {
            return Ok(Some((peer, user)));
        }
        let refusal = super::Answer::refused("only its user and root may control a scan");
        // A peer that does not read has no use for it.
        let _ = io::Write::write_all(&mut &peer, refusal.to_line().as_bytes());
        Ok(None)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let is_ours = |file: fs::Metadata| (file.dev(), file.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // A file that cannot be removed is one that the next scan replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The user at the other end.
pub(super) fn user_of(peer: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(peer, PeerCredentials)?.uid())
}

/// Makes room for a socket at `path`: removes one at which nobody listens any more.
fn clear(path: &Path) -> Result<(), ListenerError> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|error| ListenerError::new(path, error))?,
    };
    if !found.file_type().is_socket() {
        return Err(ListenerError::new(path, "it exists and is not a socket; name another path"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| ListenerError::new(path, error))
        }
        Err(error) => Err(ListenerError::new(path, error)),
        Ok(_) => Err(ListenerError::new(path, "another process listens there; name another path")),
    }
}

/// Removes the sockets in the runtime folder that dead processes have left. Both signs count: a process that has just
/// made its socket does not listen yet, and a process in another container has no entry here.
fn remove_left(folder: &Folder) {
    for (path, pid) in sockets_in(folder.path()).unwrap_or_default() {
        let is_refused = || {
            UnixStream::connect(&path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        if !Path::new("/proc").join(pid.to_string()).exists() && is_refused() {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn made_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.sock");
        let listener = Listener::at(&path).unwrap();
        let file = fs::symlink_metadata(&path).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.mode() & 0o777, 0o600);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let _client = UnixStream::connect(&path).unwrap();
        let (_, user) = listener.accept().unwrap().unwrap();
        assert_eq!(user, geteuid().as_raw());
        // A second one does not take its place.
        let second = Listener::at(&path).unwrap_err().to_string();
        assert!(second.contains("another process listens"), "{second}");
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_process_has_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::at(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        // What is no longer ours is not removed.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(listener);
        assert!(path.exists());
    }

    #[test]
    fn sockets_of_dead_processes_are_removed_from_the_runtime_folder() {
        let folder = tempfile::tempdir().unwrap();
        // Beyond the largest ID of a process.
        let dead = folder.path().join("4194305.sock");
        drop(UnixListener::bind(&dead).unwrap());
        let own = folder.path().join(format!("{}.sock", std::process::id()));
        drop(UnixListener::bind(&own).unwrap());
        let other = folder.path().join("other.sock");
        drop(UnixListener::bind(&other).unwrap());
        remove_left(&Folder::at(folder.path()));
        assert_eq!([dead, own, other].map(|path| path.exists()), [false, true, true]);
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Listener::at(path).unwrap_err().to_string();
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(refused(&file).contains("is not a socket"), "{}", refused(&file));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/nowhere", &link).unwrap();
        assert!(refused(&link).contains("is not a socket"));
        assert!(refused(&folder.path().join("none/scan.sock")).contains("No such file"));
        assert!(refused(&folder.path().join("x".repeat(120))).contains("too long"));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refused(&folder.path().join("scan.sock")).contains("others may write"));
    }
}
