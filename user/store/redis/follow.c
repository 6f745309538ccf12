/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis_follow: the stream of changes, read from the place where the snapshot began.
 *
 * Entries are numbered without a gap. On each new connection, and whenever the stream is quiet, the
 * follower checks that the last entry it has read is still in the stream, with the same number. It
 * is not there after the stream was trimmed past it, after a restore from a backup, a flush, or a
 * failover that lost writes. Then only a fresh snapshot helps.
 */
#include "store/redis/redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES REDIS_PREFIX "changes"
#define COUNT	"1000"

/* The value of field @name of an entry, or NULL. */
static const redisReply *field_of(const redisReply *entry, const char *name)
{
	const redisReply *fields = entry->elements == 2 ? entry->element[1] : NULL;

	if (!fields || fields->type != REDIS_REPLY_ARRAY)
		return NULL;
	for (size_t i = 0; i + 1 < fields->elements; i += 2) {
		if (!strcmp(fields->element[i]->str, name))
			return fields->element[i + 1];
	}
	return NULL;
}

/* Read the id and the number of an entry. 0 or -EUCLEAN. */
static int place_of(const redisReply *entry, char ret_id[REDIS_PLACE_SIZE], uint64_t *ret_n)
{
	const redisReply *n = field_of(entry, "n");

	if (!n || entry->element[0]->len >= REDIS_PLACE_SIZE ||
	    text_parse_u64((struct text){ n->str, n->len }, UINT64_MAX, ret_n))
		return -EUCLEAN;
	return text_copy(ret_id, REDIS_PLACE_SIZE, entry->element[0]->str);
}

/* Read one entry's id and number with XRANGE or XREVRANGE. -ENOENT if there is none. */
static int read_place(struct redis_link *link, const char *command, const char *from,
		      const char *to, char ret_id[REDIS_PLACE_SIZE], uint64_t *ret_n)
{
	struct redis_args args;
	redisReply *reply;
	int err;

	redis_args_init(&args);
	redis_arg(&args, command);
	redis_arg(&args, CHANGES);
	redis_arg(&args, from);
	redis_arg(&args, to);
	redis_arg(&args, "COUNT");
	redis_arg(&args, "1");
	err = redis_command(link, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	err = reply->elements ? place_of(reply->element[0], ret_id, ret_n) : -ENOENT;
	freeReplyObject(reply);
	return err;
}

int redis_note_place(struct redis *r)
{
	struct redis_args args;
	int err = read_place(&r->link, "XREVRANGE", "+", "-", r->seen_id, &r->seen_n);

	if (err != -ENOENT)
		return err;
	/* The stream is empty: add an entry to continue from. */
	redis_function(&args, "mark");
	err = redis_change(r, REDIS_RECORDS, &args);
	return err ? err : read_place(&r->link, "XREVRANGE", "+", "-", r->seen_id, &r->seen_n);
}

/*
 * Check that the last entry read is still in the stream. 0, -ESTALE if it is not, or an error of
 * the query.
 */
static int check_place(struct redis *r)
{
	char id[REDIS_PLACE_SIZE];
	uint64_t n;
	int err = read_place(&r->follower, "XRANGE", r->seen_id, r->seen_id, id, &n);

	if (err == -ENOENT || (!err && n != r->seen_n))
		return redis_say(&r->follower, -ESTALE,
				 "Redis %s: change %llu, the last one read, is not in the stream",
				 r->follower.server, (unsigned long long)r->seen_n);
	return err;
}

static int read_change(const redisReply *entry, struct store_change *ret_change)
{
	const redisReply *kind = field_of(entry, "k"), *id = field_of(entry, "i"),
			 *value = field_of(entry, "v");
	struct redis_line line;

	if (!kind || !id || !value)
		return -EUCLEAN;
	ret_change->kind = STORE_CHANGE_OTHER;
	if (!strcmp(kind->str, "account")) {
		ret_change->kind = STORE_CHANGE_ACCOUNT;
		return redis_read_account(id->str, id->len, value->str, value->len,
					  &ret_change->account);
	}
	if (!strcmp(kind->str, "account_gone")) {
		ret_change->kind = STORE_CHANGE_ACCOUNT_GONE;
		return redis_parse_id(id->str, id->len, &ret_change->account.id);
	}
	if (!strcmp(kind->str, "key")) {
		ret_change->kind = STORE_CHANGE_KEY;
		return redis_read_key(id->str, id->len, value->str, value->len, &ret_change->key);
	}
	if (!strcmp(kind->str, "keys_end")) {
		ret_change->kind = STORE_CHANGE_KEYS_END;
		line = redis_line_of(value->str, value->len);
		ret_change->keys_end.at_ms = redis_read_u64(&line);
		ret_change->keys_end.before_ms = redis_read_u64(&line);
		if (line.err)
			return -EUCLEAN;
		return redis_parse_id(id->str, id->len, &ret_change->keys_end.account);
	}
	if (!strcmp(kind->str, "entry")) {
		ret_change->kind = STORE_CHANGE_ENTRY;
		return redis_read_entry(id->str, id->len, value->str, value->len,
					&ret_change->entry);
	}
	if (!strcmp(kind->str, "entry_gone")) {
		ret_change->kind = STORE_CHANGE_ENTRY_GONE;
		return redis_read_block(id->str, id->len, &ret_change->entry.block);
	}
	if (!strcmp(kind->str, "task")) {
		ret_change->kind = STORE_CHANGE_TASK;
		snprintf(ret_change->queue, sizeof(ret_change->queue), "%s", value->str);
	}
	return 0; /* ignore kinds that only a newer tollgate knows */
}

/* Read the entries of one reply. Their numbers must continue those of the last one. */
static int read_changes(struct redis *r, const redisReply *entries,
			struct store_change **ret_changes, size_t *ret_count)
{
	struct store_change *changes = calloc(entries->elements, sizeof(*changes));
	char id[REDIS_PLACE_SIZE];
	size_t count = 0;
	uint64_t n;
	int err = changes ? 0 : -ENOMEM;

	for (size_t i = 0; i < entries->elements && !err; i++) {
		err = place_of(entries->element[i], id, &n);
		if (!err && n != r->seen_n + 1)
			err = redis_say(
				&r->follower, -ESTALE,
				"Redis %s: changes %llu to %llu are missing from the stream",
				r->follower.server, (unsigned long long)r->seen_n + 1,
				(unsigned long long)n - 1);
		if (!err)
			err = read_change(entries->element[i], &changes[i]);
		if (err)
			break;
		changes[count++].n = n;
		memcpy(r->seen_id, id, sizeof(r->seen_id));
		r->seen_n = n;
	}
	/* Return the entries before a faulty one. The next call meets the fault again. */
	if (count)
		err = 0;
	else
		free(changes);
	if (err)
		return err;
	*ret_changes = changes;
	*ret_count = count;
	return 0;
}

static int read_stream(struct redis *r, struct store_change **ret_changes, size_t *ret_count)
{
	struct redis_args args;
	redisReply *reply;
	int err;

	redis_args_init(&args);
	redis_arg(&args, "XREAD");
	redis_arg(&args, "COUNT");
	redis_arg(&args, COUNT);
	redis_arg(&args, "BLOCK");
	redis_arg_u64(&args, REDIS_BLOCK_MS);
	redis_arg(&args, "STREAMS");
	redis_arg(&args, CHANGES);
	redis_arg(&args, r->seen_id);
	err = redis_command(&r->follower, &args, 0, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	if (reply->type == REDIS_REPLY_NIL)
		err = check_place(r);
	else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
		 reply->element[0]->elements != 2 ||
		 reply->element[0]->element[1]->type != REDIS_REPLY_ARRAY)
		err = redis_say(&r->follower, -EUCLEAN, "Redis %s: unexpected reply to XREAD",
				r->follower.server);
	else
		err = read_changes(r, reply->element[0]->element[1], ret_changes, ret_count);
	freeReplyObject(reply);
	return err;
}

int redis_follow(struct store_engine *engine, struct store_change **ret_changes, size_t *ret_count)
{
	struct redis *r = (struct redis *)engine;
	int err = 0;

	*ret_changes = NULL;
	*ret_count = 0;
	if (!r->follower.context) {
		err = redis_link_up(&r->follower);
		if (!err)
			err = check_place(r);
	}
	if (!err)
		err = read_stream(r, ret_changes, ret_count);
	/*
	 * A malformed entry would stop the feed forever. A new snapshot skips it, or reports the
	 * malformed record.
	 */
	return err == -EUCLEAN ? -ESTALE : err;
}

const char *redis_follow_error(const struct store_engine *engine)
{
	return ((const struct redis *)engine)->follower_error;
}

uint64_t redis_place(const struct store_engine *engine)
{
	return ((const struct redis *)engine)->seen_n;
}
