//! The XDP features of a driver, as the kernel reports them (6.3 and later; the `netdev` family of generic netlink).

use std::io;

use super::generic_netlink::{self, Attributes};

// `linux/netdev.h`
const FAMILY: &str = "netdev";
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// The XDP features of a driver: `enum netdev_xdp_act` of `linux/netdev.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpFeatures {
    flags: u64,
}

impl XdpFeatures {
    /// The features with these bits.
    pub const fn new(flags: u64) -> Self {
        Self { flags }
    }

    /// The features of the interface with this index. A kernel before 6.3 reports none for any driver.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn of(ifindex: u32) -> io::Result<Self> {
        Self::from_answer(generic_netlink::get(
            FAMILY,
            NETDEV_CMD_DEV_GET,
            (NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes()),
        ))
    }

    fn from_answer(answer: io::Result<Attributes>) -> io::Result<Self> {
        match answer {
            Ok(device) => {
                Ok(Self::new(device.bytes(NETDEV_A_DEV_XDP_FEATURES).map_or(0, u64::from_ne_bytes)))
            }
            // The family does not exist.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Whether the driver runs programs itself.
    pub fn native(self) -> bool {
        self.has(0)
    }

    /// Whether its frames may be redirected to another interface or socket.
    pub fn redirect(self) -> bool {
        self.has(1)
    }

    /// Whether it transmits frames that are redirected to it, such as live frames.
    pub fn redirect_target(self) -> bool {
        self.has(2)
    }

    /// Whether it reads and writes the memory of AF_XDP sockets itself.
    pub fn zero_copy(self) -> bool {
        self.has(3)
    }

    /// Whether it receives frames of several buffers under XDP.
    pub fn multi_buffer(self) -> bool {
        self.has(5)
    }

    fn has(self, bit: u32) -> bool {
        self.flags >> bit & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits() {
        let features = XdpFeatures::new(0b10_1101);
        assert!(features.native() && !features.redirect() && features.redirect_target());
        assert!(features.zero_copy() && features.multi_buffer());
        assert_eq!(XdpFeatures::of(u32::MAX).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }

    /// A kernel before 6.3, which has no such family, reports no feature.
    #[test]
    fn kernels_without_the_family() {
        let answer =
            generic_netlink::get("no-such-family", NETDEV_CMD_DEV_GET, (NETDEV_A_DEV_IFINDEX, &[1, 0, 0, 0]));
        assert_eq!(XdpFeatures::from_answer(answer).unwrap(), XdpFeatures::default());
    }

    /// The loopback interface runs no program itself.
    #[test]
    fn loopback() {
        assert!(!XdpFeatures::of(1).unwrap().native());
    }
}
