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
#include "stripe/report_private.h"

#define PAGE 1000

uint64_t report_task_units(const struct store_task *task)
{
	const char *at;

	if (!task->body)
		return strtoull(task->note, NULL, 10);
	at = strstr(task->body, "quantity=");
	at = at ? strchr(at, '=') : strrchr(task->body, '=');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* ---- counting ---- */

static void list_page(struct report *report, enum store_task_state state, uint64_t after_seq);

static void add_pending(struct report *report, const struct store_task *task)
{
	report->counters.pending++;
	report->counters.pending_units += report_task_units(task);
}

static void on_pending(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct report *report = arg;

	for (size_t i = 0; i < count; i++)
		add_pending(report, &tasks[i]);
	if (err)
		log_error("cannot count pending usage: %s", store_error(report->context->store));
	if (report->is_stopped)
		return;
	if (count == PAGE)
		list_page(report, STORE_TASK_PENDING, tasks[count - 1].seq);
	else
		list_page(report, STORE_TASK_FAILED, 0);
}

static void add_failed(struct report *report, const struct store_task *task)
{
	report->counters.failed++;
	report->counters.failed_units += report_task_units(task);
}

static void on_failed(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct report *report = arg;

	for (size_t i = 0; i < count; i++)
		add_failed(report, &tasks[i]);
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
	list_page(report, STORE_TASK_PENDING, 0);
}

/* ---- usage refused after it was accepted ---- */

struct late_error {
	struct report *report;	  /* borrowed */
	char why[STORE_NOTE_MAX]; /* Stripe's code and message */
};

static void on_noted(void *arg, int err)
{
	struct report *report = arg;

	if (err)
		log_error("cannot store that Stripe refused usage: %s",
			  store_error(report->context->store));
}

static void on_found(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct late_error *error = arg;
	struct report *report = error->report;
	struct store_task task;

	/* The event is a repetition, or it is about usage that tollgate did not report. */
	if (err || !count || tasks[0].state == STORE_TASK_FAILED || report->is_stopped) {
		free(error);
		return;
	}
	task = tasks[0];
	log_error("Stripe accepted usage %s but refused it later: %s", task.id, error->why);
	if (task.state == STORE_TASK_PENDING) {
		report->counters.pending--;
		report->counters.pending_units -= report_task_units(&task);
	}
	add_failed(report, &task);
	task.state = STORE_TASK_FAILED;
	snprintf(task.note, sizeof(task.note), "%llu units: %.200s",
		 (unsigned long long)report_task_units(&task), error->why);
	store_tasks_set(report->context->store, &task, 1, on_noted, report);
	free(error);
}

static void take_error(struct report *report, const char *id, const char *code, const char *words)
{
	struct late_error *error = calloc(1, sizeof(*error));

	if (!error)
		return;
	error->report = report;
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
