/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A far side that ruins every frame before it drops it, as a router or a responder may in part: frames that the kernel
 * uses again must not show it. Counts the frames that were whole and those that were not.
 */
#include "../../../xdp-prog/bpf.h"

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, 2);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} seen SEC(".maps");

SEC("xdp")
int scribble(struct xdp_md *ctx)
{
	u8 *frame = (u8 *)(long)ctx->data;
	u32 ruined;
	u64 *count;

	if (frame + 66 > (u8 *)(long)ctx->data_end)
		return XDP_DROP;
	/* IPv4, no options, 52 bytes, TTL 64, TCP, from 198.19.0.1; SYN; MSS 1460; SACK permitted, at the end. */
	ruined = !(frame[12] == 8 && frame[13] == 0 && frame[14] == 0x45 && frame[17] == 52 && frame[22] == 64 &&
		   frame[23] == 6 && frame[26] == 198 && frame[29] == 1 && frame[47] == 2 && frame[54] == 2 &&
		   frame[56] == 5 && frame[64] == 4 && frame[65] == 2);
	count = bpf_map_lookup_elem(&seen, &ruined);
	if (count)
		(*count)++;
	for (int i = 0; i < 66; i++)
		frame[i] = 0xff;
	return XDP_DROP;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
