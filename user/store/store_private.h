/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_private: what the files of the front share. Private to user/store.
 *
 * Each call of store.h becomes a job. store.c owns the thread and the queues. store.c and the
 * store_*.c file of each subject create the jobs; store_follow.c reports changes to the follower.
 */
#ifndef STORE_STORE_PRIVATE_H
#define STORE_STORE_PRIVATE_H

#include <pthread.h>
#include <sys/queue.h>

#include "net/mailbox.h"
#include "store/engine.h"

STAILQ_HEAD(job_list, job);

struct store {
	struct store_engine *engine; /* owned; used by the threads while they run */
	struct mailbox *mailbox;     /* owned; from the threads to the loop */
	pthread_t thread, follow_thread;
	bool has_thread, has_follower;
	pthread_mutex_t lock;	/* protects the five members below */
	pthread_cond_t changed; /* there are jobs waiting, or the store is closing */
	pthread_cond_t
		go_on; /* the loop has run a thread's call, the follower may start, or closing */
	struct job_list waiting;
	bool is_closing, is_follow_wanted;

	/* Used on the loop's thread only. */
	struct job_list finished; /* run by the engine, but not delivered yet */
	unsigned under_way;	  /* jobs submitted and not yet delivered */
	unsigned callers;	  /* calls of on_message() on the stack: it may be reentered */
	bool is_freed;		  /* store_free() was called; memory goes when `callers` is 0 */
	bool is_following;
	struct store_follower follower;
	void *follower_arg;
	uint64_t followed_n; /* number of the last change reported to the follower */
	bool is_current;     /* the follower reads the stream and its last read succeeded */
	uint8_t id[STORE_ID_BYTES];
	char error[STORE_ERROR_MAX];
};

/* A message from a thread of the store to the loop. */
struct store_message {
	struct mailbox_message message;
	void (*on_loop)(struct store *store, struct store_message *message);
	void (*on_dropped)(struct store *store, struct store_message *message); /* while closing */
};

/* One call. It holds copies of the arguments, and later the result. */
struct job {
	struct store_message message;
	STAILQ_ENTRY(job) entry;
	int (*run)(struct store_engine *engine, struct job *job); /* on the store's thread */
	/*
	 * Report the job's change to the follower, from the job's own records. NULL if followers do
	 * not hear of this kind of change. Called only if no stream reports the change; see
	 * job_report().
	 */
	void (*report)(const struct store_follower *follower, void *arg, const struct job *job);
	void (*deliver)(struct store *store, struct job *job); /* on the loop */
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
	struct store *store; /* borrowed; set by store_load() only */
	int err;
	bool was_journaled; /* the change waits in this host's journal */
	bool is_ahead;	    /* reported before the stream does, which will report it again */
	uint64_t changed;   /* number of the change that it made; 0: none */
	char error[STORE_ERROR_MAX];

	void *records; /* owned: the call's records, or the rows that it found */
	/* Owned: the account before, the quotas, a task's id, a row, grants, or fleet.hosts. */
	void *more;
	size_t count, more_count, limit;
	struct store_task *tasks; /* owned, with their bodies: the call's, or those that it found */
	size_t task_count;
	struct store_task_query query; /* its strings point to `queue` and `more` */
	char queue[STORE_QUEUE_MAX];
	uint64_t id, number; /* arguments; their meaning depends on the call */
	uint8_t bytes[STORE_HASH_BYTES];
	struct store_fleet fleet; /* its hosts point to `more` */
	struct store_visitor visitor;
	void *visitor_arg;
	uint32_t day, month_day;
};

/* A new job with copies of the @count records of @size bytes at @records. NULL for -ENOMEM. */
struct job *job_new(int (*run)(struct store_engine *, struct job *), const void *records,
		    size_t count, size_t size);

/*
 * Add copies of @count further records to @job, which may be NULL. Returns @job; or NULL if memory
 * is short, and frees it.
 */
struct job *job_with_more(struct job *job, const void *records, size_t count, size_t size);

/* The same with copies of @count tasks and of their bodies. */
struct job *job_with_tasks(struct job *job, const struct store_task *tasks, size_t count);

/* Accepts NULL. */
void job_free(struct job *job);

/* Pass a complete job to the store's thread; `deliver` runs later on the loop. */
void job_submit(struct store *store, struct job *job);

/* The same for a job that only needs a store_done. If @job is NULL, @done gets -ENOMEM at once. */
void job_submit_done(struct store *store, struct job *job, store_done done, void *arg);

/* The same for a change, which @report reports to the follower. */
void job_submit_change(struct store *store, struct job *job,
		       void (*report)(const struct store_follower *follower, void *arg,
				      const struct job *job),
		       store_done done, void *arg);

/*
 * In store.c: deliver the finished jobs in order, up to the first whose change is not reported yet.
 */
void store_deliver(struct store *store);

/*
 * In store_follow.c: report @job's change to the follower, unless the stream has done so. An engine
 * that serves a single host has no stream. A change that waits in the journal, or that was made
 * while the stream is interrupted, is reported here at once, and by the stream again later.
 */
void job_report(struct store *store, struct job *job);

/* Report that the tasks of @job were added. */
void job_report_tasks(const struct store_follower *follower, void *arg, const struct job *job);

/*
 * Run @run with @arg on the loop, and wait for it. Called on a thread of the store. 0, or
 * -ECANCELED while the store is being freed.
 */
int store_run_on_loop(struct store *store, void (*run)(void *arg), void *arg);

/* Run the engine's load on the store's thread, and the visitor's functions on the loop. */
int store_load_on_loop(struct store *store, struct store_engine *engine,
		       const struct store_visitor *visitor, void *visitor_arg, uint32_t day,
		       uint32_t month_day);

#endif
