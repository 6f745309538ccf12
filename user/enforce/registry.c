/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registry: changes of accounts and keys, to the store first and then to the mirror.
 *
 * A change is a job with two steps: begin() makes the records from what the mirror holds and gives
 * them to the store; finish() enters them in the mirror. One job is under way at a time.
 */
#include "enforce/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "enforce/account.h"

#define MAX_WAITING 10000

struct job {
	struct job *next;
	struct registry *registry; /* borrowed: it owns the job */
	bool is_begun;
	void (*begin)(struct job *job);
	void (*finish)(struct job *job);
	registry_done done;
	void *arg;
	uint64_t target; /* account or key */
	uint64_t time_ms;
	struct registry_change change; /* its strings point into `account` */
	struct store_account account;
	struct store_key *keys; /* owned */
	size_t key_count;
	size_t present;
	size_t failed_at;
	char key_text[KEY_TEXT_SIZE];
};

struct registry {
	struct store *store;		  /* borrowed */
	struct mirror *mirror;		  /* borrowed */
	const struct crypto_hmac *pepper; /* borrowed */
	const char *key_prefix;		  /* borrowed */
	struct job *first, **last;	  /* owned; the first is under way */
	unsigned waiting;
	bool is_pumping;
};

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
	registry->last = &registry->first;
	return registry;
}

static void job_free(struct job *job)
{
	OPENSSL_cleanse(job->key_text, sizeof(job->key_text));
	free(job->keys);
	free(job);
}

void registry_free(struct registry *registry)
{
	if (!registry)
		return;
	while (registry->first) {
		struct job *job = registry->first;

		registry->first = job->next;
		job_free(job);
	}
	free(registry);
}

/* Begin the first job; again for each one that ends at once, without going deeper. */
static void pump(struct registry *registry)
{
	if (registry->is_pumping)
		return;
	registry->is_pumping = true;
	while (registry->first && !registry->first->is_begun) {
		registry->first->is_begun = true;
		registry->first->begin(registry->first);
	}
	registry->is_pumping = false;
}

/* The job under way is over. */
static void end_job(struct job *job, int err)
{
	struct registry *registry = job->registry;
	struct registry_result result = { .err = err, .failed_at = job->failed_at };

	if (!err)
		result = (struct registry_result){
			.account = &job->account,
			.key = job->key_count == 1 ? job->keys : NULL,
			.key_text = job->key_text[0] ? job->key_text : NULL,
			.added = job->key_count,
			.present = job->present,
			.failed_at = SIZE_MAX,
		};
	registry->first = job->next;
	registry->waiting--;
	if (!registry->first)
		registry->last = &registry->first;
	job->done(job->arg, &result);
	job_free(job);
	pump(registry);
}

static void on_stored(void *arg, int err)
{
	struct job *job = arg;

	if (!err)
		job->finish(job);
	end_job(job, err);
}

static void refuse_job(struct job *job, int err)
{
	struct registry_result result = { .err = err };

	job->done(job->arg, &result);
	job_free(job);
}

static struct job *job_new(struct registry *registry, void (*begin)(struct job *),
			   void (*finish)(struct job *), registry_done done, void *arg)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job) {
		done(arg, &(struct registry_result){ .err = -ENOMEM });
		return NULL;
	}
	job->registry = registry;
	job->begin = begin;
	job->finish = finish;
	job->done = done;
	job->arg = arg;
	return job;
}

static void submit(struct job *job)
{
	struct registry *registry = job->registry;

	if (registry->waiting >= MAX_WAITING) {
		refuse_job(job, -ENOBUFS);
		return;
	}
	registry->waiting++;
	*registry->last = job;
	registry->last = &job->next;
	pump(registry);
}

/* Accounts. */

static void enter_account(struct job *job)
{
	struct registry *registry = job->registry;

	mirror_put_account(registry->mirror, &job->account, clock_wall_ms(), clock_mono_ns());
}

static void begin_account_create(struct job *job)
{
	struct registry *registry = job->registry;
	int err = account_new_id(&job->account.id);

	job->account.created_ms = clock_wall_ms();
	if (!err)
		err = mirror_can_add(registry->mirror);
	if (err)
		end_job(job, err);
	else
		store_account_add(registry->store, &job->account, on_stored, job);
}

void registry_account_create(struct registry *registry, const struct store_account *account,
			     registry_done done, void *arg)
{
	struct job *job = job_new(registry, begin_account_create, enter_account, done, arg);

	if (!job)
		return;
	job->account = *account;
	submit(job);
}

static void replace(char *field, size_t size, const char *value)
{
	if (value)
		snprintf(field, size, "%s", value);
}

static void begin_account_set(struct job *job)
{
	const struct registry_change *change = &job->change;
	struct store_account now;
	uint32_t slot;

	if (!mirror_account(job->registry->mirror, job->target, &now, &slot)) {
		end_job(job, -ENOENT);
		return;
	}
	replace(now.tier, sizeof(now.tier), change->tier);
	replace(now.customer, sizeof(now.customer), change->customer);
	replace(now.subscription, sizeof(now.subscription), change->subscription);
	replace(now.label, sizeof(now.label), change->label);
	if (change->status >= 0) {
		now.status = (enum store_status)change->status;
		/* Grace begins with the first failure, and later ones do not begin it anew. */
		if (now.status != STORE_PAST_DUE)
			now.past_due_ms = 0;
		else if (!now.past_due_ms)
			now.past_due_ms = clock_wall_ms();
	}
	if (change->is_held >= 0)
		now.is_held = change->is_held;
	job->account = now;
	store_account_set(job->registry->store, &job->account, on_stored, job);
}

void registry_account_set(struct registry *registry, uint64_t account,
			  const struct registry_change *change, registry_done done, void *arg)
{
	struct job *job = job_new(registry, begin_account_set, enter_account, done, arg);
	struct store_account *room;

	if (!job)
		return;
	/* The strings wait in the record that they will end in. */
	room = &job->account;
	replace(room->tier, sizeof(room->tier), change->tier);
	replace(room->customer, sizeof(room->customer), change->customer);
	replace(room->subscription, sizeof(room->subscription), change->subscription);
	replace(room->label, sizeof(room->label), change->label);
	job->change = (struct registry_change){
		.tier = change->tier ? room->tier : NULL,
		.customer = change->customer ? room->customer : NULL,
		.subscription = change->subscription ? room->subscription : NULL,
		.label = change->label ? room->label : NULL,
		.status = change->status,
		.is_held = change->is_held,
	};
	job->target = account;
	submit(job);
}

/* Keys. */

static void enter_keys(struct job *job)
{
	for (size_t i = 0; i < job->key_count; i++)
		mirror_put_key(job->registry->mirror, &job->keys[i]);
}

/* Fill in a fresh key of ours: text, hash, hint, id. */
static int make_key(struct job *job, uint64_t account)
{
	struct registry *registry = job->registry;
	struct store_key *key = job->keys;
	int err = key_generate(registry->key_prefix, job->key_text);

	if (!err)
		err = account_new_id(&key->id);
	if (err)
		return err;
	key->account = account;
	key->created_ms = clock_wall_ms();
	key_hint(text_of(job->key_text), key->hint);
	crypto_hmac_sha256(registry->pepper, job->key_text, strlen(job->key_text), key->hash);
	job->key_count = 1;
	return 0;
}

static void begin_key_create(struct job *job)
{
	struct registry *registry = job->registry;
	uint32_t slot;
	int err = mirror_account(registry->mirror, job->target, &job->account, &slot) ? 0 : -ENOENT;

	if (!err)
		err = make_key(job, job->target);
	if (err)
		end_job(job, err);
	else
		store_keys_add(registry->store, job->keys, 1, on_stored, job);
}

static struct job *key_job(struct registry *registry, void (*begin)(struct job *),
			   void (*finish)(struct job *), registry_done done, void *arg)
{
	struct job *job = job_new(registry, begin, finish, done, arg);

	if (!job)
		return NULL;
	job->keys = calloc(1, sizeof(*job->keys));
	if (!job->keys) {
		refuse_job(job, -ENOMEM);
		return NULL;
	}
	return job;
}

void registry_key_create(struct registry *registry, uint64_t account, const char *label,
			 registry_done done, void *arg)
{
	struct job *job = key_job(registry, begin_key_create, enter_keys, done, arg);

	if (!job)
		return;
	job->target = account;
	snprintf(job->keys->label, sizeof(job->keys->label), "%s", label ? label : "");
	submit(job);
}

/* When a key ends that is to end at @wanted_ms: never later than it would have ended anyway. */
static uint64_t earlier_end(const struct store_key *key, uint64_t wanted_ms)
{
	return key->revoked_ms && key->revoked_ms < wanted_ms ? key->revoked_ms : wanted_ms;
}

static void begin_key_revoke(struct job *job)
{
	uint64_t now_ms = clock_wall_ms();

	if (!mirror_key_by_id(job->registry->mirror, job->target, job->keys)) {
		end_job(job, -ENOENT);
		return;
	}
	job->keys->revoked_ms =
		earlier_end(job->keys, job->time_ms > now_ms ? job->time_ms : now_ms);
	job->key_count = 1;
	store_key_revoke(job->registry->store, job->target, job->keys->revoked_ms, on_stored, job);
}

void registry_key_revoke(struct registry *registry, uint64_t key, uint64_t at_ms,
			 registry_done done, void *arg)
{
	struct job *job = key_job(registry, begin_key_revoke, enter_keys, done, arg);

	if (!job)
		return;
	job->target = key;
	job->time_ms = at_ms;
	submit(job);
}

static void finish_key_rotate(struct job *job)
{
	struct store_key old;

	enter_keys(job);
	if (mirror_key_by_id(job->registry->mirror, job->target, &old)) {
		old.revoked_ms = job->time_ms;
		mirror_put_key(job->registry->mirror, &old);
	}
}

static void begin_key_rotate(struct job *job)
{
	uint64_t now_ms = clock_wall_ms();
	struct store_key old;
	int err;

	if (!mirror_key_by_id(job->registry->mirror, job->target, &old)) {
		end_job(job, -ENOENT);
		return;
	}
	/* A key that has ended is no title to a new one. */
	err = old.revoked_ms && old.revoked_ms <= now_ms ? -EKEYREVOKED
							 : make_key(job, old.account);
	if (err) {
		end_job(job, err);
		return;
	}
	job->time_ms = earlier_end(&old, now_ms + job->time_ms);
	store_key_rotate(job->registry->store, job->target, job->time_ms, job->keys, on_stored,
			 job);
}

void registry_key_rotate(struct registry *registry, uint64_t key, uint64_t overlap_ms,
			 registry_done done, void *arg)
{
	struct job *job = key_job(registry, begin_key_rotate, finish_key_rotate, done, arg);

	if (!job)
		return;
	job->target = key;
	job->time_ms = overlap_ms;
	submit(job);
}

/*
 * The key with the hash of @key among the first @kept, or NULL, and then @key is noted as the next of
 * them. @noted holds their indices plus one, by hash, in a power of two of places.
 */
static const struct store_key *find_kept(const struct job *job, const struct store_key *key,
					 size_t kept, uint32_t *noted, size_t places)
{
	size_t at;

	memcpy(&at, key->hash, sizeof(at));
	for (at &= places - 1; noted[at]; at = (at + 1) & (places - 1)) {
		const struct store_key *other = &job->keys[noted[at] - 1];

		if (!memcmp(other->hash, key->hash, sizeof(key->hash)))
			return other;
	}
	noted[at] = (uint32_t)kept + 1;
	return NULL;
}

/* Whether the account of @key has it already: 1, 0, -ENOENT, -EEXIST if it is another's. */
static int is_present(const struct mirror *mirror, const struct store_key *key)
{
	struct store_account account;
	struct mirror_key known;
	uint32_t slot;

	if (!mirror_account(mirror, key->account, &account, &slot))
		return -ENOENT;
	if (!mirror_find(mirror, key->hash, &known))
		return 0;
	return known.slot == slot ? 1 : -EEXIST;
}

/* Keys that are known already, or come twice, drop out; one that is someone else's ends the job. */
static int drop_present(struct job *job)
{
	size_t kept = 0, places = 16;
	int present = 0;
	uint32_t *noted;

	while (places < job->key_count * 2)
		places *= 2;
	noted = calloc(places, sizeof(*noted));
	if (!noted)
		return -ENOMEM;
	for (size_t i = 0; i < job->key_count && present >= 0; i++) {
		struct store_key key = job->keys[i];
		const struct store_key *twin = NULL;

		job->failed_at = i;
		present = is_present(job->registry->mirror, &key);
		if (!present)
			twin = find_kept(job, &key, kept, noted, places);
		if (twin)
			present = twin->account == key.account ? 1 : -EEXIST;
		if (!present)
			job->keys[kept++] = key;
		else
			job->present++;
	}
	free(noted);
	job->key_count = kept;
	if (present < 0)
		return present;
	job->failed_at = SIZE_MAX;
	return 0;
}

static void begin_import(struct job *job)
{
	int err = drop_present(job);

	if (err || !job->key_count)
		end_job(job, err);
	else
		store_keys_add(job->registry->store, job->keys, job->key_count, on_stored, job);
}

static int fill_imports(struct job *job, const struct registry_import *imports, size_t count)
{
	uint64_t now_ms = clock_wall_ms();

	for (size_t i = 0; i < count; i++) {
		struct store_key *key = &job->keys[i];
		int err = account_new_id(&key->id);

		if (err)
			return err;
		key->account = imports[i].account;
		key->created_ms = now_ms;
		key_hint(imports[i].key, key->hint);
		snprintf(key->label, sizeof(key->label), "%.*s", TEXT_ARG(imports[i].label));
		crypto_hmac_sha256(job->registry->pepper, imports[i].key.ptr, imports[i].key.len,
				   key->hash);
	}
	job->key_count = count;
	return 0;
}

void registry_keys_import(struct registry *registry, const struct registry_import *imports,
			  size_t count, registry_done done, void *arg)
{
	struct job *job = job_new(registry, begin_import, enter_keys, done, arg);
	int err;

	if (!job)
		return;
	job->keys = calloc(count ? count : 1, sizeof(*job->keys));
	err = job->keys ? fill_imports(job, imports, count) : -ENOMEM;
	if (err)
		refuse_job(job, err);
	else
		submit(job);
}
