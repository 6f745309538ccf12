/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_close: turns usage whose window has ended into tasks.
 *
 * A pass lists open usage rows page by page, makes a task of each that has somebody to bill, and
 * writes the rows and tasks of a page in one transaction. Rows that cannot be billed yet, because
 * their meter or tier is unusable, stay open; the next page begins after them. Usage of an account
 * without a meter is closed without a task, so that if its tier gets a meter later, past usage is
 * not billed.
 *
 * Rows that stay open would make each pass longer. So while there are any, most passes begin where
 * the last one ended, and only one in a while begins with the first row.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "stripe/report_private.h"

#define MAX_ROWS     8192 /* a power of two */
#define SETTLE_S     3	  /* wait after a window's end, because usage is written once a second */
#define MAX_BODY     2048
#define AHEAD_S	     300   /* windows that begin later than this were opened by a wrong clock */
#define FULL_MS	     60000 /* between two passes that begin with the first row */
#define FULL_PORTION 20	   /* such passes may take 1/FULL_PORTION of the time */

/* Whom to bill for an account's usage. */
struct payer {
	const char *customer, *subscription, *meter; /* customer NULL: nobody */
	const char *unknown_tier;		     /* the account's, if it is not configured */
	struct store_account account;		     /* the above may point into it */
};

static void list_open(struct report *report);
static void begin_pass(struct report *report);

static bool uses_records(const struct report *report)
{
	return report->context->settings->report == STRIPE_USAGE_RECORDS;
}

static void find_payer(const struct report *report, uint64_t account, struct payer *ret)
{
	const struct early_close *early = report->closing.early;
	const struct tier *tier;
	uint32_t slot;

	ret->customer = ret->subscription = ret->meter = ret->unknown_tier = NULL;
	if (early && !early->meter[0])
		return;
	if (early) {
		ret->customer = early->customer;
		ret->subscription = early->subscription;
		ret->meter = early->meter;
		return;
	}
	if (!mirror_account(report->context->mirror, account, &ret->account, &slot) ||
	    !ret->account.customer[0])
		return;
	tier = tiers_find(report->context->tiers, ret->account.tier);
	if (!tier && ret->account.tier[0])
		ret->unknown_tier = ret->account.tier;
	if (!tier || !tier->meter)
		return;
	ret->customer = ret->account.customer;
	ret->subscription = ret->account.subscription;
	ret->meter = tier->meter;
}

/* ---- one row ---- */

/* Fill in @task and what it reports: all but its state and its body or note. */
static void begin_task(const struct report *report, const struct store_usage *row,
		       const struct payer *payer, struct store_task *task,
		       struct report_event *event)
{
	*event = (struct report_event){
		.units = row->units - row->closed_units,
		.at_s = report_timestamp(row->window_start_s, row->window_seconds, row->closings,
					 report_now_s(report)),
	};
	*task = (struct store_task){
		.queue = REPORT_QUEUE,
		.account = row->account,
		.created_ms = clock_wall_ms(),
	};
	report_identifier(row, row->closings, task->id);
	snprintf(task->object, sizeof(task->object), "%s",
		 uses_records(report) ? payer->subscription : payer->customer);
	if (!uses_records(report))
		snprintf(event->meter, sizeof(event->meter), "%s", payer->meter);
}

/* Add a task that bills the row. @meter NULL: with a usage record. 0 or -ENOMEM. */
static int bill_row(struct report *report, const struct store_usage *row, const struct payer *payer,
		    const struct report_meter *meter)
{
	const struct report_keys keys = { meter ? meter->customer_key : "",
					  meter ? meter->value_key : "" };
	struct store_task *task = &report->closing.tasks[report->closing.task_count];
	struct report_event event;
	struct buf body;
	int err;

	begin_task(report, row, payer, task, &event);
	buf_init(&body, MAX_BODY);
	err = report_event_write(task, &event, meter ? &keys : NULL, &body);
	task->body = err ? NULL : text_dup(buf_text(&body));
	buf_done(&body);
	if (!task->body)
		return -ENOMEM;
	report->closing.task_count++;
	return 0;
}

/* Close the row with a task that says that its usage is lost. */
static void lose_row(struct report *report, const struct store_usage *row,
		     const struct payer *payer, const char *why)
{
	struct closing *closing = &report->closing;
	struct store_task *task = &closing->tasks[closing->task_count++];
	struct report_event event;

	begin_task(report, row, payer, task, &event);
	task->state = STORE_TASK_FAILED;
	task->due_ms = REPORT_NEVER_MS;
	report_fate_note(&event, REPORT_LOST, why, task->note);
	closing->rows[closing->row_count++] = *row;
}

/* The row cannot be billed because of @why: leave it open, or give it up if it is too old. */
static void block_row(struct report *report, const struct store_usage *row,
		      const struct payer *payer, const char *what, const char *why)
{
	struct closing *closing = &report->closing;
	struct report_problem problem = { .windows = 1,
					  .units = row->units - row->closed_units,
					  .oldest_s = row->window_start_s };

	if (row->window_start_s + row->window_seconds + REPORT_OLDEST_S < report_now_s(report)) {
		lose_row(report, row, payer, why);
		return;
	}
	snprintf(problem.what, sizeof(problem.what), "%s", what);
	snprintf(problem.why, sizeof(problem.why), "%s", why);
	closing->early_blocked++;
	report_problem_add(&closing->problems, &problem);
}

/*
 * Add the row to the transaction, with a task if there is somebody to bill. Leaves it out if it
 * cannot be billed yet. 0 or -ENOMEM.
 */
static int take_row(struct report *report, const struct store_usage *row)
{
	struct closing *closing = &report->closing;
	const struct report_meter *meter = NULL;
	char why[REPORT_WHY_MAX];
	struct payer payer;
	int err = 0;

	/* Only the early closing that waits still knows the meter of this usage. */
	if (closing->early ? !report_early_covers(report, closing->early, row)
			   : report_is_early(report, row))
		return 0;
	find_payer(report, row->account, &payer);
	if (payer.unknown_tier) {
		payer.customer = payer.account.customer;
		payer.subscription = payer.account.subscription;
		payer.meter = "?";
		snprintf(why, sizeof(why), "the tier '%.63s' is not in the configuration",
			 payer.unknown_tier);
		block_row(report, row, &payer, payer.unknown_tier, why);
		return 0;
	}
	if (payer.customer && !uses_records(report)) {
		meter = report_find_meter(report, payer.meter, why);
		if (!meter) {
			block_row(report, row, &payer, payer.meter, why);
			return 0;
		}
	}
	if (payer.customer)
		err = bill_row(report, row, &payer, meter);
	if (!err)
		closing->rows[closing->row_count++] = *row;
	return err;
}

/* ---- pages ---- */

static void forget_rows(struct closing *closing)
{
	for (size_t i = 0; i < closing->task_count; i++)
		free(closing->tasks[i].body);
	free(closing->tasks);
	free(closing->rows);
	closing->tasks = NULL;
	closing->rows = NULL;
	closing->row_count = closing->task_count = 0;
}

static void keep_results(struct report *report)
{
	struct closing *closing = &report->closing;
	uint64_t now_ns = clock_mono_ns(), rest_ns = FULL_MS * NS_PER_MS;
	const struct early_close *early;

	if (closing->has_last) {
		report->resume = closing->last;
		report->has_resume = true;
	}
	if (!closing->is_full)
		return;
	LIST_FOREACH (early, &report->early, entry) {
		if (early->blocked.units)
			report_problem_add(&closing->problems, &early->blocked);
	}
	report_problems_replace(report, &closing->problems);
	if ((now_ns - closing->began_ns) * FULL_PORTION > rest_ns)
		rest_ns = (now_ns - closing->began_ns) * FULL_PORTION;
	report->full_due_ns = now_ns + rest_ns;
	if (!report->problems.units)
		report->has_resume = false;
}

/* The pass has ended, or with @err has failed and is repeated later. */
static void end_pass(struct report *report, int err)
{
	struct closing *closing = &report->closing;
	bool has_more_passes = !err && !report->is_stopped;

	forget_rows(closing);
	closing->is_running = false;
	if (closing->early && closing->problems.count)
		closing->early->blocked = closing->problems.list[0]; /* all have the same meter */
	if (closing->early)
		report_end_early(report, closing->early, !err && !closing->early_blocked);
	else if (has_more_passes && !closing->is_future)
		keep_results(report);
	closing->early = NULL;
	if (!has_more_passes)
		return;
	closing->early = report_take_early(report);
	if (closing->early)
		begin_pass(report);
}

static void count_closed(struct report *report)
{
	const struct closing *closing = &report->closing;
	const struct store_task *lost = NULL;
	uint64_t lost_units = 0;

	report->counters.closed += closing->task_count;
	for (size_t i = 0; i < closing->task_count; i++) {
		const struct store_task *task = &closing->tasks[i];

		report_count(report, task, 1);
		if (task->state != STORE_TASK_FAILED)
			continue;
		lost = task;
		lost_units += report_task_units(task);
	}
	if (lost)
		log_error("%" PRIu64 " units are older than the 35 days that Stripe accepts, and "
			  "are lost; the last: %s: %s",
			  lost_units, lost->id, lost->note);
}

/*
 * The store refuses something in the page. So that one row cannot block the others, try half of the
 * page, and in the end leave the row out. False if the error is not about the rows.
 */
static bool narrow_page(struct report *report, int err)
{
	struct closing *closing = &report->closing;

	if (err != -EEXIST && err != -EAGAIN && err != -EINVAL)
		return false;
	if (closing->limit > 1) {
		closing->limit /= 2;
		closing->problems = closing->problems_before_page;
		closing->last = closing->before_page;
		closing->has_last = closing->has_before_page;
	} else {
		log_error("the window of %u s from %" PRIu64 " of account %016" PRIx64
			  " cannot be closed: %s",
			  closing->last.window_seconds, closing->last.window_start_s,
			  closing->last.account, store_error(report->context->store));
		closing->early_blocked++;
	}
	return true;
}

static void on_closed(void *arg, int err)
{
	struct report *report = arg;
	struct closing *closing = &report->closing;
	bool is_narrowed = err && narrow_page(report, err);
	bool goes_on = !report->is_stopped && (is_narrowed || (!err && closing->is_page_full));

	if (err && !is_narrowed)
		log_error("cannot close usage, will retry: %s (%s)",
			  store_error(report->context->store), strerror(-err));
	else if (!err)
		count_closed(report);
	if (!err && closing->limit < MAX_ROWS)
		closing->limit *= 2;
	forget_rows(closing);
	if (goes_on)
		list_open(report);
	else
		end_pass(report, is_narrowed ? 0 : err);
	if (!err)
		report_send(report);
}

static int take_rows(struct report *report, const struct store_usage *rows, size_t count)
{
	struct closing *closing = &report->closing;
	int err = 0;

	closing->problems_before_page = closing->problems;
	closing->before_page = closing->last;
	closing->has_before_page = closing->has_last;
	closing->rows = calloc(count, sizeof(*rows));
	closing->tasks = calloc(count, sizeof(*closing->tasks));
	if (!closing->rows || !closing->tasks)
		return -ENOMEM;
	for (size_t i = 0; i < count && !err; i++) {
		closing->last = rows[i];
		closing->has_last = true;
		/* A window in progress ends soon enough. */
		if (!closing->is_future || rows[i].window_start_s > report_now_s(report) + AHEAD_S)
			err = take_row(report, &rows[i]);
	}
	return err;
}

static void on_open(void *arg, int err, const struct store_usage *rows, size_t count)
{
	struct report *report = arg;
	struct closing *closing = &report->closing;

	if (err)
		log_error("cannot list open usage: %s", store_error(report->context->store));
	if (!err && report->is_stopped)
		err = -ECANCELED;
	if (err || !count) {
		end_pass(report, err);
		return;
	}
	err = take_rows(report, rows, count);
	closing->is_page_full = count == closing->limit;
	if (err)
		end_pass(report, err);
	else if (closing->row_count)
		store_usage_close(report->context->store, closing->rows, closing->row_count,
				  closing->tasks, closing->task_count, on_closed, report);
	else
		on_closed(report, 0);
}

static void list_open(struct report *report)
{
	const struct closing *closing = &report->closing;
	struct store_usage_query query = {
		.account = closing->early ? closing->early->account : 0,
		.ended_by_s = closing->is_future ? UINT64_MAX : clock_wall_ms() / 1000 - SETTLE_S,
		.after = closing->has_last ? &closing->last : NULL,
		.limit = closing->limit,
	};

	store_usage_open(report->context->store, &query, on_open, report);
}

/* ---- passes ---- */

/* Begin a pass. The caller has set `early` and `is_future`; all else begins at 0. */
static void begin_pass(struct report *report)
{
	struct closing *closing = &report->closing;
	uint64_t now_ns = clock_mono_ns();

	*closing = (struct closing){
		.is_running = true,
		.limit = MAX_ROWS,
		.early = closing->early,
		.is_future = closing->is_future && !closing->early,
		.began_ns = now_ns,
	};
	closing->is_full = !closing->early && !closing->is_future &&
			   (!report->has_resume || now_ns >= report->full_due_ns);
	if (closing->is_future) {
		closing->last.window_start_s = clock_wall_ms() / 1000;
		closing->has_last = true;
	} else if (!closing->early && !closing->is_full) {
		closing->last = report->resume;
		closing->has_last = true;
	}
	list_open(report);
}

static bool knows_meters(const struct report *report)
{
	const struct tiers *tiers = report->context->tiers;

	for (unsigned i = 0; i < tiers->count; i++) {
		if (tiers->list[i].meter)
			return report->has_meters || uses_records(report);
	}
	return true;
}

void report_close(struct report *report)
{
	struct closing *closing = &report->closing;

	if (closing->is_running || report->is_stopped || !knows_meters(report))
		return;
	closing->early = report_take_early(report);
	closing->is_future = false;
	begin_pass(report);
}

void report_close_future(struct report *report)
{
	struct closing *closing = &report->closing;

	if (closing->is_running || report->is_stopped || !knows_meters(report))
		return;
	closing->early = NULL;
	closing->is_future = true;
	begin_pass(report);
}

void report_close_all(struct report *report)
{
	report_wake_early(report);
	report->full_due_ns = 0;
}

void report_close_free(struct report *report)
{
	free(report->closing.early);
	forget_rows(&report->closing);
}
