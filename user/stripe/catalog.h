/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * catalog: the IDs, amounts and intervals at Stripe of the prices in the configuration.
 *
 * A tier may name a price by its ID, its lookup key or its product, of which only the default price
 * is for sale. All names are looked up in the background: at the start, every hour, and whenever
 * prices change. Before its first lookup a price is unknown.
 */
#ifndef STRIPE_CATALOG_H
#define STRIPE_CATALOG_H

#include <jansson.h>

#include "stripe/api.h"
#include "stripe/context.h"
#include "stripe/subscription.h"

struct catalog;

/* A step of a tiered price: units up to `up_to` (0: all beyond the last step). */
#define CATALOG_MAX_STEPS 12
struct catalog_step {
	uint64_t up_to;
	char amount[40], flat[40]; /* for each unit, and once; "0" if there is none */
};

struct catalog_price {
	char id[SUBSCRIPTION_NAME_MAX]; /* Stripe's ID; "" if the price is unknown */
	char currency[8];		/* "USD" */
	char amount[40];		/* "10.00"; "" if the price has no single amount */
	char interval[16];		/* "month" */
	uint32_t interval_count;
	bool is_metered;
	uint64_t divide_by;  /* the amount is for so many units; 0 or 1: for one */
	char unit[64];	     /* the product's name of a unit; "" if it has none */
	bool is_volume;	     /* all units have the price of the step that is reached */
	unsigned step_count; /* 0: the price has a single amount */
	struct catalog_step steps[CATALOG_MAX_STEPS];
};

/* @context is borrowed. NULL if out of memory. */
struct catalog *catalog_new(const struct stripe_context *context);

/* Look up all prices again, soon. Call it when tiers or Stripe's prices have changed. */
void catalog_refresh(struct catalog *catalog);

/*
 * The price that a tier names @name; NULL if it is unknown. Borrowed until the caller returns to
 * the loop.
 */
const struct catalog_price *catalog_find(const struct catalog *catalog, const char *name);

/*
 * As catalog_find(), but ask Stripe if the price is unknown, because a customer waits. Calls @done
 * once, perhaps before this returns, unless the catalog is freed first. @price is NULL if there is
 * no price: @why is then the failed answer, or NULL if Stripe has no such price.
 */
typedef void (*catalog_done)(void *arg, const struct catalog_price *price,
			     const struct stripe_answer *why);
void catalog_resolve(struct catalog *catalog, const char *name, catalog_done done, void *arg);

/*
 * Read a price, the first valid one of a list of prices, or a product's expanded default price.
 * False if there is no price that is valid, recurring and active. Pure.
 */
bool catalog_read(const json_t *object, struct catalog_price *ret_price);

/*
 * Format an amount given in the currency's smallest unit: "1000" as "10.00", "0.05" as "0.0005".
 * False if @amount is not a number or too long. Pure.
 */
bool catalog_format_amount(const char *amount, const char *currency, char ret_text[40]);

/*
 * catalog_stop() stops; catalog_free() frees, after the API is freed and the loop has turned. Both
 * accept NULL.
 */
void catalog_stop(struct catalog *catalog);
void catalog_free(struct catalog *catalog);

#endif
