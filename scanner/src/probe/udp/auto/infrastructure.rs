//! Names, time, files, routing: the oldest services.

use super::join;

/// Echo (RFC 862) returns it; daytime (RFC 867), quote of the day (RFC 865) and character generator (RFC 864) answer
/// any datagram.
pub(super) const LINE: &[u8] = b"\r\n";

/// Time needs an empty datagram (RFC 868).
pub(super) const NOTHING: &[u8] = b"";

/// DNS: the server's version, which every server can answer or refuse: `version.bind`, TXT, class CHAOS (RFC 1035,
/// section 4.1; RFC 4892, section 3).
pub(super) const DNS: [u8; 30] = join(&[
    &[0x78, 0x64],             // id
    &[0, 0],                   // a standard query
    &[0, 1, 0, 0, 0, 0, 0, 0], // one question
    b"\x07version\x04bind\0",
    &[0, 16, 0, 3], // TXT, CH
]);

/// Multicast DNS: a list of the kinds of services. Sent by unicast, and to be answered by unicast: the top bit of the
/// class (RFC 6762, sections 5.4 and 6.7; RFC 6763, section 9).
pub(super) const MDNS: [u8; 46] = join(&[
    &[0x78, 0x64, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    b"\x09_services\x07_dns-sd\x04_udp\x05local\0",
    &[0, 12, 0x80, 1], // PTR, IN, unicast requested
]);

/// TFTP: a read request for a file that is unlikely to exist, in octet mode (RFC 1350, section 5). The answer comes
/// from another port (section 4).
pub(super) const TFTP: &[u8] = b"\0\x01xdpmap-probe\0octet\0";

/// ONC RPC call (RFC 5531, section 9) without credentials.
const fn rpc_call(program: u32, version: u32, procedure: u32) -> [u8; 40] {
    join(&[
        b"xdpm",       // transaction
        &[0, 0, 0, 0], // call
        &[0, 0, 0, 2], // RPC version 2
        &program.to_be_bytes(),
        &version.to_be_bytes(),
        &procedure.to_be_bytes(),
        &[0; 16], // no credentials, no verifier
    ])
}

/// Port mapper: the list of registered services, PMAPPROC_DUMP (RFC 1833, section 3.2).
pub(super) const RPCBIND: [u8; 40] = rpc_call(100_000, 2, 4);

/// NFS: the procedure that does nothing, of version 3 (RFC 1813, section 3.3.0).
pub(super) const NFS: [u8; 40] = rpc_call(100_003, 3, 0);

/// NTP: a client's request, version 4, all values unknown (RFC 5905, section 7.3), with an arbitrary transmit
/// timestamp, which the answer repeats as its origin.
pub(super) const NTP: [u8; 48] = join(&[
    &[0x23, 0, 6, 0xec], // no leap, version 4, client; stratum unknown, poll 64 s, precision 2^-20 s
    &[0; 36],
    b"xdpmap\0\0", // transmit timestamp
]);

/// NetBIOS name service: node status of the name `*` (RFC 1002, section 4.2.17; the name's encoding: RFC 1001, section
/// 14.1, in which a zero byte is "AA").
pub(super) const NETBIOS: [u8; 50] = join(&[
    &[0x78, 0x64, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    b"\x20CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0",
    &[0, 0x21, 0, 1], // NBSTAT, IN
]);

/// XDMCP: Query, version 1, no authentication names (X Display Manager Control Protocol 1.1, section 4).
pub(super) const XDMCP: [u8; 7] = [0, 1, 0, 2, 0, 1, 0];

/// LDAP over UDP: the naming contexts in the root entry (RFC 4511, section 4.5.1; RFC 4512, section 5.1; in BER).
pub(super) const CLDAP: [u8; 55] = join(&[
    &[0x30, 53],   // message
    &[0x02, 1, 1], // id 1
    &[0x63, 48],   // search request
    &[0x04, 0],    // from the root
    &[0x0a, 1, 0], // that object only
    &[0x0a, 1, 0], // never follow aliases
    &[0x02, 1, 0], // any number of entries
    &[0x02, 1, 0], // any time
    &[0x01, 1, 0], // values as well
    &[0x87, 11],   // if this attribute exists:
    b"objectClass",
    &[0x30, 16, 0x04, 14], // the requested attribute
    b"namingContexts",
]);

/// RIP: the whole routing table: one entry of family 0 and metric 16 (RFC 2453, section 3.9.1).
pub(super) const RIP: [u8; 24] = join(&[&[1, 2, 0, 0], &[0; 16], &[0, 0, 0, 16]]);

/// memcached: its version, in the frame for UDP: request, sequence number, one datagram, reserved (memcached's
/// protocol.txt, "UDP protocol").
pub(super) const MEMCACHED: [u8; 17] = join(&[&[0x78, 0x64, 0, 0, 0, 1, 0, 0], b"version\r\n"]);
