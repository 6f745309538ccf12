/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_follow: calls from the store's threads to the loop: the batches of a load, and the feed.
 *
 * Changes reach the follower in the order in which they were committed. A store with a single host
 * has only this agent's changes, and reports each one just before it delivers the job. A store that
 * many hosts share has a stream of all hosts' changes, which a second thread reads.
 *
 * A thread that passes something to the loop waits until the loop has processed it, so at most one
 * batch of each kind is in memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <urcu/compiler.h>

#include "base/clock.h"
#include "store/store_private.h"

#define RETRY_MS \
	50 /* between attempts while the server is unreachable and follow() fails at once */

/* A call that a thread makes on the loop; it lives on the thread's stack. */
struct loop_call {
	struct store_message message;
	void (*run)(void *arg);
	void *arg;
	bool is_done; /* under the store's lock */
	bool is_dropped;
};

static void end_call(struct store *store, struct loop_call *call, bool is_dropped)
{
	pthread_mutex_lock(&store->lock);
	call->is_dropped = is_dropped;
	call->is_done = true;
	pthread_cond_broadcast(&store->go_on);
	pthread_mutex_unlock(&store->lock);
}

static void on_call(struct store *store, struct store_message *message)
{
	struct loop_call *call = caa_container_of(message, struct loop_call, message);

	call->run(call->arg);
	/* If that freed the store, the thread has ended and its stack is gone. */
	if (!store->is_freed)
		end_call(store, call, false);
}

static void on_call_dropped(struct store *store, struct store_message *message)
{
	end_call(store, caa_container_of(message, struct loop_call, message), true);
}

int store_run_on_loop(struct store *store, void (*run)(void *arg), void *arg)
{
	struct loop_call call = { .message = { .on_loop = on_call, .on_dropped = on_call_dropped },
				  .run = run,
				  .arg = arg };

	if (!mailbox_post(store->mailbox, &call.message.message))
		return -ECANCELED;
	pthread_mutex_lock(&store->lock);
	/*
	 * A call that frees the store is still on the loop's stack now, so `is_done` never becomes
	 * true.
	 */
	while (!call.is_done && !store->is_closing)
		pthread_cond_wait(&store->go_on, &store->lock);
	pthread_mutex_unlock(&store->lock);
	return call.is_done && !call.is_dropped ? 0 : -ECANCELED;
}

/* ---- the batches of a load ---- */

struct batch {
	struct store *store;
	const struct store_visitor *visitor;
	void *visitor_arg;
	int (*visit)(const struct batch *batch);
	const void *records;
	size_t count;
	int err;
};

static void run_batch(void *arg)
{
	struct batch *batch = arg;

	batch->err = batch->visit(batch);
}

static int hand_over(void *arg, int (*visit)(const struct batch *batch), const void *records,
		     size_t count)
{
	struct batch *batch = arg;
	int err;

	batch->visit = visit;
	batch->records = records;
	batch->count = count;
	err = store_run_on_loop(batch->store, run_batch, batch);
	return err ? err : batch->err;
}

#define VISIT(kind, record)                                                            \
	static int visit_##kind(const struct batch *batch)                             \
	{                                                                              \
		const struct store_visitor *v = batch->visitor;                        \
                                                                                       \
		if (!v->on_##kind)                                                     \
			return 0;                                                      \
		return v->on_##kind(batch->visitor_arg, batch->records, batch->count); \
	}                                                                              \
                                                                                       \
	static int on_##kind(void *arg, const struct record *records, size_t count)    \
	{                                                                              \
		return hand_over(arg, visit_##kind, records, count);                   \
	}

VISIT(accounts, store_account)
VISIT(keys, store_key)
VISIT(quotas, store_quota)
VISIT(entries, store_entry)

int store_load_on_loop(struct store *store, struct store_engine *engine,
		       const struct store_visitor *visitor, void *visitor_arg, uint32_t day,
		       uint32_t month_day)
{
	static const struct store_visitor to_loop = { on_accounts, on_keys, on_quotas, on_entries };
	struct batch batch = { .store = store, .visitor = visitor, .visitor_arg = visitor_arg };

	return engine->ops->load(engine, &to_loop, &batch, day, month_day);
}

/* ---- the feed ---- */

struct feed_batch {
	struct store *store;
	struct store_change *changes;
	size_t count;
	int err;
};

static void report_change(const struct store_follower *f, void *arg,
			  const struct store_change *change)
{
	switch (change->kind) {
	case STORE_CHANGE_ACCOUNT:
		f->on_account(arg, &change->account);
		break;
	case STORE_CHANGE_ACCOUNT_GONE:
		f->on_account_gone(arg, change->account.id);
		break;
	case STORE_CHANGE_KEY:
		f->on_key(arg, &change->key);
		break;
	case STORE_CHANGE_KEYS_END:
		/*
		 * 0 in a stream means that the account had no keys. To a follower it would mean all
		 * that are known here, among them keys made later. No key is older than 1.
		 */
		f->on_keys_end(arg, change->keys_end.account,
			       change->keys_end.before_ms ? change->keys_end.before_ms : 1,
			       change->keys_end.at_ms);
		break;
	case STORE_CHANGE_ENTRY:
		f->on_entry(arg, &change->entry);
		break;
	case STORE_CHANGE_ENTRY_GONE:
		f->on_entry_gone(arg, &change->entry.block);
		break;
	case STORE_CHANGE_TASK:
		f->on_task(arg, change->queue, NULL);
		break;
	case STORE_CHANGE_OTHER:
		break;
	}
}

static void run_feed_batch(void *arg)
{
	struct feed_batch *feed = arg;
	struct store *store = feed->store;

	for (size_t i = 0; i < feed->count; i++) {
		report_change(&store->follower, store->follower_arg, &feed->changes[i]);
		store->followed_n = feed->changes[i].n;
	}
	store->is_current = !feed->err;
	store->follower.on_state(store->follower_arg, feed->err,
				 feed->err ? store->engine->ops->follow_error(store->engine) : "");
}

/* Wait until the follower is wanted. False if the store is being freed. */
static bool wait_for_start(struct store *store)
{
	bool is_on;

	pthread_mutex_lock(&store->lock);
	while (!store->is_follow_wanted && !store->is_closing)
		pthread_cond_wait(&store->go_on, &store->lock);
	is_on = !store->is_closing;
	pthread_mutex_unlock(&store->lock);
	return is_on;
}

static void stop_following(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->is_follow_wanted = false;
	pthread_mutex_unlock(&store->lock);
}

/* Avoid a busy loop while the circuit breaker is open. Ends early when the store is freed. */
static void pause_follower(struct store *store)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += RETRY_MS * (long)NS_PER_MS;
	if (until.tv_nsec >= (long)NS_PER_SECOND) {
		until.tv_nsec -= (long)NS_PER_SECOND;
		until.tv_sec++;
	}
	pthread_mutex_lock(&store->lock);
	if (!store->is_closing)
		pthread_cond_timedwait(&store->go_on, &store->lock, &until);
	pthread_mutex_unlock(&store->lock);
}

static void *run_follower(void *arg)
{
	struct store *store = arg;

	while (wait_for_start(store)) {
		struct feed_batch feed = { .store = store };

		feed.err = store->engine->ops->follow(store->engine, &feed.changes, &feed.count);
		if (feed.err == -ESTALE)
			stop_following(store);
		if (store_run_on_loop(store, run_feed_batch, &feed))
			feed.count = 0;
		free(feed.changes);
		if (feed.err)
			pause_follower(store);
	}
	return NULL;
}

int store_follow(struct store *store, const struct store_follower *follower, void *arg)
{
	int err = 0;

	store->follower = *follower;
	store->follower_arg = arg;
	store->is_following = true;
	if (!store->engine->ops->follow)
		return 0;
	store->followed_n = store->engine->ops->place(store->engine);
	store->is_current = true;
	pthread_mutex_lock(&store->lock);
	store->is_follow_wanted = true;
	pthread_cond_broadcast(&store->go_on);
	pthread_mutex_unlock(&store->lock);
	if (!store->has_follower) {
		err = -pthread_create(&store->follow_thread, NULL, run_follower, store);
		store->has_follower = !err;
		store->is_current = !err; /* without a follower no job may wait for it */
	}
	return err;
}

void job_report(struct store *store, struct job *job)
{
	bool has_stream = store->engine->ops->follow != NULL;
	bool is_reported = has_stream && !job->was_journaled && job->changed <= store->followed_n;

	if (!job->report || !store->is_following || is_reported)
		return;
	job->is_ahead = has_stream;
	job->report(&store->follower, store->follower_arg, job);
	if (!has_stream)
		store->followed_n++;
}

void job_report_tasks(const struct store_follower *follower, void *arg, const struct job *job)
{
	/*
	 * The stream will report tasks once, so they are not reported ahead of it: a task in the
	 * journal is not on the server yet, and others would be processed twice.
	 */
	for (size_t i = 0; i < job->task_count && !job->is_ahead; i++)
		follower->on_task(arg, job->tasks[i].queue, &job->tasks[i]);
}

bool store_can_share(const struct store *store)
{
	return store->engine->ops->share_exchange != NULL;
}

uint64_t store_followed(const struct store *store)
{
	return store->followed_n;
}
