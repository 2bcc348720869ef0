/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The minimum needed to send by XDP live frames: the limit of this method on this link.
 *
 *   bare_live OBJECT INTERFACE GATEWAY_MAC COUNT
 *
 * Frames per call, batch and frame length are xdpmap's, and the tracepoint that reports each bulk is on. But every
 * frame is the same: the kernel fills its pages with it once, the program (bare_live.bpf.c) redirects it without
 * reading it, and no second thread fills a ring. Frames that the driver refused are replaced by more of the same.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "frame.h"

enum {
	CALL_FRAMES = 1 << 20,
	BATCH = 64,
};

/* As in bare_live.bpf.c. */
struct config {
	uint32_t cpu, ifindex, namespace;
};

struct fate {
	uint64_t sent, refused;
};

static void die(const char *step)
{
	fprintf(stderr, "bare_live: %s: %s\n", step, strerror(errno));
	exit(1);
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Loads both programs, sets CPU and interface, attaches to the tracepoint. */
static struct bpf_object *load(const char *path, struct config config)
{
	struct bpf_object *object = bpf_object__open(path);
	struct bpf_map *map;
	uint32_t key = 0;

	if (!object)
		die("opening the object");
	bpf_object__for_each_map(map, object)
		if (strstr(bpf_map__name(map), ".rodata") && bpf_map__set_initial_value(map, &config, sizeof(config)))
			die("setting CPU and interface");
	if (bpf_object__load(object))
		die("loading the object");
	if (!bpf_program__attach(bpf_object__find_program_by_name(object, "bare_live_bulk")))
		die("attaching to the tracepoint");
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "device"), &key, &config.ifindex, 0))
		die("naming the interface");
	return object;
}

static struct fate read_fate(int map)
{
	struct fate fate;
	uint32_t key = 0;

	if (bpf_map_lookup_elem(map, &key, &fate))
		die("reading the counters");
	return fate;
}

int main(int argc, char **argv)
{
	uint8_t source_mac[6], gateway_mac[6], frame[FRAME_LEN];
	struct xdp_md context = { .data_end = FRAME_LEN };
	struct config config;
	struct bpf_object *object;
	struct stat namespace;
	struct fate fate = { 0 };
	uint64_t count, calls = 0;
	int program, fates;
	cpu_set_t core;
	double start;

	if (argc != 5 || !parse_mac(argv[3], gateway_mac)) {
		fprintf(stderr, "usage: bare_live OBJECT INTERFACE GATEWAY_MAC COUNT\n");
		return 2;
	}
	count = strtoull(argv[4], NULL, 10);
	config = (struct config){ .cpu = (uint32_t)sched_getcpu(), .ifindex = if_nametoindex(argv[2]) };
	if (stat("/proc/self/ns/net", &namespace))
		die("looking for the network namespace");
	config.namespace = (uint32_t)namespace.st_ino;
	if (!config.ifindex || interface_mac(argv[2], source_mac))
		die("looking for the interface");
	CPU_ZERO(&core);
	CPU_SET(config.cpu, &core);
	if (sched_setaffinity(0, sizeof(core), &core))
		die("staying on a core");
	object = load(argv[1], config);
	program = bpf_program__fd(bpf_object__find_program_by_name(object, "bare_live"));
	fates = bpf_object__find_map_fd_by_name(object, "fates");
	make_frame(frame, source_mac, gateway_mac);
	start = now_seconds();
	while (fate.sent < count) {
		uint64_t before = fate.sent, missing = count - before;
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = sizeof(frame), .ctx_in = &context,
			    .ctx_size_in = sizeof(context), .repeat = missing < CALL_FRAMES ? (int)missing : CALL_FRAMES,
			    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = missing < BATCH ? (uint32_t)missing : BATCH);

		if (bpf_prog_test_run_opts(program, &run))
			die("sending");
		calls++;
		fate = read_fate(fates);
		if (fate.sent == before) {
			fprintf(stderr, "bare_live: the driver accepts no frames\n");
			return 1;
		}
	}
	printf("{\"packets_sent\": %llu, \"send_seconds\": %.6f, \"refused\": %llu, \"calls\": %llu}\n",
	       (unsigned long long)fate.sent, now_seconds() - start, (unsigned long long)fate.refused,
	       (unsigned long long)calls);
	return 0;
}
