/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_tasks: the front of the calls for tasks, and of calls that add tasks along with other
 * changes.
 *
 * Tasks are the only records that own memory, so their bodies are copied one by one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_private.h"

void store_tasks_free(struct store_task *tasks, size_t count)
{
	for (size_t i = 0; tasks && i < count; i++)
		free(tasks[i].body);
	free(tasks);
}

static void deliver_added(struct store *store, struct job *job)
{
	(void)store;
	job->tasks_added(job->arg, job->err, job->err ? NULL : job->records, job->task_count);
}

static void deliver_tasks(struct store *store, struct job *job)
{
	(void)store;
	job->tasks_done(job->arg, job->err, job->tasks, job->task_count);
}

static void deliver_queues(struct store *store, struct job *job)
{
	(void)store;
	job->queues_done(job->arg, job->err, job->records, job->count);
}

static int run_tasks_add(struct store_engine *engine, struct job *job)
{
	return engine->ops->tasks_add(engine, job->tasks, job->task_count, job->records);
}

static int run_tasks_list(struct store_engine *engine, struct job *job)
{
	struct store_task *tasks;
	int err = engine->ops->tasks_list(engine, &job->query, &tasks, &job->task_count);

	if (!err)
		job->tasks = tasks;
	return err;
}

static int run_tasks_set(struct store_engine *engine, struct job *job)
{
	return engine->ops->tasks_set(engine, job->tasks, job->task_count);
}

static int run_tasks_prune(struct store_engine *engine, struct job *job)
{
	return engine->ops->tasks_prune(engine, job->queue, job->number);
}

static int run_usage_prune(struct store_engine *engine, struct job *job)
{
	return engine->ops->usage_prune(engine, job->number);
}

static int run_queues_count(struct store_engine *engine, struct job *job)
{
	struct store_queue_count *rows;
	int err = engine->ops->queues_count(engine, &rows, &job->count);

	if (!err)
		job->records = rows;
	return err;
}

static int run_usage_close(struct store_engine *engine, struct job *job)
{
	return engine->ops->usage_close(engine, job->records, job->count, job->tasks,
					job->task_count);
}

static int run_key_claim(struct store_engine *engine, struct job *job)
{
	return engine->ops->key_claim(engine, job->tasks, job->records);
}

struct job *job_with_tasks(struct job *job, const struct store_task *tasks, size_t count)
{
	if (!job || !count)
		return job;
	job->tasks = calloc(count, sizeof(*tasks));
	for (size_t i = 0; job->tasks && i < count; i++) {
		struct store_task *copy = &job->tasks[job->task_count++];

		*copy = tasks[i];
		copy->body = tasks[i].body ? strdup(tasks[i].body) : NULL;
		if (tasks[i].body && !copy->body)
			goto fail;
	}
	if (job->tasks)
		return job;
fail:
	job_free(job);
	return NULL;
}

/* Report the tasks that were added, not those that existed already. */
static void report_fresh_tasks(const struct store_follower *follower, void *arg,
			       const struct job *job)
{
	const bool *is_fresh = job->records;

	for (size_t i = 0; i < job->task_count && !job->is_ahead; i++) {
		if (is_fresh[i])
			follower->on_task(arg, job->tasks[i].queue, &job->tasks[i]);
	}
}

static void report_claim(const struct store_follower *follower, void *arg, const struct job *job)
{
	follower->on_key(arg, job->records);
	job_report_tasks(follower, arg, job);
}

void store_tasks_add(struct store *store, const struct store_task *tasks, size_t count,
		     store_tasks_added done, void *arg)
{
	struct job *job = job_with_tasks(job_new(run_tasks_add, NULL, 0, 0), tasks, count);

	if (job)
		job->records = calloc(count + 1, sizeof(bool));
	if (!job || !job->records) {
		job_free(job);
		done(arg, -ENOMEM, NULL, 0);
		return;
	}
	job->report = report_fresh_tasks;
	job->deliver = deliver_added;
	job->tasks_added = done;
	job->arg = arg;
	job_submit(store, job);
}

/*
 * Submit @query. Its strings are copied, the id in full length: an id from a client may be longer
 * than any stored one, and truncated it could match another task.
 */
static void list_tasks(struct store *store, const struct store_task_query *query,
		       store_tasks_done done, void *arg)
{
	struct job *job = job_new(run_tasks_list, NULL, 0, 0);

	if (job && query->id)
		job->more = strdup(query->id);
	if (!job || (query->id && !job->more)) {
		job_free(job);
		done(arg, -ENOMEM, NULL, 0);
		return;
	}
	job->query = *query;
	job->query.id = job->more;
	job->query.queue = job->queue;
	snprintf(job->queue, sizeof(job->queue), "%s", query->queue);
	job->deliver = deliver_tasks;
	job->tasks_done = done;
	job->arg = arg;
	job_submit(store, job);
}

void store_tasks_list(struct store *store, const char *queue, enum store_task_state state,
		      uint64_t due_by_ms, uint64_t after_seq, size_t limit, store_tasks_done done,
		      void *arg)
{
	const struct store_task_query query = { .queue = queue,
						.state = state,
						.due_by_ms = due_by_ms,
						.after_seq = after_seq,
						.limit = limit };

	list_tasks(store, &query, done, arg);
}

void store_task_find(struct store *store, const char *queue, const char *id, store_tasks_done done,
		     void *arg)
{
	const struct store_task_query query = { .queue = queue, .id = id, .limit = 1 };

	list_tasks(store, &query, done, arg);
}

void store_tasks_set(struct store *store, const struct store_task *tasks, size_t count,
		     store_done done, void *arg)
{
	job_submit_done(store, job_with_tasks(job_new(run_tasks_set, NULL, 0, 0), tasks, count),
			done, arg);
}

void store_tasks_prune(struct store *store, const char *queue, uint64_t before_ms, store_done done,
		       void *arg)
{
	struct job *job = job_new(run_tasks_prune, NULL, 0, 0);

	if (job) {
		snprintf(job->queue, sizeof(job->queue), "%s", queue);
		job->number = before_ms;
	}
	job_submit_done(store, job, done, arg);
}

void store_usage_prune(struct store *store, uint64_t before_s, store_done done, void *arg)
{
	struct job *job = job_new(run_usage_prune, NULL, 0, 0);

	if (job)
		job->number = before_s;
	job_submit_done(store, job, done, arg);
}

void store_queues_count(struct store *store, store_queues_done done, void *arg)
{
	struct job *job = job_new(run_queues_count, NULL, 0, 0);

	if (!job) {
		done(arg, -ENOMEM, NULL, 0);
		return;
	}
	job->deliver = deliver_queues;
	job->queues_done = done;
	job->arg = arg;
	job_submit(store, job);
}

void store_usage_close(struct store *store, const struct store_usage *rows, size_t row_count,
		       const struct store_task *tasks, size_t task_count, store_done done,
		       void *arg)
{
	struct job *job = job_with_tasks(job_new(run_usage_close, rows, row_count, sizeof(*rows)),
					 tasks, task_count);

	job_submit_change(store, job, job_report_tasks, done, arg);
}

void store_key_claim(struct store *store, const struct store_task *claim,
		     const struct store_key *key, store_done done, void *arg)
{
	struct job *job = job_with_tasks(job_new(run_key_claim, key, 1, sizeof(*key)), claim, 1);

	job_submit_change(store, job, report_claim, done, arg);
}
