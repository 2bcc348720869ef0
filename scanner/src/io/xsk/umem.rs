//! UMEM: the memory that frames live in, and the tokens that stand for its frames.
//!
//! A frame is in one place at a time: a free list, a batch being written, or one of the rings. A token
//! ([`TxFrame`], [`RxFrame`]) is the right to touch a frame; it can only be moved, so a frame that was given to the
//! kernel cannot be written. A token comes into being when UMEM is cut up and when the kernel hands its frame back.

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Bytes of a chunk: the place of one received frame. The kernel takes 2,048 or more, up to a page, in aligned mode; it keeps
/// 256 of them as headroom in front of a received frame, so frames up to 1,792 bytes fit.
pub(super) const CHUNK_LEN: usize = 2048;

/// The right to one outgoing frame: where it starts in UMEM.
#[derive(Debug)]
pub(super) struct TxFrame(u64);

/// The right to one frame that waits for a packet or holds one: where its chunk starts in UMEM.
#[derive(Debug)]
pub(super) struct RxFrame(u64);

impl TxFrame {
    /// Where it starts in UMEM.
    #[inline]
    pub(super) fn address(&self) -> u64 {
        self.0
    }

    /// Gives the frame up for its address in a TX descriptor.
    #[inline]
    pub(super) fn into_address(self) -> u64 {
        self.0
    }
}

impl RxFrame {
    /// Gives the frame up for its address in a fill descriptor.
    #[inline]
    pub(super) fn into_address(self) -> u64 {
        self.0
    }
}

/// How a UMEM is cut up: chunks to receive into, then frames to send from.
///
/// Outgoing frames lie close together, several in a chunk, which the kernel allows as long as none crosses a chunk's end:
/// so a batch of them touches few pages (the kernel reads them through small ones of its own). Each takes an odd number
/// of cache lines, so that the first lines, which hold what differs, spread over all sets of a first-level cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Frames to receive into, a chunk each.
    pub(super) rx_frames: usize,
    /// Frames to send from.
    pub(super) tx_frames: usize,
    /// Bytes from a frame to send from to the next, at most a chunk.
    pub(super) tx_frame_len: usize,
}

impl Cut {
    /// The cut for sending frames of up to `longest` bytes.
    pub(super) fn new(rx_frames: usize, tx_frames: usize, longest: usize) -> Self {
        const LINE: usize = 64;
        let tx_frame_len = (longest.div_ceil(LINE) | 1) * LINE;
        Self { rx_frames, tx_frames, tx_frame_len: tx_frame_len.min(CHUNK_LEN) }
    }

    fn tx_frames_per_chunk(self) -> usize {
        CHUNK_LEN / self.tx_frame_len
    }

    fn chunks(self) -> usize {
        self.rx_frames + self.tx_frames.div_ceil(self.tx_frames_per_chunk())
    }

    /// Where outgoing frame `index` starts.
    fn tx_start(self, index: usize) -> usize {
        let (chunk, place) = (index / self.tx_frames_per_chunk(), index % self.tx_frames_per_chunk());
        (self.rx_frames + chunk) * CHUNK_LEN + place * self.tx_frame_len
    }

    /// Bytes of the UMEM.
    pub(super) fn len(self) -> usize {
        self.chunks() * CHUNK_LEN
    }
}

/// A page-aligned anonymous mapping and how it is cut up.
#[derive(Debug)]
pub(super) struct Umem {
    area: NonNull<u8>,
    len: usize,
    cut: Cut,
}

/// Writes outgoing frames: what it takes of the UMEM for that, by itself, so that a loop over a batch holds it in registers.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    area: NonNull<u8>,
    len: usize,
    frame_len: usize,
    _umem: PhantomData<&'a mut Umem>,
}

impl Writer<'_> {
    /// The memory of an outgoing frame.
    #[inline(always)]
    pub(super) fn bytes<'a>(&'a mut self, frame: &'a mut TxFrame) -> &'a mut [u8] {
        let address = frame.0 as usize;
        assert!(address <= self.len - self.frame_len, "a frame outside its UMEM");
        // SAFETY: inside the mapping by the assertion above.
        let start = unsafe { self.area.add(address) };
        // SAFETY: the token says that nobody else, the kernel included, touches this frame; the borrow of the token
        // and of the UMEM keeps it so.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.frame_len) }
    }
}

// SAFETY: the mapping is plain memory; who may touch which frame is settled by the tokens.
unsafe impl Send for Umem {}

impl Umem {
    /// Maps a UMEM, already faulted in, in huge pages where the kernel has some to give: a batch touches more
    /// ordinary pages than a first-level TLB knows.
    pub(super) fn map(cut: Cut) -> io::Result<Self> {
        let len = cut.len();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping touches no memory of ours.
        let area = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if area == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let area = NonNull::new(area.cast()).ok_or_else(|| io::Error::other("mmap returned null"))?;
        let umem = Self { area, len, cut };
        // SAFETY: advice about a mapping of our own; where it is not taken, pages are small.
        unsafe { libc::madvise(umem.area.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        // SAFETY: as above. Faults every page in; a kernel before 5.14 does not, and then the first use of a page does.
        unsafe { libc::madvise(umem.area.as_ptr().cast(), len, libc::MADV_POPULATE_WRITE) };
        Ok(umem)
    }

    pub(super) fn area(&self) -> NonNull<u8> {
        self.area
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Its frames. Called once.
    pub(super) fn frames(&self) -> (Vec<RxFrame>, Vec<TxFrame>) {
        let rx = (0..self.cut.rx_frames).map(|index| RxFrame((index * CHUNK_LEN) as u64));
        let tx = (0..self.cut.tx_frames).map(|index| TxFrame(self.cut.tx_start(index) as u64));
        (rx.collect(), tx.collect())
    }

    /// The outgoing frame at `address`, which the completion ring has handed back.
    #[inline]
    pub(super) fn completed(&self, address: u64) -> TxFrame {
        debug_assert!((address as usize) < self.len);
        TxFrame(address)
    }

    /// The frame that holds the packet at `address`, which the RX ring has handed over.
    #[inline]
    pub(super) fn received(&self, address: u64) -> RxFrame {
        debug_assert!((address as usize) < self.len);
        RxFrame(address & !(CHUNK_LEN as u64 - 1))
    }

    /// What writes outgoing frames.
    #[inline]
    pub(super) fn writer(&mut self) -> Writer<'_> {
        Writer { area: self.area, len: self.len, frame_len: self.cut.tx_frame_len, _umem: PhantomData }
    }

    /// The `len` bytes of a packet received at `address` into `frame`'s chunk, cut at the chunk's end.
    #[inline]
    pub(super) fn rx_bytes<'a>(&'a self, frame: &'a RxFrame, address: u64, len: u32) -> &'a [u8] {
        let address = address as usize;
        assert!(
            address / CHUNK_LEN == frame.0 as usize / CHUNK_LEN && address < self.len,
            "not this frame's"
        );
        let len = (len as usize).min(CHUNK_LEN - address % CHUNK_LEN);
        // SAFETY: inside the mapping by the assertion above.
        let start = unsafe { self.area.add(address) };
        // SAFETY: the token says that the kernel has handed the chunk over; it lies inside the mapping.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`; every reference into it borrows from `self`. Pages that a NIC still
        // writes to are pinned by the kernel until it lets them go.
        unsafe { libc::munmap(self.area.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every frame is its own, writing one never shows in another, and none crosses the end of a chunk.
    #[test]
    fn frames_do_not_overlap() {
        for (longest, tx_frame_len, chunks) in
            [(54, 64, 18), (66, 192, 21), (78, 192, 21), (1_500, 1_600, 64), (2_000, CHUNK_LEN, 64)]
        {
            let cut = Cut::new(16, 48, longest);
            assert_eq!((cut.tx_frame_len, cut.len()), (tx_frame_len, chunks * CHUNK_LEN));
            let mut umem = Umem::map(cut).unwrap();
            let (rx, mut tx) = umem.frames();
            assert_eq!((rx.len(), tx.len()), (16, 48));
            let mut writer = umem.writer();
            for (i, frame) in tx.iter_mut().enumerate() {
                let first = frame.address() as usize;
                let bytes = writer.bytes(frame);
                assert!(bytes.len() >= longest);
                assert_eq!(first / CHUNK_LEN, (first + bytes.len() - 1) / CHUNK_LEN);
                bytes.fill(i as u8 + 1);
            }
            for (i, frame) in tx.iter_mut().enumerate() {
                assert!(writer.bytes(frame).iter().all(|byte| *byte == i as u8 + 1));
            }
            for frame in &rx {
                assert!(umem.rx_bytes(frame, frame.0, CHUNK_LEN as u32).iter().all(|byte| *byte == 0));
            }
        }
    }

    /// A received packet starts behind the headroom; its token is its chunk's, and a length past the chunk is cut.
    #[test]
    fn received_frames_map_to_their_chunk() {
        let umem = Umem::map(Cut::new(4, 0, 0)).unwrap();
        let address = 3 * CHUNK_LEN as u64 + 256;
        let frame = umem.received(address);
        assert_eq!(frame.0, 3 * CHUNK_LEN as u64);
        assert_eq!(umem.rx_bytes(&frame, address, 60).len(), 60);
        assert_eq!(umem.rx_bytes(&frame, address, 65_535).len(), CHUNK_LEN - 256);
    }
}
