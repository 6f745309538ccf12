/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * webhook: Stripe's events as they come in: verified, stored, and only then acknowledged.
 *
 * No answer waits for a call to Stripe. Events that come while others are being written are written
 * together after them, so that a burst costs few commits. What the events mean is for the inbox.
 */
#ifndef STRIPE_WEBHOOK_H
#define STRIPE_WEBHOOK_H

#include "http/handoff.h"
#include "stripe/context.h"

#define WEBHOOK_QUEUE "event" /* of the store's tasks */

struct webhook;

struct webhook_counters {
	uint64_t accepted;
	uint64_t repeated;  /* known already: accepted again */
	uint64_t forged;    /* 400: the signature */
	uint64_t malformed; /* 400: anything else */
	uint64_t failed;    /* 5xx: the store did not take it, Stripe will send it again */
};

/* NULL when memory is short. */
struct webhook *webhook_new(const struct stripe_context *context);

/*
 * Answer @handoff: 200 once its event is stored; 400 "Missing signature header", "Signature verification
 * failed: ...", "Invalid payload: ..."; 405; 503 if it cannot be stored.
 */
void webhook_receive(struct webhook *webhook, struct handoff *handoff);

const struct webhook_counters *webhook_counters(const struct webhook *webhook);

/* Events that wait are answered with 503. The store's callbacks must be over. Accepts NULL. */
void webhook_free(struct webhook *webhook);

#endif
