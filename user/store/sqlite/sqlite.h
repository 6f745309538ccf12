/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sqlite: the embedded engine. Private to user/store. sqlite.c opens and checks the file and
 * translates SQLite's errors; records.c reads and writes accounts, keys, usage and quotas; tasks.c
 * has the tasks and the changes made together with them; lists.c has the lists of addresses;
 * migrate.c serves store_migrate().
 *
 * 64-bit ids are stored in SQLite's signed integers with the same bits.
 */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include <sqlite3.h>

#include "store/engine.h"

#define ACCOUNT_COLUMNS                                                                   \
	"status, is_held, created_ms, past_due_ms, tier, customer, subscription, label, " \
	"period_start_s, period_end_s, trial_end_s, cancel_at_s, as_of_s, price, email, " \
	"features, mode, usage_start_s, usage_end_s, disputes, seats, reference, "        \
	"metadata, id"
#define KEY_COLUMNS "id, account, hash, created_ms, revoked_ms, hint, label"
#define TASK_COLUMNS \
	"queue, id, object, account, created_ms, due_ms, tried_ms, attempts, state, note, body"
#define ENTRY_COLUMNS "address, prefix_bits, list, created_ms, until_ms"
#define USAGE_SUMS    "sum(u.requests), sum(u.units), sum(u.closed_units), max(u.closings)"

/* Windows from an index of the open rows, each with the sums over all its epochs. */
#define USAGE_OPEN_ROWS(index, where)                                                          \
	"SELECT o.account, o.window_start_s, o.window_seconds, " USAGE_SUMS " FROM "           \
	"(SELECT DISTINCT window_start_s + window_seconds AS end_s, window_start_s, account, " \
	"window_seconds FROM usage INDEXED BY " index " WHERE is_open AND " where " AND "      \
	"(window_start_s + window_seconds, window_start_s, account, window_seconds) > "        \
	"(?3, ?4, ?5, ?6) "                                                                    \
	"ORDER BY window_start_s + window_seconds, window_start_s, account, window_seconds "   \
	"LIMIT ?2) AS o JOIN usage AS u USING(window_start_s, account, window_seconds) "       \
	"GROUP BY o.end_s, o.window_start_s, o.account, o.window_seconds "                     \
	"ORDER BY o.end_s, o.window_start_s, o.account, o.window_seconds"

/* All statements; each is prepared once, when the file is opened. X(name, SQL) */
#define SQLITE_STATEMENTS(X)                                                                       \
	X(ACCOUNT_ADD, "INSERT INTO accounts(" ACCOUNT_COLUMNS ") "                                \
		       "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,"        \
		       "?18,?19,?20,?21,?22,?23,?24)")                                             \
	X(ACCOUNT_SET,                                                                             \
	  "UPDATE accounts SET status=?1, is_held=?2, created_ms=?3, past_due_ms=?4, "             \
	  "tier=?5, customer=?6, subscription=?7, label=?8, period_start_s=?9, "                   \
	  "period_end_s=?10, trial_end_s=?11, cancel_at_s=?12, as_of_s=?13, price=?14, "           \
	  "email=?15, features=?16, mode=?17, usage_start_s=?18, usage_end_s=?19, "                \
	  "disputes=?20, seats=?21, reference=?22, metadata=?23 WHERE id=?24")                     \
	X(ACCOUNT_DELETE, "DELETE FROM accounts WHERE id=?1")                                      \
	X(KEYS_DELETE, "DELETE FROM keys WHERE account=?1")                                        \
	X(USAGE_DELETE, "DELETE FROM usage WHERE account=?1")                                      \
	X(USAGE_IS_OPEN, "SELECT 1 FROM usage INDEXED BY usage_open_account WHERE account=?1 "     \
			 "AND is_open LIMIT 1")                                                    \
	X(KEY_ADD, "INSERT INTO keys(" KEY_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7)")               \
	X(KEY_END, "UPDATE keys SET revoked_ms = CASE WHEN revoked_ms = 0 OR revoked_ms > ?1 "     \
		   "THEN ?1 ELSE revoked_ms END WHERE id=?2")                                      \
	X(KEYS_END, "UPDATE keys SET revoked_ms=?1 WHERE account=?2 AND "                          \
		    "(revoked_ms = 0 OR revoked_ms > ?1)")                                         \
	X(KEY_PLACE, "SELECT seq FROM keys WHERE id=?1")                                           \
	/* An open row stays open while it grows, so this updates no index. */                     \
	X(USAGE_GROW, "UPDATE usage SET requests = max(requests, ?5), units = max(units, ?6) "     \
		      "WHERE window_start_s=?3 AND account=?1 AND window_seconds=?4 AND epoch=?2 " \
		      "AND is_open")                                                               \
	X(USAGE_PUT,                                                                               \
	  "INSERT INTO usage(account, epoch, window_start_s, window_seconds, requests, "           \
	  "units, is_open) VALUES(?1,?2,?3,?4,?5,?6,?6 > 0) ON CONFLICT DO UPDATE SET "            \
	  "requests = max(requests, excluded.requests), "                                          \
	  "units = max(units, excluded.units), "                                                   \
	  "is_open = max(units, excluded.units) > closed_units")                                   \
	X(QUOTA_PUT, "INSERT INTO quota(account, epoch, period_kind, period, units) "              \
		     "VALUES(?1,?2,?3,?4,?5) ON CONFLICT DO UPDATE SET "                           \
		     "units = max(units, excluded.units)")                                         \
	X(ACCOUNTS, "SELECT " ACCOUNT_COLUMNS " FROM accounts ORDER BY id")                        \
	X(KEYS, "SELECT " KEY_COLUMNS " FROM keys WHERE seq > ?1 ORDER BY seq LIMIT ?2")           \
	X(KEYS_OF, "SELECT " KEY_COLUMNS " FROM keys WHERE account = ?3 AND seq > ?1 "             \
		   "ORDER BY seq LIMIT ?2")                                                        \
	X(QUOTAS, "SELECT account, epoch, period_kind, period, units FROM quota "                  \
		  "WHERE period_kind = ?1 AND period >= ?2 ORDER BY period")                       \
	X(USAGE, "SELECT account, window_start_s, window_seconds, " USAGE_SUMS                     \
		 " FROM usage AS u WHERE window_start_s >= ?1 "                                    \
		 "GROUP BY window_start_s, account, window_seconds LIMIT ?2")                      \
	X(USAGE_OF, "SELECT account, window_start_s, window_seconds, " USAGE_SUMS                  \
		    " FROM usage AS u WHERE account = ?3 AND window_start_s >= ?1 "                \
		    "GROUP BY window_start_s, account, window_seconds LIMIT ?2")                   \
	/* The first comparison with ?3 lets the index begin there; the second is exact. */        \
	X(USAGE_OPEN, USAGE_OPEN_ROWS("usage_open", "window_start_s + window_seconds <= ?1 AND "   \
						    "window_start_s + window_seconds >= ?3"))      \
	X(USAGE_OPEN_OF, USAGE_OPEN_ROWS("usage_open_account", "account = ?1"))                    \
	X(USAGE_SUM, "SELECT sum(units), sum(closed_units), max(closings) FROM usage "             \
		     "WHERE window_start_s=?1 AND account=?2 AND window_seconds=?3")               \
	X(USAGE_OPEN_EPOCHS,                                                                       \
	  "SELECT epoch, units - closed_units FROM usage WHERE window_start_s=?1 AND "             \
	  "account=?2 AND window_seconds=?3 AND units > closed_units ORDER BY epoch")              \
	X(USAGE_CLOSE,                                                                             \
	  "UPDATE usage SET closed_units = closed_units + ?5, closings = ?6, "                     \
	  "is_open = units > closed_units + ?5 WHERE window_start_s=?1 AND account=?2 AND "        \
	  "window_seconds=?3 AND epoch=?4")                                                        \
	X(TASK_ADD, "INSERT INTO tasks(" TASK_COLUMNS ") "                                         \
		    "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)")                                  \
	X(TASK_ADD_FRESH,                                                                          \
	  "INSERT INTO tasks(" TASK_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11) "        \
	  "ON CONFLICT(queue, id) DO NOTHING")                                                     \
	X(TASK_SET, "UPDATE tasks SET due_ms=?3, tried_ms=?4, attempts=?5, state=?6, note=?7, "    \
		    "body = CASE WHEN ?6 = ?8 THEN NULL ELSE coalesce(?9, body) END "              \
		    "WHERE queue=?1 AND id=?2")                                                    \
	X(TASK, "SELECT " TASK_COLUMNS ", seq FROM tasks WHERE queue=?1 AND id=?2")                \
	X(TASKS, "SELECT " TASK_COLUMNS ", seq FROM tasks WHERE queue=?1 AND state=?2 AND "        \
		 "seq > ?3 AND due_ms <= ?4 ORDER BY seq LIMIT ?5")                                \
	X(USAGE_PRUNE,                                                                             \
	  "DELETE FROM usage WHERE window_start_s < ?1 AND window_start_s + window_seconds <= ?1 " \
	  "AND NOT is_open AND window_start_s < (SELECT DISTINCT window_start_s FROM usage AS u "  \
	  "WHERE u.account = usage.account ORDER BY window_start_s DESC LIMIT 1 OFFSET 1)")        \
	X(TASKS_PRUNE, "DELETE FROM tasks WHERE queue=?1 AND state=?2 AND created_ms < ?3")        \
	X(QUEUES, "SELECT queue, sum(state = ?1), sum(state = ?2), sum(state = ?3), "              \
		  "min(created_ms) FILTER (WHERE state = ?1) FROM tasks GROUP BY queue")           \
	X(ENTRY_PUT, "INSERT INTO lists(" ENTRY_COLUMNS ") VALUES(?1,?2,?3,?4,?5) "                \
		     "ON CONFLICT DO UPDATE SET list = excluded.list, "                            \
		     "created_ms = excluded.created_ms, until_ms = excluded.until_ms")             \
	X(ENTRY_REMOVE, "DELETE FROM lists WHERE address=?1 AND prefix_bits=?2")                   \
	X(ENTRIES_PRUNE, "DELETE FROM lists WHERE until_ms <> 0 AND until_ms <= ?1")               \
	X(ENTRIES, "SELECT " ENTRY_COLUMNS " FROM lists")

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
 * Translate @code, the result of the last call on the connection, to 0 or a negative errno, and
 * save SQLite's message for an error. 0 for SQLITE_OK, SQLITE_ROW and SQLITE_DONE.
 */
int sqlite_fail(struct sqlite *s, int code);

/* Run statements that return no rows. */
int sqlite_exec(struct sqlite *s, const char *sql);

/* 0 or -ENOTCONN. */
int sqlite_check_open(struct sqlite *s);

/*
 * Begin a transaction and take the write lock. -EBUSY if another process holds it, -ENOTCONN if the
 * file is not open.
 */
int sqlite_begin(struct sqlite *s);

/* Commit if @err is 0, else roll back. Returns @err, or the error of the commit. */
int sqlite_end(struct sqlite *s, int err);

/*
 * Using statements; in records.c. A statement only borrows bound strings, so bind every parameter
 * again before each use.
 */
sqlite3_stmt *sqlite_statement(struct sqlite *s, enum sqlite_statement which);
#define STATEMENT(s, name) sqlite_statement(s, SQLITE_##name##_STATEMENT)

void sqlite_bind_u64(sqlite3_stmt *stmt, int column, uint64_t value);
void sqlite_bind_text(sqlite3_stmt *stmt, int column, const char *text); /* accepts NULL */
void sqlite_bind_limit(sqlite3_stmt *stmt, int column, uint64_t limit);	 /* capped at INT64_MAX */
uint64_t sqlite_u64(sqlite3_stmt *stmt, int column);
void sqlite_text(sqlite3_stmt *stmt, int column, char *ret_text, size_t size);

/* Run a statement that returns no rows, and reset it for its next use. */
int sqlite_run(struct sqlite *s, sqlite3_stmt *stmt);

/* The same for a change of exactly one row. -ENOENT if the row does not exist. */
int sqlite_run_on_one(struct sqlite *s, sqlite3_stmt *stmt);

/*
 * Return all rows of @stmt as one malloc'd array of records of @size bytes, or NULL if there are
 * none. @read fills in one record, which is zero before.
 */
int sqlite_list(struct sqlite *s, sqlite3_stmt *stmt,
		int (*read)(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record), size_t size,
		void **ret_rows, size_t *ret_count);

/* Call it within a transaction. */
int sqlite_add_key(struct sqlite *s, const struct store_key *key);

/* The operations of struct store_engine_ops: in records.c... */
int sqlite_load(struct store_engine *engine, const struct store_visitor *visitor, void *visitor_arg,
		uint32_t day, uint32_t month_day);
int sqlite_account_add(struct store_engine *engine, const struct store_account_change *change);
int sqlite_account_delete(struct store_engine *engine, uint64_t account, bool drops_usage);
int sqlite_account_set(struct store_engine *engine, const struct store_account_change *change);
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
int sqlite_usage_open(struct store_engine *engine, const struct store_usage_query *query,
		      struct store_usage **ret_rows, size_t *ret_count);
int sqlite_keys_revoke(struct store_engine *engine, uint64_t account, uint64_t revoked_ms);

/* ...in lists.c... */
int sqlite_read_entry(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record);
int sqlite_entry_put(struct store_engine *engine, const struct store_entry *entry);
int sqlite_entry_remove(struct store_engine *engine, const struct cidr *block);
int sqlite_entries_prune(struct store_engine *engine, uint64_t ended_by_ms);

/* ...in migrate.c... */
int sqlite_usage_dump(struct store_engine *engine,
		      int (*visit)(void *arg, const struct store_usage *rows, size_t count),
		      void *arg);
int sqlite_usage_restore(struct store_engine *engine, const struct store_usage *rows, size_t count);
int sqlite_set_id(struct store_engine *engine, const uint8_t id[STORE_ID_BYTES]);
int sqlite_is_used(struct store_engine *engine, bool *ret_is_used);

/* ...and in tasks.c. */
/*
 * Add the tasks that do not exist yet. Runs within a transaction. @ret_fresh says which were added;
 * it may be NULL.
 */
int sqlite_add_fresh_tasks(struct sqlite *s, const struct store_task *tasks, size_t count,
			   bool *ret_fresh);
int sqlite_tasks_add(struct store_engine *engine, const struct store_task *tasks, size_t count,
		     bool *ret_fresh);
int sqlite_tasks_list(struct store_engine *engine, const struct store_task_query *query,
		      struct store_task **ret_tasks, size_t *ret_count);
int sqlite_tasks_set(struct store_engine *engine, const struct store_task *tasks, size_t count);
int sqlite_tasks_prune(struct store_engine *engine, const char *queue, uint64_t before_ms);
int sqlite_usage_prune(struct store_engine *engine, uint64_t before_s);
int sqlite_queues_count(struct store_engine *engine, struct store_queue_count **ret_rows,
			size_t *ret_count);
int sqlite_usage_close(struct store_engine *engine, const struct store_usage *rows,
		       size_t row_count, const struct store_task *tasks, size_t task_count);
int sqlite_key_claim(struct store_engine *engine, const struct store_task *claim,
		     const struct store_key *key);

#endif
