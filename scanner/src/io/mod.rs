//! Frames in and out: the back ends that the engine sends and receives through.
//!
//! A worker owns one [`Port`]: at most one TX queue and a set of RX queues. A back end is chosen at run time and called
//! through `dyn` once per batch, never once per packet. It knows templates and patches, not probes. Frames never leave
//! this folder: outgoing frames are written from a [`PatchBatch`], received ones are copied into an [`RxBatch`].

pub mod affinity;
pub mod arp;
pub mod bpf;
mod counts;
pub mod dryrun;
pub mod fast_dryrun;
pub mod files;
#[expect(unsafe_code, reason = "a ring shared with the kernel")]
pub mod live;
#[cfg(test)]
pub(crate) mod memory;
pub mod open;
#[expect(unsafe_code, reason = "a ring shared with the kernel, and messages that point to frames")]
pub mod packet;
mod placement;
#[expect(unsafe_code, reason = "the kernel's calls on sockets, which nix does not wrap")]
mod socket;
pub mod tap;
#[expect(unsafe_code, reason = "the call that waits for several sockets, which nix has without nanoseconds")]
pub mod xsk;

use std::io;
use std::time::Duration;

pub use bpf::abi::Counts as Verdicts;
pub use counts::PortCounts;
pub use placement::Placement;
use wire::packet::{PatchBatch, RxBatch};
pub use xsk::SocketStatistics;

/// The purpose of a frame. Each stream has its own template and frames, so that neither starves the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Probes.
    Probe,
    /// Resets of the connections that SYN-ACKs have half opened.
    Reset,
}

/// What the kernel and the port know about received packets.
#[derive(Clone, Debug, Default)]
pub struct PortStatistics {
    /// The kernel's counters of each of the port's sockets, with its queue; empty for a port without sockets.
    pub sockets: Vec<(u32, SocketStatistics)>,
    /// The port's verdicts on received packets, by the XDP program's counters; `None` if the XDP program itself judges
    /// them.
    pub verdicts: Option<Verdicts>,
}

/// A worker's connection for sending and receiving. No method has a default, so a port around another one cannot forget
/// to forward a call.
pub trait Port: Send {
    /// How many frames of `stream` [`Self::transmit`] would accept now, up to about `wanted`.
    fn room(&mut self, stream: Stream, wanted: usize) -> usize;

    /// Accepts all frames of the batch, for which there must be room.
    fn transmit(&mut self, stream: Stream, patches: &PatchBatch);

    /// Wakes the kernel if it needs that, and reaps completions.
    ///
    /// # Errors
    /// Only errors that end the scan: nothing more can be sent through this port.
    fn flush(&mut self) -> io::Result<()>;

    /// Frames accepted and not yet reported as sent.
    fn outstanding(&self) -> u64;

    /// Of the probe frames in the order in which they were accepted, how many have all left or are lost. A frame that
    /// was refused, and that later ones have overtaken, holds this back.
    fn left_in_order(&self) -> u64;

    /// Whether frames wait for the kernel to take them, which may need another wake-up for that.
    fn is_kernel_behind(&self) -> bool {
        self.outstanding() > 0
    }

    /// Drops the frames that the port still holds and the kernel does not; they count as lost. The port sends nothing
    /// more. Returns how many probes among them had never been refused and were only waiting.
    fn give_up(&mut self) -> u64;

    /// Adds received frames to `batch`, as many as it has room for.
    fn receive(&mut self, batch: &mut RxBatch);

    /// Sleeps until a packet arrives or `timeout` is over.
    fn wait(&mut self, timeout: Duration);

    /// The port's counters.
    fn counts(&self) -> PortCounts;

    /// Frames for this port that the kernel had to drop. It makes a system call, so do not call it in every turn.
    fn socket_drops(&self) -> u64;

    /// Further statistics, for the end of the scan: it makes system calls and allocates.
    fn statistics(&self) -> PortStatistics;
}
