/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_file_test: the file of a store: its mode, and files that are refused and stay unchanged.
 *
 * A child acts as the other process, because POSIX locks do not work within one process.
 */
#include "unit/store/store_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <sqlite3.h>

struct content {
	char *data;
	size_t len;
};

static struct content read_file(const char *path)
{
	struct content content = { 0 };
	struct stat st;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	content.len = (size_t)st.st_size;
	content.data = malloc(content.len + 1);
	assert_int_equal(read(fd, content.data, content.len), content.len);
	close(fd);
	return content;
}

static void write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/* Run @sql on the file, like another program. */
static void run_sql(const struct fixture *f, const char *sql)
{
	sqlite3 *db;
	char *error = NULL;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s", error);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Make a store with an account and a key, and close it. */
static void make_store(struct fixture *f)
{
	struct store_key key = make_key(1, 7);

	fixture_open(f);
	add_account(f, 7);
	assert_int_equal(keys_add(f, &key, 1), 0);
	fixture_free_store(f);
	fixture_new_store(f);
}

/* The file is refused twice with @err and a message with @words, and stays unchanged. */
static void expect_refused(struct fixture *f, int err, const char *words)
{
	struct content before = read_file(f->path), after;
	char wal[128];

	for (int i = 0; i < 2; i++) {
		assert_int_equal(fixture_try_open(f), err);
		if (!strstr(store_error(f->store), words))
			fail_msg("'%s' does not say '%s'", store_error(f->store), words);
	}
	fixture_free_store(f);
	after = read_file(f->path);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.data, before.data, before.len);
	free(before.data);
	free(after.data);
	snprintf(wal, sizeof(wal), "%s-wal", f->path);
	assert_int_not_equal(access(wal, F_OK), 0);
}

static void a_new_file_is_private(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	struct fixture *f = *state;
	mode_t before = umask(0);

	fixture_open(f);
	add_account(f, 7);
	for (size_t i = 0; i < 3; i++) {
		char path[128];
		struct stat st;

		snprintf(path, sizeof(path), "%s%s", f->path, suffixes[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	umask(before);
}

static void the_id_stays_and_differs_between_stores(void **state)
{
	struct fixture *f = *state;
	uint8_t id[STORE_ID_BYTES], none[STORE_ID_BYTES] = { 0 };

	fixture_open(f);
	memcpy(id, store_id(f->store), sizeof(id));
	assert_memory_not_equal(id, none, sizeof(id));
	fixture_reopen(f);
	assert_memory_equal(store_id(f->store), id, sizeof(id));
	fixture_free_store(f);
	unlink(f->path);
	fixture_new_store(f);
	fixture_open(f);
	assert_memory_not_equal(store_id(f->store), id, sizeof(id));
}

static void another_pepper_is_refused(void **state)
{
	struct fixture *f = *state;

	make_store(f);
	f->pepper[31] = 1;
	expect_refused(f, -EKEYREJECTED, "another pepper");
}

static void a_newer_schema_is_refused(void **state)
{
	struct fixture *f = *state;

	make_store(f);
	run_sql(f, "PRAGMA user_version = 1000");
	expect_refused(f, -ENOTSUP, "newer tollgate");
}

static void another_programs_database_is_refused(void **state)
{
	struct fixture *f = *state;

	run_sql(f, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
	expect_refused(f, -EUCLEAN, "another program's database");
}

static void our_id_without_our_tables_is_refused(void **state)
{
	struct fixture *f = *state;

	make_store(f);
	run_sql(f, "DROP TABLE usage");
	expect_refused(f, -EUCLEAN, "no such table");
}

static void a_file_that_is_not_a_database_is_refused(void **state)
{
	struct fixture *f = *state;
	char text[4096];

	memset(text, 'x', sizeof(text));
	write_file(f->path, text, sizeof(text));
	expect_refused(f, -EUCLEAN, "is not an SQLite database");
}

static void a_short_file_is_refused(void **state)
{
	struct fixture *f = *state;

	write_file(f->path, "SQLite", 6);
	expect_refused(f, -EUCLEAN, "is not an SQLite database");
}

static void a_corrupt_page_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store_key keys[1000];
	struct content content;

	fixture_open(f);
	add_account(f, 7);
	for (unsigned i = 0; i < 1000; i++)
		keys[i] = make_key(i + 1, 7);
	assert_int_equal(keys_add(f, keys, 1000), 0);
	fixture_free_store(f);
	fixture_new_store(f);
	content = read_file(f->path);
	assert_true(content.len > 40 * 4096);
	memset(content.data + 30 * 4096, 0xa5, 4096);
	write_file(f->path, content.data, content.len);
	free(content.data);
	expect_refused(f, -EUCLEAN, "");
}

static void a_truncated_file_is_refused(void **state)
{
	struct fixture *f = *state;
	struct content content;

	make_store(f);
	content = read_file(f->path);
	write_file(f->path, content.data, content.len / 2);
	free(content.data);
	expect_refused(f, -EUCLEAN, "malformed");
}

static void a_malformed_record_ends_the_load(void **state)
{
	struct fixture *f = *state;

	make_store(f);
	run_sql(f, "UPDATE accounts SET status = 'rich'");
	fixture_open(f);
	assert_int_equal(load(f), -EUCLEAN);
	assert_non_null(strstr(store_error(f->store), "0000000000000007 has an unknown status"));
}

static void unusable_paths_are_reported(void **state)
{
	struct fixture *f = *state;
	char path[96];

	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_int_equal(fixture_try_open(f), -EISDIR);
	assert_non_null(strstr(store_error(f->store), "Is a directory"));
	rmdir(f->path);

	assert_int_equal(symlink("/tmp/tollgate-elsewhere", f->path), 0);
	assert_int_equal(fixture_try_open(f), -ELOOP);
	assert_non_null(strstr(store_error(f->store), "symbolic link"));
	unlink(f->path);

	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(fixture_try_open(f), -EUCLEAN);
	unlink(f->path);

	strcpy(path, f->path);
	fixture_free_store(f);
	snprintf(f->path, sizeof(f->path), "%.60s/none/s.db", f->folder);
	fixture_new_store(f);
	assert_int_equal(fixture_try_open(f), -ENOENT);
	strcpy(f->path, path);
}

/* Start a child that runs @sql on the file, and keeps its connection until it is killed. */
static pid_t hold(const struct fixture *f, const char *sql)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		sqlite3 *db;

		if (sqlite3_open(f->path, &db) || sqlite3_exec(db, sql, NULL, NULL, NULL) ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void release(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void a_locked_store_is_busy_and_opens_later(void **state)
{
	static const struct {
		const char *sql, *why;
	} rows[] = {
		{ "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM quota; COMMIT",
		  "no reader" },
		{ "BEGIN IMMEDIATE", "no second writer" },
	};
	struct fixture *f = *state;

	make_store(f);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pid_t pid = hold(f, rows[i].sql);

		for (int try = 0; try < 2; try++) {
			if (fixture_try_open(f) != -EBUSY)
				fail_msg("%s: %d", rows[i].why, f->err);
			assert_non_null(strstr(store_error(f->store), "locked"));
		}
		release(pid);
		fixture_open(f);
		fixture_load(f);
		assert_int_equal(f->key_count, 1);
		fixture_reopen(f);
		fixture_free_store(f);
		fixture_new_store(f);
	}
}

static void a_concurrent_write_is_busy_while_reads_continue(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	fixture_open(f);
	add_account(f, 7);
	pid = hold(f, "BEGIN IMMEDIATE");
	assert_int_equal(account_add(f, &(struct store_account){ .id = 8 }), -EBUSY);
	fixture_load(f);
	assert_int_equal(f->account_count, 1);
	release(pid);
	add_account(f, 8);
}

/* The WAL of a killed process is not lost, and is not touched when the store is refused. */
static void a_leftover_wal_is_recovered_only_if_the_store_opens(void **state)
{
	struct fixture *f = *state;
	struct content before, after;
	char wal[128];
	pid_t pid;

	make_store(f);
	pid = hold(f, "INSERT INTO "
		      "accounts(id,status,is_held,created_ms,past_due_ms,tier,customer,"
		      "subscription,label) VALUES(9,'active',0,1,0,'t','','','')");
	release(pid);
	snprintf(wal, sizeof(wal), "%s-wal", f->path);
	before = read_file(wal);
	assert_true(before.len > 0);
	f->pepper[31] = 1;
	assert_int_equal(fixture_try_open(f), -EKEYREJECTED);
	after = read_file(wal);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.data, before.data, before.len);
	free(before.data);
	free(after.data);
	f->pepper[31] = 0;
	fixture_open(f);
	fixture_load(f);
	assert_int_equal(f->account_count, 2);
}

/* Runs in a child with its own mount namespace, on a file system of 512 KiB. */
static int fill_disk(struct fixture *f)
{
	struct store_account account = { .id = 7 };
	unsigned written = 0;
	int err = 0;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tollgate", f->folder, "tmpfs", 0, "size=512k"))
		return 77;
	fixture_new_store(f);
	fixture_open(f);
	for (uint64_t id = 1; !err && id < 10000; id++) {
		account.id = id;
		memset(account.label, 'x', sizeof(account.label) - 1);
		err = account_add(f, &account);
		written += !err;
	}
	if (err != -ENOSPC || !written)
		return 1;
	if (load(f) || f->account_count != (written < FIXTURE_MAX ? written : FIXTURE_MAX))
		return 2;
	if (account_add(f, &account) != -ENOSPC) /* it stays full until there is room */
		return 3;
	return 0;
}

static void a_full_disk_loses_no_committed_data(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	fixture_free_store(f);
	pid = fork();
	if (!pid)
		_exit(fill_disk(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("skipped: needs root for a mount namespace\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_file_is_private),
		TEST(the_id_stays_and_differs_between_stores),
		TEST(another_pepper_is_refused),
		TEST(a_newer_schema_is_refused),
		TEST(another_programs_database_is_refused),
		TEST(our_id_without_our_tables_is_refused),
		TEST(a_file_that_is_not_a_database_is_refused),
		TEST(a_short_file_is_refused),
		TEST(a_corrupt_page_is_refused),
		TEST(a_truncated_file_is_refused),
		TEST(a_malformed_record_ends_the_load),
		TEST(unusable_paths_are_reported),
		TEST(a_locked_store_is_busy_and_opens_later),
		TEST(a_concurrent_write_is_busy_while_reads_continue),
		TEST(a_leftover_wal_is_recovered_only_if_the_store_opens),
		TEST(a_full_disk_loses_no_committed_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
