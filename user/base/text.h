/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * text: slices of bytes, and the parsing of what people write: numbers, durations, sizes, rates.
 *
 * A slice borrows its bytes and is never NUL-terminated by itself. All functions are pure.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
	const char *ptr; /* borrowed */
	size_t len;
};

#define TEXT(literal) ((struct text){ (literal), sizeof(literal) - 1 })
#define TEXT_ARG(t)   (int)(t).len, (t).ptr /* for "%.*s" */

static inline struct text text_of(const char *s)
{
	return (struct text){ s, s ? strlen(s) : 0 };
}

static inline bool text_equal(struct text a, struct text b)
{
	return a.len == b.len && (!a.len || !memcmp(a.ptr, b.ptr, a.len));
}

static inline bool text_is(struct text a, const char *s)
{
	return text_equal(a, text_of(s));
}

/* ASCII case is ignored. */
bool text_equal_nocase(struct text a, struct text b);
bool text_starts(struct text t, struct text prefix);

/* Without the blanks and tabs at either end. */
struct text text_trim(struct text t);

/* A malloc'd, NUL-terminated copy that the caller frees; NULL when memory is short. */
char *text_dup(struct text t);

/*
 * Copy @s and its NUL to @ret, which has @size bytes. 0, or -ENAMETOOLONG if it does not fit; then @ret
 * is "", never a part of @s.
 */
int text_copy(char *ret, size_t size, const char *s);

/* Decimal digits only. 0, -EINVAL when it is no number, -ERANGE above @max. */
int text_parse_u64(struct text t, uint64_t max, uint64_t *ret_value);

/* Exactly 2 * @len hex digits, either case. 0 or -EINVAL. */
int text_parse_hex(struct text t, void *ret_bytes, size_t len);

/* "500ms", "30s", "5m", "24h", "7d". 0, -EINVAL, or -ERANGE (more than ten years). */
int text_parse_duration_ms(struct text t, uint64_t *ret_ms);

/* "512", "64k", "10m", "1g" (powers of 1024). 0, -EINVAL, -ERANGE. */
int text_parse_size(struct text t, uint64_t *ret_bytes);

/*
 * "10/s", "600/m", "3600/h" as the nanoseconds that one unit costs, rounded down so that never less
 * passes than was bought. 0, -EINVAL; -ERANGE for no units at all or more than one a nanosecond.
 */
int text_parse_rate(struct text t, uint64_t *ret_interval_ns);

/* Write 2 * @len lower-case hex digits and a NUL. */
void text_hex(const void *bytes, size_t len, char *ret_hex);

/*
 * Of the @count words the one nearest to @t by edit distance, if near enough to be what was meant;
 * else NULL.
 */
const char *text_nearest(struct text t, const char *const *words, size_t count);

#endif
