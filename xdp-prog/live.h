/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the live-frame program and the scanner agree on: a ring of patches in one memory-mapped map, and what is
 * counted in it. scanner/src/io/live/abi.rs mirrors it, and a test holds that mirror against the BTF of the object.
 *
 * One ring, one program, one thread: user space writes entries and moves `head`; the program, which that thread runs by
 * BPF_PROG_TEST_RUN, takes them one by one and moves `tail`; the tracepoint program says of each bulk
 * how many the driver took and moves `accounted`. Positions are free-running; an entry's slot is its position modulo
 * the ring's length, and is free again once `accounted` is past it and user space has read what was refused.
 *
 *     accounted <= tail <= head <= accounted + XDPMAP_LIVE_ENTRIES
 *     accounted == sent + refused + lost
 */
#ifndef XDPMAP_LIVE_H
#define XDPMAP_LIVE_H

/* Version of the entry and of the ring's layout. */
#define XDPMAP_LIVE_VERSION 2

/* Entries of the ring, a power of two. */
#define XDPMAP_LIVE_ENTRIES 16384

/* Places for bulks that the driver did not take whole, a power of two. */
#define XDPMAP_LIVE_REFUSALS 1024

/* What makes one frame of the template differ from the next. All of it in network order, ready for the frame. */
struct xdpmap_live_entry {
	unsigned long long addresses;	/* IPv4 source address, destination address */
	unsigned long long l4_start;	/* first 8 bytes of the transport header, without a checksum */
	unsigned int timestamp;		/* room for a TCP timestamp that differs from probe to probe; 0 */
	unsigned short ip_id;
	unsigned short ip_checksum;
	unsigned short l4_checksum;
	unsigned short flags;		/* XDPMAP_LIVE_AS_IS or 0 */
	unsigned short reserved[2];	/* 0 */
};

/* The frame is sent as user space gave it: neither template nor patch is written into it. */
#define XDPMAP_LIVE_AS_IS 1

/* Longest frame, and room for the template. */
#define XDPMAP_LIVE_FRAME_LEN_MAX 128

/* Entries that the driver refused: `count` of them from `position` on. */
struct xdpmap_live_refusal {
	unsigned long long position;
	unsigned int count;
	int error;			/* what the driver said, 0 or a negative errno */
};

struct xdpmap_live_ring {
	/* Written by user space. */
	unsigned long long head;		/* next entry to be written */
	unsigned long long refusals_read;	/* next refusal to be read */
	unsigned long long unused0[6];
	/* Written by the tracepoint program, and between two runs by the thread that runs the program. */
	unsigned long long accounted;		/* entries whose fate is known */
	unsigned long long sent;		/* taken by the driver */
	unsigned long long refused;		/* not taken; each is in `refusals` */
	unsigned long long lost;		/* dropped on the way to the driver, nobody knows which */
	unsigned long long refusals_written;	/* next refusal to be written */
	unsigned long long unused1[3];
	/* The program's own. */
	unsigned long long tail;		/* next entry to be taken */
	unsigned long long known_head;		/* `head` as last read */
	unsigned long long empty;		/* runs that found the ring empty */
	unsigned long long halted;		/* not 0: take nothing more in this run, for the books do not balance */
	unsigned long long cpu;			/* the CPU that the program ran on last, and one more; 0: none yet */
	unsigned long long unused2[3];
	struct xdpmap_live_refusal refusals[XDPMAP_LIVE_REFUSALS];
	struct xdpmap_live_entry entries[XDPMAP_LIVE_ENTRIES];
};

/* Set once at load (`const volatile`, .rodata). */
struct xdpmap_live_config {
	unsigned int ifindex;		/* the interface it sends through */
	unsigned int frame_len;		/* length of the template, 60 or more and even */
	unsigned int l4_checksum;	/* offset of the checksum in the transport header, at most 24 */
	unsigned char template[XDPMAP_LIVE_FRAME_LEN_MAX];
};
#endif
