/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The far side of the questions pace and start: drops everything, records when each probe (TCP in IPv4) came, and sorts
 * the gaps between probes into buckets. It reads the clock for each probe, which drop.bpf.c avoids.
 *
 * The wire has one queue, and one CPU at a time serves a queue: a single tally without atomic operations is enough.
 */
#include "../../xdp-prog/bpf.h"

/* Buckets are log-linear: every power of two is divided into 32, so each is at most 1/32 of its value wide. The last
 * one holds the gaps between 2^36 and 2^37 ns, more than a minute, and all longer ones. far/farside.py reads them. */
enum { LINEAR_BITS = 5, LINEAR = 1 << LINEAR_BITS, BUCKETS = (37 - LINEAR_BITS + 1) * LINEAR };

static u64 (*bpf_ktime_get_ns)(void) = (void *)5;

struct arrivals {
	u64 probes;
	u64 others;		/* neighbour discovery and the like */
	u64 first_ns;		/* when the first probe came (CLOCK_MONOTONIC) */
	u64 last_ns;		/* when the last came */
	u64 longest_ns;		/* the longest gap */
	u64 frame_bytes;	/* length of a probe */
	u64 gaps[BUCKETS];
};

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct arrivals);
} arrivals SEC(".maps");

struct start_of_packet {
	u8 macs[12];
	be16 ethertype;
	u8 before_protocol[9];
	u8 protocol;
} __attribute__((packed));

/* Position of the highest set bit: BPF has no instruction for it. */
static __always_inline u32 highest_bit(u64 value)
{
	u32 bit = 0;

#pragma unroll
	for (u32 step = 32; step; step /= 2) {
		if (value >> step) {
			value >>= step;
			bit += step;
		}
	}
	return bit;
}

static __always_inline u32 bucket_of(u64 gap_ns)
{
	u32 shift;

	if (gap_ns < LINEAR)
		return gap_ns;
	shift = highest_bit(gap_ns) - LINEAR_BITS;
	return (shift << LINEAR_BITS) + (gap_ns >> shift);
}

SEC("xdp")
int gaps(struct xdp_md *ctx)
{
	const struct start_of_packet *packet = (void *)(u64)ctx->data;
	const void *end = (void *)(u64)ctx->data_end;
	struct arrivals *seen;
	u64 now_ns, gap_ns;
	u32 bucket, key = 0;

	seen = bpf_map_lookup_elem(&arrivals, &key);
	if (!seen)
		return XDP_DROP;
	if ((void *)(packet + 1) > end || from_be16(packet->ethertype) != 0x0800 || packet->protocol != 6) {
		seen->others++;
		return XDP_DROP;
	}
	now_ns = bpf_ktime_get_ns();
	if (seen->probes++) {
		gap_ns = now_ns - seen->last_ns;
		if (gap_ns > seen->longest_ns)
			seen->longest_ns = gap_ns;
		bucket = bucket_of(gap_ns);
		if (bucket >= BUCKETS)
			bucket = BUCKETS - 1;
		seen->gaps[bucket]++;
	} else {
		seen->first_ns = now_ns;
		seen->frame_bytes = ctx->data_end - ctx->data;
	}
	seen->last_ns = now_ns;
	return XDP_DROP;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
