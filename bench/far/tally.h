/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The counters of the programs on the far side: probes (TCP in IPv4), and when the first and the last came. All senders
 * are measured by these figures, whatever they report themselves. farside.py reads them.
 *
 * Reading the clock also costs time, so only each 64th probe is timed. The rate is the one between the first and the
 * last timed probe.
 */
#ifndef XDPMAP_BENCH_TALLY_H
#define XDPMAP_BENCH_TALLY_H

#include "../../xdp-prog/bpf.h"

enum { TIMED_EACH = 64 };

static u64 (*bpf_ktime_get_ns)(void) = (void *)5;

struct tally {
	u64 probes;
	u64 others;		/* neighbour discovery and the like */
	u64 first_ns;		/* when the first probe came */
	u64 timed_ns;		/* when the last timed probe came */
	u64 timed_probes;	/* its number, from 1 */
	u64 frame_bytes;	/* its length */
};

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct tally);
} arrivals SEC(".maps");

static __always_inline struct tally *the_tally(void)
{
	const u32 zero = 0;

	return bpf_map_lookup_elem(&arrivals, &zero);
}

static __always_inline void count_probe(struct tally *tally, u32 frame_bytes)
{
	if (tally->probes++ % TIMED_EACH)
		return;
	tally->timed_ns = bpf_ktime_get_ns();
	tally->timed_probes = tally->probes;
	tally->frame_bytes = frame_bytes;
	if (!tally->first_ns)
		tally->first_ns = tally->timed_ns;
}

#endif
