//! The descriptors of the RX and the TX ring: `struct xdp_desc`, one type to read and one to write. The other two rings
//! hold addresses.

use rustix::net::xdp::XdpDesc;
use zerocopy::FromBytes;

use crate::umem::TxFrame;

/// An RX descriptor: `struct xdp_desc`.
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct RxDescriptor {
    /// Where the packet starts in UMEM.
    pub(crate) address: u64,
    /// Bytes of the packet.
    pub(crate) len: u32,
    _options: u32,
}

/// An entry of the TX ring: which frame is sent, and how much of it (`struct xdp_desc` in `linux/if_xdp.h`).
///
/// A descriptor is only information. It does not give access to its frame; a [`TxFrame`] does.
// Address in the first word, length and options in the second, so that it takes two stores to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub struct TxDescriptor {
    address: u64,
    len_and_options: u64,
}

const _: () = assert!(size_of::<RxDescriptor>() == size_of::<XdpDesc>());
const _: () = assert!(size_of::<TxDescriptor>() == size_of::<XdpDesc>());
const _: () = assert!(
    std::mem::offset_of!(XdpDesc, addr) == 0
        && std::mem::offset_of!(XdpDesc, len) == 8
        && std::mem::offset_of!(XdpDesc, options) == 12
);

impl RxDescriptor {
    /// The descriptor of a packet of `len` bytes, as the kernel would write it.
    pub(crate) fn new(address: u64, len: u32) -> Self {
        Self { address, len, _options: 0 }
    }
}

impl TxDescriptor {
    /// The descriptor that sends `len` bytes of this frame, which is given up for it.
    #[inline]
    pub(crate) fn new(frame: TxFrame, len: u32) -> Self {
        let (len, options) = (len.to_ne_bytes(), [0; 4]);
        let [a, b, c, d] = len;
        let [e, f, g, h] = options;
        Self { address: frame.into_address(), len_and_options: u64::from_ne_bytes([a, b, c, d, e, f, g, h]) }
    }

    /// Where its frame starts in UMEM, in bytes.
    #[inline]
    pub fn address(self) -> u64 {
        self.address
    }

    /// How many bytes of the frame are sent.
    #[inline]
    pub fn frame_len(self) -> u32 {
        let [a, b, c, d, ..] = self.len_and_options.to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }
}
