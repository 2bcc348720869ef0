//! Why a NIC could not be reached: which gate is closed, and what opens it.

use rustix::process::{Resource, getrlimit};

use super::LINK_PATIENCE;
use crate::io::bpf::{AttachError, Features, LoadError, MapError};
use crate::io::files;
use crate::io::live::LiveError;
use crate::io::packet::PacketError;
use crate::io::xsk::{BindMode, SocketError};
use crate::nic::{Interface, NicError};
use crate::privileges;

/// Why a NIC could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The XDP program could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The XDP program could not be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A socket could not be handed to the XDP program.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Live frames were asked for and are not to be had.
    #[error("{0}: use --io-mode auto")]
    Live(#[from] LiveError),
    /// The kernel could not be asked for the state of the link.
    #[error(transparent)]
    Link(#[from] NicError),
    /// The link went down and stayed so.
    #[error(
        "the driver took the link down when {when}, and it was not back after {} s: look at the other end, or use \
         --io-mode generic, which leaves the driver alone",
        LINK_PATIENCE.as_secs()
    )]
    NoCarrier {
        /// What had been done.
        when: &'static str,
    },
    /// Busy polling was asked for, and the network stack runs the program: packets come from no queue of a driver.
    #[error(
        "--busy-poll: the network stack runs the XDP program here (generic), and there is no driver's queue to poll; leave \
         it out{}",
        if .why.is_empty() { String::new() } else { format!(" (not in the driver because: {why})") }
    )]
    NothingToPoll {
        /// Why the driver does not.
        why: String,
    },
    /// The interface for replies could not be reached.
    #[error("--reply-interface {interface}: {source}")]
    Replies {
        /// The interface.
        interface: String,
        /// Why.
        source: Box<OpenError>,
    },
    /// A socket could not be opened.
    #[error("{0}{hint}", hint = remedy(.0))]
    Socket(#[from] SocketError),
    /// AF_PACKET is not to be had.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

impl OpenError {
    /// Whether a privilege was missing.
    pub fn is_privilege(&self) -> bool {
        match (self, self.errno()) {
            (_, Some(libc::EPERM | libc::EACCES)) => true,
            // The limit on locked memory, from which a capability would free it.
            (Self::Socket(_), Some(libc::ENOBUFS)) => privileges::memory_is_limited(),
            _ => false,
        }
    }

    fn errno(&self) -> Option<i32> {
        match self {
            Self::Load(error) => error.errno(),
            Self::Attach(error) => error.errno(),
            Self::Socket(error) => error.os_error(),
            Self::Packet(error) => error.errno(),
            Self::Replies { source, .. } => source.errno(),
            Self::Map(_)
            | Self::Live(_)
            | Self::Link(_)
            | Self::NothingToPoll { .. }
            | Self::NoCarrier { .. } => None,
        }
    }

    /// Whether AF_PACKET is the answer: XDP is not to be had here. Another program, another socket, a lack of memory or
    /// of privileges is for the user to decide, unless it is plain that AF_PACKET is all that was meant to be allowed.
    pub(super) fn packet_may_help(&self) -> bool {
        match (self, self.errno()) {
            (Self::Load(LoadError::Refused { .. }), None) => true,
            (_, Some(libc::EPERM | libc::EACCES)) => privileges::has_net_raw_alone(),
            (_, Some(libc::EBUSY | libc::EEXIST | libc::ENODEV | libc::ENETDOWN)) => false,
            (_, Some(libc::ENOMEM | libc::ENOBUFS | libc::EMFILE)) => false,
            (_, errno) => errno.is_some(),
        }
    }
}

/// What to do about a socket that could not be opened, as the end of the sentence.
fn remedy(error: &SocketError) -> String {
    let text = match (error.os_error(), error) {
        (Some(libc::ENOPROTOOPT), SocketError::BusyPoll { .. }) => {
            "it takes Linux 5.11 or later, built with CONFIG_NET_RX_BUSY_POLL; leave the flag out".to_owned()
        }
        (Some(libc::EPERM | libc::EACCES), _) => privileges::why_refused(),
        (Some(libc::EBUSY), _) => {
            "another AF_XDP socket holds this queue, perhaps of another scan: end it, or scan beside it with --io-mode \
             packet"
                .to_owned()
        }
        (Some(libc::ENOBUFS | libc::ENOMEM), _) => short_of_memory(),
        (Some(libc::EMFILE), _) => files::remedy(),
        (Some(libc::ENETDOWN), SocketError::Bind { interface, .. }) => {
            format!("the interface is down: `ip link set dev {interface} up`")
        }
        (Some(libc::EOPNOTSUPP | libc::EINVAL), SocketError::Bind { interface, mode, .. }) => {
            format!("{}: use --io-mode auto", unable(interface, *mode))
        }
        _ => return String::new(),
    };
    format!(": {text}")
}

/// Which limit on memory is in the way.
fn short_of_memory() -> String {
    match getrlimit(Resource::Memlock).current.filter(|_| privileges::memory_is_limited()) {
        Some(limit) => format!(
            "locked memory is short: the limit is {} KiB (RLIMIT_MEMLOCK), and CAP_IPC_LOCK, which lifts it, is missing; \
             raise it with `ulimit -l unlimited`, or give the file its capabilities: `setcap {} FILE`",
            limit >> 10,
            privileges::SETCAP
        ),
        None => "memory is short: free some, or use fewer queues (`ethtool -L`)".to_owned(),
    }
}

/// Why the driver cannot do what was asked.
fn unable(interface: &str, mode: BindMode) -> String {
    let known = Interface::by_name(interface).ok();
    let driver = known.as_ref().and_then(|known| known.driver.as_deref()).unwrap_or("its driver");
    let features = known.as_ref().and_then(|known| Features::of(known.index).ok()).unwrap_or_default();
    match (mode, features.zero_copy()) {
        (BindMode::ZeroCopy, true) => format!(
            "{driver} has zero-copy, but not in this state of it (see `dmesg`; virtio_net wants iommu_platform=on, most \
             drivers an MTU up to 3,500)"
        ),
        (BindMode::ZeroCopy, false) => format!("{driver} has no zero-copy that the kernel knows of"),
        (BindMode::Copy, _) => {
            "the queue is not there any more (`ethtool -l`), or the interface takes no AF_XDP sockets"
                .to_owned()
        }
    }
}
