//! UMEM: the memory that holds the frames, and the tokens that stand for its frames.
//!
//! A frame is in one place at a time: a list of its owner, a batch being written, or one of the rings. A token
//! ([`TxFrame`], [`RxFrame`]) is the right to touch a frame; it can only be moved, so a frame that was given to the
//! kernel cannot be written. A token comes into being when a socket is opened and when the kernel hands its frame back.
//!
//! What always holds: frames to send from are in the first part of a UMEM, and only that part is ever written by user
//! space; the kernel writes to the second part alone.

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mapping::Mapping;

/// Bytes of a chunk: the place of one received packet. The kernel accepts sizes from 2,048 bytes
/// (`XDP_UMEM_MIN_CHUNK_SIZE`) up to a page, in aligned mode (`net/xdp/xdp_umem.c`).
pub const CHUNK_LEN: usize = 2048;

/// Bytes that the kernel keeps free before a received packet (`XDP_PACKET_HEADROOM` in `linux/bpf.h`).
const HEADROOM: usize = 256;

/// Bytes of the longest packet that can be received: a chunk without the 256 bytes that the kernel keeps free before
/// the packet (`xsk_pool_get_rx_frame_size`). The kernel drops longer packets.
pub const RX_PACKET_MAX: usize = CHUNK_LEN - HEADROOM;

/// The right to one frame to send from.
///
/// There is one token for each frame, and it cannot be copied: whoever has it may write the frame, and the kernel does
/// not read it. Sending gives the token up; it comes back once the kernel has returned the frame
/// ([`Socket::reap`](crate::Socket::reap)). A token that is dropped is lost to its socket for good.
///
/// A token belongs to the socket that it came from. Another socket would send whatever its own memory holds at that
/// address.
#[derive(Debug)]
#[must_use = "a frame whose token is dropped can no longer be used"]
pub struct TxFrame(u64);

/// The right to one received packet, from [`Socket::take`](crate::Socket::take).
///
/// As long as the token exists, the kernel does not write to the packet's memory. Its chunk receives again after
/// [`Socket::give_back`](crate::Socket::give_back). A token that is dropped is lost to its socket for good.
#[derive(Debug)]
#[must_use = "a chunk whose token is dropped receives no more packets"]
pub struct RxFrame {
    address: u64,
    len: u32,
    umem: u64,
}

impl TxFrame {
    /// Where the frame starts in UMEM, in bytes. It identifies the frame: a [`TxDescriptor`](crate::TxDescriptor) and a
    /// completion have the same address.
    #[inline]
    pub fn address(&self) -> u64 {
        self.0
    }

    /// Gives up the token for the frame's address in a TX descriptor.
    #[inline]
    pub(crate) fn into_address(self) -> u64 {
        self.0
    }
}

impl RxFrame {
    /// Bytes of the packet.
    #[inline]
    pub fn packet_len(&self) -> u32 {
        self.len
    }
}

/// How long the rings of a socket are, and into which frames its UMEM is divided.
///
/// Frames to send from lie close together, several in a chunk, which the kernel allows as long as no frame crosses the
/// end of a chunk. So a batch of them touches few pages. Each has an odd number of cache lines of 64 bytes, so that the
/// first lines of frames spread over all sets of a first-level cache.
///
/// A UMEM is locked memory. The kernel counts it against `RLIMIT_MEMLOCK`, unless the process has `CAP_IPC_LOCK`
/// (`xdp_umem_account_pages` in `net/xdp/xdp_umem.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Frames to receive into, a chunk each. Packets that arrive while all of them are in use are lost, so they have to
    /// cover the longest time between two calls of [`Socket::receive`](crate::Socket::receive).
    pub rx_frames: u32,
    /// Entries of the TX ring and of the completion ring: a power of two.
    pub tx_ring_len: u32,
    /// Frames to send from. More than the TX ring has entries are of use only if some wait elsewhere.
    pub tx_frames: u32,
    /// Bytes of the longest frame that will be sent, at most [`CHUNK_LEN`].
    pub tx_longest: usize,
}

impl Layout {
    /// Bytes from one frame to send from to the next, at least [`Self::tx_longest`], at most [`CHUNK_LEN`].
    pub fn tx_frame_len(self) -> usize {
        const LINE: usize = 64;
        let len = (self.tx_longest.div_ceil(LINE) | 1) * LINE;
        len.min(CHUNK_LEN)
    }

    /// Bytes of the UMEM.
    pub fn umem_len(self) -> usize {
        self.tx_len() + self.rx_frames as usize * CHUNK_LEN
    }

    /// Entries of the RX ring and of the fill ring: the power of two that holds all frames to receive into; 0 if there
    /// is none.
    pub(crate) fn rx_ring_len(self) -> u32 {
        self.rx_frames.checked_next_power_of_two().unwrap_or(0)
    }

    /// Bytes of the part that is sent from: whole chunks.
    fn tx_len(self) -> usize {
        (self.tx_frames as usize).div_ceil(self.tx_frames_per_chunk()) * CHUNK_LEN
    }

    fn tx_frames_per_chunk(self) -> usize {
        CHUNK_LEN / self.tx_frame_len()
    }

    /// Where frame `index` to send from starts.
    fn tx_start(self, index: usize) -> usize {
        let (chunk, place) = (index / self.tx_frames_per_chunk(), index % self.tx_frames_per_chunk());
        chunk * CHUNK_LEN + place * self.tx_frame_len()
    }
}

/// The memory and how it is divided.
#[derive(Debug)]
pub(crate) struct Umem {
    memory: Mapping,
    /// Bytes of the part that is sent from, which is the first.
    tx_len: usize,
    tx_frame_len: usize,
    /// A frame to send starts below this: all of it then lies in the part that is sent from.
    tx_starts: usize,
    /// Tells the tokens of one UMEM from those of another.
    id: u64,
}

/// Writes frames to send: what it needs of the UMEM for that, by itself, so that a loop over a batch holds it in
/// registers.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    area: NonNull<u8>,
    starts: usize,
    frame_len: usize,
    _umem: PhantomData<&'a mut Umem>,
}

impl<'u> Writer<'u> {
    /// The memory of a frame.
    #[inline(always)]
    pub(crate) fn bytes<'a>(&'a mut self, frame: &'a mut TxFrame) -> &'a mut [u8] {
        let Self { area, starts, frame_len, _umem } = *self;
        Writer { area, starts, frame_len, _umem }.into_bytes(frame)
    }

    /// The memory of one frame, for as long as the UMEM is borrowed.
    #[inline(always)]
    pub(crate) fn into_bytes(self, frame: &'u mut TxFrame) -> &'u mut [u8] {
        let address = frame.0 as usize;
        assert!(address < self.starts, "another socket's frame");
        // SAFETY: inside the mapping by the assertion above.
        let start = unsafe { self.area.add(address) };
        // SAFETY: all of the frame lies in the part that the kernel never writes to. In this process, the borrow of the
        // UMEM is the only one, whatever token was given.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.frame_len) }
    }
}

impl Umem {
    /// Maps a UMEM, already faulted in, in huge pages where the kernel has some to give: a batch touches more
    /// ordinary pages than a first-level TLB knows.
    pub(crate) fn map(layout: Layout) -> io::Result<Self> {
        static MAPPED: AtomicU64 = AtomicU64::new(0);
        let memory = Mapping::anonymous(layout.umem_len())?;
        memory.fault_in();
        let id = MAPPED.fetch_add(1, Ordering::Relaxed);
        let (tx_len, tx_frame_len) = (layout.tx_len(), layout.tx_frame_len());
        Ok(Self { memory, tx_len, tx_frame_len, tx_starts: (tx_len + 1).saturating_sub(tx_frame_len), id })
    }

    pub(crate) fn area(&self) -> NonNull<u8> {
        self.memory.start()
    }

    pub(crate) fn len(&self) -> usize {
        self.memory.len()
    }

    /// The frames to send from, in the order of their addresses. Called once.
    pub(crate) fn tx_frames(&self, layout: Layout) -> Vec<TxFrame> {
        (0..layout.tx_frames as usize).map(|index| TxFrame(layout.tx_start(index) as u64)).collect()
    }

    /// Where the chunks to receive into start.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = u64> + use<> {
        (self.tx_len as u64..self.len() as u64).step_by(CHUNK_LEN)
    }

    /// The frame at `address`, which the completion ring has handed back.
    #[inline]
    pub(crate) fn completed(address: u64) -> TxFrame {
        TxFrame(address)
    }

    /// The token of the packet of `len` bytes at `address`, which the RX ring has handed over.
    #[inline]
    pub(crate) fn received(&self, address: u64, len: u32) -> RxFrame {
        RxFrame { address, len, umem: self.id }
    }

    /// Gives a packet up for the address of its chunk, which may be in the fill ring again.
    ///
    /// # Panics
    /// If it is another UMEM's.
    #[inline]
    pub(crate) fn chunk_of(&self, frame: RxFrame) -> u64 {
        assert!(frame.umem == self.id, "another socket's packet");
        chunk_at(frame.address)
    }

    /// Whether a frame to send can be one of this UMEM.
    pub(crate) fn has(&self, frame: &TxFrame) -> bool {
        (frame.0 as usize) < self.tx_starts
    }

    /// What writes frames to send.
    #[inline]
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        Writer { area: self.area(), starts: self.tx_starts, frame_len: self.tx_frame_len, _umem: PhantomData }
    }

    /// The bytes of a received packet, cut at its chunk's end.
    ///
    /// # Panics
    /// If it is another UMEM's.
    #[inline]
    pub(crate) fn packet(&self, frame: &RxFrame) -> &[u8] {
        let address = frame.address as usize;
        assert!(frame.umem == self.id && address < self.len(), "another socket's packet");
        let len = (frame.len as usize).min(CHUNK_LEN - address % CHUNK_LEN);
        // SAFETY: inside the mapping by the assertion above.
        let start = unsafe { self.area().add(address) };
        // SAFETY: the token says that the kernel has handed the chunk over; it lies inside the mapping.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// In the kernel's role: the bytes that a TX descriptor names, cut at the end of their chunk.
    pub(crate) fn sent(&self, address: u64, len: u32) -> &[u8] {
        self.packet(&RxFrame { address, len, umem: self.id })
    }

    /// In the kernel's role: writes a packet into a chunk that was in the fill ring, behind the headroom. Its address.
    pub(crate) fn put(&mut self, chunk: u64, packet: &[u8]) -> u64 {
        let address = chunk as usize + HEADROOM;
        assert!(address < self.len() && packet.len() <= RX_PACKET_MAX, "a packet that does not fit");
        // SAFETY: inside the mapping by the assertion above.
        let start = unsafe { self.area().add(address) };
        // SAFETY: the chunk, all of which lies inside the mapping, was in the fill ring: no token stands for it.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(packet).cast(), packet.len()) };
        address as u64
    }
}

/// Where the chunk starts that an address lies in.
#[inline]
pub(crate) fn chunk_at(address: u64) -> u64 {
    address & !(CHUNK_LEN as u64 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(rx_frames: u32, tx_frames: u32, tx_longest: usize) -> Layout {
        Layout { rx_frames, tx_ring_len: 64, tx_frames, tx_longest }
    }

    /// Every frame is its own, writing one never shows in another, and none crosses the end of a chunk.
    #[test]
    fn frames_do_not_overlap() {
        for (longest, tx_frame_len, chunks) in
            [(54, 64, 18), (66, 192, 21), (78, 192, 21), (1_500, 1_600, 64), (2_000, CHUNK_LEN, 64)]
        {
            let layout = layout(16, 48, longest);
            assert_eq!((layout.tx_frame_len(), layout.umem_len()), (tx_frame_len, chunks * CHUNK_LEN));
            let mut umem = Umem::map(layout).unwrap();
            let mut tx = umem.tx_frames(layout);
            assert_eq!((umem.chunks().count(), tx.len()), (16, 48));
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
            for chunk in umem.chunks() {
                assert_eq!(chunk_at(chunk), chunk);
                let all = umem.received(chunk, CHUNK_LEN as u32);
                assert!(umem.packet(&all).iter().all(|byte| *byte == 0));
            }
        }
    }

    /// A received packet starts behind the headroom; its token is its chunk's, and a length past the chunk is cut.
    #[test]
    fn received_packets_are_their_chunks() {
        let mut umem = Umem::map(layout(4, 0, 0)).unwrap();
        let chunk = 3 * CHUNK_LEN as u64;
        let address = umem.put(chunk, &[7; 60]);
        assert_eq!(address, chunk + 256);
        let frame = umem.received(address, 60);
        assert_eq!((umem.packet(&frame), frame.packet_len()), (&[7; 60][..], 60));
        assert_eq!(umem.chunk_of(frame), chunk);
        assert_eq!(umem.packet(&umem.received(address, 65_535)).len(), RX_PACKET_MAX);
    }

    /// User space writes to no chunk that the kernel receives into, whatever socket a token is from.
    #[test]
    #[should_panic(expected = "another socket's frame")]
    fn chunks_are_not_written() {
        let large = layout(4, 48, 1_500);
        let mut frames = Umem::map(large).unwrap().tx_frames(large);
        let mut small = Umem::map(layout(64, 48, 60)).unwrap();
        assert!(!small.has(&frames[47]));
        small.writer().bytes(&mut frames[47]);
    }

    #[test]
    #[should_panic(expected = "another socket's frame")]
    fn without_frames_none_is_written() {
        let large = layout(4, 1, 60);
        let mut frames = Umem::map(large).unwrap().tx_frames(large);
        let mut none = Umem::map(layout(4, 0, 0)).unwrap();
        assert!(!none.has(&frames[0]));
        none.writer().bytes(&mut frames[0]);
    }

    #[test]
    #[should_panic(expected = "another socket's packet")]
    fn packets_of_another_socket_are_not_read() {
        let [one, other] = [(); 2].map(|()| Umem::map(layout(4, 0, 0)).unwrap());
        other.packet(&one.received(256, 60));
    }
}
