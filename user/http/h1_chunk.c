/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * h1_chunk: the strict check of chunked bodies. A state machine takes the framing byte by byte;
 * data is taken in pieces as large as they arrive.
 */
#include "http/h1_chunk.h"

#include <errno.h>

#include "http/h1_chars.h"

enum state {
	SIZE_START,
	SIZE,
	EXT_NAME_START,
	EXT_NAME,
	EXT_VALUE_START,
	EXT_TOKEN,
	EXT_QUOTED,
	EXT_QUOTED_PAIR,
	EXT_QUOTED_END,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_START,
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	LAST_LF,
	DONE,
};

static unsigned hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static const char *step_size(struct h1_chunk *c, char byte)
{
	if (h1_is(byte, H1_HEX)) {
		if (++c->digit_count > 16)
			return "chunk size has too many digits";
		c->left = c->left << 4 | hex_value(byte);
		c->state = SIZE;
		return NULL;
	}
	if (c->state == SIZE_START)
		return "chunk size is not a hexadecimal number";
	if (c->left > INT64_MAX)
		return "chunk size is too large";
	if (byte != ';' && byte != '\r')
		return "unexpected byte after the chunk size";
	c->state = byte == ';' ? EXT_NAME_START : SIZE_LF;
	return NULL;
}

/* An extension has ended: another extension or the end of the line must follow. */
static const char *end_extension(struct h1_chunk *c, char byte)
{
	if (byte != ';' && byte != '\r')
		return "malformed chunk extension";
	c->state = byte == ';' ? EXT_NAME_START : SIZE_LF;
	return NULL;
}

static const char *step_extension(struct h1_chunk *c, char byte)
{
	if (++c->extra_count > H1_CHUNK_EXTENSION_BYTES)
		return "chunk extensions are too long";
	switch (c->state) {
	case EXT_NAME_START:
	case EXT_NAME:
		if (c->state == EXT_NAME && byte == '=')
			c->state = EXT_VALUE_START;
		else if (h1_is(byte, H1_TOKEN))
			c->state = EXT_NAME;
		else
			return c->state == EXT_NAME ? end_extension(c, byte)
						    : "chunk extension without a name";
		return NULL;
	case EXT_VALUE_START:
		if (byte != '"' && !h1_is(byte, H1_TOKEN))
			return "chunk extension without a value";
		c->state = byte == '"' ? EXT_QUOTED : EXT_TOKEN;
		return NULL;
	case EXT_TOKEN:
		return h1_is(byte, H1_TOKEN) ? NULL : end_extension(c, byte);
	case EXT_QUOTED:
		if (byte == '"')
			c->state = EXT_QUOTED_END;
		else if (byte == '\\')
			c->state = EXT_QUOTED_PAIR;
		else if (!h1_is(byte, H1_QDTEXT))
			return "control byte in a chunk extension";
		return NULL;
	case EXT_QUOTED_PAIR:
		c->state = EXT_QUOTED;
		return h1_is(byte, H1_VALUE) ? NULL : "control byte in a chunk extension";
	default: /* EXT_QUOTED_END */
		return end_extension(c, byte);
	}
}

static const char *step_trailer(struct h1_chunk *c, char byte)
{
	if (++c->extra_count > H1_CHUNK_TRAILER_BYTES)
		return "trailer is too long";
	switch (c->state) {
	case TRAILER_START:
		if (byte == '\r')
			c->state = LAST_LF;
		else if (h1_is(byte, H1_TOKEN))
			c->state = TRAILER_NAME;
		else
			return "trailer field without a name";
		return NULL;
	case TRAILER_NAME:
		if (byte == ':')
			c->state = TRAILER_VALUE;
		else if (!h1_is(byte, H1_TOKEN))
			return "name of a trailer field is not a token";
		return NULL;
	default: /* TRAILER_VALUE */
		if (byte == '\r')
			c->state = TRAILER_LF;
		else if (!h1_is(byte, H1_VALUE))
			return "control byte in a trailer field";
		return NULL;
	}
}

static const char *step_line_end(struct h1_chunk *c, char byte)
{
	if (byte != (c->state == DATA_CR ? '\r' : '\n'))
		return c->state == DATA_CR ? "chunk longer than its size" : "bare CR";
	switch (c->state) {
	case DATA_CR:
		c->state = DATA_LF;
		break;
	case DATA_LF:
		*c = (struct h1_chunk){ .state = SIZE_START };
		break;
	case SIZE_LF:
		c->state = c->left ? DATA : TRAILER_START;
		c->extra_count = 0;
		break;
	case TRAILER_LF:
		c->state = TRAILER_START;
		break;
	default:
		c->state = DONE;
		break;
	}
	return NULL;
}

static const char *step(struct h1_chunk *c, char byte)
{
	switch (c->state) {
	case SIZE_START:
	case SIZE:
		return step_size(c, byte);
	case EXT_NAME_START ... EXT_QUOTED_END:
		return step_extension(c, byte);
	case TRAILER_START:
	case TRAILER_NAME:
	case TRAILER_VALUE:
		return step_trailer(c, byte);
	default:
		return step_line_end(c, byte);
	}
}

int h1_chunk_feed(struct h1_chunk *c, struct text bytes, size_t *ret_used, struct text *ret_piece,
		  const char **ret_rule)
{
	size_t at = 0;

	while (at < bytes.len && c->state != DATA && c->state != DONE) {
		const char *rule = step(c, bytes.ptr[at++]);

		if (rule) {
			*ret_rule = rule;
			return -EBADMSG;
		}
	}
	*ret_used = at;
	if (c->state == DONE)
		return H1_END;
	if (at == bytes.len)
		return H1_NEED_MORE;
	*ret_piece = (struct text){ bytes.ptr + at, bytes.len - at };
	if (ret_piece->len >= c->left) {
		ret_piece->len = c->left;
		c->state = DATA_CR;
	}
	c->left -= ret_piece->len;
	*ret_used += ret_piece->len;
	return H1_BODY;
}
