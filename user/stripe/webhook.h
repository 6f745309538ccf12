/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * webhook: receives Stripe's events. Each is verified, stored, and only then acknowledged.
 *
 * Answers never wait for a call to Stripe. Events that arrive while others are being written are
 * written together afterwards, so a burst costs few commits. The inbox processes the stored events.
 */
#ifndef STRIPE_WEBHOOK_H
#define STRIPE_WEBHOOK_H

#include "http/handoff.h"
#include "stripe/context.h"

#define WEBHOOK_QUEUE "event" /* the queue of tasks in the store */

struct webhook;

struct webhook_counters {
	uint64_t accepted;
	uint64_t repeated;  /* already in the store; acknowledged again */
	uint64_t forged;    /* 400 because of the signature */
	uint64_t malformed; /* signed, but not an event that tollgate can read; acknowledged */
	uint64_t foreign;   /* of the other mode; acknowledged */
	uint64_t failed;    /* 503: could not be stored, so Stripe will send it again */
};

/* @context is borrowed. NULL if out of memory. */
struct webhook *webhook_new(const struct stripe_context *context);

/*
 * Answer @handoff, now or later: 200 once its event is stored; 400 "Missing signature header" or
 * "Signature verification failed: ..."; 405; 503 if the event cannot be stored.
 *
 * Whatever is validly signed gets 200, because Stripe would send it again for days otherwise. What
 * tollgate cannot read is logged. Events of the other mode are dropped: an endpoint for connected
 * accounts gets them in live mode too (https://docs.stripe.com/connect/webhooks).
 */
void webhook_receive(struct webhook *webhook, struct handoff *handoff);

const struct webhook_counters *webhook_counters(const struct webhook *webhook);

/* Free, and answer waiting events with 503. The store must not call back any more. Accepts NULL. */
void webhook_free(struct webhook *webhook);

#endif
