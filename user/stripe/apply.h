/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * apply: what a subscription means for its account: tier, status, grace, periods.
 */
#ifndef STRIPE_APPLY_H
#define STRIPE_APPLY_H

#include "stripe/context.h"
#include "stripe/subscription.h"

/* Where a subscription's state comes from. */
struct apply_source {
	uint64_t as_of_s; /* Stripe's time at which it was so */
	bool is_snapshot; /* an event's copy, which may be older than what is known */
	uint64_t
		failed_ms; /* when its payment began to fail, if that is known better than now; 0 */
};

/*
 * Bring the account of @object, a subscription, up to date. @done follows as for
 * registry_subscription_apply(), with -EBADMSG when it is no subscription that can be read; it may come
 * before the call returns. One that has ended and has no account gets none: `account` is NULL. The log says what of it is not understood.
 */
void apply_subscription(const struct stripe_context *context, const json_t *object,
			const struct apply_source *source, registry_done done, void *arg);

#endif
