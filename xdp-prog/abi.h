/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The interface between the XDP program and the scanner: the configuration set at load, the keys of the maps, the
 * meaning of each counter, and the layout of a cookie in a probe. One description serves both sides:
 * scanner/src/io/bpf/abi.rs mirrors it, and a test compares that mirror with the BTF of the compiled object.
 *
 * Rules: the counters are append-only (a metadata reader knows them by name and place). A change of the
 * cookie's input or of its place in a probe raises XDPMAP_COOKIE_VERSION.
 */
#ifndef XDPMAP_ABI_H
#define XDPMAP_ABI_H

/* Version of the cookie: part of its input, so that two versions never accept each other's replies. */
#define XDPMAP_COOKIE_VERSION 2

/* Most queues of one NIC: entries of the XSKMAP. A NIC with more cannot use all of them; more entries take memory. */
#define XDPMAP_QUEUES_MAX 256

/* Most source addresses of one scan: entries of the hash map `sources`. */
#define XDPMAP_SOURCES_MAX 256

/* Why a packet was passed, dropped or steered. One per packet; the sum is all that the program saw. */
enum xdpmap_counter {
	/* Passed to the host: not for a scan at all. */
	XDPMAP_PASS_NOT_IPV4 = 0,	/* another EtherType (ARP, IPv6, a third VLAN tag ...) or IP version */
	XDPMAP_PASS_OTHER_PROTOCOL = 1,	/* IPv4, neither ICMP nor the protocol of answers */
	XDPMAP_PASS_FRAGMENT = 2,	/* an IPv4 fragment: in a scan of TCP any, else a later one */
	XDPMAP_PASS_TRUNCATED = 3,	/* ends inside a header, contrary to its lengths, or a length is impossible */
	XDPMAP_PASS_OTHER_ADDRESS = 4,	/* destination is not one of our source addresses */
	XDPMAP_PASS_OTHER_PORT = 5,	/* destination port outside the source-port range */
	XDPMAP_PASS_OTHER_FLAGS = 6,	/* to a scan port, but neither SYN-ACK nor RST: the host's own traffic */
	XDPMAP_PASS_BAD_COOKIE = 7,	/* could be an answer, to our address and a scan port; wrong cookie */
	/* Dropped: only with drop_invalid, and only what is for our address and scan ports and has no socket. */
	XDPMAP_DROP_OTHER_FLAGS = 8,
	XDPMAP_DROP_BAD_COOKIE = 9,
	/* The cookie is right. */
	XDPMAP_VALID_REDIRECTED = 10,	/* redirected to the AF_XDP socket of this RX queue */
	XDPMAP_VALID_NO_SOCKET = 11,	/* this RX queue has no socket: passed to the host */
	/* Passed to the host: ICMP that is not an answer to a probe. */
	XDPMAP_PASS_OTHER_ICMP = 12,	/* neither an error nor, in an echo scan, an echo reply */
	XDPMAP_PASS_BAD_QUOTE = 13,	/* an error that does not quote a probe of ours, or too little of it */
	/* Passed to the host: not for the scan's VLAN. */
	XDPMAP_PASS_OTHER_VLAN = 14,	/* in a scan of a VLAN: IPv4 with the tags of another one */
	/* Passed to the host: the cookie is right, but it belongs to a socket of the host. */
	XDPMAP_PASS_OWN_SOCKET = 15,	/* UDP, whose cookie has few bits, or an error that quotes it */
	XDPMAP_COUNTERS
};

/* The form of a probe, and so of its answers: see "The cookie" below. An ICMP error that quotes the probe answers every
 * form. */
enum xdpmap_form {
	XDPMAP_TCP_SYN = 0,	/* SYN; SYN-ACK or RST answers */
	XDPMAP_TCP_SYNACK = 1,	/* SYN-ACK; SYN-ACK or RST answers */
	XDPMAP_ICMP_ECHO = 2,	/* echo request; echo reply answers */
	XDPMAP_UDP = 3,		/* UDP; UDP answers */
	XDPMAP_IPIP = 4,	/* UDP in IPv4 in IPv4; the inner UDP, forwarded by the target, answers */
};

/* The part of its probe's cookie that a UDP answer repeats in its payload, as a proof in addition to the port. */
enum xdpmap_echo {
	XDPMAP_ECHO_NOTHING = 0,
	XDPMAP_ECHO_DNS_ID = 1,		/* bytes 0 and 1: cookie & 0xffff (RFC 1035, section 4.1.1: ID) */
	XDPMAP_ECHO_NTP_ORIGIN = 2,	/* bytes 24 to 31: the whole cookie (RFC 5905, section 7.3: origin) */
};

/* Set once at load (`const volatile`, .rodata). Multi-byte values are in host order. */
struct xdpmap_config {
	unsigned long long cookie_state[4];	/* SipHash: v0..v3 from the key, after sip_left() (cookie.h) */
	unsigned int source_port_first;		/* first source port of the scan */
	unsigned int source_port_count;		/* their number, 1..65536 */
	unsigned int probes;			/* copy numbers of a target's probes, 1..source_port_count */
	unsigned int drop_invalid;		/* not 0: drop invalid packets to us that have no socket */
	unsigned int source_first;		/* lowest IPv4 source address */
	unsigned int source_last;		/* highest one: outside these two, no look-up in `sources` */
	unsigned int sources_dense;		/* not 0: all between them are ours, no look-up in `sources` */
	enum xdpmap_form form;			/* the form of the probes */
	unsigned int cookie_port_mask;		/* 0xffff; 0 if the cookie leaves the destination port out */
	unsigned int vlan_tags;			/* tags of the scan's frames, 0..2 */
	unsigned int vlan_ids;			/* their VLANs: inner one in the lower half, outer one in the upper */
	enum xdpmap_echo echo;			/* the part that UDP answers repeat */
	unsigned int own_sockets;		/* not 0: the host may have sockets at the source addresses */
	unsigned int reserved;			/* always 0 */
};

/* Key of `sources`: an IPv6 address, or an IPv4 address as ::ffff:a.b.c.d; network order. Value: one byte, 1. */
struct xdpmap_address {
	unsigned char octets[16];
};

/* The cookie of a probe: SipHash-1-3 (Aumasson, Bernstein 2012) over 12 bytes, two little-endian numbers
 *     64 bits = source address << 32 | destination address         (IPv4, as numbers)
 *     32 bits = version << 24 | IP protocol << 16 | (destination port & cookie_port_mask)
 * seen from the probe: the source is ours, the destination the target; the protocol is the probe's; ICMP has port 0.
 *
 * Of its 64 bits, A = 0..31, P = 32..47 and I = 48..63
 *     TCP_SYN     sequence number A, source port by P, IP identification I
 *     TCP_SYNACK  the same, and bits 32..63 as acknowledgement number
 *     ICMP_ECHO   identifier A >> 16, sequence number (A + k) & 0xffff for probe k of a target, IP identification I
 *     UDP         source port by P, IP identification I; a payload may carry more (enum xdpmap_echo)
 *     IPIP        as UDP, with the ports of the inner datagram, seen from the answer; inner identification A & 0xffff
 * Source port: base = (P * source_port_count) >> 16; probe k of a target leaves from
 * source_port_first + (base + k) mod source_port_count.
 *
 * The copy numbers of a target are 0..probes-1: first those of its ordinary probes, then that of a second probe, if the
 * scan has one, then those of canaries, if it has some. The program accepts the answers to all of them alike.
 *
 * A reply is ours when its destination port is the source port of one of the `probes` copies and
 *     TCP_SYN     it acknowledges A + 1 (a RST may also acknowledge A itself)
 *     TCP_SYNACK  it acknowledges A + 1, or is a RST; the sequence number of the RST is the probe's acknowledgement
 *                 number or one more
 *     UDP         its payload repeats the part that enum xdpmap_echo names
 *     IPIP        there is no further condition
 * An echo reply is ours when its identifier and sequence number are those of one of the copies.
 *
 * An ICMP error (destination unreachable, source quench, redirect, time exceeded, parameter problem) is ours when it is
 * sent to the source address of the packet that it quotes, and the quote (8 bytes of its payload suffice) has that
 * form: protocol, unfragmented or first fragment, source port, and for TCP the sequence number A, for an echo request
 * identifier and sequence number, for IPIP the inner identification.
 */
#endif
