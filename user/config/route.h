/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * route: where requests go, what they cost, and what they require.
 *
 * A table of routes is immutable once in use; a reload creates a new one.
 */
#ifndef CONFIG_ROUTE_H
#define CONFIG_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct route {
	char *path; /* owned: the prefix; see tollgate/path.h */
	size_t path_len;
	unsigned upstream; /* index into the configuration's upstreams */
	uint32_t cost;	   /* units charged for a request; 0: checked, but free */
	int feature;	   /* bit of the feature that the tier must have, or -1 */
	bool is_public;	   /* needs no key */
	bool cors;	   /* preflight requests need no key */
	char *host;	   /* owned: the Host sent upstream; NULL: the client's */
};

struct routes {
	struct route *list; /* owned; longest path first after routes_sort() */
	unsigned count;
};

/* Sort the table for routes_find(). */
void routes_sort(struct routes *routes);

/*
 * The route with the longest prefix that covers @path, which has no query; NULL if there is none.
 * Escapes in both count as the bytes that they stand for, so paths that are equal to an upstream
 * have the same route.
 */
const struct route *routes_find(const struct routes *routes, struct text path);

/*
 * Whether @path can be routed: it begins with '/', and has no empty segment, no dot segment, no
 * backslash, no escaped '/', backslash or NUL, and no escaped unreserved character. Such a path
 * means the same to every upstream, so it can be forwarded byte for byte.
 */
bool route_path_is_plain(struct text path);

void routes_done(struct routes *routes); /* accepts half-built tables */

#endif
