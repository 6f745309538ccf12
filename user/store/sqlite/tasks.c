/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sqlite_tasks: tasks in the embedded engine, and the changes that are made together with tasks:
 * closing usage and claiming a key.
 */
#include "store/sqlite/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

static void bind_task(sqlite3_stmt *stmt, const struct store_task *task)
{
	sqlite_bind_text(stmt, 1, task->queue);
	sqlite_bind_text(stmt, 2, task->id);
	sqlite_bind_text(stmt, 3, task->object);
	sqlite_bind_u64(stmt, 4, task->account);
	sqlite_bind_u64(stmt, 5, task->created_ms);
	sqlite_bind_u64(stmt, 6, task->due_ms);
	sqlite_bind_u64(stmt, 7, task->tried_ms);
	sqlite_bind_u64(stmt, 8, task->attempts);
	sqlite_bind_u64(stmt, 9, task->state);
	sqlite_bind_text(stmt, 10, task->note);
	sqlite_bind_text(stmt, 11, task->body);
}

static int read_task(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record)
{
	const char *body = (const char *)sqlite3_column_text(stmt, 10);
	struct store_task *task = ret_record;
	uint64_t state = sqlite_u64(stmt, 8);

	sqlite_text(stmt, 0, task->queue, sizeof(task->queue));
	sqlite_text(stmt, 1, task->id, sizeof(task->id));
	if (state >= STORE_TASK_STATE_COUNT) {
		snprintf(s->engine.error, sizeof(s->engine.error),
			 "%s: task '%.64s' has an unknown state", s->path, task->id);
		return -EUCLEAN;
	}
	sqlite_text(stmt, 2, task->object, sizeof(task->object));
	task->account = sqlite_u64(stmt, 3);
	task->created_ms = sqlite_u64(stmt, 4);
	task->due_ms = sqlite_u64(stmt, 5);
	task->tried_ms = sqlite_u64(stmt, 6);
	task->attempts = (uint32_t)sqlite_u64(stmt, 7);
	task->state = (enum store_task_state)state;
	sqlite_text(stmt, 9, task->note, sizeof(task->note));
	task->seq = sqlite_u64(stmt, 11);
	task->body = body ? strdup(body) : NULL;
	return body && !task->body ? -ENOMEM : 0;
}

/* Add all tasks, or return -EEXIST. Runs within a transaction. */
static int add_tasks(struct sqlite *s, const struct store_task *tasks, size_t count)
{
	sqlite3_stmt *stmt = STATEMENT(s, TASK_ADD);
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		bind_task(stmt, &tasks[i]);
		err = sqlite_run(s, stmt);
	}
	return err;
}

int sqlite_add_fresh_tasks(struct sqlite *s, const struct store_task *tasks, size_t count,
			   bool *ret_fresh)
{
	sqlite3_stmt *stmt = STATEMENT(s, TASK_ADD_FRESH);
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		bind_task(stmt, &tasks[i]);
		err = sqlite_run(s, stmt);
		if (ret_fresh)
			ret_fresh[i] = !err && sqlite3_changes(s->db);
	}
	return err;
}

int sqlite_tasks_add(struct store_engine *engine, const struct store_task *tasks, size_t count,
		     bool *ret_fresh)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	return err ? err : sqlite_end(s, sqlite_add_fresh_tasks(s, tasks, count, ret_fresh));
}

/*
 * Return the statement's rows as tasks, with their bodies. Unlike other records, tasks own memory,
 * which must be freed if a later row fails.
 */
static int list_tasks(struct sqlite *s, sqlite3_stmt *stmt, struct store_task **ret_tasks,
		      size_t *ret_count)
{
	struct store_task *tasks = NULL;
	size_t count = 0, room = 0;
	int code, err = 0;

	while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		/* The statement limits the number of rows. */
		err = array_reserve(tasks, room, count + 1, ARRAY_NO_LIMIT);
		if (err)
			break;
		tasks[count] = (struct store_task){ 0 };
		err = read_task(s, stmt, &tasks[count++]);
	}
	if (!err)
		err = sqlite_fail(s, code);
	sqlite3_reset(stmt);
	if (err) {
		store_tasks_free(tasks, count);
		return err;
	}
	*ret_tasks = tasks;
	*ret_count = count;
	return 0;
}

int sqlite_tasks_list(struct store_engine *engine, const struct store_task_query *query,
		      struct store_task **ret_tasks, size_t *ret_count)
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt;
	int err = sqlite_check_open(s);

	if (err)
		return err;
	stmt = query->id ? STATEMENT(s, TASK) : STATEMENT(s, TASKS);
	sqlite_bind_text(stmt, 1, query->queue);
	if (query->id) {
		sqlite_bind_text(stmt, 2, query->id);
	} else {
		sqlite_bind_u64(stmt, 2, query->state);
		sqlite_bind_u64(stmt, 3, query->after_seq);
		sqlite_bind_limit(stmt, 4, query->due_by_ms);
		sqlite_bind_limit(stmt, 5, query->limit);
	}
	return list_tasks(s, stmt, ret_tasks, ret_count);
}

int sqlite_tasks_set(struct store_engine *engine, const struct store_task *tasks, size_t count)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	for (size_t i = 0; i < count && !err; i++) {
		sqlite3_stmt *stmt = STATEMENT(s, TASK_SET);

		sqlite_bind_text(stmt, 1, tasks[i].queue);
		sqlite_bind_text(stmt, 2, tasks[i].id);
		sqlite_bind_u64(stmt, 3, tasks[i].due_ms);
		sqlite_bind_u64(stmt, 4, tasks[i].tried_ms);
		sqlite_bind_u64(stmt, 5, tasks[i].attempts);
		sqlite_bind_u64(stmt, 6, tasks[i].state);
		sqlite_bind_text(stmt, 7, tasks[i].note);
		sqlite_bind_u64(stmt, 8, STORE_TASK_DONE);
		if (tasks[i].body)
			sqlite_bind_text(stmt, 9, tasks[i].body);
		else
			sqlite3_bind_null(stmt, 9);
		err = sqlite_run(s, stmt);
	}
	return sqlite_end(s, err);
}

int sqlite_tasks_prune(struct store_engine *engine, const char *queue, uint64_t before_ms)
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt;
	int err = sqlite_begin(s);

	if (err)
		return err;
	stmt = STATEMENT(s, TASKS_PRUNE);
	sqlite_bind_text(stmt, 1, queue);
	sqlite_bind_u64(stmt, 2, STORE_TASK_DONE);
	sqlite_bind_limit(stmt, 3, before_ms);
	return sqlite_end(s, sqlite_run(s, stmt));
}

int sqlite_usage_prune(struct store_engine *engine, uint64_t before_s)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	sqlite_bind_limit(STATEMENT(s, USAGE_PRUNE), 1, before_s);
	return sqlite_end(s, sqlite_run(s, STATEMENT(s, USAGE_PRUNE)));
}

static int read_queue(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record)
{
	struct store_queue_count *row = ret_record;

	(void)s;
	sqlite_text(stmt, 0, row->queue, sizeof(row->queue));
	row->pending = sqlite_u64(stmt, 1);
	row->done = sqlite_u64(stmt, 2);
	row->failed = sqlite_u64(stmt, 3);
	row->oldest_ms = sqlite_u64(stmt, 4); /* NULL reads as 0 */
	return 0;
}

int sqlite_queues_count(struct store_engine *engine, struct store_queue_count **ret_rows,
			size_t *ret_count)
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt;
	void *rows;
	int err = sqlite_check_open(s);

	if (err)
		return err;
	stmt = STATEMENT(s, QUEUES);
	sqlite_bind_u64(stmt, 1, STORE_TASK_PENDING);
	sqlite_bind_u64(stmt, 2, STORE_TASK_DONE);
	sqlite_bind_u64(stmt, 3, STORE_TASK_FAILED);
	err = sqlite_list(s, stmt, read_queue, sizeof(**ret_rows), &rows, ret_count);
	if (!err)
		*ret_rows = rows;
	return err;
}

static void bind_window(sqlite3_stmt *stmt, const struct store_usage *row)
{
	sqlite_bind_u64(stmt, 1, row->window_start_s);
	sqlite_bind_u64(stmt, 2, row->account);
	sqlite_bind_u64(stmt, 3, row->window_seconds);
}

/*
 * Check that @row may be closed as listed, and return how often its window was closed before.
 * -EAGAIN, -EINVAL: see store_usage_close().
 */
static int check_window(struct sqlite *s, const struct store_usage *row, uint32_t *ret_closings)
{
	sqlite3_stmt *stmt = STATEMENT(s, USAGE_SUM);
	int err;

	bind_window(stmt, row);
	err = sqlite_fail(s, sqlite3_step(stmt)); /* one row; its sums are NULL without usage */
	if (!err && sqlite_u64(stmt, 1) != row->closed_units)
		err = -EAGAIN;
	else if (!err && (row->units <= row->closed_units || row->units > sqlite_u64(stmt, 0)))
		err = -EINVAL;
	else if (!err)
		*ret_closings = (uint32_t)sqlite_u64(stmt, 2);
	sqlite3_reset(stmt);
	return err;
}

struct open_epoch {
	uint64_t epoch, units;
};

static int read_open_epoch(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record)
{
	struct open_epoch *epoch = ret_record;

	(void)s;
	epoch->epoch = sqlite_u64(stmt, 0);
	epoch->units = sqlite_u64(stmt, 1);
	return 0;
}

/*
 * Close the open units of @row. It does not matter in which epochs they are closed, because only
 * sums over epochs are used: epochs are closed one after another until there are enough units.
 * There may be more open units by now than were listed.
 */
static int close_window(struct sqlite *s, const struct store_usage *row)
{
	uint64_t left = row->units - row->closed_units;
	uint32_t closings;
	size_t count;
	void *epochs;
	int err = check_window(s, row, &closings);

	if (err)
		return err;
	bind_window(STATEMENT(s, USAGE_OPEN_EPOCHS), row);
	err = sqlite_list(s, STATEMENT(s, USAGE_OPEN_EPOCHS), read_open_epoch,
			  sizeof(struct open_epoch), &epochs, &count);
	if (err)
		return err;
	for (size_t i = 0; i < count && left && !err; i++) {
		const struct open_epoch *epoch = (struct open_epoch *)epochs + i;
		sqlite3_stmt *stmt = STATEMENT(s, USAGE_CLOSE);
		uint64_t units = epoch->units < left ? epoch->units : left;

		bind_window(stmt, row);
		sqlite_bind_u64(stmt, 4, epoch->epoch);
		sqlite_bind_u64(stmt, 5, units);
		sqlite_bind_u64(stmt, 6, closings + 1);
		err = sqlite_run_on_one(s, stmt);
		left -= units;
	}
	free(epochs);
	return err;
}

int sqlite_usage_close(struct store_engine *engine, const struct store_usage *rows,
		       size_t row_count, const struct store_task *tasks, size_t task_count)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	for (size_t i = 0; i < row_count && !err; i++)
		err = close_window(s, &rows[i]);
	if (!err)
		err = add_tasks(s, tasks, task_count);
	return sqlite_end(s, err);
}

int sqlite_key_claim(struct store_engine *engine, const struct store_task *claim,
		     const struct store_key *key)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	err = add_tasks(s, claim, 1);
	if (!err)
		err = sqlite_add_key(s, key);
	return sqlite_end(s, err);
}
