/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registry_subscriptions: applies the state of subscriptions and customers at Stripe to accounts.
 *
 * States may come twice, late and out of order. `as_of_s` of an account is the second of Stripe's
 * clock that its state belongs to, and only a newer state may change it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "enforce/account.h"
#include "enforce/registry_private.h"

/* The mirror keeps times in 32 bits, and the store must have the same values. */
static uint64_t seconds(uint64_t s)
{
	return s < UINT32_MAX ? s : UINT32_MAX;
}

enum news {
	NEWS_NONE,
	NEWS_CANCELED, /* only the cancellation is news */
	NEWS_IN_DOUBT, /* of the same second: it is unknown which state is newer */
	NEWS_ALL,
};

/* When the state was so, by Stripe's clock. */
static uint64_t as_of(const struct registry_subscription *s)
{
	return seconds(s->as_of_s < s->now_s ? s->as_of_s : s->now_s);
}

static enum news news_in(const struct registry_subscription *s, const struct store_account *known)
{
	uint64_t known_s = known->as_of_s <= s->now_s ? known->as_of_s : 0;

	if (s->is_listed && as_of(s) == known_s)
		return NEWS_IN_DOUBT;
	if (!s->is_snapshot)
		return as_of(s) < known_s ? NEWS_NONE : NEWS_ALL;
	if (account_status_is_final(known->status))
		return NEWS_NONE;
	if (seconds(s->as_of_s) > known_s)
		return NEWS_ALL;
	return s->status == STORE_CANCELED ? NEWS_CANCELED : NEWS_NONE;
}

static void take_status(struct store_account *account, const struct registry_subscription *s)
{
	uint64_t now_ms = clock_wall_ms(), failed_ms = s->past_due_since_ms;

	if (!failed_ms || failed_ms > now_ms)
		failed_ms = now_ms;
	if (s->status >= 0)
		account_set_status(account, (enum store_status)s->status, failed_ms);
}

static void take_all(struct store_account *account, const struct registry_subscription *s,
		     void *arg)
{
	take_status(account, s);
	registry_replace(account->customer, sizeof(account->customer), s->customer);
	registry_replace(account->email, sizeof(account->email), s->email);
	registry_replace(account->tier, sizeof(account->tier),
			 s->withholds_tier && s->withholds_tier(arg, account->id) ? "" : s->tier);
	registry_replace(account->price, sizeof(account->price), s->price);
	registry_replace(account->features, sizeof(account->features), s->features);
	registry_replace(account->reference, sizeof(account->reference), s->reference);
	registry_replace(account->metadata, sizeof(account->metadata), s->metadata);
	account->seats = s->seats;
	account->period_start_s = seconds(s->period_start_s);
	account->period_end_s = seconds(s->period_end_s);
	account->trial_end_s = seconds(s->trial_end_s);
	account->cancel_at_s = seconds(s->cancel_at_s);
	account->usage_start_s = seconds(s->usage_start_s);
	account->usage_end_s = seconds(s->usage_end_s);
	account->mode = s->mode;
	account->as_of_s = as_of(s);
}

static void make_account(struct job *job)
{
	struct registry *registry = job->registry;
	struct store_account account = { .status = STORE_INCOMPLETE,
					 .created_ms = clock_wall_ms() };
	int err = mirror_can_add(registry->mirror);

	take_all(&account, &job->subscription, job->arg);
	if (!err)
		err = account_new_id(&account.id);
	if (err) {
		registry_end(job, err);
		return;
	}
	registry_replace(account.subscription, sizeof(account.subscription),
			 job->account.subscription);
	registry_replace(account.label, sizeof(account.label), job->account.label);
	job->account = account;
	registry_store_account(job, 0);
}

/* Whether the subscription may take over @account: no other one still needs it, the mode fits. */
static bool is_free(const struct store_account *account, const struct registry_subscription *s)
{
	return (!account->subscription[0] || account_status_is_final(account->status)) &&
	       (account->mode == STORE_MODE_NONE || account->mode == s->mode);
}

/*
 * Find the account that the new subscription @s takes over. 0, -ENOENT if there is none, or
 * -ENOMEM. @ret_is_known says whether the customer has any account.
 */
static int find_former(const struct mirror *mirror, const struct registry_subscription *s,
		       struct store_account *ret_former, bool *ret_is_known)
{
	struct store_account found;
	uint64_t *ids;
	unsigned count;
	uint32_t slot;
	int err = mirror_list_of_customer(mirror, s->customer, &ids, &count);

	*ret_is_known = count;
	if (err)
		return err;
	err = -ENOENT;
	if (s->account && mirror_account(mirror, s->account, ret_former, &slot)) {
		*ret_is_known = true;
		err = is_free(ret_former, s) ? 0 : -ENOENT;
	}
	for (unsigned i = 0; i < count && (err || ret_former->id != s->account); i++) {
		if (!mirror_account(mirror, ids[i], &found, &slot) || !found.subscription[0] ||
		    !is_free(&found, s) || (!err && found.as_of_s <= ret_former->as_of_s))
			continue;
		*ret_former = found;
		err = 0;
	}
	free(ids);
	return err;
}

/*
 * Whether @former, such as a free account, has access without a subscription, and would lose it
 * because the new subscription gives none yet.
 */
static bool waits_for_payment(const struct store_account *former,
			      const struct registry_subscription *s)
{
	return s->status >= 0 && !account_status_gives_access((enum store_status)s->status) &&
	       account_status_gives_access(former->status);
}

static void end_without_account(struct job *job)
{
	job->is_unchanged = true;
	job->account = (struct store_account){ 0 };
	registry_end(job, 0);
}

/* Give the new subscription the account of a former one, or a new account. */
static void begin_first(struct job *job)
{
	const struct registry_subscription *s = &job->subscription;
	struct registry *registry = job->registry;
	struct store_account account;
	bool is_known;
	int err;

	if (account_status_is_final(s->status) || !s->tier[0]) {
		end_without_account(job);
		return;
	}
	err = find_former(registry->mirror, s, &job->before, &is_known);

	if (err && err != -ENOENT) {
		registry_end(job, err);
		return;
	}
	if ((s->is_snapshot && is_known) || (!err && waits_for_payment(&job->before, s))) {
		end_without_account(job);
		return;
	}
	if (err) {
		make_account(job);
		return;
	}
	job->has_before = true;
	account = job->before;
	if (strcmp(account.customer, s->customer) != 0)
		account.features[0] = '\0'; /* they belong to the customer */
	account.past_due_ms = 0;
	account.disputes[0] = '\0';
	account.status = STORE_INCOMPLETE;
	take_all(&account, s, job->arg);
	registry_replace(account.subscription, sizeof(account.subscription), s->subscription);
	job->account = account;
	registry_store_account(job, STORE_FIELD(SUBSCRIPTION) | STORE_FIELD(STATUS));
}

static void begin_apply(struct job *job)
{
	const struct registry_subscription *s = &job->subscription;
	struct registry *registry = job->registry;
	struct store_account account;
	uint32_t slot;
	enum news news;

	job->has_before = mirror_account_by_subscription(registry->mirror, s->subscription,
							 &job->before, &slot);
	if (!job->has_before) {
		begin_first(job);
		return;
	}
	account = job->before;
	news = news_in(s, &account);
	if (news == NEWS_ALL || news == NEWS_IN_DOUBT)
		take_all(&account, s, job->arg);
	else if (news == NEWS_CANCELED)
		take_status(&account, s);
	if (news == NEWS_IN_DOUBT && !account_is_same(&account, &job->before)) {
		job->is_in_doubt = true;
		account = job->before;
	}
	job->account = account;
	job->is_unchanged = account_is_same(&account, &job->before);
	/* Store a later time even if nothing else changed: it makes older states outdated. */
	if (job->is_unchanged && account.as_of_s == job->before.as_of_s)
		registry_end(job, 0);
	else
		registry_store_account(job, 0);
}

/* Copy @value to @field and return the copy, or NULL for NULL. */
static const char *keep(char *field, size_t size, const char *value)
{
	registry_replace(field, size, value);
	return value ? field : NULL;
}
#define KEEP(field, value) keep(room->field, sizeof(room->field), (value))

void registry_subscription_apply(struct registry *registry, const struct registry_subscription *s,
				 registry_done done, void *arg)
{
	struct job *job = registry_job(registry, begin_apply, done, arg);
	struct store_account *room;

	if (!job)
		return;
	room = &job->account;
	job->subscription = *s;
	job->subscription.subscription = KEEP(subscription, s->subscription);
	job->subscription.customer = KEEP(customer, s->customer);
	job->subscription.email = KEEP(email, s->email);
	job->subscription.tier = KEEP(tier, s->tier);
	job->subscription.price = KEEP(price, s->price);
	job->subscription.features = KEEP(features, s->features);
	job->subscription.label = KEEP(label, s->label);
	job->subscription.reference = KEEP(reference, s->reference);
	job->subscription.metadata = KEEP(metadata, s->metadata);
	registry_submit(job);
}

/* ---- entitlements: the accounts of a customer are changed one after another ---- */

static void entitle_next(struct job *job);

static void on_entitled(void *arg, int err)
{
	struct job *job = arg;

	if (err) {
		registry_end(job, err);
		return;
	}
	job->changed++;
	entitle_next(job);
}

static void entitle_next(struct job *job)
{
	struct registry *registry = job->registry;
	const char *features = job->before.features;
	struct store_account was;
	uint32_t slot;

	while (job->id_at < job->id_count) {
		if (!mirror_account(registry->mirror, job->ids[job->id_at++], &job->account,
				    &slot) ||
		    !strcmp(job->account.features, features))
			continue;
		was = job->account;
		registry_replace(job->account.features, sizeof(job->account.features), features);
		store_account_set(registry->store, &was, &job->account, 0, on_entitled, job);
		return;
	}
	job->is_unchanged = !job->changed;
	registry_end(job, 0);
}

static void begin_entitle(struct job *job)
{
	const struct mirror *mirror = job->registry->mirror;
	const char *customer = job->before.customer;

	job->id_count = mirror_accounts_of_customer(mirror, customer, NULL, 0);
	if (!job->id_count) {
		registry_end(job, -ENOENT);
		return;
	}
	job->ids = calloc(job->id_count, sizeof(*job->ids));
	if (!job->ids) {
		registry_end(job, -ENOMEM);
		return;
	}
	mirror_accounts_of_customer(mirror, customer, job->ids, job->id_count);
	entitle_next(job);
}

void registry_account_entitle(struct registry *registry, const char *customer, const char *features,
			      registry_done done, void *arg)
{
	struct job *job = registry_job(registry, begin_entitle, done, arg);

	if (!job)
		return;
	/*
	 * Until the job begins, the arguments are kept in a record that this change does not need.
	 */
	registry_replace(job->before.customer, sizeof(job->before.customer), customer);
	registry_replace(job->before.features, sizeof(job->before.features), features);
	registry_submit(job);
}
