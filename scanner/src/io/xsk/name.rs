//! An interface's name as libxdp reads it.

use std::ffi::c_char;

/// A name and zeros: libxdp copies all of `IFNAMSIZ` bytes but the last, however short the name is (`xsk.c`).
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceName([u8; libc::IFNAMSIZ]);

impl DeviceName {
    /// The kernel has no longer names than fit; what does not is cut off, and names no interface.
    pub(super) fn new(name: &str) -> Self {
        let mut bytes = [0; libc::IFNAMSIZ];
        let len = name.len().min(libc::IFNAMSIZ - 1);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        Self(bytes)
    }

    /// Where `IFNAMSIZ` bytes can be read.
    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_zeros_to_the_end() {
        for (name, kept) in [
            ("lo", "lo"),
            ("enp0s31f6", "enp0s31f6"),
            ("fifteen-letters", "fifteen-letters"),
            ("sixteen-letters-", "sixteen-letters"),
        ] {
            let bytes = DeviceName::new(name).0;
            assert_eq!(bytes.len(), 16);
            assert_eq!(&bytes[..kept.len()], kept.as_bytes());
            assert!(bytes[kept.len()..].iter().all(|&byte| byte == 0), "{bytes:?}");
        }
    }
}
