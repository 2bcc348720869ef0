//! The facts about a scan that the XDP program needs.

use std::net::Ipv4Addr;

use wire::packet::VlanTags;
use wire::proof::{Copies, Echo, Key, PortRange, ProbeForm};

/// The facts about a scan that the XDP program needs.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSettings<'a> {
    /// Key of the cookies.
    pub key: Key,
    /// Source ports of the probes.
    pub ports: PortRange,
    /// The copy numbers of probes: answers to all of them are accepted. They fit the source ports.
    pub copies: Copies,
    /// The kind of probe.
    pub form: ProbeForm,
    /// Whether the cookie holds the target's port.
    pub port_in_cookie: bool,
    /// The part of the cookie that UDP answers repeat.
    pub echo: Echo,
    /// Drop, instead of passing to the host, packets to a source address and a source port that are neither valid nor
    /// for a socket of the host.
    pub drop_invalid: bool,
    /// Whether the source addresses are the host's own. Then the program looks for a socket of the host before it
    /// redirects or drops a datagram.
    pub own_sockets: bool,
    /// Source addresses of the probes, 1 to [`SOURCES_MAX`](super::abi::SOURCES_MAX).
    pub sources: &'a [Ipv4Addr],
    /// VLAN tags of the probes.
    pub tags: VlanTags,
}
