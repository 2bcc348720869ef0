//! The probes that are UDP datagrams.

pub mod datagram;
