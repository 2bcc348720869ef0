/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The only frame of the bare senders: a SYN as long as those of xdpmap's default layout.
 */
#ifndef XDPMAP_BENCH_FRAME_H
#define XDPMAP_BENCH_FRAME_H

#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	FRAME_LEN = 66,
	ETHERNET_LEN = 14,
	IPV4_LEN = 20,
	TCP_LEN = FRAME_LEN - ETHERNET_LEN - IPV4_LEN,
};

/* The Internet checksum of `len` bytes, an even number, added to an earlier sum. */
static uint16_t checksum(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static void put16(uint8_t *to, uint16_t value)
{
	to[0] = value >> 8;
	to[1] = value & 0xff;
}

/* A SYN from 198.19.0.1:32768 to 10.0.0.1:80 with the options of xdpmap's default layout. */
static void make_frame(uint8_t *frame, const uint8_t *source_mac, const uint8_t *gateway_mac)
{
	static const uint8_t ip[IPV4_LEN] = {
		0x45, 0, 0, IPV4_LEN + TCP_LEN, 0, 0, 0, 0, 64, 6, 0, 0, 198, 19, 0, 1, 10, 0, 0, 1,
	};
	static const uint8_t tcp[TCP_LEN] = {
		0x80, 0x00, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, TCP_LEN / 4 << 4, 0x02, 0xff, 0xff, 0, 0, 0, 0,
		2, 4, 0x05, 0xb4,	/* MSS 1460 */
		1, 3, 3, 8,		/* window scale */
		1, 1, 4, 2,		/* SACK permitted */
	};
	uint8_t *ip_at = frame + ETHERNET_LEN, *tcp_at = ip_at + IPV4_LEN;
	uint32_t pseudo_header = 6 + TCP_LEN;

	memcpy(frame, gateway_mac, 6);
	memcpy(frame + 6, source_mac, 6);
	put16(frame + 12, 0x0800);
	memcpy(ip_at, ip, sizeof(ip));
	memcpy(tcp_at, tcp, sizeof(tcp));
	put16(ip_at + 10, checksum(ip_at, IPV4_LEN, 0));
	for (size_t i = 12; i < IPV4_LEN; i += 2)
		pseudo_header += (uint32_t)ip_at[i] << 8 | ip_at[i + 1];
	put16(tcp_at + 16, checksum(tcp_at, TCP_LEN, pseudo_header));
}

/* The interface's MAC address; 0, or -1 and errno. */
static int interface_mac(const char *interface, uint8_t *mac)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), failed;

	if (fd < 0)
		return -1;
	strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
	failed = ioctl(fd, SIOCGIFHWADDR, &request);
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	close(fd);
	return failed;
}

/* Parses a MAC address in the form of ip(8); returns whether it is valid. */
static int parse_mac(const char *text, uint8_t *mac)
{
	unsigned int bytes[6];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", bytes, bytes + 1, bytes + 2, bytes + 3, bytes + 4, bytes + 5) != 6)
		return 0;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)bytes[i];
	return 1;
}

#endif
