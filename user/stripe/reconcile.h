/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reconcile: compares all subscriptions at Stripe with the accounts here, and repairs differences.
 *
 * Events can be lost; a complete list cannot miss anything. A run happens at the start, every few
 * hours, when prices change, and on demand, one at a time. It works page by page, so it needs
 * little memory. In test mode it also lists the subscriptions of all test clocks, which the plain
 * list leaves out. At its end it fetches the events that Stripe could not deliver, the customers'
 * entitlements, and the subscriptions of accounts that were not listed.
 */
#ifndef STRIPE_RECONCILE_H
#define STRIPE_RECONCILE_H

#include <jansson.h>

#include "stripe/context.h"

struct reconcile;

struct reconcile_report {
	int err;	   /* 0; -EIO if Stripe could not be asked; -ECANCELED if stopped */
	const char *why;   /* the error in words; valid during the callback */
	uint64_t seen;	   /* subscriptions at Stripe */
	uint64_t repaired; /* accounts created or changed */
	uint64_t failed;   /* subscriptions that could not be applied; the log says why */
	uint64_t missed;   /* events that had not arrived */
	uint64_t strays;   /* accounts whose subscription Stripe does not list */
	uint64_t untiered; /* subscriptions without a price of any tier */
	json_t *repairs;   /* borrowed: [{"account","subscription","change"}], the first thousand */
};
typedef void (*reconcile_done)(void *arg, const struct reconcile_report *report);

/*
 * Both are borrowed. The inbox fetches entitlements and what Stripe did not list. NULL if out of
 * memory.
 */
struct inbox;
struct reconcile *reconcile_new(const struct stripe_context *context, struct inbox *inbox);

/* Run now, and from then on at the configured interval. */
void reconcile_start(struct reconcile *reconcile);

/*
 * Run now, or join the run in progress. Calls @done once. 0; -ENOMEM; -EAGAIN if reconcile_start()
 * has not been called on this host.
 */
int reconcile_run(struct reconcile *reconcile, reconcile_done done, void *arg);

/* Run in a few seconds. */
void reconcile_soon(struct reconcile *reconcile);

/* When the last complete run ended, in Unix milliseconds; 0 if there was none yet. */
uint64_t reconcile_last_ms(const struct reconcile *reconcile);

/*
 * reconcile_stop() stops, and calls waiting callbacks with -ECANCELED; reconcile_free() frees after
 * the loop has turned. Both accept NULL.
 */
void reconcile_stop(struct reconcile *reconcile);
void reconcile_free(struct reconcile *reconcile);

#endif
