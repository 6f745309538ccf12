/* SPDX-License-Identifier: BSD-2-Clause */
/* store_usage: the front of the calls for usage, except store_usage_close() in store_tasks.c. */
#include <errno.h>

#include "store/store_private.h"

static void deliver_usage(struct store *store, struct job *job)
{
	(void)store;
	job->usage_done(job->arg, job->err, job->records, job->count);
}

static int run_usage_put(struct store_engine *engine, struct job *job)
{
	return engine->ops->usage_put(engine, job->records, job->count, job->more, job->more_count);
}

static int run_usage_list(struct store_engine *engine, struct job *job)
{
	struct store_usage *rows;
	int err = engine->ops->usage_list(engine, job->id, job->number, job->limit, &rows,
					  &job->count);

	if (!err)
		job->records = rows;
	return err;
}

static int run_usage_open(struct store_engine *engine, struct job *job)
{
	const struct store_usage_query query = { .account = job->id,
						 .ended_by_s = job->number,
						 .after = job->more,
						 .limit = job->limit };
	struct store_usage *rows;
	int err = engine->ops->usage_open(engine, &query, &rows, &job->count);

	if (!err)
		job->records = rows;
	return err;
}

void store_usage_put(struct store *store, const struct store_usage *usage, size_t usage_count,
		     const struct store_quota *quotas, size_t quota_count, store_done done,
		     void *arg)
{
	struct job *job = job_new(run_usage_put, usage, usage_count, sizeof(*usage));

	job_submit_done(store, job_with_more(job, quotas, quota_count, sizeof(*quotas)), done, arg);
}

static void list_usage(struct store *store, struct job *job, uint64_t account, uint64_t time_s,
		       size_t limit, store_usage_done done, void *arg)
{
	if (!job) {
		done(arg, -ENOMEM, NULL, 0);
		return;
	}
	job->deliver = deliver_usage;
	job->id = account;
	job->number = time_s;
	job->limit = limit;
	job->usage_done = done;
	job->arg = arg;
	job_submit(store, job);
}

void store_usage_list(struct store *store, uint64_t account, uint64_t since_s, size_t limit,
		      store_usage_done done, void *arg)
{
	list_usage(store, job_new(run_usage_list, NULL, 0, 0), account, since_s, limit, done, arg);
}

void store_usage_open(struct store *store, const struct store_usage_query *query,
		      store_usage_done done, void *arg)
{
	struct job *job = job_new(run_usage_open, NULL, 0, 0);

	if (query->after)
		job = job_with_more(job, query->after, 1, sizeof(*query->after));
	list_usage(store, job, query->account, query->ended_by_s, query->limit, done, arg);
}
