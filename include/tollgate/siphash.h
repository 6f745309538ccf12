/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * SipHash-2-4 with a 128-bit result, for both the agent and XDP.
 *
 * See "SipHash: a fast short-input PRF" (Aumasson, Bernstein, 2012), with the authors' later
 * 128-bit output: v1 is xored with 0xee at the start, and the second word is computed by xoring
 * 0xdd into v1 and doing four more rounds. Little-endian machines only.
 */
#ifndef TOLLGATE_SIPHASH_H
#define TOLLGATE_SIPHASH_H

#include <linux/types.h>

struct tollgate_sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 tollgate_sip_rotate(__u64 word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

static __always_inline void tollgate_sip_round(struct tollgate_sip *s)
{
	s->v0 += s->v1;
	s->v1 = tollgate_sip_rotate(s->v1, 13) ^ s->v0;
	s->v0 = tollgate_sip_rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = tollgate_sip_rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = tollgate_sip_rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = tollgate_sip_rotate(s->v1, 17) ^ s->v2;
	s->v2 = tollgate_sip_rotate(s->v2, 32);
}

static __always_inline void tollgate_sip_start(struct tollgate_sip *s, const __u64 key[2])
{
	s->v0 = key[0] ^ 0x736f6d6570736575ULL;
	s->v1 = key[1] ^ 0x646f72616e646f6dULL ^ 0xee;
	s->v2 = key[0] ^ 0x6c7967656e657261ULL;
	s->v3 = key[1] ^ 0x7465646279746573ULL;
}

/* Add eight bytes of the message, as a little-endian word. */
static __always_inline void tollgate_sip_word(struct tollgate_sip *s, __u64 word)
{
	s->v3 ^= word;
	tollgate_sip_round(s);
	tollgate_sip_round(s);
	s->v0 ^= word;
}

/* @last: the message's length << 56 | its last 0 to 7 bytes. */
static __always_inline void tollgate_sip_end(struct tollgate_sip *s, __u64 last, __u64 ret_hash[2])
{
	tollgate_sip_word(s, last);
	s->v2 ^= 0xee;
	for (int i = 0; i < 4; i++)
		tollgate_sip_round(s);
	ret_hash[0] = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
	s->v1 ^= 0xdd;
	for (int i = 0; i < 4; i++)
		tollgate_sip_round(s);
	ret_hash[1] = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

#ifndef __bpf__
/* The hash of @len bytes; for user space. */
static inline void tollgate_siphash128(const __u64 key[2], const void *data, __u64 len,
				       __u64 ret_hash[2])
{
	const unsigned char *at = (const unsigned char *)data;
	struct tollgate_sip s;
	__u64 word, last = len << 56;

	tollgate_sip_start(&s, key);
	for (__u64 left = len; left >= 8; left -= 8, at += 8) {
		__builtin_memcpy(&word, at, 8);
		tollgate_sip_word(&s, word);
	}
	for (__u64 i = 0; i < (len & 7); i++)
		last |= (__u64)at[i] << (8 * i);
	tollgate_sip_end(&s, last, ret_hash);
}
#endif

#endif
