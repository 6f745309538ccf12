/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_fixture: a new store for each test, and the calls of store.h as functions that wait for the
 * result. RUN_TESTS() runs a file's tests over each engine: an SQLite file and a real Redis.
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/store.h"
#include "unit/store/redis_server.h"

#define FIXTURE_MAX   2000
#define FIXTURE_TASKS 1000
#define FIXTURE_DAY   20000
#define FIXTURE_MONTH 650

struct fixture {
	uv_loop_t loop;
	struct store *store;
	char folder[64], path[96];
	uint8_t pepper[STORE_HASH_BYTES];
	int err; /* of the last call */
	unsigned done_count;

	/* the result of the last load or list */
	char order[64]; /* a letter for each batch: a(ccounts) k(eys) q(uotas) e(ntries) */
	struct store_account accounts[FIXTURE_MAX];
	struct store_key keys[FIXTURE_MAX];
	struct store_quota quotas[FIXTURE_MAX];
	struct store_usage usage[FIXTURE_MAX];
	struct store_entry entries[16];
	size_t account_count, key_count, quota_count, usage_count, entry_count;
	char fresh[16]; /* y or n for each task of the last tasks_add() */
	struct store_task tasks[FIXTURE_TASKS];
	struct store_queue_count queues[8];
	size_t task_count, queue_count;
	int visitor_err;
};

static struct redis_server fixture_redis; /* its pid is 0 while the tests run over SQLite */

static inline void fixture_new_store(struct fixture *f)
{
	char url[128];

	snprintf(url, sizeof(url), "sqlite:%s", f->path);
	if (fixture_redis.pid)
		strcpy(url, fixture_redis.url);
	assert_int_equal(store_new(&f->loop, url, 1000, &f->store), 0);
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->folder, "/tmp/tollgate-store-XXXXXX");
	if (!mkdtemp(f->folder) || uv_loop_init(&f->loop))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/s.db", f->folder);
	f->pepper[0] = 1;
	if (fixture_redis.pid)
		redis_server_do(&fixture_redis, "FLUSHALL");
	fixture_new_store(f);
	*state = f;
	return 0;
}

static inline void fixture_free_store(struct fixture *f)
{
	store_free(f->store);
	f->store = NULL;
	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static inline void fixture_drop_tasks(struct fixture *f)
{
	for (size_t i = 0; i < f->task_count; i++)
		free(f->tasks[i].body);
	f->task_count = 0;
}

static inline int fixture_teardown(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", "-journal" };
	struct fixture *f = *state;
	char path[128];

	fixture_free_store(f);
	fixture_drop_tasks(f);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", f->path, suffixes[i]);
		unlink(path);
	}
	rmdir(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

static inline void fixture_done(void *arg, int err)
{
	struct fixture *f = arg;

	f->err = err;
	f->done_count++;
}

/* Run the loop until the last call completes. */
static inline int fixture_wait(struct fixture *f)
{
	unsigned before = f->done_count;

	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->done_count, before + 1);
	return f->err;
}

static inline int fixture_try_open(struct fixture *f)
{
	store_open(f->store, f->pepper, fixture_done, f);
	return fixture_wait(f);
}

static inline void fixture_open(struct fixture *f)
{
	if (fixture_try_open(f))
		fail_msg("%s", store_error(f->store));
}

static inline void fixture_reopen(struct fixture *f)
{
	fixture_free_store(f);
	fixture_new_store(f);
	fixture_open(f);
}

static inline int fixture_on_accounts(void *arg, const struct store_account *accounts, size_t count)
{
	struct fixture *f = arg;

	strcat(f->order, "a");
	memcpy(f->accounts + f->account_count, accounts, count * sizeof(*accounts));
	f->account_count += count;
	return f->visitor_err;
}

static inline int fixture_on_keys(void *arg, const struct store_key *keys, size_t count)
{
	struct fixture *f = arg;

	strcat(f->order, "k");
	memcpy(f->keys + f->key_count, keys, count * sizeof(*keys));
	f->key_count += count;
	return 0;
}

static inline int fixture_on_quotas(void *arg, const struct store_quota *quotas, size_t count)
{
	struct fixture *f = arg;

	strcat(f->order, "q");
	memcpy(f->quotas + f->quota_count, quotas, count * sizeof(*quotas));
	f->quota_count += count;
	return 0;
}

static inline int fixture_on_entries(void *arg, const struct store_entry *entries, size_t count)
{
	struct fixture *f = arg;

	strcat(f->order, "e");
	assert_true(f->entry_count + count <= sizeof(f->entries) / sizeof(f->entries[0]));
	memcpy(f->entries + f->entry_count, entries, count * sizeof(*entries));
	f->entry_count += count;
	return 0;
}

static inline int fixture_by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static inline int load(struct fixture *f)
{
	static const struct store_visitor visitor = { fixture_on_accounts, fixture_on_keys,
						      fixture_on_quotas, fixture_on_entries };

	f->account_count = f->key_count = f->quota_count = f->entry_count = 0;
	f->order[0] = '\0';
	memset(f->accounts, 0, sizeof(f->accounts));
	memset(f->keys, 0, sizeof(f->keys));
	store_load(f->store, &visitor, f, FIXTURE_DAY, FIXTURE_MONTH, fixture_done, f);
	fixture_wait(f);
	/* The order depends on the engine. */
	qsort(f->accounts, f->account_count, sizeof(f->accounts[0]), fixture_by_id);
	qsort(f->keys, f->key_count, sizeof(f->keys[0]), fixture_by_id);
	return f->err;
}

static inline void fixture_load(struct fixture *f)
{
	if (load(f))
		fail_msg("%s", store_error(f->store));
}

static inline int account_add(struct fixture *f, const struct store_account *account)
{
	store_account_add(f->store, account, fixture_done, f);
	return fixture_wait(f);
}

static inline int account_set(struct fixture *f, const struct store_account *account)
{
	store_account_set(f->store, NULL, account, 0, fixture_done, f);
	return fixture_wait(f);
}

static inline void add_account(struct fixture *f, uint64_t id)
{
	struct store_account account = { .id = id };

	assert_int_equal(account_add(f, &account), 0);
}

static inline int account_delete(struct fixture *f, uint64_t account, bool drops_usage)
{
	store_account_delete(f->store, account, drops_usage, fixture_done, f);
	return fixture_wait(f);
}

static inline int keys_add(struct fixture *f, const struct store_key *keys, size_t count)
{
	store_keys_add(f->store, keys, count, fixture_done, f);
	return fixture_wait(f);
}

static inline int key_rotate(struct fixture *f, uint64_t old, uint64_t old_revoked_ms,
			     const struct store_key *fresh)
{
	store_key_rotate(f->store, old, old_revoked_ms, fresh, fixture_done, f);
	return fixture_wait(f);
}

static inline int key_revoke(struct fixture *f, uint64_t key, uint64_t revoked_ms)
{
	store_key_revoke(f->store, key, revoked_ms, fixture_done, f);
	return fixture_wait(f);
}

static inline int keys_revoke(struct fixture *f, uint64_t account, uint64_t revoked_ms)
{
	store_keys_revoke(f->store, account, revoked_ms, fixture_done, f);
	return fixture_wait(f);
}

static inline int entry_put(struct fixture *f, const struct store_entry *entry)
{
	store_entry_put(f->store, entry, fixture_done, f);
	return fixture_wait(f);
}

static inline int entry_remove(struct fixture *f, const struct cidr *block)
{
	store_entry_remove(f->store, block, fixture_done, f);
	return fixture_wait(f);
}

static inline int entries_prune(struct fixture *f, uint64_t ended_by_ms)
{
	store_entries_prune(f->store, ended_by_ms, fixture_done, f);
	return fixture_wait(f);
}

static inline void fixture_keys(void *arg, int err, const struct store_key *keys, size_t count)
{
	struct fixture *f = arg;

	f->key_count = count;
	for (size_t i = 0; i < count; i++)
		f->keys[i] = keys[i];
	fixture_done(arg, err);
}

static inline int keys_list(struct fixture *f, uint64_t account, uint64_t after_id, size_t limit)
{
	store_keys_list(f->store, account, after_id, limit, fixture_keys, f);
	return fixture_wait(f);
}

static inline int usage_put(struct fixture *f, const struct store_usage *usage, size_t usage_count,
			    const struct store_quota *quotas, size_t quota_count)
{
	store_usage_put(f->store, usage, usage_count, quotas, quota_count, fixture_done, f);
	return fixture_wait(f);
}

static inline void fixture_usage(void *arg, int err, const struct store_usage *rows, size_t count)
{
	struct fixture *f = arg;

	f->usage_count = count;
	for (size_t i = 0; i < count; i++)
		f->usage[i] = rows[i];
	fixture_done(arg, err);
}

static inline int usage_list(struct fixture *f, uint64_t account, uint64_t since_s, size_t limit)
{
	store_usage_list(f->store, account, since_s, limit, fixture_usage, f);
	return fixture_wait(f);
}

static inline int usage_open_after(struct fixture *f, uint64_t account, uint64_t ended_by_s,
				   const struct store_usage *after, size_t limit)
{
	const struct store_usage_query query = {
		.account = account, .ended_by_s = ended_by_s, .after = after, .limit = limit
	};

	store_usage_open(f->store, &query, fixture_usage, f);
	return fixture_wait(f);
}

static inline int usage_open(struct fixture *f, uint64_t account, uint64_t ended_by_s, size_t limit)
{
	return usage_open_after(f, account, ended_by_s, NULL, limit);
}

static inline int usage_close(struct fixture *f, const struct store_usage *rows, size_t row_count,
			      const struct store_task *tasks, size_t task_count)
{
	store_usage_close(f->store, rows, row_count, tasks, task_count, fixture_done, f);
	return fixture_wait(f);
}

static inline void fixture_added(void *arg, int err, const bool *is_fresh, size_t count)
{
	struct fixture *f = arg;

	f->fresh[0] = '\0';
	for (size_t i = 0; is_fresh && i < count && i < sizeof(f->fresh) - 1; i++) {
		f->fresh[i] = is_fresh[i] ? 'y' : 'n';
		f->fresh[i + 1] = '\0';
	}
	fixture_done(arg, err);
}

static inline int tasks_add(struct fixture *f, const struct store_task *tasks, size_t count)
{
	store_tasks_add(f->store, tasks, count, fixture_added, f);
	return fixture_wait(f);
}

/* Copy the bodies, because the array is valid only during the callback. */
static inline void fixture_tasks(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct fixture *f = arg;

	fixture_drop_tasks(f);
	for (size_t i = 0; i < count && i < FIXTURE_TASKS; i++) {
		f->tasks[i] = tasks[i];
		f->tasks[i].body = tasks[i].body ? strdup(tasks[i].body) : NULL;
	}
	f->task_count = count;
	fixture_done(arg, err);
}

static inline int tasks_list(struct fixture *f, const char *queue, enum store_task_state task_state,
			     uint64_t due_by_ms, uint64_t after_seq, size_t limit)
{
	store_tasks_list(f->store, queue, task_state, due_by_ms, after_seq, limit, fixture_tasks,
			 f);
	return fixture_wait(f);
}

static inline int task_find(struct fixture *f, const char *queue, const char *id)
{
	store_task_find(f->store, queue, id, fixture_tasks, f);
	return fixture_wait(f);
}

static inline int tasks_set(struct fixture *f, const struct store_task *tasks, size_t count)
{
	store_tasks_set(f->store, tasks, count, fixture_done, f);
	return fixture_wait(f);
}

static inline int usage_prune(struct fixture *f, uint64_t before_s)
{
	store_usage_prune(f->store, before_s, fixture_done, f);
	return fixture_wait(f);
}

static inline int tasks_prune(struct fixture *f, const char *queue, uint64_t before_ms)
{
	store_tasks_prune(f->store, queue, before_ms, fixture_done, f);
	return fixture_wait(f);
}

static inline void fixture_queues(void *arg, int err, const struct store_queue_count *rows,
				  size_t count)
{
	struct fixture *f = arg;

	f->queue_count = count;
	for (size_t i = 0; i < count; i++)
		f->queues[i] = rows[i];
	fixture_done(arg, err);
}

static inline int queues_count(struct fixture *f)
{
	store_queues_count(f->store, fixture_queues, f);
	return fixture_wait(f);
}

static inline int key_claim(struct fixture *f, const struct store_task *claim,
			    const struct store_key *key)
{
	store_key_claim(f->store, claim, key, fixture_done, f);
	return fixture_wait(f);
}

static inline struct store_task make_task(const char *queue, const char *id)
{
	struct store_task task;

	memset(&task, 0, sizeof(task));
	snprintf(task.queue, sizeof(task.queue), "%s", queue);
	snprintf(task.id, sizeof(task.id), "%s", id);
	task.created_ms = task.due_ms = 1000;
	return task;
}

static inline struct store_key make_key(uint64_t id, uint64_t account)
{
	struct store_key key;

	memset(&key, 0, sizeof(key));
	key.id = id;
	key.account = account;
	key.created_ms = 1000;
	memcpy(key.hash, &id, sizeof(id));
	strcpy(key.hint, "tg_live_abcd");
	strcpy(key.label, "a key");
	return key;
}

static inline int fixture_run(const char *file, const struct CMUnitTest *tests, size_t count)
{
	char name[64];
	int failed;

	snprintf(name, sizeof(name), "%s over SQLite", file);
	failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
	redis_server_start(&fixture_redis, NULL);
	snprintf(name, sizeof(name), "%s over Redis", file);
	failed += _cmocka_run_group_tests(name, tests, count, NULL, NULL);
	redis_server_stop(&fixture_redis);
	return failed;
}
/* The same over Redis only. Ignores SIGPIPE, as the agent does, so a cut connection is an error. */
static inline int fixture_run_redis(const char *file, const struct CMUnitTest *tests, size_t count)
{
	int failed;

	signal(SIGPIPE, SIG_IGN);
	redis_server_start(&fixture_redis, NULL);
	failed = _cmocka_run_group_tests(file, tests, count, NULL, NULL);
	redis_server_stop(&fixture_redis);
	return failed;
}
#define RUN_REDIS_TESTS(file, tests) \
	fixture_run_redis(file, tests, sizeof(tests) / sizeof((tests)[0]))

#define RUN_TESTS(file, tests) fixture_run(file, tests, sizeof(tests) / sizeof((tests)[0]))

#endif
