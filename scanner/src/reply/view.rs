//! The headers of a captured reply, parsed only when a field needs them.
//!
//! The captured bytes come from the Internet and may be cut short: every read is bounds-checked, and absent values are
//! `None`. Nothing here panics, whatever the bytes are.

use std::any::Any;
use std::cell::OnceCell;
use std::net::Ipv4Addr;

use wire::packet::{ICMP_LEN, IPV4_LEN, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, TcpOptions, UDP_LEN};

use super::record::{Header, ICMP_ERROR, ReplyKind};

/// One reply as the fields see it: its record, and whether its target had a success before.
#[derive(Debug)]
pub struct Reply<'a> {
    header: &'a Header,
    captured: &'a [u8],
    repeat: bool,
    options: OnceCell<TcpOptions>,
    parsed: OnceCell<Box<dyn Any>>,
}

impl<'a> Reply<'a> {
    /// The reply of a record; `repeat` says whether its target had a success before.
    pub fn new(header: &'a Header, captured: &'a [u8], repeat: bool) -> Self {
        Self { header, captured, repeat, options: OnceCell::new(), parsed: OnceCell::new() }
    }

    /// The record's header.
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// The captured bytes, from the Ethernet header on.
    pub fn captured(&self) -> &'a [u8] {
        self.captured
    }

    /// The kind of reply; `None` for a number that no probe uses.
    pub fn kind(&self) -> Option<ReplyKind> {
        ReplyKind::from_number(self.header.kind)
    }

    /// Whether its target had a success before.
    pub fn repeat(&self) -> bool {
        self.repeat
    }

    /// Whether it is an ICMP error that quotes the probe.
    pub fn is_icmp_error(&self) -> bool {
        self.header.flags & ICMP_ERROR != 0
    }

    /// The IPv4 packet from its header on; it ends at its total length or at the end of the capture.
    fn ipv4(&self) -> Option<&'a [u8]> {
        let bytes = self.captured.get(usize::from(self.header.ip_offset)..)?;
        if self.header.family != 4 || bytes.len() < IPV4_LEN || bytes[0] >> 4 != 4 {
            return None;
        }
        let total_len = usize::from(be16(bytes, 2)?).clamp(IPV4_LEN, bytes.len());
        Some(&bytes[..total_len])
    }

    /// Our address: the destination of the reply.
    pub fn destination(&self) -> Option<Ipv4Addr> {
        be32(self.ipv4()?, 16).map(Ipv4Addr::from)
    }

    /// IP identification.
    pub fn ip_id(&self) -> Option<u16> {
        be16(self.ipv4()?, 4)
    }

    /// Time to live.
    pub fn ttl(&self) -> Option<u8> {
        self.ipv4()?.get(8).copied()
    }

    /// The payload of an unfragmented IPv4 packet of this protocol, as far as it was captured.
    fn carried(&self, protocol: u8) -> Option<&'a [u8]> {
        let packet = self.ipv4()?;
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        let fragment_offset = be16(packet, 6)? & 0x1fff;
        if header_len < IPV4_LEN || packet[9] != protocol || fragment_offset != 0 {
            return None;
        }
        packet.get(header_len..)
    }

    /// The TCP segment, header first.
    fn tcp(&self) -> Option<&'a [u8]> {
        self.carried(PROTOCOL_TCP)
    }

    /// TCP sequence number.
    pub fn sequence(&self) -> Option<u32> {
        be32(self.tcp()?, 4)
    }

    /// TCP acknowledgement number.
    pub fn acknowledgement(&self) -> Option<u32> {
        be32(self.tcp()?, 8)
    }

    /// TCP window, not scaled.
    pub fn window(&self) -> Option<u16> {
        be16(self.tcp()?, 14)
    }

    /// The TCP options, parsed once per reply.
    pub fn tcp_options(&self) -> &TcpOptions {
        self.options.get_or_init(|| self.tcp().map(TcpOptions::parse).unwrap_or_default())
    }

    /// The ICMP message, with at least the 8 bytes of its header.
    pub fn icmp(&self) -> Option<&'a [u8]> {
        self.carried(PROTOCOL_ICMP).filter(|message| message.len() >= ICMP_LEN)
    }

    /// The ICMP message, if it is an error that quotes the probe.
    pub fn icmp_error(&self) -> Option<&'a [u8]> {
        self.icmp().filter(|_| self.is_icmp_error())
    }

    /// Length of the UDP datagram, header included, as its header says.
    pub fn udp_len(&self) -> Option<u16> {
        be16(self.carried(PROTOCOL_UDP)?, 4)
    }

    /// The payload of the UDP datagram, as far as its header says and as it was captured; `None` if there is no
    /// payload.
    pub fn udp_payload(&self) -> Option<&'a [u8]> {
        let datagram = self.carried(PROTOCOL_UDP)?;
        let len = usize::from(be16(datagram, 4)?).min(datagram.len());
        datagram.get(UDP_LEN..len).filter(|payload| !payload.is_empty())
    }

    /// The probe module's parsed form of the reply, computed once. One module calls it with one type.
    pub fn parsed<T: 'static>(&self, parse: impl FnOnce(&Self) -> T) -> Option<&T> {
        self.parsed.get_or_init(|| Box::new(parse(self))).downcast_ref()
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}
