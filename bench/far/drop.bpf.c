/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The far side of the benchmark of senders: counts probes (tally.h) and drops everything.
 */
#include "tally.h"

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
	struct tally *tally = the_tally();

	if (!tally)
		return XDP_DROP;
	if ((void *)(packet + 1) > end || from_be16(packet->ethertype) != 0x0800 || packet->protocol != 6)
		tally->others++;
	else
		count_probe(tally, ctx->data_end - ctx->data);
	return XDP_DROP;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
