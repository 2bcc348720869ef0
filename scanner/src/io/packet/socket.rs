//! The socket: set up, bound, asked what it dropped, and given frames to send.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::outbox::Outbox;
use super::ring::Ring;
use super::{Request, filter};
use crate::io::socket::{self, Plain, bind_packet, get, packet_socket};
use crate::packet::Link;

/// Memory for packets that the driver has not finished with: enough for the rings of any NIC.
const SEND_BUFFER_LEN: libc::c_int = 4 << 20;

/// Why AF_PACKET is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("AF_PACKET: {what}: {source}{}", remedy(source))]
pub struct PacketError {
    /// What could not be done.
    what: &'static str,
    /// What the kernel said.
    source: io::Error,
}

impl PacketError {
    pub(super) fn last(what: &'static str) -> Self {
        Self { what, source: io::Error::last_os_error() }
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

/// A group of sockets that share what arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fanout(libc::c_int);

impl Fanout {
    /// Asks for a group of its own.
    pub(super) const NEW: Self =
        Self(((libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_UNIQUEID) << 16) as libc::c_int);
}

/// A bound packet socket with its receive ring.
#[derive(Debug)]
pub(super) struct Socket {
    // Before the descriptor: unmapped first.
    pub(super) ring: Ring,
    fd: OwnedFd,
    /// Packets dropped so far: the kernel forgets them when it is asked.
    dropped: Cell<u64>,
}

impl Socket {
    /// A socket on the interface, which hears what its filter lets through.
    pub(super) fn open(request: &Request<'_>) -> Result<Self, PacketError> {
        // Without an Ethernet header the kernel's own idea of where a packet begins is the only one that all kinds of
        // tunnels share, and that is what SOCK_DGRAM gives.
        let (kind, before) = match request.check.link {
            Link::Ethernet => (libc::SOCK_RAW, crate::packet::ETHERNET_LEN),
            Link::Bare => (libc::SOCK_DGRAM, 0),
        };
        let fd = packet_socket(kind).map_err(|source| PacketError { what: "opening a socket", source })?;
        let raw = fd.as_raw_fd();
        let mut program = filter::program(request.check, request.capture_len);
        let attached =
            libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
        set(raw, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &attached, "attaching the filter")?;
        let version = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
        set(raw, libc::SOL_PACKET, libc::PACKET_VERSION, &version, "choosing the ring's version")?;
        let ring = Ring::open(raw, request.ring_len, request.capture_len + before)?;
        // Past the queueing discipline, which may drop in silence what it has taken. A driver whose queue is full says so.
        let bypass: libc::c_int = 1;
        set(
            raw,
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            &bypass,
            "leaving out the queueing discipline",
        )?;
        if set(raw, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER_LEN, "").is_err() {
            // Without CAP_NET_ADMIN as much as the system allows; less only means more calls.
            let _ = set(raw, libc::SOL_SOCKET, libc::SO_SNDBUF, &SEND_BUFFER_LEN, "");
        }
        bind_packet(&fd, request.ifindex, libc::ETH_P_IP)
            .map_err(|source| PacketError { what: "binding to the interface", source })?;
        Ok(Self { ring, fd, dropped: Cell::new(0) })
    }

    /// Joins a group; the group that the next one is to join.
    pub(super) fn join(&self, group: Fanout) -> Result<Fanout, PacketError> {
        set(self.raw_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT, &group.0, "sharing replies among workers")?;
        let joined = get::<libc::c_int>(self.raw_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT);
        joined.map(Fanout).ok_or_else(|| PacketError::last("sharing replies among workers"))
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Packets that were for this socket and found its ring full.
    pub(super) fn dropped(&self) -> u64 {
        let counts = get::<Statistics>(self.raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS);
        let newly = counts.map_or(0, |counts| counts.drops);
        self.dropped.set(self.dropped.get() + u64::from(newly));
        self.dropped.get()
    }

    /// Hands the frames at the head of the box to the kernel; how many it took.
    pub(super) fn send(&self, outbox: &mut Outbox) -> Result<usize, i32> {
        let messages = outbox.pending();
        let (first, count) = (messages.as_mut_ptr(), messages.len() as libc::c_uint);
        // SAFETY: the messages and what they point to are valid for the call; the kernel writes to nothing but their
        // length fields.
        let taken = unsafe { libc::sendmmsg(self.raw_fd(), first, count, libc::MSG_DONTWAIT) };
        match usize::try_from(taken) {
            Ok(taken) => Ok(taken),
            Err(_) => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        }
    }

    /// Sleeps until something arrives or `timeout` is over.
    pub(super) fn wait(&self, timeout: libc::timespec) {
        let mut poll = libc::pollfd { fd: self.raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry. Its result tells nothing that the ring does not; a signal only ends the sleep.
        unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) };
        if poll.revents & libc::POLLERR != 0 {
            // The interface went down. Asking takes the error away, else no sleep would last.
            get::<libc::c_int>(self.raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR);
        }
    }
}

/// `struct tpacket_stats`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Statistics {
    packets: libc::c_uint,
    drops: libc::c_uint,
}

impl Plain for Statistics {}

/// Sets an option.
pub(super) fn set<T>(
    fd: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
    what: &'static str,
) -> Result<(), PacketError> {
    socket::set(fd, level, option, value).map_err(|source| PacketError { what, source })
}
