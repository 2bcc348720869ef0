//! Targets with their ports, one per line: as `address:port`, which httpx, nuclei, curl and other readers expect, or as
//! zgrab2's input.

use std::io::{self, Write as _};
use std::net::IpAddr;

use crate::reply::Reply;

/// What is between address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// A colon, and brackets around an IPv6 address.
    Colon,
    /// zgrab2's fields DOMAIN and TAG, which are empty ("Input Format" in its README).
    EmptyFields,
}

/// Writes the target of each reply, with its port unless the probes have none.
#[derive(Debug)]
pub struct HostportEncoder {
    /// What is between address and port.
    pub between: Between,
    /// Whether the probes have ports.
    pub has_ports: bool,
}

impl HostportEncoder {
    pub(super) fn encode(&self, reply: &Reply<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        let (target, port) = (reply.header().target(), reply.header().target_port);
        match (self.between, target) {
            _ if !self.has_ports => writeln!(out, "{target}"),
            (Between::EmptyFields, _) => writeln!(out, "{target},,,{port}"),
            (Between::Colon, IpAddr::V4(_)) => writeln!(out, "{target}:{port}"),
            (Between::Colon, IpAddr::V6(_)) => writeln!(out, "[{target}]:{port}"),
        }
    }
}
