/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sqlite: the embedded engine. Private to user/store: sqlite.c opens and checks the file and knows
 * SQLite's errors; sqlite_records.c reads and writes the records.
 *
 * 64-bit ids are stored as SQLite's signed integers, bit for bit.
 */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include <sqlite3.h>

#include "store/engine.h"

#define KEY_COLUMNS "id, account, hash, created_ms, revoked_ms, hint, label"

/* Every statement, prepared once when the file is opened. X(name, SQL) */
#define SQLITE_STATEMENTS(X)                                                                     \
	X(ACCOUNT_ADD, "INSERT INTO accounts(status, is_held, created_ms, past_due_ms, tier, "   \
		       "customer, subscription, label, id) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)")  \
	X(ACCOUNT_SET,                                                                           \
	  "UPDATE accounts SET status=?1, is_held=?2, created_ms=?3, past_due_ms=?4, "           \
	  "tier=?5, customer=?6, subscription=?7, label=?8 WHERE id=?9")                         \
	X(KEY_ADD, "INSERT INTO keys(" KEY_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7)")             \
	X(KEY_REVOKE, "UPDATE keys SET revoked_ms=?1 WHERE id=?2")                               \
	X(KEY_END, "UPDATE keys SET revoked_ms = CASE WHEN revoked_ms = 0 OR revoked_ms > ?1 "   \
		   "THEN ?1 ELSE revoked_ms END WHERE id=?2")                                    \
	X(KEY_PLACE, "SELECT seq FROM keys WHERE id=?1")                                         \
	X(USAGE_PUT,                                                                             \
	  "INSERT INTO usage(account, epoch, window_start_s, window_seconds, requests, "         \
	  "units) VALUES(?1,?2,?3,?4,?5,?6) ON CONFLICT DO UPDATE SET "                          \
	  "requests = max(requests, excluded.requests), "                                        \
	  "units = max(units, excluded.units)")                                                  \
	X(QUOTA_PUT, "INSERT INTO quota(account, epoch, period_kind, period, units) "            \
		     "VALUES(?1,?2,?3,?4,?5) ON CONFLICT DO UPDATE SET "                         \
		     "units = max(units, excluded.units)")                                       \
	X(ACCOUNTS, "SELECT id, status, is_held, created_ms, past_due_ms, tier, customer, "      \
		    "subscription, label FROM accounts ORDER BY id")                             \
	X(KEYS, "SELECT " KEY_COLUMNS " FROM keys WHERE seq > ?1 ORDER BY seq LIMIT ?2")         \
	X(KEYS_OF, "SELECT " KEY_COLUMNS " FROM keys WHERE account = ?3 AND seq > ?1 "           \
		   "ORDER BY seq LIMIT ?2")                                                      \
	X(QUOTAS, "SELECT account, epoch, period_kind, period, units FROM quota "                \
		  "WHERE period_kind = ?1 AND period = ?2")                                      \
	X(USAGE, "SELECT account, window_start_s, window_seconds, sum(requests), sum(units) "    \
		 "FROM usage WHERE window_start_s >= ?1 "                                        \
		 "GROUP BY window_start_s, account, window_seconds LIMIT ?2")                    \
	X(USAGE_OF, "SELECT account, window_start_s, window_seconds, sum(requests), sum(units) " \
		    "FROM usage WHERE account = ?3 AND window_start_s >= ?1 "                    \
		    "GROUP BY window_start_s, account, window_seconds LIMIT ?2")

enum sqlite_statement {
#define X(name, sql) SQLITE_##name##_STATEMENT,
	SQLITE_STATEMENTS(X)
#undef X
		SQLITE_STATEMENT_COUNT
};

struct sqlite {
	struct store_engine engine;
	char *path;					  /* owned */
	sqlite3 *db;					  /* owned; NULL: not open */
	sqlite3_stmt *statements[SQLITE_STATEMENT_COUNT]; /* owned */
};

/*
 * Keep SQLite's words for @code, the result of the last call on the connection, and translate it.
 * 0 for SQLITE_OK, SQLITE_ROW and SQLITE_DONE.
 */
int sqlite_fail(struct sqlite *s, int code);

/* Run statements that give no rows. */
int sqlite_exec(struct sqlite *s, const char *sql);

/* 0 or -ENOTCONN. */
int sqlite_check_open(struct sqlite *s);

/* Take the write lock. -EBUSY when another process keeps it, -ENOTCONN when the file is not open. */
int sqlite_begin(struct sqlite *s);

/* Commit when @err is 0, else roll back. Returns @err or why the commit failed. */
int sqlite_end(struct sqlite *s, int err);

/* The operations of struct store_engine_ops, in sqlite_records.c. */
int sqlite_load(struct store_engine *engine, const struct store_visitor *visitor, void *visitor_arg,
		uint32_t day, uint32_t month);
int sqlite_account_add(struct store_engine *engine, const struct store_account *account);
int sqlite_account_set(struct store_engine *engine, const struct store_account *account);
int sqlite_keys_add(struct store_engine *engine, const struct store_key *keys, size_t count);
int sqlite_key_rotate(struct store_engine *engine, uint64_t old, uint64_t old_revoked_ms,
		      const struct store_key *fresh);
int sqlite_key_revoke(struct store_engine *engine, uint64_t key, uint64_t revoked_ms);
int sqlite_keys_list(struct store_engine *engine, uint64_t account, uint64_t after_id, size_t limit,
		     struct store_key **ret_keys, size_t *ret_count);
int sqlite_usage_put(struct store_engine *engine, const struct store_usage *usage,
		     size_t usage_count, const struct store_quota *quotas, size_t quota_count);
int sqlite_usage_list(struct store_engine *engine, uint64_t account, uint64_t since_s, size_t limit,
		      struct store_usage **ret_rows, size_t *ret_count);

#endif
