/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * catalog: what the prices that tiers name are at Stripe: which id, how much, how often.
 *
 * A tier may name a price by its id, its lookup key or its product. Each name is looked up in the
 * background, and again every hour and whenever prices change; until then nothing is known of it.
 */
#ifndef STRIPE_CATALOG_H
#define STRIPE_CATALOG_H

#include <jansson.h>

#include "stripe/api.h"
#include "stripe/context.h"
#include "stripe/subscription.h"

struct catalog;

struct catalog_price {
	char id[SUBSCRIPTION_NAME_MAX]; /* Stripe's; "": nothing is known */
	char currency[8];		/* "USD" */
	char amount[40];		/* "10.00"; "": no single amount */
	char interval[16];		/* "month" */
	uint32_t interval_count;
	bool is_metered;
};

/* @context is borrowed. NULL when memory is short. */
struct catalog *catalog_new(const struct stripe_context *context);

/* The tiers may name others now, or Stripe has changed some: look all up again, soon. */
void catalog_refresh(struct catalog *catalog);

/* What is known of @name, one that a tier has; NULL: nothing. Until the next turn of the loop. */
const struct catalog_price *catalog_find(const struct catalog *catalog, const char *name);

/*
 * The same, but asked for now if it is not known, for a customer who waits. @done follows, perhaps
 * before this returns, unless the catalog is freed first: @price is NULL if there is none; then @why
 * is Stripe's answer, or NULL: Stripe has no such price.
 */
typedef void (*catalog_done)(void *arg, const struct catalog_price *price,
			     const struct stripe_answer *why);
void catalog_resolve(struct catalog *catalog, const char *name, catalog_done done, void *arg);

/*
 * Read a price, or the first recurring one of a list of prices. False: it is none, or is not recurring,
 * or not for sale any more. Pure.
 */
bool catalog_read(const json_t *object, struct catalog_price *ret_price);

/*
 * "1000" of a currency's smallest units as "10.00", "0.05" as "0.0005". False: no number, or too long.
 * Pure.
 */
bool catalog_format_amount(const char *amount, const char *currency, char ret_text[40]);

/* Stop; then, when the API is freed and the loop has turned, free. Accept NULL. */
void catalog_stop(struct catalog *catalog);
void catalog_free(struct catalog *catalog);

#endif
