/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Testing eight bytes of text at once, loaded as a little-endian word: the first byte is the
 * lowest.
 *
 * A test sets the high bit of each byte that matches. The result is right for all bytes up to and
 * including the first byte >= 0x80: that one may carry into the bytes after it. So to find the
 * first byte outside a class, or in the word itself, and do not look beyond the byte found.
 */
#ifndef TOLLGATE_SWAR_H
#define TOLLGATE_SWAR_H

#include <linux/types.h>

/* A word with @c in each of its eight bytes. */
#define TOLLGATE_SWAR(c)   (0x0101010101010101ULL * (__u8)(c))
#define TOLLGATE_SWAR_HIGH TOLLGATE_SWAR(0x80)

/* Up to eight letters as a word; pass 0 for unused ones. */
#define TOLLGATE_WORD(a, b, c, d, e, f, g, h)                                                    \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)

/* A mask of the first @count bytes of a word, 0 to 7. */
static __always_inline __u64 tollgate_swar_low(__u32 count)
{
	return (1ULL << (8 * count)) - 1;
}

/* Bytes from @first to @last; @last is below 0x7f. */
static __always_inline __u64 tollgate_swar_range(__u64 word, __u8 first, __u8 last)
{
	return (word + TOLLGATE_SWAR(0x80 - first)) ^ (word + TOLLGATE_SWAR(0x7f - last));
}

/* Bytes other than @c. */
static __always_inline __u64 tollgate_swar_not(__u64 word, __u8 c)
{
	return (word ^ TOLLGATE_SWAR(c)) + TOLLGATE_SWAR(0x7f);
}

/* Letters of either case. */
static __always_inline __u64 tollgate_swar_letters(__u64 word)
{
	return tollgate_swar_range(word | TOLLGATE_SWAR(0x20), 'a', 'z');
}

/* Bytes other than digits. */
static __always_inline __u64 tollgate_swar_past_digits(__u64 word)
{
	return (~tollgate_swar_range(word, '0', '9') | word) & TOLLGATE_SWAR_HIGH;
}

/* Bytes other than letters, digits, '-' and '.': the end of a field's name or of a host. */
static __always_inline __u64 tollgate_swar_past_name(__u64 word)
{
	__u64 others = tollgate_swar_range(word, '-', '9') & tollgate_swar_not(word, '/');

	return (~(tollgate_swar_letters(word) | others) | word) & TOLLGATE_SWAR_HIGH;
}

/* Bytes other than those usual in a path or query: letters, digits, &'()*+,-./:;=_ */
static __always_inline __u64 tollgate_swar_past_query(__u64 word)
{
	__u64 usual = tollgate_swar_letters(word) | tollgate_swar_range(word, '&', ';');
	__u64 others = tollgate_swar_not(word, '=') & tollgate_swar_not(word, '_');

	return ((~usual & others) | word) & TOLLGATE_SWAR_HIGH;
}

/* Each '/' that is followed by '/' or '.'. @next: the word that starts one byte later. */
static __always_inline __u64 tollgate_swar_odd_slashes(__u64 word, __u64 next)
{
	return ~(tollgate_swar_not(word, '/') | tollgate_swar_not(next | TOLLGATE_SWAR(1), '/')) &
	       TOLLGATE_SWAR_HIGH;
}

/* Control bytes, and all bytes from 0x7f on. */
static __always_inline __u64 tollgate_swar_controls(__u64 word)
{
	return ((word - TOLLGATE_SWAR(0x20)) | (word + TOLLGATE_SWAR(1))) & TOLLGATE_SWAR_HIGH;
}

/* All bits below the lowest set bit; all bits if none is set. */
static __always_inline __u64 tollgate_swar_before(__u64 mask)
{
	return (mask - 1) & ~mask;
}

/* The index, 0 to 7, of the first marked byte. @mask is not 0 and has only bytes' high bits. */
static __always_inline __u32 tollgate_swar_first(__u64 mask)
{
	return ((tollgate_swar_before(mask) & TOLLGATE_SWAR(1)) * TOLLGATE_SWAR(1) >> 56) - 1;
}

/* The value of the first @count bytes, 1 to 8, which are decimal digits. */
static __always_inline __u32 tollgate_swar_number(__u64 word, __u32 count)
{
	word = (word ^ TOLLGATE_SWAR('0')) << (64 - 8 * count);
	word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffULL;
	word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffULL;
	return (__u32)(word * 10000 + (word >> 32));
}

#endif
