/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * webhook: see webhook.h.
 *
 * There are two lists of events: one gathers new events while the other is being written to the
 * store. A stored event reaches the inbox through the store's feed.
 */
#include "stripe/webhook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/problem.h"
#include "stripe/event.h"
#include "stripe/signature.h"

#define MAX_BATCH 1000 /* events in one transaction */

struct arrivals {
	struct handoff **handoffs; /* owned, with the handoffs, which wait for their answer */
	struct store_task *tasks;  /* owned, with their bodies */
	size_t count, handoff_room, task_room;
};

struct webhook {
	const struct stripe_context *context; /* borrowed */
	struct arrivals gathering, writing;
	struct webhook_counters counters;
};

struct webhook *webhook_new(const struct stripe_context *context)
{
	struct webhook *webhook = calloc(1, sizeof(*webhook));

	if (!webhook)
		return NULL;
	webhook->context = context;
	return webhook;
}

const struct webhook_counters *webhook_counters(const struct webhook *webhook)
{
	return &webhook->counters;
}

static void refuse(struct handoff *e, unsigned status, const char *fields, const char *what,
		   const char *why)
{
	char detail[256];
	struct buf body;

	snprintf(detail, sizeof(detail), "%s%s", what, why);
	buf_init(&body, 1024);
	problem_write_body(&body, status, detail, NULL);
	handoff_answer(e, status, text_of(fields), buf_text(&body));
	buf_done(&body);
}

static void refuse_unstored(struct webhook *webhook, struct handoff *e)
{
	webhook->counters.failed++;
	refuse(e, 503, PROBLEM_FIELD "Retry-After: 10\r\n", "The event could not be stored", "");
}

static void acknowledge(struct handoff *e)
{
	handoff_answer(e, 200, TEXT("Content-Type: application/json\r\n"),
		       TEXT("{\"received\":true}"));
}

static void clear(struct arrivals *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->tasks[i].body);
	list->count = 0;
}

static void write_batch(struct webhook *webhook);

static void on_added(void *arg, int err, const bool *is_fresh, size_t count)
{
	struct webhook *webhook = arg;
	struct arrivals *list = &webhook->writing;

	if (err)
		log_error("cannot store events, so Stripe will send them again: %s",
			  store_error(webhook->context->store));
	for (size_t i = 0; i < list->count; i++) {
		struct handoff *e = list->handoffs[i];

		if (err || i >= count) {
			refuse_unstored(webhook, e);
			continue;
		}
		webhook->counters.accepted += is_fresh[i];
		webhook->counters.repeated += !is_fresh[i];
		acknowledge(e);
	}
	clear(list);
	write_batch(webhook);
}

/* Write the gathered events, unless a batch is being written, whose end calls this again. */
static void write_batch(struct webhook *webhook)
{
	struct arrivals list = webhook->writing;

	if (webhook->writing.count || !webhook->gathering.count)
		return;
	webhook->writing = webhook->gathering;
	webhook->gathering = list;
	store_tasks_add(webhook->context->store, webhook->writing.tasks, webhook->writing.count,
			on_added, webhook);
}

static int make_room(struct arrivals *list)
{
	int err = array_reserve(list->handoffs, list->handoff_room, list->count + 1, MAX_BATCH);

	return err ? err : array_reserve(list->tasks, list->task_room, list->count + 1, MAX_BATCH);
}

static void gather(struct webhook *webhook, struct handoff *e, const struct event *event)
{
	struct arrivals *list = &webhook->gathering;
	struct store_task *task;
	char *body;

	body = make_room(list) ? NULL : text_dup(e->body);
	if (!body) {
		refuse_unstored(webhook, e);
		return;
	}
	list->handoffs[list->count] = e;
	task = &list->tasks[list->count++];
	*task = (struct store_task){
		.queue = WEBHOOK_QUEUE,
		.created_ms = clock_wall_ms(),
		.body = body,
	};
	snprintf(task->id, sizeof(task->id), "%s", event->id);
	snprintf(task->object, sizeof(task->object), "%s", event->object_id);
	write_batch(webhook);
}

/* Whether the request is signed by Stripe. If not, it has been answered. */
static bool is_genuine(struct webhook *webhook, struct handoff *e)
{
	const struct stripe_settings *settings = webhook->context->settings;
	enum signature_verdict verdict = SIGNATURE_MALFORMED;
	struct text header;

	if (!handoff_field_count(e, "Stripe-Signature")) {
		webhook->counters.forged++;
		refuse(e, 400, PROBLEM_FIELD, "Missing signature header", "");
		return false;
	}
	if (handoff_field(e, "Stripe-Signature", &header))
		verdict = signature_verify(header, e->body,
					   (const char *const *)settings->webhook_secrets,
					   settings->webhook_secret_count, clock_wall_ms() / 1000,
					   settings->tolerance_ms / 1000);
	if (verdict == SIGNATURE_OK)
		return true;
	webhook->counters.forged++;
	log_debug("webhook: signature: %s", signature_reason(verdict));
	refuse(e, 400, PROBLEM_FIELD, "Signature verification failed: ", signature_reason(verdict));
	return false;
}

/* Whether the event is of the other mode. Connected accounts send those all the time. */
static bool is_foreign(const struct webhook *webhook, const struct event *event)
{
	bool is_live = stripe_settings_mode(webhook->context->settings) == STORE_MODE_LIVE;

	if (event->is_live == is_live)
		return false;
	if (event->account[0])
		log_debug("webhook: dropped %s of the other mode from a connected account",
			  event->id);
	else
		log_warn("webhook: dropped %s (%s), a %s event: %s mode is configured", event->id,
			 event->type, event->is_live ? "live" : "test", is_live ? "live" : "test");
	return true;
}

void webhook_receive(struct webhook *webhook, struct handoff *e)
{
	const char *why = "";
	struct event event;

	if (!text_is(e->method, "POST")) {
		refuse(e, 405, PROBLEM_FIELD "Allow: POST\r\n", "Use POST", "");
		return;
	}
	if (!is_genuine(webhook, e))
		return;
	if (event_parse(e->body, &event, &why)) {
		webhook->counters.malformed++;
		log_error("webhook: the event is lost, because tollgate cannot read it: %s", why);
		acknowledge(e);
		return;
	}
	if (is_foreign(webhook, &event)) {
		webhook->counters.foreign++;
		acknowledge(e);
	} else {
		gather(webhook, e, &event);
	}
	event_done(&event);
}

static void free_arrivals(struct webhook *webhook, struct arrivals *list)
{
	for (size_t i = 0; i < list->count; i++)
		refuse_unstored(webhook, list->handoffs[i]);
	clear(list);
	free(list->handoffs);
	free(list->tasks);
}

void webhook_free(struct webhook *webhook)
{
	if (!webhook)
		return;
	free_arrivals(webhook, &webhook->writing);
	free_arrivals(webhook, &webhook->gathering);
	free(webhook);
}
