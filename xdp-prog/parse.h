/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Parses a frame's headers. Each function moves a cursor over the part that it has parsed, or returns why it did not.
 */
#ifndef XDPMAP_PARSE_H
#define XDPMAP_PARSE_H

#include "abi.h"
#include "packet.h"

/* The part of a frame that is not parsed yet. */
struct cursor {
	const u8 *at;
	const u8 *end;
};

/* Moves over `len` bytes; false if the frame ends before. */
static __always_inline int skip(struct cursor *c, u32 len)
{
	if (c->at + len > c->end)
		return 0;
	c->at += len;
	return 1;
}

/* Moves over an unknown number of bytes. The pointer is then one value in one register. If the compiler computed it
 * twice for two uses, the verifier would not know that the two values are the same. */
static __always_inline void skip_options(struct cursor *c, u32 len)
{
	c->at += len;
	asm volatile("" : "+r"(c->at));
}

/* The result of a test that did not fail; any other counter is the verdict. */
#define GOES_ON XDPMAP_COUNTERS

/* Whether answers may have this protocol. */
static __always_inline int is_answer_protocol(u8 protocol)
{
	switch (config.form) {
	case XDPMAP_TCP_SYN:
	case XDPMAP_TCP_SYNACK:
		return protocol == IP_PROTOCOL_TCP || protocol == IP_PROTOCOL_ICMP;
	case XDPMAP_UDP:
	case XDPMAP_IPIP:
		return protocol == IP_PROTOCOL_UDP || protocol == IP_PROTOCOL_ICMP;
	default:
		return protocol == IP_PROTOCOL_ICMP;
	}
}

/* Whether these tags are those of the scan's VLAN. The NIC may have removed one or all of them, the outer one first:
 * then the cookie has to decide. */
static __always_inline int is_our_vlan(u32 tags, u32 ids)
{
	if (tags == 0 || config.vlan_tags == 0)
		return 1;
	return tags <= config.vlan_tags && ids == (tags == 1 ? config.vlan_ids & 0xffff : config.vlan_ids);
}

/* Parses Ethernet and up to two tags; leaves the cursor at the IP header. */
static __always_inline enum xdpmap_counter parse_link(struct cursor *c)
{
	const struct ethernet *eth = (const void *)c->at;
	const struct vlan_tag *tag;
	u16 ethertype;
	u32 tags = 0, ids = 0;

	if (!skip(c, sizeof(*eth)))
		return XDPMAP_PASS_TRUNCATED;
	ethertype = from_be16(eth->ethertype);
#pragma unroll
	for (int depth = 0; depth < 2; depth++) {
		if (ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ)
			break;
		tag = (const void *)c->at;
		if (!skip(c, sizeof(*tag)))
			return XDPMAP_PASS_TRUNCATED;
		ethertype = from_be16(tag->ethertype);
		ids = ids << 16 | (from_be16(tag->control) & 0xfff);
		tags++;
	}
	if (ethertype != ETHERTYPE_IPV4)
		return XDPMAP_PASS_NOT_IPV4;
	return is_our_vlan(tags, ids) ? GOES_ON : XDPMAP_PASS_OTHER_VLAN;
}

/* Whether this is a fragment that cannot begin an answer. The first fragment of a long datagram has ports and cookie;
 * TCP answers are never long. */
static __always_inline int is_unfit_fragment(const struct ipv4 *ip)
{
	u16 fragment = from_be16(ip->fragment);

	if (config.form == XDPMAP_TCP_SYN || config.form == XDPMAP_TCP_SYNACK)
		return fragment & IPV4_FRAGMENT;
	return fragment & IPV4_FRAGMENT_OFFSET;
}

/* Parses IPv4 with options; leaves the cursor at the payload and returns its length. */
static __always_inline enum xdpmap_counter parse_ipv4(struct cursor *c, const struct ipv4 **header, u32 *payload_len)
{
	const struct ipv4 *ip = (const void *)c->at;
	u64 frame_len = c->end - c->at;	/* 64 bits: the verifier may refuse half a pointer */
	u32 header_len, total_len;

	if (!skip(c, sizeof(*ip)))
		return XDPMAP_PASS_TRUNCATED;
	if (ip->version_ihl >> 4 != 4)
		return XDPMAP_PASS_NOT_IPV4;
	header_len = (ip->version_ihl & 0xf) * 4;
	total_len = from_be16(ip->total_length);
	if (header_len < sizeof(*ip) || total_len < header_len || total_len > frame_len)
		return XDPMAP_PASS_TRUNCATED;
	if (is_unfit_fragment(ip))
		return XDPMAP_PASS_FRAGMENT;
	if (!is_answer_protocol(ip->protocol))
		return XDPMAP_PASS_OTHER_PROTOCOL;
	skip_options(c, header_len - sizeof(*ip));
	*header = ip;
	*payload_len = total_len - header_len;
	return GOES_ON;
}

/* Whether this is TCP in its usual form (no tags before the IP header, no options in it) and no test of the link, IP
 * and TCP headers fails. All the tests are made here at once, because the offset of each field is known. If one fails,
 * or the frame has another form, the functions above find the reason. */
static __always_inline int is_plain_tcp(const struct cursor *c, const struct ipv4 **ip_header, const struct tcp **tcp_header)
{
	const struct ethernet *eth = (const void *)c->at;
	const struct ipv4 *ip = (const void *)(eth + 1);
	const struct tcp *tcp = (const void *)(ip + 1);
	u64 frame_len = c->end - (const u8 *)ip;	/* a number, as in parse_ipv4(): no pointer plus a length */
	u32 total_len, header_len;

	if (config.form != XDPMAP_TCP_SYN && config.form != XDPMAP_TCP_SYNACK)
		return 0;
	if ((const u8 *)(tcp + 1) > c->end || from_be16(eth->ethertype) != ETHERTYPE_IPV4)
		return 0;
	if (ip->version_ihl != IPV4_PLAIN || ip->protocol != IP_PROTOCOL_TCP)
		return 0;
	total_len = from_be16(ip->total_length);
	header_len = (tcp->data_offset >> 4) * 4;
	*ip_header = ip;
	*tcp_header = tcp;
	return !(from_be16(ip->fragment) & IPV4_FRAGMENT) && total_len <= frame_len && header_len >= sizeof(*tcp) &&
	       sizeof(*ip) + header_len <= total_len;
}

static __always_inline enum xdpmap_counter parse_tcp(struct cursor *c, u32 segment_len, const struct tcp **header)
{
	const struct tcp *tcp = (const void *)c->at;
	u32 header_len;

	if (!skip(c, sizeof(*tcp)))
		return XDPMAP_PASS_TRUNCATED;
	header_len = (tcp->data_offset >> 4) * 4;
	if (header_len < sizeof(*tcp) || header_len > segment_len)
		return XDPMAP_PASS_TRUNCATED;
	*header = tcp;
	return GOES_ON;
}

static __always_inline enum xdpmap_counter parse_udp(struct cursor *c, u32 datagram_len, const struct udp **header)
{
	*header = (const void *)c->at;
	if (datagram_len < sizeof(struct udp) || !skip(c, sizeof(struct udp)))
		return XDPMAP_PASS_TRUNCATED;
	return GOES_ON;
}

static __always_inline enum xdpmap_counter parse_icmp(struct cursor *c, u32 message_len, const struct icmp **header)
{
	*header = (const void *)c->at;
	if (message_len < sizeof(struct icmp) || !skip(c, sizeof(struct icmp)))
		return XDPMAP_PASS_TRUNCATED;
	return GOES_ON;
}

/* The packet that an ICMP error quotes: its IPv4 header, and the first 8 bytes of its payload (RFC 792). */
struct quote {
	const struct ipv4 *ip;
	const u8 *payload;
};

/* False if `len` bytes, the rest of the error, hold no such packet or too little of it. */
static __always_inline int parse_quote(struct cursor *c, u32 len, struct quote *quote)
{
	const struct ipv4 *ip = (const void *)c->at;
	u32 header_len;

	if (!skip(c, sizeof(*ip)))
		return 0;
	header_len = (ip->version_ihl & 0xf) * 4;
	if (ip->version_ihl >> 4 != 4 || header_len < sizeof(*ip) || header_len + 8 > len)
		return 0;
	if (from_be16(ip->fragment) & IPV4_FRAGMENT_OFFSET)
		return 0;
	skip_options(c, header_len - sizeof(*ip));
	quote->ip = ip;
	quote->payload = c->at;
	return skip(c, 8);
}

#endif
