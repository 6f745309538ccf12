/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis: the engine that many hosts share: opening the store, and the table of operations.
 *
 * An empty database becomes a new store only if this agent has not used a store there before. A
 * database that comes back empty, or with a different store, has lost what customers paid for, so
 * the agent refuses it.
 */
#include "store/redis/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

int redis_check_open(struct redis *r)
{
	if (r->is_open)
		return 0;
	if (r->is_known)
		return redis_say(&r->link, -EHOSTDOWN,
				 "Redis %s holds a different store than before", r->link.server);
	return redis_say(&r->link, -ENOTCONN, "the store is not open");
}

int redis_change(struct redis *r, enum redis_script script, struct redis_args *args)
{
	redisReply *reply;
	int err = redis_check_open(r);

	if (!err)
		err = redis_call(&r->link, script, args, REDIS_REPLY_INTEGER, &reply);
	redis_args_done(args);
	if (err)
		return err;
	r->engine.changed = (uint64_t)reply->integer;
	freeReplyObject(reply);
	return 0;
}

int redis_lasting_change(struct redis *r, enum redis_script script, struct redis_args *args)
{
	redisReply *reply;
	int err = redis_check_open(r);

	if (!err)
		err = redis_must_queue(r)
			      ? -EHOSTDOWN
			      : redis_call(&r->link, script, args, REDIS_REPLY_INTEGER, &reply);
	if (err == -EHOSTDOWN && r->journal) {
		err = redis_keep_call(r, script, args);
	} else if (!err) {
		r->engine.changed = (uint64_t)reply->integer;
		freeReplyObject(reply);
	}
	redis_args_done(args);
	return err;
}

/* Check that the store is the one with the id @wanted, if it is not NULL, and save its id. */
static int check_id(struct redis *r, const redisReply *reply, const uint8_t wanted[STORE_ID_BYTES])
{
	uint8_t id[STORE_ID_BYTES];

	if (wanted && reply->elements && !reply->element[0]->len)
		memset(id, 0, sizeof(id));
	else if (reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
		 text_parse_hex((struct text){ reply->element[0]->str, reply->element[0]->len }, id,
				sizeof(id)))
		return redis_say(&r->link, -EUCLEAN, "Redis %s: the store has no valid id",
				 r->link.server);
	if (wanted && memcmp(id, wanted, sizeof(id)))
		return redis_say(
			&r->link, -EHOSTDOWN,
			"Redis %s is empty or holds a different store than before: restore "
			"the old one, or restart tollgate to use this one",
			r->link.server);
	memcpy(r->id, id, sizeof(id));
	return 0;
}

static int redis_open(struct store_engine *engine, const uint8_t pepper_check[STORE_HASH_BYTES],
		      uint8_t ret_id[STORE_ID_BYTES])
{
	struct redis *r = (struct redis *)engine;
	char digits[2 * STORE_HASH_BYTES + 1];
	uint8_t fresh_id[STORE_ID_BYTES], wanted[STORE_ID_BYTES];
	bool was_known = r->is_known;
	struct redis_args args;
	redisReply *reply;
	int err;

	memcpy(wanted, r->id, sizeof(wanted));
	err = crypto_random(fresh_id, sizeof(fresh_id));
	if (err)
		return err;
	redis_function(&args, "open");
	text_hex(pepper_check, STORE_HASH_BYTES, digits);
	redis_arg(&args, digits);
	text_hex(fresh_id, sizeof(fresh_id), digits);
	redis_arg(&args, was_known ? "" : digits);
	redis_arg_u64(&args, REDIS_SCHEMA);
	err = redis_call(&r->link, REDIS_RECORDS, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	err = check_id(r, reply, was_known ? wanted : NULL);
	freeReplyObject(reply);
	r->is_open = !err;
	if (err)
		return err;
	r->is_known = true;
	memcpy(ret_id, r->id, sizeof(r->id));
	return 0;
}

static void redis_free(struct store_engine *engine)
{
	struct redis *r = (struct redis *)engine;

	redis_link_done(&r->link);
	redis_link_done(&r->follower);
	journal_close(r->journal);
	redis_address_done(&r->address);
	free(r);
}

static int new_engine(const struct store_engine_ops *ops, const char *location, unsigned timeout_ms,
		      struct store_engine **ret_engine)
{
	struct redis *r = calloc(1, sizeof(*r));
	char why[160];
	int err;

	if (!r)
		return -ENOMEM;
	r->engine.ops = ops;
	err = redis_address_parse(ops->scheme, location, &r->address, why, sizeof(why));
	if (err) {
		redis_address_done(&r->address);
		free(r);
		return err;
	}
	redis_link_init(&r->link, &r->address, r->engine.error, timeout_ms);
	redis_link_init(&r->follower, &r->address, r->follower_error, timeout_ms + REDIS_BLOCK_MS);
	*ret_engine = &r->engine;
	return 0;
}

#define REDIS_OPERATIONS                                                              \
	.free = redis_free, .open = redis_open, .load = redis_load,                   \
	.account_add = redis_account_add, .account_set = redis_account_set,           \
	.account_delete = redis_account_delete, .keys_add = redis_keys_add,           \
	.key_rotate = redis_key_rotate, .key_revoke = redis_key_revoke,               \
	.keys_revoke = redis_keys_revoke, .key_claim = redis_key_claim,               \
	.keys_list = redis_keys_list, .usage_put = redis_usage_put,                   \
	.usage_list = redis_usage_list, .usage_open = redis_usage_open,               \
	.usage_close = redis_usage_close, .usage_prune = redis_usage_prune,           \
	.tasks_add = redis_tasks_add, .tasks_list = redis_tasks_list,                 \
	.tasks_set = redis_tasks_set, .tasks_prune = redis_tasks_prune,               \
	.queues_count = redis_queues_count, .entry_put = redis_entry_put,             \
	.entry_remove = redis_entry_remove, .entries_prune = redis_entries_prune,     \
	.usage_dump = redis_usage_dump, .usage_restore = redis_usage_restore,         \
	.set_id = redis_set_id, .is_used = redis_is_used, .follow = redis_follow,     \
	.follow_error = redis_follow_error, .place = redis_place, .beat = redis_beat, \
	.leave = redis_leave, .share_exchange = redis_share_exchange,                 \
	.set_journal = redis_set_journal, .catch_up = redis_catch_up

static int check(const struct store_engine_ops *ops, const char *location, char *ret_why,
		 size_t why_size)
{
	struct redis_address address;
	int err = redis_address_parse(ops->scheme, location, &address, ret_why, why_size);

	redis_address_done(&address);
	return err;
}

/* The same engine under three schemes. */
#define ENGINE(name, words)                                                               \
	static int new_##name(const char *location, unsigned timeout_ms,                  \
			      struct store_engine **ret_engine)                           \
	{                                                                                 \
		return new_engine(&store_##name##_ops, location, timeout_ms, ret_engine); \
	}                                                                                 \
                                                                                          \
	static int check_##name(const char *location, char *ret_why, size_t why_size)     \
	{                                                                                 \
		return check(&store_##name##_ops, location, ret_why, why_size);           \
	}                                                                                 \
                                                                                          \
	const struct store_engine_ops store_##name##_ops = {                              \
		.scheme = (words),                                                        \
		.new = new_##name,                                                        \
		.check = check_##name,                                                    \
		REDIS_OPERATIONS,                                                         \
	};

ENGINE(redis, "redis:")
ENGINE(redis_unix, "redis+unix:")
ENGINE(redis_sentinel, "redis+sentinel:")
