/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * portal: the pages on which customers buy access, get their API key and manage their keys.
 *
 * The pages are plain HTML without scripts. A request that waits for Stripe or the store keeps its
 * handoff until it is answered. Control loop only.
 *
 * The module portal: what customers read: pages, mails, notices. What Stripe is asked belongs to
 * stripe.
 */
#ifndef PORTAL_PORTAL_H
#define PORTAL_PORTAL_H

#include "http/handoff.h"
#include "stripe/context.h"

struct notices;
struct portal;

/* How API keys are hashed, and what they begin with. */
struct portal_keys {
	const struct crypto_hmac *pepper; /* borrowed, as is the next */
	const char *prefix;
};

/* @context and @notices are borrowed, and so is what @keys points to. NULL if out of memory. */
struct portal *portal_new(const struct stripe_context *context, const struct portal_keys *keys,
			  struct notices *notices);

/* Whether @path is one of the portal's pages or below one. */
bool portal_has(const struct portal *portal, struct text path);

/* Answer @handoff, whose path portal_has(), now or later. */
void portal_answer(struct portal *portal, struct handoff *handoff);

/* Call once to start, and again when tiers, settings or Stripe's prices have changed. */
void portal_refresh(struct portal *portal);

/*
 * portal_stop() ends calls of Stripe's API. portal_free() answers waiting visitors with 503 and
 * frees everything; call it when the store will not call back any more. Both accept NULL.
 */
void portal_stop(struct portal *portal);
void portal_free(struct portal *portal);

#endif
