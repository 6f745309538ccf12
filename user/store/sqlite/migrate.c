/* SPDX-License-Identifier: BSD-2-Clause */
/* sqlite_migrate: the calls that store_migrate() needs from the embedded engine. */
#include "store/sqlite/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int read_row(struct sqlite *s, sqlite3_stmt *stmt, void *ret_record)
{
	struct store_usage *row = ret_record;

	(void)s;
	row->account = sqlite_u64(stmt, 0);
	row->epoch = sqlite_u64(stmt, 1);
	row->window_start_s = sqlite_u64(stmt, 2);
	row->window_seconds = (uint32_t)sqlite_u64(stmt, 3);
	row->requests = sqlite_u64(stmt, 4);
	row->units = sqlite_u64(stmt, 5);
	row->closed_units = sqlite_u64(stmt, 6);
	row->closings = (uint32_t)sqlite_u64(stmt, 7);
	return 0;
}

int sqlite_usage_dump(struct store_engine *engine,
		      int (*visit)(void *arg, const struct store_usage *rows, size_t count),
		      void *arg)
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt = NULL;
	void *rows = NULL;
	size_t count = 0;
	int err = sqlite_check_open(s);

	if (!err)
		err = sqlite_fail(s, sqlite3_prepare_v2(s->db,
							"SELECT account, epoch, window_start_s, "
							"window_seconds, requests, units, "
							"closed_units, closings FROM usage",
							-1, &stmt, NULL));
	if (!err)
		err = sqlite_list(s, stmt, read_row, sizeof(struct store_usage), &rows, &count);
	if (!err)
		err = visit(arg, rows, count);
	sqlite3_finalize(stmt);
	free(rows);
	return err;
}

int sqlite_usage_restore(struct store_engine *engine, const struct store_usage *rows, size_t count)
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt = NULL;
	int err = sqlite_begin(s);

	if (err)
		return err;
	err = sqlite_fail(s, sqlite3_prepare_v2(s->db,
						"INSERT INTO usage(account, epoch, window_start_s, "
						"window_seconds, requests, units, closed_units, "
						"closings, is_open) "
						"VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?6 > ?7)",
						-1, &stmt, NULL));
	for (size_t i = 0; i < count && !err; i++) {
		sqlite_bind_u64(stmt, 1, rows[i].account);
		sqlite_bind_u64(stmt, 2, rows[i].epoch);
		sqlite_bind_u64(stmt, 3, rows[i].window_start_s);
		sqlite_bind_u64(stmt, 4, rows[i].window_seconds);
		sqlite_bind_u64(stmt, 5, rows[i].requests);
		sqlite_bind_u64(stmt, 6, rows[i].units);
		sqlite_bind_u64(stmt, 7, rows[i].closed_units);
		sqlite_bind_u64(stmt, 8, rows[i].closings);
		err = sqlite_run(s, stmt);
	}
	sqlite3_finalize(stmt);
	return sqlite_end(s, err);
}

int sqlite_set_id(struct store_engine *engine, const uint8_t id[STORE_ID_BYTES])
{
	struct sqlite *s = (struct sqlite *)engine;
	sqlite3_stmt *stmt = NULL;
	int err = sqlite_begin(s);

	if (err)
		return err;
	err = sqlite_fail(
		s, sqlite3_prepare_v2(s->db, "UPDATE meta SET store_id = ?1", -1, &stmt, NULL));
	if (!err) {
		sqlite3_bind_blob(stmt, 1, id, STORE_ID_BYTES, SQLITE_STATIC);
		err = sqlite_run(s, stmt);
	}
	sqlite3_finalize(stmt);
	return sqlite_end(s, err);
}

/*
 * An agent locks its state directory, and its store is in that directory by default. An agent whose
 * store was configured elsewhere is not noticed.
 */
int sqlite_is_used(struct store_engine *engine, bool *ret_is_used)
{
	const struct sqlite *s = (const struct sqlite *)engine;
	const char *slash = strrchr(s->path, '/');
	char path[4096];
	int fd;

	*ret_is_used = false;
	if (snprintf(path, sizeof(path), "%.*slock", slash ? (int)(slash - s->path) + 1 : 0,
		     s->path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	*ret_is_used = flock(fd, LOCK_EX | LOCK_NB) != 0;
	close(fd);
	return 0;
}
