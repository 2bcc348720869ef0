//! Why a NIC could not be opened, and the remedy.

use rustix::process::{Resource, getrlimit};

use super::LINK_PATIENCE;
use crate::io::bpf::{AttachError, LoadError, MapError};
use crate::io::files;
use crate::io::live::LiveError;
use crate::io::packet::PacketError;
use crate::io::xsk::{BindMode, SocketError};
use crate::nic::{Interface, NicError, XdpFeatures};
use crate::printable::without_numbers;
use crate::privileges;

/// Why a NIC could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The XDP program could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The XDP program could not be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A socket could not be added to the XDP program's map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Live frames were requested and are unavailable.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The kernel did not report the state of the link.
    #[error(transparent)]
    LinkHeader(#[from] NicError),
    /// The link went down and did not come back.
    #[error(
        "the driver took the link down when {when}, and it was still down after {} s: check the other end",
        LINK_PATIENCE.as_secs()
    )]
    NoCarrier {
        /// The step after which the link was down.
        when: &'static str,
    },
    /// Busy polling was requested, but the network stack runs the program: packets come from no queue of a driver.
    #[error(
        "the network stack runs the XDP program here (generic), so there is no driver's queue to poll{}",
        if .why.is_empty() { String::new() } else { format!(" (not in the driver because: {why})") }
    )]
    NothingToPoll {
        /// Why the driver does not run the program.
        why: String,
    },
    /// The interface for replies could not be opened.
    #[error("{interface}: {source}")]
    Replies {
        /// The interface.
        interface: String,
        /// Why.
        source: Box<OpenError>,
    },
    /// A socket could not be opened.
    #[error("{0}{hint}", hint = remedy(.0))]
    Socket(#[from] SocketError),
    /// AF_PACKET is unavailable.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

/// Another request, which may succeed where one has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alternative {
    /// To leave the choice of the mode open.
    AnyMode,
    /// The mode that leaves the driver alone.
    Generic,
    /// The mode that leaves XDP to the program or socket that has it.
    Packet,
    /// Without busy polling.
    NoBusyPoll,
}

impl OpenError {
    /// The request that may succeed instead.
    pub fn alternative(&self) -> Option<Alternative> {
        match self {
            Self::Live(_) => Some(Alternative::AnyMode),
            Self::NoCarrier { .. } => Some(Alternative::Generic),
            Self::NothingToPoll { .. } => Some(Alternative::NoBusyPoll),
            Self::Attach(error) => error.is_taken().then_some(Alternative::Packet),
            Self::Socket(error) => of_socket(error),
            Self::Replies { source, .. } => source.alternative(),
            Self::Load(_) | Self::Map(_) | Self::LinkHeader(_) | Self::Packet(_) => None,
        }
    }

    /// Whether a privilege was missing.
    pub fn is_privilege(&self) -> bool {
        match (self, self.errno()) {
            (_, Some(libc::EPERM | libc::EACCES)) => true,
            // RLIMIT_MEMLOCK is too low; a capability would lift it.
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
            | Self::LinkHeader(_)
            | Self::NothingToPoll { .. }
            | Self::NoCarrier { .. } => None,
        }
    }

    /// Whether AF_PACKET may work because XDP is unavailable here. Another program, another socket, a lack of memory or
    /// of privileges is for the user to resolve, unless the process clearly has the privilege for AF_PACKET and no
    /// other.
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

/// The request that may succeed where a socket could not be opened.
fn of_socket(error: &SocketError) -> Option<Alternative> {
    match (error.os_error(), error) {
        (_, SocketError::BusyPoll { .. } | SocketError::NoNapi { .. }) => Some(Alternative::NoBusyPoll),
        (Some(libc::EBUSY), _) => Some(Alternative::Packet),
        (Some(libc::EOPNOTSUPP | libc::EINVAL), SocketError::Bind { .. }) => Some(Alternative::AnyMode),
        _ => None,
    }
}

/// Why a mode is unavailable, if the scan goes on in the next one.
pub(super) fn reason(error: &dyn std::fmt::Display) -> String {
    without_numbers(&error.to_string())
}

/// Why sockets are not in the best mode, and what that means.
pub(super) fn refusal(error: &SocketError) -> String {
    let meaning = match error {
        SocketError::Bind { mode: BindMode::ZeroCopy, .. } => {
            "; so the kernel copies each frame, which takes more CPU time per packet and loses nothing"
        }
        _ => "",
    };
    format!("{}{meaning}", reason(&format!("{error}{}", remedy(error))))
}

/// The remedy for a socket that could not be opened, as the end of the sentence.
fn remedy(error: &SocketError) -> String {
    let text = match (error.os_error(), error) {
        (Some(libc::ENOPROTOOPT), SocketError::BusyPoll { .. }) => {
            "it needs Linux 5.11 or later, built with CONFIG_NET_RX_BUSY_POLL".to_owned()
        }
        (Some(libc::EPERM | libc::EACCES), _) => privileges::why_refused(),
        (Some(libc::EBUSY), _) => {
            "another AF_XDP socket holds this queue, perhaps another scan's: close it".to_owned()
        }
        (Some(libc::ENOBUFS | libc::ENOMEM), _) => short_of_memory(),
        (Some(libc::EMFILE), _) => files::remedy(),
        (Some(libc::ENETDOWN), SocketError::Bind { interface, .. }) => {
            format!("the interface is down: `ip link set dev {interface} up`")
        }
        (Some(libc::EOPNOTSUPP | libc::EINVAL), SocketError::Bind { interface, mode, .. }) => {
            unable(interface, *mode)
        }
        _ => return String::new(),
    };
    format!(": {text}")
}

/// Describes the limit on memory that was reached.
fn short_of_memory() -> String {
    match getrlimit(Resource::Memlock).current.filter(|_| privileges::memory_is_limited()) {
        Some(limit) => format!(
            "not enough locked memory: the limit is {} KiB (RLIMIT_MEMLOCK), and CAP_IPC_LOCK, which lifts it, is \
             missing; raise it with `ulimit -l unlimited`, or give the file its capabilities: `setcap {} FILE`",
            limit >> 10,
            privileges::SETCAP
        ),
        None => "not enough memory: free some, or use fewer queues (`ethtool -L`)".to_owned(),
    }
}

/// Why the driver does not support the requested mode.
fn unable(interface: &str, mode: BindMode) -> String {
    let known = Interface::by_name(interface).ok();
    let driver = known.as_ref().and_then(|known| known.driver.as_deref()).unwrap_or("its driver");
    let features = known.as_ref().and_then(|known| XdpFeatures::of(known.index).ok()).unwrap_or_default();
    match (mode, features.zero_copy()) {
        (BindMode::ZeroCopy, true) => format!(
            "{driver} has zero-copy, but not in its present configuration (see `dmesg`; virtio_net needs \
             iommu_platform=on, most drivers an MTU up to 3,500)"
        ),
        (BindMode::ZeroCopy, false) => format!("{driver} does not report zero-copy to the kernel"),
        (BindMode::Copy, _) => {
            "the queue no longer exists (`ethtool -l`), or the interface does not support AF_XDP sockets"
                .to_owned()
        }
    }
}
