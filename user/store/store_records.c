/* SPDX-License-Identifier: BSD-2-Clause */
/* store_records: the front of the calls for accounts and keys. */
#include <errno.h>

#include "store/store_private.h"

static void deliver_keys(struct store *store, struct job *job)
{
	(void)store;
	job->keys_done(job->arg, job->err, job->records, job->count);
}

static struct store_account_change change_of(const struct job *job)
{
	return (struct store_account_change){ .before = job->more,
					      .account = job->records,
					      .named = (uint32_t)job->number,
					      .tasks = job->tasks,
					      .task_count = job->task_count };
}

static int run_account_add(struct store_engine *engine, struct job *job)
{
	const struct store_account_change change = change_of(job);

	return engine->ops->account_add(engine, &change);
}

static int run_account_set(struct store_engine *engine, struct job *job)
{
	const struct store_account_change change = change_of(job);

	return engine->ops->account_set(engine, &change);
}

static int run_account_delete(struct store_engine *engine, struct job *job)
{
	return engine->ops->account_delete(engine, job->id, job->number != 0);
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

/* ---- reports to the follower ---- */

static void report_account(const struct store_follower *follower, void *arg, const struct job *job)
{
	follower->on_account(arg, job->records);
	job_report_tasks(follower, arg, job);
}

static void report_account_gone(const struct store_follower *follower, void *arg,
				const struct job *job)
{
	follower->on_account_gone(arg, job->id);
}

static void report_keys(const struct store_follower *follower, void *arg, const struct job *job)
{
	const struct store_key *keys = job->records;

	for (size_t i = 0; i < job->count; i++)
		follower->on_key(arg, &keys[i]);
}

static void report_key_end(const struct store_follower *follower, void *arg, const struct job *job)
{
	follower->on_key_end(arg, job->id, job->number);
}

static void report_rotation(const struct store_follower *follower, void *arg, const struct job *job)
{
	report_key_end(follower, arg, job);
	report_keys(follower, arg, job);
}

static void report_keys_end(const struct store_follower *follower, void *arg, const struct job *job)
{
	follower->on_keys_end(arg, job->id, 0, job->number);
}

/* ---- the calls ---- */

void store_account_add(struct store *store, const struct store_account *account, store_done done,
		       void *arg)
{
	store_account_change(store,
			     &(struct store_account_change){ .account = account, .is_new = true },
			     done, arg);
}

void store_account_set(struct store *store, const struct store_account *before,
		       const struct store_account *account, uint32_t named, store_done done,
		       void *arg)
{
	store_account_change(store,
			     &(struct store_account_change){
				     .before = before, .account = account, .named = named },
			     done, arg);
}

void store_account_change(struct store *store, const struct store_account_change *change,
			  store_done done, void *arg)
{
	struct job *job = job_new(change->is_new ? run_account_add : run_account_set,
				  change->account, 1, sizeof(*change->account));

	job = job_with_more(job, change->before, change->before != NULL, sizeof(*change->before));
	job = job_with_tasks(job, change->tasks, change->task_count);
	if (job)
		job->number = change->named;
	job_submit_change(store, job, report_account, done, arg);
}

void store_account_delete(struct store *store, uint64_t account, bool drops_usage, store_done done,
			  void *arg)
{
	struct job *job = job_new(run_account_delete, NULL, 0, 0);

	if (job) {
		job->id = account;
		job->number = drops_usage;
	}
	job_submit_change(store, job, report_account_gone, done, arg);
}

void store_keys_add(struct store *store, const struct store_key *keys, size_t count,
		    store_done done, void *arg)
{
	job_submit_change(store, job_new(run_keys_add, keys, count, sizeof(*keys)), report_keys,
			  done, arg);
}

void store_key_rotate(struct store *store, uint64_t old, uint64_t old_revoked_ms,
		      const struct store_key *fresh, store_done done, void *arg)
{
	struct job *job = job_new(run_key_rotate, fresh, 1, sizeof(*fresh));

	if (job) {
		job->id = old;
		job->number = old_revoked_ms;
	}
	job_submit_change(store, job, report_rotation, done, arg);
}

static struct job *end_job(int (*run)(struct store_engine *, struct job *), uint64_t id,
			   uint64_t at_ms)
{
	struct job *job = job_new(run, NULL, 0, 0);

	if (job) {
		job->id = id;
		job->number = at_ms;
	}
	return job;
}

void store_key_revoke(struct store *store, uint64_t key, uint64_t revoked_ms, store_done done,
		      void *arg)
{
	job_submit_change(store, end_job(run_key_revoke, key, revoked_ms), report_key_end, done,
			  arg);
}

void store_keys_revoke(struct store *store, uint64_t account, uint64_t revoked_ms, store_done done,
		       void *arg)
{
	job_submit_change(store, end_job(run_keys_revoke, account, revoked_ms), report_keys_end,
			  done, arg);
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
