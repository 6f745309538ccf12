/* SPDX-License-Identifier: BSD-2-Clause */
/* h1_write: writes heads. What would break the grammar is refused before anything is appended. */
#include <errno.h>
#include <string.h>

#include "http/h1.h"
#include "http/h1_chars.h"

/* Append all of @parts or nothing. */
static int append_all(struct buf *b, const struct text *parts, size_t count)
{
	size_t len = 0;
	char *at;

	for (size_t i = 0; i < count; i++)
		len += parts[i].len;
	errno = ENOMEM;
	at = buf_reserve(b, len);
	if (!at)
		return -errno;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len)
			memcpy(at, parts[i].ptr, parts[i].len);
		at += parts[i].len;
	}
	buf_commit(b, len);
	return 0;
}

int h1_write_request_line(struct buf *b, struct text method, struct text target)
{
	const struct text parts[] = { method, TEXT(" "), target, TEXT(" HTTP/1.1\r\n") };

	/*
	 * Targets were checked when they were received; here only the end of the line is at stake.
	 */
	if (!h1_is_token(method) || !target.len)
		return -EINVAL;
	for (size_t i = 0; i < target.len; i++)
		if ((unsigned char)target.ptr[i] <= ' ' || target.ptr[i] == 0x7f)
			return -EINVAL;
	return append_all(b, parts, sizeof(parts) / sizeof(parts[0]));
}

int h1_write_status_line(struct buf *b, unsigned status)
{
	char code[3] = { '0' + status / 100, '0' + status / 10 % 10, '0' + status % 10 };
	const struct text parts[] = { TEXT("HTTP/1.1 "),
				      { code, sizeof(code) },
				      TEXT(" "),
				      text_of(http_reason(status)),
				      TEXT("\r\n") };

	if (status < 100 || status > 599)
		return -EINVAL;
	return append_all(b, parts, sizeof(parts) / sizeof(parts[0]));
}

int h1_write_header(struct buf *b, struct text name, struct text value)
{
	const struct text parts[] = { name, TEXT(": "), value, TEXT("\r\n") };

	if (!h1_is_token(name) || !h1_is_all(value, H1_VALUE))
		return -EINVAL;
	return append_all(b, parts, sizeof(parts) / sizeof(parts[0]));
}

int h1_write_header_u64(struct buf *b, struct text name, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return h1_write_header(b, name, (struct text){ digits + at, sizeof(digits) - at });
}

int h1_write_end_of_head(struct buf *b)
{
	return buf_append(b, "\r\n", 2);
}

size_t h1_format_chunk_head(char ret_head[H1_CHUNK_HEAD_MAX], uint64_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t count = 1;

	while (count < 16 && len >> (4 * count))
		count++;
	for (size_t i = 0; i < count; i++)
		ret_head[i] = digits[len >> (4 * (count - 1 - i)) & 0xf];
	memcpy(ret_head + count, "\r\n", 2);
	return count + 2;
}
