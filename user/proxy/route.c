/* SPDX-License-Identifier: BSD-2-Clause */
/* route: which requests go where, at what cost, and what they need. */
#include "proxy/route.h"

#include <stdlib.h>
#include <string.h>

#include "tollgate/path.h"

static int by_length(const void *a, const void *b)
{
	const struct route *x = a, *y = b;

	if (x->path_len != y->path_len)
		return x->path_len < y->path_len ? 1 : -1;
	return strcmp(x->path, y->path);
}

void routes_sort(struct routes *routes)
{
	if (routes->count)
		qsort(routes->list, routes->count, sizeof(*routes->list), by_length);
}

static bool covers(const struct route *route, struct text path)
{
	if (!text_starts(path, (struct text){ route->path, route->path_len }))
		return false;
	return tollgate_path_ends_segment(route->path[route->path_len - 1],
					  path.len > route->path_len ? path.ptr[route->path_len]
								     : 0);
}

const struct route *routes_find(const struct routes *routes, struct text path)
{
	for (unsigned i = 0; i < routes->count; i++) {
		if (covers(&routes->list[i], path))
			return &routes->list[i];
	}
	return NULL;
}

static int hex_value(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Bytes that RFC 3986, 2.3 says should never be encoded, and those whose encoding hides a separator. */
static bool may_be_encoded(int byte)
{
	bool is_unreserved = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
			     (byte >= '0' && byte <= '9') || (byte && strchr("-._~", byte));

	return !is_unreserved && byte != '/' && byte != '\\' && byte != 0;
}

/* A segment of one or two dots names another place than its bytes. */
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
			if (i + 2 >= path.len || !may_be_encoded(hex_value(path.ptr[i + 1]) << 4 |
								 hex_value(path.ptr[i + 2])))
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
