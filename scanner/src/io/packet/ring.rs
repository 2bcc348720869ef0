//! The receive ring: slots of one size that the kernel fills, one packet each (TPACKET_V2).
//!
//! It uses version 2 rather than 3: a packet can be read as soon as it arrives. Version 3 passes on blocks of packets,
//! and holds back a block that is not full for some milliseconds, which would distort round-trip times.

use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::{PacketError, set};

/// Bytes of a block, whose pages are contiguous in the kernel. Larger blocks may be unavailable when memory is
/// fragmented; smaller ones hold fewer slots and waste more at their ends.
const BLOCK_LEN: usize = 1 << 16;
/// Most bytes of a slot before the packet: the kernel's header, the address, 16 bytes for a link header.
/// With less, the kernel would cut packets short; more wastes room in each slot.
const BEFORE_PACKET: usize = 96;
/// Fewest blocks of a ring: the kernel refuses a ring without any.
const BLOCKS_MIN: usize = 1;

/// A ring shared with the kernel.
#[derive(Debug)]
pub(super) struct Ring {
    memory: NonNull<u8>,
    len: usize,
    slot_len: usize,
    slots: usize,
    /// The slot that the kernel fills next or has already filled.
    next: usize,
}

// SAFETY: the memory belongs to the ring alone, whichever thread has it.
unsafe impl Send for Ring {}

/// A packet in the ring. Its slot goes back to the kernel with [`Ring::release`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'a> {
    /// Its first bytes.
    pub(super) captured: &'a [u8],
    /// Its length on the wire.
    pub(super) len: u32,
}

impl Ring {
    /// Sets up a ring of about `ring_len` bytes whose slots hold `keep` bytes of a packet, and maps it.
    pub(super) fn open(fd: RawFd, ring_len: usize, keep: usize) -> Result<Self, PacketError> {
        let slot_len = (BEFORE_PACKET + keep).next_multiple_of(libc::TPACKET_ALIGNMENT);
        let blocks = (ring_len / BLOCK_LEN).max(BLOCKS_MIN);
        // A slot never lies in two blocks. The kernel needs whole slots per block, so a block may have unused bytes at
        // its end.
        let per_block = BLOCK_LEN / slot_len;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK_LEN as libc::c_uint,
            tp_block_nr: blocks as libc::c_uint,
            tp_frame_size: slot_len as libc::c_uint,
            tp_frame_nr: (blocks * per_block) as libc::c_uint,
        };
        set(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request, "setting up the receive ring")?;
        let len = blocks * BLOCK_LEN;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let memory = unsafe {
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED | libc::MAP_POPULATE, fd, 0)
        };
        let memory = (memory != libc::MAP_FAILED).then_some(memory.cast::<u8>()).and_then(NonNull::new);
        let memory = memory.ok_or_else(|| PacketError::last("mapping the receive ring"))?;
        Ok(Self { memory, len, slot_len, slots: blocks * per_block, next: 0 })
    }

    /// Offset of the next slot.
    fn offset(&self) -> usize {
        let per_block = BLOCK_LEN / self.slot_len;
        self.next / per_block * BLOCK_LEN + self.next % per_block * self.slot_len
    }

    /// The next slot.
    fn slot(&self) -> *mut u8 {
        // SAFETY: the slot lies within the mapping.
        unsafe { self.memory.as_ptr().add(self.offset()) }
    }

    fn status(&self) -> &AtomicU32 {
        // SAFETY: a slot begins with its status, aligned to 16 bytes, which the kernel and we only touch as a whole.
        unsafe { AtomicU32::from_ptr(self.slot().cast()) }
    }

    /// The oldest packet in the ring.
    pub(super) fn peek(&self) -> Option<Received<'_>> {
        // The kernel writes the status last.
        if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the slot is all within the mapping, and ours to read until it is given back.
        let slot = unsafe { slice::from_raw_parts(self.slot(), self.slot_len) };
        let number = |at: usize| u32::from_ne_bytes([slot[at], slot[at + 1], slot[at + 2], slot[at + 3]]);
        // `struct tpacket2_hdr`: status, length, captured length, offsets of link and network header.
        let (len, captured) = (number(4), number(8) as usize);
        let start = usize::from(u16::from_ne_bytes([slot[12], slot[13]]));
        let captured = slot.get(start..start + captured).unwrap_or_default();
        Some(Received { captured, len })
    }

    /// Returns the oldest packet's slot to the kernel.
    pub(super) fn release(&mut self) {
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = if self.next + 1 == self.slots { 0 } else { self.next + 1 };
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing refers to it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.len) };
    }
}
