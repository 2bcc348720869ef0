//! Where a statically linked program looks up host names.
//!
//! `/etc/nsswitch.conf` names the sources, and glibc loads a shared library for each except `files` and `dns`, which
//! are built in since 2.34. A library that was built for another glibc can crash a static program (seen: SIGFPE on
//! Debian 13 in a program linked on Debian 12), so a static program loads none.

/// In a static program, makes look-ups use `/etc/hosts` and DNS only. Call it before the first look-up.
pub fn settle() {
    #[cfg(target_env = "gnu")]
    if cfg!(target_feature = "crt-static") {
        use_built_in_sources();
    }
}

/// Returns false if there is no memory for it.
#[cfg(target_env = "gnu")]
fn use_built_in_sources() -> bool {
    use std::ffi::{c_char, c_int};
    #[expect(unsafe_code, reason = "a call of glibc's that no crate has")]
    // SAFETY: this is its declaration in <nss.h>.
    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, sources: *const c_char) -> c_int;
    }
    #[expect(unsafe_code, reason = "a call of glibc's that no crate has")]
    // SAFETY: both are C strings, of which glibc keeps a copy.
    let status = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    status == 0
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

    /// The sources exist, and resolve a name that every host has.
    #[test]
    fn built_in_sources() {
        assert!(use_built_in_sources());
        let mut found = ("localhost", 0).to_socket_addrs().unwrap();
        assert!(found.any(|address| address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
