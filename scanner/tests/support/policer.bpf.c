/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A path that carries so many frames per second and no more, in front of a network of which a share of all (address,
 * port) exists: what is beyond the rate is dropped (a token bucket in its deadline form). Of the rest, SYNs to what
 * exists are answered, and everything else over IPv4 is dropped. ARP is passed to the stack.
 */
#include "../../../bench/far/answer.h"

struct policer_config {
	/* Nanoseconds per frame, and how many nanoseconds of frames pass at once. */
	u64 frame_ns;
	u64 burst_ns;
	/* Of 65,536. */
	u32 share;
	u32 unused;
};

const volatile struct policer_config config = {};

struct policer_state {
	/* When the next frame is due. */
	u64 due_ns;
	u64 passed;
	u64 dropped;
};

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct policer_state);
} state SEC(".maps");

static u64 (*bpf_ktime_get_ns)(void) = (void *)5;

/* Whether the network has something there. governor.rs has the same. */
static __always_inline int exists(u32 address, u16 port)
{
	u32 mixed = (address ^ (u32)port << 16) * 0x9e3779b1;

	return (mixed ^ mixed >> 15) * 0x85ebca77 >> 16 < config.share;
}

static __always_inline int passes(struct policer_state *s)
{
	u64 now = bpf_ktime_get_ns();

	if (s->due_ns < now)
		s->due_ns = now;
	if (s->due_ns - now > config.burst_ns) {
		s->dropped++;
		return 0;
	}
	__sync_fetch_and_add(&s->due_ns, config.frame_ns);
	s->passed++;
	return 1;
}

SEC("xdp")
int police(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(u64)ctx->data;
	const void *end = (void *)(u64)ctx->data_end;
	struct policer_state *s;
	const u32 zero = 0;
	u32 address;

	if ((void *)(frame + 1) > end || from_be16(frame->ethertype) != 0x0800)
		return XDP_PASS;
	s = bpf_map_lookup_elem(&state, &zero);
	if (!s || !passes(s) || frame->version != 0x45 || frame->protocol != 6)
		return XDP_DROP;
	if ((from_be16(frame->length_and_flags) & TCP_FLAGS) != TCP_SYN)
		return XDP_DROP;
	address = from_be32((u32)frame->to[1] << 16 | frame->to[0]);
	if (!exists(address, from_be16(frame->to_port)))
		return XDP_DROP;
	answer(frame);
	return XDP_TX;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
