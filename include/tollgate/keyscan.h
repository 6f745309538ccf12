/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The key scan: finds the API key in the head of a plain HTTP/1.1 request, eight bytes at a time,
 * or says that it is unsure.
 *
 * It understands less than the agent's parser on purpose. Whenever it finds a key, the agent finds
 * the same key in the same request. Anything malformed, ambiguous or merely unusual is "unsure",
 * and the agent decides.
 *
 * The head is first copied to a buffer, `room`. There, any masked offset can be read, and a zero
 * byte after the head ends every loop, because no class of bytes contains it; so no step needs to
 * check where the head ends. In the kernel, room and scan are in a per-CPU map: if they were on the
 * stack, the verifier would track every value in them. Everything is inlined into one function,
 * because a return is expensive where returns are protected against speculation.
 */
#ifndef TOLLGATE_KEYSCAN_H
#define TOLLGATE_KEYSCAN_H

#include <linux/types.h>

#include <stddef.h>

#include "tollgate/siphash.h"
#include "tollgate/swar.h"

#define TOLLGATE_SCAN_KEY_MIN	16
#define TOLLGATE_SCAN_KEY_MAX	256
#define TOLLGATE_SCAN_ROOM	2048			  /* longer than a head; a power of two */
#define TOLLGATE_SCAN_ROOM_SIZE (TOLLGATE_SCAN_ROOM + 16) /* a word may start at any byte of it */

#define TOLLGATE_SCAN_LINES_MAX 32 /* including the request line; a power of two */

/*
 * How many words a step examines before it gives up. Each rare byte of a path or query costs one.
 */
#define TOLLGATE_SCAN_HEAD_WORDS  184 /* enough for a segment of 1460 bytes */
#define TOLLGATE_SCAN_PATH_WORDS  32
#define TOLLGATE_SCAN_QUERY_WORDS 64
#define TOLLGATE_SCAN_NAME_WORDS  5
#define TOLLGATE_SCAN_HOST_WORDS  16

#define TOLLGATE_SCAN_CRLF ('\r' | '\n' << 8)

enum tollgate_scan_result {
	TOLLGATE_SCAN_KEY,    /* a complete head with a key */
	TOLLGATE_SCAN_NO_KEY, /* a complete head without a key */
	TOLLGATE_SCAN_MORE,   /* the head is incomplete */
	TOLLGATE_SCAN_UNSURE, /* the agent decides */
};

enum tollgate_scan_method {
	TOLLGATE_METHOD_GET = 1,
	TOLLGATE_METHOD_POST,
	TOLLGATE_METHOD_PUT,
	TOLLGATE_METHOD_PATCH,
	TOLLGATE_METHOD_DELETE,
};

enum tollgate_scan_field {
	TOLLGATE_FIELD_OTHER,
	TOLLGATE_FIELD_HOST,
	TOLLGATE_FIELD_LENGTH,
	TOLLGATE_FIELD_CONNECTION,
	TOLLGATE_FIELD_API_KEY,
	TOLLGATE_FIELD_BEARER,
	TOLLGATE_FIELD_ODD, /* a field whose mere presence makes us unsure */
	TOLLGATE_FIELDS,
};

/*
 * Offsets are from the head's first byte. The first part is valid after TOLLGATE_SCAN_KEY and
 * TOLLGATE_SCAN_NO_KEY.
 */
struct tollgate_scan {
	__u32 head_len; /* including the empty line */
	__u32 method;	/* enum tollgate_scan_method */
	__u32 path_at;
	__u32 path_len; /* without the query */
	__u32 key_at;
	__u32 key_len;
	__u32 content_length; /* 0 if there is no such field */

	/* Only for the scan itself. */
	__u32 len;			 /* bytes in the room */
	__u32 result;			 /* enum tollgate_scan_result */
	__u32 lines;			 /* the number of lines, without the empty one */
	__u32 value_at[TOLLGATE_FIELDS]; /* where the field's value begins; 0: no such field */
	__u32 value_end[TOLLGATE_FIELDS];
	__u16 line_end[TOLLGATE_SCAN_LINES_MAX]; /* where each line's CRLF is */
};

/*
 * Read a field from the map again although its value is known. The verifier takes what it reads
 * from the map for any number; otherwise it would verify the code that follows once for each path
 * that led here.
 */
#define TOLLGATE_SCAN_REREAD(field) (*(volatile __u32 *)&(field))

/* The eight bytes at @at. They may reach past the head; no caller uses those. */
static __always_inline __u64 tollgate_scan_word(const __u8 *room, __u32 at)
{
#ifdef __bpf__
	/* Hide @at from clang: it knows more than the verifier and would remove the mask. */
	asm volatile("" : "+r"(at));
	at &= TOLLGATE_SCAN_ROOM - 1;
	return *(const __u64 *)(room + at);
#else
	__u64 word;

	__builtin_memcpy(&word, room + (at & (TOLLGATE_SCAN_ROOM - 1)), sizeof(word));
	return word;
#endif
}

/*
 * The same, without a mask, where the verifier knows the range of @at: a loop with constant bounds.
 */
static __always_inline __u64 tollgate_scan_known(const __u8 *room, __u32 at)
{
#ifdef __bpf__
	return *(const __u64 *)(room + at);
#else
	return tollgate_scan_word(room, at);
#endif
}

/* Returns the length of the method and the space after it; 0: another method. */
static __always_inline __u32 tollgate_scan_method(struct tollgate_scan *s, const __u8 *room)
{
	__u64 word = tollgate_scan_word(room, 0);

	if ((__u32)word == TOLLGATE_WORD('G', 'E', 'T', ' ', 0, 0, 0, 0)) {
		s->method = TOLLGATE_METHOD_GET;
		return 4;
	}
	if ((word & tollgate_swar_low(5)) == TOLLGATE_WORD('P', 'O', 'S', 'T', ' ', 0, 0, 0)) {
		s->method = TOLLGATE_METHOD_POST;
		return 5;
	}
	if ((__u32)word == TOLLGATE_WORD('P', 'U', 'T', ' ', 0, 0, 0, 0)) {
		s->method = TOLLGATE_METHOD_PUT;
		return 4;
	}
	if ((word & tollgate_swar_low(6)) == TOLLGATE_WORD('P', 'A', 'T', 'C', 'H', ' ', 0, 0)) {
		s->method = TOLLGATE_METHOD_PATCH;
		return 6;
	}
	if ((word & tollgate_swar_low(7)) == TOLLGATE_WORD('D', 'E', 'L', 'E', 'T', 'E', ' ', 0)) {
		s->method = TOLLGATE_METHOD_DELETE;
		return 7;
	}
	return 0;
}

/*
 * The control byte at @at does not end a line. Either it is invalid, or the bytes received end
 * here.
 */
static __always_inline __u32 tollgate_scan_stop(struct tollgate_scan *s, const __u8 *room, __u32 at)
{
	at += (__u8)tollgate_scan_word(room, at) == '\r';
	if (at >= s->len)
		s->result = TOLLGATE_SCAN_MORE;
	return 0;
}

/*
 * Record the line that ends within the eight bytes at @at. Two such lines make us unsure, unless
 * the second is the empty one. @skip marks the LF of a CRLF that started in the previous word.
 * Returns 1 to continue; on 0, the scan of lines is over and head_len is the head's length, or 0.
 */
static __always_inline int tollgate_scan_end_line(struct tollgate_scan *s, const __u8 *room,
						  __u32 at, __u64 *skip)
{
	__u64 controls = tollgate_swar_controls(tollgate_scan_known(room, at)) & ~*skip;
	__u32 first, line = TOLLGATE_SCAN_REREAD(s->lines), end;

	*skip = 0;
	if (!controls)
		return 1;
	first = tollgate_swar_first(controls);
	end = (__u32)tollgate_scan_word(room, at + first);
	if ((__u16)end != TOLLGATE_SCAN_CRLF || line >= TOLLGATE_SCAN_LINES_MAX)
		return tollgate_scan_stop(s, room, at + first);
	s->line_end[line & (TOLLGATE_SCAN_LINES_MAX - 1)] = at + first;
	s->lines = line + 1;
	if (end == (TOLLGATE_SCAN_CRLF | TOLLGATE_SCAN_CRLF << 16)) {
		s->head_len = at + first + 4;
		return 0;
	}
	controls &= ~(0x8080ULL << (8 * first));
	if (controls)
		return tollgate_scan_stop(s, room, at + tollgate_swar_first(controls));
	*skip = 0x80ULL >> (56 - 8 * first);
	return 1;
}

/*
 * Record where lines end, up to the empty line. A head has no other control bytes than those at
 * line ends. This is a pass of its own because it is fast: each step is independent of the one
 * before, so the processor need not wait to know where a line ended before it looks for the next.
 */
static __always_inline void tollgate_scan_find_lines(struct tollgate_scan *s, const __u8 *room)
{
	__u64 skip = 0;

	for (__u32 at = 0; at < 8 * TOLLGATE_SCAN_HEAD_WORDS; at += 8) {
		/* A word whose first byte is marked by skip has a control byte, so skip is used. */
		if (!tollgate_swar_controls(tollgate_scan_known(room, at)))
			continue;
		if (!tollgate_scan_end_line(s, room, at, &skip))
			return;
	}
}

/* Bytes that a target may hold (RFC 3986, pchar) but rarely does. We are unsure of '%'. */
static __always_inline int tollgate_scan_is_rare(__u8 c)
{
	return c == '~' || c == '@' || c == '!' || c == '$';
}

/*
 * Returns where the path ends, or 0 if unsure. The other take functions do likewise. "//" and "/."
 * make us unsure, because the agent may normalize them: see route.h.
 */
static __always_inline __u32 tollgate_scan_take_path(const __u8 *room, __u32 at)
{
	if ((__u8)tollgate_scan_word(room, at) != '/')
		return 0;
	for (int i = 0; i < TOLLGATE_SCAN_PATH_WORDS; i++) {
		__u64 word = tollgate_scan_word(room, at);
		__u64 past = tollgate_swar_past_query(word);
		__u8 c;

		if (tollgate_swar_odd_slashes(word, tollgate_scan_word(room, at + 1)) &
		    tollgate_swar_before(past))
			return 0;
		if (!past) {
			at += 8;
			continue;
		}
		at += tollgate_swar_first(past);
		c = tollgate_scan_word(room, at);
		if (c == ' ' || c == '?')
			return at;
		if (!tollgate_scan_is_rare(c))
			return 0;
		at++;
	}
	return 0;
}

static __always_inline __u32 tollgate_scan_take_query(const __u8 *room, __u32 at)
{
	for (int i = 0; i < TOLLGATE_SCAN_QUERY_WORDS; i++) {
		__u64 past = tollgate_swar_past_query(tollgate_scan_word(room, at));
		__u8 c;

		if (!past) {
			at += 8;
			continue;
		}
		at += tollgate_swar_first(past);
		c = tollgate_scan_word(room, at);
		if (c == ' ')
			return at;
		if (c != '?' && !tollgate_scan_is_rare(c))
			return 0;
		at++;
	}
	return 0;
}

static __always_inline int tollgate_scan_target(struct tollgate_scan *s, const __u8 *room)
{
	__u32 at = TOLLGATE_SCAN_REREAD(s->path_at);

	at = tollgate_scan_take_path(room, at);
	if (!at)
		return 0;
	s->path_len = at - s->path_at;
	if ((__u8)tollgate_scan_word(room, at) == '?')
		at = tollgate_scan_take_query(room, at + 1);
	return at && at + 9 == s->line_end[0] &&
	       tollgate_scan_word(room, at + 1) ==
		       TOLLGATE_WORD('H', 'T', 'T', 'P', '/', '1', '.', '1');
}

/* Whether [@at, @end) is a number of 1 to @most digits. @most is at most 7. */
static __always_inline int tollgate_scan_number(const __u8 *room, __u32 at, __u32 end, __u32 most,
						__u32 *ret_number)
{
	__u64 word = tollgate_scan_word(room, at);
	__u32 count = end - at;

	if (!count || count > most || tollgate_swar_past_digits(word) & tollgate_swar_low(count))
		return 0;
	*ret_number = tollgate_swar_number(word, count);
	return 1;
}

/* host[:port] of letters, digits, '-' and '.'. Of all other hosts we are unsure. */
static __always_inline int tollgate_scan_host(const __u8 *room, __u32 at, __u32 end)
{
	__u32 from = at, port;

	for (int i = 0; i < TOLLGATE_SCAN_HOST_WORDS; i++) {
		__u64 past = tollgate_swar_past_name(tollgate_scan_word(room, at));

		if (!past) {
			at += 8;
			continue;
		}
		at += tollgate_swar_first(past);
		if (at == from)
			return 0;
		if (at == end)
			return 1;
		return (__u8)tollgate_scan_word(room, at) == ':' &&
		       tollgate_scan_number(room, at + 1, end, 5, &port) && port <= 65535;
	}
	return 0;
}

/* The bits that make a byte lowercase where the pattern has a letter; 0 where it has none. */
#define TOLLGATE_SCAN_FOLD(word) ((word) >> 1 & TOLLGATE_SWAR(0x20))

static __always_inline int tollgate_scan_keep_alive(const __u8 *room, __u32 at, __u32 end)
{
	const __u64 keep = TOLLGATE_WORD('k', 'e', 'e', 'p', '-', 'a', 'l', 'i');
	const __u64 rest = TOLLGATE_WORD('v', 'e', 0, 0, 0, 0, 0, 0);

	return end == at + 10 &&
	       (tollgate_scan_word(room, at) | TOLLGATE_SCAN_FOLD(keep)) == keep &&
	       ((tollgate_scan_word(room, at + 8) & tollgate_swar_low(2)) |
		TOLLGATE_SCAN_FOLD(rest)) == rest;
}

/*
 * The agent trims spaces around a key, so here they make us unsure. Spaces within belong to the
 * key.
 */
static __always_inline int tollgate_scan_is_key(const __u8 *room, __u32 at, __u32 end)
{
	__u32 len = end - at;

	return len >= TOLLGATE_SCAN_KEY_MIN && len <= TOLLGATE_SCAN_KEY_MAX &&
	       (__u8)tollgate_scan_word(room, at) != ' ' &&
	       (__u8)tollgate_scan_word(room, end - 1) != ' ';
}

static __always_inline int tollgate_scan_api_key(struct tollgate_scan *s, const __u8 *room)
{
	__u32 at = s->value_at[TOLLGATE_FIELD_API_KEY], end = s->value_end[TOLLGATE_FIELD_API_KEY];

	s->key_at = at;
	s->key_len = end - at;
	return tollgate_scan_is_key(room, at, end);
}

/* "Bearer" in any case, one space, then the key. X-API-Key takes precedence. */
static __always_inline int tollgate_scan_bearer(struct tollgate_scan *s, const __u8 *room)
{
	const __u64 bearer = TOLLGATE_WORD('b', 'e', 'a', 'r', 'e', 'r', ' ', 0);
	__u32 at = s->value_at[TOLLGATE_FIELD_BEARER], end = s->value_end[TOLLGATE_FIELD_BEARER];
	__u64 word = tollgate_scan_word(room, at) & tollgate_swar_low(7);

	if ((word | TOLLGATE_SCAN_FOLD(bearer)) != bearer)
		return 0;
	at += 7;
	if (!s->value_at[TOLLGATE_FIELD_API_KEY]) {
		s->key_at = at;
		s->key_len = end - at;
	}
	return tollgate_scan_is_key(room, at, end);
}

/* Whether there is a name of at least one byte, then ':'. */
static __always_inline int tollgate_scan_is_name(const __u8 *room, __u32 at)
{
	for (int i = 0; i < TOLLGATE_SCAN_NAME_WORDS; i++, at += 8) {
		__u64 word = tollgate_scan_word(room, at);
		__u64 past = tollgate_swar_past_name(word);

		if (!past)
			continue;
		if (!i && past & 0x80)
			return 0;
		return !(past & -past & tollgate_swar_not(word, ':'));
	}
	return 0;
}

/*
 * Which field begins at @at. @ret_at: where its value begins. Setting bit 0x20 makes letters
 * lowercase; apart from control bytes, which lines do not have, it turns no other byte into a
 * letter, '-' or ':'.
 */
static __always_inline __u32 tollgate_scan_find_field(const __u8 *room, __u32 at, __u32 *ret_at)
{
	const __u64 fold = TOLLGATE_SWAR(0x20);
	__u64 word = tollgate_scan_word(room, at) | fold;

#define REST(count) ((tollgate_scan_word(room, at + 8) | fold) & tollgate_swar_low(count))
#define W	    TOLLGATE_WORD
	switch ((__u8)word) {
	case 'h':
		*ret_at = at + 5;
		if ((word & tollgate_swar_low(5)) == W('h', 'o', 's', 't', ':', 0, 0, 0))
			return TOLLGATE_FIELD_HOST;
		break;
	case 'x':
		*ret_at = at + 10;
		if (word == W('x', '-', 'a', 'p', 'i', '-', 'k', 'e') &&
		    REST(2) == W('y', ':', 0, 0, 0, 0, 0, 0))
			return TOLLGATE_FIELD_API_KEY;
		break;
	case 'a':
		*ret_at = at + 14;
		if (word == W('a', 'u', 't', 'h', 'o', 'r', 'i', 'z') &&
		    REST(6) == W('a', 't', 'i', 'o', 'n', ':', 0, 0))
			return TOLLGATE_FIELD_BEARER;
		break;
	case 'c':
		*ret_at = at + 15;
		if (word == W('c', 'o', 'n', 't', 'e', 'n', 't', '-') &&
		    REST(7) == W('l', 'e', 'n', 'g', 't', 'h', ':', 0))
			return TOLLGATE_FIELD_LENGTH;
		*ret_at = at + 11;
		if (word == W('c', 'o', 'n', 'n', 'e', 'c', 't', 'i') &&
		    REST(3) == W('o', 'n', ':', 0, 0, 0, 0, 0))
			return TOLLGATE_FIELD_CONNECTION;
		break;
	case 't': /* Transfer-Encoding, and every name that starts with "Transfer" */
		if (word == W('t', 'r', 'a', 'n', 's', 'f', 'e', 'r'))
			return TOLLGATE_FIELD_ODD;
		break;
	case 'e':
		if ((word & tollgate_swar_low(7)) == W('e', 'x', 'p', 'e', 'c', 't', ':', 0))
			return TOLLGATE_FIELD_ODD;
		break;
	case 'u':
		if (word == W('u', 'p', 'g', 'r', 'a', 'd', 'e', ':'))
			return TOLLGATE_FIELD_ODD;
		break;
	}
#undef REST
#undef W
	return TOLLGATE_FIELD_OTHER;
}

/* Record where the values of the fields that matter are. */
static __always_inline int tollgate_scan_find_fields(struct tollgate_scan *s, const __u8 *room)
{
	__u32 last = s->lines - 1;

	for (__u32 i = 0; i < TOLLGATE_SCAN_LINES_MAX - 1 && i < last; i++) {
		__u32 at = s->line_end[i] + 2, value_at = 0;
		__u32 field = tollgate_scan_find_field(room, at, &value_at);

		/* Of other fields, only the name must be valid. */
		if (field == TOLLGATE_FIELD_OTHER) {
			if (!tollgate_scan_is_name(room, at))
				return 0;
			continue;
		}
		if (field == TOLLGATE_FIELD_ODD || s->value_at[field])
			return 0;
		value_at += (__u8)tollgate_scan_word(room, value_at) == ' ';
		s->value_at[field] = value_at;
		s->value_end[field] = s->line_end[i + 1];
	}
	return 1;
}

/* Whether we understand all the values found. */
static __always_inline int tollgate_scan_values(struct tollgate_scan *s, const __u8 *room)
{
	const __u32 *at = s->value_at, *end = s->value_end;
	__u32 i = TOLLGATE_FIELD_HOST;

	if (!at[i] || !tollgate_scan_host(room, at[i], end[i]))
		return 0;
	i = TOLLGATE_FIELD_CONNECTION;
	if (at[i] && !tollgate_scan_keep_alive(room, at[i], end[i]))
		return 0;
	i = TOLLGATE_FIELD_LENGTH;
	if (at[i] && !tollgate_scan_number(room, at[i], end[i], 7, &s->content_length))
		return 0;
	i = TOLLGATE_FIELD_API_KEY;
	if (at[i] && !tollgate_scan_api_key(s, room))
		return 0;
	i = TOLLGATE_FIELD_BEARER;
	return !at[i] || tollgate_scan_bearer(s, room);
}

/*
 * Scan the head at the start of the first @len bytes of @room, which has TOLLGATE_SCAN_ROOM_SIZE
 * bytes. Overwrites the byte after them.
 */
static inline enum tollgate_scan_result tollgate_scan_head(struct tollgate_scan *s, __u8 *room,
							   __u32 len)
{
	if (len >= TOLLGATE_SCAN_ROOM)
		return TOLLGATE_SCAN_UNSURE;
#ifdef __bpf__
	/* As in tollgate_scan_word(): some verifiers forget the result of the comparison. */
	asm volatile("" : "+r"(len));
#endif
	room[len & (TOLLGATE_SCAN_ROOM - 1)] = 0;
	__builtin_memset(s, 0, offsetof(struct tollgate_scan, line_end));
	s->len = len;
	s->result = TOLLGATE_SCAN_UNSURE;
	s->path_at = tollgate_scan_method(s, room);
	if (!s->path_at)
		return len < 8 ? TOLLGATE_SCAN_MORE : TOLLGATE_SCAN_UNSURE;
	tollgate_scan_find_lines(s, room);
	if (!TOLLGATE_SCAN_REREAD(s->head_len))
		return (enum tollgate_scan_result)s->result;
	if (!tollgate_scan_target(s, room) || !tollgate_scan_find_fields(s, room) ||
	    !tollgate_scan_values(s, room))
		return TOLLGATE_SCAN_UNSURE;
	return s->key_len ? TOLLGATE_SCAN_KEY : TOLLGATE_SCAN_NO_KEY;
}

/*
 * SipHash-2-4-128 of the key: @len bytes at @at in @room. Returns 0, or -1 if @len is more than
 * TOLLGATE_SCAN_KEY_MAX.
 */
static inline int tollgate_fingerprint(const __u64 secret[2], const __u8 *room, __u32 at, __u32 len,
				       __u64 ret_hash[2])
{
	struct tollgate_sip sip;
	__u64 last;

	if (len > TOLLGATE_SCAN_KEY_MAX)
		return -1;
	tollgate_sip_start(&sip, secret);
	for (__u32 i = 0; i < TOLLGATE_SCAN_KEY_MAX / 8; i++, at += 8) {
		if (i >= len / 8)
			break;
		tollgate_sip_word(&sip, tollgate_scan_word(room, at));
	}
	last = tollgate_scan_word(room, at) & tollgate_swar_low(len % 8);
	tollgate_sip_end(&sip, (__u64)len << 56 | last, ret_hash);
	return 0;
}

#endif
