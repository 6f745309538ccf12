/* SPDX-License-Identifier: BSD-2-Clause */
/* buf: a byte buffer that grows up to a maximum. */
#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 256

void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){ .max = max_bytes };
}

void buf_done(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
	b->start = b->end = 0;
}

char *buf_reserve(struct buf *b, size_t len)
{
	size_t held = buf_len(b), size;
	char *data;

	if (len > b->max || held > b->max - len) {
		errno = EMSGSIZE;
		return NULL;
	}
	if (b->size - b->end >= len && b->data)
		return b->data + b->end;
	if (b->data && b->size - held >= len) {
		memmove(b->data, b->data + b->start, held);
		b->start = 0;
		b->end = held;
		return b->data + held;
	}
	size = b->size ? b->size : FIRST_SIZE;
	while (size < held + len)
		size *= 2;
	data = malloc(size);
	if (!data)
		return NULL;
	if (held)
		memcpy(data, b->data + b->start, held);
	free(b->data);
	b->data = data;
	b->size = size;
	b->start = 0;
	b->end = held;
	return data + held;
}

void buf_commit(struct buf *b, size_t len)
{
	b->end += len;
}

void buf_consume(struct buf *b, size_t len)
{
	size_t held = buf_len(b);

	if (len < held)
		b->start += len;
	else
		buf_clear(b);
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	char *at;

	if (!len)
		return 0;
	at = buf_reserve(b, len);
	if (!at)
		return -errno;
	memcpy(at, data, len);
	b->end += len;
	return 0;
}

int buf_append_text(struct buf *b, struct text t)
{
	return buf_append(b, t.ptr, t.len);
}

int buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_append_u64(struct buf *b, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return buf_append(b, digits + at, sizeof(digits) - at);
}

int buf_vprintf(struct buf *b, const char *format, va_list args)
{
	va_list again;
	char *at;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len < 0)
		return -EINVAL;
	/* vsnprintf() also writes a NUL, which is not part of the content. */
	b->max += 1;
	at = buf_reserve(b, (size_t)len + 1);
	b->max -= 1;
	if (!at)
		return -errno;
	vsnprintf(at, (size_t)len + 1, format, args);
	b->end += (size_t)len;
	return 0;
}

int buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	int err;

	va_start(args, format);
	err = buf_vprintf(b, format, args);
	va_end(args);
	return err;
}
