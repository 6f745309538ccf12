/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * subscription: what tollgate needs of a Stripe subscription, in whichever shape its API version has.
 *
 * Billing periods are on the subscription before 2025-03-31.basil, and on its items since then. Other
 * objects are ids or, expanded, objects. What is not known is left as it is: an unknown status is -1
 * with its word, an unknown field is not looked at. Pure.
 */
#ifndef STRIPE_SUBSCRIPTION_H
#define STRIPE_SUBSCRIPTION_H

#include <jansson.h>

#include "config/tier.h"
#include "store/store.h"

#define SUBSCRIPTION_MAX_ITEMS 20 /* Stripe's own limit */
#define SUBSCRIPTION_WORD_MAX  64
#define SUBSCRIPTION_NAME_MAX  256 /* what operators may choose themselves, with its NUL */

struct subscription_item {
	char id[STORE_NAME_MAX];
	char price[SUBSCRIPTION_NAME_MAX];
	char lookup_key[SUBSCRIPTION_NAME_MAX];
	char product[SUBSCRIPTION_NAME_MAX];
	char meter[STORE_NAME_MAX]; /* id of the billing meter behind the price, or "" */
	bool is_metered;
	uint64_t period_start_s, period_end_s;
};

struct subscription {
	char id[STORE_NAME_MAX];
	char customer[STORE_NAME_MAX];
	bool is_customer_deleted;    /* known only where the customer is expanded */
	char email[STORE_LABEL_MAX]; /* the expanded customer's, or "" */
	int status;		     /* enum store_status; -1: a word that is not known */
	char status_word[SUBSCRIPTION_WORD_MAX];
	char paused_cause[SUBSCRIPTION_WORD_MAX]; /* why it is paused, if Stripe says so, or "" */
	bool is_collection_paused;
	bool is_live;
	uint64_t created_s;
	uint64_t period_start_s, period_end_s; /* the first item's; 0: none is told */
	uint64_t trial_end_s;		       /* 0: no trial */
	uint64_t cancel_at_s;		       /* 0: it goes on */
	uint64_t ended_at_s;		       /* 0: it has not ended */

	/* The latest invoice. All but the id are of an expanded one. */
	char invoice[STORE_NAME_MAX];
	char invoice_status[SUBSCRIPTION_WORD_MAX];
	uint32_t invoice_attempts; /* to have it paid */
	uint64_t invoice_created_s;
	/*
	 * When the latest invoice, if it is owed after a try to have it paid, began to be owed; 0: it is
	 * not, or nothing is told. The first failure is not on any object: it came at this time or later,
	 * or with an earlier invoice.
	 */
	uint64_t owed_since_s;

	unsigned item_count;
	bool has_more_items; /* than are here: never, by Stripe's limits */
	struct subscription_item items[SUBSCRIPTION_MAX_ITEMS];
};

/*
 * Read @object. 0; or -EBADMSG, a few words in @ret_why, and *@ret untouched: it is no subscription,
 * or lacks its id, customer, status or items, or an id is longer than any of Stripe's.
 */
int subscription_parse(const json_t *object, struct subscription *ret, const char **ret_why);

/* The text of metadata @name on @object, a subscription or anything else with metadata; or NULL. */
const char *subscription_metadata(const json_t *object, const char *name);

/*
 * The first tier, in the configuration's order, that names the price id, the lookup key or the product
 * of any item. @ret_item is the item; its billing period is the account's. NULL when no tier matches: then
 * @ret_item is the first item, for the log, or NULL if there is none.
 */
const struct tier *subscription_tier(const struct tiers *tiers, const struct subscription *s,
				     const struct subscription_item **ret_item);

#endif
