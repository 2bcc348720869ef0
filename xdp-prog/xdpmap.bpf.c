/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The XDP program: steers the replies to our probes to the AF_XDP sockets and leaves all else to the host.
 *
 * Each packet is judged once and counted once. The tests run from cheap to dear, and the first one that fails names
 * the counter, so this order is part of what a counter means:
 *
 *   1. EtherType (behind at most two VLAN tags) and IP version      PASS_NOT_IPV4
 *   2. IPv4 header and total length fit the frame                   PASS_TRUNCATED
 *   3. not a fragment                                               PASS_FRAGMENT
 *   4. TCP                                                          PASS_NOT_TCP
 *   5. TCP header fits the IP total length                          PASS_TRUNCATED
 *   6. destination port is one of the scan's source ports           PASS_OTHER_PORT
 *   7. SYN-ACK (SYN and ACK, neither RST nor FIN) or RST            PASS_OTHER_FLAGS or DROP_OTHER_FLAGS
 *   8. destination is one of the scan's source addresses            PASS_OTHER_ADDRESS
 *   9. cookie                                                       PASS_BAD_COOKIE or DROP_BAD_COOKIE
 *  10. this RX queue has a socket                                   VALID_REDIRECTED or VALID_NO_SOCKET
 *
 * A frame that ends inside a VLAN tag is truncated. Bytes behind the IP total length are Ethernet padding and mean
 * nothing. Checksums are not looked at: offloads leave them unfinished, and the cookie is the stronger test.
 *
 * With drop_invalid, what fails 7 or 9 is dropped if it is for one of our addresses. What fails 7 and is for another
 * address is passed, as PASS_OTHER_FLAGS.
 */
#include "abi.h"
#include "bpf.h"
#include "cookie.h"
#include "packet.h"

const volatile struct xdpmap_config config = {};

/* Not read by the program: brings the counters' names and places into the object's BTF. */
const volatile enum xdpmap_counter counters_len = XDPMAP_COUNTERS;

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_XSKMAP);
	MAP_NUMBER(max_entries, XDPMAP_QUEUES_MAX);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} xsks SEC(".maps");

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
	MAP_NUMBER(max_entries, XDPMAP_SOURCES_MAX);
	MAP_TYPE(key, struct xdpmap_address);
	MAP_TYPE(value, u8);
} sources SEC(".maps");

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, XDPMAP_COUNTERS);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} counters SEC(".maps");

/* The part of a frame that is not parsed yet. */
struct cursor {
	const u8 *at;
	const u8 *end;
};

/* Moves over `len` bytes; false where the frame ends before. */
static __always_inline int skip(struct cursor *c, u32 len)
{
	if (c->at + len > c->end)
		return 0;
	c->at += len;
	return 1;
}

/* What a test returns that did not fail; any other counter is the verdict. */
#define GOES_ON XDPMAP_COUNTERS

/* Ethernet and up to two tags; leaves the cursor at the IP header. */
static __always_inline enum xdpmap_counter parse_link(struct cursor *c)
{
	const struct ethernet *eth = (const void *)c->at;
	const struct vlan_tag *tag;
	u16 ethertype;

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
	}
	return ethertype == ETHERTYPE_IPV4 ? GOES_ON : XDPMAP_PASS_NOT_IPV4;
}

/* IPv4 with options; leaves the cursor at the payload and says how long that is. */
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
	if (from_be16(ip->fragment) & IPV4_FRAGMENT)
		return XDPMAP_PASS_FRAGMENT;
	if (ip->protocol != IP_PROTOCOL_TCP)
		return XDPMAP_PASS_NOT_TCP;
	c->at += header_len - sizeof(*ip);
	*header = ip;
	*payload_len = total_len - header_len;
	return GOES_ON;
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

static __always_inline int is_in_sources(be32 address)
{
	struct {
		be32 words[4];	/* a struct xdpmap_address, in words for the stack's sake */
	} key = { { 0, 0, from_be32(0xffff), address } };

	return bpf_map_lookup_elem(&sources, &key) != 0;
}

/* One address, or a gapless range, is the usual case: two compares then spare the look-up, the dearest test but one. */
static __always_inline int is_source(be32 address)
{
	u32 number = from_be32(address);

	if (number < config.source_first || number > config.source_last)
		return 0;
	return config.sources_dense || is_in_sources(address);
}

static __always_inline int is_answer(u8 flags)
{
	return flags & TCP_RST || (flags & (TCP_SYN | TCP_ACK | TCP_FIN)) == (TCP_SYN | TCP_ACK);
}

/* Whether the segment answers a probe of ours. `port_offset` is its destination port, counted from the first. */
static __always_inline int cookie_matches(const struct ipv4 *ip, const struct tcp *tcp, u32 port_offset)
{
	u64 addresses = (u64)from_be32(ip->destination) << 32 | from_be32(ip->source);
	u64 rest = (u64)XDPMAP_COOKIE_VERSION << 24 | IP_PROTOCOL_TCP << 16 | from_be16(tcp->source_port);
	u64 cookie = siphash13(config.cookie_key[0], config.cookie_key[1], addresses, rest);
	u32 ahead = from_be32(tcp->acknowledgment) - (u32)cookie;
	u32 count = config.source_port_count;
	u32 base = ((u32)(cookie >> 32 & 0xffff) * count) >> 16;
	u32 probe = port_offset >= base ? port_offset - base : port_offset + count - base;

	return probe < config.probes && (ahead == 1 || (ahead == 0 && tcp->flags & TCP_RST));
}

/* Tests 1 to 9. */
static __always_inline enum xdpmap_counter judge(const struct xdp_md *ctx)
{
	struct cursor c = { (const u8 *)(long)ctx->data, (const u8 *)(long)ctx->data_end };
	const struct ipv4 *ip;
	const struct tcp *tcp;
	u32 segment_len, port_offset;
	enum xdpmap_counter reason;

	reason = parse_link(&c);
	if (reason != GOES_ON)
		return reason;
	reason = parse_ipv4(&c, &ip, &segment_len);
	if (reason != GOES_ON)
		return reason;
	reason = parse_tcp(&c, segment_len, &tcp);
	if (reason != GOES_ON)
		return reason;

	port_offset = from_be16(tcp->destination_port) - config.source_port_first;
	if (port_offset >= config.source_port_count)
		return XDPMAP_PASS_OTHER_PORT;
	if (!is_answer(tcp->flags))
		return config.drop_invalid && is_source(ip->destination) ? XDPMAP_DROP_OTHER_FLAGS
									 : XDPMAP_PASS_OTHER_FLAGS;
	if (!is_source(ip->destination))
		return XDPMAP_PASS_OTHER_ADDRESS;
	if (!cookie_matches(ip, tcp, port_offset))
		return config.drop_invalid ? XDPMAP_DROP_BAD_COOKIE : XDPMAP_PASS_BAD_COOKIE;
	return GOES_ON;
}

static __always_inline void count(u32 reason)
{
	u64 *value = bpf_map_lookup_elem(&counters, &reason);

	if (value)
		*value += 1;	/* this CPU's own: XDP is not preempted by XDP */
}

SEC("xdp")
int xdpmap(struct xdp_md *ctx)
{
	enum xdpmap_counter reason = judge(ctx);
	int action = XDP_PASS;

	if (reason == GOES_ON) {
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
		reason = action == XDP_REDIRECT ? XDPMAP_VALID_REDIRECTED : XDPMAP_VALID_NO_SOCKET;
	} else if (reason == XDPMAP_DROP_OTHER_FLAGS || reason == XDPMAP_DROP_BAD_COOKIE) {
		action = XDP_DROP;
	}
	count(reason);
	return action;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
