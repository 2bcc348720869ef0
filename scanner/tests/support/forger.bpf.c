/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Forges replies, as a program that BPF_PROG_TEST_RUN runs over live frames: each is the template with the address of a
 * target, a guess of what the probe's cookie decides, and right checksums. It goes out of an interface without an skb.
 * While the next one is not due, frames are dropped.
 */
#include "../../../xdp-prog/bpf.h"

#define FRAME_LEN 64
/* How many that were not sent in time may be sent at once. */
#define BACKLOG 32768

enum {
	SYN_ACK,
	ECHO_REPLY,
	DATAGRAM,
};

struct forger_config {
	u32 kind;
	u32 ifindex;
	u32 rate_pps;
	/* Addresses of targets, and the scan's source ports: the first, and how many. */
	u32 first_target;
	u32 targets;
	u32 first_port;
	u32 ports;
	/* Sums of what all frames have in common: the IP header, and what follows it with the pseudo-header. */
	u32 ip_sum;
	u32 part_sum;
	/* Where the checksum of what follows the IP header is. */
	u32 checksum_at;
	u8 template[FRAME_LEN];
};

const volatile struct forger_config config = {};

struct forger_state {
	u64 began_ns;
	/* How many were due when the clock was last read, and how many of those have been sent or given up. */
	u64 due;
	u64 done;
	u64 forged;
};

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct forger_state);
} state SEC(".maps");

static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*bpf_get_prandom_u32)(void) = (void *)7;
static long (*bpf_redirect)(u32 ifindex, u64 flags) = (void *)23;

static __always_inline int is_due(struct forger_state *s)
{
	u64 now;

	if (s->done < s->due)
		return 1;
	now = bpf_ktime_get_ns();
	if (!s->began_ns)
		s->began_ns = now;
	s->due = (now - s->began_ns) * config.rate_pps / 1000000000;
	if (s->due > s->done + BACKLOG)
		s->done = s->due - BACKLOG;
	return s->done < s->due;
}

static __always_inline u32 sum_of(u32 value)
{
	return (value & 0xffff) + (value >> 16);
}

static __always_inline u16 checksum(u32 sum)
{
	return ~sum_of(sum_of(sum));
}

SEC("xdp")
int forge(struct xdp_md *ctx)
{
	u8 *frame = (u8 *)(long)ctx->data;
	const u32 zero = 0;
	struct forger_state *s = bpf_map_lookup_elem(&state, &zero);
	u32 source, guess, sum;
	u16 port;

	if (!s || frame + FRAME_LEN > (u8 *)(long)ctx->data_end || !is_due(s))
		return XDP_DROP;
	for (int i = 0; i < FRAME_LEN; i += 8)
		*(u64 *)(frame + i) = *(const volatile u64 *)&config.template[i];

	source = from_be32(config.first_target + bpf_get_prandom_u32() % config.targets);
	*(u32 *)(frame + 26) = source;
	*(u16 *)(frame + 24) = checksum(config.ip_sum + sum_of(source));

	guess = bpf_get_prandom_u32();
	sum = config.part_sum;
	if (config.kind != ECHO_REPLY) {
		port = config.first_port + bpf_get_prandom_u32() % config.ports;
		port = from_be16(port);
		*(u16 *)(frame + 36) = port;
		sum += sum_of(source) + port;
	}
	if (config.kind != DATAGRAM) {
		*(u32 *)(frame + 38) = guess;
		sum += sum_of(guess);
	}
	if (config.kind == SYN_ACK) {
		guess = bpf_get_prandom_u32();
		*(u32 *)(frame + 42) = guess;
		sum += sum_of(guess);
	}
	if (config.checksum_at <= FRAME_LEN - 2)
		*(u16 *)(frame + config.checksum_at) = checksum(sum);
	s->done++;
	s->forged++;
	return bpf_redirect(config.ifindex, 0);
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
