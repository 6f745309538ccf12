/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limiter: limits how often each source may try something.
 *
 * A fixed number of token buckets, chosen by the source modulo their number. Sources that meet in
 * one cell share its bucket. Pure.
 */
#ifndef PORTAL_LIMITER_H
#define PORTAL_LIMITER_H

#include <stdint.h>

#include "tollgate/bucket.h"

#define LIMITER_CELLS 1024

struct limiter {
	uint64_t tat_ns[LIMITER_CELLS]; /* buckets; see tollgate/bucket.h */
	uint64_t interval_ns, limit_ns;
};

static inline void limiter_init(struct limiter *limiter, uint64_t interval_ns, unsigned burst)
{
	*limiter = (struct limiter){ .interval_ns = interval_ns, .limit_ns = burst * interval_ns };
}

/* How long until @source may try again; 0: now. Charges nothing. */
static inline uint64_t limiter_wait_ns(const struct limiter *limiter, uint64_t source,
				       uint64_t now_ns)
{
	return tollgate_bucket_wait(limiter->tat_ns[source % LIMITER_CELLS], limiter->limit_ns,
				    limiter->interval_ns, now_ns);
}

/* Count an attempt of @source. */
static inline void limiter_charge(struct limiter *limiter, uint64_t source, uint64_t now_ns)
{
	uint64_t *tat_ns = &limiter->tat_ns[source % LIMITER_CELLS];

	*tat_ns = tollgate_bucket_charged(*tat_ns, limiter->interval_ns, now_ns);
}

#endif
