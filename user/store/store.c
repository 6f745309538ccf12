/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store: the front of all engines: one thread, a queue of jobs, and callbacks on the loop.
 *
 * The thread takes jobs from `waiting`, runs them and posts them to the loop's mailbox. The loop
 * keeps them in `finished` until their changes have been reported to the follower, and then
 * delivers them. Every step is first in, first out, so calls complete in the order in which they
 * were made.
 */
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <urcu/compiler.h>

#include "base/atomic.h"
#include "base/text.h"
#include "store/store_private.h"

#define MAX_JOBS 10000 /* more outstanding calls mean that a caller is out of control */

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

const char *store_mode_word(enum store_mode mode)
{
	static const char *const words[] = {
		[STORE_MODE_NONE] = "",
		[STORE_MODE_TEST] = "test",
		[STORE_MODE_LIVE] = "live",
		[STORE_MODE_GONE] = "gone",
	};

	return mode <= STORE_MODE_GONE ? words[mode] : "";
}

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

void job_free(struct job *job)
{
	if (!job)
		return;
	free(job->records);
	free(job->more);
	store_tasks_free(job->tasks, job->task_count);
	free(job);
}

static void on_finished(struct store *store, struct store_message *message)
{
	struct job *job = caa_container_of(message, struct job, message);

	STAILQ_INSERT_TAIL(&store->finished, job, entry);
}

static void on_finished_late(struct store *store, struct store_message *message)
{
	(void)store;
	job_free(caa_container_of(message, struct job, message));
}

static struct job *wait_for_job(struct store *store)
{
	struct job *job;

	pthread_mutex_lock(&store->lock);
	while (STAILQ_EMPTY(&store->waiting) && !store->is_closing)
		pthread_cond_wait(&store->changed, &store->lock);
	job = STAILQ_FIRST(&store->waiting);
	if (job)
		STAILQ_REMOVE_HEAD(&store->waiting, entry);
	pthread_mutex_unlock(&store->lock);
	return job;
}

static void run_job(struct store_engine *engine, struct job *job)
{
	engine->error[0] = '\0';
	engine->changed = 0;
	engine->was_journaled = false;
	if (engine->ops->catch_up)
		engine->ops->catch_up(engine);
	job->err = job->run(engine, job);
	job->changed = engine->changed;
	job->was_journaled = engine->was_journaled;
	memcpy(job->error, engine->error, sizeof(job->error));
}

static void *run_jobs(void *arg)
{
	struct store *store = arg;
	struct job *job;

	while ((job = wait_for_job(store))) {
		if (!job->err)
			run_job(store->engine, job);
		job->message.on_loop = on_finished;
		job->message.on_dropped = on_finished_late;
		if (!mailbox_post(store->mailbox, &job->message.message))
			job_free(job);
	}
	return NULL;
}

/*
 * Remove and return the next job that may be delivered, or NULL. A job that changed a shared store
 * waits until the change has come back in the stream, so that the change is in force here when the
 * caller hears of it. It does not wait while the stream is interrupted.
 */
static struct job *take_finished(struct store *store)
{
	struct job *job = STAILQ_FIRST(&store->finished);

	if (!job || store->is_freed || (job->changed > store->followed_n && store->is_current))
		return NULL;
	STAILQ_REMOVE_HEAD(&store->finished, entry);
	return job;
}

void store_deliver(struct store *store)
{
	struct job *job;

	while ((job = take_finished(store))) {
		if (--store->under_way == 0)
			mailbox_keep_alive(store->mailbox, false);
		if (job->err)
			memcpy(store->error, job->error, sizeof(store->error));
		else
			job_report(store, job);
		job->deliver(store, job);
		job_free(job);
	}
}

static void release(struct store *store)
{
	struct job *job;

	while ((job = STAILQ_FIRST(&store->finished))) {
		STAILQ_REMOVE_HEAD(&store->finished, entry);
		job_free(job);
	}
	free(store);
}

static struct store_message *message_of(struct mailbox_message *message)
{
	return caa_container_of(message, struct store_message, message);
}

/*
 * The callback of a job, or on_state, may free the store. Its memory is released when the outermost
 * of these calls returns.
 */
static void on_message(void *arg, struct mailbox_message *message)
{
	struct store *store = arg;
	struct store_message *m = message_of(message);

	store->callers++;
	m->on_loop(store, m);
	store_deliver(store);
	if (--store->callers == 0 && store->is_freed)
		release(store);
}

static void on_dropped(void *arg, struct mailbox_message *message)
{
	struct store_message *m = message_of(message);

	m->on_dropped(arg, m);
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

/* Let the store's thread finish the waiting jobs, and end it. End the follower's thread too. */
static void stop_threads(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->is_closing = true;
	pthread_cond_signal(&store->changed);
	pthread_cond_broadcast(&store->go_on);
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
			 "this build does not support TLS to Redis: run stunnel on this host, and "
			 "use redis://127.0.0.1:PORT with stunnel's port");
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
		who = url; /* "sqlite:" and a path, which may contain an @ */
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
	STAILQ_INIT(&store->waiting);
	STAILQ_INIT(&store->finished);
	store->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	store->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	store->go_on = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	err = ops->new (url + strlen(ops->scheme), timeout_ms, &store->engine);
	if (err)
		goto fail;
	err = mailbox_open(loop, on_message, store, &store->mailbox);
	if (err)
		goto fail;
	mailbox_keep_alive(store->mailbox, false);
	err = -pthread_create(&store->thread, NULL, run_jobs, store);
	if (err)
		goto fail;
	store->has_thread = true;
	*ret_store = store;
	return 0;
fail:
	mailbox_close(store->mailbox, NULL);
	if (store->engine)
		ops->free(store->engine);
	free(store);
	return err;
}

void store_free(struct store *store)
{
	struct mailbox *mailbox;

	if (!store)
		return;
	/* The threads post until they have ended, so this reference keeps the mailbox's memory. */
	mailbox = mailbox_ref(store->mailbox);
	mailbox_close(mailbox, on_dropped);
	stop_threads(store);
	mailbox_unref(mailbox);
	store->engine->ops->free(store->engine);
	store->engine = NULL;
	store->is_freed = true;
	if (!store->callers)
		release(store);
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
		mailbox_keep_alive(store->mailbox, true);
	if (store->under_way > MAX_JOBS) {
		job->err = -ENOBUFS;
		snprintf(job->error, sizeof(job->error), "too many calls are outstanding");
	}
	pthread_mutex_lock(&store->lock);
	STAILQ_INSERT_TAIL(&store->waiting, job, entry);
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

void job_submit_change(struct store *store, struct job *job,
		       void (*report)(const struct store_follower *follower, void *arg,
				      const struct job *job),
		       store_done done, void *arg)
{
	if (job)
		job->report = report;
	job_submit_done(store, job, done, arg);
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

void store_journal_counts(const struct store *store, uint64_t *ret_waiting, uint64_t *ret_refused)
{
	*ret_waiting = atomic_read(&store->engine->journaled);
	*ret_refused = atomic_read(&store->engine->refused);
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
