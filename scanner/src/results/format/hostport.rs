//! Targets as `address:port`, one per line, as httpx, nuclei, curl and other readers expect them.

use std::io::{self, Write as _};
use std::net::IpAddr;

use crate::reply::Reply;

/// Writes the target of each reply, with its port unless the probes have none.
#[derive(Debug)]
pub struct HostportEncoder {
    /// Whether the probes have ports.
    pub has_ports: bool,
}

impl HostportEncoder {
    pub(super) fn encode(&self, reply: &Reply<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        let (target, port) = (reply.header().target(), reply.header().target_port);
        match (target, self.has_ports) {
            (_, false) => writeln!(out, "{target}"),
            (IpAddr::V4(_), true) => writeln!(out, "{target}:{port}"),
            (IpAddr::V6(_), true) => writeln!(out, "[{target}]:{port}"),
        }
    }
}
