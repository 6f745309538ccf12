/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * backoff: how long to wait before the next attempt after failures in a row.
 *
 * The wait doubles with each failure, from `first` up to `most`, in whatever unit the caller chose
 * for these two. Callers that many hosts or connections resemble add jitter, so that they do not
 * all come back at the same moment.
 */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
	uint64_t first, most;
};

/* The wait after @failures failures in a row, without jitter. 0 counts as 1. Pure. */
uint64_t backoff_plain(const struct backoff *backoff, unsigned failures);

/*
 * The same with jitter: at least half of backoff_plain(), and less than all of it. @random is any
 * number; each value of it always gives the same wait. Pure.
 */
uint64_t backoff_spread(const struct backoff *backoff, unsigned failures, uint64_t random);

/*
 * backoff_spread() with a random number of its own. Without one, the wait is the shortest. Any
 * thread.
 */
uint64_t backoff_draw(const struct backoff *backoff, unsigned failures);

#endif
