/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Redirects each packet to the AF_XDP socket of its queue, if there is one. Needs no header: a program of one call.
 */
#define SEC(name) __attribute__((section(name), used))

/* From linux/bpf.h. */
#define BPF_MAP_TYPE_XSKMAP 17
#define XDP_PASS 2

struct xdp_md {
	unsigned int data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static long (*const bpf_redirect_map)(void *map, unsigned long long key, unsigned long long flags) = (void *)51;

struct {
	int (*type)[BPF_MAP_TYPE_XSKMAP];
	int (*max_entries)[64];
	unsigned int *key;
	unsigned int *value;
} xsks SEC(".maps");

/* A queue without a socket goes on to the network stack. */
SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
