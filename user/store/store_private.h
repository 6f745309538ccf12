/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_private: one call of store.h on its way through the front. Private to user/store: store.c owns
 * the thread and the queues; it, store_tasks.c and store_lists.c make the jobs.
 */
#ifndef STORE_STORE_PRIVATE_H
#define STORE_STORE_PRIVATE_H

#include "store/engine.h"

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
	};
	void *arg;
	int err;
	char error[STORE_ERROR_MAX];

	void *records; /* owned: given or found, as the call has it */
	void *more;    /* owned: quotas of store_usage_put(), the id of store_task_find() */
	size_t count, more_count, limit;
	struct store_task *tasks; /* owned, with their bodies: given or found */
	size_t task_count;
	struct store_task_query query; /* its texts are `queue` and `more` */
	char queue[STORE_QUEUE_MAX];
	uint64_t id, number; /* as the call has them */
	uint8_t bytes[STORE_HASH_BYTES];
	struct store_visitor visitor;
	void *visitor_arg;
	uint32_t day, month_day;
};

/* A job with copies of @count records of @size bytes at @records; NULL when memory is short. */
struct job *job_new(int (*run)(struct store_engine *, struct job *), const void *records,
		    size_t count, size_t size);

/* Accepts NULL. */
void job_free(struct job *job);

/* Hand a complete job to the thread; `deliver` follows on the loop. */
void job_submit(struct store *store, struct job *job);

/* The same for what job_new() gave, be it NULL, with the plainest of callbacks. */
void job_submit_done(struct store *store, struct job *job, store_done done, void *arg);

#endif
