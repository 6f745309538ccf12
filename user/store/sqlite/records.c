/* SPDX-License-Identifier: BSD-2-Clause */
/* sqlite_records: accounts, keys, usage and quotas in the embedded engine. */
#include "store/sqlite/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "tollgate/abi.h"

#define BATCH 512 /* records per call of a visitor */

sqlite3_stmt *sqlite_statement(struct sqlite *s, enum sqlite_statement which)
{
	return s->statements[which];
}

void sqlite_bind_u64(sqlite3_stmt *stmt, int column, uint64_t value)
{
	sqlite3_bind_int64(stmt, column, (sqlite3_int64)value);
}

void sqlite_bind_text(sqlite3_stmt *stmt, int column, const char *text)
{
	sqlite3_bind_text(stmt, column, text, -1, SQLITE_STATIC);
}

void sqlite_bind_limit(sqlite3_stmt *stmt, int column, uint64_t limit)
{
	sqlite3_bind_int64(stmt, column, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
}

uint64_t sqlite_u64(sqlite3_stmt *stmt, int column)
{
	return (uint64_t)sqlite3_column_int64(stmt, column);
}

void sqlite_text(sqlite3_stmt *stmt, int column, char *ret_text, size_t size)
{
	const void *text = sqlite3_column_text(stmt, column);
	size_t len = (size_t)sqlite3_column_bytes(stmt, column);

	if (len > size - 1)
		len = size - 1;
	if (text)
		memcpy(ret_text, text, len);
	ret_text[text ? len : 0] = '\0';
}

int sqlite_run(struct sqlite *s, sqlite3_stmt *stmt)
{
	int err = sqlite_fail(s, sqlite3_step(stmt));

	sqlite3_reset(stmt);
	return err;
}

int sqlite_run_on_one(struct sqlite *s, sqlite3_stmt *stmt)
{
	int err = sqlite_run(s, stmt);

	return err || sqlite3_changes(s->db) ? err : -ENOENT;
}

static void bind_account(sqlite3_stmt *stmt, const struct store_account *account)
{
	sqlite_bind_text(stmt, 1, store_status_word(account->status));
	sqlite_bind_u64(stmt, 2, account->is_held);
	sqlite_bind_u64(stmt, 3, account->created_ms);
	sqlite_bind_u64(stmt, 4, account->past_due_ms);
	sqlite_bind_text(stmt, 5, account->tier);
	sqlite_bind_text(stmt, 6, account->customer);
	sqlite_bind_text(stmt, 7, account->subscription);
	sqlite_bind_text(stmt, 8, account->label);
	sqlite_bind_u64(stmt, 9, account->period_start_s);
	sqlite_bind_u64(stmt, 10, account->period_end_s);
	sqlite_bind_u64(stmt, 11, account->trial_end_s);
	sqlite_bind_u64(stmt, 12, account->cancel_at_s);
	sqlite_bind_u64(stmt, 13, account->as_of_s);
	sqlite_bind_text(stmt, 14, account->price);
	sqlite_bind_text(stmt, 15, account->email);
	sqlite_bind_text(stmt, 16, account->features);
	sqlite_bind_u64(stmt, 17, account->mode);
	sqlite_bind_u64(stmt, 18, account->usage_start_s);
	sqlite_bind_u64(stmt, 19, account->usage_end_s);
	sqlite_bind_text(stmt, 20, account->disputes);
	sqlite_bind_u64(stmt, 21, account->seats);
	sqlite_bind_text(stmt, 22, account->reference);
	sqlite_bind_text(stmt, 23, account->metadata);
	sqlite_bind_u64(stmt, 24, account->id);
}

static int write_account(struct sqlite *s, enum sqlite_statement which,
			 const struct store_account_change *change)
{
	int err = sqlite_begin(s);

	if (err)
		return err;
	bind_account(sqlite_statement(s, which), change->account);
	err = sqlite_run_on_one(s, sqlite_statement(s, which));
	if (!err)
		err = sqlite_add_fresh_tasks(s, change->tasks, change->task_count, NULL);
	return sqlite_end(s, err);
}

int sqlite_account_add(struct store_engine *engine, const struct store_account_change *change)
{
	return write_account((struct sqlite *)engine, SQLITE_ACCOUNT_ADD_STATEMENT, change);
}

/*
 * Whether only `as_of_s` has changed. That is not worth a commit: the field only guards against
 * older states from Stripe, and the followers of the feed keep it in memory.
 */
static bool is_only_later(const struct store_account *before, const struct store_account *account)
{
	struct store_account same = *before;

	same.as_of_s = account->as_of_s;
	return !memcmp(&same, account, sizeof(same));
}

int sqlite_account_set(struct store_engine *engine, const struct store_account_change *change)
{
	/* Only this agent writes the file, so fields that are not named still equal those before.
	 */
	if (!change->named && !change->task_count && change->before &&
	    is_only_later(change->before, change->account))
		return sqlite_check_open((struct sqlite *)engine);
	return write_account((struct sqlite *)engine, SQLITE_ACCOUNT_SET_STATEMENT, change);
}

static int delete_rows(struct sqlite *s, enum sqlite_statement which, uint64_t account)
{
	sqlite_bind_u64(sqlite_statement(s, which), 1, account);
	return sqlite_run(s, sqlite_statement(s, which));
}

/* 1, 0, or an error. */
static int has_open_usage(struct sqlite *s, uint64_t account)
{
	sqlite3_stmt *stmt = STATEMENT(s, USAGE_IS_OPEN);
	int code, err;

	sqlite_bind_u64(stmt, 1, account);
	code = sqlite3_step(stmt);
	err = sqlite_fail(s, code);
	sqlite3_reset(stmt);
	return err ? err : code == SQLITE_ROW;
}

int sqlite_account_delete(struct store_engine *engine, uint64_t account, bool drops_usage)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	if (!drops_usage) {
		err = has_open_usage(s, account);
		err = err > 0 ? -EBUSY : err;
	}
	if (!err)
		err = delete_rows(s, SQLITE_KEYS_DELETE_STATEMENT, account);
	if (!err)
		err = delete_rows(s, SQLITE_USAGE_DELETE_STATEMENT, account);
	if (!err) {
		sqlite_bind_u64(STATEMENT(s, ACCOUNT_DELETE), 1, account);
		err = sqlite_run_on_one(s, STATEMENT(s, ACCOUNT_DELETE));
	}
	return sqlite_end(s, err);
}

int sqlite_add_key(struct sqlite *s, const struct store_key *key)
{
	sqlite3_stmt *stmt = STATEMENT(s, KEY_ADD);

	sqlite_bind_u64(stmt, 1, key->id);
	sqlite_bind_u64(stmt, 2, key->account);
	sqlite3_bind_blob(stmt, 3, key->hash, sizeof(key->hash), SQLITE_STATIC);
	sqlite_bind_u64(stmt, 4, key->created_ms);
	sqlite_bind_u64(stmt, 5, key->revoked_ms);
	sqlite_bind_text(stmt, 6, key->hint);
	sqlite_bind_text(stmt, 7, key->label);
	return sqlite_run(s, stmt);
}

int sqlite_keys_add(struct store_engine *engine, const struct store_key *keys, size_t count)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	for (size_t i = 0; i < count && !err; i++)
		err = sqlite_add_key(s, &keys[i]);
	return sqlite_end(s, err);
}

static int end_key(struct sqlite *s, sqlite3_stmt *stmt, uint64_t key, uint64_t revoked_ms)
{
	sqlite_bind_u64(stmt, 1, revoked_ms);
	sqlite_bind_u64(stmt, 2, key);
	return sqlite_run_on_one(s, stmt);
}

int sqlite_key_rotate(struct store_engine *engine, uint64_t old, uint64_t old_revoked_ms,
		      const struct store_key *fresh)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	err = end_key(s, STATEMENT(s, KEY_END), old, old_revoked_ms);
	if (!err)
		err = sqlite_add_key(s, fresh);
	return sqlite_end(s, err);
}

int sqlite_key_revoke(struct store_engine *engine, uint64_t key, uint64_t revoked_ms)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	return sqlite_end(s, end_key(s, STATEMENT(s, KEY_END), key, revoked_ms));
}

int sqlite_keys_revoke(struct store_engine *engine, uint64_t account, uint64_t revoked_ms)
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt;
	int err = sqlite_begin(s);

	if (err)
		return err;
	stmt = STATEMENT(s, KEYS_END);
	sqlite_bind_u64(stmt, 1, revoked_ms);
	sqlite_bind_u64(stmt, 2, account);
	return sqlite_end(s, sqlite_run(s, stmt));
}

static void bind_usage(sqlite3_stmt *stmt, const struct store_usage *usage)
{
	sqlite_bind_u64(stmt, 1, usage->account);
	sqlite_bind_u64(stmt, 2, usage->epoch);
	sqlite_bind_u64(stmt, 3, usage->window_start_s);
	sqlite_bind_u64(stmt, 4, usage->window_seconds);
	sqlite_bind_u64(stmt, 5, usage->requests);
	sqlite_bind_u64(stmt, 6, usage->units);
}

static int put_usage(struct sqlite *s, const struct store_usage *usage)
{
	int err;

	bind_usage(STATEMENT(s, USAGE_GROW), usage);
	err = sqlite_run(s, STATEMENT(s, USAGE_GROW));
	if (err || sqlite3_changes(s->db))
		return err;
	bind_usage(STATEMENT(s, USAGE_PUT), usage);
	return sqlite_run(s, STATEMENT(s, USAGE_PUT));
}

static int put_quota(struct sqlite *s, const struct store_quota *quota)
{
	sqlite3_stmt *stmt = STATEMENT(s, QUOTA_PUT);

	sqlite_bind_u64(stmt, 1, quota->account);
	sqlite_bind_u64(stmt, 2, quota->epoch);
	sqlite_bind_u64(stmt, 3, quota->period_kind);
	sqlite_bind_u64(stmt, 4, quota->period);
	sqlite_bind_u64(stmt, 5, quota->units);
	return sqlite_run(s, stmt);
}

int sqlite_usage_put(struct store_engine *engine, const struct store_usage *usage,
		     size_t usage_count, const struct store_quota *quotas, size_t quota_count)
{
	struct sqlite *s = (struct sqlite *)engine;
	int err = sqlite_begin(s);

	if (err)
		return err;
	for (size_t i = 0; i < usage_count && !err; i++)
		err = put_usage(s, &usage[i]);
	for (size_t i = 0; i < quota_count && !err; i++)
		err = put_quota(s, &quotas[i]);
	return sqlite_end(s, err);
}

/*
 * Reading: each of these fills in a record, which is zero before, from a row. 0 or an error;
 * -EUCLEAN for malformed content.
 */
static int read_account(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record)
{
	struct store_account *account = ret_record;
	const char *status = (const char *)sqlite3_column_text(stmt, 0);

	account->id = sqlite_u64(stmt, 23);
	if (!status || store_status_parse(status, &account->status)) {
		snprintf(s->engine.error, sizeof(s->engine.error),
			 "%s: account %016llx has an unknown status", s->path,
			 (unsigned long long)account->id);
		return -EUCLEAN;
	}
	account->is_held = sqlite3_column_int(stmt, 1);
	account->created_ms = sqlite_u64(stmt, 2);
	account->past_due_ms = sqlite_u64(stmt, 3);
	sqlite_text(stmt, 4, account->tier, sizeof(account->tier));
	sqlite_text(stmt, 5, account->customer, sizeof(account->customer));
	sqlite_text(stmt, 6, account->subscription, sizeof(account->subscription));
	sqlite_text(stmt, 7, account->label, sizeof(account->label));
	account->period_start_s = sqlite_u64(stmt, 8);
	account->period_end_s = sqlite_u64(stmt, 9);
	account->trial_end_s = sqlite_u64(stmt, 10);
	account->cancel_at_s = sqlite_u64(stmt, 11);
	account->as_of_s = sqlite_u64(stmt, 12);
	sqlite_text(stmt, 13, account->price, sizeof(account->price));
	sqlite_text(stmt, 14, account->email, sizeof(account->email));
	sqlite_text(stmt, 15, account->features, sizeof(account->features));
	account->mode = (enum store_mode)sqlite_u64(stmt, 16);
	account->usage_start_s = sqlite_u64(stmt, 17);
	account->usage_end_s = sqlite_u64(stmt, 18);
	sqlite_text(stmt, 19, account->disputes, sizeof(account->disputes));
	account->seats = (uint32_t)sqlite_u64(stmt, 20);
	sqlite_text(stmt, 21, account->reference, sizeof(account->reference));
	sqlite_text(stmt, 22, account->metadata, sizeof(account->metadata));
	return 0;
}

static int read_key(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record)
{
	struct store_key *key = ret_record;
	const void *hash = sqlite3_column_blob(stmt, 2);

	key->id = sqlite_u64(stmt, 0);
	if (!hash || sqlite3_column_bytes(stmt, 2) != STORE_HASH_BYTES) {
		snprintf(s->engine.error, sizeof(s->engine.error), "%s: key %016llx has no hash",
			 s->path, (unsigned long long)key->id);
		return -EUCLEAN;
	}
	key->account = sqlite_u64(stmt, 1);
	memcpy(key->hash, hash, sizeof(key->hash));
	key->created_ms = sqlite_u64(stmt, 3);
	key->revoked_ms = sqlite_u64(stmt, 4);
	sqlite_text(stmt, 5, key->hint, sizeof(key->hint));
	sqlite_text(stmt, 6, key->label, sizeof(key->label));
	return 0;
}

static int read_quota(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record)
{
	struct store_quota *quota = ret_record;

	(void)s;
	quota->account = sqlite_u64(stmt, 0);
	quota->epoch = sqlite_u64(stmt, 1);
	quota->period_kind = (uint32_t)sqlite_u64(stmt, 2);
	quota->period = (uint32_t)sqlite_u64(stmt, 3);
	quota->units = sqlite_u64(stmt, 4);
	return 0;
}

static int read_usage(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record)
{
	struct store_usage *usage = ret_record;

	(void)s;
	usage->account = sqlite_u64(stmt, 0);
	usage->epoch = 0;
	usage->window_start_s = sqlite_u64(stmt, 1);
	usage->window_seconds = (uint32_t)sqlite_u64(stmt, 2);
	usage->requests = sqlite_u64(stmt, 3);
	usage->units = sqlite_u64(stmt, 4);
	usage->closed_units = sqlite_u64(stmt, 5);
	usage->closings = (uint32_t)sqlite_u64(stmt, 6);
	return 0;
}

/* How to read each kind of record and pass it to a visitor. */
struct reader {
	int (*read)(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record);
	size_t size;
	int (*visit)(const struct store_visitor *visitor, void *arg, const void *records,
		     size_t count);
};

static int visit_accounts(const struct store_visitor *visitor, void *arg, const void *records,
			  size_t count)
{
	return visitor->on_accounts ? visitor->on_accounts(arg, records, count) : 0;
}

static int visit_keys(const struct store_visitor *visitor, void *arg, const void *records,
		      size_t count)
{
	return visitor->on_keys ? visitor->on_keys(arg, records, count) : 0;
}

static int visit_quotas(const struct store_visitor *visitor, void *arg, const void *records,
			size_t count)
{
	return visitor->on_quotas ? visitor->on_quotas(arg, records, count) : 0;
}

static int visit_entries(const struct store_visitor *visitor, void *arg, const void *records,
			 size_t count)
{
	return visitor->on_entries ? visitor->on_entries(arg, records, count) : 0;
}

static const struct reader account_reader = { read_account, sizeof(struct store_account),
					      visit_accounts };
static const struct reader key_reader = { read_key, sizeof(struct store_key), visit_keys };
static const struct reader quota_reader = { read_quota, sizeof(struct store_quota), visit_quotas };
static const struct reader entry_reader = { sqlite_read_entry, sizeof(struct store_entry),
					    visit_entries };

/* Pass all rows of @stmt to @visitor. */
static int visit_rows(struct sqlite *s, sqlite3_stmt *stmt, const struct reader *reader,
		      const struct store_visitor *visitor, void *arg)
{
	char *batch = malloc(BATCH * reader->size);
	size_t count = 0;
	int code, err = batch ? 0 : -ENOMEM;

	while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		memset(batch + count * reader->size, 0, reader->size);
		err = reader->read(s, stmt, batch + count * reader->size);
		if (!err && ++count == BATCH) {
			err = reader->visit(visitor, arg, batch, count);
			count = 0;
		}
	}
	if (!err)
		err = sqlite_fail(s, code);
	if (!err && count)
		err = reader->visit(visitor, arg, batch, count);
	sqlite3_reset(stmt);
	free(batch);
	return err;
}

int sqlite_load(struct store_engine *engine, const struct store_visitor *visitor, void *visitor_arg,
		uint32_t day, uint32_t month_day)
{
	const struct {
		uint32_t kind, since;
	} periods[] = { { TOLLGATE_PERIOD_DAY, day }, { TOLLGATE_PERIOD_MONTH, month_day } };
	struct sqlite *s = (struct sqlite *)engine;
	int err;

	err = sqlite_check_open(s);
	if (err)
		return err;
	err = sqlite_exec(s, "BEGIN"); /* a consistent snapshot, even if others write meanwhile */
	if (err)
		return err;
	err = visit_rows(s, STATEMENT(s, ACCOUNTS), &account_reader, visitor, visitor_arg);
	sqlite_bind_u64(STATEMENT(s, KEYS), 1, 0);
	sqlite3_bind_int64(STATEMENT(s, KEYS), 2, -1); /* no limit */
	if (!err)
		err = visit_rows(s, STATEMENT(s, KEYS), &key_reader, visitor, visitor_arg);
	for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]) && !err; i++) {
		sqlite_bind_u64(STATEMENT(s, QUOTAS), 1, periods[i].kind);
		sqlite_bind_u64(STATEMENT(s, QUOTAS), 2, periods[i].since);
		err = visit_rows(s, STATEMENT(s, QUOTAS), &quota_reader, visitor, visitor_arg);
	}
	if (!err)
		err = visit_rows(s, STATEMENT(s, ENTRIES), &entry_reader, visitor, visitor_arg);
	return sqlite_end(s, err);
}

int sqlite_list(struct sqlite *s, sqlite3_stmt *stmt,
		int (*read)(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record), size_t size,
		void **ret_rows, size_t *ret_count)
{
	size_t count = 0, room = 0;
	char *rows = NULL;
	int code, err = 0;

	while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		/* The statement limits the number of rows. */
		err = array_grow(&rows, &room, count + 1, size, ARRAY_NO_LIMIT);
		if (err)
			break;
		memset(rows + count * size, 0, size);
		err = read(s, stmt, rows + count++ * size);
	}
	if (!err)
		err = sqlite_fail(s, code);
	sqlite3_reset(stmt);
	if (err) {
		free(rows);
		return err;
	}
	*ret_rows = rows;
	*ret_count = count;
	return 0;
}

static int key_place(struct sqlite *s, uint64_t id, int64_t *ret_seq)
{
	sqlite3_stmt *stmt = STATEMENT(s, KEY_PLACE);
	int code, err;

	sqlite_bind_u64(stmt, 1, id);
	code = sqlite3_step(stmt);
	err = code == SQLITE_DONE ? -ENOENT : sqlite_fail(s, code);
	if (!err)
		*ret_seq = sqlite3_column_int64(stmt, 0);
	sqlite3_reset(stmt);
	return err;
}

int sqlite_keys_list(struct store_engine *engine, uint64_t account, uint64_t after_id, size_t limit,
		     struct store_key **ret_keys, size_t *ret_count)
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt;
	int64_t seq = 0;
	void *rows;
	int err;

	err = sqlite_check_open(s);
	if (err)
		return err;
	err = after_id ? key_place(s, after_id, &seq) : 0;
	if (err)
		return err;
	stmt = account ? STATEMENT(s, KEYS_OF) : STATEMENT(s, KEYS);
	sqlite3_bind_int64(stmt, 1, seq);
	sqlite_bind_limit(stmt, 2, limit);
	if (account)
		sqlite_bind_u64(stmt, 3, account);
	err = sqlite_list(s, stmt, read_key, sizeof(**ret_keys), &rows, ret_count);
	if (!err)
		*ret_keys = rows;
	return err;
}

static int list_usage(struct sqlite *s, sqlite3_stmt *stmt, struct store_usage **ret_rows,
		      size_t *ret_count)
{
	void *rows;
	int err = sqlite_list(s, stmt, read_usage, sizeof(**ret_rows), &rows, ret_count);

	if (!err)
		*ret_rows = rows;
	return err;
}

int sqlite_usage_list(struct store_engine *engine, uint64_t account, uint64_t since_s, size_t limit,
		      struct store_usage **ret_rows, size_t *ret_count)
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt;
	int err;

	err = sqlite_check_open(s);
	if (err)
		return err;
	stmt = account ? STATEMENT(s, USAGE_OF) : STATEMENT(s, USAGE);
	sqlite_bind_u64(stmt, 1, since_s);
	sqlite_bind_limit(stmt, 2, limit);
	if (account)
		sqlite_bind_u64(stmt, 3, account);
	return list_usage(s, stmt, ret_rows, ret_count);
}

int sqlite_usage_open(struct store_engine *engine, const struct store_usage_query *query,
		      struct store_usage **ret_rows, size_t *ret_count)
{
	static const struct store_usage first;
	const struct store_usage *after = query->after ? query->after : &first;
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt;
	int err;

	err = sqlite_check_open(s);
	if (err)
		return err;
	stmt = query->account ? STATEMENT(s, USAGE_OPEN_OF) : STATEMENT(s, USAGE_OPEN);
	sqlite_bind_limit(stmt, 1, query->account ? query->account : query->ended_by_s);
	sqlite_bind_limit(stmt, 2, query->limit);
	sqlite_bind_u64(stmt, 3, after->window_start_s + after->window_seconds);
	sqlite_bind_u64(stmt, 4, after->window_start_s);
	sqlite_bind_u64(stmt, 5, after->account);
	sqlite_bind_u64(stmt, 6, after->window_seconds);
	return list_usage(s, stmt, ret_rows, ret_count);
}
