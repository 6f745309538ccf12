/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registry_fixture: a registry over a real store in its own directory, on a loop.
 *
 * After each test the store is read back from its file, and must equal the mirror.
 */
#ifndef REGISTRY_FIXTURE_H
#define REGISTRY_FIXTURE_H

#include "unit/enforce/enforce_fixture.h"

#include "enforce/account.h"
#include "enforce/registry.h"

#define MAX_ANSWERS 64

/* One result, copied while its pointers are valid. */
struct answer {
	int err;
	struct store_account account;
	struct store_key key;
	bool has_account, has_key, has_text;
	char text[KEY_TEXT_SIZE];
	size_t added, present, failed_at, changed;
	bool has_before, is_changed, is_in_doubt;
	struct store_account before;
};

struct world {
	struct fixture *f;
	uv_loop_t loop;
	struct store *store;
	struct registry *registry;
	char folder[64], path[96];
	struct answer answers[MAX_ANSWERS]; /* in the order of the callbacks */
	size_t answer_count, taken;
	int err;
	uint64_t keys_read, accounts_read;
};

static inline void on_answer(void *arg, const struct registry_result *result)
{
	struct world *w = arg;
	struct answer *a = &w->answers[w->answer_count++ % MAX_ANSWERS];

	*a = (struct answer){ .err = result->err,
			      .has_account = result->account,
			      .has_key = result->key,
			      .has_text = result->key_text,
			      .added = result->added,
			      .present = result->present,
			      .failed_at = result->failed_at,
			      .changed = result->changed,
			      .has_before = result->before,
			      .is_changed = result->is_changed,
			      .is_in_doubt = result->is_in_doubt };
	if (result->before)
		a->before = *result->before;
	if (result->account)
		a->account = *result->account;
	if (result->key)
		a->key = *result->key;
	if (result->key_text)
		snprintf(a->text, sizeof(a->text), "%s", result->key_text);
}

static inline void on_done(void *arg, int err)
{
	((struct world *)arg)->err = err;
}

/* Apply the feed to the mirror, as the agent does. */
static inline void feed_account(void *arg, const struct store_account *account)
{
	struct world *w = arg;

	mirror_put_account(w->f->mirror, account, clock_wall_ms(), clock_mono_ns());
}

static inline void feed_account_gone(void *arg, uint64_t account)
{
	struct world *w = arg;

	assert_int_equal(mirror_drop_account(w->f->mirror, account), 0);
}

static inline void feed_key(void *arg, const struct store_key *key)
{
	mirror_put_key(((struct world *)arg)->f->mirror, key);
}

static inline void feed_key_end(void *arg, uint64_t key, uint64_t at_ms)
{
	mirror_end_key(((struct world *)arg)->f->mirror, key, at_ms);
}

static inline void feed_keys_end(void *arg, uint64_t account, uint64_t before_ms, uint64_t at_ms)
{
	mirror_end_keys(((struct world *)arg)->f->mirror, account, before_ms, at_ms);
}

static inline void feed_task(void *arg, const char *queue, const struct store_task *task)
{
	(void)arg;
	(void)queue;
	(void)task;
}

static inline void run(struct world *w)
{
	uv_run(&w->loop, UV_RUN_DEFAULT);
}

/* Wait for the result of the change that was just requested. It may be there already. */
static inline const struct answer *wait_for(struct world *w)
{
	run(w);
	assert_int_equal(w->answer_count, w->taken + 1);
	return &w->answers[w->taken++ % MAX_ANSWERS];
}

static inline void open_store(struct world *w)
{
	static const struct store_follower follower = { .on_account = feed_account,
							.on_account_gone = feed_account_gone,
							.on_key = feed_key,
							.on_key_end = feed_key_end,
							.on_keys_end = feed_keys_end,
							.on_task = feed_task };
	static const uint8_t pepper_check[STORE_HASH_BYTES] = { 1 };
	char url[128];

	snprintf(url, sizeof(url), "sqlite:%s", w->path);
	assert_int_equal(store_new(&w->loop, url, 1000, &w->store), 0);
	store_open(w->store, pepper_check, on_done, w);
	run(w);
	assert_int_equal(w->err, 0);
	assert_int_equal(store_follow(w->store, &follower, w), 0);
}

static inline int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	void *fixture;

	if (fixture_setup(&fixture) || uv_loop_init(&w->loop))
		return -1;
	w->f = fixture;
	mirror_drop_strays(w->f->mirror);
	strcpy(w->folder, "/tmp/tollgate-registry-XXXXXX");
	if (!mkdtemp(w->folder))
		return -1;
	snprintf(w->path, sizeof(w->path), "%s/s.db", w->folder);
	open_store(w);
	w->registry = registry_new(w->store, w->f->mirror, w->f->pepper, PREFIX);
	*state = w;
	return 0;
}

static inline void close_store(struct world *w)
{
	store_free(w->store);
	w->store = NULL;
	run(w);
}

static inline int compare_accounts(void *arg, const struct store_account *accounts, size_t count)
{
	struct world *w = arg;

	for (size_t i = 0; i < count; i++, w->accounts_read++) {
		struct store_account known;
		uint32_t slot;

		/* A change of as_of_s alone is not written, so the store may be behind. */
		if (!mirror_account(w->f->mirror, accounts[i].id, &known, &slot) ||
		    !account_is_same(&known, &accounts[i]) || known.as_of_s < accounts[i].as_of_s)
			return -EPROTO;
	}
	return 0;
}

static inline int compare_keys(void *arg, const struct store_key *keys, size_t count)
{
	struct world *w = arg;

	for (size_t i = 0; i < count; i++, w->keys_read++) {
		struct store_key known;

		if (!mirror_key_by_id(w->f->mirror, keys[i].id, &known) ||
		    memcmp(known.hash, keys[i].hash, sizeof(known.hash)) ||
		    known.account != keys[i].account || known.revoked_ms != keys[i].revoked_ms ||
		    known.created_ms != keys[i].created_ms)
			return -EPROTO;
	}
	return 0;
}

static inline int ignore_quotas(void *arg, const struct store_quota *quotas, size_t count)
{
	(void)arg;
	(void)quotas;
	(void)count;
	return 0;
}

static inline void assert_store_and_mirror_agree(struct world *w)
{
	static const struct store_visitor visitor = { .on_accounts = compare_accounts,
						      .on_keys = compare_keys,
						      .on_quotas = ignore_quotas };

	w->accounts_read = w->keys_read = 0;
	mirror_unregister_thread(); /* the comparison runs on the store's thread */
	store_load(w->store, &visitor, w, 1, 1, on_done, w);
	run(w);
	mirror_register_thread();
	if (w->err)
		fail_msg("store and mirror differ: %s", strerror(-w->err));
	assert_int_equal(w->accounts_read, mirror_accounts(w->f->mirror));
	assert_int_equal(w->keys_read, mirror_keys(w->f->mirror));
}

static inline int world_teardown(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	struct world *w = *state;
	void *fixture = w->f;
	char path[128];

	if (w->store) {
		close_store(w);
		open_store(w);
		assert_store_and_mirror_agree(w);
		close_store(w);
	}
	registry_free(w->registry);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	for (size_t i = 0; i < COUNT(suffixes); i++) {
		snprintf(path, sizeof(path), "%s%s", w->path, suffixes[i]);
		unlink(path);
	}
	rmdir(w->folder);
	free(w);
	return fixture_teardown(&fixture);
}

static inline uint64_t create_account(struct world *w, const char *subscription)
{
	struct store_account account = { .status = STORE_ACTIVE, .tier = "basic" };
	const struct answer *a;

	snprintf(account.subscription, sizeof(account.subscription), "%s", subscription);
	registry_account_create(w->registry, &account, on_answer, w);
	memset(&account, 0, sizeof(account)); /* the record was copied */
	a = wait_for(w);
	assert_int_equal(a->err, 0);
	assert_true(a->has_account);
	return a->account.id;
}

static inline enum tollgate_verdict verdict_at(struct world *w, const char *key, uint64_t wall_ms)
{
	struct gate_request request = make_request();

	request.key = text_of(key);
	request.wall_ms = wall_ms;
	return check(w->f, &request).verdict;
}

static inline enum tollgate_verdict verdict(struct world *w, const char *key)
{
	slot_of_account(w->f, w->answers[0].account.id)->tat_ns = 0;
	slot_of_account(w->f, w->answers[0].account.id)->concurrency = 0;
	return verdict_at(w, key, clock_wall_ms());
}

static inline struct registry_change no_change(void)
{
	return REGISTRY_NO_CHANGE;
}

static inline const struct answer *create_key(struct world *w, uint64_t account)
{
	registry_key_create(w->registry, account, NULL, on_answer, w);
	return wait_for(w);
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

#endif
