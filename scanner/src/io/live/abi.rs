//! The interface between the live-frame program and the scanner: the mirror of `xdp-prog/live.h`.
//!
//! A test compares it with the BTF of the compiled object.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of a ring, a power of two (`XDPMAP_LIVE_ENTRIES`). `live.h` says what fewer and more would do.
pub const ENTRIES: usize = 16_384;

/// Slots for bulks that the driver did not accept whole, a power of two (`XDPMAP_LIVE_REFUSALS`).
pub const REFUSALS: usize = 1024;

/// The fields in which frames differ (`struct xdpmap_live_entry`). Numbers in network order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LiveEntry {
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

/// Flag of an entry whose frame is sent without any patch (`XDPMAP_LIVE_AS_IS`).
pub const AS_IS: u16 = 1;

/// Longest frame, and room for the template (`XDPMAP_LIVE_FRAME_LEN_MAX`).
pub const FRAME_LEN_MAX: usize = 128;

/// Entries that the driver refused (`struct xdpmap_live_refusal`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RefusedBulk {
    /// Position of the first.
    pub position: u64,
    /// How many entries.
    pub count: u32,
    /// The driver's answer: 0 or a negative errno.
    pub error: i32,
}

/// The ring itself (`struct xdpmap_live_ring`), shared with the kernel. `live.h` says which side writes which field.
#[derive(Debug)]
#[repr(C)]
pub struct Ring {
    /// Next entry to be written.
    pub head: AtomicU64,
    /// Next refusal to be read.
    pub refusals_read: AtomicU64,
    /// Padding.
    pub unused0: [u64; 6],
    /// Entries whose outcome is known.
    pub accounted: AtomicU64,
    /// Entries that the driver accepted.
    pub sent: AtomicU64,
    /// Entries that the driver refused.
    pub refused: AtomicU64,
    /// Entries that were lost before the driver.
    pub lost: AtomicU64,
    /// Next refusal to be written.
    pub refusals_written: AtomicU64,
    /// Padding.
    pub unused1: [u64; 3],
    /// Next entry that the program takes.
    pub tail: AtomicU64,
    /// `head` as the program last read it.
    pub known_head: AtomicU64,
    /// Runs that found the ring empty.
    pub empty: AtomicU64,
    /// Not 0: the program takes no more entries in this run.
    pub halted: AtomicU64,
    /// The CPU that the program last ran on, plus one.
    pub cpu: AtomicU64,
    /// Padding.
    pub unused2: [u64; 3],
    /// Bulks that the driver did not accept whole.
    pub refusals: [UnsafeCell<RefusedBulk>; REFUSALS],
    /// The entries.
    pub entries: [UnsafeCell<LiveEntry>; ENTRIES],
}

impl Ring {
    /// Clears all positions and counts. Nothing else may use the ring meanwhile.
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

/// The program's configuration, set at load (`struct xdpmap_live_config`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub struct Config {
    /// The interface that it sends through.
    pub ifindex: u32,
    /// Length of the template, 60 or more and even.
    pub frame_len: u32,
    /// Offset of the checksum in the transport header.
    pub l4_checksum: u32,
    /// The content of every frame, except for the fields that entries patch.
    pub template: [u8; FRAME_LEN_MAX],
}

// SAFETY: `Config` is `repr(C)` and holds integers without padding (zerocopy's `IntoBytes` proves that), so each of its
// bytes is initialised.
unsafe impl aya::Pod for Config {}
