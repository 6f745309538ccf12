/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report: reports metered usage to Stripe, window by window.
 *
 * This happens in two independent stages:
 *
 * Closing. When a window has ended, its usage becomes a task in the store, with the complete body
 * of the call to Stripe. The same transaction marks the usage as closed. Usage of the same window
 * that arrives later gets another closing and another task.
 *
 * Sending. A task is sent until Stripe has accepted it.
 *
 * A task's ID is also the identifier of its meter event and the idempotency key of the call. It is
 * derived only from the account, the window and the number of the closing. So a crash at any point
 * loses no usage and bills none twice.
 */
#ifndef STRIPE_REPORT_H
#define STRIPE_REPORT_H

#include <jansson.h>

#include "stripe/context.h"

#define REPORT_QUEUE "meter" /* the queue of tasks in the store */

struct report;

struct report_counters {
	uint64_t closed;	  /* windows that became tasks */
	uint64_t delivered;	  /* tasks that Stripe accepted */
	uint64_t delivered_units; /* units in these tasks */
	uint64_t repeated;	  /* delivered tasks that Stripe turned out to have already */
	uint64_t setbacks;	  /* attempts that failed and will be retried */
	/* What is in the store now, including tasks from before the last start. */
	uint64_t pending, pending_units;
	uint64_t failed, failed_units; /* refused or in doubt; kept for the operator to decide */
};

/* @context is borrowed. NULL if out of memory. */
struct report *report_new(const struct stripe_context *context);

/*
 * Start on this host, which sets the length of windows. Call it when the registry exists. What only
 * one host does starts with report_hold().
 */
void report_start(struct report *report);

/* This host has got the lease: continue with the tasks in the store. */
void report_hold(struct report *report);

/* Settings or tiers have changed: set the length of windows again. */
void report_configure(struct report *report);

/* Stripe's prices have changed, and perhaps its meters: fetch the meters again. */
void report_catalog_changed(struct report *report);

/*
 * An account has changed. If it has ended or has another meter now, close its usage early, so that
 * the usage until now goes to its old meter.
 */
void report_account_changed(struct report *report, const struct store_account *before,
			    const struct store_account *after);

/*
 * Stripe refused meter events after accepting them; @event is the event v1.billing.meter.*, as
 * fetched.
 */
void report_meter_error(struct report *report, const json_t *event);

/*
 * The length that windows should have: the configured one, or a multiple of it if so many accounts
 * have a meter that reporting would need more than half of the allowed calls. Logs changes of the
 * multiple.
 */
uint32_t report_window_seconds(struct report *report);

const struct report_counters *report_counters(const struct report *report);

/* report_stop() stops; report_free() frees after the loop has turned. Both accept NULL. */
void report_stop(struct report *report);
void report_free(struct report *report);

/* Pure functions, public for tests. */

/* The identifier of a task and its meter event. Stripe accepts up to 100 bytes. */
#define REPORT_ID_MAX 64 /* with the NUL */
void report_identifier(uint64_t account, uint64_t window_start_s, uint32_t closing,
		       char ret_id[REPORT_ID_MAX]);

/*
 * The time of a meter event: the last second of the window, minus a minute for each earlier
 * closing, but not before the window and not after @now_s. So Stripe's summary of any minute covers
 * only one event.
 */
uint64_t report_timestamp(uint64_t window_start_s, uint32_t window_seconds, uint32_t closing,
			  uint64_t now_s);

/* The units that a task of REPORT_QUEUE reports, whatever its state. */
uint64_t report_task_units(const struct store_task *task);

/* By how much windows are lengthened, at least 1; see report_window_seconds(). */
uint32_t report_factor(uint64_t metered_accounts, uint64_t report_every_s,
		       uint32_t calls_per_second);

#endif
