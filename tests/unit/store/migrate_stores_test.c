/* SPDX-License-Identifier: BSD-2-Clause */
/* A store is copied to another engine and back completely, or not at all. */
#include "unit/store/store_fixture.h"

#include "store/store_migrate.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

static struct store_migration moved;
static char why[512];

static int move(struct fixture *f, const char *from, const char *to)
{
	memset(&moved, 0, sizeof(moved));
	why[0] = '\0';
	return store_migrate(from, to, f->pepper, &moved, why, sizeof(why));
}

/* Make a store with every kind of record, in an SQLite file, and close it. */
static void fill(struct fixture *f, char url[128])
{
	struct store_account account = { .id = 7, .status = STORE_PAST_DUE, .created_ms = 5 };
	struct store_account other = { .id = 1ULL << 63, .is_held = true };
	struct store_key keys[3] = { make_key(30, 7), make_key(20, 7), make_key(10, 1ULL << 63) };
	struct store_entry entry = { .block.prefix_bits = 100, .list = STORE_ALLOW, .until_ms = 9 };
	struct store_usage usage[] = {
		{ .account = 7,
		  .epoch = 1,
		  .window_start_s = 3600,
		  .window_seconds = 3600,
		  .requests = 5,
		  .units = 5 },
		{ .account = 7,
		  .epoch = 2,
		  .window_start_s = 3600,
		  .window_seconds = 3600,
		  .requests = 9,
		  .units = 20 },
		{ .account = 7,
		  .epoch = 2,
		  .window_start_s = 7200,
		  .window_seconds = 3600,
		  .requests = 1 },
	};
	struct store_quota quotas[] = { { 7, 1, 1, 20000, 5 },
					{ 7, 2, 1, 20000, 6 },
					{ 7, 1, 2, 650, 7 } };
	struct store_task tasks[3] = { make_task("event", "b"), make_task("event", "a"),
				       make_task("mail", "m") };
	struct store_usage close = usage[0];
	uint8_t id[STORE_ID_BYTES];

	fixture_free_store(f);
	snprintf(url, 128, "sqlite:%s", f->path);
	assert_int_equal(store_new(&f->loop, url, 1000, &f->store), 0);
	fixture_open(f);
	memcpy(id, store_id(f->store), sizeof(id));
	strcpy(account.label, "a\tlabel\\with\nall");
	strcpy(account.subscription, "sub_1");
	account_add(f, &account);
	account_add(f, &other);
	keys[1].revoked_ms = 77;
	assert_int_equal(keys_add(f, keys, 3), 0);
	entry_put(f, &entry);
	assert_int_equal(usage_put(f, usage, 3, quotas, 3), 0);
	close.units = 25;
	close.closed_units = 0;
	tasks[0].body = (char *)"{\"a\":\t1}";
	assert_int_equal(usage_close(f, &close, 1, &tasks[2], 1), 0);
	close.closed_units = 25;
	close.units = 30;
	usage[0].units = usage[0].requests = 12;
	assert_int_equal(usage_put(f, usage, 1, NULL, 0), 0);
	assert_int_equal(usage_close(f, &close, 1, NULL, 0), 0); /* 30 of 32, by two closings */
	assert_int_equal(tasks_add(f, tasks, 2), 0);
	tasks[1].state = STORE_TASK_FAILED;
	strcpy(tasks[1].note, "why");
	assert_int_equal(tasks_set(f, &tasks[1], 1), 0);
	fixture_free_store(f);
}

static void open_at(struct fixture *f, const char *url)
{
	assert_int_equal(store_new(&f->loop, url, 1000, &f->store), 0);
	fixture_open(f);
	fixture_load(f);
}

static void everything_is_copied_there_and_back(void **state)
{
	struct fixture *f = *state;
	char url[128], back[160], command[256];
	uint8_t digest[STORE_HASH_BYTES], id[STORE_ID_BYTES];

	fill(f, url);
	if (move(f, url, fixture_redis.url))
		fail_msg("%s", why);
	assert_int_equal(moved.accounts, 2);
	assert_int_equal(moved.keys, 3);
	assert_int_equal(moved.entries, 1);
	assert_int_equal(moved.quotas, 3);
	assert_int_equal(moved.usage, 3);
	assert_int_equal(moved.tasks, 3);
	memcpy(digest, moved.digest, sizeof(digest));

	open_at(f, fixture_redis.url);
	memcpy(id, store_id(f->store), sizeof(id));
	keys_list(f, 0, 0, 10);
	assert_int_equal(f->keys[0].id, 30); /* in the order of creation */
	assert_int_equal(f->keys[1].revoked_ms, 77);
	usage_open(f, 7, 0, 10);
	assert_int_equal(f->usage_count, 1);
	assert_int_equal(f->usage[0].units - f->usage[0].closed_units, 2);
	assert_int_equal(f->usage[0].closings, 2);
	tasks_list(f, "event", STORE_TASK_PENDING, UINT64_MAX, 0, 10);
	assert_string_equal(f->tasks[0].body, "{\"a\":\t1}");
	fixture_free_store(f);

	snprintf(back, sizeof(back), "%s.back", url);
	if (move(f, fixture_redis.url, back))
		fail_msg("%s", why);
	assert_memory_equal(moved.digest, digest, sizeof(digest));
	open_at(f, back);
	assert_memory_equal(store_id(f->store), id, sizeof(id));
	assert_int_equal(f->account_count, 2);
	fixture_free_store(f);
	snprintf(command, sizeof(command), "rm -f %s.back*", f->path);
	assert_int_equal(system(command), 0);
	fixture_new_store(f);
}

static void a_store_that_is_not_empty_is_left_alone(void **state)
{
	struct fixture *f = *state;
	char url[128];

	fill(f, url);
	fixture_new_store(f);
	fixture_open(f);
	add_account(f, 99);
	assert_int_equal(move(f, url, fixture_redis.url), -EEXIST);
	assert_non_null(strstr(why, "not empty"));
	fixture_load(f);
	assert_int_equal(f->account_count, 1);
}

static void on_beaten(void *arg, int err, const struct store_fleet *fleet)
{
	(void)fleet;
	fixture_done(arg, err);
}

static void a_store_in_use_is_left_alone(void **state)
{
	struct fixture *f = *state;
	char url[128];

	fill(f, url);
	fixture_new_store(f);
	fixture_open(f);
	store_beat(f->store, &(struct store_host){ .id = 5 }, false, 1000, on_beaten, f);
	assert_int_equal(fixture_wait(f), 0);
	assert_int_equal(move(f, url, fixture_redis.url), -EBUSY);
	assert_non_null(strstr(why, "in use"));
	store_leave(f->store, 5, fixture_done, f);
	assert_int_equal(fixture_wait(f), 0);
	assert_int_equal(move(f, url, fixture_redis.url), 0);
}

static void another_pepper_and_wrong_urls_are_refused(void **state)
{
	struct fixture *f = *state;
	char url[128];

	fill(f, url);
	f->pepper[0] = 2;
	assert_int_equal(move(f, url, fixture_redis.url), -EKEYREJECTED);
	f->pepper[0] = 1;
	assert_int_equal(move(f, url, "nonsense:"), -EINVAL);
	assert_int_equal(move(f, "redis+unix:///nowhere/at/all", url), -EHOSTDOWN);
	fixture_new_store(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_is_copied_there_and_back),
		TEST(a_store_that_is_not_empty_is_left_alone),
		TEST(a_store_in_use_is_left_alone),
		TEST(another_pepper_and_wrong_urls_are_refused),
	};

	return RUN_REDIS_TESTS("migrate_stores", tests);
}
