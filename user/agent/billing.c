/* SPDX-License-Identifier: BSD-2-Clause */
/* billing: everything that talks with Stripe and with customers. */
#include "agent/billing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_private.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/problem.h"
#include "net/transfer.h"
#include "portal/claim_link.h"
#include "portal/notice.h"
#include "portal/portal.h"
#include "stripe/api.h"
#include "stripe/drift.h"
#include "stripe/inbox.h"
#include "stripe/reconcile.h"
#include "stripe/report.h"
#include "stripe/webhook.h"

#define MAX_HANDOFFS  4096
#define MAX_TRANSFERS 128
#define MAX_PER_HOST  32

struct billing {
	struct agent *agent;		     /* borrowed */
	struct handoff_responder *responder; /* owned */
	struct stripe_context context;	     /* what the following borrow */
	struct stripe_oddities oddities;
	struct transfers
		*transfers; /* owned, like all below; NULL without Stripe or before the start */
	struct webhook *webhook;
	struct inbox *inbox;
	struct reconcile *reconcile;
	struct report *report;
	struct drift *drift;
	struct notices *notices;
	struct portal *portal;
	bool is_started;
};

static void answer_problem(struct handoff *e, unsigned status, const char *detail)
{
	struct buf body;

	buf_init(&body, 1024);
	problem_write_body(&body, status, detail, NULL);
	handoff_answer(e, status, TEXT(PROBLEM_FIELD "Retry-After: 5\r\n"), buf_text(&body));
	buf_done(&body);
}

static void on_handoff(void *arg, struct handoff *e)
{
	struct billing *billing = arg;

	if (!billing->is_started)
		answer_problem(e, 503, "Starting; try again soon");
	else if (text_is(e->path, billing->context.settings->webhook_path))
		webhook_receive(billing->webhook, e);
	else if (portal_has(billing->portal, e->path))
		portal_answer(billing->portal, e);
	else
		answer_problem(e, 404, "Not found");
}

struct billing *billing_new(struct agent *agent)
{
	struct billing *billing = calloc(1, sizeof(*billing));

	if (!billing)
		return NULL;
	billing->agent = agent;
	billing->responder = handoff_responder_new(&agent->loop, MAX_HANDOFFS, on_handoff, billing);
	if (!billing->responder) {
		free(billing);
		return NULL;
	}
	return billing;
}

struct handoff_responder *billing_responder(const struct billing *billing)
{
	return billing->responder;
}

/* ---- what happens between the parts ---- */

/*
 * Look again at the customer's subscriptions that got no tier, perhaps because the account @id kept
 * a meter to itself.
 */
static void look_at_siblings(struct billing *billing, const char *customer, uint64_t id)
{
	struct store_account account;
	unsigned count = 0;
	uint64_t *ids = NULL;
	uint32_t slot;

	if (!customer[0] ||
	    mirror_list_of_customer(billing->context.mirror, customer, &ids, &count))
		return;
	for (unsigned i = 0; i < count; i++) {
		if (ids[i] != id &&
		    mirror_account(billing->context.mirror, ids[i], &account, &slot) &&
		    account.subscription[0] && !account.tier[0])
			inbox_mark(billing->inbox, account.subscription);
	}
	free(ids);
}

static void on_billed(void *arg, uint64_t id)
{
	struct billing *billing = arg;
	struct store_account account;
	uint32_t slot;

	if (mirror_account(billing->context.mirror, id, &account, &slot))
		look_at_siblings(billing, account.customer, id);
}

static bool has_unbilled(void *arg, uint64_t account)
{
	const struct billing *billing = arg;

	return report_has_unbilled(billing->report, account);
}

static const char *meter_id(void *arg, const char *event_name)
{
	const struct billing *billing = arg;

	return report_meter_id(billing->report, event_name);
}

static void on_changed(void *arg, const struct store_account *before,
		       const struct store_account *after)
{
	struct billing *billing = arg;

	report_account_changed(billing->report, before, after);
	notices_account_changed(billing->notices, before, after);
	/* Entitlements may have arrived before the account did. */
	if (!before || strcmp(before->customer, after->customer) != 0)
		inbox_mark_entitlements(billing->inbox, after);
	if (before)
		look_at_siblings(billing, after->customer, after->id);
}

static int on_storing(void *arg, const struct store_account *before,
		      const struct store_account *after,
		      struct store_task ret_tasks[REGISTRY_TASKS_MAX])
{
	const struct billing *billing = arg;

	return notices_make_tasks(billing->notices, before, after, ret_tasks);
}

static void on_meter_error(void *arg, const json_t *event)
{
	struct billing *billing = arg;

	report_meter_error(billing->report, event);
}

static void on_catalog(void *arg)
{
	struct billing *billing = arg;

	reconcile_soon(billing->reconcile);
	portal_refresh(billing->portal);
	report_catalog_changed(billing->report);
}

void billing_task_added(struct billing *billing, const char *queue, const struct store_task *task)
{
	if (!billing->is_started)
		return;
	report_task_added(billing->report, queue);
	if (strcmp(queue, WEBHOOK_QUEUE) != 0)
		return;
	if (task)
		inbox_take(billing->inbox, task);
	else
		inbox_look(billing->inbox);
}

void billing_hold(struct billing *billing, uint64_t until_ns)
{
	struct stripe_context *context = &billing->context;
	bool was_held = stripe_is_holder(context);

	if (!billing->is_started)
		return;
	context->held_until_ns = until_ns;
	if (was_held || !stripe_is_holder(context))
		return;
	/* Start from the store: another host may have processed what we knew of. */
	inbox_start(billing->inbox);
	reconcile_start(billing->reconcile);
	report_hold(billing->report);
}

void billing_loaded_again(struct billing *billing)
{
	if (!billing->is_started || !stripe_is_holder(&billing->context))
		return;
	inbox_start(billing->inbox);
	reconcile_start(billing->reconcile);
}

/* ---- life ---- */

static struct stripe_api_config api_config(const struct stripe_settings *settings)
{
	return (struct stripe_api_config){
		.secret_key = settings->secret_key,
		.base = settings->api_base,
		.version = settings->api_version,
		.calls_per_second = settings->calls_per_second,
	};
}

void billing_configure(struct billing *billing)
{
	const struct config *config = billing->agent->rules->config;
	struct stripe_api_config wanted;

	billing->context.settings = &config->stripe;
	billing->context.tiers = &config->tiers;
	if (!billing->is_started)
		return;
	report_configure(billing->report);
	notices_set(billing->notices, &config->notices);
	wanted = api_config(&config->stripe);
	if (stripe_api_set_config(billing->context.api, &wanted))
		log_error("reload: out of memory; Stripe's old settings stay in use");
	/* Prices may belong to other tiers now. */
	reconcile_soon(billing->reconcile);
	portal_refresh(billing->portal);
}

static int make_parts(struct billing *billing)
{
	const struct inbox_listeners listeners = { .on_catalog = on_catalog,
						   .on_meter_error = on_meter_error,
						   .arg = billing };
	struct stripe_context *context = &billing->context;
	struct stripe_api_config wanted = api_config(context->settings);

	billing->transfers = transfers_new(context->loop, MAX_TRANSFERS, MAX_PER_HOST);
	if (!billing->transfers)
		return -ENOMEM;
	context->api = stripe_api_new(context->loop, billing->transfers, &wanted);
	if (!context->api)
		return -ENOMEM;
	billing->inbox = inbox_new(context, &listeners);
	billing->webhook = webhook_new(context);
	billing->reconcile = reconcile_new(context, billing->inbox);
	billing->report = report_new(context);
	billing->drift = drift_new(context, billing->report);
	billing->notices =
		notices_new(context, billing->transfers, &billing->agent->rules->config->notices);
	if (billing->notices)
		billing->portal = portal_new(
			context,
			&(struct portal_keys){ billing->agent->pepper, billing->agent->key_prefix },
			billing->notices);
	return billing->inbox && billing->webhook && billing->reconcile && billing->report &&
			       billing->drift && billing->notices && billing->portal
		       ? 0
		       : -ENOMEM;
}

int billing_start(struct billing *billing)
{
	struct agent *agent = billing->agent;
	int err;

	if (!agent->rules->config->stripe.is_configured || billing->is_started)
		return 0;
	billing->context = (struct stripe_context){
		.loop = &agent->loop,
		.store = agent->store,
		.mirror = agent->mirror,
		.registry = agent->registry,
		.slots = &agent->slots,
		.oddities = &billing->oddities,
		.on_changed = on_changed,
		.on_billed = on_billed,
		.has_unbilled = has_unbilled,
		.meter_id = meter_id,
		.on_changed_arg = billing,
	};
	billing_configure(billing);
	err = make_parts(billing);
	if (err)
		return err;
	billing->is_started = true;
	registry_set_outbox(agent->registry, on_storing, billing);
	report_start(billing->report);
	notices_start(billing->notices);
	portal_refresh(billing->portal);
	return 0;
}

void billing_stop(struct billing *billing)
{
	if (!billing)
		return;
	if (billing->is_started)
		registry_set_outbox(billing->context.registry, NULL, NULL);
	billing->is_started = false;
	handoff_responder_close(billing->responder);
	billing->responder = NULL;
	portal_stop(billing->portal);
	notices_stop(billing->notices);
	drift_stop(billing->drift);
	report_stop(billing->report);
	reconcile_stop(billing->reconcile);
	inbox_stop(billing->inbox);
	stripe_api_free(billing->context.api);
	billing->context.api = NULL;
	transfers_free(billing->transfers);
	billing->transfers = NULL;
}

void billing_free(struct billing *billing)
{
	if (!billing)
		return;
	portal_free(billing->portal);
	notices_free(billing->notices);
	drift_free(billing->drift);
	report_free(billing->report);
	reconcile_free(billing->reconcile);
	webhook_free(billing->webhook);
	inbox_free(billing->inbox);
	free(billing);
}

/* ---- status and metrics ---- */

struct question {
	struct billing *billing; /* borrowed */
	admin_answered done;
	void *arg;
};

static void on_reconciled(void *arg, const struct reconcile_report *report)
{
	struct question question = *(struct question *)arg;
	json_t *answer = NULL;

	free(arg);
	if (!report->err)
		answer = json_pack(
			"{s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:o}", "subscriptions",
			(json_int_t)report->seen, "untiered", (json_int_t)report->untiered,
			"repaired", (json_int_t)report->repaired, "failed",
			(json_int_t)report->failed, "missed_events", (json_int_t)report->missed,
			"strays", (json_int_t)report->strays, "repairs", report->repairs,
			"problems", report_meter_faults(question.billing->report));
	question.done(question.arg, answer, report->why);
}

static void on_retried(void *arg, int err, uint64_t count)
{
	struct question question = *(struct question *)arg;
	const char *why = err == -ENOENT   ? "there is no such failed task"
			  : err == -ERANGE ? "it is older than the 35 days that Stripe accepts"
			  : err == -EBUSY  ? "refused usage is being sent again now; try again"
			  : err == -EAGAIN ? "its meter is not usable; `tollgate status` says why"
					   : store_error(question.billing->context.store);

	free(arg);
	question.done(question.arg, err ? NULL : json_pack("{s:I}", "retried", (json_int_t)count),
		      why);
}

static int ask_stripe(struct billing *billing, const struct admin_question *question,
		      struct question *q)
{
	switch (question->kind) {
	case ADMIN_RETRY:
		report_retry_now(billing->report, question->task, on_retried, q);
		return 0;
	case ADMIN_SYNC:
		report_catalog_changed(billing->report);
		return reconcile_run(billing->reconcile, on_reconciled, q);
	case ADMIN_DRIFT:
	case ADMIN_FAILED:
		break;
	}
	return -EINVAL;
}

int billing_ask(struct billing *billing, const struct admin_question *question, admin_answered done,
		void *arg)
{
	struct question *q;
	int err;

	if (!billing->agent->rules->config->stripe.is_configured)
		return -ENOSYS;
	if (!billing->is_started)
		return -EAGAIN;
	if (question->kind == ADMIN_DRIFT)
		return drift_run(billing->drift, question->since_s, done, arg);
	if (question->kind == ADMIN_FAILED) {
		report_list_failed(billing->report, done, arg);
		return 0;
	}
	if (!stripe_is_holder(&billing->context))
		return -EREMOTE;
	q = malloc(sizeof(*q));
	if (!q)
		return -ENOMEM;
	*q = (struct question){ billing, done, arg };
	err = ask_stripe(billing, question, q);
	if (err)
		free(q);
	return err;
}

int billing_make_claim(struct billing *billing, const struct admin_claim *claim, admin_claimed done,
		       void *arg)
{
	const struct claim_order order = { .account = claim->account,
					   .customer = claim->customer,
					   .subscription = claim->subscription,
					   .session = claim->session,
					   .label = claim->label,
					   .lasts_ms = claim->lasts_ms,
					   .is_further = claim->is_further };

	if (!billing->agent->rules->config->stripe.is_configured)
		return -ENOSYS;
	if (!billing->is_started)
		return -EAGAIN;
	claim_link_make(billing->portal, &order, done, arg);
	return 0;
}

static void add_usage(json_t *status, const struct report *report)
{
	const struct report_counters *usage = report_counters(report);
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "usage_closed", usage->closed },
		{ "usage_delivered", usage->delivered },
		{ "usage_delivered_units", usage->delivered_units },
		{ "usage_setbacks", usage->setbacks },
		{ "usage_pending", usage->pending },
		{ "usage_pending_units", usage->pending_units },
		{ "usage_failed", usage->failed },
		{ "usage_failed_units", usage->failed_units },
		{ "usage_retried", usage->retried },
		{ "usage_lost", usage->lost },
		{ "usage_lost_units", usage->lost_units },
		{ "usage_blocked_units", report_blocked_units(report) },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		json_object_set_new(status, rows[i].name, json_integer((json_int_t)rows[i].value));
	json_object_set_new(status, "usage_problems", report_problems(report));
}

static void write_usage(struct metrics *m, const struct report *report)
{
	const struct report_counters *usage = report_counters(report);

	metrics_family(m, "tollgate_usage_windows_closed_total", "counter",
		       "Usage windows that were closed to be billed.");
	metrics_value(m, usage->closed);
	metrics_family(m, "tollgate_usage_delivered_units_total", "counter",
		       "Units of usage that Stripe has accepted.");
	metrics_value(m, usage->delivered_units);
	metrics_family(m, "tollgate_usage_units", "gauge",
		       "Units of usage that Stripe has not accepted, by state.");
	metrics_sample(m, "state", "blocked", NULL, NULL, report_blocked_units(report));
	metrics_sample(m, "state", "pending", NULL, NULL, usage->pending_units);
	metrics_sample(m, "state", "failed", NULL, NULL, usage->failed_units);
	metrics_sample(m, "state", "lost", NULL, NULL, usage->lost_units);
}

/* The number of accounts that are not entitled because of their subscription's mode. */
static uint64_t other_mode(const struct billing *billing)
{
	const struct mirror *mirror = billing->context.mirror;

	return mirror_mode_count(mirror, mirror_mode(mirror) == STORE_MODE_LIVE ? STORE_MODE_TEST
										: STORE_MODE_LIVE);
}

json_t *billing_status(const struct billing *billing)
{
	const struct mirror *mirror;
	const struct inbox_counters *inbox;
	const struct webhook_counters *webhook;
	json_t *status;

	if (!billing || !billing->is_started)
		return NULL;
	mirror = billing->context.mirror;
	inbox = inbox_counters(billing->inbox);
	webhook = webhook_counters(billing->webhook);
	status = json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "mode",
		store_mode_word(mirror_mode(mirror)), "accounts_other_mode",
		(json_int_t)other_mode(billing), "accounts_gone",
		(json_int_t)mirror_mode_count(mirror, STORE_MODE_GONE), "events_accepted",
		(json_int_t)webhook->accepted, "events_repeated", (json_int_t)webhook->repeated,
		"events_refused", (json_int_t)webhook->forged, "events_malformed",
		(json_int_t)webhook->malformed, "events_other_mode", (json_int_t)webhook->foreign,
		"events_pending", (json_int_t)inbox->pending, "events_failed",
		(json_int_t)inbox->failed, "fetch_failures", (json_int_t)inbox->failures,
		"reconciled_ms", (json_int_t)reconcile_last_ms(billing->reconcile));
	add_usage(status, billing->report);
	return status;
}

int billing_metrics(const struct billing *billing, struct buf *out)
{
	const struct webhook_counters *webhook;
	const struct inbox_counters *inbox;
	struct metrics m = { .out = out };

	if (!billing || !billing->is_started)
		return 0;
	inbox = inbox_counters(billing->inbox);
	webhook = webhook_counters(billing->webhook);
	metrics_family(&m, "tollgate_stripe_events_total", "counter", "Webhooks, by result.");
	metrics_sample(&m, "result", "accepted", NULL, NULL, webhook->accepted);
	metrics_sample(&m, "result", "repeated", NULL, NULL, webhook->repeated);
	metrics_sample(&m, "result", "forged", NULL, NULL, webhook->forged);
	metrics_sample(&m, "result", "malformed", NULL, NULL, webhook->malformed);
	metrics_sample(&m, "result", "other_mode", NULL, NULL, webhook->foreign);
	metrics_sample(&m, "result", "not_stored", NULL, NULL, webhook->failed);
	metrics_family(&m, "tollgate_stripe_events_pending", "gauge",
		       "Events that are stored and not yet processed.");
	metrics_value(&m, inbox->pending);
	metrics_family(&m, "tollgate_stripe_oddities_total", "counter",
		       "Subscriptions with an unknown status, or without a price of any tier.");
	metrics_sample(&m, "what", "unknown_status", NULL, NULL,
		       billing->oddities.unknown_statuses);
	metrics_sample(&m, "what", "no_tier", NULL, NULL, billing->oddities.untiered);
	metrics_family(&m, "tollgate_stripe_unfit_accounts", "gauge",
		       "Accounts whose subscription is of the other mode, or gone from Stripe.");
	metrics_sample(&m, "why", "other_mode", NULL, NULL, other_mode(billing));
	metrics_sample(&m, "why", "gone", NULL, NULL,
		       mirror_mode_count(billing->context.mirror, STORE_MODE_GONE));
	metrics_family(&m, "tollgate_stripe_fetches_total", "counter",
		       "Objects fetched from Stripe because of events, and failed attempts.");
	metrics_sample(&m, "result", "ok", NULL, NULL, inbox->fetches);
	metrics_sample(&m, "result", "failed", NULL, NULL, inbox->failures);
	write_usage(&m, billing->report);
	return m.err;
}
