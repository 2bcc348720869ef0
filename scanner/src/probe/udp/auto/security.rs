//! Key exchange, tunnels and access control.

use super::join;

/// QUIC: a long header with a version that no server supports, so that the server lists its versions (RFC 8999,
/// sections 5.1 and 6; RFC 9000, sections 6, 14.1 and 15: such versions are 0x?a?a?a?a, and a datagram has 1200 bytes).
pub(super) const QUIC: [u8; 1200] = join(&[
    &[0xc0], // long header
    &[0x1a, 0x2a, 0x3a, 0x4a],
    b"\x08xdpmap-d", // destination connection
    b"\x08xdpmap-s", // source connection
    // Continues like an Initial packet of current versions: no token, and the length of the rest.
    &[0, 0x44, 0x96],
    &[0; 1174],
]);

/// The SPIs at the start of an exchange, and an IKEv2 header for an IKE_SA_INIT of this length (RFC 7296, section 3.1).
const fn ike_header(len: u32) -> [u8; 28] {
    join(&[
        b"xdpmap-i", // our SPI
        &[0; 8],
        &[33, 0x20, 34, 0x08], // first an SA; version 2.0; IKE_SA_INIT; from the initiator
        &[0; 4],               // message 0
        &len.to_be_bytes(),
    ])
}

/// IKEv2: IKE_SA_INIT that proposes AES-CBC-256, HMAC-SHA2-256 and Curve25519 (RFC 7296, sections 1.2 and 3.3; RFC
/// 8031). Its public value is the curve's base point, because no shared secret is needed.
pub(super) const IKE: [u8; 148] = join(&[
    &ike_header(148),
    &[34, 0, 0, 48],                             // SA; next: key exchange
    &[0, 0, 0, 44, 1, 1, 0, 4],                  // one proposal: number 1, IKE, no SPI, four transforms
    &[3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0], // ENCR_AES_CBC, key length 256
    &[3, 0, 0, 8, 2, 0, 0, 5],                   // PRF_HMAC_SHA2_256
    &[3, 0, 0, 8, 3, 0, 0, 12],                  // AUTH_HMAC_SHA2_256_128
    &[0, 0, 0, 8, 4, 0, 0, 31],                  // Curve25519
    &[40, 0, 0, 40, 0, 31, 0, 0],                // key exchange; next: nonce
    &[9],
    &[0; 31],
    &[0, 0, 0, 32], // nonce, the last
    b"xdpmap-probe-xdpmap-probe-28",
]);

/// The same after a non-ESP marker (RFC 3948, section 2.2).
pub(super) const IKE_NAT: [u8; 152] = join(&[&[0; 4], &IKE]);

/// OpenVPN: P_CONTROL_HARD_RESET_CLIENT_V2, key 0, nothing to acknowledge, packet 0 (OpenVPN wire protocol, section 3).
pub(super) const OPENVPN: [u8; 14] = join(&[&[7 << 3], b"xdpmap-s", &[0], &[0; 4]]);

/// RADIUS: Access-Request of an unknown user, by CHAP, which needs no shared secret (RFC 2865, sections 4.1 and 5.3).
pub(super) const RADIUS: [u8; 55] = join(&[
    &[1, 0x78, 0, 55],
    b"xdpmap-challenge", // request authenticator
    &[1, 8],             // user name
    b"xdpmap",
    &[3, 19, 1], // CHAP: identifier and answer to the challenge, a wrong one
    &[0; 16],
    &[32, 8], // NAS identifier
    b"xdpmap",
]);

/// L2TP: Start-Control-Connection-Request (RFC 2661, sections 3.1, 4.4 and 6.1). All attributes are mandatory ones.
pub(super) const L2TP: [u8; 58] = join(&[
    &[0xc8, 2, 0, 58, 0, 0, 0, 0, 0, 0, 0, 0], // control message, no tunnel yet
    &[0x80, 8, 0, 0, 0, 0, 0, 1],              // message type: SCCRQ
    &[0x80, 8, 0, 0, 0, 2, 1, 0],              // protocol version 1.0
    &[0x80, 12, 0, 0, 0, 7],                   // host name
    b"xdpmap",
    &[0x80, 10, 0, 0, 0, 3, 0, 0, 0, 3], // framing: both
    &[0x80, 8, 0, 0, 0, 9, 0x78, 0x64],  // our tunnel
]);

/// DTLS 1.2: ClientHello, which the server answers with a HelloVerifyRequest (RFC 6347, sections 4.2.1 and 4.3.2), with
/// the cipher suites and extensions of RFC 9325 and of CoAP (RFC 7252, section 9.1.3).
pub(super) const DTLS: [u8; 109] = join(&[
    &[22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 96], // record: handshake, epoch and number 0
    &[1, 0, 0, 84, 0, 0, 0, 0, 0, 0, 0, 84],          // ClientHello, message 0, in one piece
    &[0xfe, 0xfd],                                    // DTLS 1.2
    b"xdpmap-probe-xdpmap-probe-random",
    &[0, 0],  // no session, no cookie
    &[0, 14], // ECDHE with AES-GCM, with AES-CCM-8; PSK with AES-CCM-8; no renegotiation
    &[0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0xc0, 0xae, 0xc0, 0xa8, 0, 0xff],
    &[1, 0],                                // no compression
    &[0, 28],                               // extensions
    &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23],     // groups: Curve25519, P-256
    &[0, 11, 0, 2, 1, 0],                   // points: uncompressed
    &[0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1], // signatures: ECDSA, RSA-PSS, RSA with SHA-256
]);
