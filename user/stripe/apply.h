/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * apply: updates an account from its Stripe subscription: tier, status, grace, periods.
 */
#ifndef STRIPE_APPLY_H
#define STRIPE_APPLY_H

#include "stripe/context.h"
#include "stripe/subscription.h"

/* Where a subscription's state comes from. */
struct apply_source {
	uint64_t as_of_s;      /* when this was the state, by Stripe's clock */
	bool is_snapshot;      /* a copy in an event, which may be older than the stored state */
	bool is_listed;	       /* in a list that may be applied after a newer state was fetched */
	uint64_t failed_ms;    /* when payments began to fail; 0 if that is not known */
	const char *reference; /* its checkout session's client_reference_id; NULL if unknown */
};

/*
 * Create or update the account of @object, a subscription. @done is called as by
 * registry_subscription_apply(), perhaps before this returns; with -EBADMSG if @object is not a
 * valid subscription. A subscription that has no account gets none if it has ended or if no tier
 * has its prices; the result's `account` is then NULL. What tollgate does not understand about the
 * subscription is logged. If the result says `is_in_doubt`, fetch the subscription alone.
 *
 * Before an additional subscription of a known customer is applied for the first time, Stripe is
 * asked which of the others have ended, because this one may take over the account of one of them.
 */
void apply_subscription(const struct stripe_context *context, const json_t *object,
			const struct apply_source *source, registry_done done, void *arg);

#endif
