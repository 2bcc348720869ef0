/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the XDP program and the scanner agree on: the configuration set at load, the keys of the maps, the
 * meaning of each counter, and how a cookie is laid out in a TCP probe. One description for both sides:
 * scanner/src/io/bpf/abi.rs mirrors it, and a test holds that mirror against the BTF of the compiled object.
 *
 * Rules: the counters are append-only (a metadata reader knows them by name and place). A change of the
 * cookie's input or of its place in a probe raises XDPMAP_COOKIE_VERSION.
 */
#ifndef XDPMAP_ABI_H
#define XDPMAP_ABI_H

/* Version of the cookie: part of its input, so that two versions never accept each other's replies. */
#define XDPMAP_COOKIE_VERSION 1

/* Most queues of one NIC: entries of the XSKMAP. */
#define XDPMAP_QUEUES_MAX 256

/* Most source addresses of one scan: entries of the hash map `sources`. */
#define XDPMAP_SOURCES_MAX 256

/* Why a packet was passed, dropped or steered. One per packet; the sum is all that the program saw. */
enum xdpmap_counter {
	/* Passed to the host: not for a scan at all. */
	XDPMAP_PASS_NOT_IPV4 = 0,	/* another EtherType (ARP, IPv6, a third VLAN tag ...) or IP version */
	XDPMAP_PASS_NOT_TCP = 1,	/* IPv4, another protocol */
	XDPMAP_PASS_FRAGMENT = 2,	/* an IPv4 fragment, first or later: ports or TCP header may be absent */
	XDPMAP_PASS_TRUNCATED = 3,	/* ends inside a header that its lengths promise, or a length is impossible */
	XDPMAP_PASS_OTHER_ADDRESS = 4,	/* destination is none of our source addresses */
	XDPMAP_PASS_OTHER_PORT = 5,	/* destination port outside the source-port range */
	XDPMAP_PASS_OTHER_FLAGS = 6,	/* to a scan port, but neither SYN-ACK nor RST: the host's own traffic */
	XDPMAP_PASS_BAD_COOKIE = 7,	/* SYN-ACK or RST to our address and a scan port, cookie wrong */
	/* Dropped: only with drop_invalid, and only what is aimed at our address and scan ports. */
	XDPMAP_DROP_OTHER_FLAGS = 8,
	XDPMAP_DROP_BAD_COOKIE = 9,
	/* The cookie is right. */
	XDPMAP_VALID_REDIRECTED = 10,	/* handed to the AF_XDP socket of this RX queue */
	XDPMAP_VALID_NO_SOCKET = 11,	/* this RX queue has no socket: passed to the host */
	XDPMAP_COUNTERS
};

/* Set once at load (`const volatile`, .rodata). Multi-byte values are in host order. */
struct xdpmap_config {
	unsigned long long cookie_key[2];	/* SipHash key: k0, k1 */
	unsigned int source_port_first;		/* first source port of the scan */
	unsigned int source_port_count;		/* how many, 1..65536 */
	unsigned int probes;			/* copies of each probe, 1..source_port_count */
	unsigned int drop_invalid;		/* not 0: drop instead of pass what is aimed at us and is not valid */
	unsigned int source_first;		/* lowest IPv4 source address */
	unsigned int source_last;		/* highest one: beyond these two, `sources` need not be asked */
	unsigned int sources_dense;		/* not 0: all between them are ours, `sources` is never asked */
	unsigned int reserved;			/* 0 */
};

/* Key of `sources`: an IPv6 address, or an IPv4 address as ::ffff:a.b.c.d; network order. Value: one byte, 1. */
struct xdpmap_address {
	unsigned char octets[16];
};

/* The cookie of a TCP probe: SipHash-1-3 (Aumasson, Bernstein 2012) over two little-endian 64-bit words
 *     word 0 = source address << 32 | destination address          (IPv4, as numbers)
 *     word 1 = version << 24 | IP protocol << 16 | destination port
 * both seen from the probe: source is ours, destination is the target.
 * Of its 64 bits
 *     0..31  TCP sequence number
 *     32..47 source port: base = (bits * source_port_count) >> 16; probe k of a target leaves from
 *            source_port_first + (base + k) mod source_port_count
 *     48..63 IP identification
 * A reply is ours when it acknowledges sequence + 1 (a RST may also acknowledge sequence itself) and its
 * destination port is the source port of one of the `probes` copies.
 */
#endif
