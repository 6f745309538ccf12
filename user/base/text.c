/* SPDX-License-Identifier: BSD-2-Clause */
/* text: slices of bytes, and parsers for what people write. */
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_DURATION_MS (3653ULL * 24 * 3600 * 1000)
#define NEAREST_MAX_LEN 64

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool text_equal_nocase(struct text a, struct text b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (lower(a.ptr[i]) != lower(b.ptr[i]))
			return false;
	}
	return true;
}

bool text_starts(struct text t, struct text prefix)
{
	return t.len >= prefix.len && (!prefix.len || !memcmp(t.ptr, prefix.ptr, prefix.len));
}

struct text text_trim(struct text t)
{
	while (t.len && (*t.ptr == ' ' || *t.ptr == '\t')) {
		t.ptr++;
		t.len--;
	}
	while (t.len && (t.ptr[t.len - 1] == ' ' || t.ptr[t.len - 1] == '\t'))
		t.len--;
	return t;
}

struct text text_cut(struct text *rest, char separator)
{
	const char *end = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
	struct text part = { rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len };
	size_t used = part.len + (end != NULL);

	rest->ptr += used;
	rest->len -= used;
	return part;
}

char *text_dup(struct text t)
{
	char *copy = malloc(t.len + 1);

	if (!copy)
		return NULL;
	if (t.len)
		memcpy(copy, t.ptr, t.len);
	copy[t.len] = '\0';
	return copy;
}

int text_copy(char *ret, size_t size, const char *s)
{
	size_t len = strlen(s);

	ret[0] = '\0';
	if (len >= size)
		return -ENAMETOOLONG;
	memcpy(ret, s, len + 1);
	return 0;
}

int text_parse_u64(struct text t, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (!t.len)
		return -EINVAL;
	for (size_t i = 0; i < t.len; i++) {
		uint64_t digit = (uint64_t)(t.ptr[i] - '0');

		if (t.ptr[i] < '0' || t.ptr[i] > '9')
			return -EINVAL;
		if (value > (UINT64_MAX - digit) / 10)
			return -ERANGE;
		value = value * 10 + digit;
	}
	if (value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int text_parse_hex(struct text t, void *ret_bytes, size_t len)
{
	unsigned char *out = ret_bytes;

	if (t.len != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < t.len; i++) {
		if (hex_digit(t.ptr[i]) < 0)
			return -EINVAL;
	}
	for (size_t i = 0; i < len; i++)
		out[i] =
			(unsigned char)(hex_digit(t.ptr[2 * i]) << 4 | hex_digit(t.ptr[2 * i + 1]));
	return 0;
}

struct unit {
	const char *suffix; /* NULL ends a table */
	uint64_t factor;
};

/* Parse a number with a suffix: "30s" is 30 times the factor of "s" in @units. */
static int parse_with_unit(struct text t, const struct unit *units, uint64_t *ret_value)
{
	size_t digits = 0;
	struct text suffix;
	uint64_t value;
	int err;

	while (digits < t.len && t.ptr[digits] >= '0' && t.ptr[digits] <= '9')
		digits++;
	err = text_parse_u64((struct text){ t.ptr, digits }, UINT64_MAX, &value);
	if (err)
		return err;
	suffix = (struct text){ t.ptr + digits, t.len - digits };
	for (; units->suffix; units++) {
		if (!text_is(suffix, units->suffix))
			continue;
		return __builtin_mul_overflow(value, units->factor, ret_value) ? -ERANGE : 0;
	}
	return -EINVAL;
}

int text_parse_duration_ms(struct text t, uint64_t *ret_ms)
{
	static const struct unit units[] = { { "ms", 1 },      { "s", 1000 },	  { "m", 60000 },
					     { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 } };
	uint64_t ms;
	int err = parse_with_unit(t, units, &ms);

	if (err)
		return err;
	if (ms > MAX_DURATION_MS)
		return -ERANGE;
	*ret_ms = ms;
	return 0;
}

int text_parse_size(struct text t, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{ "", 1 }, { "k", 1 << 10 }, { "m", 1 << 20 }, { "g", 1 << 30 }, { NULL, 0 }
	};
	uint64_t bytes;
	int err = parse_with_unit(t, units, &bytes);

	if (!err)
		*ret_bytes = bytes;
	return err;
}

int text_parse_rate(struct text t, uint64_t *ret_interval_ns)
{
	static const struct unit units[] = {
		{ "/s", 1 }, { "/m", 60 }, { "/h", 3600 }, { NULL, 0 }
	};
	uint64_t period_ns = 1000000000ULL, count;
	const struct unit *unit = units;
	const char *slash = t.len ? memchr(t.ptr, '/', t.len) : NULL;
	int err;

	if (!slash)
		return -EINVAL;
	while (unit->suffix &&
	       !text_is((struct text){ slash, t.len - (size_t)(slash - t.ptr) }, unit->suffix))
		unit++;
	if (!unit->suffix)
		return -EINVAL;
	period_ns *= unit->factor;
	err = text_parse_u64((struct text){ t.ptr, (size_t)(slash - t.ptr) }, period_ns, &count);
	if (err)
		return err;
	if (!count)
		return -ERANGE;
	*ret_interval_ns = period_ns / count;
	return 0;
}

void text_hex(const void *bytes, size_t len, char *ret_hex)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *in = bytes;

	for (size_t i = 0; i < len; i++) {
		*ret_hex++ = digits[in[i] >> 4];
		*ret_hex++ = digits[in[i] & 15];
	}
	*ret_hex = '\0';
}

/* Optimal string alignment distance: a swap of neighbours counts as one. */
static size_t distance(struct text a, struct text b)
{
	size_t rows[3][NEAREST_MAX_LEN + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b.len; j++)
		above[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t *spare = before;

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			bool same = a.ptr[i - 1] == b.ptr[j - 1];
			size_t best = above[j - 1] + !same;

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] &&
			    a.ptr[i - 2] == b.ptr[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
		before = above;
		above = row;
		row = spare;
	}
	return above[b.len];
}

const char *text_nearest(struct text t, const char *const *words, size_t count)
{
	const char *nearest = NULL;
	size_t best = t.len < 4 ? 2 : t.len / 3 + 2; /* farther is not what was meant */

	if (t.len > NEAREST_MAX_LEN)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		struct text word = text_of(words[i]);
		size_t d = word.len <= NEAREST_MAX_LEN ? distance(t, word) : best;

		if (d < best) {
			best = d;
			nearest = words[i];
		}
	}
	return nearest;
}
