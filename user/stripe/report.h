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
 * Sending. A task is sent until Stripe has accepted it. What Stripe refuses is kept and sent again
 * later, under another identifier, for as long as Stripe accepts its timestamp.
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
	uint64_t failed, failed_units; /* refused or in doubt */
	uint64_t lost, lost_units;     /* older than the 35 days that Stripe accepts */
	uint64_t retried;	       /* refused tasks that were sent again */
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

/*
 * The usage that cannot become tasks for now: [{"what", "why", "windows", "units", "oldest"}], one
 * for each meter or tier that is not usable; and the sum of units. As of the last complete pass, at
 * most a few minutes ago. The caller owns the array; NULL if out of memory.
 */
json_t *report_problems(const struct report *report);
uint64_t report_blocked_units(const struct report *report);

/*
 * What is wrong with the meters that tiers name: [text]. Empty if nothing is, or if the meters are
 * not known. The caller owns the array; NULL if out of memory.
 */
json_t *report_meter_faults(struct report *report);

/*
 * The store's feed reports that a task was added to @queue. It may be an early closing, added by
 * another host that applied the change of an account.
 */
void report_task_added(struct report *report, const char *queue);

/* Whether the account has lost its access or changed its meter, and its usage is not closed yet. */
bool report_has_unbilled(const struct report *report, uint64_t account);

/* The ID of the active meter with @event_name, valid until the meters are fetched; NULL: none. */
const char *report_meter_id(const struct report *report, const char *event_name);

/*
 * List failed tasks, at most REPORT_LIST_MAX: [{"task", "account", "customer", "meter", "units",
 * "timestamp", "state", "why"}], with `state` "refused", "in doubt" or "lost". Calls @done once;
 * the callee takes over @tasks, which is NULL after an error, which @why describes.
 */
#define REPORT_LIST_MAX 10000
typedef void (*report_listed)(void *arg, json_t *tasks, const char *why);
void report_list_failed(struct report *report, report_listed done, void *arg);

/*
 * Send refused usage again now, whenever it was to be sent again. With @task (not NULL), only that
 * task, even if Stripe may have it already; see REPORT_IN_DOUBT. Calls @done once: 0; -ENOENT: no
 * such failed task; -ERANGE: it is too old for Stripe; -EBUSY: the same is in progress; or an error
 * of the store. @count is how many tasks are sent again.
 */
typedef void (*report_retried)(void *arg, int err, uint64_t count);
void report_retry_now(struct report *report, const char *task, report_retried done, void *arg);

/* report_stop() stops; report_free() frees after the loop has turned. Both accept NULL. */
void report_stop(struct report *report);
void report_free(struct report *report);

/* Pure functions, public for tests. */

/*
 * The identifier of a task and its meter event: account, start and length of the window, and number
 * of the closing. Two windows may have the same start. Stripe accepts up to 100 bytes.
 */
#define REPORT_ID_MAX 80 /* with the NUL */
void report_identifier(const struct store_usage *window, uint32_t closing,
		       char ret_id[REPORT_ID_MAX]);

/* The same as older versions had it, without the window's length. */
void report_old_identifier(const struct store_usage *window, uint32_t closing,
			   char ret_id[REPORT_ID_MAX]);

/*
 * The time of a meter event: the last second of the window, minus a minute for each earlier
 * closing, but not before the window and not after @now_s. So Stripe's summary of any minute covers
 * only one event. If the window begins after @now_s: its first second, if Stripe accepts that; else
 * @now_s.
 */
uint64_t report_timestamp(uint64_t window_start_s, uint32_t window_seconds, uint32_t closing,
			  uint64_t now_s);

/* The units that a task of REPORT_QUEUE reports, whatever its state. */
uint64_t report_task_units(const struct store_task *task);

/* By how much windows are lengthened, at least 1; see report_window_seconds(). */
uint32_t report_factor(uint64_t metered_accounts, uint64_t report_every_s,
		       uint32_t calls_per_second);

#endif
