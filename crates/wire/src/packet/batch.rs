//! Sizes of batches, and the batch of received frames that a back end passes to the engine.

/// Most bytes of a received frame that any probe keeps: a full Ethernet frame. Longer ones are truncated. Less would
/// cut payloads short; more takes memory in each batch.
pub const CAPTURE_MAX: usize = 1536;

/// Most received frames that a back end passes on at a time. Fewer cost more calls; more take room in the cache.
pub const RX_BATCH_MAX: usize = 64;

/// Received frames, copied out of the back end up to a number of bytes each. So the back end has its own frames back at
/// once, and nothing else refers to memory that the kernel writes to.
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
    /// Its first bytes, from the Ethernet header on if there is one.
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
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// How many more frames fit.
    #[inline]
    pub fn room(&self) -> usize {
        RX_BATCH_MAX - self.len
    }

    /// How many frames it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a frame. One that does not fit is ignored, so check [`Self::room`] first.
    #[inline]
    pub fn push(&mut self, frame: &[u8], queue: u16) {
        self.push_captured(frame, frame.len() as u32, queue);
    }

    /// The same for a frame of `frame_len` bytes whose first bytes are in `captured`: at least as many as the batch
    /// keeps.
    #[inline]
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
    #[inline]
    pub fn frames(&self) -> impl Iterator<Item = RxFrame<'_>> {
        (0..self.len).map(|i| RxFrame {
            captured: &self.bytes[i * self.capture_len..]
                [..self.capture_len.min(self.frame_lens[i] as usize)],
            frame_len: self.frame_lens[i],
            queue: self.queues[i],
        })
    }
}
