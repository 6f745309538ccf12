/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The key scan: finds the API key in the head of a plain HTTP/1.1 request, eight bytes at a time, or
 * says that it does not know.
 *
 * It understands less than the agent's parser on purpose. Whenever it finds a key, the agent finds the
 * same key in the same request; whatever is malformed, ambiguous or merely unusual is "unsure", and
 * is the agent's to judge.
 *
 * The head is copied to a `room` first, because there any offset can be read once it is masked, and
 * because a zero byte behind the head spares every step the question where the head ends: no class of
 * bytes has it. In the kernel room and scan lie in a per-CPU map: on the stack the verifier would
 * remember every number. All is one function, since a return costs more than a line where returns are
 * protected from speculation.
 */
#ifndef TOLLGATE_KEYSCAN_H
#define TOLLGATE_KEYSCAN_H

#include <linux/types.h>

#include <stddef.h>

#include "tollgate/siphash.h"
#include "tollgate/swar.h"

#define TOLLGATE_SCAN_KEY_MIN	16
#define TOLLGATE_SCAN_KEY_MAX	256
#define TOLLGATE_SCAN_ROOM	2048			  /* a head is shorter; a power of two */
#define TOLLGATE_SCAN_ROOM_SIZE (TOLLGATE_SCAN_ROOM + 16) /* a word is read at any of its bytes */

#define TOLLGATE_SCAN_LINES_MAX 32 /* with the request line; a power of two */

/* Words that a step looks at before it gives up. A rare byte of a path or query costs one. */
#define TOLLGATE_SCAN_HEAD_WORDS  184 /* what a segment of 1460 bytes holds */
#define TOLLGATE_SCAN_PATH_WORDS  32
#define TOLLGATE_SCAN_QUERY_WORDS 64
#define TOLLGATE_SCAN_NAME_WORDS  5
#define TOLLGATE_SCAN_HOST_WORDS  16

#define TOLLGATE_SCAN_CRLF ('\r' | '\n' << 8)

enum tollgate_scan_result {
	TOLLGATE_SCAN_KEY,    /* a whole head with a key */
	TOLLGATE_SCAN_NO_KEY, /* a whole head without one */
	TOLLGATE_SCAN_MORE,   /* the head goes on */
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
	TOLLGATE_FIELD_ODD, /* its mere presence makes us unsure */
	TOLLGATE_FIELDS,
};

/* Offsets are from the head's first byte. Whole after TOLLGATE_SCAN_KEY and TOLLGATE_SCAN_NO_KEY. */
struct tollgate_scan {
	__u32 head_len; /* with its empty line */
	__u32 method;	/* enum tollgate_scan_method */
	__u32 path_at;
	__u32 path_len; /* without the query */
	__u32 key_at;
	__u32 key_len;
	__u32 content_length; /* 0 without one */

	/* Its own. */
	__u32 len;    /* bytes that are there */
	__u32 result; /* enum tollgate_scan_result */
	__u32 lines;  /* how many ends of lines there are, the empty line's not among them */
	__u32 value_at[TOLLGATE_FIELDS]; /* where a field's value begins, 0 without the field */
	__u32 value_end[TOLLGATE_FIELDS];
	__u16 line_end[TOLLGATE_SCAN_LINES_MAX]; /* where each one's CRLF is */
};

/*
 * What was written before, read from the map again, where it is any number for all the verifier knows:
 * else it goes through what follows once for each path that led here.
 */
#define TOLLGATE_SCAN_ANEW(field) (*(volatile __u32 *)&(field))

/* The eight bytes at @at; what is behind the head is read, but never looked at. */
static __always_inline __u64 tollgate_scan_word(const __u8 *room, __u32 at)
{
#ifdef __bpf__
	/* clang knows more of @at than the verifier does, and would leave the mask out. */
	asm volatile("" : "+r"(at));
	at &= TOLLGATE_SCAN_ROOM - 1;
	return *(const __u64 *)(room + at);
#else
	__u64 word;

	__builtin_memcpy(&word, room + (at & (TOLLGATE_SCAN_ROOM - 1)), sizeof(word));
	return word;
#endif
}

/* The same where the verifier knows @at: in a loop that begins and ends with numbers. */
static __always_inline __u64 tollgate_scan_known(const __u8 *room, __u32 at)
{
#ifdef __bpf__
	return *(const __u64 *)(room + at);
#else
	return tollgate_scan_word(room, at);
#endif
}

/* Returns the method's length with its blank, or 0. */
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

/* What is at @at ends no line: it is odd, or the head as far as it has come ends here. */
static __always_inline __u32 tollgate_scan_stop(struct tollgate_scan *s, const __u8 *room, __u32 at)
{
	at += (__u8)tollgate_scan_word(room, at) == '\r';
	if (at >= s->len)
		s->result = TOLLGATE_SCAN_MORE;
	return 0;
}

/*
 * Note the line that ends among the eight bytes at @at. Two that do are odd, unless the second is the
 * empty one. @skip marks the LF of a CRLF that began in the word before. Returns 1 to go on; else
 * `head_len` is the head's length, or 0.
 */
static __always_inline int tollgate_scan_end_line(struct tollgate_scan *s, const __u8 *room,
						  __u32 at, __u64 *skip)
{
	__u64 controls = tollgate_swar_controls(tollgate_scan_known(room, at)) & ~*skip;
	__u32 first, line = TOLLGATE_SCAN_ANEW(s->lines), end;

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
 * Note where lines end, up to the empty line: at the only control bytes. This comes first because it
 * waits for nothing: from line to line the processor need not know where the one before it ended.
 */
static __always_inline void tollgate_scan_find_lines(struct tollgate_scan *s, const __u8 *room)
{
	__u64 skip = 0;

	for (__u32 at = 0; at < 8 * TOLLGATE_SCAN_HEAD_WORDS; at += 8) {
		/* A word whose first byte is to be skipped has a control byte. */
		if (!tollgate_swar_controls(tollgate_scan_known(room, at)))
			continue;
		if (!tollgate_scan_end_line(s, room, at, &skip))
			return;
	}
}

/* What a target may hold (RFC 3986, pchar) besides the usual; '%' is the agent's. */
static __always_inline int tollgate_scan_is_rare(__u8 c)
{
	return c == '~' || c == '@' || c == '!' || c == '$';
}

/*
 * Like all steps that are called take, returns where it ends, or 0 when it is unsure. "//" and "/." may
 * mean other paths than their bytes: see route.h.
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
	__u32 at = TOLLGATE_SCAN_ANEW(s->path_at);

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

/* All from @at to @end is a number of at most @most digits, which are at most 7. */
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

/* host[:port] of letters, digits, '-' and '.'; the agent knows the rest of the grammar. */
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

/* The bits that make a pattern's letters lower; what is no letter is compared as it is. */
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

/* Blanks around a key are trimmed by the agent, those within it are the key's. */
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

/* "Bearer" in any case, one blank, then the key. It does not count beside an X-API-Key. */
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

/* At least one byte of a name, then ':'. */
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
 * Which field begins at @at. Lines have no control bytes, and among the others the bit that makes
 * letters lower makes nothing else a letter, '-' or ':'. @ret_at becomes where its value begins.
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
	case 't': /* Transfer-Encoding, and what begins like it */
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

/* Note what counts among the fields. */
static __always_inline int tollgate_scan_find_fields(struct tollgate_scan *s, const __u8 *room)
{
	__u32 last = s->lines - 1;

	for (__u32 i = 0; i < TOLLGATE_SCAN_LINES_MAX - 1 && i < last; i++) {
		__u32 at = s->line_end[i] + 2, value_at = 0;
		__u32 field = tollgate_scan_find_field(room, at, &value_at);

		/* Of most fields only the name matters. */
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

/* Are the values that were found such as we understand? */
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
 * Scan the head that the first @len bytes of @room (TOLLGATE_SCAN_ROOM_SIZE) begin with. The byte
 * behind them is overwritten.
 */
static inline enum tollgate_scan_result tollgate_scan_head(struct tollgate_scan *s, __u8 *room,
							   __u32 len)
{
	if (len >= TOLLGATE_SCAN_ROOM)
		return TOLLGATE_SCAN_UNSURE;
#ifdef __bpf__
	/* As in tollgate_scan_word(): some verifiers forget what the comparison has shown. */
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
	if (!TOLLGATE_SCAN_ANEW(s->head_len))
		return (enum tollgate_scan_result)s->result;
	if (!tollgate_scan_target(s, room) || !tollgate_scan_find_fields(s, room) ||
	    !tollgate_scan_values(s, room))
		return TOLLGATE_SCAN_UNSURE;
	return s->key_len ? TOLLGATE_SCAN_KEY : TOLLGATE_SCAN_NO_KEY;
}

/*
 * SipHash-2-4-128 of the key, the @len bytes of @room at @at. 0, or -1 when they are more than
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
