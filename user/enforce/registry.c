/* SPDX-License-Identifier: BSD-2-Clause */
/* registry: the queue of changes, and the operator's changes of accounts. */
#include "enforce/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "enforce/account.h"
#include "enforce/registry_private.h"

#define MAX_WAITING 10000

struct registry *registry_new(struct store *store, struct mirror *mirror,
			      const struct crypto_hmac *pepper, const char *key_prefix)
{
	struct registry *registry = calloc(1, sizeof(*registry));

	if (!registry)
		return NULL;
	registry->store = store;
	registry->mirror = mirror;
	registry->pepper = pepper;
	registry->key_prefix = key_prefix;
	STAILQ_INIT(&registry->jobs);
	return registry;
}

static void job_free(struct job *job)
{
	OPENSSL_cleanse(job->key_text, sizeof(job->key_text));
	free(job->keys);
	free(job->ids);
	free(job);
}

void registry_free(struct registry *registry)
{
	struct job *job;

	if (!registry)
		return;
	while ((job = STAILQ_FIRST(&registry->jobs))) {
		STAILQ_REMOVE_HEAD(&registry->jobs, entry);
		if (job->subscription.on_dropped)
			job->subscription.on_dropped(job->arg);
		job_free(job);
	}
	free(registry);
}

/* Begin the first job. If it ends at once, begin the next one, without recursion. */
static void pump(struct registry *registry)
{
	struct job *job;

	if (registry->is_pumping)
		return;
	registry->is_pumping = true;
	while ((job = STAILQ_FIRST(&registry->jobs)) && !job->is_begun) {
		job->is_begun = true;
		job->begin(job);
	}
	registry->is_pumping = false;
}

void registry_end(struct job *job, int err)
{
	struct registry *registry = job->registry;
	struct registry_result result = { .err = err, .failed_at = job->failed_at };

	if (!err)
		result = (struct registry_result){
			.account = job->account.id ? &job->account : NULL,
			.key = job->key_count == 1 ? job->keys : NULL,
			.key_text = job->key_text[0] ? job->key_text : NULL,
			.before = job->has_before ? &job->before : NULL,
			.is_changed = !job->is_unchanged,
			.is_in_doubt = job->is_in_doubt,
			.added = job->key_count,
			.present = job->present,
			.failed_at = SIZE_MAX,
			.changed = job->changed,
		};
	STAILQ_REMOVE_HEAD(&registry->jobs, entry);
	registry->waiting--;
	job->done(job->arg, &result);
	job_free(job);
	pump(registry);
}

void registry_on_stored(void *arg, int err)
{
	registry_end(arg, err);
}

void registry_set_outbox(struct registry *registry, registry_outbox outbox, void *arg)
{
	registry->outbox = outbox;
	registry->outbox_arg = arg;
}

void registry_store_account(struct job *job, uint32_t named)
{
	struct registry *registry = job->registry;
	const struct store_account *before = job->has_before ? &job->before : NULL;
	struct store_task tasks[REGISTRY_TASKS_MAX] = { 0 };
	int count = registry->outbox
			    ? registry->outbox(registry->outbox_arg, before, &job->account, tasks)
			    : 0;

	if (count >= 0)
		store_account_change(registry->store,
				     &(struct store_account_change){ .before = before,
								     .account = &job->account,
								     .named = named,
								     .is_new = !before,
								     .tasks = tasks,
								     .task_count = (size_t)count },
				     registry_on_stored, job);
	for (size_t i = 0; i < REGISTRY_TASKS_MAX; i++)
		free(tasks[i].body);
	if (count < 0)
		registry_end(job, count);
}

void registry_refuse(struct job *job, int err)
{
	struct registry_result result = { .err = err };

	job->done(job->arg, &result);
	job_free(job);
}

struct job *registry_job(struct registry *registry, void (*begin)(struct job *), registry_done done,
			 void *arg)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job) {
		done(arg, &(struct registry_result){ .err = -ENOMEM });
		return NULL;
	}
	job->registry = registry;
	job->begin = begin;
	job->done = done;
	job->arg = arg;
	return job;
}

void registry_submit(struct job *job)
{
	struct registry *registry = job->registry;

	if (registry->waiting >= MAX_WAITING) {
		registry_refuse(job, -ENOBUFS);
		return;
	}
	registry->waiting++;
	STAILQ_INSERT_TAIL(&registry->jobs, job, entry);
	pump(registry);
}

/* ---- accounts ---- */

static void begin_account_create(struct job *job)
{
	struct registry *registry = job->registry;
	int err = job->account.id ? 0 : account_new_id(&job->account.id);

	job->account.created_ms = clock_wall_ms();
	if (!err)
		err = mirror_can_add(registry->mirror);
	if (err)
		registry_end(job, err);
	else
		registry_store_account(job, 0);
}

void registry_account_create(struct registry *registry, const struct store_account *account,
			     registry_done done, void *arg)
{
	struct job *job = registry_job(registry, begin_account_create, done, arg);

	if (!job)
		return;
	job->account = *account;
	registry_submit(job);
}

void registry_replace(char *field, size_t size, const char *value)
{
	if (value)
		snprintf(field, size, "%s", value);
}

/*
 * The fields that the request names. They are set even if the mirror says that they have that value
 * already, because the mirror may lag behind another host's change.
 */
static uint32_t named_fields(const struct registry_change *change)
{
	uint32_t fields = 0;

	if (change->tier)
		fields |= STORE_FIELD(TIER);
	if (change->customer)
		fields |= STORE_FIELD(CUSTOMER);
	if (change->subscription)
		fields |= STORE_FIELD(SUBSCRIPTION);
	if (change->label)
		fields |= STORE_FIELD(LABEL);
	if (change->status >= 0)
		fields |= STORE_FIELD(STATUS) | STORE_FIELD(PAST_DUE_MS);
	if (change->is_held >= 0)
		fields |= STORE_FIELD(IS_HELD);
	return fields;
}

/*
 * Remove @charge from the account's list of disputes, and add it at the end unless @is_over. If
 * there is no room, STORE_DISPUTES_MORE stands for it; there is always room for that.
 */
static void change_disputes(struct store_account *account, const char *charge, bool is_over)
{
	size_t reserved = strcmp(charge, STORE_DISPUTES_MORE) ? strlen(" " STORE_DISPUTES_MORE) : 0;
	char kept[STORE_DISPUTES_MAX] = "";
	const char *word = strcmp(charge, "*") ? account->disputes : "";
	size_t len = 0;

	while (*word) {
		size_t word_len = strcspn(word, " ");

		if (!text_is((struct text){ word, word_len }, charge))
			len += (size_t)snprintf(kept + len, sizeof(kept) - len, "%s%.*s",
						len ? " " : "", (int)word_len, word);
		word += word_len;
		word += strspn(word, " ");
	}
	memcpy(account->disputes, kept, sizeof(kept));
	if (is_over)
		return;
	if (len + 1 + strlen(charge) + reserved < sizeof(kept))
		snprintf(account->disputes + len, sizeof(kept) - len, "%s%s", len ? " " : "",
			 charge);
	else
		change_disputes(account, STORE_DISPUTES_MORE, false);
}

static void begin_account_set(struct job *job)
{
	const struct registry_change *change = &job->change;
	uint32_t named = named_fields(change);
	struct store_account now;
	uint32_t slot;

	if (!mirror_account(job->registry->mirror, job->target, &now, &slot)) {
		registry_end(job, -ENOENT);
		return;
	}
	job->before = now;
	job->has_before = true;
	registry_replace(now.tier, sizeof(now.tier), change->tier);
	registry_replace(now.customer, sizeof(now.customer), change->customer);
	registry_replace(now.subscription, sizeof(now.subscription), change->subscription);
	registry_replace(now.label, sizeof(now.label), change->label);
	if (change->status >= 0)
		account_set_status(&now, (enum store_status)change->status, clock_wall_ms());
	if (change->is_held >= 0)
		now.is_held = change->is_held;
	if (change->mode >= 0)
		now.mode = (enum store_mode)change->mode;
	if (change->dispute)
		change_disputes(&now, change->dispute, change->is_dispute_over);
	job->account = now;
	job->is_unchanged = !named && account_is_same(&now, &job->before);
	if (job->is_unchanged) {
		registry_end(job, 0);
		return;
	}
	registry_store_account(job, named);
}

void registry_account_set(struct registry *registry, uint64_t account,
			  const struct registry_change *change, registry_done done, void *arg)
{
	struct job *job = registry_job(registry, begin_account_set, done, arg);
	struct store_account *room;

	if (!job)
		return;
	/* Until the job begins, the strings are kept in the record that they will go into. */
	room = &job->account;
	registry_replace(room->tier, sizeof(room->tier), change->tier);
	registry_replace(room->customer, sizeof(room->customer), change->customer);
	registry_replace(room->subscription, sizeof(room->subscription), change->subscription);
	registry_replace(room->label, sizeof(room->label), change->label);
	registry_replace(room->disputes, sizeof(room->disputes), change->dispute);
	job->change = (struct registry_change){
		.tier = change->tier ? room->tier : NULL,
		.customer = change->customer ? room->customer : NULL,
		.subscription = change->subscription ? room->subscription : NULL,
		.label = change->label ? room->label : NULL,
		.status = change->status,
		.is_held = change->is_held,
		.mode = change->mode,
		.dispute = change->dispute ? room->disputes : NULL,
		.is_dispute_over = change->is_dispute_over,
	};
	job->target = account;
	registry_submit(job);
}

static void begin_account_delete(struct job *job)
{
	uint32_t slot;

	if (!mirror_account(job->registry->mirror, job->target, &job->before, &slot)) {
		registry_end(job, -ENOENT);
		return;
	}
	job->has_before = true;
	job->account = job->before;
	store_account_delete(job->registry->store, job->target, job->drops_usage,
			     registry_on_stored, job);
}

void registry_account_delete(struct registry *registry, uint64_t account, bool drops_usage,
			     registry_done done, void *arg)
{
	struct job *job = registry_job(registry, begin_account_delete, done, arg);

	if (!job)
		return;
	job->target = account;
	job->drops_usage = drops_usage;
	registry_submit(job);
}
