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
#include "base/crypto.h"
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

/* What happened to an account. */
struct cause {
	const char *type;
	uint64_t number; /* tells it from other causes of this type */
	uint64_t quota, resets_ms;
	const char *old_tier, *reason; /* NULL: none */
	bool is_for_operator;	       /* only the webhook gets it */
};

/* The task's body: the JSON that the webhook receives, whose values the mail templates use. */
static json_t *make_body(struct notices *n, const struct cause *cause, const char *id,
			 const struct store_account *account)
{
	const struct tier *tier = tiers_find(n->context->tiers, account->tier);
	const struct stripe_settings *stripe = n->context->settings;
	char account_id[ACCOUNT_ID_SIZE], grace[64], trial[64], resets[64], limit[24], url[4200];
	uint64_t grace_ms =
		account->past_due_ms && tier ? account->past_due_ms + tier->grace_ms : 0;

	account_format_id(account->id, account_id);
	format_day(grace_ms, grace);
	format_day(account->trial_end_s * 1000, trial);
	format_day(cause->resets_ms, resets);
	snprintf(limit, sizeof(limit), "%" PRIu64, cause->quota);
	snprintf(url, sizeof(url), "%s%s%s", stripe->app_url ? stripe->app_url : "",
		 stripe->portal_path, stripe->app_url ? "/dashboard" : "");
	return json_pack(
		"{s:s, s:s, s:I, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s*, "
		"s:s*}, s:{s:I, s:I, s:I}}",
		"id", id, "type", cause->type, "created", (json_int_t)(clock_wall_ms() / 1000),
		"values", "account", account_id, "tier", account->tier, "status",
		store_status_word(account->status), "email", account->email, "label",
		account->label, "customer", account->customer, "dashboard", url, "grace_ends",
		grace, "trial_ends", trial, "quota", limit, "quota_resets", resets, "old_tier",
		cause->old_tier, "reason", cause->reason, "times", "grace_ends",
		(json_int_t)(grace_ms / 1000), "trial_ends", (json_int_t)account->trial_end_s,
		"quota_resets", (json_int_t)(cause->resets_ms / 1000));
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

#define CAUSE_ID_SIZE 128

static void write_id(const struct store_account *account, const struct cause *cause,
		     char ret_id[CAUSE_ID_SIZE])
{
	char account_id[ACCOUNT_ID_SIZE];

	account_format_id(account->id, account_id);
	snprintf(ret_id, CAUSE_ID_SIZE, "%s:%s:%" PRIu64, account_id, cause->type, cause->number);
}

/* The body as text, which the caller frees; NULL if memory is short. */
static char *write_body(struct notices *n, const struct cause *cause, const char *id,
			const struct store_account *account)
{
	json_t *body = make_body(n, cause, id, account);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	return text;
}

static void raise_cause(struct notices *n, const struct store_account *account,
			const struct cause *cause)
{
	struct store_task tasks[2] = { 0 };
	char id[CAUSE_ID_SIZE];
	char *text = NULL;
	size_t count = 0;

	write_id(account, cause, id);
	if (!is_first(n, id))
		return;
	text = write_body(n, cause, id, account);
	for (unsigned i = 0; text && i < 2; i++) {
		const struct notice_sender *sender = &n->senders[i];

		if (!sender->is_wanted(n) ||
		    (!strcmp(sender->queue, NOTICE_MAIL) &&
		     (cause->is_for_operator || !mail_is_address(account->email))))
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

static void raise_notice(struct notices *n, enum template_kind kind,
			 const struct store_account *account, uint64_t number, uint64_t quota,
			 uint64_t resets_ms)
{
	raise_cause(n, account,
		    &(struct cause){ .type = template_word(kind),
				     .number = number,
				     .quota = quota,
				     .resets_ms = resets_ms });
}

/* ---- causes ---- */

static uint64_t grace_of(const struct notices *n, const struct store_account *account)
{
	const struct tier *tier = tiers_find(n->context->tiers, account->tier);

	return tier ? tier->grace_ms : 0;
}

/*
 * Whether an account that is past due would have access if its grace were not over at @now_ms.
 */
static bool is_grace_over(const struct notices *n, const struct store_account *account,
			  uint64_t now_ms)
{
	return account->status == STORE_PAST_DUE && !account->is_held && !account->disputes[0] &&
	       !account_is_of_other_mode(account, mirror_mode(n->context->mirror)) &&
	       now_ms >= account->past_due_ms + grace_of(n, account);
}

/* Its number is the same at each check and each change, so the webhook gets it once. */
static struct cause grace_over(const struct store_account *account)
{
	return (struct cause){ .type = "account.suspended",
			       .number = account->past_due_ms,
			       .reason = "grace_over",
			       .is_for_operator = true };
}

/* For all accounts, even those without a customer at Stripe. */
static void look_at_grace(struct notices *n, const struct store_account *account)
{
	struct cause cause = grace_over(account);

	if (is_grace_over(n, account, clock_wall_ms()))
		raise_cause(n, account, &cause);
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

	if (!id || !mirror_account(n->context->mirror, id, &account, &slot) || slot != index)
		return;
	look_at_grace(n, &account);
	if (!account.customer[0] && !account.email[0])
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

static bool is_anything_wanted(const struct notices *n)
{
	return n->senders[0].is_wanted(n) || n->senders[1].is_wanted(n);
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

/* Why an account has lost its access. */
static const char *reason_of(const struct notices *n, const struct store_account *account)
{
	if (account->is_held)
		return "held";
	if (account->disputes[0])
		return "dispute";
	if (account_is_of_other_mode(account, mirror_mode(n->context->mirror)))
		return "other_mode";
	return store_status_word(account->status);
}

/* ---- changes of accounts ---- */

/* Append the task that reports @cause to the webhook to @ret_tasks. 0 or -ENOMEM. */
static int add_task(struct notices *n, const struct store_account *account,
		    const struct cause *cause, struct store_task *ret_tasks, int *count)
{
	struct store_task *task = &ret_tasks[*count];
	char id[CAUSE_ID_SIZE];

	write_id(account, cause, id);
	*task = (struct store_task){ .account = account->id, .created_ms = clock_wall_ms() };
	snprintf(task->queue, sizeof(task->queue), "%s", NOTICE_HOOK);
	snprintf(task->id, sizeof(task->id), "%s", id);
	task->body = write_body(n, cause, id, account);
	if (!task->body)
		return -ENOMEM;
	++*count;
	return 0;
}

/*
 * Write the causes that follow from the change to @causes, and return how many there are. @number
 * identifies the change.
 */
static int find_causes(const struct notices *n, const struct store_account *before,
		       const struct store_account *after, uint64_t number,
		       struct cause causes[REGISTRY_TASKS_MAX])
{
	int count = 0;

	if (!before) {
		causes[count++] =
			(struct cause){ .type = "account.created", .number = after->created_ms };
		return count;
	}
	if (strcmp(before->tier, after->tier) != 0)
		causes[count++] = (struct cause){ .type = "account.tier_changed",
						  .number = number,
						  .old_tier = before->tier };
	/* The grace may have ended just now, before the check of all accounts noticed. */
	if (after->status != STORE_PAST_DUE && is_grace_over(n, before, clock_wall_ms()))
		causes[count++] = grace_over(before);
	/* The end of the grace period changes no account, so look_at_grace() reports it. */
	if (had_access(n, before) && !had_access(n, after) &&
	    !is_grace_over(n, after, clock_wall_ms()))
		causes[count++] = (struct cause){ .type = "account.suspended",
						  .number = number,
						  .reason = reason_of(n, after) };
	return count;
}

int notices_make_tasks(struct notices *n, const struct store_account *before,
		       const struct store_account *after,
		       struct store_task ret_tasks[REGISTRY_TASKS_MAX])
{
	struct cause causes[REGISTRY_TASKS_MAX];
	uint64_t number;
	int err, found, count = 0;

	if (!n->settings->hook_url)
		return 0;
	err = account_new_id(&number);
	if (err)
		return err;
	found = find_causes(n, before, after, number, causes);
	for (int i = 0; i < found && !err; i++)
		err = add_task(n, after, &causes[i], ret_tasks, &count);
	return err ? err : count;
}

/* ---- links ---- */

bool notices_can_mail(const struct notices *n)
{
	return n->settings->smtp_server;
}

static void on_link_added(void *arg, int err, const bool *is_fresh, size_t count)
{
	struct notices *n = arg;

	(void)is_fresh;
	(void)count;
	if (err)
		log_error("cannot store a mail with a link, so it is not sent: %s",
			  store_error(n->context->store));
}

int notices_mail_link(struct notices *n, enum template_kind kind, const char *email,
		      const char *links, uint64_t expires_s)
{
	struct store_task task = { .queue = NOTICE_MAIL, .created_ms = clock_wall_ms() };
	uint8_t random[16];
	char number[33];
	json_t *body;
	char *text;
	int err;

	if (!notices_can_mail(n))
		return -ENOTCONN;
	if (!mail_is_address(email))
		return -EINVAL;
	err = crypto_random(random, sizeof(random));
	if (err)
		return err;
	text_hex(random, sizeof(random), number);
	snprintf(task.id, sizeof(task.id), "%s:%s", template_word(kind), number);
	body = json_pack("{s:s, s:s, s:I, s:{s:s, s:s}}", "id", task.id, "type",
			 template_word(kind), "expires", (json_int_t)expires_s, "values", "email",
			 email, "links", links);
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	if (!text)
		return -ENOMEM;
	task.body = text;
	store_tasks_add(n->context->store, &task, 1, on_link_added, n);
	free(text);
	return 0;
}

/* ---- life ---- */

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
