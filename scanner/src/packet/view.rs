//! Reading a received frame: Ethernet with up to two VLAN tags, IPv4 with options, TCP.
//!
//! The tests it makes are those of the XDP program, in the same order, so that both give the same verdict; only the
//! captured bytes may be fewer here, which is why [`Segment::options`] can be cut short.

use super::{ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPES_VLAN, IPV4_LEN, PROTOCOL_TCP, TCP_LEN};

/// A TCP segment in a received frame. Numbers are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Offset of the IPv4 header in the frame.
    pub ip_offset: usize,
    /// IPv4 source address: the responder.
    pub source: u32,
    /// IPv4 destination address: ours.
    pub destination: u32,
    /// IP identification.
    pub ip_id: u16,
    /// IP time to live.
    pub ttl: u8,
    /// TCP source port.
    pub source_port: u16,
    /// TCP destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Flags: the low eight bits.
    pub flags: u8,
    /// Window as it stands in the header, not scaled.
    pub window: u16,
    /// Options, as far as they were captured.
    pub options: &'a [u8],
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Offset of the IPv4 header, behind up to two VLAN tags; `None` if the frame carries something else.
fn ipv4_offset(frame: &[u8]) -> Option<usize> {
    let mut offset = ETHERNET_LEN;
    for _ in 0..=2 {
        match be16(frame, offset - 2)? {
            ETHERTYPE_IPV4 => return Some(offset),
            tag if ETHERTYPES_VLAN.contains(&tag) => offset += 4,
            _ => return None,
        }
    }
    None
}

impl<'a> Segment<'a> {
    /// The TCP segment in `captured`, the first bytes of a frame of `frame_len` bytes. `None` if there is none, it is
    /// a fragment, or a length in it is impossible.
    pub fn parse(captured: &'a [u8], frame_len: u32) -> Option<Self> {
        let ip_offset = ipv4_offset(captured)?;
        let ip = &captured[ip_offset..];
        let version_and_length = *ip.first()?;
        let header_len = usize::from(version_and_length & 0xf) * 4;
        let total_len = usize::from(be16(ip, 2)?);
        let fits = ip_offset + total_len <= frame_len as usize;
        if version_and_length >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len || !fits {
            return None;
        }
        const MORE_FRAGMENTS_AND_OFFSET: u16 = 0x3fff;
        if be16(ip, 6)? & MORE_FRAGMENTS_AND_OFFSET != 0 || *ip.get(9)? != PROTOCOL_TCP {
            return None;
        }
        let tcp = ip.get(header_len..)?;
        let tcp_len = usize::from(*tcp.get(12)? >> 4) * 4;
        if tcp_len < TCP_LEN || header_len + tcp_len > total_len {
            return None;
        }
        Some(Self {
            ip_offset,
            source: be32(ip, 12)?,
            destination: be32(ip, 16)?,
            ip_id: be16(ip, 4)?,
            ttl: ip[8],
            source_port: be16(tcp, 0)?,
            destination_port: be16(tcp, 2)?,
            sequence: be32(tcp, 4)?,
            acknowledgement: be32(tcp, 8)?,
            flags: tcp[13],
            window: be16(tcp, 14)?,
            options: tcp.get(TCP_LEN..tcp_len.min(tcp.len()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    fn reply() -> Vec<u8> {
        let mut frame = vec![];
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([198, 18, 0, 1], [198, 19, 0, 1], 57)
            .tcp(80, 40_000, 0xdead_beef, 1024)
            .syn()
            .ack(0x1234_5678)
            .options_raw(&[2, 4, 5, 0xb4])
            .unwrap()
            .write(&mut frame, &[])
            .unwrap();
        frame
    }

    #[test]
    fn reads_what_etherparse_writes() {
        let frame = reply();
        let segment = Segment::parse(&frame, frame.len() as u32).unwrap();
        assert_eq!(segment.ip_offset, 14);
        assert_eq!(segment.source, 0xc612_0001);
        assert_eq!(segment.destination, 0xc613_0001);
        assert_eq!((segment.source_port, segment.destination_port), (80, 40_000));
        assert_eq!((segment.sequence, segment.acknowledgement), (0xdead_beef, 0x1234_5678));
        assert_eq!((segment.flags, segment.window, segment.ttl), (0x12, 1024, 57));
        assert_eq!(segment.options, [2, 4, 5, 0xb4]);
    }

    #[test]
    fn reads_behind_vlan_tags_but_not_three() {
        let frame = reply();
        for tags in 0..=3 {
            let mut tagged = frame[..12].to_vec();
            for _ in 0..tags {
                tagged.extend([0x81, 0, 0, 7]);
            }
            tagged.extend(&frame[12..]);
            let parsed = Segment::parse(&tagged, tagged.len() as u32).map(|segment| segment.ip_offset);
            assert_eq!(parsed, (tags < 3).then_some(14 + 4 * tags));
        }
    }

    #[test]
    fn refuses_every_truncation() {
        let frame = reply();
        for len in 0..frame.len() {
            assert_eq!(Segment::parse(&frame[..len], len as u32), None, "{len}");
        }
        let tcp_len_too_small = {
            let mut f = frame.clone();
            f[46] = 0x40;
            f
        };
        assert_eq!(Segment::parse(&tcp_len_too_small, 58), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), frame_len: u32) {
            let _ = Segment::parse(&bytes, frame_len);
            let mut frame = reply();
            for (at, byte) in bytes.iter().enumerate().take(frame.len()) {
                if byte % 5 == 0 { frame[at] = *byte }
            }
            let _ = Segment::parse(&frame, frame_len);
        }
    }
}
