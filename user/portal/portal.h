/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * portal: the pages on which customers buy access, get their key and look after it.
 *
 * Plain HTML from the server, without a script. Everything that waits for Stripe or the store keeps its
 * handoff until then. Control loop only.
 */
#ifndef PORTAL_PORTAL_H
#define PORTAL_PORTAL_H

#include "http/handoff.h"
#include "stripe/context.h"

struct portal;

/* What is borrowed beside the context: the pepper of keys and their prefix. */
struct portal_keys {
	const struct crypto_hmac *pepper;
	const char *prefix;
};

/* NULL when memory is short. */
struct portal *portal_new(const struct stripe_context *context, const struct portal_keys *keys);

/* Whether @path is one of the portal's pages, or below one. */
bool portal_has(const struct portal *portal, struct text path);

/* Answer @handoff, on one of these, now or later. */
void portal_answer(struct portal *portal, struct handoff *handoff);

/* Begin; and again when tiers, settings or Stripe's prices have changed. */
void portal_refresh(struct portal *portal);

/*
 * Stop: nothing more is asked of Stripe. Then, when the store's callbacks are over, free: who waits is
 * answered with 503. Accept NULL.
 */
void portal_stop(struct portal *portal);
void portal_free(struct portal *portal);

#endif
