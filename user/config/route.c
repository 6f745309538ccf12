/* SPDX-License-Identifier: BSD-2-Clause */
/* route: see route.h. */
#include "config/route.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "tollgate/path.h"

static int hex_value(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static bool is_escape(struct text path, size_t at)
{
	return at + 2 < path.len && isxdigit((unsigned char)path.ptr[at + 1]) &&
	       isxdigit((unsigned char)path.ptr[at + 2]);
}

static int escaped_byte(struct text path, size_t at)
{
	return hex_value(path.ptr[at + 1]) << 4 | hex_value(path.ptr[at + 2]);
}

/* Read one byte, plain or as an escape "%xx", and advance *@at past it. */
static int next_byte(struct text path, size_t *at)
{
	size_t here = *at;

	if (path.ptr[here] == '%' && is_escape(path, here)) {
		*at += 3;
		return escaped_byte(path, here);
	}
	*at += 1;
	return (unsigned char)path.ptr[here];
}

static size_t count_bytes(const struct route *route)
{
	struct text path = { route->path, route->path_len };
	size_t count = 0;

	for (size_t at = 0; at < path.len; count++)
		next_byte(path, &at);
	return count;
}

static int by_length(const void *a, const void *b)
{
	const struct route *x = a, *y = b;
	size_t x_len = count_bytes(x), y_len = count_bytes(y);

	if (x_len != y_len)
		return x_len < y_len ? 1 : -1;
	return strcmp(x->path, y->path);
}

void routes_sort(struct routes *routes)
{
	if (routes->count)
		qsort(routes->list, routes->count, sizeof(*routes->list), by_length);
}

/*
 * How many bytes of @path match @prefix; 0 if it does not begin with @prefix. Servers treat "%3a",
 * "%3A" and ":" alike, so escapes are compared as the bytes that they stand for. That is safe
 * because in a plain path no escape stands for a separator.
 */
static size_t match(struct text prefix, struct text path)
{
	size_t in_prefix = 0, in_path = 0;

	if (text_starts(path, prefix))
		return prefix.len;
	while (in_prefix < prefix.len) {
		if (in_path == path.len ||
		    next_byte(prefix, &in_prefix) != next_byte(path, &in_path))
			return 0;
	}
	return in_path;
}

static bool covers(const struct route *route, struct text path)
{
	size_t len = match((struct text){ route->path, route->path_len }, path);

	return len && tollgate_path_ends_segment(route->path[route->path_len - 1],
						 len < path.len ? path.ptr[len] : 0);
}

const struct route *routes_find(const struct routes *routes, struct text path)
{
	for (unsigned i = 0; i < routes->count; i++) {
		if (covers(&routes->list[i], path))
			return &routes->list[i];
	}
	return NULL;
}

/*
 * Whether a path may contain this byte as an escape. Not if it is unreserved, which should not be
 * escaped (RFC 3986, 2.3), or if the escape would hide a separator or a NUL.
 */
static bool may_be_encoded(int byte)
{
	bool is_unreserved = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
			     (byte >= '0' && byte <= '9') || (byte && strchr("-._~", byte));

	return !is_unreserved && byte != '/' && byte != '\\' && byte != 0;
}

/* A segment "." or ".." refers to another path. */
static bool is_dots(struct text segment)
{
	return text_is(segment, ".") || text_is(segment, "..");
}

bool route_path_is_plain(struct text path)
{
	size_t segment = 1;

	if (!path.len || path.ptr[0] != '/')
		return false;
	for (size_t i = 1; i < path.len; i++) {
		char c = path.ptr[i];

		if (c == '\\')
			return false;
		if (c == '%') {
			if (!is_escape(path, i) || !may_be_encoded(escaped_byte(path, i)))
				return false;
			i += 2;
			continue;
		}
		if (c != '/')
			continue;
		if (i == segment || is_dots((struct text){ path.ptr + segment, i - segment }))
			return false;
		segment = i + 1;
	}
	return !is_dots((struct text){ path.ptr + segment, path.len - segment });
}

void routes_done(struct routes *routes)
{
	for (unsigned i = 0; i < routes->count; i++) {
		free(routes->list[i].path);
		free(routes->list[i].host);
	}
	free(routes->list);
	*routes = (struct routes){ 0 };
}
