/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * context: what the parts of billing work with. All borrowed from the agent, which replaces `tiers` and
 * `settings` at a reload; whoever keeps them over a return to the loop holds on to nothing.
 */
#ifndef STRIPE_CONTEXT_H
#define STRIPE_CONTEXT_H

#include <uv.h>

#include "enforce/registry.h"
#include "config/tier.h"
#include "store/store.h"
#include "config/billing.h"

struct stripe_api;
struct stripe_context;

/* Whether this host is the one of all that share the store that works what the store has for Stripe. */
bool stripe_is_holder(const struct stripe_context *context);

/* What Stripe said that tollgate does not understand, or the configuration has no tier for. */
struct stripe_oddities {
	uint64_t unknown_statuses;
	uint64_t untiered; /* subscriptions that no tier names */
};

struct stripe_context {
	uv_loop_t *loop;
	struct store *store;
	struct mirror *mirror;
	struct registry *registry;
	struct slots *slots;
	struct stripe_api *api;
	const struct tiers *tiers;
	const struct stripe_settings *settings;
	struct stripe_oddities *oddities;
	uint64_t held_until_ns; /* this host works events, reports and notices until then */

	/*
	 * An account has changed by what Stripe said; @before is NULL for a new one. May be NULL. Called
	 * once the change is durable and in force.
	 */
	void (*on_changed)(void *arg, const struct store_account *before,
			   const struct store_account *after);
	void *on_changed_arg;
};

#endif
