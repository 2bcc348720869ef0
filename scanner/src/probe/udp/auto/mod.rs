//! A ready payload for each well-known port: `--probe-args auto`.
//!
//! Each payload follows its protocol's specification, which is named next to it. Each requests something that a server
//! answers to an unknown client, and changes nothing on the server. A port without an entry gets an empty datagram.

mod infrastructure;
mod management;
mod media;
mod security;

use super::PAYLOAD_LEN_MAX;

/// A port, its service, and the payload.
pub type Entry = (u16, &'static str, &'static [u8]);

/// All payloads, ports ascending.
#[rustfmt::skip]
const ENTRIES: [Entry; 46] = [
    (7, "echo", infrastructure::LINE),
    (13, "daytime", infrastructure::LINE),
    (17, "qotd", infrastructure::LINE),
    (19, "chargen", infrastructure::LINE),
    (37, "time", infrastructure::NOTHING),
    (53, "dns", &infrastructure::DNS),
    (69, "tftp", infrastructure::TFTP),
    (111, "rpcbind", &infrastructure::RPCBIND),
    (123, "ntp", &infrastructure::NTP),
    (137, "netbios-ns", &infrastructure::NETBIOS),
    (161, "snmp", &management::SNMP),
    (177, "xdmcp", &infrastructure::XDMCP),
    (389, "cldap", &infrastructure::CLDAP),
    (427, "slp", &management::SLP),
    (443, "quic", &security::QUIC),
    (500, "isakmp", &security::IKE),
    (520, "rip", &infrastructure::RIP),
    (623, "asf-rmcp", &management::RMCP),
    (853, "dns over quic", &security::QUIC),
    (1194, "openvpn", &security::OPENVPN),
    (1434, "ms-sql-m", &management::SQL_BROWSER),
    (1645, "radius", &security::RADIUS),
    (1701, "l2tp", &security::L2TP),
    (1812, "radius", &security::RADIUS),
    (1900, "ssdp", media::SSDP),
    (2049, "nfs", &infrastructure::NFS),
    (2123, "gtp-c", &media::GTP),
    (2152, "gtp-u", &media::GTP),
    (3478, "stun", &media::STUN),
    (3671, "knxnet/ip", &management::KNX),
    (3702, "ws-discovery", management::WS_DISCOVERY),
    (4433, "dtls", &security::DTLS),
    (4500, "ipsec-nat-t", &security::IKE_NAT),
    (4569, "iax2", &media::IAX2),
    (5060, "sip", media::SIP),
    (5351, "nat-pmp", &management::NAT_PMP),
    (5353, "mdns", &infrastructure::MDNS),
    (5683, "coap", &management::COAP),
    (5684, "coaps", &security::DTLS),
    (6881, "bittorrent dht", media::DHT),
    (11_211, "memcached", &infrastructure::MEMCACHED),
    (19_132, "minecraft bedrock", &media::RAKNET),
    (27_015, "source engine", media::SOURCE_ENGINE),
    (44_818, "ethernet/ip", &management::ETHERNET_IP),
    (47_808, "bacnet", &management::BACNET),
    (64_738, "mumble", &media::MUMBLE),
];

const _: () = assert!(is_sound(), "ports ascend, payloads fit");

const fn is_sound() -> bool {
    let mut i = 0;
    while i < ENTRIES.len() {
        if ENTRIES[i].2.len() > PAYLOAD_LEN_MAX || i > 0 && ENTRIES[i - 1].0 >= ENTRIES[i].0 {
            return false;
        }
        i += 1;
    }
    true
}

/// All ports that have a payload, ascending.
pub fn all() -> &'static [Entry] {
    &ENTRIES
}

/// The payload for `port` among `entries`, whose ports ascend.
pub(super) fn find(entries: &[Entry], port: u16) -> Option<&'static [u8]> {
    entries.binary_search_by_key(&port, |entry| entry.0).ok().map(|i| entries[i].2)
}

/// Concatenates the bytes of `parts`.
const fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut joined = [0; N];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            joined[at] = parts[part][i];
            (at, i) = (at + 1, i + 1);
        }
        part += 1;
    }
    assert!(at == N, "the given length is not that of the parts");
    joined
}
