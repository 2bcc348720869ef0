//! Headers and checksums shared by the probes, as pure functions over byte slices; batches of frames and their sizes.
//!
//! Nothing here trusts a length that came from the network: every read is bounded by the given slice.

mod batch;
pub mod checksum;
pub mod mac;
pub mod patch;
pub mod tcp_options;
pub mod template;
pub mod view;
pub mod vlan;

pub use batch::{CAPTURE_MAX, RX_BATCH_MAX, RxBatch, RxFrame};
pub use mac::MacAddr;
pub use patch::{Patch, PatchBatch, Tails};
pub use simd::BATCH_MAX;
pub use tcp_options::TcpOptions;
pub use template::{Envelope, Layout, Sums, Template};
pub use vlan::VlanTags;

/// Length of an Ethernet header without VLAN tags.
pub const ETHERNET_LEN: usize = 14;
/// Length of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// Length of a TCP header without options.
pub const TCP_LEN: usize = 20;
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherTypes of a VLAN tag: 802.1Q and 802.1ad.
pub const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];
/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;

/// IP protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of IPv4 in IPv4 (RFC 2003).
pub const PROTOCOL_IPIP: u8 = 4;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Length of a UDP header.
pub const UDP_LEN: usize = 8;
/// Length of the header of an ICMP message.
pub const ICMP_LEN: usize = 8;

/// ICMP type: echo reply.
pub const ICMP_ECHO_REPLY: u8 = 0;
/// ICMP type: destination unreachable.
pub const ICMP_UNREACHABLE: u8 = 3;
/// ICMP type: source quench.
pub const ICMP_SOURCE_QUENCH: u8 = 4;
/// ICMP type: redirect.
pub const ICMP_REDIRECT: u8 = 5;
/// ICMP type: echo request.
pub const ICMP_ECHO_REQUEST: u8 = 8;
/// ICMP type: time exceeded.
pub const ICMP_TIME_EXCEEDED: u8 = 11;
/// ICMP type: parameter problem.
pub const ICMP_PARAMETER_PROBLEM: u8 = 12;

/// TCP flag FIN.
pub const TCP_FIN: u8 = 0x01;
/// TCP flag SYN.
pub const TCP_SYN: u8 = 0x02;
/// TCP flag RST.
pub const TCP_RST: u8 = 0x04;
/// TCP flag ACK.
pub const TCP_ACK: u8 = 0x10;

/// The header before the IP header of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkHeader {
    /// An Ethernet header; in a received frame with up to two VLAN tags.
    #[default]
    Ethernet,
    /// Nothing: tun, WireGuard, PPP and other tunnels carry bare packets.
    Bare,
}

/// Bytes that a frame of `frame_len` bytes takes on an Ethernet wire: padded to 60 bytes, with FCS (4), preamble
/// (8) and inter-frame gap (12). This is what a bandwidth counts.
pub fn wire_len(frame_len: usize) -> usize {
    frame_len.max(60) + 24
}

#[cfg(test)]
mod tests {
    use super::wire_len;

    #[test]
    fn wire_lengths() {
        assert_eq!(wire_len(54), 84);
        assert_eq!(wire_len(60), 84);
        assert_eq!(wire_len(66), 90);
    }
}
