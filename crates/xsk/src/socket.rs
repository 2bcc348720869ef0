//! An AF_XDP socket bound to one queue of a NIC, with a UMEM and four rings that no other socket shares.
//!
//! The steps are those of `Documentation/networking/af_xdp.rst`: register UMEM, set the size of the rings, map them,
//! bind. The fill ring is filled before the bind, because zero-copy drivers take their first receive buffers during it.
//! Rings are then used directly ([`crate::ring`]).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use std::vec::Drain;

use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::{
    set_xdp_rx_ring_size, set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size,
    set_xdp_umem_fill_ring_size, set_xdp_umem_reg, xdp_mmap_offsets,
};
use rustix::net::xdp::{
    SocketAddrXdp, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING,
    XDP_UMEM_PGOFF_FILL_RING, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::descriptor::{RxDescriptor, TxDescriptor};
use crate::error::{BindMode, SocketError};
use crate::ring::{Consumer, Producer};
use crate::standin::{self, Sides, StandIn};
use crate::umem::{CHUNK_LEN, Layout, RxFrame, TxFrame, Umem};

/// An AF_XDP socket that is bound to one queue of an interface, with the UMEM and the four rings that are its own.
///
/// It can be moved between threads and has one user at a time. Dropping it closes the socket: the kernel then takes it
/// out of every XSKMAP, and frees the queue a moment later.
#[derive(Debug)]
pub struct Socket {
    rx: Consumer<RxDescriptor>,
    tx: Producer<TxDescriptor>,
    fill: Producer<u64>,
    completion: Consumer<u64>,
    mode: BindMode,
    refusals: Vec<SocketError>,
    interface: String,
    queue: u32,
    received: u64,
    kernel: Kernel,
    umem: Umem,
}

/// Frames that the kernel has returned: neighbours in the completion ring.
#[derive(Debug)]
#[must_use = "frames whose tokens are dropped can no longer be used"]
pub struct Completed<'a>(&'a [u64]);

impl<'a> Completed<'a> {
    /// Where the frames start in UMEM, in the order in which the kernel returned them ([`TxFrame::address`]).
    #[inline]
    pub fn addresses(&self) -> &'a [u64] {
        self.0
    }

    /// Their tokens, in the same order.
    #[inline]
    pub fn into_frames(self) -> impl ExactSizeIterator<Item = TxFrame> + use<'a> {
        self.0.iter().map(|&address| Umem::completed(address))
    }
}

/// The other side of the rings.
#[derive(Debug)]
enum Kernel {
    /// The kernel, through this descriptor.
    Bound(OwnedFd),
    /// A stand-in for it.
    StandIn(Box<StandIn>),
}

/// The rings of a socket that is not bound yet.
struct Rings {
    fill: Producer<u64>,
    completion: Consumer<u64>,
    rx: Consumer<RxDescriptor>,
    tx: Producer<TxDescriptor>,
}

/// A new socket with this UMEM and its four rings, for any queue.
fn create(umem: &Umem, layout: Layout) -> Result<(OwnedFd, Rings), SocketError> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::XDP, SocketType::RAW, flags, None)
        .map_err(|errno| SocketError::Open { source: errno.into() })?;
    let area = XdpUmemReg {
        addr: umem.area().as_ptr() as u64,
        len: umem.len() as u64,
        chunk_size: CHUNK_LEN as u32,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    // The kernel pins these pages until the socket is gone, so it never writes to memory that is no longer UMEM.
    set_xdp_umem_reg(&socket, area)
        .map_err(|errno| SocketError::Register { bytes: umem.len(), source: errno.into() })?;
    let rings = make_rings(&socket, layout).map_err(|source| SocketError::Rings { source })?;
    Ok((socket, rings))
}

/// Makes and maps the rings of a new socket that has a UMEM.
fn make_rings(socket: &OwnedFd, layout: Layout) -> io::Result<Rings> {
    let (rx_ring_len, tx_ring_len) = (layout.rx_ring_len(), layout.tx_ring_len);
    set_xdp_umem_fill_ring_size(socket, rx_ring_len)?;
    set_xdp_umem_completion_ring_size(socket, tx_ring_len)?;
    set_xdp_rx_ring_size(socket, rx_ring_len)?;
    set_xdp_tx_ring_size(socket, tx_ring_len)?;
    let at = xdp_mmap_offsets(socket)?;
    // SAFETY: user space fills this ring, and this is the only place that maps it.
    let fill = unsafe { Producer::map(socket, XDP_UMEM_PGOFF_FILL_RING, &at.fr, rx_ring_len) }?;
    // SAFETY: the kernel fills this ring, and this is the only place that maps it.
    let completion = unsafe { Consumer::map(socket, XDP_UMEM_PGOFF_COMPLETION_RING, &at.cr, tx_ring_len) }?;
    // SAFETY: the kernel fills this ring, and this is the only place that maps it.
    let rx = unsafe { Consumer::map(socket, XDP_PGOFF_RX_RING, &at.rx, rx_ring_len) }?;
    // SAFETY: user space fills this ring, and this is the only place that maps it.
    let tx = unsafe { Producer::map(socket, XDP_PGOFF_TX_RING, &at.tx, tx_ring_len) }?;
    Ok(Rings { fill, completion, rx, tx })
}

/// How long to retry a bind while the queue is busy: the kernel frees a queue only a moment after its socket is closed.
/// Shorter fails after a quick restart; longer delays the error when another scan holds the queue.
const BUSY_PATIENCE: Duration = Duration::from_millis(500);

/// Binds, and retries for a while if another socket holds the queue.
fn bind(socket: &OwnedFd, interface: &str, queue: u32, mode: BindMode) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let address = SocketAddrXdp::new(mode.flags(), index_of(interface)?, queue);
        match rustix::net::bind(socket, &address) {
            Err(rustix::io::Errno::BUSY) if start.elapsed() < BUSY_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// The index of an interface.
fn index_of(interface: &str) -> io::Result<u32> {
    // An AF_XDP socket refuses this ioctl (`sock_no_ioctl`).
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(name_to_index(socket, interface)?)
}

/// Binds in the first of `modes` that the kernel accepts; which one that was, and why not in those before it.
fn bind_best(
    socket: &OwnedFd,
    interface: &str,
    queue: u32,
    modes: &[BindMode],
) -> Result<(BindMode, Vec<SocketError>), SocketError> {
    let mut refusals = Vec::new();
    let mut modes = modes.iter().copied().peekable();
    loop {
        let mode = modes.next().unwrap_or(BindMode::Copy);
        let Err(source) = bind(socket, interface, queue, mode) else { return Ok((mode, refusals)) };
        let failure = SocketError::Bind { interface: interface.to_owned(), queue, mode, source };
        if modes.peek().is_none() || !failure.copy_may_help() {
            return Err(failure);
        }
        refusals.push(failure);
    }
}

/// Opening, and what is known of a socket.
impl Socket {
    /// Opens a socket on RX and TX queue `queue` of `interface`, in the first of `modes` that the kernel accepts; an
    /// empty list means copy mode. Returns the socket, and its frames to send from in the order of their addresses.
    ///
    /// All chunks to receive into are in the fill ring before the socket is bound, because a zero-copy driver takes its
    /// first receive buffers during the bind. Where another socket holds the queue, this waits for up to half a second:
    /// the kernel frees a queue a moment after its socket is closed.
    ///
    /// The socket receives once it is in the XSKMAP of an XDP program on the interface ([`Self::fd`]). It needs
    /// `CAP_NET_RAW`, and Linux 5.4 or later.
    ///
    /// # Errors
    /// The step that failed. If no mode was accepted, that is the error of the last one tried; after an error that a
    /// lower mode does not avoid ([`SocketError::copy_may_help`]), no other is tried.
    pub fn open(
        interface: &str,
        queue: u32,
        modes: &[BindMode],
        layout: Layout,
    ) -> Result<(Self, Vec<TxFrame>), SocketError> {
        let bytes = layout.umem_len();
        let umem = Umem::map(layout).map_err(|source| SocketError::Map { bytes, source })?;
        let (socket, rings) = create(&umem, layout)?;
        let Rings { mut fill, completion, rx, tx } = rings;
        give_all(&mut fill, &umem);
        let (mode, refusals) = bind_best(&socket, interface, queue, modes)?;
        let kernel = Kernel::Bound(socket);
        let (frames, interface) = (umem.tx_frames(layout), interface.to_owned());
        let socket =
            Self { rx, tx, fill, completion, mode, refusals, interface, queue, received: 0, kernel, umem };
        Ok((socket, frames))
    }

    /// A socket whose rings lead to a stand-in for the kernel, and begin at this index.
    pub(crate) fn stand_in(layout: Layout, first: u32) -> io::Result<(Self, Vec<TxFrame>)> {
        let Sides { rx, tx, mut fill, completion, kernel } = standin::rings(layout, first)?;
        let umem = Umem::map(layout)?;
        give_all(&mut fill, &umem);
        let kernel = Kernel::StandIn(Box::new(kernel));
        let frames = umem.tx_frames(layout);
        let (mode, refusals, interface) = (BindMode::Copy, Vec::new(), String::new());
        let socket =
            Self { rx, tx, fill, completion, mode, refusals, interface, queue: 0, received: 0, kernel, umem };
        Ok((socket, frames))
    }

    /// The stand-in, and the memory that it works on.
    pub(crate) fn kernel_side(&mut self) -> (&mut StandIn, &mut Umem) {
        match &mut self.kernel {
            Kernel::StandIn(kernel) => (kernel, &mut self.umem),
            Kernel::Bound(_) => panic!("a socket of the kernel's"),
        }
    }

    /// The mode that it was bound in. The kernel reports for itself whether that is zero-copy
    /// ([`Self::is_zero_copy`]).
    #[inline]
    pub fn mode(&self) -> BindMode {
        self.mode
    }

    /// Why it was not bound in a better mode: an error for each mode before its own in the list.
    pub fn refusals(&self) -> &[SocketError] {
        &self.refusals
    }

    /// The interface's name, as it was given.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The queue's number.
    #[inline]
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// The socket's descriptor: for the XSKMAP of an XDP program, and to wait for packets (`POLLIN`) and for room in
    /// the TX ring (`POLLOUT`) with `poll`. None if a stand-in is behind the rings ([`testing`](crate::testing)).
    ///
    /// In copy mode the kernel also sends what is in the TX ring during `poll` (`xsk_poll`), and then reports no frame
    /// that the driver refused.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kernel {
            Kernel::Bound(fd) => Some(fd.as_fd()),
            Kernel::StandIn(_) => None,
        }
    }

    /// Packets received so far.
    #[inline]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets in the RX ring that were not received yet.
    pub fn untaken(&self) -> u32 {
        self.rx.untaken()
    }
}

/// Sending.
impl Socket {
    /// The bytes of a frame: [`Layout::tx_frame_len`] of them. They stay as they are until they are written again, also
    /// while the frame is sent and returned; so constant parts need to be written only once.
    ///
    /// # Panics
    /// If the frame is another socket's and does not lie in this one's memory.
    #[inline]
    pub fn bytes<'a>(&'a mut self, frame: &'a mut TxFrame) -> &'a mut [u8] {
        self.umem.writer().into_bytes(frame)
    }

    /// Free entries of the TX ring. The kernel's index, which is in a cache line of another core, is read only if fewer
    /// than `wanted` are known to be free.
    #[inline]
    pub fn tx_room(&mut self, wanted: u32) -> u32 {
        self.tx.room(wanted)
    }

    /// Writes frames and puts them into the TX ring, all in one go: the kernel sees them together. `write` gets the
    /// bytes of each frame, in the order of `frames`, and returns how many of them are to be sent. The kernel sends
    /// them after the next wake-up at the latest ([`Self::wake_tx`]).
    ///
    /// It takes a [`Drain`] because a list of free frames is where they come from: `socket.transmit(free.drain(..8),
    /// ...)`.
    ///
    /// # Panics
    /// If there are more frames than [`Self::tx_room`], or for a frame of another socket.
    #[inline]
    pub fn transmit(&mut self, frames: Drain<'_, TxFrame>, mut write: impl FnMut(&mut [u8]) -> u32) {
        self.transmit_each(0..frames.len(), frames, |_, bytes| write(bytes));
    }

    /// [`Self::transmit`] with an item for each frame, which `write` gets as well. An index that is counted here stays
    /// in a register; one that `write` counts does not.
    ///
    /// # Panics
    /// As [`Self::transmit`], or if there are fewer items than frames.
    #[inline]
    pub fn transmit_each<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        frames: Drain<'_, TxFrame>,
        mut write: impl FnMut(T, &mut [u8]) -> u32,
    ) {
        let count = frames.len();
        assert!(items.len() >= count, "fewer items than frames");
        assert!(self.tx.room(count as u32) as usize >= count, "more frames than the TX ring has room for");
        let mut writer = self.umem.writer();
        self.tx.extend(items.zip(frames).map(|(item, mut frame)| {
            let bytes = writer.bytes(&mut frame);
            let len = write(item, bytes);
            debug_assert!(len as usize <= bytes.len(), "more bytes than the frame has");
            TxDescriptor::new(frame, len)
        }));
        self.tx.publish();
    }

    /// Puts one frame into the TX ring as it is, `len` bytes of it.
    ///
    /// # Errors
    /// The frame, if the ring has no room for it.
    ///
    /// # Panics
    /// If the frame is another socket's and does not lie in this one's memory.
    pub fn send(&mut self, frame: TxFrame, len: u32) -> Result<(), TxFrame> {
        assert!(self.umem.has(&frame), "another socket's frame");
        if self.tx.room(1) == 0 {
            return Err(frame);
        }
        self.tx.push(TxDescriptor::new(frame, len));
        self.tx.publish();
        Ok(())
    }

    /// What was put into the TX ring last, the newest first: as many descriptors as the ring has entries, whether or
    /// not the kernel has taken them. Entries that were never used have address 0 and no length.
    ///
    /// In copy mode a wake-up may end with `EBUSY`: the driver has refused a frame, which the kernel returns as if it
    /// had been sent (`__xsk_generic_xmit`). It is the newest of these that has been returned.
    pub fn newest(&self) -> impl Iterator<Item = TxDescriptor> {
        self.tx.newest()
    }

    /// Whether the TX ring may still have frames that the kernel has not taken. The kernel may report late that it has
    /// taken some.
    #[inline]
    pub fn is_tx_pending(&self) -> bool {
        self.tx.is_pending()
    }

    /// Whether the kernel asks to be woken for the TX ring (`XDP_USE_NEED_WAKEUP`).
    #[inline]
    pub fn tx_needs_wakeup(&self) -> bool {
        self.tx.needs_wakeup()
    }

    /// Makes the kernel look at the TX ring: a system call (`sendto`). In copy mode it sends up to 32 frames, or as
    /// many as [`Self::set_tx_budget`] allows, before it returns.
    ///
    /// # Errors
    /// What the kernel reported. None of these is the end of the socket: `EAGAIN`: more frames are left than one call
    /// sends, or the completion ring is full. `EBUSY`: the driver has refused a frame (copy mode, see
    /// [`Self::newest`]) or is already sending (zero-copy). `ENOBUFS`: the kernel has no memory for packets.
    /// `ENETDOWN`: the interface is down.
    #[inline]
    pub fn wake_tx(&mut self) -> io::Result<()> {
        match &mut self.kernel {
            Kernel::Bound(fd) => Ok(send(fd, &[], SendFlags::DONTWAIT).map(drop)?),
            Kernel::StandIn(kernel) => {
                kernel.complete();
                Ok(())
            }
        }
    }

    /// Takes back the frames that the kernel has returned. They were sent, or, in copy mode, given to the driver, which
    /// may have refused them (see [`Self::newest`]). `each` gets them by runs of neighbours in the completion ring.
    /// Returns how many there were.
    #[inline]
    pub fn reap(&mut self, mut each: impl FnMut(Completed<'_>)) -> u32 {
        let mut reaped = 0;
        loop {
            let available = self.completion.available();
            if available == 0 {
                break;
            }
            for run in self.completion.pop_runs(available) {
                each(Completed(run));
            }
            reaped += available;
        }
        if reaped > 0 {
            self.completion.release();
        }
        reaped
    }
}

/// Receiving.
impl Socket {
    /// Receives up to `limit` packets. `each` gets the bytes of each, and its chunk goes into the fill ring right
    /// after. Returns how many packets there were. [`Self::take`] is for packets that are needed for longer.
    #[inline]
    pub fn receive(&mut self, limit: u32, mut each: impl FnMut(&[u8])) -> u32 {
        let wanted = self.rx.available().min(limit);
        // Always all of them: the fill ring holds every chunk. Asking refreshes what is known of the kernel's side.
        let count = self.fill.room(wanted).min(wanted);
        for _ in 0..count {
            let packet = self.rx.pop();
            let frame = self.umem.received(packet.address, packet.len);
            each(self.umem.packet(&frame));
            self.fill.push(self.umem.chunk_of(frame));
        }
        if count > 0 {
            self.rx.release();
            self.fill.publish();
            self.received += u64::from(count);
        }
        count
    }

    /// Receives up to `limit` packets, as tokens at the end of `packets`. [`Self::packet`] has their bytes, and
    /// [`Self::give_back`] lets their chunks receive again; without it the fill ring runs out of chunks. Returns how
    /// many packets there were.
    #[inline]
    pub fn take(&mut self, limit: u32, packets: &mut Vec<RxFrame>) -> u32 {
        let count = self.rx.available().min(limit);
        packets.extend((0..count).map(|_| {
            let packet = self.rx.pop();
            self.umem.received(packet.address, packet.len)
        }));
        if count > 0 {
            self.rx.release();
            self.received += u64::from(count);
        }
        count
    }

    /// The bytes of a packet.
    ///
    /// # Panics
    /// If it is another socket's.
    #[inline]
    pub fn packet(&self, packet: &RxFrame) -> &[u8] {
        self.umem.packet(packet)
    }

    /// Puts the chunks of these packets into the fill ring.
    ///
    /// # Panics
    /// If a packet is another socket's. Those before it are then back, and those after it are lost.
    #[inline]
    pub fn give_back(&mut self, packets: impl IntoIterator<Item = RxFrame>) {
        for packet in packets {
            let chunk = self.umem.chunk_of(packet);
            assert!(self.fill.room(1) > 0, "more chunks than there are");
            self.fill.push(chunk);
        }
        self.fill.publish();
    }

    /// Whether the kernel asks to be woken for the fill ring (`XDP_USE_NEED_WAKEUP`): a zero-copy driver has found it
    /// empty, and does not look at it again by itself.
    #[inline]
    pub fn fill_needs_wakeup(&self) -> bool {
        self.fill.needs_wakeup()
    }

    /// Makes the kernel look at the fill ring: a system call (`recvfrom`). With busy polling
    /// ([`Self::busy_poll`]) it also does the driver's work for this socket.
    pub fn wake_rx(&self) {
        if let Kernel::Bound(fd) = &self.kernel {
            // The result is not needed, because the rings show the same.
            let _ = recv(fd, &mut [0_u8; 0], RecvFlags::DONTWAIT);
        }
    }
}

/// Puts all chunks of a UMEM into a fill ring, which has an entry for each.
fn give_all(fill: &mut Producer<u64>, umem: &Umem) {
    fill.extend(umem.chunks());
    fill.publish();
}
