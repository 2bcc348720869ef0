//! Frames built byte by byte, so that each header can be wrong in its own way.

use std::net::Ipv4Addr;

use wire::proof::cookie::cookie;
use wire::proof::{Cookie, Key, PortRange};

pub(crate) const TCP: u8 = 6;
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const SYN_ACK: u8 = SYN | ACK;

/// One TCP segment in an Ethernet frame; every field that the program looks at can be set.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// TPIDs of the VLAN tags, outermost first.
    pub(crate) tags: Vec<u16>,
    pub(crate) ethertype: u16,
    pub(crate) version: u8,
    pub(crate) ip_options: Vec<u8>,
    /// The value of the IHL field; the right one if `None`.
    pub(crate) ihl: Option<u8>,
    /// The value of the total length field; the right one if `None`.
    pub(crate) total_length: Option<u16>,
    pub(crate) fragment: u16,
    pub(crate) protocol: u8,
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    pub(crate) from_port: u16,
    pub(crate) to_port: u16,
    pub(crate) acknowledged: u32,
    pub(crate) flags: u8,
    pub(crate) tcp_options: Vec<u8>,
    /// The value of the data offset field; the right one if `None`.
    pub(crate) data_offset: Option<u8>,
    pub(crate) payload: Vec<u8>,
    /// Bytes after the IP packet.
    pub(crate) padding: usize,
}

impl Segment {
    /// The reply with these flags to copy `probe` of the probe from `source` to `target`.
    pub(crate) fn reply(
        key: Key,
        ports: PortRange,
        source: Ipv4Addr,
        target: (Ipv4Addr, u16),
        probe: u32,
        flags: u8,
    ) -> Self {
        let cookie = cookie_of(key, source, target);
        Self {
            tags: vec![],
            ethertype: 0x0800,
            version: 4,
            ip_options: vec![],
            ihl: None,
            total_length: None,
            fragment: 0,
            protocol: TCP,
            from: target.0,
            to: source,
            from_port: target.1,
            to_port: ports.source_port(cookie, probe),
            acknowledged: cookie.sequence().wrapping_add(1),
            flags,
            tcp_options: vec![],
            data_offset: None,
            payload: vec![],
            padding: 0,
        }
    }

    /// The same with changes.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tpid in &self.tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend([0, 7]);
        }
        frame.extend(self.ethertype.to_be_bytes());

        let ip_len = 20 + self.ip_options.len();
        let tcp_len = 20 + self.tcp_options.len();
        let total_length = self.total_length.unwrap_or((ip_len + tcp_len + self.payload.len()) as u16);
        frame.extend([self.version << 4 | self.ihl.unwrap_or((ip_len / 4) as u8), 0]);
        frame.extend(total_length.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(self.fragment.to_be_bytes());
        frame.extend([64, self.protocol, 0, 0]);
        frame.extend(self.from.octets());
        frame.extend(self.to.octets());
        frame.extend(&self.ip_options);

        frame.extend(self.from_port.to_be_bytes());
        frame.extend(self.to_port.to_be_bytes());
        frame.extend([0xde, 0xad, 0xbe, 0xef]);
        frame.extend(self.acknowledged.to_be_bytes());
        frame.extend([self.data_offset.unwrap_or((tcp_len / 4) as u8) << 4, self.flags]);
        frame.extend([0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(&self.tcp_options);
        frame.extend(&self.payload);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }
}

/// The cookie of the probe from `source` to `target`.
pub(crate) fn cookie_of(key: Key, source: Ipv4Addr, target: (Ipv4Addr, u16)) -> Cookie {
    cookie(key, source.to_bits(), target.0.to_bits(), target.1, TCP)
}
