//! What the live-frame program and the scanner agree on: the mirror of `xdp-prog/live.h`.
//!
//! A test holds it against the BTF of the compiled object.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of a ring, a power of two (`XDPMAP_LIVE_ENTRIES`).
pub const ENTRIES: usize = 16_384;

/// Places for bulks that the driver did not take whole, a power of two (`XDPMAP_LIVE_REFUSALS`).
pub const REFUSALS: usize = 1024;

/// What makes one frame differ from the next (`struct xdpmap_live_entry`). Numbers in network order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// IPv4 source address, destination address.
    pub addresses: u64,
    /// The first 8 bytes of the transport header, without a checksum.
    pub l4_start: u64,
    /// Room for a TCP timestamp that differs from probe to probe; 0.
    pub timestamp: u32,
    /// IP identification.
    pub ip_id: u16,
    /// IPv4 header checksum.
    pub ip_checksum: u16,
    /// Checksum of the transport header.
    pub l4_checksum: u16,
    /// [`AS_IS`] or 0.
    pub flags: u16,
    /// 0.
    pub reserved: [u16; 2],
}

/// Flag of an entry whose frame is sent as user space gave it (`XDPMAP_LIVE_AS_IS`).
pub const AS_IS: u16 = 1;

/// Longest frame, and room for the template (`XDPMAP_LIVE_FRAME_LEN_MAX`).
pub const FRAME_LEN_MAX: usize = 128;

/// Entries that the driver refused (`struct xdpmap_live_refusal`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Refusal {
    /// Position of the first.
    pub position: u64,
    /// How many.
    pub count: u32,
    /// What the driver said: 0 or a negative errno.
    pub error: i32,
}

/// The ring itself (`struct xdpmap_live_ring`), shared with the kernel. Who writes what is in `live.h`.
#[derive(Debug)]
#[repr(C)]
pub struct Ring {
    /// Next entry to be written.
    pub head: AtomicU64,
    /// Next refusal to be read.
    pub refusals_read: AtomicU64,
    /// Nothing.
    pub unused0: [u64; 6],
    /// Entries whose fate is known.
    pub accounted: AtomicU64,
    /// Entries that the driver took.
    pub sent: AtomicU64,
    /// Entries that it did not take.
    pub refused: AtomicU64,
    /// Entries that were lost on the way to the driver.
    pub lost: AtomicU64,
    /// Next refusal to be written.
    pub refusals_written: AtomicU64,
    /// Nothing.
    pub unused1: [u64; 3],
    /// Next entry to be taken.
    pub tail: AtomicU64,
    /// `head` as the program last read it.
    pub known_head: AtomicU64,
    /// Runs that found the ring empty.
    pub empty: AtomicU64,
    /// Not 0: the program takes nothing more in this run.
    pub halted: AtomicU64,
    /// The CPU that the program ran on last, and one more.
    pub cpu: AtomicU64,
    /// Nothing.
    pub unused2: [u64; 3],
    /// Bulks that were not taken whole.
    pub refusals: [UnsafeCell<Refusal>; REFUSALS],
    /// The entries.
    pub entries: [UnsafeCell<Entry>; ENTRIES],
}

impl Ring {
    /// Forgets everything that went through it. Nobody else may be using it.
    pub(super) fn reset(&self) {
        for counter in [
            &self.head,
            &self.refusals_read,
            &self.accounted,
            &self.sent,
            &self.refused,
            &self.lost,
            &self.refusals_written,
            &self.tail,
            &self.known_head,
            &self.empty,
            &self.halted,
            &self.cpu,
        ] {
            counter.store(0, Ordering::Release);
        }
    }
}

/// What the program is told at load (`struct xdpmap_live_config`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub struct Config {
    /// The interface that it sends through.
    pub ifindex: u32,
    /// Length of the template, 60 or more and even.
    pub frame_len: u32,
    /// Offset of the checksum in the transport header.
    pub l4_checksum: u32,
    /// What every frame holds, but for the fields that entries patch.
    pub template: [u8; FRAME_LEN_MAX],
}

// SAFETY: `Config` is `repr(C)` and holds integers without padding (zerocopy's `IntoBytes` proves that), so each of its
// bytes is initialised.
unsafe impl aya::Pod for Config {}
