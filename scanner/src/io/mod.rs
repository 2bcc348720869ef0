//! Frames in and out: the back ends that the engine sends and receives through.
//!
//! A worker owns one [`Port`]: at most one TX queue and a set of RX queues. A back end is chosen at run time and called
//! through `dyn` once a batch, never once a packet; it knows templates and patches, not probes. Frames never leave
//! this folder: what is sent is written from a [`PatchBatch`], what is received is copied into an [`RxBatch`].
//!
//! This is the only folder with `unsafe` code.

pub mod arp;
pub mod batch;
pub mod bpf;
pub mod dryrun;
pub mod ethtool;
pub mod fast_dryrun;
pub mod files;
#[expect(unsafe_code, reason = "memory from the kernel")]
pub mod huge;
#[expect(unsafe_code, reason = "a ring shared with the kernel")]
pub mod live;
#[cfg(test)]
pub(crate) mod memory;
pub mod open;
#[expect(unsafe_code, reason = "a ring shared with the kernel, and messages that point to frames")]
pub mod packet;
#[expect(unsafe_code, reason = "the kernel's calls on sockets, which nix does not wrap")]
mod socket;
pub mod tap;
#[expect(unsafe_code, reason = "memory and rings shared with the kernel")]
pub mod xsk;

use std::io;
use std::time::Duration;

pub use batch::{RX_BATCH_MAX, RxBatch, RxFrame};

use crate::packet::PatchBatch;

/// What a frame is sent for. Each stream has a template and frames of its own, so that neither starves the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Probes.
    Probe,
    /// Resets of the connections that SYN-ACKs have half opened.
    Reset,
}

/// What a back end has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Probes sent, by the back end's meaning of it.
    pub probes_sent: u64,
    /// Times that the driver or the kernel refused a probe; it was handed over again.
    pub probes_refused: u64,
    /// Probes that were lost between us and the driver.
    pub probes_lost: u64,
    /// Resets sent, by the back end's meaning of it.
    pub resets_sent: u64,
    /// Times that the kernel refused a reset; it was handed over again.
    pub resets_refused: u64,
    /// Resets that were lost between us and the driver.
    pub resets_lost: u64,
    /// Wake-ups of the kernel's transmit side.
    pub wakeups: u64,
    /// Wake-ups that ended in EAGAIN.
    pub wakeup_eagain: u64,
    /// Wake-ups that ended in EBUSY.
    pub wakeup_ebusy: u64,
    /// Wake-ups that ended in ENOBUFS.
    pub wakeup_enobufs: u64,
    /// Wake-ups that ended in ENETDOWN.
    pub wakeup_enetdown: u64,
    /// Wake-ups that ended in any other error.
    pub wakeup_other: u64,
    /// Frames received.
    pub rx_frames: u64,
}

/// One worker's way out and in.
pub trait Port: Send {
    /// How many frames of `stream` [`Self::transmit`] would take now, up to about `wanted`.
    fn room(&mut self, stream: Stream, wanted: usize) -> usize;

    /// Takes all frames of the batch, for which there must be room.
    fn transmit(&mut self, stream: Stream, patches: &PatchBatch);

    /// Sees to it that what was taken gets sent, and learns what has been sent.
    ///
    /// # Errors
    /// Only what ends the scan: nothing more can be sent through this port.
    fn flush(&mut self) -> io::Result<()>;

    /// Frames taken and not yet reported as sent.
    fn outstanding(&self) -> u64;

    /// Gives up what it still holds and the kernel does not: that counts as lost. No more is sent by this port.
    fn give_up(&mut self) {}

    /// Adds received frames to `batch`, as many as it has room for.
    fn receive(&mut self, batch: &mut RxBatch);

    /// Sleeps until something is received or `timeout` is over.
    fn wait(&mut self, timeout: Duration);

    /// What the port has counted.
    fn counts(&self) -> PortCounts;

    /// Frames for this port that the kernel had to drop. A system call: not for every turn.
    fn socket_drops(&self) -> u64 {
        0
    }

    /// What the port made of each packet that it was given, by the XDP program's counters; `None` where that program
    /// itself judges.
    fn verdicts(&self) -> Option<bpf::abi::Counts> {
        None
    }

    /// What the kernel counts of each of the port's sockets, with its queue; empty where there are none.
    fn socket_statistics(&self) -> Vec<(u32, xsk::SocketStatistics)> {
        Vec::new()
    }
}
