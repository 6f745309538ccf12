/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis_replay: changes go to the journal while Redis is unreachable, and are replayed when it is
 * back.
 *
 * As long as the journal has entries, later changes queue behind them, so the order never changes.
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

/* Save the message for an error of the journal itself. Returns @err. */
static int fail(struct redis *r, int err)
{
	if (err == -ENOSPC)
		return redis_say(
			&r->link, err,
			"Redis is unreachable and the journal is full; nothing was changed");
	return err ? redis_say(&r->link, err, "the journal cannot be written") : 0;
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

/* Whether a retry cannot succeed after this error. */
static bool is_final(int err)
{
	return err == -EEXIST || err == -ENOENT || err == -EINVAL || err == -ESTALE;
}

/* Replay the oldest call. -ENOENT if there is none. */
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
		log_error("Redis refused a change from the journal; it is set aside there: %s",
			  r->engine.error);
	return journal_end_call(r->journal, seq, err ? r->engine.error : NULL);
}

/* Replay a batch of usage. -ENOENT if there is none. */
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
		log_info(
			"Redis is back: %llu changes and rows of usage from the journal are stored",
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
