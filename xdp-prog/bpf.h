/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The small part of the BPF environment that the program needs, so that it builds with -nostdinc: neither libbpf's nor
 * the kernel's headers have to be installed. Numbers are the kernel's user API (include/uapi/linux/bpf.h), which never
 * changes; map definitions follow libbpf's BTF convention.
 */
#ifndef XDPMAP_BPF_H
#define XDPMAP_BPF_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* As in the packet: big endian. Read them only through from_be16() and the like. */
typedef u16 be16;
typedef u32 be32;
typedef u64 be64;

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define from_be16(value) __builtin_bswap16(value)
#define from_be32(value) __builtin_bswap32(value)
#define from_be64(value) __builtin_bswap64(value)
#else
#define from_be16(value) (value)
#define from_be32(value) (value)
#define from_be64(value) (value)
#endif

/* Members of a map's definition: a number is the length of an array type, a type is what a pointer points to. */
#define MAP_NUMBER(name, value) int (*name)[value]
#define MAP_TYPE(name, type) type *name

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_DEVMAP = 14,
	BPF_MAP_TYPE_XSKMAP = 17,
};

/* Flag of an array map: user space may map its values. */
#define BPF_F_MMAPABLE 1024

enum xdp_action {
	XDP_ABORTED = 0,
	XDP_DROP,
	XDP_PASS,
	XDP_TX,
	XDP_REDIRECT,
};

struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

/* struct bpf_sock_tuple, only its IPv4 part: of a received packet, in network order. */
struct socket_tuple {
	be32 source;
	be32 destination;
	be16 source_port;
	be16 destination_port;
};

/* The network namespace of the interface. */
#define BPF_F_CURRENT_NETNS (-1L)

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_redirect_map)(void *map, u64 key, u64 flags) = (void *)51;
/* Since Linux 5.0, and 5.2; the sockets that they find must be released. */
static void *(*bpf_sk_lookup_udp)(struct xdp_md *ctx, struct socket_tuple *tuple, u32 len, u64 netns, u64 flags) = (void *)85;
static long (*bpf_sk_release)(void *socket) = (void *)86;
static void *(*bpf_skc_lookup_tcp)(struct xdp_md *ctx, struct socket_tuple *tuple, u32 len, u64 netns, u64 flags) = (void *)99;

#endif
