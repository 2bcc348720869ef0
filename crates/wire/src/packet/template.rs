//! A frame that holds everything of a probe except for the fields that differ from target to target.
//!
//! A template's changing fields (source and destination address, the first 8 bytes of the transport header, IP
//! identification, both checksums) are zero in it. The sums of its constant parts are computed once, when it is made; a
//! probe is then completed by a few additions and a few stores. If the payloads differ as well, the template ends with
//! room for the longest *tail*, and lengths are among the changing fields.

use simd::Lane;

use super::patch::Fields;
use super::vlan::VlanTags;
use super::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ICMP_LEN, IPV4_LEN, LinkHeader, MacAddr, PROTOCOL_ICMP, PROTOCOL_IPIP,
    PROTOCOL_TCP, PROTOCOL_UDP, Patch, PatchBatch, TCP_LEN, UDP_LEN, checksum,
};

/// The offsets of the changing fields in a template's frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Offset of the IPv4 header, which has no options.
    pub ip: usize,
    /// Offset of the checksum from the end of the IPv4 header.
    pub l4_checksum: usize,
    /// Offset of the tail in the frame, if frames have one.
    pub tail: Option<usize>,
}

impl Layout {
    /// Offset of the transport header.
    #[inline]
    pub fn l4(self) -> usize {
        self.ip + IPV4_LEN
    }

    /// Writes entry `i` of `patches` into `frame`, which holds a copy of the template. A tail is left unchanged.
    #[inline]
    pub fn patch(self, frame: &mut [u8], patches: &PatchBatch, i: usize) {
        const SHORTEST: usize = IPV4_LEN + UDP_LEN;
        let headers = &mut frame[self.ip..self.ip + SHORTEST];
        headers[4..12].copy_from_slice(&patches.ip_words[i].to_ne_bytes());
        headers[12..20].copy_from_slice(&patches.addresses[i].to_ne_bytes());
        headers[20..28].copy_from_slice(&patches.l4_words[i].to_ne_bytes());
        let at = self.l4() + self.l4_checksum;
        frame[at..at + 2].copy_from_slice(&patches.l4_checksums[i].to_ne_bytes());
    }

    /// Writes entry `i` of `patches` and its tail into `frame`, and returns the length of the frame.
    #[inline]
    pub fn patch_with_tail(self, frame: &mut [u8], patches: &PatchBatch, i: usize, at: usize) -> usize {
        let tail = patches.tails.get(i);
        let end = at + tail.len();
        frame[at..end].copy_from_slice(tail);
        self.patch(frame, patches, i); // after the tail, which may contain the checksum
        frame[self.ip + 2..self.ip + 4].copy_from_slice(&((end - self.ip) as u16).to_be_bytes());
        end
    }

    /// Writes entry `i` of `patches` into `frame`, which holds a copy of `template`, and returns its length.
    #[inline]
    pub fn finish(self, frame: &mut [u8], patches: &PatchBatch, i: usize) -> usize {
        patches.write_next_hop(frame, i);
        match self.tail {
            Some(at) => self.patch_with_tail(frame, patches, i, at),
            None => {
                self.patch(frame, patches, i);
                frame.len()
            }
        }
    }
}

/// A ready-made frame and the sums of its constant parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    bytes: Vec<u8>,
    layout: Layout,
    sums: Sums,
}

/// The values that complete the frames of a template, without the frame: a loop that keeps them in registers can be
/// vectorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Words 1 and 2 of the IPv4 header, identification and checksum 0.
    ip_words: [u32; 2],
    /// Sum of the IPv4 header's constant part.
    ip: u32,
    /// Sum of the constant part of the transport header, its payload and its pseudo-header.
    l4: u32,
    /// All ones if the checksum also covers the addresses, in the pseudo-header of TCP and UDP.
    pseudo_mask: u32,
    /// The value that replaces a checksum of zero, which in UDP would mean that there is none (RFC 768).
    zero_checksum: u16,
}

/// The constant fields of the link and network headers.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// The header before the IP header.
    pub link: LinkHeader,
    /// Our MAC address, on Ethernet.
    pub source_mac: MacAddr,
    /// The gateway's MAC address, on Ethernet.
    pub gateway_mac: MacAddr,
    /// VLAN tags.
    pub tags: VlanTags,
    /// IP time to live.
    pub ttl: u8,
}

/// The constant header fields of a TCP template.
#[derive(Clone, Copy, Debug)]
pub struct TcpHeader<'a> {
    /// TCP flags.
    pub flags: u8,
    /// TCP acknowledgement number.
    pub acknowledgement: u32,
    /// TCP window.
    pub window: u16,
    /// TCP options, a multiple of 4 bytes, at most 40.
    pub options: &'a [u8],
}

impl TcpHeader<'_> {
    /// The segment, without payload; ports, sequence number and checksum are zero.
    pub fn segment(&self) -> Vec<u8> {
        debug_assert!(self.options.len().is_multiple_of(4) && self.options.len() <= 40);
        let mut segment = vec![0; 8]; // ports, sequence
        segment.extend(self.acknowledgement.to_be_bytes());
        segment.extend([(((TCP_LEN + self.options.len()) / 4) << 4) as u8, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]); // checksum, urgent pointer
        segment.extend(self.options);
        segment
    }
}

impl Template {
    /// A TCP segment without payload in IPv4. TOS 0, no DF flag, as ZMap sends it.
    pub fn tcp(envelope: Envelope, header: TcpHeader<'_>) -> Self {
        Self::fixed(envelope, PROTOCOL_TCP, 16, &header.segment())
    }

    /// A TCP segment of `len` bytes. Everything after ports and sequence number is the tail.
    pub fn tcp_with_tail(envelope: Envelope, len: usize) -> Self {
        Self::with_tail(envelope, PROTOCOL_TCP, 16, &[0; 8], len - 8)
    }

    /// A UDP datagram that carries `payload`.
    pub fn udp(envelope: Envelope, payload: &[u8]) -> Self {
        Self::fixed(envelope, PROTOCOL_UDP, 6, &[&[0; UDP_LEN], payload].concat())
    }

    /// A UDP datagram whose payload, at most `payload_len_max` bytes, differs from frame to frame.
    pub fn udp_with_tail(envelope: Envelope, payload_len_max: usize) -> Self {
        Self::with_tail(envelope, PROTOCOL_UDP, 6, &[0; UDP_LEN], payload_len_max)
    }

    /// An ICMP message that carries `payload`; type and code are among the changing fields.
    pub fn icmp(envelope: Envelope, payload: &[u8]) -> Self {
        Self::fixed(envelope, PROTOCOL_ICMP, 2, &[&[0; ICMP_LEN], payload].concat())
    }

    /// An ICMP message whose payload, at most `payload_len_max` bytes, differs from frame to frame.
    pub fn icmp_with_tail(envelope: Envelope, payload_len_max: usize) -> Self {
        Self::with_tail(envelope, PROTOCOL_ICMP, 2, &[0; ICMP_LEN], payload_len_max)
    }

    /// An IPv4 packet in an IPv4 packet (RFC 2003), the inner one at most `inner_len_max` bytes long. Its first 8 bytes
    /// are the words of a patch, the rest is the tail. The checksum of a patch is that of the inner header, which the
    /// caller computes.
    pub fn ipip_with_tail(envelope: Envelope, inner_len_max: usize) -> Self {
        const INNER_CHECKSUM: usize = 10;
        Self::with_tail(envelope, PROTOCOL_IPIP, INNER_CHECKSUM, &[0; 8], inner_len_max - 8)
    }

    /// A packet of `protocol`. All of `l4` is constant except for its first 8 bytes and its checksum.
    fn fixed(envelope: Envelope, protocol: u8, l4_checksum: usize, l4: &[u8]) -> Self {
        Self::new(envelope, protocol, l4_checksum, l4, None)
    }

    /// A packet of `protocol` that ends with a tail after `l4`.
    fn with_tail(
        envelope: Envelope,
        protocol: u8,
        l4_checksum: usize,
        l4: &[u8],
        tail_len_max: usize,
    ) -> Self {
        debug_assert!(l4.len().is_multiple_of(2), "the tail's sum starts at an even place");
        Self::new(envelope, protocol, l4_checksum, l4, Some(tail_len_max))
    }

    fn new(
        envelope: Envelope,
        protocol: u8,
        l4_checksum: usize,
        l4: &[u8],
        tail_len_max: Option<usize>,
    ) -> Self {
        // For a packet with a tail, the lengths are added when it is completed.
        let constant_len = |len: usize| if tail_len_max.is_some() { 0 } else { len };
        let total_len = constant_len(IPV4_LEN + l4.len()) as u16;
        let mut bytes = Vec::new();
        if envelope.link == LinkHeader::Ethernet {
            bytes.extend(envelope.gateway_mac.0);
            bytes.extend(envelope.source_mac.0);
            bytes.extend(envelope.tags.bytes());
            bytes.extend(ETHERTYPE_IPV4.to_be_bytes());
            debug_assert!(bytes.len() == ETHERNET_LEN + 4 * envelope.tags.len());
        }
        let ip = bytes.len();
        bytes.extend([0x45, 0]);
        bytes.extend(total_len.to_be_bytes());
        bytes.extend([0, 0, 0, 0, envelope.ttl, protocol]);
        bytes.extend([0; 10]); // checksum, addresses
        bytes.extend(l4);
        let has_pseudo_header = matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP);
        let pseudo_header = match has_pseudo_header {
            true => u32::from(protocol) + constant_len(l4.len()) as u32,
            false => 0,
        };
        let layout = Layout { ip, l4_checksum, tail: tail_len_max.map(|_| bytes.len()) };
        let ip_word = |at| u32::from_be_bytes(std::array::from_fn(|i| bytes[ip + at + i]));
        let template = Self {
            sums: Sums {
                ip_words: [ip_word(4), ip_word(8)],
                ip: checksum::sum(&bytes[layout.ip..layout.l4()]),
                l4: checksum::sum(l4) + pseudo_header,
                pseudo_mask: if has_pseudo_header { u32::MAX } else { 0 },
                zero_checksum: if protocol == PROTOCOL_UDP { 0xffff } else { 0 },
            },
            layout,
            bytes,
        };
        let len = template.bytes.len() + tail_len_max.unwrap_or(0);
        Self { bytes: [template.bytes.as_slice(), &vec![0; len - template.bytes.len()]].concat(), ..template }
    }

    /// The frame, from the Ethernet header on if there is one, with zeroes in the changing fields; as long as the
    /// longest frame.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first header of its frames.
    #[inline]
    pub fn link(&self) -> LinkHeader {
        if self.layout.ip == 0 { LinkHeader::Bare } else { LinkHeader::Ethernet }
    }

    /// The offsets of the changing fields.
    #[inline]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Most bytes of a tail; 0 if there is none.
    #[inline]
    pub fn tail_len_max(&self) -> usize {
        self.layout.tail.map_or(0, |at| self.bytes.len() - at)
    }

    /// An empty batch of patches for this template.
    pub fn batch(&self) -> PatchBatch {
        PatchBatch::with_tails(self.tail_len_max())
    }

    /// The values that complete its frames.
    #[inline]
    pub fn sums(&self) -> Sums {
        self.sums
    }

    /// The patch of a frame with these fields; see [`Sums::finish`].
    #[inline]
    pub fn finish(&self, source: u32, destination: u32, l4_words: [u32; 2], ip_id: u16) -> Patch {
        self.sums.finish(source, destination, l4_words, ip_id)
    }

    /// The same for a frame with this tail. The caller computes a UDP length in `l4_words`.
    #[inline]
    pub fn finish_with_tail(
        &self,
        source: u32,
        destination: u32,
        l4_words: [u32; 2],
        ip_id: u16,
        tail: &[u8],
    ) -> Patch {
        let end = self.layout.tail.unwrap_or(self.bytes.len()) + tail.len();
        let total_len = (end - self.layout.ip) as u32;
        let l4_len = (end - self.layout.l4()) as u32 & self.sums.pseudo_mask;
        let more = [total_len, l4_len + checksum::sum(tail)];
        self.sums.fields(source, destination, l4_words, ip_id.into(), more).into()
    }
}

impl Sums {
    /// The patch of a frame with these fields, its checksums filled in. The words are those of [`Patch::l4_words`].
    #[inline(always)]
    pub fn finish(self, source: u32, destination: u32, l4_words: [u32; 2], ip_id: u16) -> Patch {
        self.fields(source, destination, l4_words, ip_id.into(), [0; 2]).into()
    }

    /// The same sums if they are known to be those of a TCP segment: constant parts then cost nothing.
    #[inline(always)]
    pub fn of_tcp(self) -> Self {
        debug_assert!(self.pseudo_mask == u32::MAX && self.zero_checksum == 0, "no TCP template");
        Self { pseudo_mask: u32::MAX, zero_checksum: 0, ..self }
    }

    /// [`Self::finish`] for one frame or for several at once, with fields in wire order ([`Lane::wire`]). `more` is
    /// added to the template's sums of the IPv4 header and of the transport header.
    #[inline(always)]
    pub fn fields<L: Lane>(
        self,
        source: L,
        destination: L,
        l4_words: [L; 2],
        ip_id: L,
        more: [u32; 2],
    ) -> Fields<L> {
        let addresses = checksum::sums(source).plus(checksum::sums(destination));
        let constant = |sum: u32, more: u32| L::of(checksum::folded(sum + more)).wire();
        let ip = constant(self.ip, more[0]).plus(addresses).plus(ip_id);
        let words = checksum::sums(l4_words[0]).plus(checksum::sums(l4_words[1]));
        let l4 = constant(self.l4, more[1]).plus(addresses.and(L::of(self.pseudo_mask))).plus(words);
        let l4_checksum = checksum::finished(l4);
        Fields {
            source,
            destination,
            l4_words,
            ip_words: [
                L::of(self.ip_words[0]).wire().or(ip_id.left(16)),
                L::of(self.ip_words[1]).wire().or(checksum::finished(ip)),
            ],
            l4_checksum: l4_checksum.or(l4_checksum.where_zero(self.zero_checksum.into())),
        }
    }
}
