/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reconcile: all subscriptions that Stripe has, held against ours; what differs is repaired.
 *
 * Events may be lost for good; a list of everything is not. Runs at the start, every few hours, when
 * prices change, and on demand; one run at a time, page by page, each page applied before the next is
 * fetched. A run ends with the events that Stripe could not deliver.
 */
#ifndef STRIPE_RECONCILE_H
#define STRIPE_RECONCILE_H

#include <jansson.h>

#include "stripe/context.h"

struct reconcile;

struct reconcile_report {
	int err;	 /* 0; or -EIO when Stripe could not be asked, -ECANCELED; @why says more */
	const char *why; /* lives during the callback */
	uint64_t seen;	 /* subscriptions */
	uint64_t repaired;
	uint64_t failed; /* that could not be applied: see the log */
	uint64_t missed; /* events that had not come */
	uint64_t strays; /* accounts whose subscription Stripe does not have */
	json_t *repairs; /* borrowed: [{"account","subscription","change"}], the first thousand */
};
typedef void (*reconcile_done)(void *arg, const struct reconcile_report *report);

/* NULL when memory is short. */
struct reconcile *reconcile_new(const struct stripe_context *context);

/* Begin, and from then on run by the clock. */
void reconcile_start(struct reconcile *reconcile);

/* Run now, or join the run that is under way. @done is called once. -ENOMEM, -EAGAIN: not started yet. */
int reconcile_run(struct reconcile *reconcile, reconcile_done done, void *arg);

/* Run in a few seconds. */
void reconcile_soon(struct reconcile *reconcile);

/* Of the last run that came to its end: Unix ms, 0: none yet. */
uint64_t reconcile_last_ms(const struct reconcile *reconcile);

/* Stop, with -ECANCELED to who waits; then, when the loop has turned, free. Accept NULL. */
void reconcile_stop(struct reconcile *reconcile);
void reconcile_free(struct reconcile *reconcile);

#endif
