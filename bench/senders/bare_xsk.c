/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The minimum needed to send through an AF_XDP socket: the reference for xdpmap.
 *
 *   bare_xsk INTERFACE GATEWAY_MAC COUNT [copy|zerocopy]
 *
 * Socket, mode (copy if none is named), ring sizes, batch, budget and frame length are xdpmap's. But every frame is the
 * same, made before the first is sent, and so are the descriptors in the TX ring. Sending a batch only moves one index,
 * and reaping completions another. Nothing is received or looked up, and no program is attached to the interface; for
 * zero-copy many drivers need one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_xdp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"

#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

enum {
	RING_LEN = 2048,
	BATCH = 256,
	/* Turns without a frame after which the kernel is woken again, in case that a driver has lost a wake-up. */
	WAKE_AGAIN_TURNS = 256,
	TX_BUDGET = 1024,
	CHUNK_LEN = 2048,
	/* As many frames as a batch has, two cache lines each and adjacent: they take little of caches and TLB. */
	FRAMES = BATCH,
	FRAME_ROOM = 128,
};

/* A ring as both sides see it; the indices are free-running and wrap. */
struct ring {
	uint32_t *producer;
	uint32_t *consumer;
	uint32_t *flags;
	void *descriptors;
};

static void die(const char *step)
{
	fprintf(stderr, "bare_xsk: %s: %s\n", step, strerror(errno));
	exit(1);
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void set_option(int fd, int option, uint32_t value, const char *step)
{
	if (setsockopt(fd, SOL_XDP, option, &value, sizeof(value)))
		die(step);
}

static struct ring map_ring(int fd, const struct xdp_ring_offset *at, size_t descriptor_len, off_t page)
{
	char *start = mmap(NULL, at->desc + RING_LEN * descriptor_len, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, fd, page);

	if (start == MAP_FAILED)
		die("mapping a ring");
	return (struct ring){
		.producer = (uint32_t *)(start + at->producer),
		.consumer = (uint32_t *)(start + at->consumer),
		.flags = (uint32_t *)(start + at->flags),
		.descriptors = start + at->desc,
	};
}

static void register_frames(int fd, const uint8_t *source_mac, const uint8_t *gateway_mac)
{
	size_t len = FRAMES * FRAME_ROOM;
	uint8_t *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct xdp_umem_reg umem = { .addr = (uintptr_t)area, .len = len, .chunk_size = CHUNK_LEN };

	if (area == MAP_FAILED)
		die("mapping frames");
	for (size_t i = 0; i < FRAMES; i++)
		make_frame(area + i * FRAME_ROOM, source_mac, gateway_mac);
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)))
		die("registering frames");
}

/* Opens the socket and maps its two rings for sending, with all descriptors of the TX ring written. */
static int open_socket(const char *interface, const uint8_t *gateway_mac, uint16_t mode, struct ring *tx,
		       struct ring *completion)
{
	struct rlimit no_limit = { RLIM_INFINITY, RLIM_INFINITY };
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP, .sxdp_flags = mode | XDP_USE_NEED_WAKEUP };
	struct xdp_mmap_offsets offsets;
	socklen_t len = sizeof(offsets);
	uint8_t mac[6];
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("opening an AF_XDP socket");
	setrlimit(RLIMIT_MEMLOCK, &no_limit);
	if (interface_mac(interface, mac))
		die("reading the interface's MAC address");
	register_frames(fd, mac, gateway_mac);
	set_option(fd, XDP_UMEM_FILL_RING, RING_LEN, "making the fill ring");
	set_option(fd, XDP_UMEM_COMPLETION_RING, RING_LEN, "making the completion ring");
	set_option(fd, XDP_TX_RING, RING_LEN, "making the TX ring");
	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &len))
		die("reading the rings' layout");
	*tx = map_ring(fd, &offsets.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
	*completion = map_ring(fd, &offsets.cr, sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING);
	for (uint32_t i = 0; i < RING_LEN; i++)
		((struct xdp_desc *)tx->descriptors)[i] =
			(struct xdp_desc){ .addr = (uint64_t)(i % FRAMES) * FRAME_ROOM, .len = FRAME_LEN };
	address.sxdp_ifindex = if_nametoindex(interface);
	/* A queue stays busy for a moment after its last socket was closed. */
	for (int tries = 0; bind(fd, (struct sockaddr *)&address, sizeof(address)); tries++) {
		if (errno != EBUSY || tries == 50)
			die("binding to queue 0");
		usleep(10000);
	}
	/* Older kernels do not support it; xdpmap also ignores that. */
	setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &(uint32_t){ TX_BUDGET }, sizeof(uint32_t));
	return fd;
}

/* Sends `count` packets; returns how many times the kernel was woken. */
static uint64_t send_all(int fd, const struct ring *tx, const struct ring *completion, uint64_t count)
{
	uint64_t handed_over = 0, completed = 0, wakeups = 0;
	uint32_t produced = *tx->producer, consumed = *completion->consumer, idle_turns = 0;

	while (completed < count) {
		uint64_t batch = count - handed_over;
		uint32_t done;

		if (batch > BATCH)
			batch = BATCH;
		if (batch > RING_LEN - (handed_over - completed))
			batch = RING_LEN - (handed_over - completed);
		produced += (uint32_t)batch;
		handed_over += batch;
		__atomic_store_n(tx->producer, produced, __ATOMIC_RELEASE);
		idle_turns = batch ? 0 : idle_turns + 1;
		if (idle_turns % WAKE_AGAIN_TURNS == 0 &&
		    __atomic_load_n(tx->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) {
			wakeups++;
			if (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY &&
			    errno != ENOBUFS)
				die("sending");
		}
		done = __atomic_load_n(completion->producer, __ATOMIC_ACQUIRE);
		completed += done - consumed;
		consumed = done;
		__atomic_store_n(completion->consumer, consumed, __ATOMIC_RELEASE);
	}
	return wakeups;
}

int main(int argc, char **argv)
{
	struct ring tx, completion;
	uint64_t count, wakeups;
	uint8_t gateway_mac[6];
	uint16_t mode = XDP_COPY;
	double start;
	int fd;

	if (argc == 5 && !strcmp(argv[4], "zerocopy"))
		mode = XDP_ZEROCOPY;
	else if (argc != 4 && (argc != 5 || strcmp(argv[4], "copy")))
		argc = 0;
	if (!argc || !parse_mac(argv[2], gateway_mac)) {
		fprintf(stderr, "usage: bare_xsk INTERFACE GATEWAY_MAC COUNT [copy|zerocopy]\n");
		return 2;
	}
	count = strtoull(argv[3], NULL, 10);
	fd = open_socket(argv[1], gateway_mac, mode, &tx, &completion);
	start = now_seconds();
	wakeups = send_all(fd, &tx, &completion, count);
	printf("{\"packets_sent\": %llu, \"send_seconds\": %.6f, \"wakeups\": %llu}\n", (unsigned long long)count,
	       now_seconds() - start, (unsigned long long)wakeups);
	return 0;
}
