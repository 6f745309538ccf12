/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The token bucket, as both planes compute it: GCRA on one 64-bit word.
 *
 * The word is the theoretical arrival time `tat` in CLOCK_MONOTONIC nanoseconds: the moment at which
 * the bucket will be full again. One unit costs `interval_ns`, and the bucket holds `limit_ns`, which
 * is burst * interval_ns. Debt is tat - now, so there is nothing to refill and nothing to divide.
 *
 * An interval_ns of 0 is an account without a rate limit: every charge is 0 ns and never refused.
 */
#ifndef TOLLGATE_BUCKET_H
#define TOLLGATE_BUCKET_H

#include <linux/types.h>

/* No sum of two such numbers wraps. Intervals, limits and costs are configured below it. */
#define TOLLGATE_BUCKET_MAX_NS (1ULL << 62)

/* The nanoseconds by which @tat lies ahead of @now_ns; 0 when the bucket is full. */
static inline __u64 tollgate_bucket_debt(__u64 tat_ns, __u64 now_ns)
{
	return tat_ns > now_ns ? tat_ns - now_ns : 0;
}

/*
 * How long until a charge of @charge_ns would be allowed: 0 if it is now. A charge larger than the
 * limit can never pass; the configuration refuses such a cost.
 */
static inline __u64 tollgate_bucket_wait(__u64 tat_ns, __u64 limit_ns, __u64 charge_ns,
					 __u64 now_ns)
{
	__u64 debt = tollgate_bucket_debt(tat_ns, now_ns) + charge_ns;

	return debt > limit_ns ? debt - limit_ns : 0;
}

/* The word after a charge that tollgate_bucket_wait() said may happen now. */
static inline __u64 tollgate_bucket_charged(__u64 tat_ns, __u64 charge_ns, __u64 now_ns)
{
	return (tat_ns > now_ns ? tat_ns : now_ns) + charge_ns;
}

#endif
