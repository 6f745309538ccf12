/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_retry: sends again what Stripe refused.
 *
 * Why Stripe refused it may be gone: a meter was created or activated, or its fields were
 * corrected. So refused tasks become pending again after a while that doubles each time, at once
 * when a meter has changed, and when the operator says so. Few at a time, so that they keep no
 * other usage waiting.
 *
 * The new attempt has another identifier, because Stripe may know the old one although it did not
 * count its event. Tasks that Stripe may have counted are sent again only by the operator's word.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "stripe/report_private.h"

#define AT_ONCE	 100
#define MAX_BODY 2048

static const struct backoff waits_ms = { .first = 300 * 1000, .most = 6 * 3600 * 1000 };

uint64_t report_retry_due_ms(uint32_t retry)
{
	return clock_wall_ms() + backoff_plain(&waits_ms, retry + 1);
}

void report_retry_free(struct report *report)
{
	for (size_t i = 0; i < report->retried_count; i++)
		free(report->retried[i].body);
	free(report->retried);
	report->retried = NULL;
	report->retried_count = 0;
}

/* Write the body for the next attempt. 0; -EAGAIN if its meter is not usable; -ENOMEM. */
static int write_body(struct report *report, const struct store_task *task,
		      struct report_event *event, char **ret_body)
{
	const struct report_meter *meter = NULL;
	struct report_keys keys = { 0 };
	char why[REPORT_WHY_MAX];
	struct buf body;
	int err;

	if (report->context->settings->report != STRIPE_USAGE_RECORDS) {
		meter = report_find_meter(report, event->meter, why);
		if (!meter)
			return -EAGAIN;
		keys = (struct report_keys){ meter->customer_key, meter->value_key };
	}
	buf_init(&body, MAX_BODY);
	err = report_event_write(task, event, meter ? &keys : NULL, &body);
	*ret_body = err ? NULL : text_dup(buf_text(&body));
	buf_done(&body);
	return *ret_body ? 0 : -ENOMEM;
}

/*
 * The window's start in the ID of a task, see report_identifier(): a time in the right period, for
 * tasks whose note an older version wrote.
 */
static uint64_t window_start_of(const char *id)
{
	const char *start = strchr(id, '_');

	start = start ? strchr(start + 1, '_') : NULL;
	return start ? strtoull(start + 1, NULL, 10) : 0;
}

/* Turn the failed @task into a pending one. Its body is then owned. */
static int revive(struct report *report, struct store_task *task)
{
	struct report_event event;
	int err;

	report_event_read(task, &event);
	if (!event.at_s)
		event.at_s = window_start_of(task->id);
	if (event.at_s + REPORT_OLDEST_S < report_now_s(report)) {
		report_fate_note(&event, REPORT_LOST, "older than the 35 days that Stripe accepts",
				 task->note);
		task->due_ms = REPORT_NEVER_MS;
		task->body = NULL;
		return 0;
	}
	event.retry++;
	err = write_body(report, task, &event, &task->body);
	if (err)
		return err;
	report_event_note(&event, "", task->note);
	task->state = STORE_TASK_PENDING;
	task->due_ms = task->tried_ms = 0;
	task->attempts = 0;
	return 0;
}

static void on_written(void *arg, int err)
{
	struct report *report = arg;

	report->is_retrying = false;
	if (err)
		log_error("cannot send refused usage again: %s",
			  store_error(report->context->store));
	report_retry_free(report);
	if (!err)
		report_send(report);
}

/* Add @task, as it is to be written, to those being written. Takes over its body. */
static void note_change(struct report *report, const struct store_task *before,
			const struct store_task *task)
{
	report_count(report, before, -1);
	report_count(report, task, 1);
	report->counters.retried += task->state == STORE_TASK_PENDING;
	report->retried[report->retried_count++] = *task;
}

static void revive_page(struct report *report, const struct store_task *tasks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct store_task task = tasks[i];
		int err = 0;

		task.body = NULL;
		if (report_fate_of(&task) != REPORT_REFUSED) {
			/* Older versions did not set this time. */
			task.due_ms = REPORT_NEVER_MS;
		} else {
			task.body = tasks[i].body;
			err = revive(report, &task);
		}
		if (err == -ENOMEM)
			return;
		if (err) {
			task.body = NULL;
			task.due_ms = clock_wall_ms() + waits_ms.first;
		}
		note_change(report, &tasks[i], &task);
	}
}

static void on_failed(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct report *report = arg;
	bool has_more = !err && count == AT_ONCE;

	report->retried_seq = has_more ? tasks[count - 1].seq : 0;
	report->retries_all = has_more && report->retries_all;
	if (!err && count && !report->is_stopped)
		report->retried = calloc(count, sizeof(*report->retried));
	if (report->retried)
		revive_page(report, tasks, count);
	if (report->retried_count)
		store_tasks_set(report->context->store, report->retried, report->retried_count,
				on_written, report);
	else
		on_written(report, 0);
}

void report_retry(struct report *report)
{
	if (report->is_retrying || report->is_stopped)
		return;
	report->is_retrying = true;
	if (report->retries_soon) {
		report->retries_soon = false;
		report->retries_all = true;
		report->retried_seq = 0;
	}
	store_tasks_list(report->context->store, REPORT_QUEUE, STORE_TASK_FAILED,
			 report->retries_all ? REPORT_NEVER_MS - 1 : clock_wall_ms(),
			 report->retried_seq, AT_ONCE, on_failed, report);
}

void report_retry_soon(struct report *report)
{
	report->retries_soon = true;
}

/* ---- the operator's word ---- */

struct order {
	struct report *report; /* borrowed */
	report_retried done;
	void *arg;
};

static void end_order(struct order *order, int err, uint64_t count)
{
	order->done(order->arg, err, count);
	free(order);
}

static void on_order_written(void *arg, int err)
{
	struct order *order = arg;

	on_written(order->report, err);
	end_order(order, err, 1);
}

static void on_ordered(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct order *order = arg;
	struct report *report = order->report;
	struct store_task task;

	if (!err && (!count || tasks[0].state != STORE_TASK_FAILED))
		err = -ENOENT;
	if (!err) {
		task = tasks[0];
		err = revive(report, &task);
	}
	if (!err && task.state == STORE_TASK_FAILED)
		err = -ERANGE;
	report->retried = err ? NULL : calloc(1, sizeof(*report->retried));
	if (!err && !report->retried) {
		free(task.body);
		err = -ENOMEM;
	}
	if (err || report->is_stopped) {
		report->is_retrying = false;
		end_order(order, err ? err : -ECANCELED, 0);
		return;
	}
	note_change(report, &tasks[0], &task);
	store_tasks_set(report->context->store, report->retried, 1, on_order_written, order);
}

void report_retry_now(struct report *report, const char *task, report_retried done, void *arg)
{
	struct order *order;

	if (!task) {
		report_retry_soon(report);
		done(arg, 0, report->counters.failed);
		return;
	}
	if (report->is_retrying) {
		done(arg, -EBUSY, 0);
		return;
	}
	order = calloc(1, sizeof(*order));
	if (!order) {
		done(arg, -ENOMEM, 0);
		return;
	}
	*order = (struct order){ .report = report, .done = done, .arg = arg };
	report->is_retrying = true;
	store_task_find(report->context->store, REPORT_QUEUE, task, on_ordered, order);
}
