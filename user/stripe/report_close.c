/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_close: turns usage whose window has ended into tasks.
 *
 * It lists open usage rows, makes a task of each that has somebody to bill, and writes both in one
 * transaction. Usage of an account without a meter is closed without a task, so that if its tier
 * gets a meter later, past usage is not billed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/form.h"
#include "stripe/report_private.h"

#define MAX_ROWS  10000
#define SETTLE_S  3 /* wait after a window's end, because usage is written once a second */
#define SETTLE_MS (SETTLE_S * 1000)
#define MAX_BODY  2048

static void list_open(struct report *report);

/* Whom to bill for an account's usage. */
struct payer {
	const char *customer, *subscription, *meter; /* customer NULL: nobody */
	struct store_account account;		     /* the above may point into it */
};

static void find_payer(const struct report *report, uint64_t account, struct payer *ret)
{
	const struct early_close *early = report->current;
	const struct tier *tier;
	uint32_t slot;

	ret->customer = ret->subscription = ret->meter = NULL;
	if (early) {
		ret->customer = early->customer;
		ret->subscription = early->subscription;
		ret->meter = early->meter;
		return;
	}
	if (!mirror_account(report->context->mirror, account, &ret->account, &slot))
		return;
	tier = tiers_find(report->context->tiers, ret->account.tier);
	if (!tier || !tier->meter || !ret->account.customer[0])
		return;
	ret->customer = ret->account.customer;
	ret->subscription = ret->account.subscription;
	ret->meter = tier->meter;
}

static int write_meter_event(const struct report_meter *meter, const struct payer *payer,
			     const char *id, uint64_t units, uint64_t at_s, struct buf *body)
{
	char name[128];
	int err = form_add(body, "event_name", payer->meter);

	if (!err)
		err = form_add(body, "identifier", id);
	if (!err)
		err = form_add_u64(body, "timestamp", at_s);
	snprintf(name, sizeof(name), "payload[%s]", meter->customer_key);
	if (!err)
		err = form_add(body, name, payer->customer);
	snprintf(name, sizeof(name), "payload[%s]", meter->value_key);
	return err ? err : form_add_u64(body, name, units);
}

static int write_usage_record(uint64_t units, uint64_t at_s, struct buf *body)
{
	int err = form_add(body, "action", "increment");

	if (!err)
		err = form_add_u64(body, "quantity", units);
	return err ? err : form_add_u64(body, "timestamp", at_s);
}

/* 0; -ENOMEM; -EAGAIN if the meter is not known yet, and then the row must stay open. */
static int make_task(struct report *report, const struct store_usage *row,
		     const struct payer *payer, struct store_task *task)
{
	bool is_record = report->context->settings->report == STRIPE_USAGE_RECORDS;
	const struct report_meter *meter =
		is_record ? NULL : report_find_meter(report, payer->meter);
	uint64_t units = row->units - row->closed_units;
	uint64_t at_s = report_timestamp(row->window_start_s, row->window_seconds, row->closings,
					 report_now_s(report));
	struct buf body;
	int err;

	if (!meter && !is_record)
		return -EAGAIN;
	*task = (struct store_task){
		.queue = REPORT_QUEUE,
		.account = row->account,
		.created_ms = clock_wall_ms(),
	};
	report_identifier(row->account, row->window_start_s, row->closings, task->id);
	snprintf(task->object, sizeof(task->object), "%s",
		 is_record ? payer->subscription : payer->customer);
	buf_init(&body, MAX_BODY);
	err = is_record ? write_usage_record(units, at_s, &body)
			: write_meter_event(meter, payer, task->id, units, at_s, &body);
	task->body = err ? NULL : text_dup(buf_text(&body));
	buf_done(&body);
	return task->body ? 0 : -ENOMEM;
}

static void forget_rows(struct report *report)
{
	for (size_t i = 0; i < report->task_count; i++)
		free(report->tasks[i].body);
	free(report->tasks);
	free(report->rows);
	report->tasks = NULL;
	report->rows = NULL;
	report->row_count = report->task_count = 0;
	report->task_units = 0;
}

/* Remove and return the first early closing that is due; NULL if there is none. */
static struct early_close *take_early(struct report *report)
{
	uint64_t now_ms = clock_wall_ms();
	struct early_close *early;

	LIST_FOREACH (early, &report->early, entry) {
		if (early->due_ms <= now_ms)
			break;
	}
	if (early)
		LIST_REMOVE(early, entry);
	return early;
}

static void on_early_settled(void *arg, int err)
{
	struct report *report = arg;

	if (err)
		log_error("cannot mark an early closing as done, so the next start repeats it: %s",
			  store_error(report->context->store));
}

/* Finish the early closing in progress; with @err, put it back to be retried. */
static void end_early(struct report *report, int err)
{
	struct early_close *early = report->current;
	struct store_task task = { .queue = EARLY_QUEUE, .state = STORE_TASK_DONE, .attempts = 1 };

	report->current = NULL;
	if (err) {
		early->due_ms = clock_wall_ms() + SETTLE_MS;
		LIST_INSERT_HEAD(&report->early, early, entry);
		return;
	}
	snprintf(task.id, sizeof(task.id), "%s", early->id);
	store_tasks_set(report->context->store, &task, 1, on_early_settled, report);
	free(early);
}

static void end_listing(struct report *report, int err)
{
	forget_rows(report);
	if (report->current)
		end_early(report, err);
	report->is_closing = false;
	if (err || report->is_stopped)
		return;
	report->current = take_early(report);
	report->is_closing = report->current != NULL;
	if (report->current)
		list_open(report);
}

static void count_closed(struct report *report)
{
	report->counters.closed += report->task_count;
	report->counters.pending += report->task_count;
	report->counters.pending_units += report->task_units;
}

static void on_closed(void *arg, int err)
{
	struct report *report = arg;
	bool goes_on = !err && report->is_page_full && !report->is_stopped;

	if (err)
		log_error("cannot close usage, will retry: %s (%s)",
			  store_error(report->context->store), strerror(-err));
	else
		count_closed(report);
	if (goes_on) {
		forget_rows(report);
		list_open(report);
		return;
	}
	end_listing(report, err);
	if (!err)
		report_send(report);
}

/*
 * Add the row to the transaction, with a task if there is somebody to bill. Leaves it out if its
 * meter is not known yet. False if out of memory.
 */
static bool take_row(struct report *report, const struct store_usage *row)
{
	struct store_task *task = &report->tasks[report->task_count];
	struct payer payer;
	int err = 0;

	find_payer(report, row->account, &payer);
	if (payer.customer) {
		err = make_task(report, row, &payer, task);
		report->task_count += !err;
		report->task_units += err ? 0 : row->units - row->closed_units;
	}
	if (!err)
		report->rows[report->row_count++] = *row;
	return err != -ENOMEM;
}

static void on_open(void *arg, int err, const struct store_usage *rows, size_t count)
{
	struct report *report = arg;

	if (err || !count || report->is_stopped) {
		if (err)
			log_error("cannot list open usage: %s",
				  store_error(report->context->store));
		end_listing(report, report->is_stopped ? -ECANCELED : err);
		return;
	}
	report->rows = calloc(count, sizeof(*report->rows));
	report->tasks = calloc(count, sizeof(*report->tasks));
	for (size_t i = 0; i < count && report->rows && report->tasks; i++) {
		if (!take_row(report, &rows[i]))
			break;
	}
	report->is_page_full = count == MAX_ROWS;
	if (!report->row_count) {
		/* No meter is known yet. Rows stay open, so an early closing is retried. */
		end_listing(report, -EAGAIN);
		return;
	}
	store_usage_close(report->context->store, report->rows, report->row_count, report->tasks,
			  report->task_count, on_closed, report);
}

static void list_open(struct report *report)
{
	const struct store_usage_query query = {
		.account = report->current ? report->current->account : 0,
		.ended_by_s = clock_wall_ms() / 1000 - SETTLE_S,
		.limit = MAX_ROWS,
	};

	store_usage_open(report->context->store, &query, on_open, report);
}

void report_close(struct report *report)
{
	if (report->is_closing || report->is_stopped)
		return;
	report->current = take_early(report);
	report->is_closing = true;
	list_open(report);
}

/* ---- early closings ---- */

/* The task's body is the meter, a newline, and the subscription. NULL if it is not valid. */
static struct early_close *early_new(const struct store_task *task)
{
	struct early_close *early = calloc(1, sizeof(*early));
	const char *newline = task->body ? strchr(task->body, '\n') : NULL;

	if (!early || !newline) {
		free(early);
		return NULL;
	}
	early->account = task->account;
	early->due_ms = task->due_ms;
	snprintf(early->id, sizeof(early->id), "%s", task->id);
	snprintf(early->customer, sizeof(early->customer), "%.*s", STORE_NAME_MAX - 1,
		 task->object);
	snprintf(early->subscription, sizeof(early->subscription), "%s", newline + 1);
	snprintf(early->meter, sizeof(early->meter), "%.*s", (int)(newline - task->body),
		 task->body);
	return early;
}

/* If out of memory, the usage is closed when its window ends. */
static void push_early(struct report *report, const struct store_task *task)
{
	struct early_close *early = early_new(task);

	if (early)
		LIST_INSERT_HEAD(&report->early, early, entry);
}

static void on_early_kept(void *arg, int err, const bool *is_fresh, size_t count)
{
	struct report *report = arg;

	(void)is_fresh;
	(void)count;
	if (err)
		log_error("cannot store an early closing, which is lost if the agent crashes now: "
			  "%s",
			  store_error(report->context->store));
}

static void add_early(struct report *report, const struct store_account *before, uint64_t account,
		      const char *meter)
{
	uint64_t now_ms = clock_wall_ms();
	char body[256];
	struct store_task task = { .queue = EARLY_QUEUE,
				   .account = account,
				   .created_ms = now_ms,
				   .due_ms = now_ms + SETTLE_MS,
				   .body = body };

	snprintf(task.id, sizeof(task.id), "%016" PRIx64 "_%" PRIu64, account, now_ms);
	snprintf(task.object, sizeof(task.object), "%s", before->customer);
	snprintf(body, sizeof(body), "%.127s\n%s", meter, before->subscription);
	push_early(report, &task);
	store_tasks_add(report->context->store, &task, 1, on_early_kept, report);
}

static void on_early_found(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct report *report = arg;

	if (err)
		log_error("cannot list earlier early closings: %s",
			  store_error(report->context->store));
	for (size_t i = 0; !err && i < count && !report->is_stopped; i++)
		push_early(report, &tasks[i]);
	if (!report->is_stopped)
		report_tally(report);
}

void report_load_early(struct report *report)
{
	store_tasks_list(report->context->store, EARLY_QUEUE, STORE_TASK_PENDING, UINT64_MAX, 0,
			 SIZE_MAX, on_early_found, report);
}

void report_account_changed(struct report *report, const struct store_account *before,
			    const struct store_account *after)
{
	const struct tier *old, *new;
	bool has_ended, has_other_meter;

	if (!before || !before->customer[0])
		return;
	old = tiers_find(report->context->tiers, before->tier);
	new = tiers_find(report->context->tiers, after->tier);
	if (!old || !old->meter)
		return;
	has_ended = after->status == STORE_CANCELED && before->status != STORE_CANCELED;
	has_other_meter = !new || !new->meter || strcmp(old->meter, new->meter);
	if (!has_ended && !has_other_meter)
		return;
	add_early(report, before, after->id, old->meter);
}
