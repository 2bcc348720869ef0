//! The modes that a socket can be in, and why it could not be opened.

use std::io;

use rustix::net::xdp::SocketAddrXdpFlags;

/// How a socket exchanges frames with the driver (`Documentation/networking/af_xdp.rst`, "XDP_COPY and
/// XDP_ZEROCOPY bind flags").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindMode {
    /// The driver reads and writes UMEM itself (`XDP_ZEROCOPY`). Only some drivers can, and often not in every state:
    /// many need a small MTU.
    ZeroCopy,
    /// The kernel copies between UMEM and its own packets (`XDP_COPY`). Every driver can.
    Copy,
}

impl BindMode {
    /// A list of this mode only, for [`Socket::open`](crate::Socket::open).
    pub fn alone(self) -> &'static [Self] {
        match self {
            Self::ZeroCopy => &[Self::ZeroCopy],
            Self::Copy => &[Self::Copy],
        }
    }

    pub(crate) fn flags(self) -> SocketAddrXdpFlags {
        let mode = match self {
            Self::ZeroCopy => SocketAddrXdpFlags::XDP_ZEROCOPY,
            Self::Copy => SocketAddrXdpFlags::XDP_COPY,
        };
        mode | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP
    }
}

/// Which step of setting up a socket failed. Each text is one line: what failed, and what the kernel said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The memory for frames could not be mapped.
    #[error("mapping {bytes} bytes of UMEM: {source}")]
    Map {
        /// How much was asked for.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no socket. `EPERM`: it needs `CAP_NET_RAW`. `EAFNOSUPPORT`: the kernel has no AF_XDP.
    #[error("opening an AF_XDP socket: {source}")]
    Open {
        /// What the kernel said.
        source: io::Error,
    },
    /// UMEM could not be registered with a socket. `ENOBUFS`: the limit on locked memory is too low.
    #[error("registering {bytes} bytes of UMEM: {source}")]
    Register {
        /// How much was asked for.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The rings could not be made or mapped. `EINVAL`: a length is no power of two.
    #[error("setting up the rings of an AF_XDP socket: {source}")]
    Rings {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not poll the driver for this socket. `ENOPROTOOPT`: it needs Linux 5.11 or later, built with
    /// `CONFIG_NET_RX_BUSY_POLL`.
    #[error("setting {option} on queue {queue}: {source}")]
    BusyPoll {
        /// The queue.
        queue: u32,
        /// The socket option that was refused.
        option: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not know what it would have to poll.
    #[error(
        "{interface}'s driver does not report the NAPI of queue {queue} in {mode:?} mode to the kernel, so it cannot \
         be polled"
    )]
    NoNapi {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The mode.
        mode: BindMode,
    },
    /// The socket could not be bound to the queue. `EBUSY`: another socket has it. `EOPNOTSUPP`, `EINVAL`: the driver
    /// has no zero-copy, or there is no such queue. `ENODEV`: there is no such interface. `ENETDOWN`: the driver needs
    /// the interface to be up.
    #[error("cannot bind to queue {queue} in {mode:?} mode: {source}")]
    Bind {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The mode tried.
        mode: BindMode,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SocketError {
    /// Whether copy mode may work where zero-copy was refused: the reason is neither another socket nor a missing
    /// privilege.
    pub fn copy_may_help(&self) -> bool {
        matches!(self, Self::Bind { mode: BindMode::ZeroCopy, .. })
            && !matches!(self.os_error(), Some(libc::EBUSY | libc::EPERM | libc::EACCES))
    }

    /// The kernel's `errno`, if the kernel refused something.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Self::Map { source, .. }
            | Self::Open { source }
            | Self::Register { source, .. }
            | Self::Rings { source }
            | Self::BusyPoll { source, .. }
            | Self::Bind { source, .. } => source.raw_os_error(),
            Self::NoNapi { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lower mode is tried where the driver refuses, not where the user has to decide.
    #[test]
    fn where_copy_mode_may_help() {
        let bind = |mode, errno| SocketError::Bind {
            interface: "eth0".to_owned(),
            queue: 1,
            mode,
            source: io::Error::from_raw_os_error(errno),
        };
        for (mode, errno, expected) in [
            (BindMode::ZeroCopy, libc::EOPNOTSUPP, true),
            (BindMode::ZeroCopy, libc::EINVAL, true),
            (BindMode::ZeroCopy, libc::EBUSY, false),
            (BindMode::ZeroCopy, libc::EPERM, false),
            (BindMode::Copy, libc::EOPNOTSUPP, false),
        ] {
            let error = bind(mode, errno);
            assert_eq!((error.copy_may_help(), error.os_error()), (expected, Some(errno)), "{error}");
        }
        assert!(
            bind(BindMode::Copy, libc::ENETDOWN)
                .to_string()
                .starts_with("cannot bind to queue 1 in Copy mode: ")
        );
    }
}
