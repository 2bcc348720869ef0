/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The headers that the program reads. They are not packed, although a VLAN tag leaves them unaligned: clang would load
 * packed fields byte by byte, and the kernel allows unaligned loads from a packet on all CPUs that support them.
 */
#ifndef XDPMAP_PACKET_H
#define XDPMAP_PACKET_H

#include "bpf.h"

enum {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_VLAN = 0x8100,	/* IEEE 802.1Q: C-tag */
	ETHERTYPE_QINQ = 0x88a8,	/* IEEE 802.1ad: S-tag */
	IPV4_PLAIN = 0x45,		/* version 4, five words of header: no options */
	IPV4_FRAGMENT = 0x3fff,		/* more fragments, or an offset */
	IPV4_FRAGMENT_OFFSET = 0x1fff,
	IP_PROTOCOL_ICMP = 1,
	IP_PROTOCOL_IPIP = 4,
	IP_PROTOCOL_TCP = 6,
	IP_PROTOCOL_UDP = 17,
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_SOURCE_QUENCH = 4,
	ICMP_REDIRECT = 5,
	ICMP_ECHO_REQUEST = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,
	NTP_ORIGIN = 24,	/* offset of the origin timestamp in a message: RFC 5905, figure 8 */
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

struct ethernet {
	u8 destination[6];
	u8 source[6];
	be16 ethertype;
};

struct vlan_tag {
	be16 control;
	be16 ethertype;
};

/* RFC 791, section 3.1. */
struct ipv4 {
	u8 version_ihl;
	u8 tos;
	be16 total_length;
	be16 id;
	be16 fragment;
	u8 ttl;
	u8 protocol;
	be16 checksum;
	be32 source;
	be32 destination;
};

/* RFC 9293, section 3.1. */
struct tcp {
	be16 source_port;
	be16 destination_port;
	be32 sequence;
	be32 acknowledgment;
	u8 data_offset;
	u8 flags;
	be16 window;
	be16 checksum;
	be16 urgent;
};

/* RFC 768. */
struct udp {
	be16 source_port;
	be16 destination_port;
	be16 length;
	be16 checksum;
};

/* RFC 792; the last two fields are those of an echo message. */
struct icmp {
	u8 type;
	u8 code;
	be16 checksum;
	be16 id;
	be16 sequence;
};

_Static_assert(sizeof(struct ethernet) == 14, "Ethernet header");
_Static_assert(sizeof(struct vlan_tag) == 4, "VLAN tag");
_Static_assert(sizeof(struct ipv4) == 20, "IPv4 header");
_Static_assert(sizeof(struct tcp) == 20, "TCP header");
_Static_assert(sizeof(struct udp) == 8, "UDP header");
_Static_assert(sizeof(struct icmp) == 8, "ICMP header");

#endif
