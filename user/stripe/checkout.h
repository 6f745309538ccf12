/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * checkout: creates a Stripe Checkout session when a customer buys, and reads it when they come
 * back.
 *
 * A session's ID appears in URLs and is easily leaked. The caller must not give access to anyone
 * just because they know it.
 */
#ifndef STRIPE_CHECKOUT_H
#define STRIPE_CHECKOUT_H

#include "stripe/api.h"
#include "stripe/context.h"

#define CHECKOUT_ID_MAX 128 /* bytes of a session's ID, with its NUL */

struct checkout_order {
	const char *price;     /* Stripe's ID of the price */
	bool is_metered;       /* then the order has no quantity */
	const char *email;     /* NULL: Stripe asks the customer */
	const char *reference; /* client_reference_id; NULL: none */
};

/*
 * Create a session for a subscription, with the URLs, metadata and payment_method_types of the
 * settings. @done as for stripe_api_call(); the answer's body is the session. Each call of this
 * function is a new order, with its own idempotency key.
 */
void checkout_create(const struct stripe_context *context, const struct checkout_order *order,
		     stripe_done done, void *arg);

/* Whether @id has the form of a session's ID: "cs_", then letters, digits and '_', not too long. */
bool checkout_id_is_plausible(struct text id);

/*
 * Fetch a session whose ID is plausible, with its subscription, customer and invoice. @done as
 * above.
 */
void checkout_fetch(const struct stripe_context *context, const char *id, stripe_done done,
		    void *arg);

enum checkout_state {
	CHECKOUT_PAID,	  /* paid, or free; `subscription` is set */
	CHECKOUT_UNPAID,  /* complete, but the payment is still being processed */
	CHECKOUT_OPEN,	  /* the customer has not finished */
	CHECKOUT_EXPIRED, /* the customer did not finish in time */
	CHECKOUT_OTHER,	  /* not for a subscription, or an unknown status */
};

struct checkout_session {
	enum checkout_state state;
	uint64_t created_s;
	uint64_t paid_s;	    /* when its first invoice was paid; 0 if unknown */
	const char *id, *url;	    /* borrowed from the object; may be NULL */
	const json_t *subscription; /* borrowed from the object; NULL if not expanded */
};

/* Read a session from the answer of checkout_create() or checkout_fetch(). Pure. */
void checkout_read(const json_t *object, struct checkout_session *ret_session);

/*
 * The reason of a failed call, for a customer: Stripe's message, unless it shows parts of the API
 * key, or a few words of our own. Borrowed from @answer, or static.
 */
const char *checkout_reason(const struct stripe_answer *answer);

#endif
