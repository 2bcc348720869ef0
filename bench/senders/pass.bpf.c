/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Passes every packet. A veth only accepts frames that an XDP program at its other end sends back while it has a
 * program as well. xdpmap attaches its own, the other scanners get this one.
 */
#include "../../xdp-prog/bpf.h"

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
