//! Calls, streams, mobile networks and games.

use super::join;

/// SSDP: a search for root devices, by unicast (UPnP Device Architecture 1.1, section 1.3.2), with the MX that version
/// 1.0 needs.
pub(super) const SSDP: &[u8] =
    b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\n\
MX: 1\r\nST: upnp:rootdevice\r\n\r\n";

/// GTP version 1: echo request with its sequence number (3GPP TS 29.060, sections 6 and 7.2.1; TS 29.281, section
/// 7.2.1).
pub(super) const GTP: [u8; 12] = [0x32, 1, 0, 4, 0, 0, 0, 0, 0x78, 0x64, 0, 0];

/// STUN: binding request (RFC 8489, section 5).
pub(super) const STUN: [u8; 20] = join(&[&[0, 1, 0, 0], &[0x21, 0x12, 0xa4, 0x42], b"xdpmap-probe"]);

/// IAX2: POKE, a full frame outside of any call (RFC 5456, sections 6.7.1 and 8.1.1).
pub(super) const IAX2: [u8; 12] = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 30];

/// SIP: OPTIONS; the answer returns to the sender's address (RFC 3261, section 11; RFC 3581).
pub(super) const SIP: &[u8] = b"OPTIONS sip:probe@invalid SIP/2.0\r\n\
Via: SIP/2.0/UDP probe.invalid;branch=z9hG4bKxdpmap;rport\r\n\
From: <sip:probe@probe.invalid>;tag=xdpmap\r\n\
To: <sip:probe@invalid>\r\n\
Call-ID: probe@probe.invalid\r\n\
CSeq: 1 OPTIONS\r\n\
Contact: <sip:probe@probe.invalid>\r\n\
Accept: application/sdp\r\n\
Max-Forwards: 70\r\n\
Content-Length: 0\r\n\r\n";

/// BitTorrent DHT: ping (BEP 5, "DHT queries").
pub(super) const DHT: &[u8] = b"d1:ad2:id20:xdpmap-probe-of-porte1:q4:ping1:t2:xd1:y1:qe";

/// RakNet, as in Minecraft Bedrock: unconnected ping: time, magic, client (RakNet, "Unconnected Ping").
pub(super) const RAKNET: [u8; 33] = join(&[
    &[1],
    &[0; 8],
    &[0, 0xff, 0xff, 0, 0xfe, 0xfe, 0xfe, 0xfe, 0xfd, 0xfd, 0xfd, 0xfd, 0x12, 0x34, 0x56, 0x78],
    b"xdpmap\0\0",
]);

/// Source engine: A2S_INFO (Valve, "Server queries").
pub(super) const SOURCE_ENGINE: &[u8] = b"\xff\xff\xff\xffTSource Engine Query\0";

/// Mumble: ping: type 0, and 8 bytes that the answer repeats (Mumble protocol, "UDP ping packet").
pub(super) const MUMBLE: [u8; 12] = join(&[&[0, 0, 0, 0], b"xdpmap\0\0"]);
