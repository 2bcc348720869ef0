//! Parses a received frame: Ethernet with up to two VLAN tags or no header at all, IPv4 with options, and its payload.
//!
//! It makes the same tests as the XDP program, in the same order, so that both give the same verdict. But fewer bytes
//! may be captured here, so everything after a fixed header can be truncated.

use super::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPES_VLAN, ICMP_LEN, IPV4_LEN, LinkHeader, TCP_LEN, UDP_LEN,
};

#[inline]
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[inline]
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Why a frame holds no parsable packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Another EtherType or IP version.
    NotIpv4,
    /// The frame ends inside a header, or a length in it is impossible.
    Truncated,
    /// A later fragment: only the first one has ports and cookie.
    Fragment,
}

/// Offset of the IPv4 header: after up to two VLAN tags, or at the start.
#[inline]
fn ipv4_offset(frame: &[u8], link: LinkHeader) -> Result<usize, Unfit> {
    if link == LinkHeader::Bare {
        return Ok(0);
    }
    let mut offset = ETHERNET_LEN;
    for _ in 0..=2 {
        match be16(frame, offset - 2).ok_or(Unfit::Truncated)? {
            ETHERTYPE_IPV4 => return Ok(offset),
            tag if ETHERTYPES_VLAN.contains(&tag) => offset += 4,
            _ => return Err(Unfit::NotIpv4),
        }
    }
    Err(Unfit::NotIpv4)
}

/// An IPv4 packet in a received frame, or the first fragment of one. Numbers are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Offset of the IPv4 header in the frame.
    pub ip_offset: usize,
    /// IPv4 source address: the sender.
    pub source: u32,
    /// IPv4 destination address: ours.
    pub destination: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// Whether it is the first fragment of a longer one.
    pub is_fragment: bool,
    /// Length of the payload, as its header says; for a fragment, that of the fragment.
    pub payload_len: usize,
    /// The payload, as far as it was captured.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet in `captured`, the first bytes of a frame of `frame_len` bytes that came over `link`.
    ///
    /// # Errors
    /// There is no packet, it is a later fragment, or a length in it is impossible.
    #[inline]
    pub fn parse(captured: &'a [u8], frame_len: u32, link: LinkHeader) -> Result<Self, Unfit> {
        let ip_offset = ipv4_offset(captured, link)?;
        let ip = captured.get(ip_offset..).unwrap_or_default();
        let header: &[u8; IPV4_LEN] = ip.first_chunk().ok_or(Unfit::Truncated)?;
        if header[0] >> 4 != 4 {
            return Err(Unfit::NotIpv4);
        }
        let header_len = usize::from(header[0] & 0xf) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let fits = ip_offset + total_len <= frame_len as usize;
        if header_len < IPV4_LEN || total_len < header_len || !fits {
            return Err(Unfit::Truncated);
        }
        const MORE_FRAGMENTS: u16 = 0x2000;
        const OFFSET: u16 = 0x1fff;
        let fragment = u16::from_be_bytes([header[6], header[7]]);
        if fragment & OFFSET != 0 {
            return Err(Unfit::Fragment);
        }
        let address = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| header[at + i]));
        Ok(Self {
            ip_offset,
            source: address(12),
            destination: address(16),
            protocol: header[9],
            is_fragment: fragment & MORE_FRAGMENTS != 0,
            payload_len: total_len - header_len,
            payload: ip.get(header_len..total_len.min(ip.len())).ok_or(Unfit::Truncated)?,
        })
    }
}

/// The fields of a TCP segment that the checks read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSegment {
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
}

impl TcpSegment {
    /// The TCP segment in `packet`.
    #[inline]
    pub fn parse(packet: &Packet<'_>) -> Option<Self> {
        let tcp = packet.payload;
        let header_len = usize::from(*tcp.get(12)? >> 4) * 4;
        if header_len < TCP_LEN || header_len > packet.payload_len || tcp.len() < TCP_LEN {
            return None;
        }
        Some(Self {
            source_port: be16(tcp, 0)?,
            destination_port: be16(tcp, 2)?,
            sequence: be32(tcp, 4)?,
            acknowledgement: be32(tcp, 8)?,
            flags: tcp[13],
        })
    }
}

/// The fields of a UDP datagram that the checks read. Its length field is ignored, because some senders write zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub destination_port: u16,
    /// The bytes after the header, as far as they were captured.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// The UDP datagram in `packet`.
    #[inline]
    pub fn parse(packet: &Packet<'a>) -> Option<Self> {
        let udp = packet.payload;
        Some(Self {
            source_port: be16(udp, 0)?,
            destination_port: be16(udp, 2)?,
            payload: udp.get(UDP_LEN..)?,
        })
    }
}

/// The fields of an ICMP message that the checks read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpMessage<'a> {
    /// Type.
    pub kind: u8,
    /// Identifier, of an echo.
    pub id: u16,
    /// Sequence number, of an echo.
    pub sequence: u16,
    /// The bytes after the header, as far as they were captured; for an error: the quote.
    pub body: &'a [u8],
}

impl<'a> IcmpMessage<'a> {
    /// The message at the start of `icmp`.
    #[inline]
    pub fn parse(icmp: &'a [u8]) -> Option<Self> {
        Some(Self {
            kind: *icmp.first()?,
            id: be16(icmp, 4)?,
            sequence: be16(icmp, 6)?,
            body: icmp.get(ICMP_LEN..)?,
        })
    }
}

/// The packet that an ICMP error quotes: the known part of a probe of ours that could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote<'a> {
    /// IPv4 source address: ours.
    pub source: u32,
    /// IPv4 destination address: the target.
    pub destination: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// The first 8 bytes of its payload (RFC 792).
    pub payload: &'a [u8; 8],
}

impl<'a> Quote<'a> {
    /// The quote in the body of an ICMP error, if it holds enough.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let header_len = usize::from(body.first()? & 0xf) * 4;
        if body[0] >> 4 != 4 || header_len < IPV4_LEN || be16(body, 6)? & 0x1fff != 0 {
            return None;
        }
        Some(Self {
            source: be32(body, 12)?,
            destination: be32(body, 16)?,
            protocol: *body.get(9)?,
            payload: body.get(header_len..)?.first_chunk()?,
        })
    }

    /// The first two bytes of the payload: the source port of TCP and UDP.
    #[inline]
    pub fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.payload[0], self.payload[1]])
    }

    /// The next two: the destination port of TCP and UDP.
    #[inline]
    pub fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.payload[2], self.payload[3]])
    }

    /// The last four: the sequence number of TCP.
    #[inline]
    pub fn sequence(&self) -> u32 {
        u32::from_be_bytes([self.payload[4], self.payload[5], self.payload[6], self.payload[7]])
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

    fn segment(frame: &[u8], frame_len: u32) -> Option<TcpSegment> {
        Packet::parse(frame, frame_len, LinkHeader::Ethernet).ok().as_ref().and_then(TcpSegment::parse)
    }

    fn parse_all(bytes: &[u8], frame_len: u32) {
        for link in [LinkHeader::Ethernet, LinkHeader::Bare] {
            if let Ok(packet) = Packet::parse(bytes, frame_len, link) {
                let _ = (TcpSegment::parse(&packet), Datagram::parse(&packet));
                let _ = IcmpMessage::parse(packet.payload).map(|message| Quote::parse(message.body));
            }
        }
        let _ = Quote::parse(bytes);
    }

    #[test]
    fn reads_what_etherparse_writes() {
        let frame = reply();
        let packet = Packet::parse(&frame, frame.len() as u32, LinkHeader::Ethernet).unwrap();
        assert_eq!((packet.ip_offset, packet.protocol, packet.payload_len), (14, 6, 24));
        assert_eq!((packet.source, packet.destination), (0xc612_0001, 0xc613_0001));
        let segment = TcpSegment::parse(&packet).unwrap();
        assert_eq!((segment.source_port, segment.destination_port), (80, 40_000));
        assert_eq!((segment.sequence, segment.acknowledgement), (0xdead_beef, 0x1234_5678));
        assert_eq!(segment.flags, 0x12);
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
            let parsed = Packet::parse(&tagged, tagged.len() as u32, LinkHeader::Ethernet)
                .map(|packet| packet.ip_offset);
            assert_eq!(parsed, if tags < 3 { Ok(14 + 4 * tags) } else { Err(Unfit::NotIpv4) });
        }
    }

    /// Without a header before it the packet is the same, except for its offset.
    #[test]
    fn reads_bare_packets() {
        let frame = reply();
        let len = frame.len() as u32;
        let in_ethernet = Packet::parse(&frame, len, LinkHeader::Ethernet).unwrap();
        let bare = Packet::parse(&frame[14..], len - 14, LinkHeader::Bare).unwrap();
        assert_eq!(Packet { ip_offset: 0, ..in_ethernet }, bare);
        assert_eq!(Packet::parse(&frame, len, LinkHeader::Bare), Err(Unfit::NotIpv4));
        for cut in 14..frame.len() {
            assert_eq!(
                Packet::parse(&frame[14..cut], (cut - 14) as u32, LinkHeader::Bare),
                Err(Unfit::Truncated)
            );
        }
    }

    #[test]
    fn refuses_every_truncation() {
        let frame = reply();
        for len in 0..frame.len() {
            assert_eq!(segment(&frame[..len], len as u32), None, "{len}");
        }
        let tcp_len_too_small = {
            let mut f = frame.clone();
            f[46] = 0x40;
            f
        };
        assert_eq!(segment(&tcp_len_too_small, 58), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), frame_len: u32) {
            parse_all(&bytes, frame_len);
            let mut frame = reply();
            for (at, byte) in bytes.iter().enumerate().take(frame.len()) {
                if byte % 5 == 0 { frame[at] = *byte }
            }
            parse_all(&frame, frame_len);
        }
    }
}
