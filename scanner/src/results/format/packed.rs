//! Packed records: the targets that answered, as numbers in network order, as ZMap 2 wrote them to Redis.

use std::net::IpAddr;

use crate::reply::Reply;

/// Writes the target's IPv4 address, 4 bytes, followed by the probed port, 2 bytes, if several are scanned.
#[derive(Debug)]
pub struct PackedEncoder {
    with_port: bool,
}

impl PackedEncoder {
    /// An encoder of addresses, or of addresses and ports.
    pub fn new(with_port: bool) -> Self {
        Self { with_port }
    }

    /// Bytes per record.
    pub(super) fn record_len(&self) -> u64 {
        if self.with_port { 6 } else { 4 }
    }

    pub(super) fn encode(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        match reply.header().target() {
            IpAddr::V4(address) => out.extend(address.octets()),
            IpAddr::V6(address) => out.extend(address.octets()),
        }
        if self.with_port {
            out.extend(reply.header().target_port.to_be_bytes());
        }
    }
}
