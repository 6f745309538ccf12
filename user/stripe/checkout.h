/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * checkout: Stripe's Checkout sessions: one is made for whoever wants to buy, and read when they come
 * back. A session's id in a URL is as good as a password: what it opens is the caller's to guard.
 */
#ifndef STRIPE_CHECKOUT_H
#define STRIPE_CHECKOUT_H

#include "stripe/api.h"
#include "stripe/context.h"

#define CHECKOUT_ID_MAX 128 /* bytes of a session's id, with its NUL */

struct checkout_order {
	const char *price;     /* Stripe's id */
	bool is_metered;       /* such a price has no quantity */
	const char *email;     /* NULL: the customer tells Stripe */
	const char *reference; /* client_reference_id; NULL: none */
};

/*
 * Make a session (mode subscription) by the settings' app_url or success_url and cancel_url, metadata
 * and payment_method_types. @done as for stripe_api_call(); the answer's body is the session. Every call is
 * an order of its own; its retries are not.
 */
void checkout_create(const struct stripe_context *context, const struct checkout_order *order,
		     stripe_done done, void *arg);

/* Whether @id can be the id of a session: "cs_", letters, digits and '_', not too long. */
bool checkout_id_is_plausible(struct text id);

/* Fetch a plausible session with its subscription, customer and invoice. @done as above. */
void checkout_fetch(const struct stripe_context *context, const char *id, stripe_done done,
		    void *arg);

enum checkout_state {
	CHECKOUT_PAID,	  /* or nothing is to be paid; `subscription` is there */
	CHECKOUT_UNPAID,  /* complete, but the money is still on its way */
	CHECKOUT_OPEN,	  /* the customer has not come to an end */
	CHECKOUT_EXPIRED, /* nor ever will */
	CHECKOUT_OTHER,	  /* no subscription was sold, or words that are not known */
};

struct checkout_session {
	enum checkout_state state;
	uint64_t created_s;
	uint64_t paid_s;	    /* when its first invoice was paid; 0: not told */
	const char *id, *url;	    /* borrowed from the object; may be NULL */
	const json_t *subscription; /* borrowed: the object; NULL: none */
};

/* Read what checkout_create() or checkout_fetch() brought. Pure. */
void checkout_read(const json_t *object, struct checkout_session *ret_session);

/*
 * What a failed call may tell a customer: Stripe's message where there is one and it shows nothing of
 * our key, else a few words. Borrowed from @answer, or static.
 */
const char *checkout_reason(const struct stripe_answer *answer);

#endif
