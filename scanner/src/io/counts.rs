//! The counters of a port.

/// The counters of a back end, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Probe frames sent; `docs/reference/sent.md` says what that means for each back end.
    pub probes_sent: u64,
    /// Times that the driver (live frames) or the kernel (copy mode, AF_PACKET) refused a probe frame. Such a frame is
    /// submitted again.
    pub probes_refused: u64,
    /// Probe frames that were lost before the driver (live frames) or refused for good: by the interface (AF_PACKET; a
    /// tunnel has no peer for the target), or at every try (copy mode, AF_PACKET). They were not sent and are not tried
    /// again.
    pub probes_lost: u64,
    /// RST frames sent.
    pub resets_sent: u64,
    /// Times that the kernel refused a RST frame (copy mode, AF_PACKET). Such a frame is submitted again.
    pub resets_refused: u64,
    /// RST frames that were refused at every try.
    pub resets_lost: u64,
    /// Calls that woke the kernel's transmit side.
    pub wakeups: u64,
    /// Wake-ups that ended in EAGAIN: the kernel has more to do (in copy mode: its budget ran out). With zero-copy also
    /// those that ended in EBUSY: the driver is already at work.
    pub wakeup_eagain: u64,
    /// Wake-ups that ended in EBUSY: the driver had no room for a frame, which is then submitted again.
    pub wakeup_ebusy: u64,
    /// Wake-ups that ended in ENOBUFS: the kernel had no memory or the device queue was full.
    pub wakeup_enobufs: u64,
    /// Wake-ups that ended in ENETDOWN: the interface was down.
    pub wakeup_enetdown: u64,
    /// Wake-ups that ended in any other error.
    pub wakeup_other: u64,
    /// Frames received.
    pub rx_frames: u64,
}

impl PortCounts {
    /// Probe frames of which it is known what became of them.
    #[inline]
    pub fn probes_over(&self) -> u64 {
        self.probes_sent + self.probes_lost
    }
}
