/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis_load: the snapshot that a host loads at its start, and again when it has lost the stream.
 *
 * HSCAN walks the hashes. It returns every field that exists during the whole walk. Changes during
 * the walk also come in the stream, which is read from a place noted before the walk. So the
 * snapshot need not be consistent.
 */
#include "store/redis/redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SCAN_COUNT "1000"

#define BATCH 512

/* ---- walking a hash ---- */

/* Send the request for the page at @cursor. Does not wait for the reply. */
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

/* Read the requested page, and set @cursor to the next one. */
static int read_page(struct redis *r, char cursor[32], redisReply **ret_reply)
{
	redisReply *reply;
	int err = redis_receive(&r->link, REDIS_REPLY_ARRAY, &reply);

	if (err)
		return err;
	if (reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY) {
		freeReplyObject(reply);
		return redis_say(&r->link, -EUCLEAN, "Redis %s: unexpected reply to HSCAN",
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

/* The next page is requested before this one is processed, so Redis works at the same time. */
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
			/*
			 * Drop the link, or the next call would get the reply that is not read
			 * here.
			 */
			if (err && !is_last)
				redis_link_fail(&r->link);
		}
		freeReplyObject(reply);
		if (is_last)
			break;
	}
	return err;
}

/* ---- records, in batches ---- */

struct batch {
	const struct store_visitor *visitor;
	void *arg;
	size_t count;
	struct store_account accounts[BATCH]; /* only one of these arrays is in use */
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
