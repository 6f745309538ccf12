/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Whether a route's prefix covers a path: the one test by which the agent finds routes and XDP knows
 * which requests are public.
 *
 * A prefix covers whole segments: "/open" covers "/open" and "/open/x", never "/openX"; a prefix that
 * ends in '/' covers all below it. The agent refuses needless escapes (of unreserved characters and of
 * separators); it takes the others for the bytes that they stand for. So a path without '%' and a
 * prefix without '%' compare byte for byte, and on all others XDP has doubts.
 */
#ifndef TOLLGATE_PATH_H
#define TOLLGATE_PATH_H

#include <linux/types.h>

/* What may follow @prefix_len equal bytes: @next is the path's byte there, or 0 at its end. */
static inline int tollgate_path_ends_segment(char prefix_last, char next)
{
	return prefix_last == '/' || next == 0 || next == '/';
}

#endif
