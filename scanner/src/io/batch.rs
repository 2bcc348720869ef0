//! Received frames on their way from a back end to the engine.

use crate::results::record::CAPTURE_MAX;

/// Most frames that one call of [`super::Port::receive`] hands over.
pub const RX_BATCH_MAX: usize = 64;

/// Received frames, copied out of the back end up to so many bytes each: the back end has its own frames back at once,
/// and nothing outside `io` holds memory that the kernel writes to.
#[derive(Debug)]
pub struct RxBatch {
    capture_len: usize,
    bytes: Vec<u8>,
    frame_lens: [u32; RX_BATCH_MAX],
    queues: [u16; RX_BATCH_MAX],
    len: usize,
}

/// One received frame in an [`RxBatch`].
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// Its first bytes, from the Ethernet header on where there is one.
    pub captured: &'a [u8],
    /// Its length on the wire, without FCS.
    pub frame_len: u32,
    /// The RX queue it arrived on.
    pub queue: u16,
}

impl RxBatch {
    /// An empty batch that keeps up to `capture_len` bytes of a frame, at most [`CAPTURE_MAX`].
    pub fn new(capture_len: usize) -> Self {
        let capture_len = capture_len.min(CAPTURE_MAX);
        Self {
            capture_len,
            bytes: vec![0; capture_len * RX_BATCH_MAX],
            frame_lens: [0; RX_BATCH_MAX],
            queues: [0; RX_BATCH_MAX],
            len: 0,
        }
    }

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
        self.push_captured(frame, frame.len() as u32, queue);
    }

    /// The same of a frame of `frame_len` bytes, the first of which are `captured`: no fewer than the batch keeps.
    pub fn push_captured(&mut self, captured: &[u8], frame_len: u32, queue: u16) {
        debug_assert!(self.room() > 0);
        if self.len == RX_BATCH_MAX {
            return;
        }
        let kept = captured.len().min(self.capture_len);
        self.bytes[self.len * self.capture_len..][..kept].copy_from_slice(&captured[..kept]);
        self.frame_lens[self.len] = frame_len;
        self.queues[self.len] = queue;
        self.len += 1;
    }

    /// The frames, oldest first.
    pub fn frames(&self) -> impl Iterator<Item = RxFrame<'_>> {
        (0..self.len).map(|i| RxFrame {
            captured: &self.bytes[i * self.capture_len..]
                [..self.capture_len.min(self.frame_lens[i] as usize)],
            frame_len: self.frame_lens[i],
            queue: self.queues[i],
        })
    }
}
