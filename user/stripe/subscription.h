/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * subscription: reads what tollgate needs from a Stripe subscription, in the format of any API
 * version.
 *
 * Billing periods are members of the subscription before 2025-03-31.basil, and of its items since
 * then. References to other objects are IDs or, if expanded, objects. An unknown status is kept as
 * -1 with its word; unknown members are ignored. Pure.
 */
#ifndef STRIPE_SUBSCRIPTION_H
#define STRIPE_SUBSCRIPTION_H

#include <jansson.h>

#include "config/tier.h"
#include "store/store.h"

#define SUBSCRIPTION_MAX_ITEMS 20 /* Stripe's own limit */
#define SUBSCRIPTION_WORD_MAX  64
#define SUBSCRIPTION_NAME_MAX  256 /* names that operators can choose, with the NUL */

/*
 * The key in a subscription's metadata that names the account that the subscription is for. The
 * portal sets it when a customer who has an account buys; operators may set it too.
 */
#define SUBSCRIPTION_ACCOUNT "tollgate_account"

struct subscription_item {
	char id[STORE_NAME_MAX];
	char price[SUBSCRIPTION_NAME_MAX];
	char lookup_key[SUBSCRIPTION_NAME_MAX];
	char product[SUBSCRIPTION_NAME_MAX];
	char meter[STORE_NAME_MAX]; /* ID of the price's billing meter, or "" */
	bool is_metered;
	uint32_t quantity; /* 0: it has none, or it is unknown */
	uint64_t period_start_s, period_end_s;
};

struct subscription {
	char id[STORE_NAME_MAX];
	char customer[STORE_NAME_MAX];
	bool is_customer_deleted;    /* known only if the customer is expanded */
	char email[STORE_LABEL_MAX]; /* the customer's, if expanded; else "" */
	int status;		     /* enum store_status; -1 if the word is unknown */
	char status_word[SUBSCRIPTION_WORD_MAX];
	char paused_cause[SUBSCRIPTION_WORD_MAX]; /* why it is paused; "" if unknown */
	bool is_collection_paused;
	bool is_live;
	/* Its metadata as a JSON object; pairs that do not fit are left out. */
	char metadata[STORE_METADATA_MAX];
	uint64_t account; /* the account that its metadata SUBSCRIPTION_ACCOUNT names; 0: none */
	uint64_t created_s;
	uint64_t period_start_s, period_end_s; /* the first item's; 0 if unknown */
	uint64_t trial_end_s;		       /* 0: no trial */
	uint64_t cancel_at_s;		       /* 0: no cancellation is scheduled */
	uint64_t ended_at_s;		       /* 0: it has not ended */

	/* The latest invoice. All but its ID are known only if it is expanded. */
	char invoice[STORE_NAME_MAX];
	char invoice_status[SUBSCRIPTION_WORD_MAX];
	uint32_t invoice_attempts; /* to collect the payment */
	uint64_t invoice_created_s;
	/*
	 * Since when the latest invoice is owed, if an attempt to collect it has failed, or if its
	 * due date has passed without one; else 0. No object of Stripe's says when the first
	 * payment failed: it was at this time or later, or with an earlier invoice.
	 */
	uint64_t owed_since_s;

	unsigned item_count;
	bool has_more_items; /* more than `items` holds; Stripe's limits rule this out */
	struct subscription_item items[SUBSCRIPTION_MAX_ITEMS];
};

/*
 * Read @object. 0; or -EBADMSG if it is not a subscription, has no ID, customer, status or items,
 * or has an ID that is too long. Then *@ret is untouched and @ret_why is a static description.
 */
int subscription_parse(const json_t *object, struct subscription *ret, const char **ret_why);

/*
 * Since when @invoice is owed, as `owed_since_s`: when it was due or, if an attempt to collect it
 * has failed, when it was finalized; 0 if it is not owed.
 */
uint64_t subscription_owed_since(const json_t *invoice);

/*
 * The item to whose meter the usage of @tier is reported: the metered item with the meter
 * @meter_id (NULL: unknown) or, if none has it, the first metered item. NULL if no item is metered.
 */
const struct subscription_item *subscription_metered_item(const struct subscription *s,
							  const char *meter_id);

/*
 * The first tier, in the order of the configuration, that lists the price ID, lookup key or product
 * of an item. @ret_item is that item, whose billing period becomes the account's. NULL if no tier
 * matches; then @ret_item is the first item, for the log, or NULL if there are none.
 */
const struct tier *subscription_tier(const struct tiers *tiers, const struct subscription *s,
				     const struct subscription_item **ret_item);

#endif
