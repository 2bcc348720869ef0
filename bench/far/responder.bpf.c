/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The far side of the survey: counts SYNs (tally.h), and answers each with a SYN-ACK, whatever its destination, or
 * leaves them to the kernel's stack. Other TCP segments over IPv4, such as resets, are dropped; ARP is passed to the
 * stack.
 */
#include "tally.h"

/* Not 0: the stack answers. */
struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} stack_answers SEC(".maps");

enum {
	TCP_FLAGS = 0x3f,
	TCP_SYN = 0x02,
	TCP_ACK = 0x10,
};

/* In 16-bit words, as the checksum needs them. */
struct frame {
	u16 to_mac[3], from_mac[3];
	be16 ethertype;
	u8 version, service;		/* IPv4, without options */
	u16 len, id, fragment;
	u8 time_to_live, protocol;
	u16 ip_checksum;
	u16 from[2], to[2];
	u16 from_port, to_port;		/* TCP, without options */
	u16 sequence[2], acknowledgement[2];
	be16 length_and_flags;
	u16 window, tcp_checksum, urgent;
};

static __always_inline void swap16(u16 *a, u16 *b)
{
	u16 kept = *a;

	*a = *b;
	*b = kept;
}

/* Writes a word and updates the checksum (RFC 1624; the byte order does not matter). */
static __always_inline void put16(u16 *word, u16 value, u32 *checksum)
{
	*checksum += (u16)~*word + value;
	*word = value;
}

/* Only the fields that make it an answer change; the peer's options are returned. Swapping does not change a checksum.
 * */
static __always_inline void answer(struct frame *frame)
{
	/* Inverted, because a checksum is the complement of a sum. */
	u32 sum = (u16)~frame->tcp_checksum;
	u32 acknowledgement = from_be32(from_be32((u32)frame->sequence[1] << 16 | frame->sequence[0]) + 1);

#pragma unroll
	for (u32 i = 0; i < 3; i++)
		swap16(&frame->to_mac[i], &frame->from_mac[i]);
	swap16(&frame->from[0], &frame->to[0]);
	swap16(&frame->from[1], &frame->to[1]);
	swap16(&frame->from_port, &frame->to_port);
	/* Any sequence number will do: here the peer's, inverted. */
	put16(&frame->sequence[0], ~frame->sequence[0], &sum);
	put16(&frame->sequence[1], ~frame->sequence[1], &sum);
	put16(&frame->acknowledgement[0], acknowledgement & 0xffff, &sum);
	put16(&frame->acknowledgement[1], acknowledgement >> 16, &sum);
	put16(&frame->length_and_flags, frame->length_and_flags | from_be16(TCP_ACK), &sum);
	sum = (sum & 0xffff) + (sum >> 16);
	frame->tcp_checksum = ~(u16)((sum & 0xffff) + (sum >> 16));
}

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
