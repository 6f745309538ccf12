/* SPDX-License-Identifier: BSD-2-Clause */
/* notice: decides which notices customers get, and when; notice_send.c sends them. */
#include "portal/notice.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"
#include "enforce/account.h"
#include "enforce/usage.h"
#include "portal/mail.h"
#include "portal/notice_private.h"
#include "tollgate/siphash.h"

#define TICK_MS	      1000
#define LOOK_SLOTS    4096 /* per tick: checking all accounts at once would block the loop */
#define TRIAL_AHEAD_S (3 * 86400ULL)
#define MAX_RAISED    (1 << 21)

/* ---- causes seen before ---- */

/*
 * Whether @id is raised for the first time since the start. A wrong yes is harmless, because the
 * store ignores a task whose ID it already has.
 */
static bool is_first(struct notices *n, const char *id)
{
	static const __u64 key[2];
	__u64 hash[2];

	tollgate_siphash128(key, id, strlen(id), hash);
	return id_set_add(&n->raised, hash[0] ? hash[0] : 1, MAX_RAISED) != 0;
}

/* ---- tasks ---- */

static void format_day(uint64_t at_ms, char ret_text[64])
{
	time_t at = (time_t)(at_ms / 1000);
	struct tm tm;

	ret_text[0] = '\0';
	if (!at_ms)
		return;
	gmtime_r(&at, &tm);
	strftime(ret_text, 64, "%-d %B %Y, %H:%M UTC", &tm);
}

/* The task's body: the JSON that the webhook receives, whose values the mail templates use. */
static json_t *make_body(struct notices *n, enum template_kind kind, const char *id,
			 const struct store_account *account, uint64_t quota, uint64_t resets_ms)
{
	const struct tier *tier = tiers_find(n->context->tiers, account->tier);
	const struct stripe_settings *stripe = n->context->settings;
	char account_id[ACCOUNT_ID_SIZE], grace[64], trial[64], resets[64], limit[24], url[4200];
	uint64_t grace_ms =
		account->past_due_ms && tier ? account->past_due_ms + tier->grace_ms : 0;

	account_format_id(account->id, account_id);
	format_day(grace_ms, grace);
	format_day(account->trial_end_s * 1000, trial);
	format_day(resets_ms, resets);
	snprintf(limit, sizeof(limit), "%" PRIu64, quota);
	snprintf(url, sizeof(url), "%s%s%s", stripe->app_url ? stripe->app_url : "",
		 stripe->portal_path, stripe->app_url ? "/dashboard" : "");
	return json_pack(
		"{s:s, s:s, s:I, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s},"
		" s:{s:I, s:I, s:I}}",
		"id", id, "type", template_word(kind), "created",
		(json_int_t)(clock_wall_ms() / 1000), "values", "account", account_id, "tier",
		account->tier, "status", store_status_word(account->status), "email",
		account->email, "label", account->label, "customer", account->customer, "dashboard",
		url, "grace_ends", grace, "trial_ends", trial, "quota", limit, "quota_resets",
		resets, "times", "grace_ends", (json_int_t)(grace_ms / 1000), "trial_ends",
		(json_int_t)account->trial_end_s, "quota_resets", (json_int_t)(resets_ms / 1000));
}

static void on_added(void *arg, int err, const bool *is_fresh, size_t count)
{
	struct notices *n = arg;

	(void)count;
	(void)is_fresh;
	if (err) {
		log_error("notices: cannot add tasks to the store, will retry: %s",
			  store_error(n->context->store));
		/* Forget what was raised, so that the check of all accounts raises it again. */
		id_set_done(&n->raised);
	}
}

static void raise_notice(struct notices *n, enum template_kind kind,
			 const struct store_account *account, uint64_t cause, uint64_t quota,
			 uint64_t resets_ms)
{
	struct store_task tasks[2] = { 0 };
	char id[128], account_id[ACCOUNT_ID_SIZE];
	json_t *body = NULL;
	char *text = NULL;
	size_t count = 0;

	account_format_id(account->id, account_id);
	snprintf(id, sizeof(id), "%s:%s:%" PRIu64, account_id, template_word(kind), cause);
	if (!is_first(n, id))
		return;
	body = make_body(n, kind, id, account, quota, resets_ms);
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	for (unsigned i = 0; text && i < 2; i++) {
		const struct notice_sender *sender = &n->senders[i];

		if (!sender->is_wanted(n) ||
		    (!strcmp(sender->queue, NOTICE_MAIL) && !mail_is_address(account->email)))
			continue;
		snprintf(tasks[count].queue, sizeof(tasks[count].queue), "%s", sender->queue);
		snprintf(tasks[count].id, sizeof(tasks[count].id), "%s", id);
		tasks[count].account = account->id;
		tasks[count].created_ms = clock_wall_ms();
		tasks[count++].body = text;
	}
	if (count)
		store_tasks_add(n->context->store, tasks, count, on_added, n);
	free(text);
}

/* ---- causes ---- */

static uint64_t grace_of(const struct notices *n, const struct store_account *account)
{
	const struct tier *tier = tiers_find(n->context->tiers, account->tier);

	return tier ? tier->grace_ms : 0;
}

/* Raise what is due for an account that is past due. Safe to repeat. */
static void look_at_past_due(struct notices *n, const struct store_account *account)
{
	uint64_t now_ms = clock_wall_ms(), end_ms = account->past_due_ms + grace_of(n, account);

	raise_notice(n, TEMPLATE_PAYMENT_FAILED, account, account->past_due_ms, 0, 0);
	if (now_ms >= end_ms)
		raise_notice(n, TEMPLATE_SUSPENDED, account, account->past_due_ms, 0, 0);
	else if (now_ms + n->settings->before_grace_end_ms >= end_ms)
		raise_notice(n, TEMPLATE_GRACE_ENDING, account, account->past_due_ms, 0, 0);
}

static void look_at_trial(struct notices *n, const struct store_account *account)
{
	uint64_t now_s = clock_wall_ms() / 1000;

	if (account->trial_end_s > now_s && account->trial_end_s <= now_s + TRIAL_AHEAD_S)
		raise_notice(n, TEMPLATE_TRIAL_ENDING, account, account->trial_end_s, 0, 0);
}

static void look_at_quota(struct notices *n, const struct store_account *account, uint32_t index)
{
	const struct tollgate_slot *slot = &n->context->slots->list[index];
	struct slot_limits limits;
	uint64_t end_ms, used;
	uint32_t period;

	slot_read_limits(slot, &limits);
	if (!limits.quota_limit || limits.state != TOLLGATE_SLOT_OPEN)
		return;
	period = usage_quota_period(limits.quota_period, limits.quota_span, clock_steady_ms(),
				    &end_ms);
	used = usage_quota_used(atomic_read(&slot->quota_word), period);
	if (used >= limits.quota_limit)
		raise_notice(n, TEMPLATE_QUOTA_100, account, period, limits.quota_limit, end_ms);
	if (used >= limits.quota_limit - limits.quota_limit / 5)
		raise_notice(n, TEMPLATE_QUOTA_80, account, period, limits.quota_limit, end_ms);
}

static void look_at(struct notices *n, uint32_t index)
{
	uint64_t id = n->context->slots->list[index].account_id;
	struct store_account account;
	uint32_t slot;

	if (!id || !mirror_account(n->context->mirror, id, &account, &slot) || slot != index ||
	    (!account.customer[0] && !account.email[0]))
		return;
	if (account.status == STORE_PAST_DUE)
		look_at_past_due(n, &account);
	else if (account.status == STORE_TRIALING)
		look_at_trial(n, &account);
	look_at_quota(n, &account, slot);
}

/* Check the next accounts, in the order of their slots. */
static void look_around(struct notices *n)
{
	uint32_t count = n->context->slots->count;

	for (uint32_t i = 0; i < LOOK_SLOTS && i < count; i++) {
		n->next_slot = n->next_slot < count ? n->next_slot : 0;
		look_at(n, n->next_slot++);
	}
}

static bool had_access(const struct notices *n, const struct store_account *account)
{
	return account_is_entitled(account, mirror_mode(n->context->mirror), grace_of(n, account),
				   clock_steady_ms());
}

void notices_account_changed(struct notices *n, const struct store_account *before,
			     const struct store_account *after)
{
	if (after->status == STORE_PAST_DUE)
		look_at_past_due(n, after);
	else if (after->status == STORE_TRIALING)
		look_at_trial(n, after);
	else if (before && had_access(n, before) && !had_access(n, after) && !after->is_held)
		raise_notice(n, TEMPLATE_SUSPENDED, after,
			     after->past_due_ms ? after->past_due_ms : after->period_end_s, 0, 0);
}

/* ---- life ---- */

static bool is_anything_wanted(const struct notices *n)
{
	return n->senders[0].is_wanted(n) || n->senders[1].is_wanted(n);
}

static void on_tick(uv_timer_t *timer)
{
	struct notices *n = timer->data;

	if (!stripe_is_holder(n->context))
		return;
	if (is_anything_wanted(n))
		look_around(n);
	notice_send(n);
}

struct notices *notices_new(const struct stripe_context *context, struct transfers *transfers,
			    const struct notice_settings *settings)
{
	struct notices *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->context = context;
	n->transfers = transfers;
	n->settings = settings;
	notice_senders_init(n);
	uv_timer_init(context->loop, &n->timer);
	uv_unref((uv_handle_t *)&n->timer);
	n->timer.data = n;
	return n;
}

void notices_set(struct notices *n, const struct notice_settings *settings)
{
	n->settings = settings;
}

void notices_start(struct notices *n)
{
	uv_timer_start(&n->timer, on_tick, TICK_MS, TICK_MS);
}

const struct notice_counters *notices_counters(const struct notices *n)
{
	return &n->counters;
}

void notices_stop(struct notices *n)
{
	if (!n || n->is_stopped)
		return;
	n->is_stopped = true;
	uv_close((uv_handle_t *)&n->timer, NULL);
}

void notices_free(struct notices *n)
{
	if (!n)
		return;
	notice_senders_done(n);
	id_set_done(&n->raised);
	free(n);
}
