/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report: metered usage, closed into windows and told to Stripe.
 *
 * Two stages, apart. Closing: usage whose window has ended becomes a task in the store, with the whole
 * body of its call, in the same transaction that marks the usage as closed; usage that turns up later
 * makes a further task. Sending: tasks are sent until Stripe has them. A task's id is the identifier of its
 * meter event and the call's idempotency key, and derives from account, window and closing alone; so
 * whatever dies in between, nothing is lost and nothing is billed twice.
 */
#ifndef STRIPE_REPORT_H
#define STRIPE_REPORT_H

#include <jansson.h>

#include "stripe/context.h"

#define REPORT_QUEUE "meter" /* of the store's tasks */

struct report;

struct report_counters {
	uint64_t closed;	  /* windows that became tasks */
	uint64_t delivered;	  /* tasks that Stripe has */
	uint64_t delivered_units; /* in them */
	uint64_t repeated;	  /* of these, that Stripe had already */
	uint64_t setbacks;	  /* tries that are repeated later */
	/* What the store has now, from before the last start too. */
	uint64_t pending, pending_units;
	uint64_t failed, failed_units; /* refused for good, or not to be decided: kept for people */
};

/* NULL when memory is short. @context is borrowed. */
struct report *report_new(const struct stripe_context *context);

/* Begin, when the registry is there: windows get their length. What one host does waits for report_hold(). */
void report_start(struct report *report);

/* This host got the lease: what is in the store goes on here. */
void report_hold(struct report *report);

/* Settings or tiers are others now: windows get their length. */
void report_configure(struct report *report);

/* Stripe's prices changed, and perhaps its meters: one that is missed is asked for at once. */
void report_catalog_changed(struct report *report);

/*
 * An account changed: if it ended, or has another meter now, what it used until now is closed early, for
 * the meter of before.
 */
void report_account_changed(struct report *report, const struct store_account *before,
			    const struct store_account *after);

/* Stripe refused meter events after it had taken them; @event is v1.billing.meter.*, as fetched. */
void report_meter_error(struct report *report, const json_t *event);

/*
 * How long windows are to be: the configured length, or a multiple of it when so many accounts have a
 * meter that calls would exceed half of what may be called. The log says so when it changes.
 */
uint32_t report_window_seconds(struct report *report);

const struct report_counters *report_counters(const struct report *report);

/* Stop; then, when the loop has turned, free. Accept NULL. */
void report_stop(struct report *report);
void report_free(struct report *report);

/* The pure parts, for tests. */

/* Longest of a report's identifiers, with the NUL. Stripe takes 100 bytes. */
#define REPORT_ID_MAX 64
void report_identifier(uint64_t account, uint64_t window_start_s, uint32_t closing,
		       char ret_id[REPORT_ID_MAX]);

/*
 * The time of the meter event: in the window's last second; a minute earlier for each closing before, so
 * that a minute of Stripe's summaries has one event; never before the window, never after @now_s.
 */
uint64_t report_timestamp(uint64_t window_start_s, uint32_t window_seconds, uint32_t closing,
			  uint64_t now_s);

/* The units of a task of REPORT_QUEUE, delivered or not. */
uint64_t report_task_units(const struct store_task *task);

/* The factor by which windows are lengthened: 1 or more. */
uint32_t report_factor(uint64_t metered_accounts, uint64_t report_every_s,
		       uint32_t calls_per_second);

#endif
