/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drift: compares the usage that was counted and delivered with the usage in Stripe's meters. It
 * changes nothing.
 */
#ifndef STRIPE_DRIFT_H
#define STRIPE_DRIFT_H

#include <jansson.h>

#include "stripe/context.h"

struct drift;
struct report;

/*
 * @answer, which the callee takes over, is {"accounts": [{account, customer, meter, since, counted,
 * open, pending, failed, delivered, stripe, drift, error}], "drifting": n, "errors": n}. It is NULL
 * after an error, which @why describes.
 */
typedef void (*drift_done)(void *arg, json_t *answer, const char *why);

/* Both arguments are borrowed. NULL if out of memory. */
struct drift *drift_new(const struct stripe_context *context, struct report *report);

/*
 * Compare, for each account with a meter, from the later of @since_s and the start of its billing
 * period, but at most DRIFT_DAYS ago: the units in the store, what became of each closing of a
 * window, and the sum of Stripe's summaries. "drift" is what Stripe has minus what was delivered or
 * failed. Accounts are processed one after the other. Calls @done once. 0; -EBUSY if a run is in
 * progress; -ENOMEM.
 */
#define DRIFT_DAYS 60
int drift_run(struct drift *drift, uint64_t since_s, drift_done done, void *arg);

/*
 * drift_stop() ends a run with an error; call it before Stripe's API is freed. Then drift_free()
 * frees. Both accept NULL.
 */
void drift_stop(struct drift *drift);
void drift_free(struct drift *drift);

#endif
