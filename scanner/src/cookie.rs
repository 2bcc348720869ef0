//! The keyed hash that ties a reply to a probe.
//!
//! Owns the definition of the cookie: SipHash-1-3 over both addresses, the destination port, the protocol and a
//! version, and how its 64 bits are spread over a TCP probe. The XDP program computes the same cookie
//! (`xdp-prog/abi.h` states it once for both); a property test holds the two together.
//!
//! SipHash: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012; 1 compression and 3
//! finalisation rounds.

use std::fmt;

/// Version of the cookie's input and layout; part of the input (`XDPMAP_COOKIE_VERSION` in `abi.h`).
pub const VERSION: u8 = 1;

/// The secret of one scan: whoever knows it can forge replies to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// First half of the SipHash key.
    pub k0: u64,
    /// Second half of the SipHash key.
    pub k1: u64,
}

impl Key {
    /// The key given by 16 bytes, as SipHash reads them (little endian).
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let word = u128::from_le_bytes(bytes);
        Self { k0: word as u64, k1: (word >> 64) as u64 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// The 64 bits of one probe's cookie and the fields they fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(pub u64);

impl Cookie {
    /// TCP sequence number of the probe.
    #[inline]
    pub fn sequence(self) -> u32 {
        self.0 as u32
    }

    /// 16 bits that choose the source port; see [`PortRange::source_port`].
    #[inline]
    pub fn port_bits(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// IP identification of the probe.
    #[inline]
    pub fn ip_id(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// The source ports of a scan: `count` of them from `first` on, without wrapping past 65,535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First source port.
    pub first: u16,
    /// How many, 1 to 65,536.
    pub count: u32,
}

impl PortRange {
    /// Where in the range probe 0 of a target leaves from.
    #[inline]
    fn base(self, cookie: Cookie) -> u32 {
        (u32::from(cookie.port_bits()).wrapping_mul(self.count)) >> 16
    }

    /// Source port of copy number `probe` (below `count`) of a target's probe.
    #[inline]
    pub fn source_port(self, cookie: Cookie, probe: u32) -> u16 {
        let offset = self.base(cookie) + probe;
        let wrapped = if offset >= self.count { offset - self.count } else { offset };
        (u32::from(self.first) + wrapped) as u16
    }

    /// Which of `probes` copies left from `port`, if any did.
    #[inline]
    pub fn probe_number(self, cookie: Cookie, port: u16, probes: u32) -> Option<u8> {
        let offset = u32::from(port).wrapping_sub(u32::from(self.first));
        if offset >= self.count {
            return None;
        }
        let base = self.base(cookie);
        let number = if offset >= base { offset - base } else { offset + self.count - base };
        (number < probes).then_some(number as u8)
    }
}

/// The cookie of a probe from `source` to `target:port` over IP protocol `protocol` (IPv4 addresses as numbers).
#[inline]
pub fn cookie(key: Key, source: u32, target: u32, port: u16, protocol: u8) -> Cookie {
    let addresses = u64::from(source) << 32 | u64::from(target);
    let rest = u64::from(VERSION) << 24 | u64::from(protocol) << 16 | u64::from(port);
    Cookie(siphash13(key, addresses, rest))
}

/// Cookies that [`cookies`] computes side by side: enough to keep the processor busy while each waits for itself.
pub const LANES: usize = 4;

/// The cookies of [`LANES`] probes at once; entry by entry the same as [`cookie`].
#[inline]
pub fn cookies(
    key: Key,
    sources: &[u32; LANES],
    targets: &[u32; LANES],
    ports: &[u16; LANES],
    protocol: u8,
) -> [Cookie; LANES] {
    let addresses = std::array::from_fn(|i| u64::from(sources[i]) << 32 | u64::from(targets[i]));
    let constant = u64::from(VERSION) << 24 | u64::from(protocol) << 16;
    let rest = std::array::from_fn(|i| constant | u64::from(ports[i]));
    siphash13_lanes(key, addresses, rest).map(Cookie)
}

/// SipHash-1-3 of the 16 bytes that `word0` and `word1` make in little-endian order.
#[inline]
fn siphash13(key: Key, word0: u64, word1: u64) -> u64 {
    let [hash] = siphash13_lanes(key, [word0], [word1]);
    hash
}

/// SipHash-1-3 of `N` messages, each step for all of them before the next: the compiler makes vectors of it.
#[inline]
fn siphash13_lanes<const N: usize>(key: Key, word0: [u64; N], word1: [u64; N]) -> [u64; N] {
    let mut v = [
        [key.k0 ^ 0x736f_6d65_7073_6575; N],
        [key.k1 ^ 0x646f_7261_6e64_6f6d; N],
        [key.k0 ^ 0x6c79_6765_6e65_7261; N],
        [key.k1 ^ 0x7465_6462_7974_6573; N],
    ];
    const LENGTH_BLOCK: u64 = 16 << 56;
    for word in [word0, word1, [LENGTH_BLOCK; N]] {
        for i in 0..N {
            v[3][i] ^= word[i];
        }
        sip_round(&mut v);
        for i in 0..N {
            v[0][i] ^= word[i];
        }
    }
    for lane in &mut v[2] {
        *lane ^= 0xff;
    }
    sip_round(&mut v);
    sip_round(&mut v);
    sip_round(&mut v);
    std::array::from_fn(|i| v[0][i] ^ v[1][i] ^ v[2][i] ^ v[3][i])
}

#[inline]
fn sip_round<const N: usize>(v: &mut [[u64; N]; 4]) {
    let [v0, v1, v2, v3] = v;
    for i in 0..N {
        v0[i] = v0[i].wrapping_add(v1[i]);
        v2[i] = v2[i].wrapping_add(v3[i]);
        v1[i] = v1[i].rotate_left(13) ^ v0[i];
        v3[i] = v3[i].rotate_left(16) ^ v2[i];
        v0[i] = v0[i].rotate_left(32);
        v2[i] = v2[i].wrapping_add(v1[i]);
        v0[i] = v0[i].wrapping_add(v3[i]);
        v1[i] = v1[i].rotate_left(17) ^ v2[i];
        v3[i] = v3[i].rotate_left(21) ^ v0[i];
        v2[i] = v2[i].rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;
    use std::hash::Hasher;

    proptest! {
        /// Our two-word form is the published SipHash-1-3.
        #[test]
        fn agrees_with_siphasher(k0: u64, k1: u64, word0: u64, word1: u64) {
            let mut oracle = SipHasher13::new_with_keys(k0, k1);
            oracle.write(&word0.to_le_bytes());
            oracle.write(&word1.to_le_bytes());
            prop_assert_eq!(siphash13(Key { k0, k1 }, word0, word1), oracle.finish());
        }

        /// Side by side or one by one, a cookie is the same.
        #[test]
        fn lanes_agree(k0: u64, k1: u64, sources: [u32; LANES], targets: [u32; LANES], ports: [u16; LANES]) {
            let key = Key { k0, k1 };
            let together = cookies(key, &sources, &targets, &ports, 6);
            for i in 0..LANES {
                prop_assert_eq!(together[i], cookie(key, sources[i], targets[i], ports[i], 6));
            }
        }

        /// A reply to copy k names k; a port outside the copies' names none.
        #[test]
        fn port_tells_the_copy(bits: u64, first: u16, count in 1u32..=65_536, probes in 1u32..=200) {
            let count = count.min(65_536 - u32::from(first));
            let probes = probes.min(count);
            let range = PortRange { first, count };
            let cookie = Cookie(bits);
            let mut ours = vec![];
            for probe in 0..probes {
                let port = range.source_port(cookie, probe);
                prop_assert_eq!(range.probe_number(cookie, port, probes), Some(probe as u8));
                ours.push(port);
            }
            for port in [0, 1, first.wrapping_sub(1), first, (u32::from(first) + count - 1) as u16, 65_535] {
                prop_assert_eq!(range.probe_number(cookie, port, probes).is_some(), ours.contains(&port));
            }
        }
    }

    /// Frozen: a scan's checkpoint and a second receiver rely on these values.
    #[test]
    fn golden() {
        let key = Key::from_bytes(*b"0123456789abcdef");
        let cookie = cookie(key, 0xc612_0001, 0xc612_8002, 443, 6);
        assert_eq!(cookie, Cookie(3_300_931_832_996_461_589));
    }
}
