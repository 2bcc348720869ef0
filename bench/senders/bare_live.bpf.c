/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Redirects every frame to one interface, and counts the outcome of the bulks: the kernel's side of bare_live.c. The
 * tracepoint program reads the same data as xdpmap's (xdp-prog/live.bpf.c), so that both have its cost.
 */
#include "../../xdp-prog/bpf.h"

struct bare_live_config {
	u32 cpu;		/* the CPU that the program runs on */
	u32 ifindex;		/* the sending interface */
	u32 namespace;		/* the network namespace of this number */
};

const volatile struct bare_live_config config = {};

struct bare_live_fate {
	u64 sent;		/* accepted by the driver */
	u64 refused;		/* refused by the driver, and lost */
};

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct bare_live_fate);
} fates SEC(".maps");

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_DEVMAP);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} device SEC(".maps");

SEC("xdp")
int bare_live(struct xdp_md *ctx)
{
	(void)ctx;
	return bpf_redirect_map(&device, 0, XDP_DROP);
}

struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));

struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));

struct net_device {
	int ifindex;
	struct {
		struct net *net;
	} nd_net;
} __attribute__((preserve_access_index));

/* Arguments of the tracepoint xdp_devmap_xmit: from_dev, to_dev, sent, drops, err. */
SEC("tp_btf/xdp_devmap_xmit")
int bare_live_bulk(u64 *arguments)
{
	const struct net_device *to = (const struct net_device *)arguments[1];
	struct bare_live_fate *fate;
	u32 key = 0;

	if (bpf_get_smp_processor_id() != config.cpu || to->ifindex != (int)config.ifindex ||
	    to->nd_net.net->ns.inum != config.namespace)
		return 0;
	fate = bpf_map_lookup_elem(&fates, &key);
	if (fate) {
		fate->sent += (u32)arguments[2];
		fate->refused += (u32)arguments[3];
	}
	return 0;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
