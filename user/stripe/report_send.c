/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_send: sends tasks to Stripe until it has accepted them.
 *
 * A round lists the due tasks, marks them as tried in the store, sends them, writes all results in
 * one transaction, and starts the next round. Because tasks are marked before they are sent, a
 * crash leaves a task that is known to be in doubt.
 *
 * For a day Stripe recognizes a repeated identifier, so a task may simply be sent again. After
 * that, Stripe's summaries decide: the minute of the task's event (see report_timestamp()) has no
 * usage, so the task is sent; or exactly the task's units, so it was delivered; or something else,
 * and then the operator must decide.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "stripe/api.h"
#include "http/form.h"
#include "stripe/report_private.h"

#define DOUBT_MS      (23 * 3600 * 1000ULL) /* Stripe keeps identifiers for at least 24 h */
#define PAGE	      500
#define KNOWN_ALREADY "already exists with identifier"
#define AHEAD_MS      (300 * 1000ULL)

/* Without jitter, because only one host sends, and only a few calls at a time. */
static const struct backoff retries_ms = { .first = 1000, .most = 300 * 1000 };

void report_done_sending(struct report *report)
{
	for (unsigned i = 0; i < report->sending_count; i++)
		free(report->sending[i].task.body);
	report->sending_count = 0;
	free(report->marked);
	report->marked = NULL;
}

/* ---- the end of a round ---- */

static void on_settled(void *arg, int err)
{
	struct report *report = arg;

	if (err)
		log_error("cannot store which usage Stripe accepted, so it is sent again: %s",
			  store_error(report->context->store));
	report_done_sending(report);
	report->is_listing = false;
	if (!err)
		report_send(report);
}

/* Write the tasks of the round as they are now. Their bodies do not change. */
static void write_marks(struct report *report, store_done done)
{
	for (unsigned i = 0; i < report->sending_count; i++) {
		report->marked[i] = report->sending[i].task;
		report->marked[i].body = NULL;
	}
	store_tasks_set(report->context->store, report->marked, report->sending_count, done,
			report);
}

static void settle(struct sending *s)
{
	struct report *report = s->report;

	s->is_busy = false;
	for (unsigned i = 0; i < report->sending_count; i++) {
		if (report->sending[i].is_busy)
			return;
	}
	write_marks(report, on_settled);
}

static void deliver(struct sending *s, const char *note, bool is_repeated)
{
	struct report *report = s->report;
	struct report_event event;

	report_event_read(&s->task, &event);
	report_count(report, &s->task, -1);
	s->task.state = STORE_TASK_DONE;
	/* The store drops the body of a finished task; what it reported can be read from the note.
	 */
	report_event_note(&event, note, s->task.note);
	report->counters.delivered++;
	report->counters.repeated += is_repeated;
	report->counters.delivered_units += event.units;
	if (event.retry)
		log_info("usage %s (%s, %" PRIu64 " units) is billed after all", s->task.id,
			 s->task.object, event.units);
	settle(s);
}

/* The task has failed. Only what Stripe refused is sent again later. */
static void give_up(struct sending *s, enum report_fate fate, const char *why)
{
	struct report_event event;

	report_event_read(&s->task, &event);
	report_count(s->report, &s->task, -1);
	s->task.state = STORE_TASK_FAILED;
	s->task.due_ms =
		fate == REPORT_REFUSED ? report_retry_due_ms(event.retry) : REPORT_NEVER_MS;
	report_fate_note(&event, fate, why, s->task.note);
	report_count(s->report, &s->task, 1);
	/* A refusal that lasts is logged once. */
	if (fate != REPORT_REFUSED || !event.retry)
		log_error("usage %s (%s, %" PRIu64 " units) is not billed: %s", s->task.id,
			  s->task.object, event.units, why);
	settle(s);
}

static void try_later(struct sending *s, const char *why)
{
	s->task.due_ms = clock_wall_ms() + backoff_plain(&retries_ms, s->task.attempts);
	snprintf(s->task.note, sizeof(s->task.note), "%s", why);
	s->report->counters.setbacks++;
	settle(s);
}

/* ---- sending ---- */

static void on_sent(void *arg, const struct stripe_answer *answer)
{
	struct sending *s = arg;

	if (!answer->err)
		deliver(s, "", false);
	else if (answer->status == 400 && strstr(answer->why, KNOWN_ALREADY))
		deliver(s, "already at Stripe", true);
	else if (stripe_answer_may_pass(answer))
		try_later(s, answer->why);
	else
		give_up(s, REPORT_REFUSED, answer->why);
}

static void post(struct sending *s, const char *path)
{
	char identifier[REPORT_IDENTIFIER_MAX];
	struct report_event event;
	const struct stripe_call call = {
		.method = "POST",
		.path = path,
		.form = text_of(s->task.body),
		.idempotency_key = identifier,
	};

	report_event_read(&s->task, &event);
	report_event_identifier(s->task.id, event.retry, identifier);
	stripe_api_call(s->report->context->api, &call, on_sent, s);
}

/* Usage records are sent to the metered item of the subscription. */
static void on_subscription(void *arg, const struct stripe_answer *answer)
{
	const json_t *items = json_object_get(answer->body, "items"), *item;
	struct sending *s = arg;
	const char *id = NULL;
	char path[256];
	size_t i;

	if (answer->err) {
		if (stripe_answer_may_pass(answer))
			try_later(s, answer->why);
		else
			give_up(s, REPORT_REFUSED, answer->why);
		return;
	}
	json_array_foreach (json_object_get(items, "data"), i, item) {
		const json_t *recurring =
			json_object_get(json_object_get(item, "price"), "recurring");
		const char *type = json_string_value(json_object_get(recurring, "usage_type"));

		if (!id && type && !strcmp(type, "metered"))
			id = json_string_value(json_object_get(item, "id"));
	}
	if (!id) {
		give_up(s, REPORT_REFUSED, "the subscription has no metered item");
		return;
	}
	snprintf(path, sizeof(path), "/v1/subscription_items/%s/usage_records", id);
	post(s, path);
}

static void send_task(struct sending *s)
{
	char path[STORE_TASK_ID_MAX + 64];
	struct stripe_call call = { .method = "GET", .path = path };

	if (s->report->context->settings->report != STRIPE_USAGE_RECORDS) {
		post(s, "/v1/billing/meter_events");
		return;
	}
	snprintf(path, sizeof(path), "/v1/subscriptions/%s", s->task.object);
	stripe_api_call(s->report->context->api, &call, on_subscription, s);
}

/* ---- tasks in doubt ---- */

static void on_summaries(void *arg, const struct stripe_answer *answer)
{
	const json_t *summary, *data = json_object_get(answer->body, "data");
	struct sending *s = arg;
	double sum = 0;
	size_t i;

	if (answer->err) {
		try_later(s, answer->why);
		return;
	}
	json_array_foreach (data, i, summary)
		sum += json_number_value(json_object_get(summary, "aggregated_value"));
	if (sum == 0) {
		/* Stripe has nothing: as good as a first attempt. */
		s->task.tried_ms = report_now_s(s->report) * 1000;
		send_task(s);
	} else if (sum == (double)report_task_units(&s->task)) {
		deliver(s, "found in Stripe's summary", true);
	} else {
		give_up(s, REPORT_IN_DOUBT,
			"sent over a day ago, and Stripe's summary of that minute also has "
			"other usage: check at Stripe whether it was billed");
	}
}

static void ask_summaries(struct sending *s)
{
	const struct report_meter *meter;
	struct report_event event;
	char path[512], why[REPORT_WHY_MAX];
	struct stripe_call call = { .method = "GET", .path = path };
	uint64_t minute_s;

	if (s->report->context->settings->report == STRIPE_USAGE_RECORDS) {
		give_up(s, REPORT_IN_DOUBT,
			"sent over a day ago: check at Stripe whether it was billed");
		return;
	}
	report_event_read(&s->task, &event);
	minute_s = event.at_s / 60 * 60;
	meter = report_find_meter(s->report, event.meter, why);
	if (!meter) {
		try_later(s, why);
		return;
	}
	snprintf(path, sizeof(path),
		 "/v1/billing/meters/%s/event_summaries?customer=%s&start_time=%" PRIu64
		 "&end_time=%" PRIu64,
		 meter->id, s->task.object, minute_s, minute_s + 60);
	stripe_api_call(s->report->context->api, &call, on_summaries, s);
}

/* ---- a round ---- */

/*
 * Whether a task may have reached Stripe so long ago that Stripe may have forgotten its identifier.
 * If the clock was wrong at the first attempt, nobody knows how long ago that was.
 */
static bool is_doubtful(const struct report *report, const struct store_task *task)
{
	uint64_t now_ms = report_now_s(report) * 1000;

	return task->attempts > 1 &&
	       (now_ms > task->tried_ms + DOUBT_MS || task->tried_ms > now_ms + AHEAD_MS);
}

static void send_one(struct sending *s)
{
	struct report_event event;

	report_event_read(&s->task, &event);
	if (event.at_s + REPORT_OLDEST_S < report_now_s(s->report))
		give_up(s, REPORT_LOST, "older than the 35 days that Stripe accepts");
	else if (is_doubtful(s->report, &s->task))
		ask_summaries(s);
	else
		send_task(s);
}

static void end_round(struct report *report)
{
	report_done_sending(report);
	report->is_listing = false;
}

static void on_marked(void *arg, int err)
{
	struct report *report = arg;
	unsigned count = report->sending_count;

	if (err || report->is_stopped) {
		end_round(report);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		send_one(&report->sending[i]);
}

/*
 * Whether a task of the same customer (or subscription) is in this round. Each has one call at a
 * time.
 */
static bool has_sibling(const struct report *report, const struct store_task *task)
{
	for (unsigned i = 0; i < report->sending_count; i++) {
		if (!strcmp(report->sending[i].task.object, task->object))
			return true;
	}
	return false;
}

/* If the clock was ahead when the time was set, it is later than any backoff could be. */
static bool is_due(const struct store_task *task)
{
	uint64_t now_ms = clock_wall_ms();

	return task->due_ms <= now_ms || task->due_ms > now_ms + retries_ms.most + AHEAD_MS;
}

static void take(struct report *report, const struct store_task *task)
{
	struct sending *s = &report->sending[report->sending_count];

	*s = (struct sending){ .report = report, .task = *task, .is_busy = true };
	s->task.body = strdup(task->body ? task->body : "");
	if (!s->task.body)
		return;
	s->task.attempts++;
	if (!s->task.tried_ms)
		s->task.tried_ms = report_now_s(report) * 1000;
	report->sending_count++;
}

static void list_page(struct report *report);

/*
 * Fill the round from the page. It continues behind the tasks that it has looked at, so that a
 * customer with many tasks keeps nobody waiting, and once with the first task.
 */
static void on_page(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct report *report = arg;
	size_t i;

	for (i = 0; !err && i < count && report->sending_count < REPORT_MAX_SENDING; i++) {
		if (is_due(&tasks[i]) && !has_sibling(report, &tasks[i]))
			take(report, &tasks[i]);
		report->listed_seq = tasks[i].seq;
	}
	if (!err && i == count && report->sending_count < REPORT_MAX_SENDING &&
	    !report->is_stopped) {
		bool has_more = count == PAGE || (report->began_seq && !report->has_wrapped);

		if (count < PAGE) {
			report->listed_seq = 0;
			report->has_wrapped = true;
		}
		if (has_more) {
			list_page(report);
			return;
		}
	}
	if (report->sending_count)
		report->marked = calloc(report->sending_count, sizeof(*report->marked));
	if (report->marked)
		write_marks(report, on_marked);
	else
		end_round(report);
}

static void list_page(struct report *report)
{
	store_tasks_list(report->context->store, REPORT_QUEUE, STORE_TASK_PENDING, UINT64_MAX,
			 report->listed_seq, PAGE, on_page, report);
}

void report_send(struct report *report)
{
	if (report->is_listing || report->is_stopped || !report->is_started)
		return;
	report->is_listing = true;
	report->has_wrapped = false;
	report->began_seq = report->listed_seq;
	list_page(report);
}
