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
#define OLDEST_S      (35 * 86400ULL)	    /* Stripe accepts nothing older */
#define KNOWN_ALREADY "already exists with identifier"

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

static void settle(struct sending *s)
{
	struct report *report = s->report;

	s->is_busy = false;
	for (unsigned i = 0; i < report->sending_count; i++) {
		if (report->sending[i].is_busy)
			return;
	}
	for (unsigned i = 0; i < report->sending_count; i++)
		report->marked[i] = report->sending[i].task;
	store_tasks_set(report->context->store, report->marked, report->sending_count, on_settled,
			report);
}

static uint64_t timestamp_of(const struct store_task *task)
{
	const char *at = strstr(task->body, "timestamp=");

	return at ? strtoull(at + strlen("timestamp="), NULL, 10) : 0;
}

/* The value after @name, such as "event_name=", in the task's body. It must not need decoding. */
static void body_value(const char *body, const char *name, char *ret, size_t size)
{
	const char *at = strstr(body, name);

	ret[0] = '\0';
	if (at)
		snprintf(ret, size, "%.*s", (int)strcspn(at + strlen(name), "&"),
			 at + strlen(name));
}

static void deliver(struct sending *s, const char *note, bool is_repeated)
{
	struct report *report = s->report;
	uint64_t units = report_task_units(&s->task);
	char meter[128];

	body_value(s->task.body, "event_name=", meter, sizeof(meter));
	s->task.state = STORE_TASK_DONE;
	/* The store drops the body of a finished task; drift.c reads the note. */
	snprintf(s->task.note, sizeof(s->task.note), "%" PRIu64 " units of %s%s", units, meter,
		 note);
	report->counters.delivered++;
	report->counters.repeated += is_repeated;
	report->counters.delivered_units += units;
	report->counters.pending--;
	report->counters.pending_units -= units;
	settle(s);
}

static void give_up(struct sending *s, const char *why)
{
	log_error("usage %s (%s, %" PRIu64 " units) is not billed: %s", s->task.id, s->task.object,
		  report_task_units(&s->task), why);
	s->task.state = STORE_TASK_FAILED;
	snprintf(s->task.note, sizeof(s->task.note), "%s", why);
	s->report->counters.pending--;
	s->report->counters.pending_units -= report_task_units(&s->task);
	s->report->counters.failed++;
	s->report->counters.failed_units += report_task_units(&s->task);
	settle(s);
}

static void try_later(struct sending *s, const char *why)
{
	s->task.due_ms = clock_wall_ms() + backoff_plain(&retries_ms, s->task.attempts);
	snprintf(s->task.note, sizeof(s->task.note), "%s", why);
	s->report->counters.setbacks++;
	settle(s);
}

static bool is_passing(const struct stripe_answer *answer)
{
	return !answer->status || answer->status == 401 || answer->status == 403 ||
	       answer->status == 409 || answer->status == 429 || answer->status >= 500;
}

/* ---- sending ---- */

static void on_sent(void *arg, const struct stripe_answer *answer)
{
	struct sending *s = arg;

	report_note_date(s->report, answer);
	if (!answer->err)
		deliver(s, "", false);
	else if (answer->status == 400 && strstr(answer->why, KNOWN_ALREADY))
		deliver(s, ", already at Stripe", true);
	else if (is_passing(answer))
		try_later(s, answer->why);
	else
		give_up(s, answer->why);
}

static void post(struct sending *s, const char *path)
{
	const struct stripe_call call = {
		.method = "POST",
		.path = path,
		.form = text_of(s->task.body),
		.idempotency_key = s->task.id,
	};

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
		if (is_passing(answer))
			try_later(s, answer->why);
		else
			give_up(s, answer->why);
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
		give_up(s, "the subscription has no metered item");
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
		s->task.tried_ms =
			clock_wall_ms(); /* Stripe has nothing: as good as a first attempt */
		send_task(s);
	} else if (sum == (double)report_task_units(&s->task)) {
		deliver(s, ", found in Stripe's summary", true);
	} else {
		give_up(s, "sent over a day ago, and Stripe's summary of that minute also has "
			   "other usage: check at Stripe whether it was billed");
	}
}

static void ask_summaries(struct sending *s)
{
	uint64_t minute_s = timestamp_of(&s->task) / 60 * 60;
	const struct report_meter *meter = NULL;
	char name[128], path[512];
	struct stripe_call call = { .method = "GET", .path = path };

	body_value(s->task.body, "event_name=", name, sizeof(name));
	if (s->report->context->settings->report != STRIPE_USAGE_RECORDS)
		meter = report_find_meter(s->report, name);
	if (!meter) {
		if (s->report->context->settings->report == STRIPE_USAGE_RECORDS)
			give_up(s, "sent over a day ago: check at Stripe whether it was billed");
		else
			try_later(s, "its meter is not known yet");
		return;
	}
	snprintf(path, sizeof(path),
		 "/v1/billing/meters/%s/event_summaries?customer=%s&start_time=%" PRIu64
		 "&end_time=%" PRIu64,
		 meter->id, s->task.object, minute_s, minute_s + 60);
	stripe_api_call(s->report->context->api, &call, on_summaries, s);
}

/* ---- a round ---- */

static void on_marked(void *arg, int err)
{
	struct report *report = arg;
	unsigned count = report->sending_count;

	if (err || report->is_stopped) {
		report_done_sending(report);
		report->is_listing = false;
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		struct sending *s = &report->sending[i];
		bool is_doubtful =
			s->task.attempts > 1 && clock_wall_ms() - s->task.tried_ms > DOUBT_MS;

		if (timestamp_of(&s->task) + OLDEST_S < report_now_s(report))
			give_up(s, "older than the 35 days that Stripe accepts");
		else if (is_doubtful)
			ask_summaries(s);
		else
			send_task(s);
	}
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

static void take(struct report *report, const struct store_task *task)
{
	struct sending *s = &report->sending[report->sending_count];

	*s = (struct sending){ .report = report, .task = *task, .is_busy = true };
	s->task.body = strdup(task->body ? task->body : "");
	if (!s->task.body)
		return;
	s->task.attempts++;
	if (!s->task.tried_ms)
		s->task.tried_ms = clock_wall_ms();
	report->sending_count++;
}

static void on_due(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct report *report = arg;

	for (size_t i = 0; !err && i < count && report->sending_count < REPORT_MAX_SENDING; i++) {
		if (!has_sibling(report, &tasks[i]))
			take(report, &tasks[i]);
	}
	if (report->sending_count)
		report->marked = calloc(report->sending_count, sizeof(*report->marked));
	if (!report->marked) {
		report_done_sending(report);
		report->is_listing = false;
		return;
	}
	for (unsigned i = 0; i < report->sending_count; i++)
		report->marked[i] = report->sending[i].task;
	store_tasks_set(report->context->store, report->marked, report->sending_count, on_marked,
			report);
}

void report_send(struct report *report)
{
	if (report->is_listing || report->is_stopped || !report->is_started)
		return;
	report->is_listing = true;
	store_tasks_list(report->context->store, REPORT_QUEUE, STORE_TASK_PENDING, clock_wall_ms(),
			 0, 4 * REPORT_MAX_SENDING, on_due, report);
}
