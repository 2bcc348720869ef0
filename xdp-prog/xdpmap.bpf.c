/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The XDP program: steers the replies to our probes to the AF_XDP sockets and passes everything else to the host.
 *
 * Each packet is judged once and counted once. The tests are ordered from cheap to costly. The first one that fails
 * decides the counter, so this order is part of a counter's meaning:
 *
 *   1. EtherType (behind at most two VLAN tags) and IP version      PASS_NOT_IPV4
 *      in a scan of a VLAN: no other VLAN's tags                    PASS_OTHER_VLAN
 *   2. IPv4 header and total length fit the frame                   PASS_TRUNCATED
 *   3. not a later fragment; in a scan of TCP not a fragment        PASS_FRAGMENT
 *   4. ICMP, or the protocol that answers the scan's probes         PASS_OTHER_PROTOCOL
 *   5. the transport header fits the IP total length                PASS_TRUNCATED
 * TCP and UDP
 *   6. destination port is one of the scan's source ports           PASS_OTHER_PORT
 *   7. TCP: SYN-ACK (SYN and ACK, neither RST nor FIN) or RST       PASS_OTHER_FLAGS or DROP_OTHER_FLAGS
 *   8. destination is one of the scan's source addresses            PASS_OTHER_ADDRESS
 *   9. cookie                                                       PASS_BAD_COOKIE or DROP_BAD_COOKIE
 *      UDP: no socket of the host is for it                         PASS_OWN_SOCKET
 * ICMP
 *   6. an error, or in an echo scan an echo reply                   PASS_OTHER_ICMP
 *   7. destination is one of the scan's source addresses            PASS_OTHER_ADDRESS
 *   8. echo reply: cookie                                           PASS_BAD_COOKIE
 *      error: quotes a probe, cookie included                       PASS_BAD_QUOTE
 *      of UDP: no socket of the host is for the quoted datagram     PASS_OWN_SOCKET
 * and at last
 *  10. this RX queue has a socket                                   VALID_REDIRECTED or VALID_NO_SOCKET
 *
 * TCP without tags and IP options, which is nearly all of a scan's traffic, is tested for 1 to 5 at once. If one of
 * them fails, they are made one by one, to find the counter.
 *
 * A frame that ends inside a VLAN tag is truncated. Bytes after the IP total length are Ethernet padding and are
 * ignored. Checksums are not tested: offloads leave them unfinished, and the cookie is the stronger test.
 *
 * The cookie of UDP may have few bits: only the port if the payload repeats nothing, and none at all if the scan has
 * one source port. So the program looks for a socket of the host before it takes a datagram from the host, unless the
 * datagram repeats the whole cookie.
 *
 * With drop_invalid, TCP that fails 7 and packets that fail 9 are dropped if they are for one of our addresses and the
 * kernel has no socket for them. TCP that fails 7 and is for another address is passed, as PASS_OTHER_FLAGS. ICMP is
 * always passed: it may be the host's, and no look-up can find that out.
 */
#include "abi.h"
#include "bpf.h"
#include "cookie.h"
#include "packet.h"

const volatile struct xdpmap_config config = {};

#include "parse.h"	/* reads `config` */

/* Not read by the program: it puts the counters' names and values into the object's BTF. */
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

static __always_inline int is_in_sources(be32 address)
{
	struct {
		be32 words[4];	/* a struct xdpmap_address, in words, so that it is aligned on the stack */
	} key = { { 0, 0, from_be32(0xffff), address } };

	return bpf_map_lookup_elem(&sources, &key) != 0;
}

/* One address, or a range without gaps, is the usual case. Two compares then avoid the look-up, the second most costly
 * test. */
static __always_inline int is_source(be32 address)
{
	u32 number = from_be32(address);

	if (number < config.source_first || number > config.source_last)
		return 0;
	return config.sources_dense || is_in_sources(address);
}

/* The cookie of the probe from `source` to `target`. */
static __always_inline u64 probe_cookie(be32 source, be32 target, be16 target_port, u8 protocol)
{
	u64 addresses = (u64)from_be32(source) << 32 | from_be32(target);
	u32 rest = (u32)XDPMAP_COOKIE_VERSION << 24 | (u32)protocol << 16;
	struct sip state = {
		.v0 = config.cookie_state[0],
		.v1 = config.cookie_state[1],
		.v2 = config.cookie_state[2],
		.v3 = config.cookie_state[3],
	};

	rest |= from_be16(target_port) & config.cookie_port_mask;
	return siphash13(state, addresses, rest);
}

static __always_inline int is_answer(u8 flags)
{
	return flags & TCP_RST || (flags & (TCP_SYN | TCP_ACK | TCP_FIN)) == (TCP_SYN | TCP_ACK);
}

/* Whether a port of ours, as an offset from the first, is that of one of the copies of the probe with this cookie. */
static __always_inline int is_a_copys_port(u64 cookie, u32 port_offset)
{
	u32 count = config.source_port_count;
	u32 base = ((u32)(cookie >> 32 & 0xffff) * count) >> 16;
	u32 probe = port_offset >= base ? port_offset - base : port_offset + count - base;

	return probe < config.probes;
}

static __always_inline int tcp_matches(u64 cookie, const struct tcp *tcp)
{
	u32 ahead = from_be32(tcp->acknowledgment) - (u32)cookie;

	if (config.form == XDPMAP_TCP_SYN)
		return ahead == 1 || (ahead == 0 && tcp->flags & TCP_RST);
	return ahead == 1 || (tcp->flags & TCP_RST && from_be32(tcp->sequence) - (u32)(cookie >> 32) <= 1);
}

/* Whether an echo has the numbers of one of the copies of the probe with this cookie. */
static __always_inline int echo_matches(u64 cookie, const struct icmp *echo)
{
	u16 probe = from_be16(echo->sequence) - (u16)cookie;

	return from_be16(echo->id) == (u16)(cookie >> 16) && probe < config.probes;
}

/* Whether the payload of a datagram repeats its part of the cookie; `len` is its length. */
static __always_inline int is_echoed(u64 cookie, const struct cursor *c, u32 len)
{
	const be16 *id = (const void *)c->at;
	const be64 *origin = (const void *)(c->at + NTP_ORIGIN);

	switch (config.echo) {
	case XDPMAP_ECHO_DNS_ID:
		return len >= sizeof(*id) && (const u8 *)(id + 1) <= c->end && from_be16(*id) == (u16)cookie;
	case XDPMAP_ECHO_NTP_ORIGIN:
		return len >= NTP_ORIGIN + sizeof(*origin) && (const u8 *)(origin + 1) <= c->end &&
		       from_be64(*origin) == cookie;
	default:
		return 1;
	}
}

/* Whether an answer repeats so much of the cookie that it cannot be the host's. */
static __always_inline int is_proven(void)
{
	return config.echo == XDPMAP_ECHO_NTP_ORIGIN;
}

/* Whether the host has a TCP socket for this packet: one that listens, is connected, or is being connected. */
static __always_inline int has_tcp_socket(struct xdp_md *ctx, const struct ipv4 *ip, const struct tcp *tcp)
{
	struct socket_tuple tuple = { ip->source, ip->destination, tcp->source_port, tcp->destination_port };
	void *socket;

	if (!config.own_sockets)
		return 0;
	socket = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple), BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return 0;
	bpf_sk_release(socket);
	return 1;
}

/* The same for a datagram with these addresses and ports. */
static __always_inline int has_udp_socket(struct xdp_md *ctx, struct socket_tuple tuple)
{
	void *socket;

	if (!config.own_sockets)
		return 0;
	socket = bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple), BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return 0;
	bpf_sk_release(socket);
	return 1;
}

static __always_inline enum xdpmap_counter judge_segment(struct xdp_md *ctx, const struct ipv4 *ip, const struct tcp *tcp)
{
	u32 port_offset = from_be16(tcp->destination_port) - config.source_port_first;
	u64 cookie;

	if (port_offset >= config.source_port_count)
		return XDPMAP_PASS_OTHER_PORT;
	if (!is_answer(tcp->flags)) {
		if (config.drop_invalid && is_source(ip->destination) && !has_tcp_socket(ctx, ip, tcp))
			return XDPMAP_DROP_OTHER_FLAGS;
		return XDPMAP_PASS_OTHER_FLAGS;
	}
	if (!is_source(ip->destination))
		return XDPMAP_PASS_OTHER_ADDRESS;
	cookie = probe_cookie(ip->destination, ip->source, tcp->source_port, IP_PROTOCOL_TCP);
	if (is_a_copys_port(cookie, port_offset) && tcp_matches(cookie, tcp))
		return GOES_ON;
	return config.drop_invalid && !has_tcp_socket(ctx, ip, tcp) ? XDPMAP_DROP_BAD_COOKIE : XDPMAP_PASS_BAD_COOKIE;
}

static __always_inline enum xdpmap_counter judge_tcp(struct xdp_md *ctx, struct cursor *c, const struct ipv4 *ip, u32 len)
{
	const struct tcp *tcp;
	enum xdpmap_counter reason = parse_tcp(c, len, &tcp);

	return reason == GOES_ON ? judge_segment(ctx, ip, tcp) : reason;
}

static __always_inline enum xdpmap_counter judge_udp(struct xdp_md *ctx, struct cursor *c, const struct ipv4 *ip, u32 len)
{
	const u8 protocol = config.form == XDPMAP_IPIP ? IP_PROTOCOL_IPIP : IP_PROTOCOL_UDP;
	const struct udp *udp;
	enum xdpmap_counter reason = parse_udp(c, len, &udp);
	struct socket_tuple tuple;
	u32 port_offset;
	u64 cookie;

	if (reason != GOES_ON)
		return reason;
	port_offset = from_be16(udp->destination_port) - config.source_port_first;
	if (port_offset >= config.source_port_count)
		return XDPMAP_PASS_OTHER_PORT;
	if (!is_source(ip->destination))
		return XDPMAP_PASS_OTHER_ADDRESS;
	cookie = probe_cookie(ip->destination, ip->source, udp->source_port, protocol);
	tuple = (struct socket_tuple){ ip->source, ip->destination, udp->source_port, udp->destination_port };
	if (is_a_copys_port(cookie, port_offset) && is_echoed(cookie, c, len - sizeof(*udp)))
		return !is_proven() && has_udp_socket(ctx, tuple) ? XDPMAP_PASS_OWN_SOCKET : GOES_ON;
	return config.drop_invalid && !has_udp_socket(ctx, tuple) ? XDPMAP_DROP_BAD_COOKIE : XDPMAP_PASS_BAD_COOKIE;
}

/* Whether a quoted packet is one of our probes. 8 bytes of its payload are available. */
static __always_inline int is_our_probe(const struct quote *quote)
{
	const struct ipv4 *ip = quote->ip;
	const struct tcp *tcp = (const void *)quote->payload;
	const struct icmp *echo = (const void *)quote->payload;
	const struct ipv4 *inner = (const void *)quote->payload;
	u32 port_offset = from_be16(tcp->source_port) - config.source_port_first;
	u64 cookie;

	switch (config.form) {
	case XDPMAP_TCP_SYN:
	case XDPMAP_TCP_SYNACK:
	case XDPMAP_UDP:
		if (ip->protocol != (config.form == XDPMAP_UDP ? IP_PROTOCOL_UDP : IP_PROTOCOL_TCP))
			return 0;
		if (port_offset >= config.source_port_count)
			return 0;
		cookie = probe_cookie(ip->source, ip->destination, tcp->destination_port, ip->protocol);
		if (!is_a_copys_port(cookie, port_offset))
			return 0;
		return config.form == XDPMAP_UDP || from_be32(tcp->sequence) == (u32)cookie;
	case XDPMAP_ICMP_ECHO:
		if (ip->protocol != IP_PROTOCOL_ICMP || echo->type != ICMP_ECHO_REQUEST)
			return 0;
		return echo_matches(probe_cookie(ip->source, ip->destination, 0, IP_PROTOCOL_ICMP), echo);
	default:
		if (ip->protocol != IP_PROTOCOL_IPIP)
			return 0;
		cookie = probe_cookie(ip->source, ip->destination, 0, IP_PROTOCOL_IPIP);
		return from_be16(inner->id) == (u16)cookie;
	}
}

/* Whether the host has a socket that may have sent the quoted datagram. */
static __always_inline int has_quotes_socket(struct xdp_md *ctx, const struct quote *quote)
{
	const struct udp *udp = (const void *)quote->payload;
	struct socket_tuple tuple = {
		quote->ip->destination,
		quote->ip->source,
		udp->destination_port,
		udp->source_port,
	};

	return has_udp_socket(ctx, tuple);
}

static __always_inline enum xdpmap_counter judge_icmp(struct xdp_md *ctx, struct cursor *c, const struct ipv4 *ip, u32 len)
{
	const struct icmp *icmp;
	struct quote quote;
	enum xdpmap_counter reason = parse_icmp(c, len, &icmp);

	if (reason != GOES_ON)
		return reason;
	switch (icmp->type) {
	case ICMP_ECHO_REPLY:
		if (config.form != XDPMAP_ICMP_ECHO)
			return XDPMAP_PASS_OTHER_ICMP;
		if (!is_source(ip->destination))
			return XDPMAP_PASS_OTHER_ADDRESS;
		return echo_matches(probe_cookie(ip->destination, ip->source, 0, IP_PROTOCOL_ICMP), icmp)
			       ? GOES_ON
			       : XDPMAP_PASS_BAD_COOKIE;
	case ICMP_UNREACHABLE:
	case ICMP_SOURCE_QUENCH:
	case ICMP_REDIRECT:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER_PROBLEM:
		break;
	default:
		return XDPMAP_PASS_OTHER_ICMP;
	}
	if (!is_source(ip->destination))
		return XDPMAP_PASS_OTHER_ADDRESS;
	if (!parse_quote(c, len - sizeof(*icmp), &quote) || quote.ip->source != ip->destination)
		return XDPMAP_PASS_BAD_QUOTE;
	if (!is_our_probe(&quote))
		return XDPMAP_PASS_BAD_QUOTE;
	return config.form == XDPMAP_UDP && has_quotes_socket(ctx, &quote) ? XDPMAP_PASS_OWN_SOCKET : GOES_ON;
}

/* All tests except the last one. */
static __always_inline enum xdpmap_counter judge(struct xdp_md *ctx)
{
	struct cursor c = { (const u8 *)(long)ctx->data, (const u8 *)(long)ctx->data_end };
	const struct ipv4 *ip;
	const struct tcp *tcp;
	u32 len;
	enum xdpmap_counter reason;

	if (is_plain_tcp(&c, &ip, &tcp))
		return judge_segment(ctx, ip, tcp);
	reason = parse_link(&c);
	if (reason != GOES_ON)
		return reason;
	reason = parse_ipv4(&c, &ip, &len);
	if (reason != GOES_ON)
		return reason;
	if (ip->protocol == IP_PROTOCOL_ICMP)
		return judge_icmp(ctx, &c, ip, len);
	if (config.form == XDPMAP_TCP_SYN || config.form == XDPMAP_TCP_SYNACK)
		return judge_tcp(ctx, &c, ip, len);
	return judge_udp(ctx, &c, ip, len);
}

static __always_inline void count(u32 reason)
{
	u64 *value = bpf_map_lookup_elem(&counters, &reason);

	if (value)
		*value += 1;	/* each CPU has its own: XDP does not preempt XDP */
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
