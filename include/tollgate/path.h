/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Whether a route's prefix covers a path. The agent and XDP both use this test to find a route.
 *
 * A prefix covers whole segments: "/open" covers "/open" and "/open/x", but not "/openX". A prefix
 * that ends in '/' covers everything below it. The agent rejects needless escapes (of unreserved
 * characters and of separators) and decodes all others. So a path and a prefix that both have no
 * '%' compare byte for byte; XDP passes all other requests to the agent.
 */
#ifndef TOLLGATE_PATH_H
#define TOLLGATE_PATH_H

#include <linux/types.h>

/*
 * Whether the prefix, equal so far, ends where a segment of the path ends. @prefix_last: the
 * prefix's last byte; @next: the path's byte after it, or 0 at its end.
 */
static inline int tollgate_path_ends_segment(char prefix_last, char next)
{
	return prefix_last == '/' || next == 0 || next == '/';
}

#endif
