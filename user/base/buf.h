/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * buf: a byte buffer that grows up to a maximum.
 *
 * The maximum is set at initialization. Appending beyond it fails and changes nothing, so a peer
 * cannot make a buffer larger than its owner allows. One thread at a time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct buf {
	char *data;   /* owned; NULL until something is appended */
	size_t start; /* offset of the first byte of the content */
	size_t end;   /* offset just past the content */
	size_t size;  /* bytes allocated */
	size_t max;   /* most bytes of content */
};

/* Initialize an empty buffer of at most @max_bytes. Allocates nothing. */
void buf_init(struct buf *b, size_t max_bytes);

/* Free the content. The buffer is empty and can be used again. */
void buf_done(struct buf *b);

/* Drop the content but keep the memory. */
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
 * Make room for @len more bytes and return where to write them; buf_commit() then adds the first
 * @len of these to the content. NULL with errno EMSGSIZE beyond the maximum, or ENOMEM. Pointers
 * into the buffer become invalid.
 */
char *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

/* Remove the first @len bytes, or all if there are fewer. Pointers into the buffer stay valid. */
void buf_consume(struct buf *b, size_t len);

/* Append. 0, -EMSGSIZE beyond the maximum, or -ENOMEM; after an error the buffer is unchanged. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_text(struct buf *b, struct text t);
int buf_append_str(struct buf *b, const char *s);
int buf_append_u64(struct buf *b, uint64_t value);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *format, va_list args);

#endif
