/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * SipHash-1-3 of 12 bytes (J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012): one compression
 * round for the first 8 bytes, one for the other 4 with the length, three finalisation rounds. The same function as in
 * crates/wire/src/proof/cookie.rs; a property test compares the two.
 *
 * Half of the first round depends only on the key. The scanner computes it in advance (struct xdpmap_config). BPF has
 * no rotation instruction, so a rotation takes three, and the hash is most of the cost of a valid reply.
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

/* The half of a round that combines v0 and v1. */
static __always_inline void sip_left(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotate_left(s->v1, 13) ^ s->v0;
	s->v0 = rotate_left(s->v0, 32);
}

/* The rest of a round after sip_left(). */
static __always_inline void sip_rest(struct sip *s)
{
	s->v2 += s->v3;
	s->v3 = rotate_left(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate_left(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate_left(s->v1, 17) ^ s->v2;
	s->v2 = rotate_left(s->v2, 32);
}

static __always_inline void sip_round(struct sip *s)
{
	sip_left(s);
	sip_rest(s);
}

/* `s`: the state from the key, after sip_left(). */
static __always_inline u64 siphash13(struct sip s, u64 word, u32 rest)
{
	u64 last = 12ULL << 56 | rest;

	s.v3 ^= word;
	sip_rest(&s);
	s.v0 ^= word;
	s.v3 ^= last;
	sip_round(&s);
	s.v0 ^= last;
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
