/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The token bucket that the agent and XDP share: GCRA on one 64-bit word.
 *
 * The word is the theoretical arrival time `tat` in CLOCK_MONOTONIC nanoseconds: when the bucket
 * will be full again. One unit costs `interval_ns`, and the bucket holds `limit_ns` = burst *
 * interval_ns. The debt is tat - now, so there is nothing to refill and nothing to divide.
 *
 *                 |<------ limit_ns ------->|
 *   --------------+-----------------+-------+----------> time
 *                now               tat   now + limit_ns
 *                 |<---- debt ----->|
 *
 * A charge moves tat to the right, and is allowed if it stays within now + limit_ns.
 *
 * If interval_ns is 0, the account has no rate limit: every charge is 0 ns and never refused.
 */
#ifndef TOLLGATE_BUCKET_H
#define TOLLGATE_BUCKET_H

#include <linux/types.h>

/*
 * The sum of two such numbers does not wrap. The configuration keeps intervals, limits and costs
 * below.
 */
#define TOLLGATE_BUCKET_MAX_NS (1ULL << 62)

/* How far @tat_ns is ahead of @now_ns; 0 if the bucket is full. */
static inline __u64 tollgate_bucket_debt(__u64 tat_ns, __u64 now_ns)
{
	return tat_ns > now_ns ? tat_ns - now_ns : 0;
}

/*
 * How long until a charge of @charge_ns is allowed; 0: now. A charge above the limit is never
 * allowed; the configuration rejects such a cost.
 */
static inline __u64 tollgate_bucket_wait(__u64 tat_ns, __u64 limit_ns, __u64 charge_ns,
					 __u64 now_ns)
{
	__u64 debt = tollgate_bucket_debt(tat_ns, now_ns) + charge_ns;

	return debt > limit_ns ? debt - limit_ns : 0;
}

/* The word after a charge for which tollgate_bucket_wait() returned 0. */
static inline __u64 tollgate_bucket_charged(__u64 tat_ns, __u64 charge_ns, __u64 now_ns)
{
	return (tat_ns > now_ns ? tat_ns : now_ns) + charge_ns;
}

#endif
