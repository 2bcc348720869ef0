//! An AF_XDP socket bound to one queue of a NIC, with the UMEM and the four rings that are its own.
//!
//! Set up through libxdp, which maps the rings and binds; the fill ring is filled before the bind, because zero-copy
//! drivers take their first receive buffers during it. Rings are then used directly ([`super::ring`]).

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::{NonNull, null_mut};
use std::time::{Duration, Instant};

use libxdp_sys as xdp;

use super::name::DeviceName;
use super::ring::{Consumer, Producer};
use super::umem::{CHUNK_LEN, Cut, RxFrame, TxFrame, Umem};

/// Descriptors in each ring. A power of two; 2,048 hold 138 us of frames at 10 GbE line rate.
pub(super) const RING_LEN: u32 = 2048;

/// How a socket exchanges frames with the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindMode {
    /// The driver reads and writes UMEM itself.
    ZeroCopy,
    /// The kernel copies between UMEM and its own packets.
    Copy,
}

impl BindMode {
    /// The ladder with this one rung.
    pub fn alone(self) -> &'static [Self] {
        match self {
            Self::ZeroCopy => &[Self::ZeroCopy],
            Self::Copy => &[Self::Copy],
        }
    }

    fn flags(self) -> u16 {
        let mode = match self {
            Self::ZeroCopy => xdp::XDP_ZEROCOPY,
            Self::Copy => xdp::XDP_COPY,
        };
        (mode | xdp::XDP_USE_NEED_WAKEUP) as u16
    }
}

/// Which step of setting up a socket failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The memory for frames could not be mapped.
    #[error("mapping {bytes} bytes of UMEM: {source}")]
    Map {
        /// How much was asked for.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// UMEM could not be registered with a socket.
    #[error("registering {bytes} bytes of UMEM: {source}")]
    Register {
        /// How much was asked for.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not poll the driver for this socket.
    #[error("--busy-poll: setting {option} on queue {queue}: {source}")]
    BusyPoll {
        /// The queue.
        queue: u32,
        /// The socket option that was refused.
        option: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not know what it would have to poll.
    #[error(
        "--busy-poll: {interface}'s driver does not tell the kernel who serves queue {queue} in {mode:?} mode, so there is \
         nothing to poll; leave the flag out"
    )]
    NoNapi {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The mode.
        mode: BindMode,
    },
    /// The socket could not be bound to the queue.
    #[error("binding to queue {queue} in {mode:?} mode: {source}")]
    Bind {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The mode tried.
        mode: BindMode,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SocketError {
    /// Whether a lower bind mode may be had where this one was refused.
    pub fn lower_may_help(&self) -> bool {
        matches!(self, Self::Bind { mode: BindMode::ZeroCopy, .. })
            && !matches!(self.os_error(), Some(libc::EBUSY | libc::EPERM | libc::EACCES))
    }

    /// What the kernel said.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Self::Map { source, .. }
            | Self::Register { source, .. }
            | Self::BusyPoll { source, .. }
            | Self::Bind { source, .. } => source.raw_os_error(),
            Self::NoNapi { .. } => None,
        }
    }
}

/// What libxdp must be given back, in this order: the socket, the UMEM, and only then the ring structures that it
/// reads while it unmaps.
#[derive(Debug)]
struct Handles {
    socket: Option<NonNull<xdp::xsk_socket>>,
    umem: NonNull<xdp::xsk_umem>,
    fill: Box<xdp::xsk_ring_prod>,
    completion: Box<xdp::xsk_ring_cons>,
    rx: Box<xdp::xsk_ring_cons>,
    tx: Box<xdp::xsk_ring_prod>,
}

impl Drop for Handles {
    fn drop(&mut self) {
        if let Some(socket) = self.socket {
            // SAFETY: created by libxdp, deleted once; the rings it unmaps are dropped after this.
            unsafe { xdp::xsk_socket__delete(socket.as_ptr()) };
        }
        // SAFETY: created by libxdp, deleted once, after its only socket.
        unsafe { xdp::xsk_umem__delete(self.umem.as_ptr()) };
    }
}

/// A TX descriptor in two words, so that it takes two stores to write: `struct xdp_desc` has the address in the first
/// and length and options in the second.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct TxDescriptor {
    address: u64,
    len_and_options: u64,
}

const _: () = assert!(size_of::<TxDescriptor>() == size_of::<xdp::xdp_desc>());
const _: () = assert!(
    std::mem::offset_of!(xdp::xdp_desc, len) == 8 && std::mem::offset_of!(xdp::xdp_desc, options) == 12
);

impl TxDescriptor {
    /// The descriptor of frames of `len` bytes, but for the address.
    pub(super) fn new(len: u32) -> Self {
        let (len, options) = (len.to_ne_bytes(), [0; 4]);
        let [a, b, c, d] = len;
        let [e, f, g, h] = options;
        Self { address: 0, len_and_options: u64::from_ne_bytes([a, b, c, d, e, f, g, h]) }
    }

    /// The descriptor of this frame, which is given up for it.
    #[inline]
    pub(super) fn at(self, frame: TxFrame) -> Self {
        Self { address: frame.into_address(), ..self }
    }

    /// Where its frame starts in UMEM.
    pub(super) fn address(self) -> u64 {
        self.address
    }
}

/// A bound AF_XDP socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) rx: Consumer<xdp::xdp_desc>,
    pub(super) tx: Producer<TxDescriptor>,
    pub(super) fill: Producer<u64>,
    pub(super) completion: Consumer<u64>,
    pub(super) mode: BindMode,
    /// Why not in a better mode.
    pub(super) refusals: Vec<String>,
    pub(super) queue: u32,
    /// Frames received so far.
    pub(super) received: u64,
    kernel: Kernel,
    pub(super) umem: Umem,
}

/// Who is on the other side of the rings. Dropped before UMEM: libxdp unmaps the rings and closes the socket first.
#[derive(Debug)]
enum Kernel {
    /// The kernel, through this descriptor.
    Bound { fd: RawFd, _handles: Handles },
    /// A stand-in for it, in benchmarks.
    StandIn(super::standin::StandIn),
}

// SAFETY: the pointers inside lead to mappings that only this socket's owner uses; nothing is tied to a thread.
unsafe impl Send for Socket {}

fn zeroed_producer() -> Box<xdp::xsk_ring_prod> {
    Box::new(xdp::xsk_ring_prod {
        cached_prod: 0,
        cached_cons: 0,
        mask: 0,
        size: 0,
        producer: null_mut(),
        consumer: null_mut(),
        ring: null_mut(),
        flags: null_mut(),
    })
}

fn zeroed_consumer() -> Box<xdp::xsk_ring_cons> {
    Box::new(xdp::xsk_ring_cons {
        cached_prod: 0,
        cached_cons: 0,
        mask: 0,
        size: 0,
        producer: null_mut(),
        consumer: null_mut(),
        ring: null_mut(),
        flags: null_mut(),
    })
}

/// A UMEM registered with a socket that is not bound yet.
fn register(umem: &Umem) -> Result<Handles, SocketError> {
    let config = xdp::xsk_umem_config {
        fill_size: RING_LEN,
        comp_size: RING_LEN,
        frame_size: CHUNK_LEN as u32,
        frame_headroom: 0,
        flags: 0,
    };
    let (mut fill, mut completion) = (zeroed_producer(), zeroed_consumer());
    let mut handle = null_mut();
    // SAFETY: the area is ours and page-aligned, the ring structures are boxed and outlive the handle (see `Handles`).
    let status = unsafe {
        xdp::xsk_umem__create(
            &raw mut handle,
            umem.area().as_ptr().cast(),
            umem.len() as u64,
            &raw mut *fill,
            &raw mut *completion,
            &raw const config,
        )
    };
    let registered = NonNull::new(handle).filter(|_| status == 0);
    let handle = registered.ok_or_else(|| SocketError::Register {
        bytes: umem.len(),
        source: io::Error::from_raw_os_error(-status),
    })?;
    let (rx, tx) = (zeroed_consumer(), zeroed_producer());
    Ok(Handles { socket: None, umem: handle, fill, completion, rx, tx })
}

/// How long a queue may stay taken by a socket that is gone: the kernel frees it a moment after the close.
const BUSY_PATIENCE: Duration = Duration::from_millis(500);

/// Binds, patiently where another socket holds the queue.
fn bind(handles: &mut Handles, interface: &DeviceName, queue: u32, mode: BindMode) -> io::Result<RawFd> {
    let start = Instant::now();
    loop {
        match try_bind(handles, interface, queue, mode) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && start.elapsed() < BUSY_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
}

fn try_bind(handles: &mut Handles, interface: &DeviceName, queue: u32, mode: BindMode) -> io::Result<RawFd> {
    let config = xdp::xsk_socket_config {
        rx_size: RING_LEN,
        tx_size: RING_LEN,
        __bindgen_anon_1: xdp::xsk_socket_config__bindgen_ty_1 {
            libxdp_flags: xdp::XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
        },
        xdp_flags: 0,
        bind_flags: mode.flags(),
    };
    let mut socket = null_mut();
    // SAFETY: all pointers are valid for the call, that of the name for all of IFNAMSIZ bytes; the ring structures are
    // boxed and outlive the socket.
    let status = unsafe {
        xdp::xsk_socket__create_shared(
            &raw mut socket,
            interface.as_ptr(),
            queue,
            handles.umem.as_ptr(),
            &raw mut *handles.rx,
            &raw mut *handles.tx,
            &raw mut *handles.fill,
            &raw mut *handles.completion,
            &raw const config,
        )
    };
    handles.socket = NonNull::new(socket).filter(|_| status == 0);
    let Some(socket) = handles.socket else { return Err(io::Error::from_raw_os_error(-status)) };
    // SAFETY: a live socket of libxdp.
    Ok(unsafe { xdp::xsk_socket__fd(socket.as_ptr()) })
}

impl Socket {
    /// Opens a socket on `queue` of `interface` with a UMEM cut as `cut` says, all frames to receive into in the fill
    /// ring when it binds. Tries each of `modes` in turn until one binds.
    ///
    /// # Errors
    /// The error of the last mode tried.
    pub(super) fn open(
        interface: &str,
        queue: u32,
        modes: &[BindMode],
        cut: Cut,
    ) -> Result<(Self, Vec<TxFrame>), SocketError> {
        let umem = Umem::map(cut).map_err(|source| SocketError::Map { bytes: cut.len(), source })?;
        let (rx_frames, tx_frames) = umem.frames();
        let mut handles = register(&umem)?;
        let unmapped = || SocketError::Register {
            bytes: umem.len(),
            source: io::Error::other("libxdp left a ring unmapped"),
        };
        // SAFETY: mapped by `register`, and the only producer.
        let mut fill = unsafe { Producer::new(&handles.fill) }.ok_or_else(unmapped)?;
        give(&mut fill, rx_frames);
        let mut failures = Vec::new();
        let device = DeviceName::new(interface);
        for &mode in modes {
            match bind(&mut handles, &device, queue, mode) {
                Err(source) => {
                    let interface = interface.to_owned();
                    let failure = SocketError::Bind { interface, queue, mode, source };
                    let go_on = failure.lower_may_help();
                    failures.push(failure);
                    if !go_on {
                        break;
                    }
                }
                Ok(fd) => {
                    // SAFETY: mapped by `bind`, and the only consumer.
                    let rx = unsafe { Consumer::new(&handles.rx) }.ok_or_else(unmapped)?;
                    // SAFETY: mapped by `bind`, and the only producer.
                    let tx = unsafe { Producer::new(&handles.tx) }.ok_or_else(unmapped)?;
                    // SAFETY: mapped by `register`, and the only consumer.
                    let completion = unsafe { Consumer::new(&handles.completion) }.ok_or_else(unmapped)?;
                    let refusals = failures.iter().map(ToString::to_string).collect();
                    let kernel = Kernel::Bound { fd, _handles: handles };
                    let socket =
                        Self { rx, tx, fill, completion, mode, refusals, queue, received: 0, kernel, umem };
                    return Ok((socket, tx_frames));
                }
            }
        }
        Err(failures.pop().unwrap_or_else(unmapped))
    }

    /// A socket whose rings lead to a stand-in for the kernel, which completes what it is given.
    pub(super) fn stand_in(cut: Cut) -> io::Result<(Self, Vec<TxFrame>)> {
        let umem = Umem::map(cut)?;
        let (rx_frames, tx_frames) = umem.frames();
        let super::standin::Sides { rx, tx, mut fill, completion, kernel } = super::standin::rings(RING_LEN);
        give(&mut fill, rx_frames);
        let kernel = Kernel::StandIn(kernel);
        let (mode, refusals) = (BindMode::Copy, Vec::new());
        Ok((
            Self { rx, tx, fill, completion, mode, refusals, queue: 0, received: 0, kernel, umem },
            tx_frames,
        ))
    }

    /// The socket's descriptor as a number; -1, which system calls refuse and `ppoll` ignores, for a stand-in.
    pub(super) fn raw_fd(&self) -> RawFd {
        match &self.kernel {
            Kernel::Bound { fd, .. } => *fd,
            Kernel::StandIn(_) => -1,
        }
    }

    /// The socket's descriptor, for the XSKMAP.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kernel {
            // SAFETY: open until the handles are dropped, which the borrow of `self` outlives.
            Kernel::Bound { fd, .. } => Some(unsafe { BorrowedFd::borrow_raw(*fd) }),
            Kernel::StandIn(_) => None,
        }
    }

    /// Makes the kernel look at the TX ring.
    #[inline]
    pub(super) fn wake_tx(&mut self) -> Result<(), i32> {
        if let Kernel::StandIn(kernel) = &mut self.kernel {
            kernel.complete();
            return Ok(());
        }
        // SAFETY: no buffer and no address are passed.
        let status = unsafe {
            libc::sendto(self.raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0)
        };
        if status < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(()) }
    }

    /// Makes the kernel look at the fill ring; where the socket is polled, and at the driver's queue.
    pub(super) fn wake_rx(&self) {
        // SAFETY: no buffer and no address are passed. The result tells nothing that the rings do not.
        unsafe { libc::recvfrom(self.raw_fd(), null_mut(), 0, libc::MSG_DONTWAIT, null_mut(), null_mut()) };
    }
}

/// Puts frames into a fill ring, which has room for every RX frame of its UMEM.
fn give(fill: &mut Producer<u64>, frames: Vec<RxFrame>) {
    for frame in frames {
        debug_assert!(fill.room(1) > 0);
        fill.push(frame.into_address());
    }
    fill.publish();
}
