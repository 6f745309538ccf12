/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Whether a route's prefix covers a path: the one test by which the agent finds routes and XDP knows
 * which requests are public.
 *
 * A prefix covers whole segments: "/open" covers "/open" and "/open/x", never "/openX"; a prefix that
 * ends in '/' covers all below it. Paths are compared byte for byte: the agent refuses every spelling
 * that could mean the same path in other bytes.
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
