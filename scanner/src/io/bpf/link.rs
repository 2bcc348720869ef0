//! The `bpf_link` that holds a program on an interface.
//!
//! It is made by a direct system call. aya answers EINVAL by attaching over netlink instead, and a program that is
//! attached this way would outlive a killed process.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use zerocopy::{Immutable, IntoBytes};

/// How an XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver, before the kernel makes an skb of the frame.
    Native,
    /// In the kernel's stack, behind any driver: slower.
    Generic,
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// The head of `union bpf_attr` for `BPF_LINK_CREATE`; the kernel takes the rest as zero.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Attaches a loaded program; closing the returned descriptor detaches it.
///
/// # Errors
/// The errno of `BPF_LINK_CREATE`, unchanged.
pub(super) fn create(program: BorrowedFd<'_>, ifindex: u32, mode: AttachMode) -> io::Result<OwnedFd> {
    let attr = LinkCreate {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags: match mode {
            AttachMode::Native => XDP_FLAGS_DRV_MODE,
            AttachMode::Generic => XDP_FLAGS_SKB_MODE,
        },
    };
    #[expect(unsafe_code, reason = "neither libc nor nix wraps bpf(2)")]
    // SAFETY: the kernel reads `size_of` bytes of `attr`, which outlives the call, and keeps no pointer to it.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attr, size_of::<LinkCreate>()) };
    let Ok(fd @ 0..) = i32::try_from(fd) else { return Err(io::Error::last_os_error()) };
    #[expect(unsafe_code, reason = "a raw descriptor gets its owner")]
    // SAFETY: the call succeeded, so this is a descriptor that it opened for us and that nothing else uses.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
