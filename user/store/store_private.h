/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_private: one call of store.h on its way through the front. Private to user/store: store.c owns
 * the thread and the queues; it, store_tasks.c and store_lists.c make the jobs.
 */
#ifndef STORE_STORE_PRIVATE_H
#define STORE_STORE_PRIVATE_H

#include <pthread.h>

#include "store/engine.h"

struct queue {
	struct job *first, **last;
};

/* What one of the store's threads wants done on the loop; it waits for it. */
struct store_errand {
	struct store_errand *next;
	void (*run)(void *arg);
	void *arg;
	bool is_done;
};

struct store {
	struct store_engine *engine; /* owned; the threads' while they run */
	pthread_t thread, follow_thread;
	bool has_thread, has_follower;
	uv_async_t wake;
	pthread_mutex_t lock;	    /* of the seven below */
	pthread_cond_t changed;	    /* jobs wait, or the store is closing */
	pthread_cond_t errand_done; /* or there is something to follow, or the store is closing */
	struct queue waiting, finished;
	struct store_errand *errands; /* borrowed from the threads that wait */
	bool is_closing, is_follow_wanted;

	/* The loop's. */
	unsigned under_way; /* jobs not yet delivered */
	struct store_follower follower;
	void *follower_arg;
	uint64_t followed_n; /* number of the last change that the follower was told */
	bool was_journaled;  /* what the callback that runs now is about */
	bool is_current;     /* the follower reads the stream, with no error so far */
	uint8_t id[STORE_ID_BYTES];
	char error[STORE_ERROR_MAX];
};

/* What is to be done, with copies of the call's arguments, and then what came of it. */
struct job {
	struct job *next;
	int (*run)(struct store_engine *engine, struct job *job); /* the store's thread */
	void (*deliver)(struct store *store, struct job *job);	  /* the loop's */
	union {
		store_done done;
		store_keys_done keys_done;
		store_usage_done usage_done;
		store_tasks_added tasks_added;
		store_tasks_done tasks_done;
		store_queues_done queues_done;
		store_beat_done beat_done;
		store_share_done share_done;
	};
	void *arg;
	struct store *store; /* store_load() only */
	int err;
	bool was_journaled;
	uint64_t changed; /* number of the change that it made; 0: none */
	char error[STORE_ERROR_MAX];

	void *records; /* owned: given or found, as the call has it */
	void *more; /* owned: the account before, quotas of store_usage_put(), the id of store_task_find() */
	size_t count, more_count, limit;
	struct store_task *tasks; /* owned, with their bodies: given or found */
	size_t task_count;
	struct store_task_query query; /* its texts are `queue` and `more` */
	char queue[STORE_QUEUE_MAX];
	uint64_t id, number; /* as the call has them */
	uint8_t bytes[STORE_HASH_BYTES];
	struct store_fleet fleet; /* its hosts are `more` */
	struct store_visitor visitor;
	void *visitor_arg;
	uint32_t day, month_day;
};

/* A job with copies of @count records of @size bytes at @records; NULL when memory is short. */
struct job *job_new(int (*run)(struct store_engine *, struct job *), const void *records,
		    size_t count, size_t size);

/* Give @job, which may be NULL, copies of @count further records. It, or NULL and it is freed. */
struct job *job_with_more(struct job *job, const void *records, size_t count, size_t size);

/* Accepts NULL. */
void job_free(struct job *job);

/* Hand a complete job to the thread; `deliver` follows on the loop. */
void job_submit(struct store *store, struct job *job);

/* The same for what job_new() gave, be it NULL, with the plainest of callbacks. */
void job_submit_done(struct store *store, struct job *job, store_done done, void *arg);

/* In store.c: tell the ends of jobs that may be told. */
void store_deliver(struct store *store);

/* In store_follow.c: what the threads want done now. */
void store_run_errands(struct store *store);

/* The engine's load, on the store's thread; the visitor is called on the loop. */
int store_load_on_loop(struct store *store, struct store_engine *engine,
		       const struct store_visitor *visitor, void *visitor_arg, uint32_t day,
		       uint32_t month_day);

#endif
