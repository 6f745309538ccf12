/* SPDX-License-Identifier: BSD-2-Clause */
/* journal: changes and usage that wait on this host while Redis is unreachable. */
#include "store/redis/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "base/crypto.h"

#define PAGE_BYTES 4096

#define SCHEMA                                                                                   \
	"CREATE TABLE IF NOT EXISTS journal(one INTEGER PRIMARY KEY CHECK(one = 1), id INTEGER"  \
	" NOT NULL) STRICT;"                                                                     \
	"CREATE TABLE IF NOT EXISTS calls(seq INTEGER PRIMARY KEY AUTOINCREMENT, script INTEGER" \
	" NOT NULL, words BLOB NOT NULL, added_ms INTEGER NOT NULL, refused TEXT) STRICT;"       \
	"CREATE TABLE IF NOT EXISTS usage(account INTEGER NOT NULL, epoch INTEGER NOT NULL,"     \
	" window_start_s INTEGER NOT NULL, window_seconds INTEGER NOT NULL,"                     \
	" requests INTEGER NOT NULL, units INTEGER NOT NULL,"                                    \
	" PRIMARY KEY(account, epoch, window_start_s, window_seconds)) STRICT, WITHOUT ROWID;"   \
	"CREATE TABLE IF NOT EXISTS quota(account INTEGER NOT NULL, epoch INTEGER NOT NULL,"     \
	" period_kind INTEGER NOT NULL, period INTEGER NOT NULL, units INTEGER NOT NULL,"        \
	" PRIMARY KEY(account, epoch, period_kind, period)) STRICT, WITHOUT ROWID;"

/* X(name, SQL) */
#define STATEMENTS(X)                                                                              \
	X(ADD, "INSERT INTO calls(script, words, added_ms) VALUES(?1, ?2, ?3)")                    \
	X(FIRST,                                                                                   \
	  "SELECT seq, script, words FROM calls WHERE refused IS NULL ORDER BY seq LIMIT 1")       \
	X(DONE, "DELETE FROM calls WHERE seq = ?1")                                                \
	X(REFUSE, "UPDATE calls SET refused = ?2 WHERE seq = ?1")                                  \
	X(PUT_USAGE, "INSERT INTO usage VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET " \
		     "requests = max(requests, ?5), units = max(units, ?6)")                       \
	X(PUT_QUOTA, "INSERT INTO quota VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET "     \
		     "units = max(units, ?5)")                                                     \
	X(USAGE, "SELECT * FROM usage LIMIT ?1")                                                   \
	X(QUOTA, "SELECT * FROM quota LIMIT ?1")                                                   \
	X(END_USAGE,                                                                               \
	  "DELETE FROM usage WHERE account = ?1 AND epoch = ?2 AND window_start_s = ?3 "           \
	  "AND window_seconds = ?4 AND requests = ?5 AND units = ?6")                              \
	X(END_QUOTA, "DELETE FROM quota WHERE account = ?1 AND epoch = ?2 AND period_kind = ?3 "   \
		     "AND period = ?4 AND units = ?5")                                             \
	X(COUNT, "SELECT (SELECT count(*) FROM calls WHERE refused IS NULL), "                     \
		 "(SELECT count(*) FROM calls WHERE refused IS NOT NULL), "                        \
		 "(SELECT count(*) FROM usage) + (SELECT count(*) FROM quota)")

enum statement {
#define X(name, sql) name##_STATEMENT,
	STATEMENTS(X)
#undef X
		STATEMENT_COUNT
};

static const char *const statement_sql[] = {
#define X(name, sql) sql,
	STATEMENTS(X)
#undef X
};

struct journal {
	sqlite3 *db;				   /* owned */
	sqlite3_stmt *statements[STATEMENT_COUNT]; /* owned */
	uint64_t id;
	uint64_t calls, refused, rows;
};

static int errno_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	default:
		return -EIO;
	}
}

static int exec(struct journal *j, const char *sql)
{
	return errno_of(sqlite3_exec(j->db, sql, NULL, NULL, NULL));
}

static int run(sqlite3_stmt *stmt)
{
	int err = errno_of(sqlite3_step(stmt));

	sqlite3_reset(stmt);
	return err;
}

static void bind_u64(sqlite3_stmt *stmt, int at, uint64_t value)
{
	sqlite3_bind_int64(stmt, at, (sqlite3_int64)value);
}

static uint64_t column(sqlite3_stmt *stmt, int at)
{
	return (uint64_t)sqlite3_column_int64(stmt, at);
}

static int end(struct journal *j, int err)
{
	if (!err)
		err = exec(j, "COMMIT");
	if (err && !sqlite3_get_autocommit(j->db))
		sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}

static int count(struct journal *j)
{
	sqlite3_stmt *stmt = j->statements[COUNT_STATEMENT];
	int err = errno_of(sqlite3_step(stmt));

	if (!err) {
		j->calls = column(stmt, 0);
		j->refused = column(stmt, 1);
		j->rows = column(stmt, 2);
	}
	sqlite3_reset(stmt);
	return err;
}

static int read_id(struct journal *j)
{
	sqlite3_stmt *stmt = NULL;
	uint64_t fresh;
	int err = crypto_random(&fresh, sizeof(fresh));

	if (!err)
		err = errno_of(sqlite3_prepare_v2(
			j->db, "INSERT OR IGNORE INTO journal VALUES(1, ?1)", -1, &stmt, NULL));
	if (!err) {
		bind_u64(stmt, 1, fresh);
		err = run(stmt);
	}
	sqlite3_finalize(stmt);
	stmt = NULL;
	if (!err)
		err = errno_of(
			sqlite3_prepare_v2(j->db, "SELECT id FROM journal", -1, &stmt, NULL));
	if (!err)
		err = errno_of(sqlite3_step(stmt));
	if (!err)
		j->id = column(stmt, 0);
	sqlite3_finalize(stmt);
	return err;
}

static int open_db(struct journal *j, const char *path, uint64_t max_bytes)
{
	char pragma[96];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), err;

	if (fd < 0)
		return -errno;
	close(fd);
	err = errno_of(sqlite3_open_v2(
		path, &j->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
		NULL));
	if (err)
		return err;
	snprintf(pragma, sizeof(pragma), "PRAGMA max_page_count = %llu",
		 (unsigned long long)(max_bytes / PAGE_BYTES));
	err = exec(j, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
	if (!err)
		err = exec(j, pragma);
	if (!err)
		err = exec(j, SCHEMA);
	for (size_t i = 0; i < STATEMENT_COUNT && !err; i++)
		err = errno_of(
			sqlite3_prepare_v2(j->db, statement_sql[i], -1, &j->statements[i], NULL));
	if (!err)
		err = read_id(j);
	return err ? err : count(j);
}

int journal_open(const char *path, uint64_t max_bytes, struct journal **ret_journal, char *ret_why,
		 size_t why_size)
{
	struct journal *j = calloc(1, sizeof(*j));
	int err = j ? open_db(j, path, max_bytes) : -ENOMEM;

	if (!err) {
		*ret_journal = j;
		return 0;
	}
	snprintf(ret_why, why_size, "%s: %s", path,
		 j && j->db ? sqlite3_errmsg(j->db) : strerror(-err));
	journal_close(j);
	return err;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(j->statements[i]);
	sqlite3_close(j->db);
	free(j);
}

uint64_t journal_id(const struct journal *j)
{
	return j->id;
}

uint64_t journal_waiting(const struct journal *j)
{
	return j->calls + j->rows;
}

uint64_t journal_refused(const struct journal *j)
{
	return j->refused;
}

/* ---- calls ---- */

/* The number of words that redis_function() puts before the function's name. */
#define WORDS_BEFORE 3

int journal_add_call(struct journal *j, enum redis_script script, const struct redis_args *args)
{
	sqlite3_stmt *stmt = j->statements[ADD_STATEMENT];
	struct buf words;
	int err = args->err;

	/* The format is the length of each word, followed by the word. */
	buf_init(&words, 1u << 30);
	for (size_t i = WORDS_BEFORE; i < args->count && !err; i++) {
		size_t at = args->ends[i - 1];
		uint32_t len = (uint32_t)(args->ends[i] - at);

		err = buf_append(&words, &len, sizeof(len));
		if (!err)
			err = buf_append(&words, args->bytes.data + args->bytes.start + at, len);
	}
	if (!err) {
		bind_u64(stmt, 1, script);
		sqlite3_bind_blob(stmt, 2, buf_head(&words), (int)buf_len(&words), SQLITE_STATIC);
		bind_u64(stmt, 3, clock_wall_ms());
		err = run(stmt);
	}
	buf_done(&words);
	j->calls += !err;
	return err;
}

int journal_first_call(struct journal *j, uint64_t *ret_seq, enum redis_script *ret_script,
		       struct redis_args *ret_args)
{
	sqlite3_stmt *stmt = j->statements[FIRST_STATEMENT];
	int code = sqlite3_step(stmt);
	const char *at = code == SQLITE_ROW ? sqlite3_column_blob(stmt, 2) : NULL;
	const char *stop = at ? at + sqlite3_column_bytes(stmt, 2) : NULL;
	uint32_t len;

	if (!at) {
		sqlite3_reset(stmt);
		return code == SQLITE_DONE ? -ENOENT : errno_of(code) ? errno_of(code) : -EUCLEAN;
	}
	*ret_seq = column(stmt, 0);
	*ret_script = (enum redis_script)column(stmt, 1);
	redis_function(ret_args, "@journal");
	redis_arg_id(ret_args, j->id);
	redis_arg_u64(ret_args, *ret_seq);
	while (stop - at > (ptrdiff_t)sizeof(len)) {
		memcpy(&len, at, sizeof(len));
		at += sizeof(len);
		if ((ptrdiff_t)len > stop - at)
			break;
		redis_arg_bytes(ret_args, at, len);
		at += len;
	}
	/* The last word may be empty; then only its length is left. */
	if (stop - at == (ptrdiff_t)sizeof(len)) {
		redis_arg_bytes(ret_args, "", 0);
		at = stop;
	}
	sqlite3_reset(stmt);
	if (at == stop && *ret_script < REDIS_SCRIPT_COUNT)
		return 0;
	redis_args_done(ret_args);
	return -EUCLEAN;
}

int journal_end_call(struct journal *j, uint64_t seq, const char *why)
{
	sqlite3_stmt *stmt = j->statements[why ? REFUSE_STATEMENT : DONE_STATEMENT];
	int err;

	bind_u64(stmt, 1, seq);
	if (why)
		sqlite3_bind_text(stmt, 2, why, -1, SQLITE_STATIC);
	err = run(stmt);
	if (err)
		return err;
	j->calls--;
	j->refused += why != NULL;
	return 0;
}

/* ---- usage ---- */

static void bind_usage(sqlite3_stmt *stmt, const struct store_usage *row)
{
	bind_u64(stmt, 1, row->account);
	bind_u64(stmt, 2, row->epoch);
	bind_u64(stmt, 3, row->window_start_s);
	bind_u64(stmt, 4, row->window_seconds);
	bind_u64(stmt, 5, row->requests);
	bind_u64(stmt, 6, row->units);
}

static void bind_quota(sqlite3_stmt *stmt, const struct store_quota *row)
{
	bind_u64(stmt, 1, row->account);
	bind_u64(stmt, 2, row->epoch);
	bind_u64(stmt, 3, row->period_kind);
	bind_u64(stmt, 4, row->period);
	bind_u64(stmt, 5, row->units);
}

/* Run one statement for each row of usage and another for each quota, in one transaction. */
static int each_row(struct journal *j, enum statement for_usage, enum statement for_quota,
		    const struct store_usage *usage, size_t usage_count,
		    const struct store_quota *quotas, size_t quota_count)
{
	int err = exec(j, "BEGIN IMMEDIATE");

	if (err)
		return err;
	for (size_t i = 0; i < usage_count && !err; i++) {
		bind_usage(j->statements[for_usage], &usage[i]);
		err = run(j->statements[for_usage]);
	}
	for (size_t i = 0; i < quota_count && !err; i++) {
		bind_quota(j->statements[for_quota], &quotas[i]);
		err = run(j->statements[for_quota]);
	}
	err = end(j, err);
	return err ? err : count(j);
}

int journal_add_usage(struct journal *j, const struct store_usage *usage, size_t usage_count,
		      const struct store_quota *quotas, size_t quota_count)
{
	return each_row(j, PUT_USAGE_STATEMENT, PUT_QUOTA_STATEMENT, usage, usage_count, quotas,
			quota_count);
}

int journal_end_usage(struct journal *j, const struct store_usage *usage, size_t usage_count,
		      const struct store_quota *quotas, size_t quota_count)
{
	return each_row(j, END_USAGE_STATEMENT, END_QUOTA_STATEMENT, usage, usage_count, quotas,
			quota_count);
}

int journal_read_usage(struct journal *j, struct store_usage *ret_usage, size_t *ret_usage_count,
		       struct store_quota *ret_quotas, size_t *ret_quota_count, size_t max)
{
	sqlite3_stmt *usage = j->statements[USAGE_STATEMENT];
	sqlite3_stmt *quota = j->statements[QUOTA_STATEMENT];
	int code;

	*ret_usage_count = *ret_quota_count = 0;
	bind_u64(usage, 1, max);
	while ((code = sqlite3_step(usage)) == SQLITE_ROW)
		ret_usage[(*ret_usage_count)++] = (struct store_usage){
			.account = column(usage, 0),
			.epoch = column(usage, 1),
			.window_start_s = column(usage, 2),
			.window_seconds = (uint32_t)column(usage, 3),
			.requests = column(usage, 4),
			.units = column(usage, 5),
		};
	sqlite3_reset(usage);
	bind_u64(quota, 1, max);
	while (code == SQLITE_DONE && (code = sqlite3_step(quota)) == SQLITE_ROW) {
		ret_quotas[(*ret_quota_count)++] = (struct store_quota){
			.account = column(quota, 0),
			.epoch = column(quota, 1),
			.period_kind = (uint32_t)column(quota, 2),
			.period = (uint32_t)column(quota, 3),
			.units = column(quota, 4),
		};
		code = SQLITE_DONE;
	}
	sqlite3_reset(quota);
	return errno_of(code);
}
