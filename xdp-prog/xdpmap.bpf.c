// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The XDP program: decides, for each packet that arrives, whether it answers a probe of ours.
 *
 * A packet that does goes to the AF_XDP socket of its RX queue; every other packet goes to the host's own stack, untouched.
 * Exactly one counter is raised for each packet, that of the first test that decides it, in this order:
 *
 *   Ethernet, up to two VLAN tags, IPv4        else PASS_NOT_IPV4 (or PASS_TRUNCATED inside a header)
 *   IPv4 header whole, lengths possible        else PASS_TRUNCATED
 *   no fragment                                else PASS_FRAGMENT
 *   TCP                                        else PASS_NOT_TCP
 *   TCP header whole, length possible          else PASS_TRUNCATED
 *   destination port is a scan port            else PASS_OTHER_PORT
 *   destination address is a source of ours    else PASS_OTHER_ADDRESS
 *   SYN-ACK or RST                             else PASS_OTHER_FLAGS (DROP_OTHER_FLAGS)
 *   the cookie is right                        else PASS_BAD_COOKIE (DROP_BAD_COOKIE)
 *   this RX queue has a socket                 else VALID_NO_SOCKET
 *                                              VALID_REDIRECTED
 *
 * Cheap tests come first: what is not for a scan costs a few comparisons, the hash is computed for SYN-ACKs and RSTs to
 * our own address and ports only. The user side (scanner/src/packet/view.rs, probe/tcp_synscan.rs) makes the same tests.
 */
#include "abi.h"
#include "bpf.h"
#include "cookie.h"

const volatile struct xdpmap_config config = {};

/* Keeps the counters' names and numbers in BTF, where a test compares them with the scanner's. */
const volatile enum xdpmap_counter counter_end = XDPMAP_COUNTERS;

struct {
	MAP_UINT(type, BPF_MAP_TYPE_XSKMAP);
	MAP_UINT(max_entries, XDPMAP_QUEUES_MAX);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} xsks SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, XDPMAP_SOURCES_MAX);
	MAP_TYPE(key, struct xdpmap_address);
	MAP_TYPE(value, u8);
} sources SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, XDPMAP_COUNTERS);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} counters SEC(".maps");

always_inline void count(enum xdpmap_counter counter)
{
	u32 key = counter;
	u64 *value = bpf_map_lookup_elem(&counters, &key);

	if (value)
		*value += 1; /* per CPU, and XDP on a CPU is not preempted by XDP */
}

/* A TCP segment in a packet, and what was decided about it while it was being looked for. */
struct segment {
	struct ipv4 *ip;
	struct tcp *tcp;
};

/* Finds the IPv4 header behind the Ethernet header and up to two VLAN tags. */
always_inline void *find_ipv4(void *data, void *end, enum xdpmap_counter *why)
{
	struct ethernet *ethernet = data;
	void *next = ethernet + 1;
	u16 type;

	*why = XDPMAP_PASS_TRUNCATED;
	if (next > end)
		return NULL;
	type = ethernet->type;
#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		struct vlan *vlan = next;

		if (type != be16(ETHERTYPE_8021Q) && type != be16(ETHERTYPE_8021AD))
			break;
		next = vlan + 1;
		if (next > end)
			return NULL;
		type = vlan->type;
	}
	*why = XDPMAP_PASS_NOT_IPV4;
	return type == be16(ETHERTYPE_IPV4) ? next : NULL;
}

/* Finds the TCP segment. Bytes behind the IP total length are padding and nobody's business. */
always_inline int find_segment(void *data, void *end, struct segment *found, enum xdpmap_counter *why)
{
	struct ipv4 *ip = find_ipv4(data, end, why);
	struct tcp *tcp;
	u32 header_len, total_len, tcp_len;

	if (!ip)
		return 0;
	*why = XDPMAP_PASS_TRUNCATED;
	if ((void *)(ip + 1) > end)
		return 0;
	header_len = (ip->version_ihl & 0xf) * 4;
	total_len = be16(ip->total_len);
	if (ip->version_ihl >> 4 != 4 || header_len < sizeof(*ip) || total_len < header_len)
		return 0;
	if (total_len > (u64)(end - (void *)ip))
		return 0;
	*why = XDPMAP_PASS_FRAGMENT;
	if (ip->fragment & be16(IP_FRAGMENT_MASK))
		return 0;
	*why = XDPMAP_PASS_NOT_TCP;
	if (ip->protocol != PROTOCOL_TCP)
		return 0;
	*why = XDPMAP_PASS_TRUNCATED;
	tcp = (void *)ip + header_len;
	if ((void *)(tcp + 1) > end)
		return 0;
	tcp_len = (tcp->data_offset >> 4) * 4;
	if (tcp_len < sizeof(*tcp) || header_len + tcp_len > total_len)
		return 0;
	found->ip = ip;
	found->tcp = tcp;
	return 1;
}

/* Whether an IPv4 address (network order) is one that we scan from. */
always_inline int is_source(u32 address)
{
	struct xdpmap_address key = { .octets = { [10] = 0xff, [11] = 0xff } };

	__builtin_memcpy(&key.octets[12], &address, sizeof(address));
	return bpf_map_lookup_elem(&sources, &key) != NULL;
}

/* Whether the segment acknowledges a probe of ours; offset is its destination port within the source-port range. */
always_inline int cookie_is_right(const struct segment *reply, u32 offset)
{
	const struct ipv4 *ip = reply->ip;
	const struct tcp *tcp = reply->tcp;
	u64 cookie = tcp_cookie(&config, be32(ip->destination), be32(ip->source), be16(tcp->source));
	u32 ahead = be32(tcp->acknowledgement) - (u32)cookie;
	int acknowledges = ahead == 1 || (ahead == 0 && tcp->flags & TCP_RST);

	return acknowledges && answers_a_copy(&config, cookie, offset);
}

/* A segment aimed at our address and scan ports that answers no probe: the host's own, or forged. */
always_inline int refuse(enum xdpmap_counter passed, enum xdpmap_counter dropped)
{
	if (config.drop_invalid) {
		count(dropped);
		return XDP_DROP;
	}
	count(passed);
	return XDP_PASS;
}

always_inline int pass(enum xdpmap_counter why)
{
	count(why);
	return XDP_PASS;
}

SEC("xdp")
int xdpmap(struct xdp_md *context)
{
	void *data = (void *)(u64)context->data;
	void *end = (void *)(u64)context->data_end;
	enum xdpmap_counter why;
	struct segment segment;
	u32 offset;
	u8 flags;
	long verdict;

	if (!find_segment(data, end, &segment, &why))
		return pass(why);
	offset = be16(segment.tcp->destination) - config.source_port_first;
	if (offset >= config.source_port_count) /* below the first port it wraps to a large number */
		return pass(XDPMAP_PASS_OTHER_PORT);
	if (!is_source(segment.ip->destination))
		return pass(XDPMAP_PASS_OTHER_ADDRESS);
	flags = segment.tcp->flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK);
	if (!(flags & TCP_RST) && flags != (TCP_SYN | TCP_ACK))
		return refuse(XDPMAP_PASS_OTHER_FLAGS, XDPMAP_DROP_OTHER_FLAGS);
	if (!cookie_is_right(&segment, offset))
		return refuse(XDPMAP_PASS_BAD_COOKIE, XDPMAP_DROP_BAD_COOKIE);
	verdict = bpf_redirect_map(&xsks, context->rx_queue_index, XDP_PASS);
	count(verdict == XDP_REDIRECT ? XDPMAP_VALID_REDIRECTED : XDPMAP_VALID_NO_SOCKET);
	return verdict;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
