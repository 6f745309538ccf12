/* SPDX-License-Identifier: BSD-2-Clause */
/* store_lists: the front of the calls for the operator's lists of addresses. */
#include "store/store_private.h"

static int run_entry_put(struct store_engine *engine, struct job *job)
{
	return engine->ops->entry_put(engine, job->records);
}

static int run_entry_remove(struct store_engine *engine, struct job *job)
{
	return engine->ops->entry_remove(engine, job->records);
}

static int run_entries_prune(struct store_engine *engine, struct job *job)
{
	return engine->ops->entries_prune(engine, job->number);
}

static void report_entry(const struct store_follower *follower, void *arg, const struct job *job)
{
	follower->on_entry(arg, job->records);
}

static void report_entry_gone(const struct store_follower *follower, void *arg,
			      const struct job *job)
{
	follower->on_entry_gone(arg, job->records);
}

void store_entry_put(struct store *store, const struct store_entry *entry, store_done done,
		     void *arg)
{
	job_submit_change(store, job_new(run_entry_put, entry, 1, sizeof(*entry)), report_entry,
			  done, arg);
}

void store_entry_remove(struct store *store, const struct cidr *block, store_done done, void *arg)
{
	job_submit_change(store, job_new(run_entry_remove, block, 1, sizeof(*block)),
			  report_entry_gone, done, arg);
}

void store_entries_prune(struct store *store, uint64_t ended_by_ms, store_done done, void *arg)
{
	struct job *job = job_new(run_entries_prune, NULL, 0, 0);

	if (job)
		job->number = ended_by_ms;
	job_submit_done(store, job, done, arg);
}
