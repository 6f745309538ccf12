/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_follow: what the store's threads have to say on the loop besides the ends of jobs: the batches of
 * a load, and the changes that other hosts made.
 *
 * A second thread follows the stream. Whichever thread has something for the loop leaves an errand and
 * waits until the loop has run it, so no more than one batch of each is ever in memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "store/store_private.h"

#define RETRY_MS 50 /* between looks at an engine that says at once that Redis is away */

/* Have the loop run @run with @arg, and wait for it. -ECANCELED when the store is being freed. */
static int run_on_loop(struct store *store, void (*run)(void *arg), void *arg)
{
	struct store_errand errand = { .run = run, .arg = arg };

	pthread_mutex_lock(&store->lock);
	errand.next = store->errands;
	store->errands = &errand;
	uv_async_send(&store->wake);
	while (!errand.is_done && !store->is_closing)
		pthread_cond_wait(&store->errand_done, &store->lock);
	if (!errand.is_done) {
		for (struct store_errand **at = &store->errands; *at; at = &(*at)->next) {
			if (*at == &errand) {
				*at = errand.next;
				break;
			}
		}
	}
	pthread_mutex_unlock(&store->lock);
	return errand.is_done ? 0 : -ECANCELED;
}

void store_run_errands(struct store *store)
{
	for (;;) {
		struct store_errand *errand;

		pthread_mutex_lock(&store->lock);
		errand = store->errands;
		if (errand)
			store->errands = errand->next;
		pthread_mutex_unlock(&store->lock);
		if (!errand)
			return;
		errand->run(errand->arg);
		pthread_mutex_lock(&store->lock);
		errand->is_done = true;
		pthread_cond_broadcast(&store->errand_done);
		pthread_mutex_unlock(&store->lock);
	}
}

/* ---- a load's batches ---- */

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
	err = run_on_loop(batch->store, run_batch, batch);
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
	static const struct store_visitor crossing = { on_accounts, on_keys, on_quotas,
						       on_entries };
	struct batch batch = { .store = store, .visitor = visitor, .visitor_arg = visitor_arg };

	return engine->ops->load(engine, &crossing, &batch, day, month_day);
}

/* ---- following ---- */

struct news {
	struct store *store;
	struct store_change *changes;
	size_t count;
	int err;
};

static void tell_change(const struct store_follower *f, void *arg,
			const struct store_change *change)
{
	switch (change->kind) {
	case STORE_CHANGE_ACCOUNT:
		f->on_account(arg, &change->account);
		break;
	case STORE_CHANGE_KEY:
		f->on_key(arg, &change->key);
		break;
	case STORE_CHANGE_KEYS_END:
		f->on_keys_end(arg, change->keys_end.account, change->keys_end.before_ms,
			       change->keys_end.at_ms);
		break;
	case STORE_CHANGE_ENTRY:
		f->on_entry(arg, &change->entry);
		break;
	case STORE_CHANGE_ENTRY_GONE:
		f->on_entry_gone(arg, &change->entry.block);
		break;
	case STORE_CHANGE_TASK:
		f->on_task(arg, change->queue);
		break;
	case STORE_CHANGE_OTHER:
		break;
	}
}

static void run_news(void *arg)
{
	struct news *news = arg;
	struct store *store = news->store;

	for (size_t i = 0; i < news->count; i++) {
		tell_change(&store->follower, store->follower_arg, &news->changes[i]);
		store->followed_n = news->changes[i].n;
	}
	store->is_current = !news->err;
	/* Jobs that waited for these changes are told after the errand: they may free the store. */
	store->follower.on_state(store->follower_arg, news->err,
				 news->err ? store->engine->ops->follow_error(store->engine) : "");
}

/* Wait until there is something to follow. False when the store is being freed. */
static bool wait_for_start(struct store *store)
{
	bool is_on;

	pthread_mutex_lock(&store->lock);
	while (!store->is_follow_wanted && !store->is_closing)
		pthread_cond_wait(&store->errand_done, &store->lock);
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

/* Not a busy loop while the breaker is open, and no longer than until the store is freed. */
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
		pthread_cond_timedwait(&store->errand_done, &store->lock, &until);
	pthread_mutex_unlock(&store->lock);
}

static void *run_follower(void *arg)
{
	struct store *store = arg;

	while (wait_for_start(store)) {
		struct news news = { .store = store };

		news.err = store->engine->ops->follow(store->engine, &news.changes, &news.count);
		if (news.err == -ESTALE)
			stop_following(store);
		if (run_on_loop(store, run_news, &news))
			news.count = 0;
		free(news.changes);
		if (news.err)
			pause_follower(store);
	}
	return NULL;
}

int store_follow(struct store *store, const struct store_follower *follower, void *arg)
{
	int err = 0;

	if (!store->engine->ops->follow)
		return -ENOTSUP;
	store->follower = *follower;
	store->follower_arg = arg;
	store->followed_n = store->engine->ops->place(store->engine);
	store->is_current = true;
	pthread_mutex_lock(&store->lock);
	store->is_follow_wanted = true;
	pthread_cond_broadcast(&store->errand_done);
	pthread_mutex_unlock(&store->lock);
	if (!store->has_follower) {
		err = -pthread_create(&store->follow_thread, NULL, run_follower, store);
		store->has_follower = !err;
	}
	return err;
}

bool store_is_followed(const struct store *store)
{
	return store->engine->ops->follow != NULL;
}

uint64_t store_followed(const struct store *store)
{
	return store->followed_n;
}
