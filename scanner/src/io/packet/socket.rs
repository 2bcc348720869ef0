//! The packet socket: opens and binds it, sends frames, and reads its drop counter.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use wire::packet::LinkHeader;

use super::error::{PacketError, set};
use super::outbox::Outbox;
use super::ring::Ring;
use super::{PacketRequest, filter};
use crate::io::socket::{Plain, bind_packet, get, packet_socket};

/// Memory for packets that the driver has not finished with: enough for the rings of any NIC. Less means more calls;
/// more only lets packets wait in the driver's queue.
const SEND_BUFFER_LEN: libc::c_int = 4 << 20;

/// A group of sockets that share arriving packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fanout(libc::c_int);

impl Fanout {
    /// Requests a new group.
    pub(super) const NEW: Self =
        Self(((libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_UNIQUEID) << 16) as libc::c_int);
}

/// A bound packet socket with its receive ring.
#[derive(Debug)]
pub(super) struct PacketSocket {
    // Before the descriptor: unmapped first.
    pub(super) ring: Ring,
    fd: OwnedFd,
    /// Packets dropped so far: the kernel resets its counter at each read.
    dropped: Cell<u64>,
}

impl PacketSocket {
    /// Opens a socket on the interface. It receives the packets that its filter accepts.
    pub(super) fn open(request: &PacketRequest<'_>) -> Result<Self, PacketError> {
        // Without an Ethernet header, tunnels agree only on where the kernel says that a packet begins. SOCK_DGRAM
        // starts there.
        let (kind, before) = match request.check.link {
            LinkHeader::Ethernet => (libc::SOCK_RAW, wire::packet::ETHERNET_LEN),
            LinkHeader::Bare => (libc::SOCK_DGRAM, 0),
        };
        let fd = packet_socket(kind).map_err(|source| PacketError::new("opening a socket", source))?;
        let raw = fd.as_raw_fd();
        let mut program = filter::program(request.check, request.capture_len);
        let attached =
            libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
        set(raw, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &attached, "attaching the filter")?;
        let version = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
        set(raw, libc::SOL_PACKET, libc::PACKET_VERSION, &version, "choosing the ring's version")?;
        let ring = Ring::open(raw, request.ring_len, request.capture_len + before)?;
        // Bypass the queueing discipline, which may silently drop packets that it has accepted. A driver whose queue is
        // full reports it.
        let bypass: libc::c_int = 1;
        set(raw, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &bypass, "bypassing the queueing discipline")?;
        if set(raw, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER_LEN, "").is_err() {
            // Without CAP_NET_ADMIN the system allows less, which only means more calls.
            let _ = set(raw, libc::SOL_SOCKET, libc::SO_SNDBUF, &SEND_BUFFER_LEN, "");
        }
        bind_packet(&fd, request.ifindex, libc::ETH_P_IP)
            .map_err(|source| PacketError::new("binding to the interface", source))?;
        Ok(Self { ring, fd, dropped: Cell::new(0) })
    }

    /// Joins a group; returns the group that the next socket is to join.
    pub(super) fn join(&self, group: Fanout) -> Result<Fanout, PacketError> {
        set(self.raw_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT, &group.0, "sharing replies among workers")?;
        let joined = get::<libc::c_int>(self.raw_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT);
        joined.map(Fanout).ok_or_else(|| PacketError::last("sharing replies among workers"))
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Packets for this socket that were dropped because its ring was full.
    pub(super) fn dropped(&self) -> u64 {
        let counts = get::<Statistics>(self.raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS);
        let newly = counts.map_or(0, |counts| counts.drops);
        self.dropped.set(self.dropped.get() + u64::from(newly));
        self.dropped.get()
    }

    /// Submits the frames at the head of the outbox to the kernel; returns how many it accepted.
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

    /// Sleeps until a packet arrives or `timeout` is over.
    pub(super) fn wait(&self, timeout: libc::timespec) {
        let mut poll = libc::pollfd { fd: self.raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry. The result is not needed: the ring shows the same. A signal only ends the sleep.
        unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) };
        if poll.revents & libc::POLLERR != 0 {
            // The interface went down. Reading the error clears it; otherwise every sleep would end at once.
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
