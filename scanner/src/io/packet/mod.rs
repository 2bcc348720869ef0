//! AF_PACKET: frames through the kernel's ordinary network stack, for kernels, drivers and interfaces without XDP.
//!
//! One socket a worker, which sends (`sendmmsg`) and receives (a ring shared with the kernel). What always holds: the
//! socket hears nothing before its filter is attached and its ring is there; it is bound to IPv4 alone, so nothing that
//! this host sends comes back to it; a frame that the kernel refuses stays where it is until it is taken or is counted as
//! lost. Several workers share what arrives by the hash of its flow, each packet to one of them.
//!
//! Here it is the worker's own thread that tells answers from other packets, by the XDP program's tests and counters.

mod filter;
mod outbox;
mod port;
mod ring;
mod socket;

pub use port::PacketPort;
pub use socket::PacketError;

use crate::packet::Template;
use crate::probe::Check;
use socket::{Fanout, Socket};

/// Memory of a worker's receive ring: some 24,000 short replies, a quarter of a second at line rate of a Gigabit link if
/// every probe is answered.
pub const RING_LEN: usize = 8 << 20;

/// What is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Index of the interface.
    pub ifindex: u32,
    /// How many ports.
    pub workers: usize,
    /// What tells answers from other packets.
    pub check: &'a Check,
    /// Bytes of a reply that are wanted.
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
/// The first thing that the kernel refuses.
pub fn open_ports(request: &Request<'_>) -> Result<Vec<PacketPort>, PacketError> {
    let mut group = None;
    let mut ports = Vec::with_capacity(request.workers);
    for worker in 0..request.workers {
        let socket = Socket::open(request)?;
        if request.workers > 1 {
            group = Some(socket.join(group.unwrap_or(Fanout::NEW))?);
        }
        ports.push(PacketPort::new(socket, worker as u16, request));
    }
    Ok(ports)
}
