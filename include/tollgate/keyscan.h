/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The key scan: finds the API key in the head of a plain HTTP/1.1 request, byte by byte, or says that
 * it does not know.
 *
 * It understands less than the agent's parser on purpose. Whenever it finds a key, the agent finds the
 * same key in the same request; whatever is malformed, ambiguous or merely unusual is "unsure", and
 * is the agent's to judge. No loops and no tables, so that the kernel's verifier accepts the step as
 * the body of a loop.
 */
#ifndef TOLLGATE_KEYSCAN_H
#define TOLLGATE_KEYSCAN_H

#include <linux/types.h>

#define TOLLGATE_SCAN_KEY_MIN	16
#define TOLLGATE_SCAN_KEY_MAX	256
#define TOLLGATE_SCAN_HEAD_MAX	2048 /* a longer head than a segment holds */
#define TOLLGATE_SCAN_LINES_MAX 64

enum tollgate_scan_state {
	TOLLGATE_SCAN_METHOD,
	TOLLGATE_SCAN_PATH,
	TOLLGATE_SCAN_QUERY,
	TOLLGATE_SCAN_VERSION,
	TOLLGATE_SCAN_LINE_LF, /* CR seen, LF must follow */
	TOLLGATE_SCAN_LINE_START,
	TOLLGATE_SCAN_NAME,
	TOLLGATE_SCAN_VALUE_START, /* behind the colon, before the value */
	TOLLGATE_SCAN_VALUE,
	TOLLGATE_SCAN_END_LF, /* CR of the empty line seen */
	TOLLGATE_SCAN_DONE,   /* the head is complete, and understood */
	TOLLGATE_SCAN_UNSURE, /* the agent decides */
};

/* What the value that is being read means. */
enum tollgate_scan_field {
	TOLLGATE_FIELD_OTHER,
	TOLLGATE_FIELD_HOST,
	TOLLGATE_FIELD_LENGTH,
	TOLLGATE_FIELD_CONNECTION,
	TOLLGATE_FIELD_API_KEY,
	TOLLGATE_FIELD_BEARER,
	TOLLGATE_FIELD_ODD, /* its mere presence makes us unsure */
};

enum tollgate_scan_method {
	TOLLGATE_METHOD_GET = 1,
	TOLLGATE_METHOD_POST,
	TOLLGATE_METHOD_PUT,
	TOLLGATE_METHOD_PATCH,
	TOLLGATE_METHOD_DELETE,
};

/* Offsets are from the head's first byte. What was not found has length 0. */
struct tollgate_scan {
	__u32 state; /* enum tollgate_scan_state */
	__u32 field; /* enum tollgate_scan_field */
	__u32 method;
	__u32 at; /* bytes taken */
	__u32 path_at;
	__u32 path_len;	  /* without the query */
	__u32 api_key_at; /* X-API-Key */
	__u32 api_key_len;
	__u32 bearer_at; /* Authorization: Bearer; counts only without X-API-Key */
	__u32 bearer_len;
	__u32 seen;	/* one bit an enum tollgate_scan_field */
	__u32 count;	/* bytes of the word or value that is being read */
	__u64 length;	/* Content-Length, 0 without one */
	__u64 word[3];	/* the word being read, in lower case, eight bytes each */
	__u32 lines;	/* fields so far */
	__u32 port_len; /* Host: digits behind its colon, plus one */
	__u8 last;	/* byte before this one */
};

/* Eight letters as they come from memory on a little-endian machine. */
#define TOLLGATE_WORD(a, b, c, d, e, f, g, h)                                                    \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)

static inline int tollgate_scan_is_alnum(__u8 c)
{
	__u8 lower = c | 0x20;

	return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9');
}

/* The bytes of a path segment (RFC 3986, pchar), without '%': an encoded path is the agent's. */
static inline int tollgate_scan_is_pchar(__u8 c)
{
	return tollgate_scan_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~' ||
	       c == '!' || c == '$' || (c >= '&' && c <= ',') || c == ':' || c == ';' || c == '=' ||
	       c == '@';
}

static inline void tollgate_scan_unsure(struct tollgate_scan *s)
{
	s->state = TOLLGATE_SCAN_UNSURE;
}

static inline void tollgate_scan_begin_word(struct tollgate_scan *s, __u32 state)
{
	s->state = state;
	s->count = 0;
	s->word[0] = s->word[1] = s->word[2] = 0;
}

/* Remember a byte of the word; longer ones than 24 bytes are none that we know. */
static inline void tollgate_scan_add(struct tollgate_scan *s, __u8 c)
{
	__u64 byte = (c >= 'A' && c <= 'Z') ? c | 0x20 : c;

	if (s->count < 8)
		s->word[0] |= byte << (8 * (s->count & 7));
	else if (s->count < 16)
		s->word[1] |= byte << (8 * (s->count & 7));
	else if (s->count < 24)
		s->word[2] |= byte << (8 * (s->count & 7));
	s->count++;
}

static inline int tollgate_scan_is(const struct tollgate_scan *s, __u64 w0, __u64 w1, __u64 w2)
{
	return s->word[0] == w0 && s->word[1] == w1 && s->word[2] == w2 && s->count <= 24;
}

static inline void tollgate_scan_init(struct tollgate_scan *s)
{
	__builtin_memset(s, 0, sizeof(*s));
}

/* Methods are case-sensitive: only upper-case letters come as far as the word. */
static inline void tollgate_scan_method(struct tollgate_scan *s, __u8 c)
{
	if (c >= 'A' && c <= 'Z' && s->count < 8) {
		tollgate_scan_add(s, c);
		return;
	}
	if (c != ' ')
		return tollgate_scan_unsure(s);
	if (tollgate_scan_is(s, TOLLGATE_WORD('g', 'e', 't', 0, 0, 0, 0, 0), 0, 0))
		s->method = TOLLGATE_METHOD_GET;
	else if (tollgate_scan_is(s, TOLLGATE_WORD('p', 'o', 's', 't', 0, 0, 0, 0), 0, 0))
		s->method = TOLLGATE_METHOD_POST;
	else if (tollgate_scan_is(s, TOLLGATE_WORD('p', 'u', 't', 0, 0, 0, 0, 0), 0, 0))
		s->method = TOLLGATE_METHOD_PUT;
	else if (tollgate_scan_is(s, TOLLGATE_WORD('p', 'a', 't', 'c', 'h', 0, 0, 0), 0, 0))
		s->method = TOLLGATE_METHOD_PATCH;
	else if (tollgate_scan_is(s, TOLLGATE_WORD('d', 'e', 'l', 'e', 't', 'e', 0, 0), 0, 0))
		s->method = TOLLGATE_METHOD_DELETE;
	else
		return tollgate_scan_unsure(s);
	s->state = TOLLGATE_SCAN_PATH;
	s->path_at = s->at + 1;
}

static inline void tollgate_scan_path(struct tollgate_scan *s, __u8 c)
{
	__u32 len = s->at - s->path_at;

	if (!len && c != '/')
		return tollgate_scan_unsure(s);
	/* "//" and "/." may mean other paths than their bytes: see route.h. */
	if (len && s->last == '/' && (c == '/' || c == '.'))
		return tollgate_scan_unsure(s);
	if (c == '/' || tollgate_scan_is_pchar(c))
		return;
	s->path_len = len;
	if (c == '?')
		s->state = TOLLGATE_SCAN_QUERY;
	else if (c == ' ')
		tollgate_scan_begin_word(s, TOLLGATE_SCAN_VERSION);
	else
		tollgate_scan_unsure(s);
}

static inline void tollgate_scan_query(struct tollgate_scan *s, __u8 c)
{
	if (c == ' ')
		tollgate_scan_begin_word(s, TOLLGATE_SCAN_VERSION);
	else if (c != '/' && c != '?' && !tollgate_scan_is_pchar(c))
		tollgate_scan_unsure(s);
}

static inline void tollgate_scan_version(struct tollgate_scan *s, __u8 c)
{
	if (c == '\r') {
		if (s->count == 8 &&
		    s->word[0] == TOLLGATE_WORD('h', 't', 't', 'p', '/', '1', '.', '1'))
			s->state = TOLLGATE_SCAN_LINE_LF;
		else
			tollgate_scan_unsure(s);
		return;
	}
	if (s->count >= 8 || (c >= 'a' && c <= 'z'))
		return tollgate_scan_unsure(s);
	tollgate_scan_add(s, c);
}

/* Which field this is, when its name is complete. */
static inline __u32 tollgate_scan_find_field(const struct tollgate_scan *s)
{
	if (tollgate_scan_is(s, TOLLGATE_WORD('h', 'o', 's', 't', 0, 0, 0, 0), 0, 0))
		return TOLLGATE_FIELD_HOST;
	if (tollgate_scan_is(s, TOLLGATE_WORD('x', '-', 'a', 'p', 'i', '-', 'k', 'e'), 'y', 0))
		return TOLLGATE_FIELD_API_KEY;
	if (tollgate_scan_is(s, TOLLGATE_WORD('a', 'u', 't', 'h', 'o', 'r', 'i', 'z'),
			     TOLLGATE_WORD('a', 't', 'i', 'o', 'n', 0, 0, 0), 0))
		return TOLLGATE_FIELD_BEARER;
	if (tollgate_scan_is(s, TOLLGATE_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-'),
			     TOLLGATE_WORD('l', 'e', 'n', 'g', 't', 'h', 0, 0), 0))
		return TOLLGATE_FIELD_LENGTH;
	if (tollgate_scan_is(s, TOLLGATE_WORD('c', 'o', 'n', 'n', 'e', 'c', 't', 'i'),
			     TOLLGATE_WORD('o', 'n', 0, 0, 0, 0, 0, 0), 0))
		return TOLLGATE_FIELD_CONNECTION;
	if (tollgate_scan_is(s, TOLLGATE_WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r'),
			     TOLLGATE_WORD('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n'), 'g') ||
	    tollgate_scan_is(s, TOLLGATE_WORD('e', 'x', 'p', 'e', 'c', 't', 0, 0), 0, 0) ||
	    tollgate_scan_is(s, TOLLGATE_WORD('u', 'p', 'g', 'r', 'a', 'd', 'e', 0), 0, 0))
		return TOLLGATE_FIELD_ODD;
	return TOLLGATE_FIELD_OTHER;
}

static inline void tollgate_scan_name(struct tollgate_scan *s, __u8 c)
{
	if (tollgate_scan_is_alnum(c) || c == '-' || c == '_') {
		tollgate_scan_add(s, c);
		return;
	}
	if (c != ':' || !s->count)
		return tollgate_scan_unsure(s);
	s->field = tollgate_scan_find_field(s);
	if (s->field == TOLLGATE_FIELD_ODD ||
	    (s->field != TOLLGATE_FIELD_OTHER && (s->seen & 1u << s->field)))
		return tollgate_scan_unsure(s);
	s->seen |= 1u << s->field;
	tollgate_scan_begin_word(s, TOLLGATE_SCAN_VALUE_START);
}

/* A byte of a value that is kept as it is: a key. @len of it came before. */
static inline int tollgate_scan_key_byte(__u32 *at, __u32 *len, __u32 here, __u8 c)
{
	if (c <= ' ' || *len >= TOLLGATE_SCAN_KEY_MAX)
		return 0;
	if (!*len)
		*at = here;
	(*len)++;
	return 1;
}

/* "Bearer" in any case, one blank, then the key. */
static inline int tollgate_scan_bearer_byte(struct tollgate_scan *s, __u8 c)
{
	if (s->count > 7)
		return tollgate_scan_key_byte(&s->bearer_at, &s->bearer_len, s->at, c);
	tollgate_scan_add(s, c);
	if (s->count < 7)
		return 1;
	if (s->count == 7 && s->word[0] == TOLLGATE_WORD('b', 'e', 'a', 'r', 'e', 'r', ' ', 0)) {
		s->count = 8;
		return 1;
	}
	return 0;
}

/* host[:port] of letters, digits, '-' and '.'; the agent knows the rest of the grammar. */
static inline int tollgate_scan_host_byte(struct tollgate_scan *s, __u8 c)
{
	s->count++;
	if (s->port_len)
		return c >= '0' && c <= '9' && s->port_len++ < 5;
	if (c == ':' && s->count > 1) {
		s->port_len = 1;
		return 1;
	}
	return (tollgate_scan_is_alnum(c) || c == '-' || c == '.') && s->count < 254;
}

static inline int tollgate_scan_value_byte(struct tollgate_scan *s, __u8 c)
{
	switch (s->field) {
	case TOLLGATE_FIELD_API_KEY:
		return tollgate_scan_key_byte(&s->api_key_at, &s->api_key_len, s->at, c);
	case TOLLGATE_FIELD_BEARER:
		return tollgate_scan_bearer_byte(s, c);
	case TOLLGATE_FIELD_HOST:
		return tollgate_scan_host_byte(s, c);
	case TOLLGATE_FIELD_LENGTH:
		s->count++;
		s->length = s->length * 10 + (c - '0');
		return c >= '0' && c <= '9' && s->count <= 9;
	case TOLLGATE_FIELD_CONNECTION:
		tollgate_scan_add(s, c);
		return 1;
	default:
		s->count++;
		return 1;
	}
}

/* The value is complete: is it one that we understand? */
static inline int tollgate_scan_value_fits(const struct tollgate_scan *s)
{
	switch (s->field) {
	case TOLLGATE_FIELD_API_KEY:
		return s->api_key_len >= TOLLGATE_SCAN_KEY_MIN;
	case TOLLGATE_FIELD_BEARER:
		return s->bearer_len >= TOLLGATE_SCAN_KEY_MIN;
	case TOLLGATE_FIELD_HOST:
		return s->count && s->last != ':';
	case TOLLGATE_FIELD_LENGTH:
		return s->count;
	case TOLLGATE_FIELD_CONNECTION:
		return tollgate_scan_is(s, TOLLGATE_WORD('k', 'e', 'e', 'p', '-', 'a', 'l', 'i'),
					TOLLGATE_WORD('v', 'e', 0, 0, 0, 0, 0, 0), 0);
	default:
		return 1;
	}
}

static inline void tollgate_scan_value(struct tollgate_scan *s, __u8 c)
{
	if (c == '\r') {
		/* A blank before the line's end is trimmed by the agent; only for others' values by us. */
		if (tollgate_scan_value_fits(s))
			s->state = TOLLGATE_SCAN_LINE_LF;
		else
			tollgate_scan_unsure(s);
		return;
	}
	if (c < ' ' || c >= 0x7f)
		return tollgate_scan_unsure(s);
	if (s->state == TOLLGATE_SCAN_VALUE_START && c == ' ')
		return;
	s->state = TOLLGATE_SCAN_VALUE;
	if (!tollgate_scan_value_byte(s, c))
		tollgate_scan_unsure(s);
}

/* The empty line has ended the head: it counts if Host was there. */
static inline void tollgate_scan_end(struct tollgate_scan *s, __u8 c)
{
	if (c == '\n' && (s->seen & 1u << TOLLGATE_FIELD_HOST))
		s->state = TOLLGATE_SCAN_DONE;
	else
		tollgate_scan_unsure(s);
}

/*
 * Take the next byte. When `state` is TOLLGATE_SCAN_DONE the head ended with it, and `at` is its
 * length; TOLLGATE_SCAN_UNSURE is for good; in any other state more is needed.
 */
static inline void tollgate_scan_byte(struct tollgate_scan *s, __u8 c)
{
	switch (s->state) {
	case TOLLGATE_SCAN_METHOD:
		tollgate_scan_method(s, c);
		break;
	case TOLLGATE_SCAN_PATH:
		tollgate_scan_path(s, c);
		break;
	case TOLLGATE_SCAN_QUERY:
		tollgate_scan_query(s, c);
		break;
	case TOLLGATE_SCAN_VERSION:
		tollgate_scan_version(s, c);
		break;
	case TOLLGATE_SCAN_LINE_LF:
		s->state = c == '\n' ? TOLLGATE_SCAN_LINE_START : TOLLGATE_SCAN_UNSURE;
		break;
	case TOLLGATE_SCAN_LINE_START:
		if (c == '\r') {
			s->state = TOLLGATE_SCAN_END_LF;
			break;
		}
		if (++s->lines > TOLLGATE_SCAN_LINES_MAX) {
			tollgate_scan_unsure(s);
			break;
		}
		tollgate_scan_begin_word(s, TOLLGATE_SCAN_NAME);
		tollgate_scan_name(s, c);
		break;
	case TOLLGATE_SCAN_NAME:
		tollgate_scan_name(s, c);
		break;
	case TOLLGATE_SCAN_VALUE_START:
	case TOLLGATE_SCAN_VALUE:
		tollgate_scan_value(s, c);
		break;
	case TOLLGATE_SCAN_END_LF:
		tollgate_scan_end(s, c);
		break;
	default:
		return;
	}
	s->last = c;
	if (++s->at > TOLLGATE_SCAN_HEAD_MAX)
		tollgate_scan_unsure(s);
}

/* The key that counts, as the agent would choose it; 0 length when there is none. */
static inline __u32 tollgate_scan_key(const struct tollgate_scan *s, __u32 *ret_at)
{
	if (s->seen & 1u << TOLLGATE_FIELD_API_KEY) {
		*ret_at = s->api_key_at;
		return s->api_key_len;
	}
	*ret_at = s->bearer_at;
	return s->bearer_len;
}

#endif
