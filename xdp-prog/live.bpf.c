/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Sends probes as XDP live frames. BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES runs `xdpmap_live` over frames of
 * the kernel's page pool. The program writes the template of the probe into a frame, patches it with the next entry of
 * the ring and redirects it to the interface, where the driver's ndo_xdp_xmit transmits it without an skb. The kernel
 * reuses frames when they come back, and their last user may have written into them (a router, an XDP program that
 * answers in place). So every byte is written every time. The kernel passes frames to the driver in bulks of 16. The
 * driver may accept only the first few of a bulk, and the kernel drops the others. `xdpmap_live_bulk` receives the
 * result of each bulk and does the accounting.
 *
 * Redirected frames keep their order, and between the first frame of a batch and the flush at its end nothing else runs
 * on this CPU that could flush the kernel's bulk queue. So a bulk is the next `sent + drops` entries after `accounted`,
 * and when it is flushed, at most the one entry whose frame follows it has been taken beyond it. A frame that is lost
 * between the program and the bulk queue (because the interface went down) breaks this rule. Then the program takes no
 * more entries until the run is over, and entries that are not accounted for by then are lost.
 */
#include "bpf.h"
#include "live.h"

#define ETHERNET_LEN 14
#define FRAME_LEN_MIN 60 /* shortest Ethernet frame, without FCS */
#define BULK_LEN 16

const volatile struct xdpmap_live_config config = {};

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
	MAP_NUMBER(map_flags, BPF_F_MMAPABLE);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct xdpmap_live_ring);
} live_ring SEC(".maps");

struct {
	MAP_NUMBER(type, BPF_MAP_TYPE_DEVMAP);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} live_device SEC(".maps");

static __always_inline struct xdpmap_live_ring *the_ring(void)
{
	const u32 zero = 0;

	return bpf_map_lookup_elem(&live_ring, &zero);
}

/* Whether there is an entry to take. `head` is read by an atomic operation, which orders the read of the entry after
 * it. */
static __always_inline int has_entry(struct xdpmap_live_ring *ring)
{
	if (ring->tail != ring->known_head)
		return 1;
	ring->known_head = __sync_fetch_and_add(&ring->head, 0);
	return ring->tail != ring->known_head;
}

/* Whether `refusals` has room for this batch: a bulk is being filled, and one may follow. */
static __always_inline int has_place(struct xdpmap_live_ring *ring)
{
	u64 read = *(volatile u64 *)&ring->refusals_read;

	return ring->refusals_written - read < XDPMAP_LIVE_REFUSALS - 2;
}

/* Copies 8 bytes of the template, if it is that long. `frame_len` is known when the program is verified. */
#define COPY_WORD(at)										\
	if (config.frame_len >= (at) + 8) {							\
		if (frame + (at) + 8 > end)							\
			return 0;								\
		*(u64 *)(frame + (at)) = *(const volatile u64 *)&config.template[at];		\
	}

/* Writes the template; false if the frame is too short for it, which cannot happen. */
static __always_inline int write_template(u8 *frame, const u8 *end)
{
	u32 at = config.frame_len & ~7u;

	COPY_WORD(0)
	COPY_WORD(8)
	COPY_WORD(16)
	COPY_WORD(24)
	COPY_WORD(32)
	COPY_WORD(40)
	COPY_WORD(48)
	COPY_WORD(56)
	COPY_WORD(64)
	COPY_WORD(72)
	COPY_WORD(80)
	COPY_WORD(88)
	COPY_WORD(96)
	COPY_WORD(104)
	COPY_WORD(112)
	COPY_WORD(120)
	if (at > XDPMAP_LIVE_FRAME_LEN_MAX - 8)
		return 1;
	if (config.frame_len & 4) {
		if (frame + at + 4 > end)
			return 0;
		*(u32 *)(frame + at) = *(const volatile u32 *)&config.template[at];
		at += 4;
	}
	if (config.frame_len & 2) {
		if (frame + at + 2 > end)
			return 0;
		*(u16 *)(frame + at) = *(const volatile u16 *)&config.template[at];
	}
	return 1;
}

static __always_inline void patch(u8 *frame, const struct xdpmap_live_entry *entry)
{
	u8 *ip = frame + ETHERNET_LEN;

	*(u16 *)(ip + 4) = entry->ip_id;
	*(u16 *)(ip + 10) = entry->ip_checksum;
	*(u64 *)(ip + 12) = entry->addresses;
	*(u64 *)(ip + 20) = entry->l4_start;
	if (config.l4_checksum <= FRAME_LEN_MIN - ETHERNET_LEN - 20 - 2)
		*(u16 *)(ip + 20 + config.l4_checksum) = entry->l4_checksum;
}

SEC("xdp")
int xdpmap_live(struct xdp_md *ctx)
{
	u8 *frame = (u8 *)(long)ctx->data;
	u8 *end = (u8 *)(long)ctx->data_end;
	struct xdpmap_live_ring *ring = the_ring();
	const struct xdpmap_live_entry *entry;

	if (!ring || frame + FRAME_LEN_MIN > end)
		return XDP_DROP;
	if (ring->halted || !has_entry(ring) || !has_place(ring)) {
		ring->empty++;
		return XDP_DROP;
	}
	ring->cpu = bpf_get_smp_processor_id() + 1;
	entry = &ring->entries[ring->tail & (XDPMAP_LIVE_ENTRIES - 1)];
	if (!(entry->flags & XDPMAP_LIVE_AS_IS)) {
		if (!write_template(frame, end))
			return XDP_DROP;
		patch(frame, entry);
	}
	ring->tail++;
	return bpf_redirect_map(&live_device, 0, XDP_DROP);
}

struct net_device {
	int ifindex;
} __attribute__((preserve_access_index));

/* Arguments of the tracepoint xdp_devmap_xmit: from_dev, to_dev, sent, drops, err. */
SEC("tp_btf/xdp_devmap_xmit")
int xdpmap_live_bulk(u64 *arguments)
{
	const struct net_device *to = (const struct net_device *)arguments[1];
	u32 sent = (u32)arguments[2], drops = (u32)arguments[3];
	struct xdpmap_live_refusal *refusal;
	struct xdpmap_live_ring *ring;
	u64 ahead;

	if (to->ifindex != (int)config.ifindex)
		return 0;
	ring = the_ring();
	/* Without an entry in progress this bulk is not ours. The same holds on another CPU: a batch, up to the flush
	 * at its end, runs on one CPU. But between two batches the thread may move (an administrator, a CPU that goes
	 * offline). */
	if (!ring || ring->tail == ring->accounted || ring->cpu != bpf_get_smp_processor_id() + 1ull)
		return 0;
	ahead = ring->tail - ring->accounted - (sent + drops);
	if (ahead > (sent + drops == BULK_LEN)) {
		ring->halted = 1;
		return 0;
	}
	if (ring->halted)
		return 0;
	if (drops) {
		refusal = &ring->refusals[ring->refusals_written & (XDPMAP_LIVE_REFUSALS - 1)];
		refusal->position = ring->accounted + sent;
		refusal->count = drops;
		refusal->error = (int)arguments[4];
		ring->refusals_written++;
	}
	ring->sent += sent;
	ring->refused += drops;
	/* Last, and by an atomic operation that returns a value, which orders it: a reader of it also reads everything
	 * above. */
	ring->halted = __sync_fetch_and_add(&ring->accounted, sent + drops) > ring->tail;
	return 0;
}

const char LICENSE[] SEC("license") = "Dual MIT/GPL";
