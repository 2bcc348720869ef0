/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The far side of the benchmark: drops everything, counts probes (TCP in IPv4), and notes when the first and the last
 * came. All senders are measured by these figures, whatever they say of themselves.
 *
 * Reading the clock costs as well, so only each 64th probe is timed; the rate is that between the first and the last
 * timed one.
 */
#include "../xdp-prog/bpf.h"

enum { TIMED_EACH = 64 };

static u64 (*bpf_ktime_get_ns)(void) = (void *)5;

struct tally {
	u64 probes;
	u64 others;		/* neighbour discovery and the like */
	u64 first_ns;		/* when the first probe came */
	u64 timed_ns;		/* when the last timed probe came */
	u64 timed_probes;	/* which one that was, from 1 */
	u64 frame_bytes;	/* its length */
};

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct tally);
} arrivals SEC(".maps");

struct start_of_packet {
	u8 macs[12];
	be16 ethertype;
	u8 before_protocol[9];
	u8 protocol;
} __attribute__((packed));

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	const struct start_of_packet *packet = (void *)(u64)ctx->data;
	const void *end = (void *)(u64)ctx->data_end;
	struct tally *tally;
	u32 key = 0;

	tally = bpf_map_lookup_elem(&arrivals, &key);
	if (!tally)
		return XDP_DROP;
	if ((void *)(packet + 1) > end || from_be16(packet->ethertype) != 0x0800 || packet->protocol != 6) {
		tally->others++;
		return XDP_DROP;
	}
	if (tally->probes++ % TIMED_EACH == 0) {
		tally->timed_ns = bpf_ktime_get_ns();
		tally->timed_probes = tally->probes;
		tally->frame_bytes = ctx->data_end - ctx->data;
		if (!tally->first_ns)
			tally->first_ns = tally->timed_ns;
	}
	return XDP_DROP;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
