/* SPDX-License-Identifier: BSD-2-Clause */
/* registry_keys: changes of keys. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "enforce/account.h"
#include "enforce/registry_private.h"

/* Generate a key: text, hash, hint, id. */
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
	key->created_ms = mirror_key_time(registry->mirror, account, clock_wall_ms());
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
		registry_end(job, err);
	else
		store_keys_add(registry->store, job->keys, 1, registry_on_stored, job);
}

static struct job *key_job(struct registry *registry, void (*begin)(struct job *),
			   registry_done done, void *arg)
{
	struct job *job = registry_job(registry, begin, done, arg);

	if (!job)
		return NULL;
	job->keys = calloc(1, sizeof(*job->keys));
	if (!job->keys) {
		registry_refuse(job, -ENOMEM);
		return NULL;
	}
	return job;
}

void registry_key_create(struct registry *registry, uint64_t account, const char *label,
			 registry_done done, void *arg)
{
	struct job *job = key_job(registry, begin_key_create, done, arg);

	if (!job)
		return;
	job->target = account;
	snprintf(job->keys->label, sizeof(job->keys->label), "%s", label ? label : "");
	registry_submit(job);
}

static void begin_key_claim(struct job *job)
{
	struct registry *registry = job->registry;
	struct store_task claim = { .queue = REGISTRY_CLAIMS,
				    .account = job->target,
				    .created_ms = clock_wall_ms(),
				    .state = STORE_TASK_DONE };
	uint32_t slot;
	int err = mirror_account(registry->mirror, job->target, &job->account, &slot) ? 0 : -ENOENT;

	if (!err)
		err = make_key(job, job->target);
	if (err) {
		registry_end(job, err);
		return;
	}
	registry_replace(claim.id, sizeof(claim.id), job->task_id);
	account_format_key_id(job->keys->id, claim.object);
	store_key_claim(registry->store, &claim, job->keys, registry_on_stored, job);
}

void registry_key_claim(struct registry *registry, uint64_t account, const char *session,
			const char *label, registry_done done, void *arg)
{
	struct job *job = key_job(registry, begin_key_claim, done, arg);

	if (!job)
		return;
	/* Truncated, two different sessions could look the same. */
	if (!*session || strlen(session) >= sizeof(job->task_id)) {
		registry_refuse(job, -EINVAL);
		return;
	}
	registry_replace(job->task_id, sizeof(job->task_id), session);
	job->target = account;
	snprintf(job->keys->label, sizeof(job->keys->label), "%s", label ? label : "");
	registry_submit(job);
}

/* The new end of @key: @wanted_ms, or its current end if that is sooner. */
static uint64_t earlier_end(const struct store_key *key, uint64_t wanted_ms)
{
	return key->revoked_ms && key->revoked_ms < wanted_ms ? key->revoked_ms : wanted_ms;
}

static void begin_key_revoke(struct job *job)
{
	uint64_t now_ms = clock_wall_ms();

	if (!mirror_key_by_id(job->registry->mirror, job->target, job->keys)) {
		registry_end(job, -ENOENT);
		return;
	}
	job->keys->revoked_ms =
		earlier_end(job->keys, job->time_ms > now_ms ? job->time_ms : now_ms);
	job->key_count = 1;
	store_key_revoke(job->registry->store, job->target, job->keys->revoked_ms,
			 registry_on_stored, job);
}

void registry_key_revoke(struct registry *registry, uint64_t key, uint64_t at_ms,
			 registry_done done, void *arg)
{
	struct job *job = key_job(registry, begin_key_revoke, done, arg);

	if (!job)
		return;
	job->target = key;
	job->time_ms = at_ms;
	registry_submit(job);
}

static void begin_keys_revoke(struct job *job)
{
	struct registry *registry = job->registry;
	uint32_t slot;

	if (!mirror_account(registry->mirror, job->target, &job->account, &slot)) {
		registry_end(job, -ENOENT);
		return;
	}
	job->time_ms = clock_wall_ms();
	job->changed = mirror_valid_keys(registry->mirror, job->target, job->time_ms);
	store_keys_revoke(registry->store, job->target, job->time_ms, registry_on_stored, job);
}

void registry_keys_revoke(struct registry *registry, uint64_t account, registry_done done,
			  void *arg)
{
	struct job *job = registry_job(registry, begin_keys_revoke, done, arg);

	if (!job)
		return;
	job->target = account;
	registry_submit(job);
}

static void begin_key_rotate(struct job *job)
{
	uint64_t now_ms = clock_wall_ms();
	struct store_key old;
	int err;

	if (!mirror_key_by_id(job->registry->mirror, job->target, &old)) {
		registry_end(job, -ENOENT);
		return;
	}
	/* A key that has ended does not entitle its owner to a new one. */
	err = old.revoked_ms && old.revoked_ms <= now_ms ? -EKEYREVOKED
							 : make_key(job, old.account);
	if (err) {
		registry_end(job, err);
		return;
	}
	job->time_ms = earlier_end(&old, now_ms + job->time_ms);
	store_key_rotate(job->registry->store, job->target, job->time_ms, job->keys,
			 registry_on_stored, job);
}

void registry_key_rotate(struct registry *registry, uint64_t key, uint64_t overlap_ms,
			 registry_done done, void *arg)
{
	struct job *job = key_job(registry, begin_key_rotate, done, arg);

	if (!job)
		return;
	job->target = key;
	job->time_ms = overlap_ms;
	registry_submit(job);
}

/*
 * Find a key with the same hash as @key among the first @kept keys. If there is none, add @key to
 * the index and return NULL. The index @noted is an open-addressing hash table of positions plus
 * one; @places, its size, is a power of two.
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

/*
 * Whether its account has @key already: 1 or 0. -ENOENT: unknown account. -EEXIST: another account
 * has the key.
 */
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

/* Drop the keys that exist already or come twice. Fails if another account has one of them. */
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
	const struct mirror *mirror = job->registry->mirror;
	uint64_t now_ms = clock_wall_ms();
	int err = drop_present(job);

	for (size_t i = 0; i < job->key_count; i++)
		job->keys[i].created_ms = mirror_key_time(mirror, job->keys[i].account, now_ms);

	if (err || !job->key_count)
		registry_end(job, err);
	else
		store_keys_add(job->registry->store, job->keys, job->key_count, registry_on_stored,
			       job);
}

static int fill_imports(struct job *job, const struct registry_import *imports, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct store_key *key = &job->keys[i];
		int err = account_new_id(&key->id);

		if (err)
			return err;
		key->account = imports[i].account;
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
	struct job *job = registry_job(registry, begin_import, done, arg);
	int err;

	if (!job)
		return;
	job->keys = calloc(count ? count : 1, sizeof(*job->keys));
	err = job->keys ? fill_imports(job, imports, count) : -ENOMEM;
	if (err)
		registry_refuse(job, err);
	else
		registry_submit(job);
}
