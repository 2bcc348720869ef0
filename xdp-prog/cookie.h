/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The cookie of a TCP probe, as abi.h defines it; scanner/src/cookie.rs is its twin.
 */
#ifndef XDPMAP_COOKIE_H
#define XDPMAP_COOKIE_H

#include "abi.h"
#include "bpf.h"

#define ROTATE_LEFT(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))

#define SIP_ROUND(v0, v1, v2, v3)                                                                                   \
	do {                                                                                                        \
		v0 += v1;                                                                                           \
		v1 = ROTATE_LEFT(v1, 13) ^ v0;                                                                      \
		v0 = ROTATE_LEFT(v0, 32);                                                                           \
		v2 += v3;                                                                                           \
		v3 = ROTATE_LEFT(v3, 16) ^ v2;                                                                      \
		v0 += v3;                                                                                           \
		v3 = ROTATE_LEFT(v3, 21) ^ v0;                                                                      \
		v2 += v1;                                                                                           \
		v1 = ROTATE_LEFT(v1, 17) ^ v2;                                                                      \
		v2 = ROTATE_LEFT(v2, 32);                                                                           \
	} while (0)

#define SIP_COMPRESS(v0, v1, v2, v3, word)                                                                          \
	do {                                                                                                        \
		v3 ^= (word);                                                                                       \
		SIP_ROUND(v0, v1, v2, v3);                                                                          \
		v0 ^= (word);                                                                                       \
	} while (0)

/* SipHash-1-3 of the 16 bytes that two words make. */
always_inline u64 siphash13(u64 k0, u64 k1, u64 word0, u64 word1)
{
	u64 v0 = k0 ^ 0x736f6d6570736575ULL;
	u64 v1 = k1 ^ 0x646f72616e646f6dULL;
	u64 v2 = k0 ^ 0x6c7967656e657261ULL;
	u64 v3 = k1 ^ 0x7465646279746573ULL;
	const u64 length_block = 16ULL << 56;

	SIP_COMPRESS(v0, v1, v2, v3, word0);
	SIP_COMPRESS(v0, v1, v2, v3, word1);
	SIP_COMPRESS(v0, v1, v2, v3, length_block);
	v2 ^= 0xff;
	SIP_ROUND(v0, v1, v2, v3);
	SIP_ROUND(v0, v1, v2, v3);
	SIP_ROUND(v0, v1, v2, v3);
	return v0 ^ v1 ^ v2 ^ v3;
}

/* The cookie of the probe from source to target:port. All numbers in host order. */
always_inline u64 tcp_cookie(const volatile struct xdpmap_config *config, u32 source, u32 target, u16 port)
{
	u64 addresses = (u64)source << 32 | target;
	u64 rest = (u64)XDPMAP_COOKIE_VERSION << 24 | (u64)PROTOCOL_TCP << 16 | port;

	return siphash13(config->cookie_key[0], config->cookie_key[1], addresses, rest);
}

/* Whether a reply to our port offset (within the source-port range) answers one of the copies of a probe. */
always_inline int answers_a_copy(const volatile struct xdpmap_config *config, u64 cookie, u32 offset)
{
	u32 count = config->source_port_count;
	u32 base = ((u32)(u16)(cookie >> 32) * count) >> 16;
	u32 number = offset >= base ? offset - base : offset + count - base;

	return number < config->probes;
}
#endif
