/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The far side of the survey: counts SYNs (tally.h), and answers each with a SYN-ACK, whatever its destination, or
 * leaves them to the kernel's stack. Other TCP segments over IPv4, such as resets, are dropped; ARP is passed to the
 * stack.
 */
#include "answer.h"
#include "tally.h"

/* Not 0: the stack answers. */
struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} stack_answers SEC(".maps");

SEC("xdp")
int respond(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(u64)ctx->data;
	const void *end = (void *)(u64)ctx->data_end;
	struct tally *tally = the_tally();
	const u32 zero = 0;
	u32 *leave_it;

	if (!tally)
		return XDP_DROP;
	if ((void *)(frame + 1) > end || from_be16(frame->ethertype) != 0x0800 || frame->version != 0x45 ||
	    frame->protocol != 6) {
		tally->others++;
		return XDP_PASS;
	}
	if ((from_be16(frame->length_and_flags) & TCP_FLAGS) != TCP_SYN) {
		tally->others++;
		return XDP_DROP;
	}
	count_probe(tally, ctx->data_end - ctx->data);
	leave_it = bpf_map_lookup_elem(&stack_answers, &zero);
	if (!leave_it || *leave_it)
		return XDP_PASS;
	answer(frame);
	return XDP_TX;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
