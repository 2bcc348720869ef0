//! Shared code for sockets of several kinds: options, and how a packet socket is made.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A type for which all bytes that the kernel may write are a valid value.
pub(super) trait Plain: Copy + Default {}
impl Plain for libc::c_int {}

/// Sets an option.
pub(super) fn set<T>(fd: RawFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let (value, len) = (std::ptr::from_ref(value), size_of::<T>() as libc::socklen_t);
    // SAFETY: the value is valid for the length given, and the kernel only reads it.
    let status = unsafe { libc::setsockopt(fd, level, option, value.cast(), len) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The value of an option, if the kernel returns all of it.
pub(super) fn get<T: Plain>(fd: RawFd, level: libc::c_int, option: libc::c_int) -> Option<T> {
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the buffer is valid for the length given, and any bytes in it are a value.
    let status = unsafe { libc::getsockopt(fd, level, option, (&raw mut value).cast(), &raw mut len) };
    (status == 0 && len as usize == size_of::<T>()).then_some(value)
}

/// A packet socket of this kind, with the flags that are in it. It receives nothing before it is bound, in particular
/// not from other interfaces.
pub(super) fn packet_socket(kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call takes three numbers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so this is a descriptor that it opened for us and that nothing else uses.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds a packet socket: it then sends to the interface with this index, and receives packets of this protocol
/// (`ETH_P_...`).
pub(super) fn bind_packet(socket: &OwnedFd, ifindex: u32, protocol: libc::c_int) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `address`, which outlives the call.
    let status = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
