/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * text: slices of bytes, and parsers for what people write: numbers, durations, sizes, rates.
 *
 * A slice borrows its bytes, which need not end with a NUL. All functions are pure. Parsers leave
 * their result unchanged after an error.
 *
 * The module base: what every module may use: memory, text, time, logging, metrics, tables, and
 * reading YAML by tables. Nothing here knows the network, the store or the name of an option; such
 * things belong to the module that they are about.
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

/* Whether two slices are equal, ignoring ASCII case; whether @t starts with @prefix. */
bool text_equal_nocase(struct text a, struct text b);
bool text_starts(struct text t, struct text prefix);

/* @t without spaces and tabs at its ends. */
struct text text_trim(struct text t);

/* Cut off and return the part of *@rest before the first @separator, which is removed as well. */
struct text text_cut(struct text *rest, char separator);

/* A copy of @t with a NUL, which the caller frees. NULL if memory is short. */
char *text_dup(struct text t);

/*
 * Copy @s and its NUL to @ret, which has @size bytes. 0, or -ENAMETOOLONG if it does not fit; then
 * @ret is "", never a part of @s.
 */
int text_copy(char *ret, size_t size, const char *s);

/* Parse decimal digits. 0, -EINVAL if @t is anything else, -ERANGE if it is more than @max. */
int text_parse_u64(struct text t, uint64_t max, uint64_t *ret_value);

/* Parse exactly 2 * @len hex digits of either case. 0 or -EINVAL. */
int text_parse_hex(struct text t, void *ret_bytes, size_t len);

/* Parse "500ms", "30s", "5m", "24h" or "7d". 0, -EINVAL, or -ERANGE for more than ten years. */
int text_parse_duration_ms(struct text t, uint64_t *ret_ms);

/* Parse "512", "64k", "10m" or "1g" (powers of 1024). 0, -EINVAL, or -ERANGE on overflow. */
int text_parse_size(struct text t, uint64_t *ret_bytes);

/*
 * Parse "10/s", "600/m" or "3600/h" to the nanoseconds that one unit costs, rounded down so that
 * the buyer never gets less than was bought. 0, -EINVAL, or -ERANGE for 0 units or more than one
 * per nanosecond.
 */
int text_parse_rate(struct text t, uint64_t *ret_interval_ns);

/* Write @len bytes as 2 * @len lower-case hex digits and a NUL. */
void text_hex(const void *bytes, size_t len, char *ret_hex);

/*
 * The word among @count @words with the smallest edit distance to @t, if it is close enough to be a
 * misspelling; otherwise NULL. For "did you mean".
 */
const char *text_nearest(struct text t, const char *const *words, size_t count);

#endif
