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
#include "stripe/subscription.h"

#define CHECKOUT_ID_MAX 128 /* bytes of a session's ID, with its NUL */

#define CHECKOUT_MAX_LINES    SUBSCRIPTION_MAX_ITEMS
#define CHECKOUT_MAX_QUANTITY 999999 /* Stripe accepts no more */

struct checkout_line {
	char price[SUBSCRIPTION_NAME_MAX]; /* Stripe's ID of the price */
	bool is_metered;		   /* then it has no quantity */
};

/* The first line selects the tier; other lines, such as a metered price, are sold with it. */
struct checkout_order {
	struct checkout_line lines[CHECKOUT_MAX_LINES];
	unsigned line_count;
	uint32_t quantity;	 /* of the first line, 1 to CHECKOUT_MAX_QUANTITY */
	bool is_quantity_chosen; /* the customer may still change it on Stripe's page */
	uint32_t trial_days;	 /* 0: no trial */
	const char *customer;	 /* Stripe's ID; NULL: a new customer */
	uint64_t account;	 /* the account that the subscription is for; 0: a new one */
	const char *email;	 /* NULL: Stripe asks the customer; unused with `customer` */
	const char *reference;	 /* client_reference_id; NULL: none */
};

/*
 * Create a session for a subscription, with the URLs, metadata, payment_method_types, promotion
 * codes and tax of the settings. @done as for stripe_api_call(); the answer's body is the session.
 * Each call of this function is a new order, with its own idempotency key.
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
	const char *reference;	    /* the same: client_reference_id */
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
