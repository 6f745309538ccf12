/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reconcile: see reconcile.h.
 *
 * A run fetches a page of subscriptions, applies each, fetches the next page, and so on. Then it
 * does the same with the events that Stripe could not deliver and that may have been missed since
 * the last complete run: each page is stored before the next is fetched.
 */
#include "stripe/reconcile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "stripe/api.h"
#include "stripe/apply.h"
#include "stripe/event.h"
#include "stripe/inbox.h"
#include "stripe/webhook.h"

#define SOON_MS	      3000
#define RETRY_MS      60000
#define MAX_REPAIRS   1000
#define PAGE	      "100"
#define ID_MAX	      256
#define MAX_PATH      4096
#define EVENTS_KEPT_S (30 * 86400) /* how long Stripe lists events */
/*
 * How far a run looks back before the last complete one: events reach Stripe's list late, and a
 * delivery may have waited for its answer when the last run looked.
 */
#define OVERLAP_S 3600

struct waiter {
	SLIST_ENTRY(waiter) entry;
	reconcile_done done;
	void *arg;
};

SLIST_HEAD(waiter_list, waiter);

struct reconcile {
	const struct stripe_context *context; /* borrowed */
	struct inbox *inbox;		      /* borrowed */
	uv_timer_t timer;
	bool is_started, is_running, is_stopped;
	struct waiter_list waiters; /* owned */
	struct reconcile_report report;
	uint64_t started_s;  /* by Stripe's clock; 0: not known yet */
	uint64_t complete_s; /* started_s of the last complete run; 0: none yet */
	uint64_t last_ms;
	size_t first_type;  /* index of the first type of event that is being listed */
	bool has_lost_page; /* events of this run could not be stored */
	char after[ID_MAX]; /* the last ID of the page */
	json_t *clocks; /* owned: IDs of test clocks whose subscriptions are still to be listed */
	char clock[ID_MAX]; /* the one in progress; "": none */
	uint64_t untiered;  /* the counter of oddities when the run began */
	bool has_more;
	unsigned pending; /* subscriptions of the page still being applied, and one for the page */
	json_t *page;	  /* owned: events being stored */
	struct store_task *tasks; /* owned, with their bodies: the same events */
};

static void on_timer(uv_timer_t *timer);

struct reconcile *reconcile_new(const struct stripe_context *context, struct inbox *inbox)
{
	struct reconcile *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->context = context;
	r->inbox = inbox;
	uv_timer_init(context->loop, &r->timer);
	uv_unref((uv_handle_t *)&r->timer);
	r->timer.data = r;
	return r;
}

uint64_t reconcile_last_ms(const struct reconcile *r)
{
	return r->last_ms;
}

/* ---- the end of a run ---- */

static void finish(struct reconcile *r, int err, const char *why)
{
	struct waiter_list waiters = r->waiters;
	struct waiter *waiter;
	json_t *repairs = r->report.repairs;

	SLIST_INIT(&r->waiters);
	r->is_running = false;
	r->report.err = err;
	r->report.why = why;
	if (err)
		log_warn("reconciliation with Stripe failed: %s", why);
	else
		log_info("reconciled %llu subscriptions: %llu repaired, %llu failed, %llu of other "
			 "products, %llu missed events",
			 (unsigned long long)r->report.seen, (unsigned long long)r->report.repaired,
			 (unsigned long long)r->report.failed,
			 (unsigned long long)r->report.untiered,
			 (unsigned long long)r->report.missed);
	if (!err)
		r->last_ms = clock_wall_ms();
	if (!err && !r->has_lost_page)
		r->complete_s = r->started_s;
	while ((waiter = SLIST_FIRST(&waiters))) {
		SLIST_REMOVE_HEAD(&waiters, entry);
		waiter->done(waiter->arg, &r->report);
		free(waiter);
	}
	json_decref(repairs);
	r->report = (struct reconcile_report){ 0 };
	if (!r->is_stopped)
		uv_timer_start(&r->timer, on_timer,
			       err ? RETRY_MS : r->context->settings->reconcile_every_ms, 0);
}

/* ---- events that were not delivered ---- */

static void fetch_events(struct reconcile *r);

static void next_events(struct reconcile *r)
{
	json_decref(r->page);
	r->page = NULL;
	free(r->tasks);
	r->tasks = NULL;
	if (!r->has_more) {
		r->after[0] = '\0';
		r->first_type += EVENT_TYPES_MAX;
	}
	if (event_needed(EVENT_SNAPSHOT, r->first_type))
		fetch_events(r);
	else
		finish(r, 0, "");
}

static void on_events_stored(void *arg, int err, const bool *is_fresh, size_t count)
{
	struct reconcile *r = arg;

	if (err) {
		r->has_lost_page = true;
		log_error("cannot store missed events: %s", store_error(r->context->store));
	}
	for (size_t i = 0; !err && i < count; i++)
		r->report.missed += is_fresh[i];
	for (size_t i = 0; i < json_array_size(json_object_get(r->page, "data")); i++)
		free(r->tasks[i].body);
	next_events(r);
}

/* Fill in @task, whose body the caller owns. 0; -EBADMSG if @object is not a valid event. */
static int task_of_event(const json_t *object, struct store_task *task)
{
	char *body = json_dumps(object, JSON_COMPACT);
	struct event event;
	const char *why;

	*task = (struct store_task){ .queue = WEBHOOK_QUEUE, .created_ms = clock_wall_ms() };
	if (!body || event_parse(text_of(body), &event, &why)) {
		free(body);
		return -EBADMSG;
	}
	snprintf(task->id, sizeof(task->id), "%s", event.id);
	snprintf(task->object, sizeof(task->object), "%s", event.object_id);
	snprintf(task->note, sizeof(task->note), INBOX_MISSED);
	task->body = body;
	event_done(&event);
	return 0;
}

static void note_page(struct reconcile *r, const json_t *body)
{
	const json_t *data = json_object_get(body, "data");
	const json_t *last = json_array_get(data, json_array_size(data) - 1);
	const char *id = json_string_value(json_object_get(last, "id"));

	r->has_more = json_is_true(json_object_get(body, "has_more")) && id;
	snprintf(r->after, sizeof(r->after), "%s", id ? id : "");
}

static void on_events(void *arg, const struct stripe_answer *answer)
{
	struct reconcile *r = arg;
	const json_t *object, *data;
	size_t i, count = 0;

	if (answer->err) {
		finish(r, -EIO, answer->why);
		return;
	}
	note_page(r, answer->body);
	r->page = json_incref((json_t *)answer->body);
	data = json_object_get(r->page, "data");
	r->tasks = calloc(json_array_size(data) + 1, sizeof(*r->tasks));
	r->has_lost_page |= !r->tasks;
	json_array_foreach (data, i, object) {
		if (r->tasks && !task_of_event(object, &r->tasks[count]))
			count++;
	}
	if (count)
		store_tasks_add(r->context->store, r->tasks, count, on_events_stored, r);
	else
		next_events(r);
}

/* The time since which events may have been missed: all that Stripe has, or since the last run. */
static uint64_t events_since_s(const struct reconcile *r)
{
	uint64_t oldest_s = r->started_s > EVENTS_KEPT_S ? r->started_s - EVENTS_KEPT_S : 0;
	uint64_t last_s = r->complete_s > OVERLAP_S ? r->complete_s - OVERLAP_S : 0;

	return last_s > oldest_s ? last_s : oldest_s;
}

/*
 * An account at Stripe may sell other products and have other endpoints, so ask only for events
 * that tollgate uses, for as many types at a time as a call may name.
 */
static int write_events_path(struct buf *path, const struct reconcile *r)
{
	int err = buf_printf(
		path, "/v1/events?delivery_success=false&limit=" PAGE "&created%%5Bgte%%5D=%llu",
		(unsigned long long)events_since_s(r));

	if (!err)
		err = event_write_types(path, r->first_type);
	if (!err && r->after[0])
		err = buf_printf(path, "&starting_after=%s", r->after);
	return err ? err : buf_append(path, "", 1);
}

static void fetch_events(struct reconcile *r)
{
	struct stripe_call call = { .method = "GET" };
	struct buf path;

	buf_init(&path, MAX_PATH);
	if (write_events_path(&path, r)) {
		buf_done(&path);
		finish(r, -ENOMEM, "out of memory");
		return;
	}
	call.path = buf_head(&path);
	stripe_api_call(r->context->api, &call, on_events, r);
	buf_done(&path);
}

/* ---- accounts: entitlements, and subscriptions that Stripe does not list ---- */

static void visit(void *arg, const struct store_account *account, uint32_t slot)
{
	struct reconcile *r = arg;

	(void)slot;
	if (account->customer[0])
		inbox_mark_entitlements(r->inbox, account);
	/*
	 * Skip accounts that this run has seen or that changed since: their as_of_s is after its
	 * start.
	 */
	if (!account->subscription[0] || account->as_of_s >= r->started_s)
		return;
	r->report.strays++;
	if (account->mode != STORE_MODE_GONE &&
	    !account_is_of_other_mode(account, mirror_mode(r->context->mirror)))
		inbox_mark(r->inbox, account->subscription);
}

/* The run began when Stripe gave its first answer. */
static void note_start(struct reconcile *r, const struct stripe_answer *answer)
{
	if (!r->started_s)
		r->started_s = answer->date_s ? answer->date_s : clock_wall_ms() / 1000;
}

/* ---- subscriptions ---- */

static void fetch_subscriptions(struct reconcile *r);

/* Go on to the next test clock, if there is one. */
static void next_clock(struct reconcile *r)
{
	const char *id = json_string_value(json_array_get(r->clocks, 0));

	r->after[0] = '\0';
	snprintf(r->clock, sizeof(r->clock), "%s", id ? id : "");
	if (id)
		json_array_remove(r->clocks, 0);
}

static void end_subscriptions(struct reconcile *r)
{
	r->report.untiered = r->context->oddities->untiered - r->untiered;
	mirror_each_account(r->context->mirror, visit, r);
	r->after[0] = '\0';
	r->first_type = 0;
	fetch_events(r);
}

static void page_step_over(struct reconcile *r)
{
	if (--r->pending)
		return;
	if (r->is_stopped) {
		finish(r, -ECANCELED, "the agent is stopping");
		return;
	}
	if (!r->has_more)
		next_clock(r);
	if (r->has_more || r->clock[0])
		fetch_subscriptions(r);
	else
		end_subscriptions(r);
}

static void describe(const struct store_account *before, const struct store_account *after,
		     char *ret_text, size_t size)
{
	if (!before)
		snprintf(ret_text, size, "new: %s, tier '%s'", store_status_word(after->status),
			 after->tier);
	else if (before->status != after->status || strcmp(before->tier, after->tier))
		snprintf(ret_text, size, "%s, tier '%s' -> %s, tier '%s'",
			 store_status_word(before->status), before->tier,
			 store_status_word(after->status), after->tier);
	else if (before->period_end_s != after->period_end_s)
		snprintf(ret_text, size, "period ends at %llu, not %llu",
			 (unsigned long long)after->period_end_s,
			 (unsigned long long)before->period_end_s);
	else
		snprintf(ret_text, size, "details");
}

static void note_repair(struct reconcile *r, const struct registry_result *result)
{
	char id[ACCOUNT_ID_SIZE], change[256];

	if (!result->is_changed)
		return;
	r->report.repaired++;
	account_format_id(result->account->id, id);
	describe(result->before, result->account, change, sizeof(change));
	log_info("reconciled %s (%s): %s", id, result->account->subscription, change);
	if (json_array_size(r->report.repairs) < MAX_REPAIRS)
		json_array_append_new(r->report.repairs,
				      json_pack("{s:s, s:s, s:s}", "account", id, "subscription",
						result->account->subscription, "change", change));
}

static void on_applied(void *arg, const struct registry_result *result)
{
	struct reconcile *r = arg;

	if (result->err)
		r->report.failed++;
	else
		note_repair(r, result);
	page_step_over(r);
}

static void on_fetched(void *arg, const struct stripe_answer *answer)
{
	const struct apply_source source = { .as_of_s = answer->date_s };
	struct reconcile *r = arg;

	if (answer->err) {
		log_warn("cannot fetch a subscription that changed during the reconciliation: %s",
			 answer->why);
		r->report.failed++;
		page_step_over(r);
		return;
	}
	apply_subscription(r->context, answer->body, &source, on_applied, r);
}

/* An event's fetch may have been asked after the page was, but applied before it. */
static void on_listed_applied(void *arg, const struct registry_result *result)
{
	struct reconcile *r = arg;
	struct stripe_call call = { .method = "GET" };
	char path[STORE_NAME_MAX + 128];

	if (result->err || !result->is_in_doubt) {
		on_applied(r, result);
		return;
	}
	snprintf(path, sizeof(path),
		 "/v1/subscriptions/%s?expand%%5B0%%5D=customer&expand%%5B1%%5D=latest_invoice",
		 result->account->subscription);
	call.path = path;
	stripe_api_call(r->context->api, &call, on_fetched, r);
}

static void on_subscriptions(void *arg, const struct stripe_answer *answer)
{
	const struct apply_source source = { .as_of_s = answer->date_s, .is_listed = true };
	struct reconcile *r = arg;
	const json_t *object, *data;
	size_t i;

	if (answer->err) {
		finish(r, -EIO, answer->why);
		return;
	}
	note_start(r, answer);
	note_page(r, answer->body);
	data = json_object_get(answer->body, "data");
	r->pending = (unsigned)json_array_size(data) + 1;
	json_array_foreach (data, i, object) {
		r->report.seen++;
		apply_subscription(r->context, object, &source, on_listed_applied, r);
	}
	page_step_over(r);
}

static void fetch_subscriptions(struct reconcile *r)
{
	struct stripe_call call = { .method = "GET" };
	char path[2 * ID_MAX + 256];

	snprintf(path, sizeof(path),
		 "/v1/subscriptions?status=all&limit=" PAGE "&expand%%5B0%%5D=data.customer"
		 "&expand%%5B1%%5D=data.latest_invoice%s%s%s%s",
		 r->clock[0] ? "&test_clock=" : "", r->clock, r->after[0] ? "&starting_after=" : "",
		 r->after);
	call.path = path;
	stripe_api_call(r->context->api, &call, on_subscriptions, r);
}

/* ---- test clocks ---- */

static void fetch_clocks(struct reconcile *r);

static void on_clocks(void *arg, const struct stripe_answer *answer)
{
	struct reconcile *r = arg;
	const json_t *clock;
	size_t i;

	if (answer->err && (answer->status < 400 || answer->status > 499)) {
		finish(r, -EIO, answer->why);
		return;
	}
	note_start(r, answer);
	/* A restricted key may not be allowed to list them. */
	if (answer->err)
		log_warn("cannot list test clocks, so their subscriptions are not compared: %s",
			 answer->why);
	json_array_foreach (json_object_get(answer->body, "data"), i, clock)
		json_array_append(r->clocks, json_object_get(clock, "id"));
	r->has_more = false;
	if (!answer->err)
		note_page(r, answer->body);
	if (r->has_more) {
		fetch_clocks(r);
		return;
	}
	r->after[0] = '\0';
	fetch_subscriptions(r);
}

static void fetch_clocks(struct reconcile *r)
{
	struct stripe_call call = { .method = "GET" };
	char path[ID_MAX + 128];

	snprintf(path, sizeof(path), "/v1/test_helpers/test_clocks?limit=" PAGE "%s%s",
		 r->after[0] ? "&starting_after=" : "", r->after);
	call.path = path;
	stripe_api_call(r->context->api, &call, on_clocks, r);
}

/* ---- runs ---- */

static void begin(struct reconcile *r)
{
	if (r->is_running || r->is_stopped || !r->is_started)
		return;
	if (!stripe_is_holder(r->context)) {
		/*
		 * Another host does it. reconcile_start() is called again if this host gets the
		 * lease.
		 */
		r->is_started = false;
		uv_timer_stop(&r->timer);
		return;
	}
	r->is_running = true;
	uv_timer_stop(&r->timer);
	r->report = (struct reconcile_report){ .repairs = json_array() };
	r->started_s = 0;
	r->has_lost_page = false;
	r->untiered = r->context->oddities->untiered;
	json_decref(r->clocks);
	r->clocks = json_array();
	r->after[0] = r->clock[0] = '\0';
	if (stripe_settings_mode(r->context->settings) == STORE_MODE_TEST)
		fetch_clocks(r);
	else
		fetch_subscriptions(r);
}

static void on_timer(uv_timer_t *timer)
{
	begin(timer->data);
}

void reconcile_start(struct reconcile *r)
{
	r->is_started = true;
	begin(r);
}

void reconcile_soon(struct reconcile *r)
{
	if (r->is_started && !r->is_running && !r->is_stopped)
		uv_timer_start(&r->timer, on_timer, SOON_MS, 0);
}

int reconcile_run(struct reconcile *r, reconcile_done done, void *arg)
{
	struct waiter *waiter;

	if (!r->is_started || r->is_stopped)
		return -EAGAIN;
	waiter = calloc(1, sizeof(*waiter));
	if (!waiter)
		return -ENOMEM;
	waiter->done = done;
	waiter->arg = arg;
	SLIST_INSERT_HEAD(&r->waiters, waiter, entry);
	begin(r);
	return 0;
}

void reconcile_stop(struct reconcile *r)
{
	if (!r || r->is_stopped)
		return;
	r->is_stopped = true;
	uv_close((uv_handle_t *)&r->timer, NULL);
	if (!SLIST_EMPTY(&r->waiters))
		finish(r, -ECANCELED, "the agent is stopping");
}

void reconcile_free(struct reconcile *r)
{
	if (!r)
		return;
	for (size_t i = 0; r->tasks && i < json_array_size(json_object_get(r->page, "data")); i++)
		free(r->tasks[i].body);
	free(r->tasks);
	json_decref(r->page);
	json_decref(r->clocks);
	json_decref(r->report.repairs);
	free(r);
}
