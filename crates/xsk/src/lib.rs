//! AF_XDP sockets: packets between a program and one queue of a network interface, past the kernel's network stack.
//!
//! The kernel documents AF_XDP in `Documentation/networking/af_xdp.rst`. This crate sets a socket up by system calls of
//! its own, without libbpf, libxdp or any other C library, and then works directly on the memory that it shares with
//! the kernel. It is for Linux 5.4 and later. It does not load XDP programs: see [a real socket](#a-real-socket).
//!
//! # The four rings
//!
//! A socket has a UMEM, which is memory divided into frames, and four rings. An entry of a ring says where in the UMEM
//! a frame is. Each ring has one side that writes entries and one that reads them:
//!
//! ```text
//!                    this program              kernel
//! TX ring            frames to send      --->  sends them
//! completion ring    free again          <---  frames that were sent
//! fill ring          chunks to fill      --->  writes packets into them
//! RX ring            received packets    <---  packets
//! ```
//!
//! Nobody copies or locks anything to pass a frame on, and a batch of entries is made visible by one store.
//!
//! # The life of a frame
//!
//! ```text
//! to send      TxFrame -- transmit --> TX ring --> kernel --> completion ring -- reap --> TxFrame
//! to receive   fill ring --> kernel --> RX ring -- receive --> bytes --> fill ring
//!                                           `----- take --> RxFrame -- give_back --> fill ring
//! ```
//!
//! [`Socket::open`] returns a socket and a [`TxFrame`] for each of its frames to send from. All chunks to receive into
//! are in the fill ring from the beginning. The same with a stand-in for the kernel, which needs no privileges
//! ([`testing`]):
//!
//! ```
//! use xsk::{Layout, testing};
//!
//! let layout = Layout { rx_frames: 64, tx_ring_len: 64, tx_frames: 64, tx_longest: 60 };
//! let (mut socket, mut free) = testing::open(layout, 0)?;
//!
//! // Eight frames are written and put into the TX ring. Their tokens are given up.
//! let count = socket.tx_room(8).min(8) as usize;
//! socket.transmit(free.drain(..count), |bytes| {
//!     bytes[..4].copy_from_slice(b"ping");
//!     60
//! });
//! assert_eq!(free.len(), 56);
//!
//! // The kernel sends them, and returns them in the completion ring. Their tokens are back.
//! if socket.tx_needs_wakeup() {
//!     socket.wake_tx()?;
//! }
//! let sent = socket.reap(|frames| free.extend(frames.into_frames()));
//! assert_eq!((sent, free.len()), (8, 64));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What tokens guarantee
//!
//! A frame is in one place at a time. [`TxFrame`] and [`RxFrame`] are the right to a frame, and can only be moved.
//! A frame that was given to the kernel cannot be written, and sending it twice does not compile:
//!
//! ```compile_fail,E0382
//! # let layout = xsk::Layout { rx_frames: 64, tx_ring_len: 64, tx_frames: 64, tx_longest: 60 };
//! # let (mut socket, mut free) = xsk::testing::open(layout, 0).unwrap();
//! let frame = free.pop().unwrap();
//! let _ = socket.send(frame, 60);
//! let _ = socket.send(frame, 60);
//! ```
//!
//! What tokens do not guarantee: a token that is dropped is lost, and a token of one socket must not be given to
//! another. For a packet that is a panic. For a frame to send it is a panic if there is no such place, and else the
//! wrong bytes are sent. No memory is harmed either way: frames to send and chunks to receive into are in separate
//! parts of a UMEM, and each part is written by one side only.
//!
//! # What the kernel asks for
//!
//! - **Wake-ups.** In zero-copy mode the kernel may send by itself, and in copy mode it sends only during a call. A
//!   flag in the ring says when it needs one: [`Socket::tx_needs_wakeup`] and [`Socket::wake_tx`] for the TX ring,
//!   [`Socket::fill_needs_wakeup`] and [`Socket::wake_rx`] for the fill ring. All sockets are bound with
//!   `XDP_USE_NEED_WAKEUP`.
//! - **Room in the completion ring.** The kernel sends nothing while it is full: call [`Socket::reap`] regularly.
//! - **Chunks in the fill ring.** A packet that finds it empty is dropped. [`Socket::receive`] puts chunks back by
//!   itself; after [`Socket::take`] that is up to the caller.
//! - **Room in the RX ring.** A packet that finds it full is dropped, and counted in [`Socket::statistics`].
//!
//! # Modes
//!
//! In zero-copy mode ([`BindMode::ZeroCopy`]) the NIC reads and writes UMEM itself. The driver has to support it. In
//! copy mode ([`BindMode::Copy`]) the kernel copies each packet between UMEM and its own packets, which works with
//! every driver. There, a driver may refuse a frame: [`Socket::wake_tx`] then fails with `EBUSY`, and
//! [`Socket::newest`] says how to find the frame. [`Socket::open`] tries a list of modes in turn.
//!
//! # A real socket
//!
//! It sends at once. It receives what an XDP program on the interface redirects to it, by `bpf_redirect_map` and a map
//! of type `BPF_MAP_TYPE_XSKMAP` that has the socket's descriptor ([`Socket::fd`]) in the entry of its queue. Loading
//! such a program is the task of a BPF library. `examples/two_ends.rs` does it with aya, and sends frames from one end
//! of a veth pair to the other.
//!
//! ```no_run
//! use xsk::{BindMode, Layout, Socket};
//!
//! let layout = Layout { rx_frames: 4096, tx_ring_len: 2048, tx_frames: 2048, tx_longest: 1514 };
//! let modes = [BindMode::ZeroCopy, BindMode::Copy];
//! let (mut socket, mut free) = Socket::open("eth0", 0, &modes, layout)?;
//! for refusal in socket.refusals() {
//!     eprintln!("no zero-copy: {refusal}");
//! }
//! // Here its descriptor goes into the XSKMAP: `xsks.set(socket.queue(), socket.fd().unwrap(), 0)` in aya.
//! loop {
//!     socket.receive(64, |packet| println!("{} bytes", packet.len()));
//!     if socket.fill_needs_wakeup() {
//!         socket.wake_rx();
//!     }
//! #   break;
//! }
//! # Ok::<(), xsk::SocketError>(())
//! ```
//!
//! # Speed
//!
//! Nothing here allocates, locks or logs after a socket is open, apart from [`Socket::take`], whose list may grow. What
//! is called for each packet is inlined into the caller; build with `lto = "thin"` or more for the rest. A batch costs
//! one store of an index and mostly no read of the kernel's.
#![deny(missing_docs)]

mod descriptor;
mod error;
mod index;
#[expect(unsafe_code, reason = "memory shared with the kernel")]
mod mapping;
#[expect(unsafe_code, reason = "rings shared with the kernel")]
mod ring;
#[expect(unsafe_code, reason = "one owner for each ring")]
mod socket;
mod standin;
#[expect(unsafe_code, reason = "socket options that rustix does not know")]
mod statistics;
pub mod testing;
#[expect(unsafe_code, reason = "frames in memory shared with the kernel")]
mod umem;

#[cfg(test)]
extern crate self as xsk;
#[cfg(test)]
mod model;

pub use descriptor::TxDescriptor;
pub use error::{BindMode, SocketError};
pub use socket::{Completed, Socket};
pub use statistics::Statistics;
pub use umem::{CHUNK_LEN, Layout, RX_PACKET_MAX, RxFrame, TxFrame};
