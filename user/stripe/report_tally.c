/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_tally: counts the usage that is pending and the usage that failed, and handles usage that
 * Stripe refuses after accepting it, which it reports in an event.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "stripe/report_private.h"

#define PAGE 1000

uint64_t report_task_units(const struct store_task *task)
{
	struct report_event event;

	report_event_read(task, &event);
	return event.units;
}

void report_count(struct report *report, const struct store_task *task, int sign)
{
	struct report_counters *counters = &report->counters;
	uint64_t one = (uint64_t)(int64_t)sign, units = report_task_units(task) * one;

	if (task->state == STORE_TASK_PENDING) {
		counters->pending += one;
		counters->pending_units += units;
	} else if (task->state == STORE_TASK_FAILED && report_fate_of(task) == REPORT_LOST) {
		counters->lost += one;
		counters->lost_units += units;
	} else if (task->state == STORE_TASK_FAILED) {
		counters->failed += one;
		counters->failed_units += units;
	}
}

/* ---- counting ---- */

static void list_page(struct report *report, enum store_task_state state, uint64_t after_seq);

static void on_pending(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct report *report = arg;

	for (size_t i = 0; i < count; i++)
		report_count(report, &tasks[i], 1);
	if (err)
		log_error("cannot count pending usage: %s", store_error(report->context->store));
	if (report->is_stopped)
		return;
	if (count == PAGE)
		list_page(report, STORE_TASK_PENDING, tasks[count - 1].seq);
	else
		list_page(report, STORE_TASK_FAILED, 0);
}

static void on_failed(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct report *report = arg;

	for (size_t i = 0; i < count; i++)
		report_count(report, &tasks[i], 1);
	if (err)
		log_error("cannot count failed usage: %s", store_error(report->context->store));
	if (report->is_stopped)
		return;
	if (count == PAGE)
		list_page(report, STORE_TASK_FAILED, tasks[count - 1].seq);
	else
		report_start_ticking(report);
}

static void list_page(struct report *report, enum store_task_state state, uint64_t after_seq)
{
	store_tasks_list(report->context->store, REPORT_QUEUE, state, UINT64_MAX, after_seq, PAGE,
			 state == STORE_TASK_PENDING ? on_pending : on_failed, report);
}

void report_tally(struct report *report)
{
	struct report_counters *counters = &report->counters;

	counters->pending = counters->pending_units = 0;
	counters->failed = counters->failed_units = 0;
	counters->lost = counters->lost_units = 0;
	list_page(report, STORE_TASK_PENDING, 0);
}

/* ---- the list of failed usage ---- */

struct listing {
	struct report *report; /* borrowed */
	report_listed done;
	void *arg;
};

static json_t *json_failed(const struct store_task *task)
{
	struct report_event event;
	char account[ACCOUNT_ID_SIZE];

	report_event_read(task, &event);
	account_format_id(task->account, account);
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s}", "task", task->id, "account",
			 account, "customer", task->object, "meter", event.meter, "units",
			 (json_int_t)event.units, "timestamp", (json_int_t)event.at_s, "state",
			 report_fate_word(report_fate_of(task)), "why", report_fate_why(task));
}

static void on_failed_listed(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct listing listing = *(struct listing *)arg;
	json_t *array = err ? NULL : json_array();

	free(arg);
	for (size_t i = 0; array && i < count; i++)
		json_array_append_new(array, json_failed(&tasks[i]));
	listing.done(listing.arg, array,
		     err ? store_error(listing.report->context->store) : "out of memory");
}

void report_list_failed(struct report *report, report_listed done, void *arg)
{
	struct listing *listing = malloc(sizeof(*listing));

	if (!listing) {
		done(arg, NULL, "out of memory");
		return;
	}
	*listing = (struct listing){ report, done, arg };
	store_tasks_list(report->context->store, REPORT_QUEUE, STORE_TASK_FAILED, UINT64_MAX, 0,
			 REPORT_LIST_MAX, on_failed_listed, listing);
}

/* ---- usage refused after it was accepted ---- */

struct late_error {
	struct report *report; /* borrowed */
	uint32_t retry;
	char why[STORE_NOTE_MAX]; /* Stripe's code and message */
};

static void on_noted(void *arg, int err)
{
	struct report *report = arg;

	if (err)
		log_error("cannot store that Stripe refused usage: %s",
			  store_error(report->context->store));
}

static void refuse_late(struct report *report, const struct late_error *error,
			const struct store_task *found)
{
	struct store_task task = *found;
	struct report_event event;

	report_event_read(&task, &event);
	/* The event is a repetition: the task was refused and sent again since. */
	if (event.retry != error->retry)
		return;
	if (!event.retry)
		log_error("Stripe accepted usage %s but refused it later: %s", task.id, error->why);
	report_count(report, &task, -1);
	task.state = STORE_TASK_FAILED;
	task.due_ms = report_retry_due_ms(event.retry);
	task.body = NULL;
	report_fate_note(&event, REPORT_REFUSED, error->why, task.note);
	report_count(report, &task, 1);
	store_tasks_set(report->context->store, &task, 1, on_noted, report);
}

static void on_found(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct late_error *error = arg;

	/* The event is a repetition, or it is about usage that tollgate did not report. */
	if (!err && count && tasks[0].state != STORE_TASK_FAILED && !error->report->is_stopped)
		refuse_late(error->report, error, &tasks[0]);
	free(error);
}

static void take_error(struct report *report, const char *identifier, const char *code,
		       const char *words)
{
	struct late_error *error = calloc(1, sizeof(*error));
	char id[STORE_TASK_ID_MAX];

	if (!error)
		return;
	error->report = report;
	report_event_task(identifier, id, &error->retry);
	snprintf(error->why, sizeof(error->why), "%s: %s", code ? code : "", words ? words : "");
	store_task_find(report->context->store, REPORT_QUEUE, id, on_found, error);
}

static const char *text_at(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

void report_meter_error(struct report *report, const json_t *event)
{
	const json_t *reason = json_object_get(json_object_get(event, "data"), "reason");
	const json_t *type, *sample;
	size_t i, j;

	json_array_foreach (json_object_get(reason, "error_types"), i, type) {
		json_array_foreach (json_object_get(type, "sample_errors"), j, sample) {
			const char *id = text_at(json_object_get(sample, "request"), "identifier");

			if (id)
				take_error(report, id, text_at(type, "code"),
					   text_at(sample, "error_message"));
		}
	}
}
