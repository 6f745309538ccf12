/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drift: what was counted and delivered, against what Stripe's meters have. Looks and changes nothing.
 */
#ifndef STRIPE_DRIFT_H
#define STRIPE_DRIFT_H

#include <jansson.h>

#include "stripe/context.h"

struct drift;
struct report;

/*
 * @answer is the callee's: {"accounts": [{account, customer, meter, since, counted, open, pending,
 * failed, delivered, stripe, drift, error}], "drifting": n, "errors": n}. NULL: @why says why.
 */
typedef void (*drift_done)(void *arg, json_t *answer, const char *why);

/* Both are borrowed. NULL when memory is short. */
struct drift *drift_new(const struct stripe_context *context, struct report *report);

/*
 * For each account with a meter: units in windows since the later of @since_s and its billing period's
 * beginning, at most DRIFT_DAYS ago, as the store has them; what became of each closing; and the sum of
 * Stripe's summaries of the same time. One account after the other. Drift is what Stripe has beyond
 * what was delivered or failed. @done follows once. 0; -EBUSY: one is under way; -ENOMEM.
 */
#define DRIFT_DAYS 60
int drift_run(struct drift *drift, uint64_t since_s, drift_done done, void *arg);

/* End a run with an error; before Stripe's API is freed. Then free. Accept NULL. */
void drift_stop(struct drift *drift);
void drift_free(struct drift *drift);

#endif
