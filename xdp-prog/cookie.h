/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * SipHash-1-3 of two words (J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012): one compression
 * round a word, three finalisation rounds. The same function as in scanner/src/cookie.rs; a property test holds the
 * two together.
 */
#ifndef XDPMAP_COOKIE_H
#define XDPMAP_COOKIE_H

#include "bpf.h"

struct sip {
	u64 v0, v1, v2, v3;
};

static __always_inline u64 rotate_left(u64 value, u32 bits)
{
	return value << bits | value >> (64 - bits);
}

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotate_left(s->v1, 13) ^ s->v0;
	s->v0 = rotate_left(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate_left(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate_left(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate_left(s->v1, 17) ^ s->v2;
	s->v2 = rotate_left(s->v2, 32);
}

static __always_inline void sip_absorb(struct sip *s, u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

static __always_inline u64 siphash13(u64 k0, u64 k1, u64 word0, u64 word1)
{
	struct sip s = {
		.v0 = k0 ^ 0x736f6d6570736575ULL,
		.v1 = k1 ^ 0x646f72616e646f6dULL,
		.v2 = k0 ^ 0x6c7967656e657261ULL,
		.v3 = k1 ^ 0x7465646279746573ULL,
	};

	sip_absorb(&s, word0);
	sip_absorb(&s, word1);
	sip_absorb(&s, 16ULL << 56);	/* the length block: 16 bytes of input */
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
