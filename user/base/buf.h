/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * buf: a byte buffer that grows up to a maximum given at birth.
 *
 * Appending past the maximum fails and changes nothing, so a peer can never make a buffer larger than
 * its owner meant it to be. Not for use by several threads at once.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct buf {
	char *data;   /* owned; NULL while nothing was ever appended */
	size_t start; /* first byte that was not consumed */
	size_t end;   /* one past the last byte */
	size_t size;  /* allocated */
	size_t max;   /* most bytes that may be held at once */
};

/* Make @b an empty buffer of at most @max_bytes. Allocates nothing. */
void buf_init(struct buf *b, size_t max_bytes);

/* Free what @b holds; it is as after buf_init(). */
void buf_done(struct buf *b);

/* Forget the content, keep the memory. */
void buf_clear(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline char *buf_head(const struct buf *b)
{
	return b->data ? b->data + b->start : NULL;
}

static inline struct text buf_text(const struct buf *b)
{
	return (struct text){ buf_head(b), buf_len(b) };
}

/*
 * Make room for @len more bytes and return where they go; commit them with buf_commit(). NULL when
 * they would pass the maximum (errno EMSGSIZE) or memory is short (ENOMEM).
 */
char *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

/* Drop the first @len bytes (at most what is there). Pointers into the buffer stay as they were. */
void buf_consume(struct buf *b, size_t len);

/* Append. 0, -EMSGSIZE past the maximum, -ENOMEM; on failure the buffer is as it was. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_text(struct buf *b, struct text t);
int buf_append_str(struct buf *b, const char *s);
int buf_append_u64(struct buf *b, uint64_t value);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *format, va_list args);

#endif
