/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sqlite: the embedded engine: the file, its schema, and SQLite's errors.
 *
 * There is one connection, with WAL and synchronous=FULL. A file that is refused (of another
 * program, newer, or with another pepper) stays unchanged, byte for byte: all checks come before
 * the first write, and a WAL that another process left behind is not checkpointed.
 */
#include "store/sqlite/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/text.h"

#define BUSY_MS	       250	  /* longer than a write of the other agent during a handoff */
#define APPLICATION_ID 0x746f6c6c /* "toll" */

#define AHEAD_BYTES (1LL << 30)
#define AHEAD_STEP  (1 << 20)

/* Where SQLite files have the application id: https://sqlite.org/fileformat.html, section 1.3 */
#define HEADER_BYTES	      100
#define HEADER_MAGIC	      "SQLite format 3" /* including its NUL */
#define HEADER_APPLICATION_ID 68

/*
 * steps[n] migrates the schema from version n to version n + 1. Never change a step that was
 * released. Never change the table `meta`, which is read before the migration.
 */
static const char *const steps[] = {
	"CREATE TABLE meta(one INTEGER PRIMARY KEY CHECK(one = 1), store_id BLOB NOT NULL,"
	" pepper_check BLOB NOT NULL) STRICT;"

	"CREATE TABLE accounts(id INTEGER PRIMARY KEY, status TEXT NOT NULL, is_held INTEGER NOT "
	"NULL,"
	" created_ms INTEGER NOT NULL, past_due_ms INTEGER NOT NULL, tier TEXT NOT NULL,"
	" customer TEXT NOT NULL, subscription TEXT NOT NULL, label TEXT NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX accounts_subscription ON accounts(subscription) WHERE subscription <> "
	"'';"

	/* seq is the order of creation. */
	"CREATE TABLE keys(seq INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE,"
	" account INTEGER NOT NULL REFERENCES accounts(id), hash BLOB NOT NULL UNIQUE,"
	" created_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL, hint TEXT NOT NULL,"
	" label TEXT NOT NULL) STRICT;"
	"CREATE INDEX keys_account ON keys(account);"

	/* The window comes first, so that the rows written every second are neighbours. */
	"CREATE TABLE usage(window_start_s INTEGER NOT NULL, account INTEGER NOT NULL,"
	" window_seconds INTEGER NOT NULL, epoch INTEGER NOT NULL, requests INTEGER NOT NULL,"
	" units INTEGER NOT NULL, PRIMARY KEY(window_start_s, account, window_seconds, epoch))"
	" STRICT, WITHOUT ROWID;"
	"CREATE INDEX usage_account ON usage(account, window_start_s);"

	"CREATE TABLE quota(period_kind INTEGER NOT NULL, period INTEGER NOT NULL,"
	" account INTEGER NOT NULL, epoch INTEGER NOT NULL, units INTEGER NOT NULL,"
	" PRIMARY KEY(period_kind, period, account, epoch)) STRICT, WITHOUT ROWID;",

	"ALTER TABLE accounts ADD COLUMN period_start_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN period_end_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN trial_end_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN cancel_at_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN as_of_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN price TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE accounts ADD COLUMN email TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE accounts ADD COLUMN features TEXT NOT NULL DEFAULT '';"

	/*
	 * Usage from before there was billing is closed. is_open means units > closed_units. It is
	 * a column because an index on the comparison itself would be updated with every count.
	 */
	"ALTER TABLE usage ADD COLUMN closed_units INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE usage ADD COLUMN closings INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE usage ADD COLUMN is_open INTEGER NOT NULL DEFAULT 0;"
	"UPDATE usage SET closed_units = units;"
	"CREATE INDEX usage_open ON usage(window_start_s + window_seconds, window_start_s,"
	" account, window_seconds) WHERE is_open;"
	"CREATE INDEX usage_open_account ON usage(account, window_start_s) WHERE is_open;"

	/* AUTOINCREMENT: readers continue after the last seq they saw, so no seq may be reused. */
	"CREATE TABLE tasks(seq INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL,"
	" id TEXT NOT NULL, object TEXT NOT NULL, account INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, tried_ms INTEGER NOT NULL,"
	" attempts INTEGER NOT NULL, state INTEGER NOT NULL, note TEXT NOT NULL, body TEXT,"
	" UNIQUE(queue, id)) STRICT;"
	/*
	 * With the times in the index, tasks that are not due are skipped without reading the row.
	 */
	"CREATE INDEX tasks_state ON tasks(queue, state, seq, due_ms, created_ms);",

	"CREATE TABLE lists(address BLOB NOT NULL, prefix_bits INTEGER NOT NULL,"
	" list INTEGER NOT NULL, created_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,"
	" PRIMARY KEY(address, prefix_bits)) STRICT, WITHOUT ROWID;",

	"ALTER TABLE accounts ADD COLUMN mode INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN usage_start_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN usage_end_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN disputes TEXT NOT NULL DEFAULT '';",

	"ALTER TABLE accounts ADD COLUMN seats INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN reference TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE accounts ADD COLUMN metadata TEXT NOT NULL DEFAULT '';",
};

#define SCHEMA_VERSION (sizeof(steps) / sizeof(steps[0]))

static const char *const statement_sql[] = {
#define X(name, sql) [SQLITE_##name##_STATEMENT] = sql,
	SQLITE_STATEMENTS(X)
#undef X
};

/* Save our own message for an error that SQLite has no message for. Returns @err. */
static int refuse(struct sqlite *s, int err, const char *why)
{
	snprintf(s->engine.error, sizeof(s->engine.error), "%s: %s", s->path, why);
	return err;
}

static int errno_of_constraint(int code)
{
	switch (code) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return -EEXIST;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return -ENOENT;
	default:
		return -EINVAL;
	}
}

/* The errno of a failed read or write. SQLite's own codes report ENOSPC only, and not EDQUOT. */
static int errno_of_system(int system_errno)
{
	switch (system_errno) {
	case ENOSPC:
	case EDQUOT:
		return -ENOSPC;
	case EACCES:
	case EROFS:
	case ENOENT:
		return -system_errno;
	default:
		return -EIO;
	}
}

static int errno_of(sqlite3 *db, int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
		return -EUCLEAN;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_CONSTRAINT:
		return errno_of_constraint(code);
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (code == SQLITE_IOERR_NOMEM)
			return -ENOMEM;
		return errno_of_system(db ? sqlite3_system_errno(db) : 0);
	default:
		return -EIO;
	}
}

int sqlite_fail(struct sqlite *s, int code)
{
	int err = errno_of(s->db, code);

	if (err)
		refuse(s, err, s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(code));
	return err;
}

int sqlite_exec(struct sqlite *s, const char *sql)
{
	return sqlite_fail(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

int sqlite_check_open(struct sqlite *s)
{
	return s->db ? 0 : refuse(s, -ENOTCONN, "the store is not open");
}

int sqlite_begin(struct sqlite *s)
{
	int err = sqlite_check_open(s);

	return err ? err : sqlite_exec(s, "BEGIN IMMEDIATE");
}

int sqlite_end(struct sqlite *s, int err)
{
	if (!err)
		err = sqlite_exec(s, "COMMIT");
	/* SQLite rolls back by itself after some errors, but not after a failed commit. */
	if (err && !sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}

/*
 * Read the file once from start to end, so that the kernel caches it. The load needs all of it, and
 * reading its trees page by page from a cold disk takes ten times as long. posix_fadvise(WILLNEED)
 * did not help.
 */
static void read_ahead(int fd)
{
	char *step = malloc(AHEAD_STEP);

	for (off_t at = 0; step && at < AHEAD_BYTES; at += AHEAD_STEP) {
		if (pread(fd, step, AHEAD_STEP, at) <= 0)
			break;
	}
	free(step);
}

/*
 * Create the file if it does not exist, with mode 0600 from the start; SQLite gives its -wal and
 * -shm the same mode. Check its header without SQLite, because SQLite would first run a recovery,
 * even on another program's file.
 */
static int check_file(struct sqlite *s)
{
	unsigned char header[HEADER_BYTES];
	struct stat st;
	ssize_t got = 0;
	uint32_t id;
	int fd, err = 0;

	fd = open(s->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return refuse(s, -errno,
			      errno == ELOOP ? "is a symbolic link; use the path of the file itself"
					     : strerror(errno));
	if (fstat(fd, &st))
		err = refuse(s, -errno, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err = refuse(s, -EUCLEAN, "is not a regular file");
	else if ((got = pread(fd, header, sizeof(header), 0)) < 0)
		err = refuse(s, -errno, strerror(errno));
	else
		read_ahead(fd);
	close(fd);
	if (err || !got)
		return err;
	if (got < HEADER_BYTES || memcmp(header, HEADER_MAGIC, sizeof(HEADER_MAGIC)))
		return refuse(s, -EUCLEAN, "is not an SQLite database");
	memcpy(&id, header + HEADER_APPLICATION_ID, sizeof(id));
	if (be32toh(id) != APPLICATION_ID)
		return refuse(s, -EUCLEAN, "is another program's database");
	return 0;
}

/* Run @sql, which returns a single number. */
static int read_number(struct sqlite *s, const char *sql, int64_t *ret_number)
{
	sqlite3_stmt *stmt;
	int err = sqlite_fail(s, sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL));

	if (err)
		return err;
	err = sqlite_fail(s, sqlite3_step(stmt));
	if (!err)
		*ret_number = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return err;
}

static int read_meta(struct sqlite *s, const uint8_t pepper_check[STORE_HASH_BYTES],
		     uint8_t ret_id[STORE_ID_BYTES])
{
	sqlite3_stmt *stmt;
	int err =
		sqlite_fail(s, sqlite3_prepare_v2(s->db, "SELECT store_id, pepper_check FROM meta",
						  -1, &stmt, NULL));

	if (err)
		return err == -EIO ? -EUCLEAN : err; /* no such table */
	err = sqlite_fail(s, sqlite3_step(stmt));
	if (!err && (sqlite3_column_bytes(stmt, 0) != STORE_ID_BYTES ||
		     sqlite3_column_bytes(stmt, 1) != STORE_HASH_BYTES))
		err = refuse(s, -EUCLEAN, "the store has no valid id");
	else if (!err &&
		 !crypto_equal(sqlite3_column_blob(stmt, 1), pepper_check, STORE_HASH_BYTES))
		err = refuse(s, -EKEYREJECTED, "its keys were hashed with another pepper");
	else if (!err)
		memcpy(ret_id, sqlite3_column_blob(stmt, 0), STORE_ID_BYTES);
	sqlite3_finalize(stmt);
	return err;
}

static int write_meta(struct sqlite *s, const uint8_t pepper_check[STORE_HASH_BYTES],
		      uint8_t ret_id[STORE_ID_BYTES])
{
	sqlite3_stmt *stmt;
	int err = crypto_random(ret_id, STORE_ID_BYTES);

	if (err)
		return err;
	err = sqlite_fail(s, sqlite3_prepare_v2(s->db, "INSERT INTO meta VALUES(1, ?1, ?2)", -1,
						&stmt, NULL));
	if (err)
		return err;
	sqlite3_bind_blob(stmt, 1, ret_id, STORE_ID_BYTES, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 2, pepper_check, STORE_HASH_BYTES, SQLITE_STATIC);
	err = sqlite_fail(s, sqlite3_step(stmt));
	sqlite3_finalize(stmt);
	return err;
}

/* Migrate the schema from @version to the latest version. */
static int migrate(struct sqlite *s, size_t version)
{
	char pragmas[96];
	int err;

	for (size_t i = version; i < SCHEMA_VERSION; i++) {
		err = sqlite_exec(s, steps[i]);
		if (err)
			return err;
	}
	snprintf(pragmas, sizeof(pragmas), "PRAGMA application_id = %d; PRAGMA user_version = %zu",
		 APPLICATION_ID, SCHEMA_VERSION);
	return sqlite_exec(s, pragmas);
}

static int prepare_statements(struct sqlite *s)
{
	for (size_t i = 0; i < SQLITE_STATEMENT_COUNT; i++) {
		int err = sqlite_fail(s, sqlite3_prepare_v3(s->db, statement_sql[i], -1,
							    SQLITE_PREPARE_PERSISTENT,
							    &s->statements[i], NULL));

		if (err)
			return err == -EIO ? -EUCLEAN : err; /* a table or column is missing */
	}
	return 0;
}

/*
 * Check that the file is a store of ours which this program can use, and migrate its schema.
 * Creates the tables in an empty file. Runs within a transaction.
 */
static int check_store(struct sqlite *s, const uint8_t pepper_check[STORE_HASH_BYTES],
		       uint8_t ret_id[STORE_ID_BYTES])
{
	int64_t tables, version, application;
	int err = read_number(s, "SELECT count(*) FROM sqlite_schema", &tables);

	if (!err)
		err = read_number(s, "PRAGMA application_id", &application);
	if (!err)
		err = read_number(s, "PRAGMA user_version", &version);
	if (err)
		return err;
	if (!tables && !application) {
		err = migrate(s, 0);
		if (!err)
			err = write_meta(s, pepper_check, ret_id);
		return err ? err : prepare_statements(s);
	}
	if (application != APPLICATION_ID || version < 1)
		return refuse(s, -EUCLEAN, "is another program's database");
	if (version > (int64_t)SCHEMA_VERSION)
		return refuse(s, -ENOTSUP, "was written by a newer tollgate");
	err = read_meta(s, pepper_check, ret_id);
	if (!err && version < (int64_t)SCHEMA_VERSION)
		err = migrate(s, (size_t)version);
	return err ? err : prepare_statements(s);
}

/* Switch to WAL. The mode is stored in the file, so this changes nothing in an existing store. */
static int use_wal(struct sqlite *s)
{
	sqlite3_stmt *stmt;
	bool is_wal;
	int err = sqlite_fail(
		s, sqlite3_prepare_v2(s->db, "PRAGMA journal_mode=WAL", -1, &stmt, NULL));

	if (err)
		return err;
	err = sqlite_fail(s, sqlite3_step(stmt));
	is_wal = !err && !strcmp((const char *)sqlite3_column_text(stmt, 0), "wal");
	sqlite3_finalize(stmt);
	if (!err && !is_wal)
		err = refuse(s, -EIO,
			     "its file system does not support SQLite's write-ahead log; put the "
			     "store on a local file system");
	return err;
}

/*
 * Check the tables that enforcement needs (0.3 s for 1,000,000 keys). Usage is not checked: it may
 * be many times as large, and SQLite reports a corrupt page when it is read.
 */
static int check_pages(struct sqlite *s)
{
	static const char *const checks[] = { "PRAGMA quick_check(accounts)",
					      "PRAGMA quick_check(keys)",
					      "PRAGMA quick_check(quota)",
					      "PRAGMA quick_check(lists)" };
	int err = 0;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]) && !err; i++) {
		sqlite3_stmt *stmt;
		const char *result;

		err = sqlite_fail(s, sqlite3_prepare_v2(s->db, checks[i], -1, &stmt, NULL));
		if (err)
			return err;
		err = sqlite_fail(s, sqlite3_step(stmt));
		result = err ? NULL : (const char *)sqlite3_column_text(stmt, 0);
		if (result && strcmp(result, "ok"))
			err = refuse(s, -EUCLEAN, result);
		sqlite3_finalize(stmt);
	}
	return err;
}

static int connect_db(struct sqlite *s)
{
	int code, flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
			  SQLITE_OPEN_EXRESCODE;

	code = sqlite3_open_v2(s->path, &s->db, flags, NULL);
	if (code != SQLITE_OK)
		return sqlite_fail(s, code);
	sqlite3_busy_timeout(s->db, BUSY_MS);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return sqlite_exec(s, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
			      "PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY");
}

static void close_db(struct sqlite *s)
{
	for (size_t i = 0; i < SQLITE_STATEMENT_COUNT; i++) {
		sqlite3_finalize(s->statements[i]);
		s->statements[i] = NULL;
	}
	sqlite3_close(s->db);
	s->db = NULL;
}

/* Whether there is a WAL that is not empty. */
static bool has_wal(const struct sqlite *s)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s-wal", s->path);
	return !stat(path, &st) && st.st_size > 0;
}

static int sqlite_open(struct store_engine *engine, const uint8_t pepper_check[STORE_HASH_BYTES],
		       uint8_t ret_id[STORE_ID_BYTES])
{
	struct sqlite *s = (struct sqlite *)engine;
	bool had_wal;
	int err;

	close_db(s);
	err = check_file(s);
	if (err)
		return err;
	had_wal = has_wal(s);
	err = connect_db(s);
	if (!err)
		err = sqlite_begin(s);
	if (!err)
		err = sqlite_end(s, check_store(s, pepper_check, ret_id));
	if (!err)
		err = check_pages(s);
	if (!err)
		err = use_wal(s);
	if (err) {
		if (s->db && had_wal)
			sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		close_db(s);
	}
	return err;
}

static void sqlite_free(struct store_engine *engine)
{
	struct sqlite *s = (struct sqlite *)engine;

	close_db(s);
	free(s->path);
	free(s);
}

static int sqlite_new(const char *location, unsigned timeout_ms, struct store_engine **ret_engine)
{
	struct sqlite *s;

	(void)timeout_ms;
	if (!*location)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->engine.ops = &store_sqlite_ops;
	s->path = strdup(location);
	if (!s->path) {
		free(s);
		return -ENOMEM;
	}
	*ret_engine = &s->engine;
	return 0;
}

static int sqlite_check(const char *location, char *ret_why, size_t why_size)
{
	if (*location)
		return 0;
	snprintf(ret_why, why_size, "expected sqlite:FILE");
	return -EINVAL;
}

const struct store_engine_ops store_sqlite_ops = {
	.scheme = "sqlite:",
	.check = sqlite_check,
	.new = sqlite_new,
	.free = sqlite_free,
	.open = sqlite_open,
	.load = sqlite_load,
	.account_add = sqlite_account_add,
	.account_set = sqlite_account_set,
	.account_delete = sqlite_account_delete,
	.keys_add = sqlite_keys_add,
	.key_rotate = sqlite_key_rotate,
	.key_revoke = sqlite_key_revoke,
	.keys_revoke = sqlite_keys_revoke,
	.key_claim = sqlite_key_claim,
	.keys_list = sqlite_keys_list,
	.usage_put = sqlite_usage_put,
	.usage_list = sqlite_usage_list,
	.usage_open = sqlite_usage_open,
	.usage_close = sqlite_usage_close,
	.tasks_add = sqlite_tasks_add,
	.tasks_list = sqlite_tasks_list,
	.tasks_set = sqlite_tasks_set,
	.tasks_prune = sqlite_tasks_prune,
	.usage_prune = sqlite_usage_prune,
	.queues_count = sqlite_queues_count,
	.entry_put = sqlite_entry_put,
	.entry_remove = sqlite_entry_remove,
	.entries_prune = sqlite_entries_prune,
	.usage_dump = sqlite_usage_dump,
	.usage_restore = sqlite_usage_restore,
	.set_id = sqlite_set_id,
	.is_used = sqlite_is_used,
};
