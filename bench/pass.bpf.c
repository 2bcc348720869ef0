/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Lets everything through. A veth takes what an XDP program at its other end sends back only while it has one, too:
 * xdpmap brings its own, the other scanners get this.
 */
#include "../xdp-prog/bpf.h"

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
