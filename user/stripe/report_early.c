/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_early: closes the usage of an account before its window ends, because the account has
 * ended or has another meter now.
 *
 * An early closing is stored as a task, whose body is the meter, a newline and the subscription, so
 * that the usage goes to its old meter even if the agent crashes. If the old tier had no meter, the
 * usage is closed without being billed, because the old price included it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "stripe/report_private.h"

#define SETTLE_MS 3000	/* usage is written once a second */
#define AGAIN_MS  60000 /* while the usage cannot be closed */

static uint64_t after_ms(uint64_t ms)
{
	return clock_mono_ns() + ms * NS_PER_MS;
}

static struct early_close *early_new(const struct store_task *task)
{
	struct early_close *early = calloc(1, sizeof(*early));
	const char *newline = task->body ? strchr(task->body, '\n') : NULL;

	if (!early || !newline) {
		free(early);
		return NULL;
	}
	early->account = task->account;
	early->changed_s = task->created_ms / 1000;
	early->due_ns = after_ms(SETTLE_MS);
	snprintf(early->id, sizeof(early->id), "%s", task->id);
	snprintf(early->customer, sizeof(early->customer), "%.*s", STORE_NAME_MAX - 1,
		 task->object);
	snprintf(early->subscription, sizeof(early->subscription), "%s", newline + 1);
	snprintf(early->meter, sizeof(early->meter), "%.*s", (int)(newline - task->body),
		 task->body);
	return early;
}

static bool is_known(const struct report *report, const char *id)
{
	const struct early_close *early;

	if (report->closing.early && !strcmp(report->closing.early->id, id))
		return true;
	LIST_FOREACH (early, &report->early, entry) {
		if (!strcmp(early->id, id))
			return true;
	}
	return false;
}

/* If out of memory, the usage is closed when its window ends. */
static void push(struct report *report, const struct store_task *task)
{
	struct early_close *early = is_known(report, task->id) ? NULL : early_new(task);

	if (early)
		LIST_INSERT_HEAD(&report->early, early, entry);
}

/* Whether the account has an earlier closing, which must go first to take the older windows. */
static bool has_earlier(const struct report *report, const struct early_close *early)
{
	const struct early_close *other;

	LIST_FOREACH (other, &report->early, entry) {
		if (other->account == early->account && other->changed_s < early->changed_s)
			return true;
	}
	return false;
}

struct early_close *report_take_early(struct report *report)
{
	uint64_t now_ns = clock_mono_ns();
	struct early_close *early;

	LIST_FOREACH (early, &report->early, entry) {
		if (early->due_ns <= now_ns && !has_earlier(report, early))
			break;
	}
	if (early)
		LIST_REMOVE(early, entry);
	return early;
}

static void on_done(void *arg, int err)
{
	struct report *report = arg;

	if (err)
		log_error("cannot mark an early closing as done, so the next start repeats it: %s",
			  store_error(report->context->store));
}

void report_end_early(struct report *report, struct early_close *early, bool is_done)
{
	struct store_task task = { .queue = EARLY_QUEUE, .state = STORE_TASK_DONE, .attempts = 1 };

	if (!is_done) {
		if (early->blocked.units)
			report->full_due_ns = 0; /* to report it */
		early->was_tried = true;
		early->due_ns = after_ms(AGAIN_MS);
		LIST_INSERT_HEAD(&report->early, early, entry);
		return;
	}
	snprintf(task.id, sizeof(task.id), "%s", early->id);
	store_tasks_set(report->context->store, &task, 1, on_done, report);
	if (report->context->on_billed)
		report->context->on_billed(report->context->on_changed_arg, early->account);
	free(early);
}

static void on_kept(void *arg, int err, const bool *is_fresh, size_t count)
{
	struct report *report = arg;

	(void)is_fresh;
	(void)count;
	if (err)
		log_error("cannot store an early closing, which is lost if the agent crashes now: "
			  "%s",
			  store_error(report->context->store));
}

static void add(struct report *report, const struct store_account *before, uint64_t account,
		const char *meter)
{
	uint64_t now_ms = clock_wall_ms();
	char body[256];
	struct store_task task = {
		.queue = EARLY_QUEUE, .account = account, .created_ms = now_ms, .body = body
	};

	snprintf(task.id, sizeof(task.id), "%016" PRIx64 "_%" PRIu64, account, now_ms);
	snprintf(task.object, sizeof(task.object), "%s", before->customer);
	snprintf(body, sizeof(body), "%.127s\n%s", meter, before->subscription);
	push(report, &task);
	store_tasks_add(report->context->store, &task, 1, on_kept, report);
}

/* The meter to which the account's usage is billed; "" if it is not billed. */
static const char *meter_of(const struct report *report, const struct store_account *account)
{
	const struct tier *tier = tiers_find(report->context->tiers, account->tier);

	return tier && tier->meter && account->customer[0] ? tier->meter : "";
}

void report_account_changed(struct report *report, const struct store_account *before,
			    const struct store_account *after)
{
	const char *old, *new;
	bool has_ended;

	/* Usage of a tier that is not configured, perhaps because it was renamed, stays open. */
	if (!before || (before->tier[0] && !tiers_find(report->context->tiers, before->tier)))
		return;
	old = meter_of(report, before);
	new = meter_of(report, after);
	has_ended = account_status_gives_access(before->status) &&
		    !account_status_gives_access(after->status);
	if (*old ? has_ended || strcmp(old, new) != 0 : *new != '\0')
		add(report, before, after->id, old);
}

static void take(struct report *report, int err, const struct store_task *tasks, size_t count)
{
	if (err)
		log_error("cannot list early closings: %s", store_error(report->context->store));
	for (size_t i = 0; !err && i < count && !report->is_stopped; i++)
		push(report, &tasks[i]);
}

static void on_found(void *arg, int err, const struct store_task *tasks, size_t count)
{
	take(arg, err, tasks, count);
}

static void on_loaded(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct report *report = arg;

	take(report, err, tasks, count);
	if (!report->is_stopped)
		report_tally(report);
}

static void list(struct report *report, store_tasks_done done)
{
	store_tasks_list(report->context->store, EARLY_QUEUE, STORE_TASK_PENDING, UINT64_MAX, 0,
			 SIZE_MAX, done, report);
}

void report_load_early(struct report *report)
{
	list(report, on_loaded);
}

void report_task_added(struct report *report, const char *queue)
{
	if (!strcmp(queue, EARLY_QUEUE) && stripe_is_holder(report->context) && !report->is_stopped)
		list(report, on_found);
}

void report_wake_early(struct report *report)
{
	struct early_close *early;

	LIST_FOREACH (early, &report->early, entry) {
		if (early->was_tried)
			early->due_ns = 0;
	}
}

void report_forget_early(struct report *report)
{
	struct early_close *early;

	while ((early = LIST_FIRST(&report->early))) {
		LIST_REMOVE(early, entry);
		free(early);
	}
}

bool report_early_covers(const struct report *report, const struct early_close *early,
			 const struct store_usage *row)
{
	return early->account == row->account && (row->window_start_s <= early->changed_s ||
						  row->window_start_s > report_now_s(report));
}

bool report_is_early(const struct report *report, const struct store_usage *row)
{
	const struct early_close *early;

	LIST_FOREACH (early, &report->early, entry) {
		if (report_early_covers(report, early, row))
			return true;
	}
	return false;
}

bool report_has_unbilled(const struct report *report, uint64_t account)
{
	const struct early_close *early;

	if (report->closing.early && report->closing.early->account == account)
		return true;
	LIST_FOREACH (early, &report->early, entry) {
		if (early->account == account)
			return true;
	}
	return false;
}
