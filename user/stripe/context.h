/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * context: what all parts of billing share.
 *
 * Everything is borrowed from the agent, which replaces `tiers` and `settings` at a reload.
 * Pointers into these two are therefore valid only until the code that uses them returns to the
 * loop.
 *
 * The module stripe: what Stripe says and is told: events, subscriptions, prices, checkouts, usage.
 * What customers see belongs to portal; what an account may do belongs to enforce.
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

/*
 * Whether this host holds the lease for billing. Of all hosts that share a store, only the holder
 * processes events, reports usage, reconciles and sends notices.
 */
bool stripe_is_holder(const struct stripe_context *context);

/* Subscriptions that tollgate could not make sense of, counted each time they are applied. */
struct stripe_oddities {
	uint64_t unknown_statuses;
	uint64_t untiered; /* without a price of any tier */
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
	uint64_t held_until_ns; /* when this host's lease expires, on the monotonic clock */

	/*
	 * Stripe has changed an account; @before is NULL for a new one. Called once the change is
	 * durable and in force. May be NULL.
	 */
	void (*on_changed)(void *arg, const struct store_account *before,
			   const struct store_account *after);
	/* Whether usage of an account that lost its access is not closed yet. May be NULL. */
	bool (*has_unbilled)(void *arg, uint64_t account);
	/* The ID of the active meter with @event_name, valid during the call; NULL: none. */
	const char *(*meter_id)(void *arg, const char *event_name);
	/* All usage of an account that had ended or changed its meter is closed. May be NULL. */
	void (*on_billed)(void *arg, uint64_t account);
	void *on_changed_arg;
};

#endif
