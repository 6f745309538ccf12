/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_private: one call of store.h on its way through the front. Private to user/store: store.c owns
 * the thread and the queues; it, store_tasks.c, store_usage.c, store_lists.c, store_fleet.c and
 * store_share.c make the jobs; store_follow.c tells changes.
 */
#ifndef STORE_STORE_PRIVATE_H
#define STORE_STORE_PRIVATE_H

#include <pthread.h>
#include <sys/queue.h>

#include "net/mailbox.h"
#include "store/engine.h"

STAILQ_HEAD(job_list, job);

struct store {
	struct store_engine *engine; /* owned; the threads' while they run */
	struct mailbox *mailbox;     /* owned; from the threads to the loop */
	pthread_t thread, follow_thread;
	bool has_thread, has_follower;
	pthread_mutex_t lock;	/* of the five below */
	pthread_cond_t changed; /* jobs wait, or the store is closing */
	pthread_cond_t
		go_on; /* the loop has run a thread's call, or the follower has work, or closing */
	struct job_list waiting;
	bool is_closing, is_follow_wanted;

	/* The loop's. */
	struct job_list finished; /* not delivered yet */
	unsigned under_way;	  /* jobs not yet delivered */
	unsigned callers;	  /* functions of ours on the stack that deliver */
	bool is_freed;		  /* store_free() was called from within a callback */
	bool is_following;
	struct store_follower follower;
	void *follower_arg;
	uint64_t followed_n; /* number of the last change that the follower was told */
	bool is_current;     /* the follower reads the stream, with no error so far */
	uint8_t id[STORE_ID_BYTES];
	char error[STORE_ERROR_MAX];
};

/* What the threads post to the loop. */
struct store_message {
	struct mailbox_message message;
	void (*on_loop)(struct store *store, struct store_message *message);
	void (*on_dropped)(struct store *store, struct store_message *message); /* while closing */
};

/* What is to be done, with copies of the call's arguments, and then what came of it. */
struct job {
	struct store_message message;
	STAILQ_ENTRY(job) entry;
	int (*run)(struct store_engine *engine, struct job *job); /* the store's thread */
	/*
	 * Tell the follower what the job has changed, from its own records. NULL: nothing that a
	 * follower is told. Only called for changes that no stream tells; see job_tell().
	 */
	void (*tell)(const struct store_follower *follower, void *arg, const struct job *job);
	void (*deliver)(struct store *store, struct job *job); /* the loop's */
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
	bool was_journaled; /* the change waits on this host for the server */
	uint64_t changed;   /* number of the change that it made; 0: none */
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

/* The same for a change that @tell tells the follower. */
void job_submit_change(struct store *store, struct job *job,
		       void (*tell)(const struct store_follower *follower, void *arg,
				    const struct job *job),
		       store_done done, void *arg);

/* In store.c: deliver the jobs that have finished, as far as their changes have been told. */
void store_deliver(struct store *store);

/*
 * In store_follow.c: tell the follower what @job has changed, unless a stream tells it. An engine of one
 * host has no stream, and neither has a change that waits in the journal.
 */
void job_tell(struct store *store, const struct job *job);

/* Tell that the tasks of @job were added. */
void job_tell_tasks(const struct store_follower *follower, void *arg, const struct job *job);

/* Have the loop run @run with @arg, and wait for it. -ECANCELED when the store is being freed. */
int store_run_on_loop(struct store *store, void (*run)(void *arg), void *arg);

/* The engine's load, on the store's thread; the visitor is called on the loop. */
int store_load_on_loop(struct store *store, struct store_engine *engine,
		       const struct store_visitor *visitor, void *visitor_arg, uint32_t day,
		       uint32_t month_day);

#endif
