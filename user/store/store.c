/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store: the front of every engine: one thread, a queue of jobs, and callbacks on the loop.
 *
 * A job goes through two lists: `waiting`, which the thread takes from, and `finished`, which the loop
 * takes from when the async handle wakes it. Both are first in, first out, so calls complete in the
 * order they were made. Calls about tasks are in store_tasks.c.
 */
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/store_private.h"

#define MAX_JOBS 10000 /* more under way is a caller that has run away */

static const char *const status_words[] = {
#define X(name, word) word,
	STORE_STATUSES(X)
#undef X
};

static const struct store_engine_ops *const engines[] = {
	&store_sqlite_ops,
	&store_redis_ops,
	&store_redis_unix_ops,
	&store_redis_sentinel_ops,
};

const char *store_status_word(enum store_status status)
{
	return status_words[status];
}

int store_status_parse(const char *word, enum store_status *ret_status)
{
	for (size_t i = 0; i < STORE_STATUS_COUNT; i++) {
		if (!strcmp(status_words[i], word)) {
			*ret_status = (enum store_status)i;
			return 0;
		}
	}
	return -EINVAL;
}

static void queue_put(struct queue *queue, struct job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

static struct job *queue_take(struct queue *queue)
{
	struct job *job = queue->first;

	if (!job)
		return NULL;
	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	return job;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	free(job->records);
	free(job->more);
	store_tasks_free(job->tasks, job->task_count);
	free(job);
}

static void *run_jobs(void *arg)
{
	struct store *store = arg;
	struct job *job;

	pthread_mutex_lock(&store->lock);
	for (;;) {
		while (!(job = queue_take(&store->waiting)) && !store->is_closing)
			pthread_cond_wait(&store->changed, &store->lock);
		if (!job)
			break;
		pthread_mutex_unlock(&store->lock);
		if (!job->err) {
			store->engine->error[0] = '\0';
			store->engine->changed = 0;
			store->engine->was_journaled = false;
			if (store->engine->ops->catch_up)
				store->engine->ops->catch_up(store->engine);
			job->err = job->run(store->engine, job);
			job->changed = store->engine->changed;
			job->was_journaled = store->engine->was_journaled;
			memcpy(job->error, store->engine->error, sizeof(job->error));
		}
		pthread_mutex_lock(&store->lock);
		queue_put(&store->finished, job);
		uv_async_send(&store->wake);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

/*
 * The next job whose end may be told. One that changed something waits until the change has come back
 * in the stream, so that whoever is told finds it done; not if the stream is interrupted.
 */
static struct job *take_finished(struct store *store)
{
	struct job *job;

	pthread_mutex_lock(&store->lock);
	job = store->finished.first;
	if (job && job->changed > store->followed_n && store->is_current)
		job = NULL;
	if (job)
		queue_take(&store->finished);
	pthread_mutex_unlock(&store->lock);
	return job;
}

void store_deliver(struct store *store)
{
	struct job *job;

	while ((job = take_finished(store))) {
		if (--store->under_way == 0)
			uv_unref((uv_handle_t *)&store->wake);
		if (job->err)
			memcpy(store->error, job->error, sizeof(store->error));
		store->was_journaled = job->was_journaled;
		job->deliver(store, job);
		job_free(job);
	}
}

static void on_wake(uv_async_t *wake)
{
	struct store *store = wake->data;

	store_run_errands(store);
	store_deliver(store);
}

static void deliver_done(struct store *store, struct job *job)
{
	(void)store;
	job->done(job->arg, job->err);
}

static void deliver_open(struct store *store, struct job *job)
{
	if (!job->err)
		memcpy(store->id, job->bytes, sizeof(store->id));
	job->done(job->arg, job->err);
}

static void deliver_keys(struct store *store, struct job *job)
{
	(void)store;
	job->keys_done(job->arg, job->err, job->records, job->count);
}

static int run_open(struct store_engine *engine, struct job *job)
{
	uint8_t id[STORE_ID_BYTES];
	int err = engine->ops->open(engine, job->bytes, id);

	if (!err)
		memcpy(job->bytes, id, sizeof(id));
	return err;
}

static int run_load(struct store_engine *engine, struct job *job)
{
	return store_load_on_loop(job->store, engine, &job->visitor, job->visitor_arg, job->day,
				  job->month_day);
}

static int run_account_add(struct store_engine *engine, struct job *job)
{
	return engine->ops->account_add(engine, job->records);
}

static int run_account_set(struct store_engine *engine, struct job *job)
{
	return engine->ops->account_set(engine, job->more, job->records);
}

static int run_keys_add(struct store_engine *engine, struct job *job)
{
	return engine->ops->keys_add(engine, job->records, job->count);
}

static int run_key_rotate(struct store_engine *engine, struct job *job)
{
	return engine->ops->key_rotate(engine, job->id, job->number, job->records);
}

static int run_key_revoke(struct store_engine *engine, struct job *job)
{
	return engine->ops->key_revoke(engine, job->id, job->number);
}

static int run_keys_revoke(struct store_engine *engine, struct job *job)
{
	return engine->ops->keys_revoke(engine, job->id, job->number);
}

static int run_keys_list(struct store_engine *engine, struct job *job)
{
	struct store_key *keys;
	int err = engine->ops->keys_list(engine, job->id, job->number, job->limit, &keys,
					 &job->count);

	if (!err)
		job->records = keys;
	return err;
}

/* Let the thread finish what waits, and end it; the follower too. */
static void stop_threads(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->is_closing = true;
	pthread_cond_signal(&store->changed);
	pthread_cond_broadcast(&store->errand_done);
	pthread_mutex_unlock(&store->lock);
	if (store->has_thread)
		pthread_join(store->thread, NULL);
	if (store->has_follower)
		pthread_join(store->follow_thread, NULL);
	store->has_thread = store->has_follower = false;
}

const struct store_engine_ops *store_engine_of(const char *url)
{
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (text_starts(text_of(url), text_of(engines[i]->scheme)))
			return engines[i];
	}
	return NULL;
}

int store_check_url(const char *url, char *ret_why, size_t why_size)
{
	const struct store_engine_ops *ops = store_engine_of(url);

	if (ops)
		return ops->check(url + strlen(ops->scheme), ret_why, why_size);
	if (text_starts(text_of(url), TEXT("rediss:")))
		snprintf(ret_why, why_size,
			 "this build cannot speak TLS with Redis: let stunnel do so on this host, "
			 "and name stunnel's port with redis://127.0.0.1:PORT");
	else
		snprintf(ret_why, why_size,
			 "expected sqlite:FILE, redis://HOST, redis+unix:///SOCKET or "
			 "redis+sentinel://HOST/MASTER");
	return -EINVAL;
}

void store_show_url(const char *url, char *ret_shown, size_t size)
{
	const char *rest = strstr(url, "://"), *who;

	rest = rest ? rest + 3 : url;
	who = rest;
	for (const char *at = rest; *at && *at != '/'; at++) {
		if (*at == '@')
			who = at + 1;
	}
	if (rest == url)
		who = url; /* sqlite: and a path */
	snprintf(ret_shown, size, "%.*s%s", (int)(rest - url), url, who);
}

int store_new(uv_loop_t *loop, const char *url, unsigned timeout_ms, struct store **ret_store)
{
	const struct store_engine_ops *ops = store_engine_of(url);
	struct store *store;
	int err;

	if (!ops)
		return -EINVAL;
	store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	store->waiting.last = &store->waiting.first;
	store->finished.last = &store->finished.first;
	store->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	store->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	store->errand_done = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	store->wake.data = store;
	err = ops->new (url + strlen(ops->scheme), timeout_ms, &store->engine);
	if (err)
		goto fail;
	err = -pthread_create(&store->thread, NULL, run_jobs, store);
	if (err)
		goto fail;
	store->has_thread = true;
	err = uv_async_init(loop, &store->wake, on_wake);
	if (err)
		goto fail;
	uv_unref((uv_handle_t *)&store->wake);
	*ret_store = store;
	return 0;
fail:
	stop_threads(store);
	if (store->engine)
		ops->free(store->engine);
	free(store);
	return err;
}

static void on_closed(uv_handle_t *wake)
{
	free(wake->data);
}

void store_free(struct store *store)
{
	struct job *job;

	if (!store)
		return;
	stop_threads(store);
	while ((job = queue_take(&store->finished)))
		job_free(job);
	store->engine->ops->free(store->engine);
	store->engine = NULL;
	uv_close((uv_handle_t *)&store->wake, on_closed);
}

struct job *job_new(int (*run)(struct store_engine *, struct job *), const void *records,
		    size_t count, size_t size)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->run = run;
	job->deliver = deliver_done;
	job->count = count;
	if (!count)
		return job;
	job->records = malloc(count * size);
	if (!job->records) {
		job_free(job);
		return NULL;
	}
	memcpy(job->records, records, count * size);
	return job;
}

struct job *job_with_more(struct job *job, const void *records, size_t count, size_t size)
{
	if (!job || !count)
		return job;
	job->more = malloc(count * size);
	if (!job->more) {
		job_free(job);
		return NULL;
	}
	memcpy(job->more, records, count * size);
	job->more_count = count;
	return job;
}

void job_submit(struct store *store, struct job *job)
{
	if (store->under_way++ == 0)
		uv_ref((uv_handle_t *)&store->wake);
	if (store->under_way > MAX_JOBS) {
		job->err = -ENOBUFS;
		strcpy(job->error, "too many calls are under way");
	}
	pthread_mutex_lock(&store->lock);
	queue_put(&store->waiting, job);
	pthread_cond_signal(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

void job_submit_done(struct store *store, struct job *job, store_done done, void *arg)
{
	if (!job) {
		done(arg, -ENOMEM);
		return;
	}
	job->done = done;
	job->arg = arg;
	job_submit(store, job);
}

void store_open(struct store *store, const uint8_t pepper_check[STORE_HASH_BYTES], store_done done,
		void *arg)
{
	struct job *job = job_new(run_open, NULL, 0, 0);

	if (job) {
		job->deliver = deliver_open;
		memcpy(job->bytes, pepper_check, sizeof(job->bytes));
	}
	job_submit_done(store, job, done, arg);
}

int store_set_journal(struct store *store, const char *path, char *ret_why, size_t why_size)
{
	struct store_engine *engine = store->engine;

	return engine->ops->set_journal ? engine->ops->set_journal(engine, path, ret_why, why_size)
					: 0;
}

bool store_was_journaled(const struct store *store)
{
	return store->was_journaled;
}

void store_journal_counts(const struct store *store, uint64_t *ret_waiting, uint64_t *ret_refused)
{
	*ret_waiting = __atomic_load_n(&store->engine->journaled, __ATOMIC_RELAXED);
	*ret_refused = __atomic_load_n(&store->engine->refused, __ATOMIC_RELAXED);
}

const uint8_t *store_id(const struct store *store)
{
	return store->id;
}

const char *store_error(const struct store *store)
{
	return store->error;
}

void store_load(struct store *store, const struct store_visitor *visitor, void *visitor_arg,
		uint32_t day, uint32_t month_day, store_done done, void *arg)
{
	struct job *job = job_new(run_load, NULL, 0, 0);

	if (job) {
		job->store = store;
		job->visitor = *visitor;
		job->visitor_arg = visitor_arg;
		job->day = day;
		job->month_day = month_day;
	}
	job_submit_done(store, job, done, arg);
}

void store_account_add(struct store *store, const struct store_account *account, store_done done,
		       void *arg)
{
	job_submit_done(store, job_new(run_account_add, account, 1, sizeof(*account)), done, arg);
}

void store_account_set(struct store *store, const struct store_account *before,
		       const struct store_account *account, store_done done, void *arg)
{
	struct job *job = job_new(run_account_set, account, 1, sizeof(*account));

	job_submit_done(store, job_with_more(job, before, before != NULL, sizeof(*before)), done,
			arg);
}

void store_keys_add(struct store *store, const struct store_key *keys, size_t count,
		    store_done done, void *arg)
{
	job_submit_done(store, job_new(run_keys_add, keys, count, sizeof(*keys)), done, arg);
}

void store_key_rotate(struct store *store, uint64_t old, uint64_t old_revoked_ms,
		      const struct store_key *fresh, store_done done, void *arg)
{
	struct job *job = job_new(run_key_rotate, fresh, 1, sizeof(*fresh));

	if (job) {
		job->id = old;
		job->number = old_revoked_ms;
	}
	job_submit_done(store, job, done, arg);
}

/* A change that is told by two numbers. */
static void submit_numbers(struct store *store, int (*run)(struct store_engine *, struct job *),
			   uint64_t id, uint64_t number, store_done done, void *arg)
{
	struct job *job = job_new(run, NULL, 0, 0);

	if (job) {
		job->id = id;
		job->number = number;
	}
	job_submit_done(store, job, done, arg);
}

void store_key_revoke(struct store *store, uint64_t key, uint64_t revoked_ms, store_done done,
		      void *arg)
{
	submit_numbers(store, run_key_revoke, key, revoked_ms, done, arg);
}

void store_keys_revoke(struct store *store, uint64_t account, uint64_t revoked_ms, store_done done,
		       void *arg)
{
	submit_numbers(store, run_keys_revoke, account, revoked_ms, done, arg);
}

void store_keys_list(struct store *store, uint64_t account, uint64_t after_id, size_t limit,
		     store_keys_done done, void *arg)
{
	struct job *job = job_new(run_keys_list, NULL, 0, 0);

	if (!job) {
		done(arg, -ENOMEM, NULL, 0);
		return;
	}
	job->deliver = deliver_keys;
	job->id = account;
	job->number = after_id;
	job->limit = limit;
	job->keys_done = done;
	job->arg = arg;
	job_submit(store, job);
}
