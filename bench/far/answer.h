/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A SYN made into the SYN-ACK that answers it, in place.
 */
#ifndef XDPMAP_BENCH_ANSWER_H
#define XDPMAP_BENCH_ANSWER_H

#include "../../xdp-prog/bpf.h"

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

#endif
