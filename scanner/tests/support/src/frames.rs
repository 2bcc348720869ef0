//! Frames in and out of an interface as they are (AF_PACKET): hosts that answer as no kernel does.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendmmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::network::{index, set_option};

/// Frames that are handed to the kernel by one call.
pub const BURST: usize = 64;

/// A socket on an interface of the calling thread's namespace.
pub struct Frames {
    fd: OwnedFd,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Frames {
    /// Opens it. With `receives` it gets what arrives at the interface and what leaves from it.
    pub fn open(interface: &str, receives: bool) -> Self {
        // Without a protocol a socket receives nothing.
        let fd =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("CAP_NET_RAW");
        let protocol = if receives { SockProtocol::EthAll as i32 as u16 } else { 0 };
        bind(&fd, index(interface), protocol).expect("the interface");
        // Frames go to the driver at once.
        set_option(&fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1_i32);
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(0, 50_000)).expect("a timeout");
        Self { fd, headers: MultiHeaders::preallocate(BURST, None) }
    }

    /// Sends at most [`BURST`] frames. Returns how many the driver has accepted.
    pub fn send(&mut self, frames: &[impl AsRef<[u8]>]) -> usize {
        let slices: Vec<[io::IoSlice<'_>; 1]> =
            frames.iter().map(|frame| [io::IoSlice::new(frame.as_ref())]).collect();
        let sent = sendmmsg(
            self.fd.as_raw_fd(),
            &mut self.headers,
            &slices,
            vec![None; frames.len()],
            [],
            MsgFlags::empty(),
        );
        sent.map_or(0, Iterator::count)
    }

    /// The next frame, or `None` if none comes within 50 ms.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let len = recv(self.fd.as_raw_fd(), buffer, MsgFlags::empty()).ok()?;
        Some(&buffer[..len])
    }

    /// How much of what is received may wait.
    pub fn keep(&self, received: Duration, rate_pps: u32) {
        let bytes = received.as_secs_f64() * f64::from(rate_pps) * 1_024.0;
        setsockopt(&self.fd, sockopt::RcvBufForce, &(bytes as usize)).expect("CAP_NET_ADMIN");
    }
}

fn bind(fd: &OwnedFd, ifindex: u32, protocol: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    #[expect(unsafe_code, reason = "nix makes no such address")]
    // SAFETY: the kernel reads `len` bytes of `address`, which outlives the call.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
