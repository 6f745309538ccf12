/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inbox: decides when objects are fetched, and which events that completes.
 *
 * An object is in the table while it is dirty or being fetched. A dirty object waits in the queue
 * until there is room for another fetch and the inbox is not paused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "stripe/inbox_private.h"
#include "stripe/webhook.h"

#define MAX_FETCHING 16
#define PAGE	     500     /* pending events read from the store at once */
#define MAX_EVENTS   1000000 /* waiting for one object, or finished but not yet written */

static const struct backoff pauses_ms = { .first = 500, .most = 60000 };

static void pump(struct inbox *inbox);

/* ---- lists of events ---- */

static int list_add(struct event_list *list, char *id)
{
	int err = array_reserve(list->ids, list->room, list->count + 1, MAX_EVENTS);

	if (!err)
		list->ids[list->count++] = id;
	return err;
}

static void list_done(struct event_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->ids[i]);
	free(list->ids);
	*list = (struct event_list){ 0 };
}

/*
 * Append all of @from to @to. If out of memory, some are dropped and stay pending until the next
 * start.
 */
static void list_move(struct event_list *to, struct event_list *from)
{
	for (size_t i = 0; i < from->count; i++) {
		if (!list_add(to, from->ids[i]))
			from->ids[i] = NULL;
	}
	list_done(from);
}

/* ---- writing finished events to the store ---- */

static void on_set(void *arg, int err);

static void write_finished(struct inbox *inbox)
{
	if (inbox->writing || !inbox->finished_count || inbox->is_stopped)
		return;
	inbox->writing = inbox->finished;
	inbox->writing_count = inbox->finished_count;
	inbox->finished = NULL;
	inbox->finished_count = inbox->finished_room = 0;
	store_tasks_set(inbox->context->store, inbox->writing, inbox->writing_count, on_set, inbox);
}

/*
 * An event whose result could not be written is processed again after the next start, which is
 * harmless.
 */
static void on_set(void *arg, int err)
{
	struct inbox *inbox = arg;

	if (err)
		log_error("cannot mark events as processed, so the next start processes them "
			  "again: %s",
			  store_error(inbox->context->store));
	free(inbox->writing);
	inbox->writing = NULL;
	write_finished(inbox);
}

void inbox_finish(struct inbox *inbox, const char *event_id, enum store_task_state state,
		  const char *note)
{
	struct store_task *task;

	inbox->counters.pending -= inbox->counters.pending > 0;
	inbox->counters.processed += state == STORE_TASK_DONE;
	inbox->counters.failed += state == STORE_TASK_FAILED;
	if (array_reserve(inbox->finished, inbox->finished_room, inbox->finished_count + 1,
			  MAX_EVENTS))
		return;
	task = &inbox->finished[inbox->finished_count++];
	*task = (struct store_task){
		.queue = WEBHOOK_QUEUE,
		.tried_ms = clock_wall_ms(),
		.attempts = 1,
		.state = state,
	};
	snprintf(task->id, sizeof(task->id), "%s", event_id);
	snprintf(task->note, sizeof(task->note), "%s", note);
	write_finished(inbox);
}

/* ---- objects ---- */

struct object_key {
	enum event_kind kind;
	const char *id;
};

static int match_key(struct cds_lfht_node *node, const void *arg)
{
	const struct object *object = caa_container_of(node, struct object, by_key);
	const struct object_key *key = arg;

	return object->kind == key->kind && !strcmp(object->id, key->id);
}

static struct object *find_or_make(struct inbox *inbox, enum event_kind kind, const char *id)
{
	const struct object_key key = { kind, id };
	unsigned long hash = table_hash_text(&inbox->objects, id) + (unsigned)kind;
	struct cds_lfht_node *node = table_find(&inbox->objects, hash, match_key, &key);
	struct object *object;

	if (node)
		return caa_container_of(node, struct object, by_key);
	object = calloc(1, sizeof(*object));
	if (!object)
		return NULL;
	object->inbox = inbox;
	object->kind = kind;
	snprintf(object->id, sizeof(object->id), "%s", id);
	table_add(&inbox->objects, hash, &object->by_key);
	return object;
}

static void object_free(struct object *object)
{
	table_remove(&object->inbox->objects, &object->by_key);
	list_done(&object->covered);
	list_done(&object->waiting);
	free(object->reference);
	free(object);
}

static void enqueue(struct object *object)
{
	struct inbox *inbox = object->inbox;

	if (object->is_queued || object->is_fetching)
		return;
	object->is_queued = true;
	STAILQ_INSERT_TAIL(&inbox->queue, object, entry);
}

void inbox_add(struct inbox *inbox, enum event_kind kind, const char *id, const char *event_id)
{
	struct object *object = find_or_make(inbox, kind, id);
	char *copy = object && event_id ? strdup(event_id) : NULL;

	if (!object || (event_id && (!copy || list_add(&object->waiting, copy)))) {
		free(copy);
		log_error("out of memory: event %s is processed at the next start",
			  event_id ? event_id : "");
	}
	if (!object)
		return;
	object->is_dirty = true;
	enqueue(object);
	pump(inbox);
}

void inbox_add_bought(struct inbox *inbox, const char *subscription, const char *reference,
		      const char *event_id)
{
	struct object *object = find_or_make(inbox, EVENT_SUBSCRIPTION, subscription);
	char *copy = object && *reference ? strdup(reference) : NULL;

	if (copy) {
		free(object->reference);
		object->reference = copy;
	}
	inbox_add(inbox, EVENT_SUBSCRIPTION, subscription, event_id);
}

void inbox_mark(struct inbox *inbox, const char *id)
{
	inbox_add(inbox, EVENT_SUBSCRIPTION, id, NULL);
}

void inbox_mark_entitlements(struct inbox *inbox, const struct store_account *account)
{
	const struct tier *tier = tiers_find(inbox->context->tiers, account->tier);

	if (tier && tier->uses_entitlements && account->customer[0])
		inbox_add(inbox, EVENT_ENTITLEMENTS, account->customer, NULL);
}

/* ---- fetching ---- */

static void on_pause_over(uv_timer_t *timer)
{
	struct inbox *inbox = timer->data;

	inbox->is_paused = false;
	if (inbox->reads_again && !inbox->is_reading)
		inbox_look(inbox);
	pump(inbox);
}

/* Pause with backoff after a failure, with jitter so that hosts do not all return at once. */
static void pause_after_setback(struct inbox *inbox)
{
	if (inbox->is_paused || inbox->is_stopped)
		return;
	inbox->setbacks++;
	inbox->is_paused = true;
	uv_timer_start(&inbox->pause, on_pause_over, backoff_draw(&pauses_ms, inbox->setbacks), 0);
}

/* Finish the events that the fetch covered. Queue the object again if it became dirty meanwhile. */
static void leave(struct object *object, enum store_task_state state, const char *note)
{
	struct inbox *inbox = object->inbox;

	inbox->fetching--;
	object->is_fetching = false;
	for (size_t i = 0; i < object->covered.count; i++)
		inbox_finish(inbox, object->covered.ids[i], state, note);
	list_done(&object->covered);
	if (object->is_dirty)
		enqueue(object);
	else
		object_free(object);
	pump(inbox);
}

void object_give_up(struct object *object, const char *note)
{
	leave(object, STORE_TASK_FAILED, note);
}

void object_done(struct object *object, int err, const char *note)
{
	struct inbox *inbox = object->inbox;

	if (err) {
		inbox->counters.failures++;
		object->is_dirty = true;
		list_move(&object->covered, &object->waiting);
		object->waiting = object->covered;
		object->covered = (struct event_list){ 0 };
		pause_after_setback(inbox);
	} else {
		inbox->setbacks = 0;
	}
	leave(object, STORE_TASK_DONE, note);
}

static void on_answer(void *arg, const struct stripe_answer *answer)
{
	struct object *object = arg;
	char note[STORE_NOTE_MAX];

	if (!answer->err) {
		object->inbox->counters.fetches++;
		object->date_s = answer->date_s;
		object_act(object, answer);
		return;
	}
	if (stripe_answer_may_pass(answer)) {
		log_warn("cannot fetch %s %s, will retry: %s", event_kind_word(object->kind),
			 object->id, answer->why);
		object_done(object, -EIO, "");
		return;
	}
	snprintf(note, sizeof(note), "Stripe has no such object: %s", answer->why);
	log_warn("%s %s: %s", event_kind_word(object->kind), object->id, note);
	if (object->kind == EVENT_SUBSCRIPTION)
		object_is_gone(object, answer, note);
	else
		object_done(object, 0, note);
}

static void fetch(struct object *object)
{
	struct inbox *inbox = object->inbox;
	struct stripe_call call = { .method = "GET" };
	char path[EVENT_ID_MAX + 128];

	object->is_fetching = true;
	object->is_dirty = false;
	inbox->fetching++;
	list_move(&object->covered, &object->waiting);
	object_path(object, path, sizeof(path));
	call.path = path;
	stripe_api_call(inbox->context->api, &call, on_answer, object);
}

static void pump(struct inbox *inbox)
{
	if (inbox->is_pumping)
		return;
	inbox->is_pumping = true;
	while (!STAILQ_EMPTY(&inbox->queue) && inbox->fetching < MAX_FETCHING &&
	       !inbox->is_paused && !inbox->is_stopped && stripe_is_holder(inbox->context)) {
		struct object *object = STAILQ_FIRST(&inbox->queue);

		STAILQ_REMOVE_HEAD(&inbox->queue, entry);
		object->is_queued = false;
		fetch(object);
	}
	inbox->is_pumping = false;
}

/* ---- new events ---- */

void inbox_take(struct inbox *inbox, const struct store_task *task)
{
	struct event event;
	const char *why;

	inbox->counters.pending++;
	if (event_parse(text_of(task->body), &event, &why)) {
		inbox_finish(inbox, task->id, STORE_TASK_FAILED, why);
		return;
	}
	if (!strcmp(task->note, INBOX_MISSED)) {
		json_decref(event.snapshot);
		event.snapshot = NULL;
	}
	inbox_sort(inbox, &event);
	event_done(&event);
}

static void on_page(void *arg, int err, const struct store_task *tasks, size_t count);

static void read_page(struct inbox *inbox)
{
	inbox->is_reading = true;
	inbox->reads_again = false;
	store_tasks_list(inbox->context->store, WEBHOOK_QUEUE, STORE_TASK_PENDING, UINT64_MAX,
			 inbox->seen_seq, PAGE, on_page, inbox);
}

static void on_page(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct inbox *inbox = arg;

	bool is_outdated = inbox->discards_page;

	inbox->is_reading = inbox->discards_page = false;
	if (err)
		log_error("cannot read pending events: %s", store_error(inbox->context->store));
	if (inbox->is_stopped || !stripe_is_holder(inbox->context))
		return;
	if (err) {
		/* on_pause_over() continues. */
		inbox->reads_again = true;
		pause_after_setback(inbox);
		return;
	}
	if (is_outdated) {
		read_page(inbox);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (tasks[i].seq <= inbox->seen_seq)
			continue; /* read already */
		inbox->seen_seq = tasks[i].seq;
		inbox_take(inbox, &tasks[i]);
	}
	if (count == PAGE || inbox->reads_again)
		read_page(inbox);
}

void inbox_look(struct inbox *inbox)
{
	if (inbox->is_reading)
		inbox->reads_again = true;
	else if (!inbox->is_stopped && stripe_is_holder(inbox->context))
		read_page(inbox);
}

/*
 * Forget all events and objects that wait here. A fetch in progress still ends, and its object is
 * then freed. If another host has got the lease since, the store rejects what that fetch writes.
 */
static void forget(struct inbox *inbox)
{
	struct object *object;
	struct cds_lfht_iter iter;

	while ((object = STAILQ_FIRST(&inbox->queue))) {
		STAILQ_REMOVE_HEAD(&inbox->queue, entry);
		object_free(object);
	}
	urcu_memb_read_lock();
	cds_lfht_for_each_entry (inbox->objects.lfht, &iter, object, by_key) {
		list_done(&object->waiting);
		object->is_dirty = false;
	}
	urcu_memb_read_unlock();
	inbox->counters.pending = 0;
	inbox->seen_seq = 0;
	/* A page that is being read does not begin with the first event. */
	inbox->discards_page = inbox->is_reading;
}

void inbox_start(struct inbox *inbox)
{
	forget(inbox);
	inbox_look(inbox);
}

struct inbox *inbox_new(const struct stripe_context *context,
			const struct inbox_listeners *listeners)
{
	struct inbox *inbox = calloc(1, sizeof(*inbox));

	if (!inbox)
		return NULL;
	if (table_init(&inbox->objects)) {
		free(inbox);
		return NULL;
	}
	inbox->context = context;
	inbox->listeners = *listeners;
	STAILQ_INIT(&inbox->queue);
	uv_timer_init(context->loop, &inbox->pause);
	uv_unref((uv_handle_t *)&inbox->pause);
	inbox->pause.data = inbox;
	return inbox;
}

const struct inbox_counters *inbox_counters(const struct inbox *inbox)
{
	return &inbox->counters;
}

void inbox_stop(struct inbox *inbox)
{
	if (!inbox || inbox->is_stopped)
		return;
	inbox->is_stopped = true;
	uv_close((uv_handle_t *)&inbox->pause, NULL);
}

void inbox_free(struct inbox *inbox)
{
	struct object *object;
	struct cds_lfht_iter iter;

	if (!inbox)
		return;
	urcu_memb_read_lock();
	cds_lfht_for_each_entry (inbox->objects.lfht, &iter, object, by_key)
		object_free(object);
	urcu_memb_read_unlock();
	table_done(&inbox->objects);
	free(inbox->finished);
	free(inbox->writing);
	free(inbox);
}
