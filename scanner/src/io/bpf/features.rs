//! What a driver does of XDP, as the kernel tells it (6.3 and later; the `netdev` family of generic netlink), through
//! libbpf.

use std::io;

/// What a driver does of XDP: `enum netdev_xdp_act` of `linux/netdev.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    flags: u64,
}

impl Features {
    /// Those with these bits.
    pub const fn new(flags: u64) -> Self {
        Self { flags }
    }

    /// Those of the interface with this index. A kernel before 6.3 tells none of any driver.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn of(ifindex: u32) -> io::Result<Self> {
        let mut options = libbpf_sys::bpf_xdp_query_opts {
            sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        let index = i32::try_from(ifindex).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
        #[expect(unsafe_code, reason = "libbpf is C")]
        // SAFETY: no callback is set, so libbpf keeps no pointer; it would print on stderr otherwise.
        unsafe {
            libbpf_sys::libbpf_set_print(None)
        };
        #[expect(unsafe_code, reason = "libbpf is C")]
        // SAFETY: the structure says how long it is, and outlives the call.
        let status = unsafe { libbpf_sys::bpf_xdp_query(index, 0, &raw mut options) };
        match status {
            0 => Ok(Self::new(options.feature_flags)),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }

    /// The driver runs programs itself.
    pub fn native(self) -> bool {
        self.has(0)
    }

    /// Its own frames may be redirected to another interface or socket.
    pub fn redirect(self) -> bool {
        self.has(1)
    }

    /// It transmits frames that are redirected to it, as live frames are.
    pub fn redirect_target(self) -> bool {
        self.has(2)
    }

    /// It reads and writes the memory of AF_XDP sockets itself.
    pub fn zero_copy(self) -> bool {
        self.has(3)
    }

    /// It receives frames of several buffers under XDP.
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
        let features = Features::new(0b10_1101);
        assert!(features.native() && !features.redirect() && features.redirect_target());
        assert!(features.zero_copy() && features.multi_buffer());
        assert_eq!(Features::of(u32::MAX).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }

    /// The loopback interface runs no program itself.
    #[test]
    fn loopback() {
        assert!(!Features::of(1).unwrap().native());
    }
}
