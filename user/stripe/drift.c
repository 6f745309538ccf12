/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drift: see drift.h.
 *
 * For one account after the other: read its usage rows from the store, find the task of each
 * closing, ask Stripe for the sum, write a line of the answer.
 *
 * The time of a meter event lies within its window, so a range that begins with a window has the
 * same events on both sides. A closing without a task was not to be billed, because the account had
 * no meter.
 */
#include "stripe/drift.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "enforce/account.h"
#include "stripe/api.h"
#include "stripe/report_private.h"

#define MAX_ROWS  200000 /* more than an account has in DRIFT_DAYS, even if each lasts a minute */
#define DAY_S	  86400ULL
#define LONGEST_S DAY_S /* the longest window */
#define SOON_S	  120	/* Stripe's sum is asked for until this long after now */
#define MINUTE_S  60

struct metered_account {
	uint64_t id, from_s;
	char customer[STORE_NAME_MAX];
	char meter[128];
};

struct drift {
	const struct stripe_context *context; /* borrowed */
	struct report *report;		      /* borrowed */
	bool is_running, is_stopped;
	drift_done done;
	void *arg;
	uint64_t since_s;
	struct metered_account *accounts; /* owned */
	size_t count, room, at;
	bool is_out_of_memory;
	json_t *lines; /* owned */
	uint64_t drifting, errors;

	/* the current account */
	struct store_usage *rows; /* owned */
	size_t row_count, row_at;
	uint32_t closing;
	bool is_old_id; /* the closing is looked up by the identifier of older versions */
	uint64_t counted, open, pending, failed, delivered;
};

static void next_account(struct drift *drift);
static void next_task(struct drift *drift);

static const struct metered_account *current(const struct drift *drift)
{
	return &drift->accounts[drift->at];
}

/* ---- the end of a run ---- */

static void finish(struct drift *drift, const char *why)
{
	json_t *answer = NULL;

	if (!why)
		answer =
			json_pack("{s:O, s:I, s:I}", "accounts", drift->lines, "drifting",
				  (json_int_t)drift->drifting, "errors", (json_int_t)drift->errors);
	json_decref(drift->lines);
	free(drift->accounts);
	free(drift->rows);
	drift->lines = NULL;
	drift->accounts = NULL;
	drift->rows = NULL;
	drift->is_running = false;
	drift->done(drift->arg, answer, why ? why : "out of memory");
}

/* ---- a line of the answer ---- */

static void write_time(uint64_t s, char ret_text[32])
{
	time_t seconds = (time_t)s;
	struct tm utc;

	gmtime_r(&seconds, &utc);
	strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static void add_line(struct drift *drift, double stripe, const char *error)
{
	const struct metered_account *account = current(drift);
	char id[ACCOUNT_ID_SIZE], since[32];
	json_int_t excess = (json_int_t)stripe - (json_int_t)(drift->delivered + drift->failed);

	account_format_id(account->id, id);
	write_time(account->from_s, since);
	json_array_append_new(
		drift->lines,
		json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:s*}",
			  "account", id, "customer", account->customer, "meter", account->meter,
			  "since", since, "counted", (json_int_t)drift->counted, "open",
			  (json_int_t)drift->open, "pending", (json_int_t)drift->pending, "failed",
			  (json_int_t)drift->failed, "delivered", (json_int_t)drift->delivered,
			  "stripe", error ? json_null() : json_integer((json_int_t)stripe), "drift",
			  error ? json_null() : json_integer(excess), "error", error));
	drift->errors += error != NULL;
	drift->drifting += !error && excess;
	drift->at++;
	next_account(drift);
}

static void on_summaries(void *arg, const struct stripe_answer *answer)
{
	const json_t *summary, *data = json_object_get(answer->body, "data");
	struct drift *drift = arg;
	double sum = 0;
	size_t i;

	if (drift->is_stopped)
		return;
	json_array_foreach (data, i, summary)
		sum += json_number_value(json_object_get(summary, "aggregated_value"));
	add_line(drift, sum, answer->err ? answer->why : NULL);
}

static void ask_stripe(struct drift *drift)
{
	const struct metered_account *account = current(drift);
	uint64_t until_s = (report_now_s(drift->report) + SOON_S) / MINUTE_S * MINUTE_S;
	char path[512], why[REPORT_WHY_MAX] = "Stripe has no summaries of usage records";
	const struct report_meter *meter = NULL;
	const struct stripe_call call = { .method = "GET", .path = path };

	if (drift->context->settings->report != STRIPE_USAGE_RECORDS)
		meter = report_find_meter(drift->report, account->meter, why);
	if (!meter) {
		add_line(drift, 0, why);
		return;
	}
	snprintf(path, sizeof(path),
		 "/v1/billing/meters/%s/event_summaries?customer=%s&start_time=%" PRIu64
		 "&end_time=%" PRIu64,
		 meter->id, account->customer, account->from_s, until_s);
	stripe_api_call(drift->context->api, &call, on_summaries, drift);
}

/* ---- closings ---- */

static void add_task(struct drift *drift, const struct store_task *task)
{
	struct report_event event;
	uint64_t units;

	report_event_read(task, &event);
	if (event.meter[0] && strcmp(event.meter, current(drift)->meter) != 0)
		return;
	units = event.units;
	if (task->state == STORE_TASK_DONE)
		drift->delivered += units;
	else if (task->state == STORE_TASK_FAILED)
		drift->failed += units;
	else
		drift->pending += units;
}

static void on_task(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct drift *drift = arg;

	if (drift->is_stopped)
		return;
	if (err) {
		finish(drift, store_error(drift->context->store));
		return;
	}
	if (count)
		add_task(drift, &tasks[0]);
	if (!count && !drift->is_old_id) {
		drift->is_old_id = true;
	} else {
		drift->is_old_id = false;
		drift->closing++;
	}
	next_task(drift);
}

static void next_task(struct drift *drift)
{
	char id[REPORT_ID_MAX];

	while (drift->row_at < drift->row_count &&
	       drift->closing >= drift->rows[drift->row_at].closings) {
		drift->row_at++;
		drift->closing = 0;
	}
	if (drift->row_at == drift->row_count) {
		ask_stripe(drift);
		return;
	}
	if (drift->is_old_id)
		report_old_identifier(&drift->rows[drift->row_at], drift->closing, id);
	else
		report_identifier(&drift->rows[drift->row_at], drift->closing, id);
	store_task_find(drift->context->store, REPORT_QUEUE, id, on_task, drift);
}

/* ---- usage rows ---- */

static void on_rows(void *arg, int err, const struct store_usage *rows, size_t count)
{
	struct drift *drift = arg;

	if (drift->is_stopped)
		return;
	free(drift->rows);
	drift->rows = calloc(count + 1, sizeof(*rows));
	if (err || !drift->rows) {
		finish(drift, err ? store_error(drift->context->store) : "out of memory");
		return;
	}
	drift->row_count = drift->row_at = drift->closing = 0;
	drift->counted = drift->open = drift->pending = drift->failed = drift->delivered = 0;
	for (size_t i = 0; i < count; i++) {
		if (rows[i].window_start_s + rows[i].window_seconds <= current(drift)->from_s)
			continue;
		drift->rows[drift->row_count++] = rows[i];
		drift->counted += rows[i].units;
		drift->open += rows[i].units - rows[i].closed_units;
	}
	next_task(drift);
}

static void next_account(struct drift *drift)
{
	if (drift->at == drift->count) {
		finish(drift, NULL);
		return;
	}
	store_usage_list(drift->context->store, current(drift)->id,
			 current(drift)->from_s - LONGEST_S, MAX_ROWS, on_rows, drift);
}

/* ---- the start of a run ---- */

/*
 * Where the range of an account begins: at since_s or its billing period, whichever is later,
 * rounded down to a window and a minute.
 */
static uint64_t from_s(const struct drift *drift, uint64_t period_start_s)
{
	uint64_t window_s = drift->context->slots->head->window_seconds;
	uint64_t oldest_s = report_now_s(drift->report) - DRIFT_DAYS * DAY_S;
	uint64_t since_s = drift->since_s > oldest_s ? drift->since_s : oldest_s;

	since_s -= since_s % window_s;
	if (period_start_s > since_s)
		since_s = period_start_s;
	return since_s - since_s % MINUTE_S;
}

static void visit(void *arg, const struct store_account *account, uint32_t slot)
{
	struct drift *drift = arg;
	const struct tier *tier = tiers_find(drift->context->tiers, account->tier);
	struct metered_account *metered;

	(void)slot;
	if (!tier || !tier->meter || !account->customer[0] || drift->is_out_of_memory)
		return;
	/* The number of slots limits the number of accounts. */
	if (array_reserve(drift->accounts, drift->room, drift->count + 1, ARRAY_NO_LIMIT)) {
		drift->is_out_of_memory = true;
		return;
	}
	metered = &drift->accounts[drift->count++];
	*metered = (struct metered_account){
		.id = account->id,
		.from_s = from_s(drift, account->usage_end_s ? account->usage_start_s
							     : account->period_start_s)
	};
	snprintf(metered->customer, sizeof(metered->customer), "%s", account->customer);
	snprintf(metered->meter, sizeof(metered->meter), "%s", tier->meter);
}

int drift_run(struct drift *drift, uint64_t since_s, drift_done done, void *arg)
{
	if (drift->is_running)
		return -EBUSY;
	drift->since_s = since_s;
	drift->accounts = NULL;
	drift->count = drift->room = drift->at = 0;
	drift->drifting = drift->errors = 0;
	drift->is_out_of_memory = false;
	drift->lines = json_array();
	mirror_each_account(drift->context->mirror, visit, drift);
	if (!drift->lines || drift->is_out_of_memory) {
		json_decref(drift->lines);
		free(drift->accounts);
		return -ENOMEM;
	}
	drift->is_running = true;
	drift->done = done;
	drift->arg = arg;
	next_account(drift);
	return 0;
}

struct drift *drift_new(const struct stripe_context *context, struct report *report)
{
	struct drift *drift = calloc(1, sizeof(*drift));

	if (!drift)
		return NULL;
	drift->context = context;
	drift->report = report;
	return drift;
}

void drift_stop(struct drift *drift)
{
	if (!drift || drift->is_stopped)
		return;
	drift->is_stopped = true;
	if (drift->is_running)
		finish(drift, "the agent is stopping");
}

void drift_free(struct drift *drift)
{
	free(drift);
}
