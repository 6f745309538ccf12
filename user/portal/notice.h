/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notice: what customers are told of payments, grace, trials and quotas, by mail and webhook.
 *
 * A cause makes a task in the store for each way of telling, under an id that names the cause, so that
 * each is told at most once, whatever is repeated. Tasks are sent until they are taken, for at most three
 * days. What time alone brings about is looked for every half minute. Control loop only.
 */
#ifndef PORTAL_NOTICE_H
#define PORTAL_NOTICE_H

#include "net/transfer.h"
#include "stripe/context.h"

struct notices;

struct notice_counters {
	uint64_t sent;
	uint64_t setbacks; /* tries that are repeated later */
	uint64_t failed;   /* given up: kept in the store with the reason */
};

/* All borrowed; @settings until notices_set(). NULL when memory is short. */
struct notices *notices_new(const struct stripe_context *context, struct transfers *transfers,
			    const struct notice_settings *settings);
void notices_set(struct notices *notices, const struct notice_settings *settings);

/* Begin; what was not sent before goes on. Once, when the registry is there. */
void notices_start(struct notices *notices);

/* An account changed by what Stripe said; @before is NULL for a new one. */
void notices_account_changed(struct notices *notices, const struct store_account *before,
			     const struct store_account *after);

const struct notice_counters *notices_counters(const struct notices *notices);

/* Stop; then, when the loop has turned, free. Accept NULL. */
void notices_stop(struct notices *notices);
void notices_free(struct notices *notices);

#endif
