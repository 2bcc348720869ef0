//! Why the kernel refuses a packet socket or one of its options, and the remedy.

use std::io;
use std::os::fd::RawFd;

use crate::io::socket;

/// Why AF_PACKET is unavailable.
#[derive(Debug, thiserror::Error)]
#[error("AF_PACKET: {what}: {source}{}", remedy(source))]
pub struct PacketError {
    /// The step that failed.
    what: &'static str,
    /// The kernel's error.
    source: io::Error,
}

impl PacketError {
    pub(super) fn new(what: &'static str, source: io::Error) -> Self {
        Self { what, source }
    }

    pub(super) fn last(what: &'static str) -> Self {
        Self::new(what, io::Error::last_os_error())
    }

    /// The kernel's errno, where there was one.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            ": missing: CAP_NET_RAW; run as root, or give the file the capability: `setcap cap_net_raw+ep FILE`"
        }
        Some(libc::EAFNOSUPPORT) => ": this kernel was built without packet sockets",
        Some(libc::EMFILE) => ": raise the limit on open files with `ulimit -n 1024`",
        Some(libc::ENOMEM | libc::ENOBUFS) => ": free memory, or use fewer workers with -T",
        _ => "",
    }
}

/// Sets an option; an error names `what`.
pub(super) fn set<T>(
    fd: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
    what: &'static str,
) -> Result<(), PacketError> {
    socket::set(fd, level, option, value).map_err(|source| PacketError::new(what, source))
}
