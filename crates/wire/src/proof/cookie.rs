//! The keyed hash that ties a reply to a probe.
//!
//! Owns the definition of the cookie: SipHash-1-3 over both addresses, the destination port, the protocol and a
//! version, and how its 64 bits are spread over a probe. The XDP program computes the same cookie
//! (`xdp-prog/abi.h` states it once for both); a property test holds the two together.
//!
//! SipHash: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012; 1 compression and 3
//! finalisation rounds.

use std::fmt;

use simd::{Lane, Pair, Quad, Word};

/// Version of the cookie's input and layout; it is part of the input (`XDPMAP_COOKIE_VERSION` in `abi.h`).
pub const VERSION: u8 = 2;

/// The secret of one scan: anyone with the key can forge replies to it.
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

    /// SipHash's state before any input.
    #[inline(always)]
    fn state(self) -> [u64; 4] {
        [
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        ]
    }

    /// The state after the part of the first round that does not depend on the input. The XDP program starts from here.
    #[inline(always)]
    pub fn begun_state(self) -> [u64; 4] {
        let [v0, v1, v2, v3] = self.state();
        let sum = v0.wrapping_add(v1);
        [sum.rotate_left(32), v1.rotate_left(13) ^ sum, v2, v3]
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
    /// Its halves.
    #[inline(always)]
    pub fn halves(self) -> Halves<u32> {
        Halves { low: self.0 as u32, high: (self.0 >> 32) as u32 }
    }

    /// TCP sequence number of the probe.
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        self.halves().sequence()
    }

    /// Acknowledgement number of a probe that is a SYN-ACK.
    #[inline(always)]
    pub fn acknowledgement(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Identifier of an echo request.
    #[inline(always)]
    pub fn echo_id(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Sequence number of the echo request that is copy number `probe`.
    #[inline(always)]
    pub fn echo_sequence(self, probe: u32) -> u16 {
        (self.0 as u16).wrapping_add(probe as u16)
    }

    /// 16 bits for a field of the payload: a transaction's number, or the inner identification of IP in IP.
    #[inline(always)]
    pub fn payload_bits(self) -> u16 {
        self.0 as u16
    }

    /// IP identification of the probe.
    #[inline(always)]
    pub fn ip_id(self) -> u16 {
        (self.halves().ip_id_above() >> 16) as u16
    }
}

/// The halves of a cookie, or of several at once, and the header fields that they fill.
#[derive(Clone, Copy, Debug)]
pub struct Halves<L> {
    /// The lower half.
    pub low: L,
    /// The upper half.
    pub high: L,
}

impl<L: Lane> Halves<L> {
    /// TCP sequence number of the probe.
    #[inline(always)]
    pub fn sequence(self) -> L {
        self.low
    }

    /// IP identification of the probe, in the upper half.
    #[inline(always)]
    pub fn ip_id_above(self) -> L {
        self.high.and(L::of(0xffff << 16))
    }

    /// 16 bits that choose the source port; see [`PortRange::source_ports`].
    #[inline(always)]
    fn port_bits(self) -> L {
        self.high.and(L::of(0xffff))
    }

    /// Identifier and sequence number of the echo request that is copy number `copy`.
    #[inline(always)]
    pub fn echo(self, copy: L) -> L {
        let (upper, lower) = (L::of(0xffff << 16), L::of(0xffff));
        self.low.and(upper).or(self.low.plus(copy).and(lower))
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
    /// The position in the range that copy 0 of a target's probe leaves from.
    #[inline(always)]
    fn base<L: Lane>(self, cookies: Halves<L>) -> L {
        cookies.port_bits().scaled(self.count)
    }

    /// Source port of copy number `probe` (below `count`) of a target's probe.
    #[inline(always)]
    pub fn source_port(self, cookie: Cookie, probe: u32) -> u16 {
        self.source_ports(cookie.halves(), Some(probe)) as u16
    }

    /// The same for one probe or several at once. `None` means copies 0, which leave from the base port itself.
    #[inline(always)]
    pub fn source_ports<L: Lane>(self, cookies: Halves<L>, copies: Option<L>) -> L {
        let base = self.base(cookies);
        let offset = copies.map_or(base, |copies| base.plus(copies).wrapped_at(self.count));
        L::of(self.first.into()).plus(offset)
    }

    /// Whether `port` is in the range.
    #[inline]
    pub fn contains(self, port: u16) -> bool {
        u32::from(port).wrapping_sub(u32::from(self.first)) < self.count
    }

    /// Which of `probes` copies left from `port`, if any did.
    #[inline]
    pub fn probe_number(self, cookie: Cookie, port: u16, probes: u32) -> Option<u8> {
        let offset = u32::from(port).wrapping_sub(u32::from(self.first));
        if offset >= self.count {
            return None;
        }
        let base = self.base(cookie.halves());
        let number = if offset >= base { offset - base } else { offset + self.count - base };
        (number < probes).then_some(number as u8)
    }
}

/// The cookie of a probe from `source` to `target:port` over IP protocol `protocol` (IPv4 addresses as numbers). It has
/// no branches, so a loop over many can be vectorised.
#[inline(always)]
pub fn cookie(key: Key, source: u32, target: u32, port: u16, protocol: u8) -> Cookie {
    let addresses = u64::from(source) << 32 | u64::from(target);
    Cookie(siphash13(key, addresses, LEN | u64::from(rest(port, protocol))))
}

/// Computes the cookies of four probes at once, the same as [`cookie`]. Faster than [`cookie`] on x86-64 processors
/// that have only SSE2.
#[derive(Clone, Copy, Debug)]
pub struct QuadCookies {
    begun: [Pair; 4],
    rest: Quad,
    port_mask: Quad,
}

impl QuadCookies {
    /// Prepares the computation with `key`; `port_mask` selects the bits of ports that count.
    #[inline(always)]
    pub fn new(key: Key, protocol: u8, port_mask: u16) -> Self {
        Self {
            begun: key.begun_state().map(Pair::of),
            rest: Quad::of(rest(0, protocol)),
            port_mask: Quad::of(port_mask.into()),
        }
    }

    /// The cookies of the probes from `sources` to `targets` on `ports`.
    #[inline(always)]
    pub fn make(&self, sources: Quad, targets: Quad, ports: Quad) -> Halves<Quad> {
        let words = Pair::from_halves(targets, sources);
        let rest = ports.and(self.port_mask).or(self.rest);
        let last = Pair::from_halves(rest, Quad::of((LEN >> 32) as u32));
        let [low, high] = Pair::halves([
            siphash13_begun(self.begun, words[0], last[0]),
            siphash13_begun(self.begun, words[1], last[1]),
        ]);
        Halves { low, high }
    }
}

/// The part of a cookie's input behind the addresses.
#[inline(always)]
fn rest(port: u16, protocol: u8) -> u32 {
    u32::from(VERSION) << 24 | u32::from(protocol) << 16 | u32::from(port)
}

/// The length of the input, in the place where SipHash's last block has it.
const LEN: u64 = 12 << 56;

/// SipHash-1-3 of 12 bytes: `word` are the first 8 in little-endian order, `last` the other 4 and [`LEN`]. An input of
/// 12 bytes costs a round less than one of 16.
#[inline(always)]
fn siphash13<W: Word>(key: Key, word: W, last: W) -> W {
    siphash13_begun(key.begun_state().map(W::of), word, last)
}

/// The same, from [`Key::begun_state`].
#[inline(always)]
fn siphash13_begun<W: Word>([v0, v1, v2, v3]: [W; 4], word: W, last: W) -> W {
    let mut v = sip_round_end([v0, v1, v2, v3.xor(word)]);
    v[0] = v[0].xor(word);
    v[3] = v[3].xor(last);
    v = sip_round(v);
    v[0] = v[0].xor(last);
    v[2] = v[2].xor(W::of(0xff));
    let [v0, v1, v2, v3] = sip_round(sip_round(sip_round(v)));
    v0.xor(v1).xor(v2).xor(v3)
}

#[inline(always)]
fn sip_round<W: Word>([v0, v1, v2, v3]: [W; 4]) -> [W; 4] {
    let v0 = v0.plus(v1);
    let v1 = v1.rotated(13).xor(v0);
    sip_round_end([v0.rotated(32), v1, v2, v3])
}

/// The rest of a round, after the part that does not depend on the input.
#[inline(always)]
fn sip_round_end<W: Word>([v0, v1, v2, v3]: [W; 4]) -> [W; 4] {
    let v2 = v2.plus(v3);
    let v3 = v3.rotated(16).xor(v2);
    let v2 = v2.plus(v1);
    let v0 = v0.plus(v3);
    let v1 = v1.rotated(17).xor(v2);
    let v3 = v3.rotated(21).xor(v0);
    [v0, v1, v2.rotated(32), v3]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;
    use std::hash::Hasher;

    proptest! {
        /// Our variant for 12 bytes equals the published SipHash-1-3.
        #[test]
        fn agrees_with_siphasher(k0: u64, k1: u64, word: u64, rest: u32) {
            let mut oracle = SipHasher13::new_with_keys(k0, k1);
            oracle.write(&word.to_le_bytes());
            oracle.write(&rest.to_le_bytes());
            prop_assert_eq!(siphash13(Key { k0, k1 }, word, LEN | u64::from(rest)), oracle.finish());
        }

        #[test]
        fn quads_are_four_cookies(k0: u64, k1: u64, sources: [u32; 4], targets: [u32; 4], ports: [u16; 4], protocol: u8) {
            let key = Key { k0, k1 };
            let each = [0, 1, 2, 3].map(|i| cookie(key, sources[i], targets[i], ports[i], protocol).halves());
            let [quad_sources, quad_targets, quad_ports] =
                [sources, targets, ports.map(u32::from)].map(Quad::from_numbers);
            let quad = QuadCookies::new(key, protocol, u16::MAX).make(quad_sources, quad_targets, quad_ports);
            prop_assert_eq!(quad.low.numbers(), each.map(|halves| halves.low));
            prop_assert_eq!(quad.high.numbers(), each.map(|halves| halves.high));
        }

        /// The fields of an echo request are the same whichever way they are computed.
        #[test]
        fn echo_is_identifier_and_sequence(bits: u64, copy in 0u32..70_000) {
            let (cookie, words) = (Cookie(bits), Cookie(bits).halves().echo(copy));
            prop_assert_eq!(words, u32::from(cookie.echo_id()) << 16 | u32::from(cookie.echo_sequence(copy)));
        }

        /// A reply to copy k names k; a port outside the copies' ports names none.
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

    /// Frozen: a scan's checkpoint and a second receiver depend on these values.
    #[test]
    fn golden() {
        let key = Key::from_bytes(*b"0123456789abcdef");
        let cookie = cookie(key, 0xc612_0001, 0xc612_8002, 443, 6);
        assert_eq!(cookie, Cookie(9_777_493_572_692_691_575));
    }
}
