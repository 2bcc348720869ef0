//! A frame that holds everything of a probe but what differs from target to target.
//!
//! A template's changing fields (source and destination address, ports, sequence number, IP identification, both
//! checksums) are zero in it, and the sums of its constant parts are taken once, when it is made; a probe is then
//! finished by a few additions and a few stores.

use super::{
    ETHERNET_LEN, ETHERTYPE_IPV4, IPV4_LEN, MacAddr, PROTOCOL_TCP, Patch, PatchBatch, TCP_LEN, checksum,
};

/// Where the changing fields of a template's frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offset of the IPv4 header, which has no options.
    pub ip: usize,
}

impl Layout {
    /// Offset of the transport header.
    #[inline]
    pub fn l4(self) -> usize {
        self.ip + IPV4_LEN
    }

    /// Writes entry `i` of `patches` into `frame`, which holds a copy of the template.
    #[inline]
    pub fn patch(self, frame: &mut [u8], patches: &PatchBatch, i: usize) {
        let frame = &mut frame[self.ip..self.ip + IPV4_LEN + TCP_LEN];
        frame[4..6].copy_from_slice(&patches.ip_ids[i].to_ne_bytes());
        frame[10..12].copy_from_slice(&patches.ip_checksums[i].to_ne_bytes());
        frame[12..20].copy_from_slice(&patches.addresses[i].to_ne_bytes());
        frame[20..28].copy_from_slice(&patches.l4_starts[i].to_ne_bytes());
        frame[36..38].copy_from_slice(&patches.l4_checksums[i].to_ne_bytes());
    }
}

/// A ready-made TCP frame and the sums of its constant parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    bytes: Vec<u8>,
    layout: Layout,
    ip_sum: u32,
    l4_sum: u32,
}

/// The constant header fields of a TCP template.
#[derive(Clone, Copy, Debug)]
pub struct TcpHeader<'a> {
    /// Our MAC address.
    pub source_mac: MacAddr,
    /// The gateway's MAC address.
    pub gateway_mac: MacAddr,
    /// IP time to live.
    pub ttl: u8,
    /// TCP flags.
    pub flags: u8,
    /// TCP window.
    pub window: u16,
    /// TCP options, a multiple of 4 bytes, at most 40.
    pub options: &'a [u8],
}

impl Template {
    /// A TCP segment without payload in IPv4 in Ethernet. TOS 0, no DF flag, as ZMap sends it.
    pub fn tcp(header: TcpHeader<'_>) -> Self {
        let tcp_len = TCP_LEN + header.options.len();
        debug_assert!(header.options.len().is_multiple_of(4) && header.options.len() <= 40);
        let mut bytes = Vec::with_capacity(ETHERNET_LEN + IPV4_LEN + tcp_len);
        bytes.extend(header.gateway_mac.0);
        bytes.extend(header.source_mac.0);
        bytes.extend(ETHERTYPE_IPV4.to_be_bytes());
        bytes.extend([0x45, 0]);
        bytes.extend(((IPV4_LEN + tcp_len) as u16).to_be_bytes());
        bytes.extend([0, 0, 0, 0, header.ttl, PROTOCOL_TCP]);
        bytes.extend([0; 10]); // checksum, addresses
        bytes.extend([0; 12]); // ports, sequence, acknowledgement
        bytes.extend([((tcp_len / 4) << 4) as u8, header.flags]);
        bytes.extend(header.window.to_be_bytes());
        bytes.extend([0; 4]); // checksum, urgent pointer
        bytes.extend(header.options);
        let l4 = ETHERNET_LEN + IPV4_LEN;
        let pseudo_header = u32::from(PROTOCOL_TCP) + tcp_len as u32;
        Self {
            ip_sum: checksum::sum(&bytes[ETHERNET_LEN..l4]),
            l4_sum: checksum::sum(&bytes[l4..]) + pseudo_header,
            layout: Layout { ip: ETHERNET_LEN },
            bytes,
        }
    }

    /// The frame, from the Ethernet header on, changing fields zero.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the changing fields are.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The patch of a frame with these fields (ports: source in the upper half), its checksums filled in.
    #[inline(always)]
    pub fn finish(&self, source: u32, destination: u32, ports: u32, sequence: u32, ip_id: u16) -> Patch {
        let [ip_checksum, l4_checksum] = self.checksums(source, destination, ports, sequence, ip_id);
        Patch { source, destination, ports, sequence, ip_id, ip_checksum, l4_checksum }
    }

    /// The checksums of the IPv4 header and of the transport header.
    #[inline(always)]
    fn checksums(&self, source: u32, destination: u32, ports: u32, sequence: u32, ip_id: u16) -> [u16; 2] {
        let addresses = checksum::sum32(source) + checksum::sum32(destination);
        let ip = self.ip_sum + addresses + u32::from(ip_id);
        let l4 = self.l4_sum + addresses + checksum::sum32(ports) + checksum::sum32(sequence);
        [checksum::finish(ip), checksum::finish(l4)]
    }
}
