/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis_load: the snapshot that a host begins with, or begins anew with.
 *
 * Hashes are walked with HSCAN, which gives whatever is there from beginning to end. What changes
 * meanwhile comes again in the stream, which is read from the place that was noted first: so the
 * snapshot need not be of one moment.
 */
#include "store/redis/redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SCAN_COUNT "1000"

#define BATCH 512

/* ---- walking a hash ---- */

/* Ask for the page from @cursor on, and wait for nothing. */
static int ask_page(struct redis *r, const char *key, const char *cursor)
{
	struct redis_args args;
	int err = redis_link_up(&r->link);

	if (err)
		return err;
	redis_args_init(&args);
	redis_arg(&args, "HSCAN");
	redis_arg(&args, key);
	redis_arg(&args, cursor);
	redis_arg(&args, "COUNT");
	redis_arg(&args, SCAN_COUNT);
	err = redis_send(&r->link, &args);
	redis_args_done(&args);
	return err;
}

/* The page that was asked for; @cursor becomes the next one's. */
static int read_page(struct redis *r, char cursor[32], redisReply **ret_reply)
{
	redisReply *reply;
	int err = redis_receive(&r->link, REDIS_REPLY_ARRAY, &reply);

	if (err)
		return err;
	if (reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY) {
		freeReplyObject(reply);
		return redis_say(&r->link, -EUCLEAN, "Redis %s: an answer that makes no sense",
				 r->link.server);
	}
	redis_copy(cursor, 32, reply->element[0]->str, reply->element[0]->len);
	*ret_reply = reply;
	return 0;
}

static int take_page(struct redis *r, const char *key, const redisReply *rows,
		     int (*take)(void *arg, const char *field, size_t field_len, const char *value,
				 size_t len),
		     void *arg)
{
	int err = 0;

	for (size_t i = 0; i + 1 < rows->elements && !err; i += 2) {
		const redisReply *field = rows->element[i], *value = rows->element[i + 1];

		err = take(arg, field->str, field->len, value->str, value->len);
		if (err == -EUCLEAN)
			redis_say(&r->link, err, "Redis %s: %s: %.64s is malformed", r->link.server,
				  key, field->str);
	}
	return err;
}

/* Redis walks on while we take what it has found. */
int redis_scan(struct redis *r, const char *key,
	       int (*take)(void *arg, const char *field, size_t field_len, const char *value,
			   size_t len),
	       void *arg)
{
	char cursor[32] = "0";
	int err = ask_page(r, key, cursor);

	while (!err) {
		redisReply *reply = NULL;
		bool is_last;

		err = read_page(r, cursor, &reply);
		if (err)
			break;
		is_last = !strcmp(cursor, "0");
		if (!is_last)
			err = ask_page(r, key, cursor);
		if (!err) {
			err = take_page(r, key, reply->element[1], take, arg);
			/* An answer that nobody reads would be taken for the next call's. */
			if (err && !is_last)
				redis_link_fail(&r->link);
		}
		freeReplyObject(reply);
		if (is_last)
			break;
	}
	return err;
}

/* ---- records, by the batch ---- */

struct batch {
	const struct store_visitor *visitor;
	void *arg;
	size_t count;
	struct store_account accounts[BATCH]; /* one of these is filled */
	struct store_key keys[BATCH];
	struct store_entry entries[BATCH];
};

static int end_accounts(struct batch *b)
{
	size_t count = b->count;

	b->count = 0;
	return count && b->visitor->on_accounts
		       ? b->visitor->on_accounts(b->arg, b->accounts, count)
		       : 0;
}

static int end_keys(struct batch *b)
{
	size_t count = b->count;

	b->count = 0;
	return count && b->visitor->on_keys ? b->visitor->on_keys(b->arg, b->keys, count) : 0;
}

static int end_entries(struct batch *b)
{
	size_t count = b->count;

	b->count = 0;
	return count && b->visitor->on_entries ? b->visitor->on_entries(b->arg, b->entries, count)
					       : 0;
}

static int take_account(void *arg, const char *field, size_t field_len, const char *value,
			size_t len)
{
	struct batch *b = arg;
	int err = redis_read_account(field, field_len, value, len, &b->accounts[b->count]);

	return err || ++b->count < BATCH ? err : end_accounts(b);
}

static int take_key(void *arg, const char *field, size_t field_len, const char *value, size_t len)
{
	struct batch *b = arg;
	int err = redis_read_key(field, field_len, value, len, &b->keys[b->count]);

	return err || ++b->count < BATCH ? err : end_keys(b);
}

static int take_entry(void *arg, const char *field, size_t field_len, const char *value, size_t len)
{
	struct batch *b = arg;
	int err = redis_read_entry(field, field_len, value, len, &b->entries[b->count]);

	return err || ++b->count < BATCH ? err : end_entries(b);
}

static int load_records(struct redis *r, struct batch *b, uint32_t day, uint32_t month_day)
{
	int err = redis_scan(r, REDIS_PREFIX "accounts", take_account, b);

	if (!err)
		err = end_accounts(b);
	if (!err)
		err = redis_scan(r, REDIS_PREFIX "keys", take_key, b);
	if (!err)
		err = end_keys(b);
	if (!err)
		err = redis_load_quotas(r, b->visitor, b->arg, day, month_day);
	if (!err)
		err = redis_scan(r, REDIS_PREFIX "lists", take_entry, b);
	return err ? err : end_entries(b);
}

int redis_load(struct store_engine *engine, const struct store_visitor *visitor, void *visitor_arg,
	       uint32_t day, uint32_t month_day)
{
	struct redis *r = (struct redis *)engine;
	struct batch *batch = calloc(1, sizeof(*batch));
	int err = batch ? redis_check_open(r) : -ENOMEM;

	if (!err) {
		batch->visitor = visitor;
		batch->arg = visitor_arg;
		err = redis_link_up(&r->link);
	}
	if (!err)
		err = redis_note_place(r);
	if (!err)
		err = load_records(r, batch, day, month_day);
	free(batch);
	return err;
}
