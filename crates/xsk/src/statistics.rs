//! Options of an AF_XDP socket: how it sends, how it is polled, and the kernel's information and counters.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::net::sockopt::{xdp_options, xdp_statistics};
use rustix::net::xdp::XdpOptionsFlags;
use rustix::system::uname;

use crate::error::SocketError;
use crate::socket::Socket;

// Constants that rustix does not have: `asm-generic/socket.h` and `linux/if_xdp.h`.
const SO_BUSY_POLL: libc::c_int = 46;
const SO_INCOMING_NAPI_ID: libc::c_int = 56;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Bounds calls that wait, and ours do not wait; any value above 0 turns polling on.
const BUSY_POLL_US: libc::c_int = 20;

/// What the kernel says and counts of a socket (`XDP_OPTIONS` and `XDP_STATISTICS`, since Linux 5.3 and 4.18), and
/// what was received through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Whether the kernel says that the driver reads and writes UMEM itself.
    pub zero_copy: bool,
    /// Whether the kernel knows what to poll for the socket; before Linux 6.13 it learns that from the first packet.
    pub has_napi: bool,
    /// Packets received.
    pub received: u64,
    /// Packets that are in the RX ring and were not received yet.
    pub untaken: u64,
    /// Packets dropped for other reasons than those below (`rx_dropped`), such as their length.
    pub rx_dropped: u64,
    /// Packets dropped because the RX ring was full (`rx_ring_full`); 0 before Linux 5.9.
    pub rx_ring_full: u64,
    /// Times that the fill ring had no chunk to take (`rx_fill_ring_empty_descs`); 0 before Linux 5.9. This is no loss
    /// of its own: in copy mode the packet is also in `rx_dropped`, and a zero-copy driver fills a ring of its own,
    /// which may be longer.
    pub rx_fill_ring_empty: u64,
    /// TX descriptors that the kernel refused (`tx_invalid_descs`); 0 before Linux 5.9.
    pub tx_invalid_descriptors: u64,
}

impl Statistics {
    /// Packets that were for the socket and did not get into it.
    pub fn lost(&self) -> u64 {
        self.rx_dropped + self.rx_ring_full
    }

    /// Packets that have reached the socket, including those lost there.
    pub fn arrived(&self) -> u64 {
        self.received + self.untaken + self.lost()
    }
}

/// The first kernel in which the driver names the NAPI of a queue, and the kernel looks it up when a socket is bound
/// (commit 86e25f40aa1e). Before, the first packet carries it.
const NAPI_IS_KNOWN: (u32, u32) = (6, 13);

/// The first two numbers of the kernel's version.
fn kernel_version() -> Option<(u32, u32)> {
    let name = uname();
    let mut numbers = name.release().to_str().ok()?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Sets an option that is a number.
fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value is valid for the length given, and the kernel only reads it.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The value of an option that is a number, if the kernel has the option.
fn get(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> Option<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the buffer is valid for the length given, and any bytes in it are a number.
    let status =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut len) };
    (status == 0 && len as usize == size_of_val(&value)).then_some(value)
}

impl Socket {
    /// Lets one wake-up send up to `packets` packets in copy mode (`XDP_MAX_TX_SKB_BUDGET`, Linux 6.17; 32 without it).
    /// False where the kernel does not know the option or refuses the number.
    pub fn set_tx_budget(&self, packets: u32) -> bool {
        let packets = packets.cast_signed();
        self.fd().is_some_and(|fd| set(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, packets).is_ok())
    }

    /// From now on a wake-up of this socket has the kernel do the driver's work, receiving and sending, for up to
    /// `budget` packets; that is, once [`Self::has_napi`] (`Documentation/networking/napi.rst`, "Busy polling"). It
    /// needs Linux 5.11.
    ///
    /// # Errors
    /// The option that the kernel refuses. From Linux 6.13 on, also if the driver names no NAPI for the queue, because
    /// there would be nothing to poll.
    pub fn busy_poll(&self, budget: u16) -> Result<(), SocketError> {
        let Some(fd) = self.fd() else { return Ok(()) };
        [
            ("SO_PREFER_BUSY_POLL", SO_PREFER_BUSY_POLL, 1),
            ("SO_BUSY_POLL", SO_BUSY_POLL, BUSY_POLL_US),
            ("SO_BUSY_POLL_BUDGET", SO_BUSY_POLL_BUDGET, libc::c_int::from(budget)),
        ]
        .into_iter()
        .try_for_each(|(name, option, value)| {
            set(fd, libc::SOL_SOCKET, option, value).map_err(|source| SocketError::BusyPoll {
                queue: self.queue(),
                option: name,
                source,
            })
        })?;
        if self.has_napi() || kernel_version().is_none_or(|version| version < NAPI_IS_KNOWN) {
            return Ok(());
        }
        Err(SocketError::NoNapi {
            interface: self.interface().to_owned(),
            queue: self.queue(),
            mode: self.mode(),
        })
    }

    /// Whether the kernel knows the driver's NAPI that this socket's packets come through (`SO_INCOMING_NAPI_ID`).
    pub fn has_napi(&self) -> bool {
        let napi = self.fd().and_then(|fd| get(fd, libc::SOL_SOCKET, SO_INCOMING_NAPI_ID));
        napi.is_some_and(|id| id > 0)
    }

    /// Whether the kernel says that this socket is in zero-copy mode (`XDP_OPTIONS`).
    pub fn is_zero_copy(&self) -> bool {
        let flags = self.fd().and_then(|fd| xdp_options(fd).ok());
        flags.is_some_and(|flags| flags.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY))
    }

    /// What the kernel says of this socket, and what has been counted of it so far: a few system calls. Counts that the
    /// kernel does not have are 0.
    pub fn statistics(&self) -> Statistics {
        let counts = self.fd().and_then(|fd| xdp_statistics(fd).ok());
        // A kernel before 5.9 has only the first three counts. rustix 1.1.6 then copies the first one into all three.
        let is_whole = counts.is_some_and(|counts| counts.rx_ring_full.is_some());
        Statistics {
            zero_copy: self.is_zero_copy(),
            has_napi: self.has_napi(),
            received: self.received(),
            untaken: self.untaken().into(),
            rx_dropped: counts.map_or(0, |counts| counts.rx_dropped),
            rx_ring_full: counts.and_then(|counts| counts.rx_ring_full).unwrap_or(0),
            rx_fill_ring_empty: counts.and_then(|counts| counts.rx_fill_ring_empty_descs).unwrap_or(0),
            tx_invalid_descriptors: counts.filter(|_| is_whole).map_or(0, |counts| counts.tx_invalid_descs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it has no kernel")]
    fn the_kernel_has_a_version() {
        assert!(kernel_version().unwrap() > (4, 0));
    }
}
