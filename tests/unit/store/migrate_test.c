/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * migrate_test: a store with an older schema is migrated without losing anything.
 *
 * The schemas here are exact copies of released ones. Never change them.
 */
#include "unit/store/store_fixture.h"

#include <sqlite3.h>

#include "tollgate/abi.h"

static const char version_1[] =
	"CREATE TABLE meta(one INTEGER PRIMARY KEY CHECK(one = 1), store_id BLOB NOT NULL,"
	" pepper_check BLOB NOT NULL) STRICT;"
	"CREATE TABLE accounts(id INTEGER PRIMARY KEY, status TEXT NOT NULL, is_held INTEGER NOT "
	"NULL,"
	" created_ms INTEGER NOT NULL, past_due_ms INTEGER NOT NULL, tier TEXT NOT NULL,"
	" customer TEXT NOT NULL, subscription TEXT NOT NULL, label TEXT NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX accounts_subscription ON accounts(subscription) WHERE subscription <> "
	"'';"
	"CREATE TABLE keys(seq INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE,"
	" account INTEGER NOT NULL REFERENCES accounts(id), hash BLOB NOT NULL UNIQUE,"
	" created_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL, hint TEXT NOT NULL,"
	" label TEXT NOT NULL) STRICT;"
	"CREATE INDEX keys_account ON keys(account);"
	"CREATE TABLE usage(window_start_s INTEGER NOT NULL, account INTEGER NOT NULL,"
	" window_seconds INTEGER NOT NULL, epoch INTEGER NOT NULL, requests INTEGER NOT NULL,"
	" units INTEGER NOT NULL, PRIMARY KEY(window_start_s, account, window_seconds, epoch))"
	" STRICT, WITHOUT ROWID;"
	"CREATE INDEX usage_account ON usage(account, window_start_s);"
	"CREATE TABLE quota(period_kind INTEGER NOT NULL, period INTEGER NOT NULL,"
	" account INTEGER NOT NULL, epoch INTEGER NOT NULL, units INTEGER NOT NULL,"
	" PRIMARY KEY(period_kind, period, account, epoch)) STRICT, WITHOUT ROWID;"
	"PRAGMA application_id = 1953459308; PRAGMA user_version = 1;";

static const char content_1[] =
	"INSERT INTO meta VALUES(1, x'00112233445566778899aabbccddeeff',"
	" x'0100000000000000000000000000000000000000000000000000000000000000');"
	"INSERT INTO accounts VALUES(7,'past_due',1,11,12,'pro','cus_1','sub_1','label');"
	"INSERT INTO accounts VALUES(8,'active',0,21,0,'free','','','');"
	"INSERT INTO keys VALUES(1, 70, 7, zeroblob(32), 31, 32, 'tg_live_abcd', 'a key');"
	"INSERT INTO usage VALUES(3600, 7, 3600, 100, 10, 20);"
	"INSERT INTO usage VALUES(7200, 7, 3600, 100, 5, 6);"
	"INSERT INTO quota VALUES(1, 20000, 7, 100, 55);";

static void make_version_1(const struct fixture *f, const char *more)
{
	const char *const sqls[] = { "PRAGMA journal_mode=WAL", version_1, content_1, more };
	char *error = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	for (size_t i = 0; i < sizeof(sqls) / sizeof(sqls[0]); i++) {
		if (sqlite3_exec(db, sqls[i], NULL, NULL, &error) != SQLITE_OK)
			fail_msg("%s", error);
	}
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int64_t number(const struct fixture *f, const char *sql)
{
	sqlite3_stmt *stmt;
	int64_t value;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	value = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return value;
}

static void version_1_keeps_all_that_is_in_it(void **state)
{
	static const struct store_account account = { .id = 7,
						      .status = STORE_PAST_DUE,
						      .is_held = true,
						      .created_ms = 11,
						      .past_due_ms = 12,
						      .tier = "pro",
						      .customer = "cus_1",
						      .subscription = "sub_1",
						      .label = "label" };
	static const uint8_t id[STORE_ID_BYTES] = {
		0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
		0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff
	};
	struct fixture *f = *state;

	make_version_1(f, "");
	for (int i = 0; i < 2; i++) {
		fixture_open(f);
		assert_memory_equal(store_id(f->store), id, sizeof(id));
		fixture_load(f);
		assert_int_equal(f->account_count, 2);
		assert_memory_equal(&f->accounts[0], &account, sizeof(account));
		assert_int_equal(f->key_count, 1);
		assert_int_equal(f->keys[0].id, 70);
		assert_int_equal(f->keys[0].revoked_ms, 32);
		assert_int_equal(f->quota_count, 1);
		assert_int_equal(f->quotas[0].units, 55);
		assert_int_equal(usage_list(f, 7, 0, 10), 0);
		assert_int_equal(f->usage_count, 2);
		assert_int_equal(f->usage[0].requests, 10);
		assert_int_equal(f->usage[0].units, 20);
		fixture_free_store(f);
		fixture_new_store(f);
	}
	assert_int_equal(number(f, "PRAGMA user_version"), 5);
}

static void usage_from_before_billing_is_closed(void **state)
{
	const struct store_usage same = { .account = 7,
					  .epoch = 100,
					  .window_start_s = 7200,
					  .window_seconds = 3600,
					  .requests = 5,
					  .units = 6 },
				 more = { .account = 7,
					  .epoch = 100,
					  .window_start_s = 7200,
					  .window_seconds = 3600,
					  .requests = 7,
					  .units = 9 };
	struct fixture *f = *state;

	make_version_1(f, "");
	fixture_open(f);
	assert_int_equal(usage_put(f, &same, 1, NULL, 0), 0);
	assert_int_equal(usage_open(f, 0, UINT64_MAX, 10), 0);
	assert_int_equal(f->usage_count, 0);
	assert_int_equal(usage_put(f, &more, 1, NULL, 0), 0);
	assert_int_equal(usage_open(f, 0, UINT64_MAX, 10), 0);
	assert_int_equal(f->usage_count, 1);
	assert_int_equal(f->usage[0].units, 9);
	assert_int_equal(f->usage[0].closed_units, 6);
	assert_int_equal(f->usage[0].closings, 0);
}

static void version_1_with_another_pepper_stays_version_1(void **state)
{
	struct fixture *f = *state;

	make_version_1(f, "");
	f->pepper[31] = 1;
	assert_int_equal(fixture_try_open(f), -EKEYREJECTED);
	fixture_free_store(f);
	assert_int_equal(number(f, "PRAGMA user_version"), 1);
	assert_int_equal(number(f, "SELECT count(*) FROM sqlite_schema WHERE name='tasks'"), 0);
}

/* The last table of the last step cannot be created. Nothing of the earlier steps remains. */
static void a_step_that_fails_leaves_version_1(void **state)
{
	struct fixture *f = *state;

	make_version_1(f, "CREATE TABLE lists(a)");
	assert_int_not_equal(fixture_try_open(f), 0);
	fixture_free_store(f);
	assert_int_equal(number(f, "PRAGMA user_version"), 1);
	assert_int_equal(number(f, "SELECT count(*) FROM pragma_table_info('accounts')"), 9);
	assert_int_equal(number(f, "SELECT count(*) FROM accounts"), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(version_1_keeps_all_that_is_in_it),
		TEST(usage_from_before_billing_is_closed),
		TEST(version_1_with_another_pepper_stays_version_1),
		TEST(a_step_that_fails_leaves_version_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
