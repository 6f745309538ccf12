/* SPDX-License-Identifier: BSD-2-Clause */
/* redis_tasks: tasks in Redis. The other half is lua/tasks.lua. */
#include "store/redis/redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

void redis_arg_task(struct redis_args *args, const struct store_task *task)
{
	redis_arg(args, task->queue);
	redis_arg(args, task->id);
	redis_line_begin(args);
	redis_line_text(args, task->object);
	redis_line_id(args, task->account);
	redis_line_u64(args, task->created_ms);
	redis_line_u64(args, task->due_ms);
	redis_line_u64(args, task->tried_ms);
	redis_line_u64(args, task->attempts);
	redis_line_u64(args, task->state);
	redis_line_text(args, task->note);
	redis_line_word(args, ""); /* seq: the script assigns it */
	redis_line_end(args);
	redis_arg(args, task->body && task->state != STORE_TASK_DONE ? task->body : "");
}

/* Read one task from three words of a reply: id, line, and body or nil. */
static int read_task(const char *queue, redisReply *const *words, struct store_task *ret_task)
{
	const redisReply *id = words[0], *line = words[1], *body = words[2];
	struct redis_line l;
	uint64_t state;

	if (id->type != REDIS_REPLY_STRING || line->type != REDIS_REPLY_STRING)
		return -EUCLEAN;
	l = redis_line_of(line->str, line->len);
	*ret_task = (struct store_task){ 0 };
	redis_copy(ret_task->queue, sizeof(ret_task->queue), queue, strlen(queue));
	redis_copy(ret_task->id, sizeof(ret_task->id), id->str, id->len);
	redis_read_text(&l, ret_task->object, sizeof(ret_task->object));
	ret_task->account = redis_read_id(&l);
	ret_task->created_ms = redis_read_u64(&l);
	ret_task->due_ms = redis_read_u64(&l);
	ret_task->tried_ms = redis_read_u64(&l);
	ret_task->attempts = (uint32_t)redis_read_u64(&l);
	state = redis_read_u64(&l);
	redis_read_text(&l, ret_task->note, sizeof(ret_task->note));
	ret_task->seq = redis_read_u64(&l);
	if (l.err || state >= STORE_TASK_STATE_COUNT)
		return -EUCLEAN;
	ret_task->state = (enum store_task_state)state;
	if (body->type != REDIS_REPLY_STRING)
		return 0;
	ret_task->body = text_dup((struct text){ body->str, body->len });
	return ret_task->body ? 0 : -ENOMEM;
}

int redis_tasks_add(struct store_engine *engine, const struct store_task *tasks, size_t count,
		    bool *ret_fresh)
{
	struct redis *r = (struct redis *)engine;
	struct redis_args args;
	redisReply *reply;
	int err = redis_check_open(r);

	if (err || !count)
		return err;
	redis_function(&args, "tasks_add");
	for (size_t i = 0; i < count; i++)
		redis_arg_task(&args, &tasks[i]);
	err = redis_must_queue(r)
		      ? -EHOSTDOWN
		      : redis_call(&r->link, REDIS_TASKS, &args, REDIS_REPLY_ARRAY, &reply);
	if (err == -EHOSTDOWN && r->journal) {
		/* Whether they exist is unknown now; the replay leaves existing tasks unchanged. */
		for (size_t i = 0; i < count; i++)
			ret_fresh[i] = true;
		err = redis_keep_call(r, REDIS_TASKS, &args);
		redis_args_done(&args);
		return err;
	}
	redis_args_done(&args);
	if (err)
		return err;
	if (reply->elements != count + 1)
		err = redis_say(&r->link, -EUCLEAN, "Redis %s: unexpected reply to tasks_add",
				r->link.server);
	for (size_t i = 0; i < count && !err; i++)
		ret_fresh[i] = reply->element[i + 1]->integer == 1;
	if (!err)
		r->engine.changed = (uint64_t)reply->element[0]->integer;
	freeReplyObject(reply);
	return err;
}

/* A growing list of tasks. */
struct found {
	struct store_task *tasks;
	size_t count, room;
};

/* Append the tasks of a reply, up to @limit in total. */
static int take_tasks(struct redis *r, const char *queue, const redisReply *reply, size_t limit,
		      struct found *found)
{
	size_t more = reply->elements ? (reply->elements - 1) / 3 : 0;
	int err;

	if (more > limit - found->count)
		more = limit - found->count;
	if (!more)
		return 0;
	err = array_reserve(found->tasks, found->room, found->count + more, limit);
	for (size_t i = 0; i < more && !err; i++)
		err = read_task(queue, reply->element + 1 + 3 * i, &found->tasks[found->count++]);
	if (err == -EUCLEAN)
		redis_say(&r->link, err, "Redis %s: a task is malformed", r->link.server);
	return err;
}

/* Read one page after @after, and set @after to the next page's, or to "" after the last page. */
static int list_page(struct redis *r, const struct store_task_query *query, char after[32],
		     struct found *found)
{
	struct redis_args args;
	redisReply *reply;
	int err;

	redis_function(&args, query->id ? "task_find" : "tasks_list");
	redis_arg(&args, query->queue);
	if (query->id) {
		redis_arg(&args, query->id);
	} else {
		redis_arg_u64(&args, query->state);
		redis_arg_u64(&args, query->due_by_ms);
		redis_arg(&args, after);
		redis_arg_u64(&args, query->limit - found->count);
	}
	err = redis_call(&r->link, REDIS_TASKS, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	err = take_tasks(r, query->queue, reply, query->id ? 1 : query->limit, found);
	after[0] = '\0';
	if (!err && reply->elements)
		redis_copy(after, 32, reply->element[0]->str, reply->element[0]->len);
	freeReplyObject(reply);
	return err;
}

int redis_tasks_list(struct store_engine *engine, const struct store_task_query *query,
		     struct store_task **ret_tasks, size_t *ret_count)
{
	struct redis *r = (struct redis *)engine;
	struct found found = { 0 };
	char after[32];
	int err = redis_check_open(r);

	snprintf(after, sizeof(after), "%llu", (unsigned long long)query->after_seq);
	if (!err && !query->id && !query->limit)
		after[0] = '\0';
	while (!err && after[0])
		err = list_page(r, query, after, &found);
	if (err) {
		store_tasks_free(found.tasks, found.count);
		return err;
	}
	*ret_tasks = found.tasks;
	*ret_count = found.count;
	return 0;
}

int redis_tasks_set(struct store_engine *engine, const struct store_task *tasks, size_t count)
{
	struct redis *r = (struct redis *)engine;
	struct redis_args args;

	if (!count)
		return redis_check_open(r);
	redis_function(&args, "tasks_set");
	redis_arg(&args, r->fence);
	for (size_t i = 0; i < count; i++) {
		redis_arg(&args, tasks[i].queue);
		redis_arg(&args, tasks[i].id);
		redis_arg_u64(&args, tasks[i].due_ms);
		redis_arg_u64(&args, tasks[i].tried_ms);
		redis_arg_u64(&args, tasks[i].attempts);
		redis_arg_u64(&args, tasks[i].state);
		redis_line_begin(&args);
		redis_line_text(&args, tasks[i].note);
		redis_line_end(&args);
		redis_arg(&args, tasks[i].body ? tasks[i].body : "");
	}
	return redis_change(r, REDIS_TASKS, &args);
}

int redis_tasks_prune(struct store_engine *engine, const char *queue, uint64_t before_ms)
{
	struct redis *r = (struct redis *)engine;
	int err;

	do {
		struct redis_args args;

		redis_function(&args, "tasks_prune");
		redis_arg(&args, queue);
		redis_arg_u64(&args, before_ms);
		err = redis_change(r, REDIS_TASKS, &args);
	} while (!err && r->engine.changed);
	return err;
}

int redis_queues_count(struct store_engine *engine, struct store_queue_count **ret_rows,
		       size_t *ret_count)
{
	struct redis *r = (struct redis *)engine;
	struct store_queue_count *rows;
	struct redis_args args;
	redisReply *reply;
	size_t count;
	int err = redis_check_open(r);

	if (err)
		return err;
	redis_function(&args, "queues_count");
	err = redis_call(&r->link, REDIS_TASKS, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	count = reply->elements / 5;
	rows = calloc(count + 1, sizeof(*rows));
	for (size_t i = 0; rows && i < count; i++) {
		redisReply *const *words = reply->element + 5 * i;

		redis_copy(rows[i].queue, sizeof(rows[i].queue), words[0]->str, words[0]->len);
		rows[i].pending = strtoull(words[1]->str, NULL, 10);
		rows[i].done = strtoull(words[2]->str, NULL, 10);
		rows[i].failed = strtoull(words[3]->str, NULL, 10);
		rows[i].oldest_ms = strtoull(words[4]->str, NULL, 10);
	}
	freeReplyObject(reply);
	if (!rows)
		return -ENOMEM;
	*ret_rows = rows;
	*ret_count = count;
	return 0;
}

int redis_key_claim(struct store_engine *engine, const struct store_task *claim,
		    const struct store_key *key)
{
	struct redis_args args;

	redis_function(&args, "key_claim");
	redis_arg_task(&args, claim);
	redis_arg_id(&args, key->id);
	redis_line_key(&args, key);
	return redis_change((struct redis *)engine, REDIS_RECORDS, &args);
}
