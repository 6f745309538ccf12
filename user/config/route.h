/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * route: which requests go where, at what cost, and what they need.
 *
 * A table is immutable once it is in use; a reload makes a new one.
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
	uint32_t cost;	   /* units a request is charged; 0: checked, but free */
	int feature;	   /* bit that the tier must have, or -1 */
	bool is_public;	   /* no key is asked for */
	bool cors;	   /* preflight requests are answered without a key */
	char *host;	   /* owned: Host sent upstream; NULL: the client's */
};

struct routes {
	struct route *list; /* owned; longest path first after routes_sort() */
	unsigned count;
};

/* Order the table for routes_find(). */
void routes_sort(struct routes *routes);

/*
 * The route with the longest prefix that covers @path (no query), or NULL. An escape in either is the
 * byte it stands for: what an upstream takes for the same path has the same route.
 */
const struct route *routes_find(const struct routes *routes, struct text path);

/*
 * Whether @path can be routed at all: it begins with '/', and has no empty segment, dot segment,
 * backslash, encoded '/', backslash or NUL, and no needlessly encoded unreserved character, so that
 * what is routed is byte for byte what is forwarded.
 */
bool route_path_is_plain(struct text path);

void routes_done(struct routes *routes); /* accepts half-built tables */

#endif
