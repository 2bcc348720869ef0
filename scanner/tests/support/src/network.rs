//! A network namespace for the calling thread, and an AF_XDP socket in it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use lab::tools::tool;
use nix::sched::{CloneFlags, unshare};

/// Moves the calling thread, and what it starts from now on, into a new network namespace. Threads of the test
/// harness end with their test, and the namespace with everything in it ends with the thread.
pub fn enter_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
    ip("link set lo up");
}

/// Runs `ip` in the namespace of the calling thread.
pub fn ip(arguments: &str) -> String {
    let output = tool("ip").args(arguments.split(' ')).output().expect("iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes a veth pair `left` and `right`, both up, and returns the index of `left`.
pub fn veth_pair() -> u32 {
    ip("link add left type veth peer name right");
    ip("link set left up");
    ip("link set right up");
    index("left")
}

/// The number of an interface in the namespace of the calling thread.
pub fn index(interface: &str) -> u32 {
    nix::net::if_::if_nametoindex(interface).expect("the interface")
}

const FRAMES: usize = 16;
const FRAME_LEN: usize = 4_096;
const UMEM_LEN: usize = FRAMES * FRAME_LEN;

/// A bound AF_XDP socket in copy mode that is not read.
pub struct Socket {
    fd: OwnedFd,
    umem: *mut libc::c_void,
}

impl Socket {
    /// A socket on a queue of an interface.
    pub fn bind(ifindex: u32, queue: u32) -> Self {
        let fd = open();
        let socket = Self { fd, umem: map_umem() };
        let registration = libc::xdp_umem_reg {
            addr: socket.umem as u64,
            len: UMEM_LEN as u64,
            chunk_size: FRAME_LEN as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set_option(&socket.fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &registration);
        for ring in [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_RX_RING] {
            set_option(&socket.fd, libc::SOL_XDP, ring, &(FRAMES as u32));
        }
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: libc::XDP_COPY,
            sxdp_ifindex: ifindex,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        // The kernel frees a closed socket's queue a moment after the close.
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(error) = bind(&socket.fd, &address) {
            let busy = error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline;
            assert!(busy, "bind: {error}");
            std::thread::sleep(Duration::from_millis(5));
        }
        socket
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "gives back what `map_umem` mapped")]
        // SAFETY: the mapping is ours, has this length, and nothing borrows from it; the kernel holds its pages itself.
        let result = unsafe { libc::munmap(self.umem, UMEM_LEN) };
        assert_eq!(result, 0, "munmap: {}", io::Error::last_os_error());
    }
}

fn open() -> OwnedFd {
    #[expect(unsafe_code, reason = "nix knows no AF_XDP family")]
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "socket: {}", io::Error::last_os_error());
    #[expect(unsafe_code, reason = "a raw descriptor gets its owner")]
    // SAFETY: just opened, and nothing else knows it.
    unsafe {
        OwnedFd::from_raw_fd(fd)
    }
}

fn bind(fd: &OwnedFd, address: &libc::sockaddr_xdp) -> io::Result<()> {
    let len = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
    #[expect(unsafe_code, reason = "nix knows no AF_XDP address")]
    // SAFETY: the kernel reads `len` bytes of `address`, which outlives the call.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const *address).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn map_umem() -> *mut libc::c_void {
    #[expect(unsafe_code, reason = "a UMEM must be page-aligned and outlive the socket's use")]
    // SAFETY: a new anonymous mapping, at an address of the kernel's choice.
    let umem = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            UMEM_LEN,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(umem, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
    umem
}

pub(crate) fn set_option<T>(fd: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) {
    #[expect(unsafe_code, reason = "nix knows no options of AF_XDP and few of AF_PACKET")]
    // SAFETY: the kernel reads `size_of` bytes of `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "setsockopt {option}: {}", io::Error::last_os_error());
}
