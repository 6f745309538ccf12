/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis_journal: what becomes of a change while Redis is away, and when it is back.
 *
 * As long as anything waits in the journal, later changes go behind it: their order is never turned.
 */
#include "store/redis/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/log.h"

#define BATCH 500

static void note(struct redis *r)
{
	atomic_write(&r->engine.journaled, journal_waiting(r->journal));
	atomic_write(&r->engine.refused, journal_refused(r->journal));
}

/* Words for an error of the journal itself. Returns @err. */
static int fail(struct redis *r, int err)
{
	if (err == -ENOSPC)
		return redis_say(&r->link, err,
				 "Redis is away, and the journal is full: nothing more is taken");
	return err ? redis_say(&r->link, err, "the journal cannot be used") : 0;
}

bool redis_must_queue(const struct redis *r)
{
	return r->journal && journal_waiting(r->journal);
}

int redis_keep_call(struct redis *r, enum redis_script script, const struct redis_args *args)
{
	int err = journal_add_call(r->journal, script, args);

	note(r);
	r->engine.was_journaled = !err;
	return fail(r, err);
}

int redis_keep_usage(struct redis *r, const struct store_usage *usage, size_t usage_count,
		     const struct store_quota *quotas, size_t quota_count)
{
	int err = journal_add_usage(r->journal, usage, usage_count, quotas, quota_count);

	note(r);
	return fail(r, err);
}

/* Errors that no later try would mend. */
static bool is_final(int err)
{
	return err == -EEXIST || err == -ENOENT || err == -EINVAL || err == -ESTALE;
}

/* The oldest call. -ENOENT when there is none. */
static int replay_call(struct redis *r)
{
	enum redis_script script;
	struct redis_args args;
	redisReply *reply;
	uint64_t seq;
	int err = journal_first_call(r->journal, &seq, &script, &args);

	if (err)
		return err;
	err = redis_call(&r->link, script, &args, 0, &reply);
	redis_args_done(&args);
	if (!err)
		freeReplyObject(reply);
	if (err && !is_final(err))
		return err;
	if (err)
		log_error("a change that waited for Redis is refused, and kept aside in the "
			  "journal: %s",
			  r->engine.error);
	return journal_end_call(r->journal, seq, err ? r->engine.error : NULL);
}

static int replay_usage(struct redis *r)
{
	struct store_usage *usage = calloc(BATCH, sizeof(*usage));
	struct store_quota *quotas = calloc(BATCH, sizeof(*quotas));
	size_t usage_count, quota_count;
	int err = usage && quotas ? journal_read_usage(r->journal, usage, &usage_count, quotas,
						       &quota_count, BATCH)
				  : -ENOMEM;

	if (!err && !usage_count && !quota_count)
		err = -ENOENT;
	if (!err)
		err = redis_write_usage(r, usage, usage_count, quotas, quota_count);
	if (!err)
		err = journal_end_usage(r->journal, usage, usage_count, quotas, quota_count);
	free(usage);
	free(quotas);
	return err;
}

void redis_catch_up(struct store_engine *engine)
{
	struct redis *r = (struct redis *)engine;
	uint64_t waited;
	int err;

	if (!redis_must_queue(r) || !r->is_open || redis_link_up(&r->link))
		return;
	waited = journal_waiting(r->journal);
	do {
		err = replay_call(r);
	} while (!err);
	while (err == -ENOENT) {
		err = replay_usage(r);
		if (err)
			break;
		err = -ENOENT;
	}
	note(r);
	if (err == -ENOENT)
		log_info("the journal's %llu changes and rows are in Redis",
			 (unsigned long long)waited);
	engine->error[0] = '\0';
}

int redis_set_journal(struct store_engine *engine, const char *path, char *ret_why, size_t why_size)
{
	struct redis *r = (struct redis *)engine;
	int err = journal_open(path, JOURNAL_MAX_BYTES, &r->journal, ret_why, why_size);

	if (!err)
		note(r);
	return err;
}
