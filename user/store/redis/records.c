/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis_records: accounts, keys and lists in Redis.
 *
 * The order of values in a line is part of the store's format. lua/records.lua relies on some
 * positions.
 */
#include "store/redis/redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void line_account(struct redis_args *args, const struct store_account *account)
{
	redis_line_begin(args);
	redis_line_word(args, store_status_word(account->status));
	redis_line_u64(args, account->is_held);
	redis_line_u64(args, account->created_ms);
	redis_line_u64(args, account->past_due_ms);
	redis_line_u64(args, account->period_start_s);
	redis_line_u64(args, account->period_end_s);
	redis_line_u64(args, account->trial_end_s);
	redis_line_u64(args, account->cancel_at_s);
	redis_line_u64(args, account->as_of_s);
	redis_line_text(args, account->price);
	redis_line_text(args, account->email);
	redis_line_text(args, account->features);
	redis_line_text(args, account->tier);
	redis_line_text(args, account->customer);
	redis_line_text(args, account->subscription);
	redis_line_text(args, account->label);
	redis_line_u64(args, account->mode);
	redis_line_u64(args, account->usage_start_s);
	redis_line_u64(args, account->usage_end_s);
	redis_line_text(args, account->disputes);
	redis_line_u64(args, account->seats);
	redis_line_text(args, account->reference);
	redis_line_text(args, account->metadata);
	redis_line_end(args);
}

int redis_read_account(const char *id, size_t id_len, const char *line, size_t len,
		       struct store_account *ret_account)
{
	struct redis_line l = redis_line_of(line, len);
	char status[32];

	memset(ret_account, 0, sizeof(*ret_account));
	redis_read_text(&l, status, sizeof(status));
	ret_account->is_held = redis_read_u64(&l) != 0;
	ret_account->created_ms = redis_read_u64(&l);
	ret_account->past_due_ms = redis_read_u64(&l);
	ret_account->period_start_s = redis_read_u64(&l);
	ret_account->period_end_s = redis_read_u64(&l);
	ret_account->trial_end_s = redis_read_u64(&l);
	ret_account->cancel_at_s = redis_read_u64(&l);
	ret_account->as_of_s = redis_read_u64(&l);
	redis_read_text(&l, ret_account->price, sizeof(ret_account->price));
	redis_read_text(&l, ret_account->email, sizeof(ret_account->email));
	redis_read_text(&l, ret_account->features, sizeof(ret_account->features));
	redis_read_text(&l, ret_account->tier, sizeof(ret_account->tier));
	redis_read_text(&l, ret_account->customer, sizeof(ret_account->customer));
	redis_read_text(&l, ret_account->subscription, sizeof(ret_account->subscription));
	redis_read_text(&l, ret_account->label, sizeof(ret_account->label));
	/* Older versions wrote lines that end here or at the next such test. */
	if (!l.is_over) {
		ret_account->mode = (enum store_mode)redis_read_u64(&l);
		ret_account->usage_start_s = redis_read_u64(&l);
		ret_account->usage_end_s = redis_read_u64(&l);
		redis_read_text(&l, ret_account->disputes, sizeof(ret_account->disputes));
	}
	if (!l.is_over) {
		ret_account->seats = (uint32_t)redis_read_u64(&l);
		redis_read_text(&l, ret_account->reference, sizeof(ret_account->reference));
		redis_read_text(&l, ret_account->metadata, sizeof(ret_account->metadata));
	}
	if (l.err || redis_parse_id(id, id_len, &ret_account->id) ||
	    store_status_parse(status, &ret_account->status))
		return -EUCLEAN;
	return 0;
}

void redis_line_key(struct redis_args *args, const struct store_key *key)
{
	redis_line_begin(args);
	redis_line_id(args, key->account);
	redis_line_hex(args, key->hash, sizeof(key->hash));
	redis_line_u64(args, key->created_ms);
	redis_line_u64(args, key->revoked_ms);
	redis_line_word(args, ""); /* seq, the order of creation: the script assigns it */
	redis_line_text(args, key->hint);
	redis_line_text(args, key->label);
	redis_line_end(args);
}

int redis_read_key(const char *id, size_t id_len, const char *line, size_t len,
		   struct store_key *ret_key)
{
	struct redis_line l = redis_line_of(line, len);

	memset(ret_key, 0, sizeof(*ret_key));
	ret_key->account = redis_read_id(&l);
	redis_read_hex(&l, ret_key->hash, sizeof(ret_key->hash));
	ret_key->created_ms = redis_read_u64(&l);
	ret_key->revoked_ms = redis_read_u64(&l);
	redis_read_word(&l);
	redis_read_text(&l, ret_key->hint, sizeof(ret_key->hint));
	redis_read_text(&l, ret_key->label, sizeof(ret_key->label));
	return l.err || redis_parse_id(id, id_len, &ret_key->id) ? -EUCLEAN : 0;
}

static void arg_block(struct redis_args *args, const struct cidr *block)
{
	char text[2 * sizeof(block->address) + 8];

	text_hex(block->address, sizeof(block->address), text);
	snprintf(text + 2 * sizeof(block->address), 8, "/%u", block->prefix_bits);
	redis_arg(args, text);
}

int redis_read_block(const char *text, size_t len, struct cidr *ret_block)
{
	size_t digits = 2 * sizeof(ret_block->address);
	uint64_t bits;

	*ret_block = (struct cidr){ 0 };
	if (len < digits + 2 || text[digits] != '/' ||
	    text_parse_hex((struct text){ text, digits }, ret_block->address,
			   sizeof(ret_block->address)) ||
	    text_parse_u64((struct text){ text + digits + 1, len - digits - 1 }, 128, &bits))
		return -EUCLEAN;
	ret_block->prefix_bits = (uint8_t)bits;
	return 0;
}

int redis_read_entry(const char *block, size_t block_len, const char *line, size_t len,
		     struct store_entry *ret_entry)
{
	struct redis_line l = redis_line_of(line, len);
	uint64_t list = redis_read_u64(&l);

	memset(ret_entry, 0, sizeof(*ret_entry));
	ret_entry->list = (enum store_list)list;
	ret_entry->created_ms = redis_read_u64(&l);
	ret_entry->until_ms = redis_read_u64(&l);
	if (l.err || list >= STORE_LIST_COUNT)
		return -EUCLEAN;
	return redis_read_block(block, block_len, &ret_entry->block);
}

/* ---- changes ---- */

int redis_account_add(struct store_engine *engine, const struct store_account_change *change)
{
	struct redis_args args;

	redis_function(&args, "account_add");
	redis_arg_id(&args, change->account->id);
	line_account(&args, change->account);
	for (size_t i = 0; i < change->task_count; i++)
		redis_arg_task(&args, &change->tasks[i]);
	return redis_lasting_change((struct redis *)engine, REDIS_RECORDS, &args);
}

int redis_account_set(struct store_engine *engine, const struct store_account_change *change)
{
	struct redis_args args;

	redis_function(&args, "account_set");
	redis_arg_id(&args, change->account->id);
	if (change->before)
		line_account(&args, change->before);
	else
		redis_arg(&args, "");
	line_account(&args, change->account);
	redis_arg_u64(&args, change->named);
	for (size_t i = 0; i < change->task_count; i++)
		redis_arg_task(&args, &change->tasks[i]);
	return redis_lasting_change((struct redis *)engine, REDIS_RECORDS, &args);
}

int redis_account_delete(struct store_engine *engine, uint64_t account, bool drops_usage)
{
	struct redis *r = (struct redis *)engine;
	struct redis_args args;
	int err;

	/* Usage first: an account whose usage is gone can be deleted again after a failure. */
	redis_function(&args, "usage_delete");
	redis_arg_id(&args, account);
	redis_arg(&args, drops_usage ? "1" : "0");
	err = redis_change(r, REDIS_USAGE, &args);
	if (err)
		return err;
	redis_function(&args, "account_delete");
	redis_arg_id(&args, account);
	return redis_change(r, REDIS_RECORDS, &args);
}

int redis_keys_add(struct store_engine *engine, const struct store_key *keys, size_t count)
{
	struct redis_args args;

	if (!count)
		return redis_check_open((struct redis *)engine);
	redis_function(&args, "keys_add");
	for (size_t i = 0; i < count; i++) {
		redis_arg_id(&args, keys[i].id);
		redis_line_key(&args, &keys[i]);
	}
	return redis_lasting_change((struct redis *)engine, REDIS_RECORDS, &args);
}

int redis_key_rotate(struct store_engine *engine, uint64_t old, uint64_t old_revoked_ms,
		     const struct store_key *fresh)
{
	struct redis_args args;

	redis_function(&args, "key_rotate");
	redis_arg_id(&args, old);
	redis_arg_u64(&args, old_revoked_ms);
	redis_arg_id(&args, fresh->id);
	redis_line_key(&args, fresh);
	return redis_lasting_change((struct redis *)engine, REDIS_RECORDS, &args);
}

static int end_keys(struct store_engine *engine, const char *function, uint64_t id,
		    uint64_t revoked_ms)
{
	struct redis_args args;

	redis_function(&args, function);
	redis_arg_id(&args, id);
	redis_arg_u64(&args, revoked_ms);
	return redis_lasting_change((struct redis *)engine, REDIS_RECORDS, &args);
}

int redis_key_revoke(struct store_engine *engine, uint64_t key, uint64_t revoked_ms)
{
	return end_keys(engine, "key_revoke", key, revoked_ms);
}

int redis_keys_revoke(struct store_engine *engine, uint64_t account, uint64_t revoked_ms)
{
	return end_keys(engine, "keys_revoke", account, revoked_ms);
}

int redis_entry_put(struct store_engine *engine, const struct store_entry *entry)
{
	struct redis_args args;

	redis_function(&args, "entry_put");
	arg_block(&args, &entry->block);
	redis_line_begin(&args);
	redis_line_u64(&args, entry->list);
	redis_line_u64(&args, entry->created_ms);
	redis_line_u64(&args, entry->until_ms);
	redis_line_end(&args);
	return redis_lasting_change((struct redis *)engine, REDIS_RECORDS, &args);
}

int redis_entry_remove(struct store_engine *engine, const struct cidr *block)
{
	struct redis_args args;

	redis_function(&args, "entry_remove");
	arg_block(&args, block);
	return redis_lasting_change((struct redis *)engine, REDIS_RECORDS, &args);
}

int redis_entries_prune(struct store_engine *engine, uint64_t ended_by_ms)
{
	struct redis_args args;

	redis_function(&args, "entries_prune");
	redis_arg_u64(&args, ended_by_ms);
	return redis_change((struct redis *)engine, REDIS_RECORDS, &args);
}

/* ---- lists ---- */

/* Read keys from a reply of alternating ids and lines. */
static int read_keys(struct redis *r, const redisReply *reply, struct store_key **ret_keys,
		     size_t *ret_count)
{
	size_t count = reply->elements / 2;
	struct store_key *keys = count ? calloc(count, sizeof(*keys)) : NULL;

	if (count && !keys)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const redisReply *id = reply->element[2 * i], *line = reply->element[2 * i + 1];

		if (id->type == REDIS_REPLY_STRING && line->type == REDIS_REPLY_STRING &&
		    !redis_read_key(id->str, id->len, line->str, line->len, &keys[i]))
			continue;
		free(keys);
		return redis_say(&r->link, -EUCLEAN, "Redis %s: a key is malformed",
				 r->link.server);
	}
	*ret_keys = keys;
	*ret_count = count;
	return 0;
}

int redis_keys_list(struct store_engine *engine, uint64_t account, uint64_t after_id, size_t limit,
		    struct store_key **ret_keys, size_t *ret_count)
{
	struct redis *r = (struct redis *)engine;
	struct redis_args args;
	redisReply *reply;
	int err = redis_check_open(r);

	if (err)
		return err;
	redis_function(&args, "keys_list");
	if (account)
		redis_arg_id(&args, account);
	else
		redis_arg(&args, "");
	if (after_id)
		redis_arg_id(&args, after_id);
	else
		redis_arg(&args, "");
	redis_arg_u64(&args, limit > INT32_MAX ? INT32_MAX : limit);
	err = redis_call(&r->link, REDIS_RECORDS, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	err = read_keys(r, reply, ret_keys, ret_count);
	freeReplyObject(reply);
	return err;
}
