//! Options of an AF_XDP socket: how it sends, who polls for it, and what the kernel says and counts of it.

use super::socket::{Socket, SocketError};
use crate::io::socket::{Plain, get, get_some, set};
use crate::nic::kernel_version;

// `asm-generic/socket.h`
const SO_BUSY_POLL: libc::c_int = 46;
const SO_INCOMING_NAPI_ID: libc::c_int = 56;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;
/// For calls that wait, which ours do not; above 0 it turns polling on.
const BUSY_POLL_US: libc::c_int = 20;

/// What the kernel says and counts of a socket (`XDP_OPTIONS`, `XDP_STATISTICS`), and what was received through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// Whether it is on an interface that only hears replies.
    pub is_reply_interface: bool,
    /// Whether the kernel says that the driver reads and writes UMEM itself.
    pub zero_copy: bool,
    /// Whether the kernel knows what to poll for it; before Linux 6.13 it learns that from the first packet.
    pub has_napi: bool,
    /// Frames received.
    pub received: u64,
    /// Frames that are in the RX ring, and that nobody has taken.
    pub untaken: u64,
    /// Packets dropped for other reasons than those below.
    pub rx_dropped: u64,
    /// Packets dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Times that the fill ring had no frame to take. No loss of its own: in copy mode the packet counts as dropped, too,
    /// and a zero-copy driver fills a ring of its own, which may be longer than ours.
    pub rx_fill_ring_empty: u64,
    /// TX descriptors that the kernel refused.
    pub tx_invalid_descriptors: u64,
}

impl SocketStatistics {
    /// Packets that were for the socket and did not get into it.
    pub fn lost(&self) -> u64 {
        self.rx_dropped + self.rx_ring_full
    }

    /// Packets that have reached the socket, whatever became of them there.
    pub fn arrived(&self) -> u64 {
        self.received + self.untaken + self.lost()
    }
}

/// `struct xdp_options`: its flags.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
struct Flags(u32);

/// `struct xdp_statistics`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Counts {
    rx_dropped: u64,
    rx_invalid_descs: u64,
    tx_invalid_descs: u64,
    rx_ring_full: u64,
    rx_fill_ring_empty_descs: u64,
    tx_ring_empty_descs: u64,
}

const _: () = assert!(size_of::<Flags>() == size_of::<libc::xdp_options>());
const _: () = assert!(size_of::<Counts>() == size_of::<libc::xdp_statistics>());
impl Plain for Flags {}
impl Plain for Counts {}

impl Socket {
    /// Lets one wake-up send up to `packets` packets in copy mode (`XDP_MAX_TX_SKB_BUDGET`; 32 without it). False where
    /// the kernel does not know the option.
    pub(super) fn set_tx_budget(&self, packets: u32) -> bool {
        const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
        set(self.raw_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &packets).is_ok()
    }

    /// From now on a call for this socket has the kernel do the driver's work for up to `budget` packets.
    ///
    /// # Errors
    /// The option that the kernel refuses; or it would poll nothing.
    pub(super) fn set_busy_poll(&self, interface: &str, budget: u16) -> Result<(), SocketError> {
        [
            ("SO_PREFER_BUSY_POLL", SO_PREFER_BUSY_POLL, 1),
            ("SO_BUSY_POLL", SO_BUSY_POLL, BUSY_POLL_US),
            ("SO_BUSY_POLL_BUDGET", SO_BUSY_POLL_BUDGET, libc::c_int::from(budget)),
        ]
        .into_iter()
        .try_for_each(|(name, option, value)| {
            set(self.raw_fd(), libc::SOL_SOCKET, option, &value).map_err(|source| SocketError::BusyPoll {
                queue: self.queue,
                option: name,
                source,
            })
        })?;
        // Since Linux 6.13 (commit 86e25f40aa1e) it is the driver that names the NAPI of a queue, and the kernel looks when
        // a socket is bound. Before, the first packet tells.
        if self.has_napi() || kernel_version().is_none_or(|version| version < (6, 13)) {
            return Ok(());
        }
        Err(SocketError::NoNapi { interface: interface.to_owned(), queue: self.queue, mode: self.mode })
    }

    /// Whether the kernel knows the driver's NAPI that this socket's packets come through.
    fn has_napi(&self) -> bool {
        get::<libc::c_int>(self.raw_fd(), libc::SOL_SOCKET, SO_INCOMING_NAPI_ID).is_some_and(|id| id > 0)
    }

    /// Whether the kernel says that this socket is in zero-copy mode (`XDP_OPTIONS`).
    pub(super) fn is_zero_copy(&self) -> bool {
        let flags = get::<Flags>(self.raw_fd(), libc::SOL_XDP, libc::XDP_OPTIONS);
        flags.is_some_and(|flags| flags.0 & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// What the kernel says of this socket, and what has been counted of it so far.
    pub(super) fn statistics(&self) -> SocketStatistics {
        // Before 5.9 the kernel knows three of the counts and tells those.
        let counts = get_some::<Counts>(self.raw_fd(), libc::SOL_XDP, libc::XDP_STATISTICS);
        SocketStatistics {
            is_reply_interface: false,
            zero_copy: self.is_zero_copy(),
            has_napi: self.has_napi(),
            received: self.received,
            untaken: self.rx.untaken().into(),
            rx_dropped: counts.rx_dropped,
            rx_ring_full: counts.rx_ring_full,
            rx_fill_ring_empty: counts.rx_fill_ring_empty_descs,
            tx_invalid_descriptors: counts.tx_invalid_descs,
        }
    }
}
