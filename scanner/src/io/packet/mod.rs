//! AF_PACKET: frames through the kernel's ordinary network stack, for kernels, drivers and interfaces without XDP.
//!
//! One socket per worker, which sends (`sendmmsg`) and receives (a ring shared with the kernel). What always holds: the
//! socket receives nothing before its filter is attached and its ring is mapped. It is bound to IPv4 alone, so packets
//! that this host sends do not come back to it. A frame that the kernel refuses stays in line until it is accepted or
//! counted as lost. Several workers share arriving packets by the hash of the flow; each packet goes to one of them.
//!
//! The worker's own thread distinguishes answers from other packets, by the XDP program's tests and counters.

mod error;
mod filter;
mod outbox;
mod port;
mod ring;
mod socket;

pub use error::PacketError;
pub use port::PacketPort;

use socket::{Fanout, PacketSocket};
use wire::packet::Template;
use wire::proof::Check;

/// Memory of a worker's receive ring: some 24,000 short replies. That is a quarter of a second at line rate of a
/// Gigabit link if every probe is answered. A smaller ring loses replies while the worker is off its core; a larger one
/// only takes memory.
pub const RING_LEN: usize = 8 << 20;

/// The sockets to open.
#[derive(Clone, Copy, Debug)]
pub struct PacketRequest<'a> {
    /// Index of the interface.
    pub ifindex: u32,
    /// Number of ports.
    pub workers: usize,
    /// Distinguishes answers from other packets.
    pub check: &'a Check,
    /// Bytes to capture of a reply.
    pub capture_len: usize,
    /// Bytes of each worker's receive ring; [`RING_LEN`] is a good choice.
    pub ring_len: usize,
    /// The probe.
    pub probe: &'a Template,
    /// The reset, if there is one.
    pub reset: Option<&'a Template>,
}

/// Opens the ports of a scan's workers.
///
/// # Errors
/// The first step that the kernel refuses.
pub fn open_ports(request: &PacketRequest<'_>) -> Result<Vec<PacketPort>, PacketError> {
    let mut group = None;
    let mut ports = Vec::with_capacity(request.workers);
    for worker in 0..request.workers {
        let socket = PacketSocket::open(request)?;
        if request.workers > 1 {
            group = Some(socket.join(group.unwrap_or(Fanout::NEW))?);
        }
        ports.push(PacketPort::new(socket, worker as u16, request));
    }
    Ok(ports)
}
