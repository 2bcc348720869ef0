//! The batches that flow between the engine and a back end: patches on the way out, captured frames on the way back.

use crate::results::record::CAPTURE_MAX;
use crate::targets::BATCH_MAX;

/// Most frames that one call of [`super::Port::receive`] hands over.
pub const RX_BATCH_MAX: usize = 64;

/// What differs between the frames of one template, as a structure of arrays: a probe or a RST writes it, a back
/// end turns it into frames. Only the first `len` entries mean anything. All values are numbers in host order,
/// checksums are ready for the wire.
#[derive(Clone, Debug)]
pub struct PatchBatch {
    /// How many frames the batch describes.
    pub len: usize,
    /// IPv4 source addresses.
    pub sources: [u32; BATCH_MAX],
    /// IPv4 destination addresses.
    pub destinations: [u32; BATCH_MAX],
    /// Source port in the upper half, destination port in the lower: the first four bytes of TCP and UDP.
    pub ports: [u32; BATCH_MAX],
    /// TCP sequence numbers.
    pub sequences: [u32; BATCH_MAX],
    /// IP identification.
    pub ip_ids: [u16; BATCH_MAX],
    /// IPv4 header checksums.
    pub ip_checksums: [u16; BATCH_MAX],
    /// Checksums of the transport header.
    pub l4_checksums: [u16; BATCH_MAX],
}

impl Default for PatchBatch {
    fn default() -> Self {
        Self {
            len: 0,
            sources: [0; BATCH_MAX],
            destinations: [0; BATCH_MAX],
            ports: [0; BATCH_MAX],
            sequences: [0; BATCH_MAX],
            ip_ids: [0; BATCH_MAX],
            ip_checksums: [0; BATCH_MAX],
            l4_checksums: [0; BATCH_MAX],
        }
    }
}

/// Received frames, copied out of the back end up to [`CAPTURE_MAX`] bytes each: the back end has its own frames
/// back at once, and nothing outside `io` holds memory that the kernel writes to.
#[derive(Debug)]
pub struct RxBatch {
    bytes: Box<[[u8; CAPTURE_MAX]; RX_BATCH_MAX]>,
    frame_lens: [u32; RX_BATCH_MAX],
    queues: [u16; RX_BATCH_MAX],
    len: usize,
}

impl Default for RxBatch {
    fn default() -> Self {
        Self {
            bytes: Box::new([[0; CAPTURE_MAX]; RX_BATCH_MAX]),
            frame_lens: [0; RX_BATCH_MAX],
            queues: [0; RX_BATCH_MAX],
            len: 0,
        }
    }
}

/// One received frame in an [`RxBatch`].
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// Its first bytes, from the Ethernet header on.
    pub captured: &'a [u8],
    /// Its length on the wire, without FCS.
    pub frame_len: u32,
    /// The RX queue it arrived on.
    pub queue: u16,
}

impl RxBatch {
    /// Empties the batch.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// How many more frames fit.
    pub fn room(&self) -> usize {
        RX_BATCH_MAX - self.len
    }

    /// How many frames it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a frame; one that does not fit is ignored, so ask [`Self::room`] first.
    pub fn push(&mut self, frame: &[u8], queue: u16) {
        debug_assert!(self.room() > 0);
        if self.len == RX_BATCH_MAX {
            return;
        }
        let kept = frame.len().min(CAPTURE_MAX);
        self.bytes[self.len][..kept].copy_from_slice(&frame[..kept]);
        self.frame_lens[self.len] = frame.len() as u32;
        self.queues[self.len] = queue;
        self.len += 1;
    }

    /// The frames, oldest first.
    pub fn frames(&self) -> impl Iterator<Item = RxFrame<'_>> {
        (0..self.len).map(|i| RxFrame {
            captured: &self.bytes[i][..CAPTURE_MAX.min(self.frame_lens[i] as usize)],
            frame_len: self.frame_lens[i],
            queue: self.queues[i],
        })
    }
}
