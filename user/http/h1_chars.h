/* SPDX-License-Identifier: BSD-2-Clause */
/* h1_chars: the character classes of RFC 9110, RFC 9112 and RFC 3986 as one table. */
#ifndef HTTP_H1_CHARS_H
#define HTTP_H1_CHARS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum {
	H1_TOKEN = 1 << 0,    /* tchar */
	H1_VALUE = 1 << 1,    /* field-vchar, SP, HTAB */
	H1_PATH = 1 << 2,     /* pchar and "/", without "%" */
	H1_QUERY = 1 << 3,    /* pchar, "/" and "?", without "%" */
	H1_REG_NAME = 1 << 4, /* unreserved and sub-delims */
	H1_HEX = 1 << 5,
	H1_DIGIT = 1 << 6,
	H1_QDTEXT = 1 << 7, /* qdtext: inside a quoted string, without "\" */
};

extern const uint8_t h1_chars[256];

/* Whether @c is in one of the classes in @mask. */
static inline bool h1_is(char c, unsigned mask)
{
	return h1_chars[(uint8_t)c] & mask;
}

static inline bool h1_is_all(struct text t, unsigned mask)
{
	for (size_t i = 0; i < t.len; i++)
		if (!h1_is(t.ptr[i], mask))
			return false;
	return true;
}

static inline bool h1_is_token(struct text t)
{
	return t.len && h1_is_all(t, H1_TOKEN);
}

#endif
