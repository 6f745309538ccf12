/* SPDX-License-Identifier: BSD-2-Clause */
/* accounts: calls about accounts, tiers and usage. */
#include <errno.h>
#include <stdlib.h>

#include "admin/admin_private.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "enforce/account.h"
#include "enforce/usage.h"
#include "tollgate/bucket.h"

#define LIST_MAX 1000000

/* Workers and XDP may be writing it. */
static uint64_t read_word(const __u64 *word)
{
	return atomic_read(word);
}

static json_t *json_seconds(uint64_t s)
{
	return admin_time(s * 1000);
}

static json_t *json_metadata(const struct store_account *account)
{
	json_t *metadata = json_loads(account->metadata, 0, NULL);

	return metadata ? metadata : json_object();
}

/* Members that Stripe has provided. */
static void add_subscription(json_t *json, const struct store_account *account,
			     const struct slot_limits *limits)
{
	json_t *more = json_pack(
		"{s:s, s:s, s:I, s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		"client_reference_id", account->reference, "email", account->email, "seats",
		(json_int_t)account->seats, "metadata", json_metadata(account), "price",
		account->price, "entitlements", account->features, "mode",
		store_mode_word(account->mode), "disputes", account->disputes, "period_start",
		json_seconds(account->period_start_s), "period_end",
		json_seconds(account->period_end_s), "usage_start",
		json_seconds(account->usage_start_s), "usage_end",
		json_seconds(account->usage_end_s), "trial_end", json_seconds(account->trial_end_s),
		"cancel_at", json_seconds(account->cancel_at_s), "past_due_since",
		admin_time(account->past_due_ms), "grace_end", json_seconds(limits->grace_end_s));

	json_object_update(json, more);
	json_decref(more);
}

static json_t *json_account(const struct admin_request *r, const struct store_account *account,
			    uint32_t slot_index)
{
	const struct tollgate_slot *slot = &r->agent->slots->list[slot_index];
	uint64_t now_ns = clock_mono_ns(), used, period_end_ms;
	struct slot_limits limits;
	char id[ACCOUNT_ID_SIZE];
	json_t *json;

	account_format_id(account->id, id);
	slot_read_limits(slot, &limits);
	used = usage_quota_used(read_word(&slot->quota_word),
				usage_quota_period(limits.quota_period, limits.quota_span,
						   clock_steady_ms(), &period_end_ms));
	json = json_pack(
		"{s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
		"id", id, "tier", account->tier, "status", store_status_word(account->status),
		"held", account->is_held, "entitled", limits.state == TOLLGATE_SLOT_OPEN,
		"customer", account->customer, "subscription", account->subscription, "label",
		account->label, "created", admin_time(account->created_ms), "quota",
		(json_int_t)limits.quota_limit, "quota_used", (json_int_t)used, "concurrent",
		(json_int_t)read_word(&slot->concurrency), "refused_agent",
		(json_int_t)read_word(&slot->refused), "refused_xdp",
		(json_int_t)read_word(&slot->xdp_refused), "dropped_xdp",
		(json_int_t)read_word(&slot->xdp_dropped), "penalty",
		read_word(&slot->drop_until_ns) > now_ns);
	add_subscription(json, account, &limits);
	return json;
}

struct list {
	const struct admin_request *r;
	json_t *array;
};

static void add_account(void *arg, const struct store_account *account, uint32_t slot)
{
	struct list *list = arg;

	json_array_append_new(list->array, json_account(list->r, account, slot));
}

void admin_accounts_list(struct admin_request *r, const char *id)
{
	struct list list = { r, json_array() };

	(void)id;
	if (mirror_accounts(*r->agent->mirror) > LIST_MAX) {
		json_decref(list.array);
		admin_fail(r, 507, "there are more than %d accounts; ask for one by its id",
			   LIST_MAX);
		return;
	}
	mirror_each_account(*r->agent->mirror, add_account, &list);
	admin_answer_json(r, 200, list.array);
}

/* Get the account named in the path; or answer with an error and return false. */
static bool find_account(struct admin_request *r, const char *id, struct store_account *ret_account,
			 uint32_t *ret_slot)
{
	uint64_t number;

	if (account_parse_id(text_of(id), &number)) {
		admin_fail(r, 400, "'%s' is not a valid account id; it is acc_ and 16 hex digits",
			   id);
		return false;
	}
	if (!mirror_account(*r->agent->mirror, number, ret_account, ret_slot)) {
		admin_fail(r, 404, "account %s does not exist", id);
		return false;
	}
	return true;
}

void admin_account_show(struct admin_request *r, const char *id)
{
	struct store_account account;
	uint32_t slot;

	if (find_account(r, id, &account, &slot))
		admin_answer_json(r, 200, json_account(r, &account, slot));
}

static void on_account(void *arg, const struct registry_result *result)
{
	struct admin_request *r = arg;
	struct store_account account;
	uint32_t slot;

	if (result->err)
		admin_fail_errno(r, result->err, "account");
	else if (!mirror_account(*r->agent->mirror, result->account->id, &account, &slot))
		admin_fail(
			r, 500,
			"out of memory; the change is in the store, restart the agent to load it");
	else
		admin_answer_json(r, 200, json_account(r, &account, slot));
}

static const char *nearest_tier(const struct tiers *tiers, const char *name)
{
	const char *names[256];
	size_t count = 0;

	while (count < tiers->count && count < 256) {
		names[count] = tiers->list[count].name;
		count++;
	}
	return text_nearest(text_of(name), names, count);
}

static bool check_tier(struct admin_request *r, const char *tier)
{
	const struct tiers *tiers = *r->agent->tiers;
	const char *nearest;

	if (!tier || tiers_find(tiers, tier))
		return true;
	nearest = nearest_tier(tiers, tier);
	if (nearest)
		admin_fail(r, 400, "unknown tier '%s', did you mean '%s'?", tier, nearest);
	else
		admin_fail(r, 400, "unknown tier '%s'", tier);
	return false;
}

static bool read_change(struct admin_request *r, struct registry_change *ret_change)
{
	const json_t *held = json_object_get(r->json, "held");
	enum store_status status;
	const char *word;
	const char *bad = NULL;

	*ret_change = (struct registry_change){
		.tier = admin_string(r, "tier", STORE_NAME_MAX, &bad),
		.customer = admin_string(r, "customer", STORE_NAME_MAX, &bad),
		.subscription = admin_string(r, "subscription", STORE_NAME_MAX, &bad),
		.label = admin_string(r, "label", STORE_LABEL_MAX, &bad),
		.status = -1,
		.is_held = json_is_boolean(held) ? json_is_true(held) : -1,
		.mode = -1,
		/* The operator's word also ends what disputes have suspended. */
		.dispute = json_is_false(held) ? "*" : NULL,
		.is_dispute_over = true,
	};
	word = admin_string(r, "status", STORE_NAME_MAX, &bad);
	if (held && !json_is_boolean(held))
		bad = "held";
	if (bad) {
		admin_fail(r, 400, "'%s' has the wrong type or is too long", bad);
		return false;
	}
	if (word && store_status_parse(word, &status)) {
		admin_fail(r, 400, "unknown status '%s'", word);
		return false;
	}
	if (word)
		ret_change->status = (int)status;
	return check_tier(r, ret_change->tier);
}

static int copy_name(char *to, size_t size, const char *from)
{
	return from ? text_copy(to, size, from) : 0;
}

void admin_account_create(struct admin_request *r, const char *id)
{
	struct store_account account = { .status = STORE_ACTIVE };
	struct registry_change change;

	(void)id;
	if (!read_change(r, &change))
		return;
	if (!change.tier) {
		admin_fail(r, 400, "tier is required");
		return;
	}
	if (copy_name(account.tier, sizeof(account.tier), change.tier) ||
	    copy_name(account.customer, sizeof(account.customer), change.customer) ||
	    copy_name(account.subscription, sizeof(account.subscription), change.subscription) ||
	    copy_name(account.label, sizeof(account.label), change.label)) {
		admin_fail(r, 400, "a name is too long");
		return;
	}
	account.is_held = change.is_held > 0;
	if (change.status >= 0)
		account.status = (enum store_status)change.status;
	if (account.status == STORE_PAST_DUE)
		account.past_due_ms = clock_wall_ms();
	registry_account_create(*r->agent->registry, &account, on_account, r);
}

void admin_account_set(struct admin_request *r, const char *id)
{
	struct registry_change change;
	struct store_account account;
	uint32_t slot;

	if (!find_account(r, id, &account, &slot) || !read_change(r, &change))
		return;
	if (account.as_of_s &&
	    (change.tier || change.status >= 0 || change.customer || change.subscription)) {
		admin_fail(r, 409,
			   "Stripe sets tier and status of %s by its subscription; use suspend and "
			   "resume",
			   id);
		return;
	}
	registry_account_set(*r->agent->registry, account.id, &change, on_account, r);
}

static void on_deleted(void *arg, const struct registry_result *result)
{
	struct admin_request *r = arg;
	char id[ACCOUNT_ID_SIZE];

	if (result->err == -EBUSY) {
		admin_fail(r, 409,
			   "the account has usage that is not billed yet; try again after the "
			   "usage window has ended");
	} else if (result->err) {
		admin_fail_errno(r, result->err, "account");
	} else {
		account_format_id(result->account->id, id);
		admin_answer_json(r, 200, json_pack("{s:s}", "deleted", id));
	}
}

/* Whether Stripe still has the account's subscription, so that it would come back. */
static bool lives_at_stripe(const struct admin_request *r, const struct store_account *account)
{
	return account->subscription[0] && account->as_of_s && account->tier[0] &&
	       !account_status_is_final(account->status) && account->mode != STORE_MODE_GONE &&
	       !account_is_of_other_mode(account, mirror_mode(*r->agent->mirror));
}

void admin_account_delete(struct admin_request *r, const char *id)
{
	struct store_account account;
	const struct tier *tier;
	uint32_t slot;

	if (!find_account(r, id, &account, &slot))
		return;
	if (lives_at_stripe(r, &account)) {
		admin_fail(r, 409, "the subscription %s is %s; cancel it at Stripe first",
			   account.subscription, store_status_word(account.status));
		return;
	}
	/* Only usage of a customer with a meter is billed. */
	tier = tiers_find(*r->agent->tiers, account.tier);
	registry_account_delete(*r->agent->registry, account.id,
				!account.customer[0] || (tier && !tier->meter) || !account.tier[0],
				on_deleted, r);
}

void admin_tiers_list(struct admin_request *r, const char *id)
{
	const struct tiers *tiers = *r->agent->tiers;
	json_t *array = json_array();

	(void)id;
	for (unsigned i = 0; i < tiers->count; i++) {
		const struct tier *tier = &tiers->list[i];
		json_t *features = json_array();

		for (unsigned bit = 0; bit < tiers->feature_count; bit++) {
			if (tier->features & 1ULL << bit)
				json_array_append_new(features, json_string(tiers->features[bit]));
		}
		json_array_append_new(
			array, json_pack("{s:s, s:I, s:I, s:I, s:s, s:I, s:o}", "name", tier->name,
					 "interval_ns", (json_int_t)tier->interval_ns, "burst",
					 (json_int_t)tier->burst, "quota", (json_int_t)tier->quota,
					 "period",
					 tier->period == TOLLGATE_PERIOD_DAY	 ? "day"
					 : tier->period == TOLLGATE_PERIOD_MONTH ? "month"
										 : "none",
					 "concurrency", (json_int_t)tier->concurrency, "features",
					 features));
	}
	admin_answer_json(r, 200, array);
}

static void on_usage(void *arg, int err, const struct store_usage *rows, size_t count)
{
	struct admin_request *r = arg;
	json_t *array;

	if (err) {
		admin_fail_errno(r, err, "usage");
		return;
	}
	if (count == LIST_MAX) {
		admin_fail(r, 507,
			   "there are more than %d rows; ask for one account or a shorter time",
			   LIST_MAX);
		return;
	}
	array = json_array();
	for (size_t i = 0; i < count; i++) {
		char id[ACCOUNT_ID_SIZE];

		account_format_id(rows[i].account, id);
		json_array_append_new(array,
				      json_pack("{s:s, s:o, s:I, s:I, s:I}", "account", id,
						"window", admin_time(rows[i].window_start_s * 1000),
						"seconds", (json_int_t)rows[i].window_seconds,
						"requests", (json_int_t)rows[i].requests, "units",
						(json_int_t)rows[i].units));
	}
	admin_answer_json(r, 200, array);
}

void admin_usage_list(struct admin_request *r, const char *id)
{
	char account[64], since[32];
	uint64_t number = 0, since_s = 0;

	(void)id;
	if (admin_query(r, "account", account, sizeof(account)) &&
	    account_parse_id(text_of(account), &number)) {
		admin_fail(r, 400, "'%s' is not a valid account id", account);
		return;
	}
	if (admin_query(r, "since", since, sizeof(since)) &&
	    text_parse_u64(text_of(since), UINT32_MAX, &since_s)) {
		admin_fail(r, 400, "'%s' is not a valid Unix time", since);
		return;
	}
	store_usage_list(*r->agent->store, number, since_s, LIST_MAX, on_usage, r);
}
