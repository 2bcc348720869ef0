/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The interface between the live-frame program and the scanner: a ring of patches in one memory-mapped map, and its
 * counters. scanner/src/io/live/abi.rs mirrors it, and a test compares that mirror with the BTF of the object.
 *
 * One ring, one program, one thread. User space writes entries and moves `head`. The program, which that thread runs by
 * BPF_PROG_TEST_RUN, takes them one by one and moves `tail`. The tracepoint program records how many of each bulk the
 * driver accepted and moves `accounted`. Positions are free-running. An entry's slot is its position modulo the ring's
 * length, and is free again once `accounted` is past it and user space has read its refusals.
 *
 *     accounted <= tail <= head <= accounted + XDPMAP_LIVE_ENTRIES
 *     accounted == sent + refused + lost
 */
#ifndef XDPMAP_LIVE_H
#define XDPMAP_LIVE_H

/* Version of the entry and of the ring's layout. */
#define XDPMAP_LIVE_VERSION 2

/* Entries of the ring, a power of two. Fewer let the driver idle while the worker is off its core; more take memory and
 * keep probes waiting. */
#define XDPMAP_LIVE_ENTRIES 16384

/* Slots for bulks that the driver did not accept whole, a power of two. With fewer, the program stops sooner when user
 * space is slow to read them; more only take memory. */
#define XDPMAP_LIVE_REFUSALS 1024

/* The fields in which frames of the template differ. All of them in network order, ready for the frame. */
struct xdpmap_live_entry {
	unsigned long long addresses;	/* IPv4 source address, destination address */
	unsigned long long l4_start;	/* first 8 bytes of the transport header, without a checksum */
	unsigned int timestamp;		/* room for a TCP timestamp that differs from probe to probe; 0 */
	unsigned short ip_id;
	unsigned short ip_checksum;
	unsigned short l4_checksum;
	unsigned short flags;		/* XDPMAP_LIVE_AS_IS or 0 */
	unsigned short reserved[2];	/* always 0 */
};

/* The frame is sent as user space wrote it: neither template nor patch is written into it. */
#define XDPMAP_LIVE_AS_IS 1

/* Longest frame, and room for the template. */
#define XDPMAP_LIVE_FRAME_LEN_MAX 128

/* Entries that the driver refused: `count` of them from `position` on. */
struct xdpmap_live_refusal {
	unsigned long long position;
	unsigned int count;
	int error;			/* the driver's answer, 0 or a negative errno */
};

struct xdpmap_live_ring {
	/* Written by user space. */
	unsigned long long head;		/* next entry to be written */
	unsigned long long refusals_read;	/* next refusal to be read */
	unsigned long long unused0[6];
	/* Written by the tracepoint program, and between two runs by the thread that runs the program. */
	unsigned long long accounted;		/* entries whose outcome is known */
	unsigned long long sent;		/* accepted by the driver */
	unsigned long long refused;		/* refused by the driver; each is in `refusals` */
	unsigned long long lost;		/* lost before the driver; it is unknown which */
	unsigned long long refusals_written;	/* next refusal to be written */
	unsigned long long unused1[3];
	/* Used by the program alone. */
	unsigned long long tail;		/* next entry to be taken */
	unsigned long long known_head;		/* `head` as last read */
	unsigned long long empty;		/* runs that found the ring empty */
	unsigned long long halted;		/* not 0: take no more entries in this run, as counts do not match */
	unsigned long long cpu;			/* the CPU that the program last ran on, plus one; 0: none yet */
	unsigned long long unused2[3];
	struct xdpmap_live_refusal refusals[XDPMAP_LIVE_REFUSALS];
	struct xdpmap_live_entry entries[XDPMAP_LIVE_ENTRIES];
};

/* Set once at load (`const volatile`, .rodata). */
struct xdpmap_live_config {
	unsigned int ifindex;		/* the sending interface */
	unsigned int frame_len;		/* length of the template, 60 or more and even */
	unsigned int l4_checksum;	/* offset of the checksum in the transport header, at most 24 */
	unsigned char template[XDPMAP_LIVE_FRAME_LEN_MAX];
};
#endif
