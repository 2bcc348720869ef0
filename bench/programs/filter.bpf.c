/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The programs that the XDP program is compared with. `nothing` passes every packet. `bare_filter` does the least that
 * a program which looks at TCP must do: it reads the Ethernet, IPv4 and TCP headers, checks that they are there, and
 * passes. `filter` also counts the packets that it passes, in a per-CPU array like the XDP program's. None of them
 * supports VLAN tags.
 */
#include "../../xdp-prog/bpf.h"
#include "../../xdp-prog/packet.h"

/* Written, never read: without a use, the compiler would remove the parsing of unused values. */
volatile u32 ports;

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, 2);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} passed SEC(".maps");

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

/* Whether it is a TCP segment with a complete header. */
static __always_inline int is_tcp(const struct xdp_md *ctx)
{
	const u8 *at = (const u8 *)(long)ctx->data, *end = (const u8 *)(long)ctx->data_end;
	const struct ethernet *eth = (const void *)at;
	const struct ipv4 *ip;
	const struct tcp *tcp;
	u32 header_len;

	if (at + sizeof(*eth) > end || from_be16(eth->ethertype) != ETHERTYPE_IPV4)
		return 0;
	at += sizeof(*eth);
	ip = (const void *)at;
	if (at + sizeof(*ip) > end || ip->version_ihl >> 4 != 4 || ip->protocol != IP_PROTOCOL_TCP)
		return 0;
	header_len = (ip->version_ihl & 0xf) * 4;
	if (header_len < sizeof(*ip) || from_be16(ip->fragment) & IPV4_FRAGMENT)
		return 0;
	at += header_len;
	tcp = (const void *)at;
	if (at + sizeof(*tcp) > end || (tcp->data_offset >> 4) * 4 < (int)sizeof(*tcp))
		return 0;
	ports = (u32)tcp->source_port << 16 | tcp->destination_port;
	return 1;
}

SEC("xdp")
int bare_filter(struct xdp_md *ctx)
{
	is_tcp(ctx);
	return XDP_PASS;
}

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	u32 key = is_tcp(ctx);
	u64 *value = bpf_map_lookup_elem(&passed, &key);

	if (value)
		*value += 1;
	return XDP_PASS;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
