/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_test: the operations of a store, their errors, and their order.
 *
 * Each test has a new store, makes calls and runs the loop until all have completed. Files that are
 * refused are in store_file_test.c.
 */
#include "unit/store/store_fixture.h"

#include "tollgate/abi.h"

static void accounts_come_back_as_they_were_written(void **state)
{
	struct fixture *f = *state;
	struct store_account account = { .id = 0xfedcba9876543210,
					 .status = STORE_PAST_DUE,
					 .is_held = true,
					 .created_ms = 1700000000123,
					 .past_due_ms = 1700000009999,
					 .period_start_s = 1700000001,
					 .period_end_s = 1700000002,
					 .trial_end_s = 1700000003,
					 .cancel_at_s = 1700000004,
					 .as_of_s = 1700000005,
					 .mode = STORE_MODE_LIVE,
					 .usage_start_s = 1700000006,
					 .usage_end_s = 1700000007,
					 .disputes = "ch_1 ch_2",
					 .seats = 7,
					 .reference = "order-1",
					 .metadata = "{\"team\":\"a\"}",
					 .price = "price_1",
					 .email = "a@example.com",
					 .features = "export audit",
					 .tier = "pro",
					 .customer = "cus_1",
					 .subscription = "sub_1",
					 .label = "K\xc3\xb6nig & 'Co'" };

	fixture_open(f);
	assert_int_equal(account_add(f, &account), 0);
	fixture_load(f);
	assert_int_equal(f->account_count, 1);
	assert_memory_equal(&f->accounts[0], &account, sizeof(account));

	account.status = STORE_CANCELED;
	account.is_held = false;
	account.past_due_ms = 0;
	account.period_end_s = 1800000000;
	account.as_of_s = 1750000000;
	strcpy(account.price, "price_2");
	strcpy(account.tier, "free");
	assert_int_equal(account_set(f, &account), 0);
	fixture_reopen(f);
	fixture_load(f);
	assert_int_equal(f->account_count, 1);
	assert_memory_equal(&f->accounts[0], &account, sizeof(account));
}

static void every_status_survives(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	for (unsigned i = 0; i < STORE_STATUS_COUNT; i++) {
		struct store_account account = { .id = i + 1, .status = (enum store_status)i };
		enum store_status status;

		assert_int_equal(store_status_parse(store_status_word(account.status), &status), 0);
		assert_int_equal(status, i);
		assert_int_equal(account_add(f, &account), 0);
	}
	fixture_load(f);
	for (unsigned i = 0; i < STORE_STATUS_COUNT; i++)
		assert_int_equal(f->accounts[i].status, i);
	assert_int_equal(store_status_parse("trial", &(enum store_status){ 0 }), -EINVAL);
}

static void accounts_are_unique_by_id_and_subscription(void **state)
{
	struct fixture *f = *state;
	static const struct {
		struct store_account account;
		int err;
		const char *why;
	} rows[] = {
		{ { .id = 1, .subscription = "sub_1" }, 0, "the first" },
		{ { .id = 1, .subscription = "sub_2" }, -EEXIST, "its id again" },
		{ { .id = 2, .subscription = "sub_1" }, -EEXIST, "its subscription again" },
		{ { .id = 3 }, 0, "without a subscription" },
		{ { .id = 4 }, 0, "several may be without a subscription" },
	};
	struct store_account unknown = { .id = 9 }, taken = { .id = 3, .subscription = "sub_1" };

	fixture_open(f);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (account_add(f, &rows[i].account) != rows[i].err)
			fail_msg("%s: %d", rows[i].why, f->err);
	}
	assert_int_equal(account_set(f, &unknown), -ENOENT);
	assert_int_equal(account_set(f, &taken), -EEXIST);
	fixture_load(f);
	assert_int_equal(f->account_count, 3);
}

static void keys_are_added_all_or_none(void **state)
{
	struct fixture *f = *state;
	struct store_key keys[3] = { make_key(1, 7), make_key(2, 7), make_key(3, 7) };

	fixture_open(f);
	add_account(f, 7);
	assert_int_equal(keys_add(f, keys, 3), 0);
	fixture_load(f);
	assert_int_equal(f->key_count, 3);
	assert_memory_equal(f->keys, keys, sizeof(keys));

	keys[0] = make_key(4, 7);
	keys[1] = make_key(5, 8);
	assert_int_equal(keys_add(f, keys, 2), -ENOENT);
	keys[1] = make_key(3, 7);
	assert_int_equal(keys_add(f, keys, 2), -EEXIST);
	keys[1] = make_key(5, 7);
	memcpy(keys[1].hash, keys[0].hash, sizeof(keys[1].hash));
	assert_int_equal(keys_add(f, keys, 2), -EEXIST);
	assert_int_equal(keys_add(f, NULL, 0), 0);
	fixture_load(f);
	assert_int_equal(f->key_count, 3);
}

static void a_rotation_ends_the_old_key_and_adds_the_new_one_at_once(void **state)
{
	struct fixture *f = *state;
	struct store_key old = make_key(1, 7), fresh = make_key(2, 7), third = make_key(3, 7);

	fixture_open(f);
	add_account(f, 7);
	assert_int_equal(keys_add(f, &old, 1), 0);
	assert_int_equal(key_rotate(f, 99, 5000, &fresh), -ENOENT);
	assert_int_equal(key_rotate(f, 1, 5000, &old), -EEXIST);
	fixture_load(f);
	assert_int_equal(f->key_count, 1);
	assert_int_equal(f->keys[0].revoked_ms,
			 0); /* the failed rotation was rolled back completely */

	assert_int_equal(key_rotate(f, 1, 5000, &fresh), 0);
	assert_int_equal(key_rotate(f, 1, 9000, &third), 0);
	fixture_load(f);
	assert_int_equal(f->key_count, 3);
	assert_int_equal(f->keys[0].revoked_ms,
			 5000); /* a second rotation does not extend its life */
	assert_int_equal(f->keys[1].revoked_ms, 0);
}

static void revoking_sets_the_time(void **state)
{
	struct fixture *f = *state;
	struct store_key key = make_key(1, 7);

	fixture_open(f);
	add_account(f, 7);
	assert_int_equal(keys_add(f, &key, 1), 0);
	assert_int_equal(key_revoke(f, 1, 1234), 0);
	assert_int_equal(key_revoke(f, 2, 1234), -ENOENT);
	fixture_load(f);
	assert_int_equal(f->keys[0].revoked_ms, 1234);
}

static void revoking_all_keys_of_an_account_never_postpones_an_end(void **state)
{
	struct fixture *f = *state;
	struct store_key keys[] = { make_key(1, 7), make_key(2, 7), make_key(3, 7),
				    make_key(4, 8) };

	keys[1].revoked_ms = 500;
	keys[2].revoked_ms = 5000;
	fixture_open(f);
	add_account(f, 7);
	add_account(f, 8);
	assert_int_equal(keys_add(f, keys, 4), 0);
	assert_int_equal(keys_revoke(f, 7, 1234), 0);
	assert_int_equal(keys_revoke(f, 9, 1234), 0); /* this account has no keys */
	fixture_reopen(f);
	fixture_load(f);
	assert_int_equal(f->keys[0].revoked_ms, 1234);
	assert_int_equal(f->keys[1].revoked_ms, 500);
	assert_int_equal(f->keys[2].revoked_ms, 1234);
	assert_int_equal(f->keys[3].revoked_ms, 0);
}

static void keys_are_listed_in_pages_in_the_order_of_creation(void **state)
{
	static const uint64_t order[] = { 50, 10, ~0ULL, 40,
					  30 }; /* the order does not depend on ids */
	struct fixture *f = *state;

	fixture_open(f);
	add_account(f, 7);
	add_account(f, 8);
	for (size_t i = 0; i < 5; i++) {
		struct store_key key = make_key(order[i], i == 3 ? 8 : 7);

		assert_int_equal(keys_add(f, &key, 1), 0);
	}
	assert_int_equal(keys_list(f, 0, 0, 3), 0);
	assert_int_equal(f->key_count, 3);
	assert_int_equal(f->keys[2].id, ~0ULL);
	assert_int_equal(keys_list(f, 0, ~0ULL, 3), 0);
	assert_int_equal(f->key_count, 2);
	assert_int_equal(f->keys[0].id, 40);
	assert_int_equal(keys_list(f, 0, 30, 3), 0);
	assert_int_equal(f->key_count, 0);
	assert_int_equal(keys_list(f, 7, 10, SIZE_MAX), 0);
	assert_int_equal(f->key_count, 2);
	assert_int_equal(f->keys[1].id, 30);
	assert_int_equal(keys_list(f, 9, 0, 10), 0);
	assert_int_equal(f->key_count, 0);
	assert_int_equal(keys_list(f, 0, 12345, 10), -ENOENT);
}

static void usage_written_twice_counts_once(void **state)
{
	const struct store_usage rows[] = {
		{ 7, 100, 600, 60, 10, 20, 0, 0 }, /* one epoch */
		{ 7, 200, 600, 60, 1, 2, 0, 0 },   /* another in the same window */
		{ 7, 100, 660, 60, 5, 5, 0, 0 },   /* the next window */
		{ 8, 100, 600, 60, 3, 3, 0, 0 },   /* another account */
	};
	const struct store_usage late = { 7, 100, 600, 60, 9, 19, 0, 0 },
				 more = { 7, 100, 600, 60, 11, 19, 0, 0 };
	struct fixture *f = *state;

	fixture_open(f);
	assert_int_equal(usage_put(f, rows, 4, NULL, 0), 0);
	assert_int_equal(usage_put(f, rows, 4, NULL, 0), 0);
	assert_int_equal(usage_put(f, &late, 1, NULL, 0), 0);
	assert_int_equal(usage_list(f, 7, 0, 10), 0);
	assert_int_equal(f->usage_count, 2);
	assert_int_equal(f->usage[0].window_start_s, 600);
	assert_int_equal(f->usage[0].window_seconds, 60);
	assert_int_equal(f->usage[0].requests, 11);
	assert_int_equal(f->usage[0].units, 22);
	assert_int_equal(f->usage[1].requests, 5);
	assert_int_equal(usage_put(f, &more, 1, NULL, 0), 0);
	assert_int_equal(usage_list(f, 0, 0, 10), 0);
	assert_int_equal(f->usage_count, 3);
	assert_int_equal(f->usage[0].requests, 12); /* each total grows by itself */
	assert_int_equal(f->usage[0].units, 22);
	assert_int_equal(f->usage[1].account, 8);
	assert_int_equal(usage_list(f, 0, 601, 10), 0);
	assert_int_equal(f->usage_count, 1);
	assert_int_equal(usage_list(f, 0, 0, 2), 0);
	assert_int_equal(f->usage_count, 2);
}

static void a_load_has_accounts_then_keys_then_current_quotas(void **state)
{
	const struct store_quota quotas[] = {
		{ 7, 100, TOLLGATE_PERIOD_DAY, 20000, 5 },
		{ 7, 100, TOLLGATE_PERIOD_DAY, 19999, 6 },
		{ 7, 100, TOLLGATE_PERIOD_MONTH, 650, 7 },
		{ 7, 200, TOLLGATE_PERIOD_MONTH, 650, 8 },
		{ 7, 100, TOLLGATE_PERIOD_MONTH, 649, 9 },
		{ 7, 100, TOLLGATE_PERIOD_MONTH, 655, 10 },
	};
	const struct store_quota less = { 7, 100, TOLLGATE_PERIOD_DAY, 20000, 4 };
	struct fixture *f = *state;
	struct store_key key = make_key(1, 7);

	fixture_open(f);
	add_account(f, 7);
	assert_int_equal(keys_add(f, &key, 1), 0);
	assert_int_equal(usage_put(f, NULL, 0, quotas, 6), 0);
	assert_int_equal(usage_put(f, NULL, 0, &less, 1), 0);
	fixture_load(f);
	assert_string_equal(f->order, "akqq");
	assert_int_equal(f->quota_count, 4);
	assert_int_equal(f->quotas[0].units, 5);
	assert_int_equal(f->quotas[0].period_kind, TOLLGATE_PERIOD_DAY);
	assert_int_equal(f->quotas[1].units + f->quotas[2].units, 15);
	assert_int_not_equal(f->quotas[1].epoch, f->quotas[2].epoch);
	assert_int_equal(f->quotas[3].period, 655);
}

static void a_load_comes_in_batches(void **state)
{
	struct fixture *f = *state;
	struct store_key keys[1500];

	fixture_open(f);
	add_account(f, 7);
	for (unsigned i = 0; i < 1500; i++)
		keys[i] = make_key(i + 1, 7);
	assert_int_equal(keys_add(f, keys, 1500), 0);
	fixture_load(f);
	assert_string_equal(f->order, "akkk");
	assert_int_equal(f->key_count, 1500);
	assert_int_equal(f->keys[1499].id, 1500);
}

static void a_visitors_error_ends_the_load(void **state)
{
	struct fixture *f = *state;
	struct store_key key = make_key(1, 7);

	fixture_open(f);
	add_account(f, 7);
	assert_int_equal(keys_add(f, &key, 1), 0);
	f->visitor_err = -ENOSPC;
	assert_int_equal(load(f), -ENOSPC);
	assert_string_equal(f->order, "a");
	f->visitor_err = 0;
	assert_int_equal(load(f), 0);
	assert_string_equal(f->order, "ak");
}

struct order {
	char seen[8];
};

static struct order order_of_completion;

static void note(void *arg, int err)
{
	size_t len = strlen(order_of_completion.seen);

	order_of_completion.seen[len] = *(const char *)arg;
	(void)err;
}

static void note_keys(void *arg, int err, const struct store_key *keys, size_t count)
{
	assert_int_equal(count, 1);
	assert_int_equal(keys[0].id, 1);
	note(arg, err);
}

static void calls_complete_in_the_order_they_were_made(void **state)
{
	struct fixture *f = *state;
	struct store_account account = { .id = 7 };
	struct store_key key = make_key(1, 7);

	order_of_completion = (struct order){ 0 };
	store_open(f->store, f->pepper, note, "1");
	store_account_add(f->store, &account, note, "2");
	store_account_add(f->store, &account, note,
			  "3"); /* fails, but not before the calls in front of it */
	store_keys_add(f->store, &key, 1, note, "4");
	memset(&key, 0, sizeof(key)); /* records were copied */
	memset(&account, 0, sizeof(account));
	store_keys_list(f->store, 7, 0, 10, note_keys, "5");
	store_key_revoke(f->store, 1, 1, note, "6");
	assert_string_equal(order_of_completion.seen, ""); /* nothing before the loop runs */
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_string_equal(order_of_completion.seen, "123456");
}

static void nothing_works_before_the_store_is_open(void **state)
{
	struct fixture *f = *state;
	struct store_account account = { .id = 7 };

	assert_int_equal(account_add(f, &account), -ENOTCONN);
	assert_non_null(strstr(store_error(f->store), "is not open"));
	assert_int_equal(load(f), -ENOTCONN);
	assert_int_equal(keys_list(f, 0, 0, 1), -ENOTCONN);
	assert_int_equal(usage_list(f, 0, 0, 1), -ENOTCONN);
}

static void count_nobufs(void *arg, int err)
{
	*(unsigned *)arg += err == -ENOBUFS;
}

static void outstanding_calls_are_bounded(void **state)
{
	struct fixture *f = *state;
	unsigned refused = 0;

	fixture_open(f);
	for (unsigned i = 0; i < 10003; i++)
		store_usage_put(f->store, NULL, 0, NULL, 0, count_nobufs, &refused);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(refused, 3);
	assert_int_equal(usage_put(f, NULL, 0, NULL, 0), 0);
}

static void never(void *arg, int err)
{
	(void)arg;
	(void)err;
	fail_msg("a callback after store_free()");
}

static void freeing_finishes_the_calls_and_drops_the_callbacks(void **state)
{
	struct fixture *f = *state;
	struct store_account account = { .id = 7 };

	fixture_open(f);
	store_account_add(f->store, &account, never, NULL);
	store_free(f->store);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	f->store = NULL;
	fixture_reopen(f);
	fixture_load(f);
	assert_int_equal(f->account_count, 1);
}

static void free_store(void *arg, int err)
{
	struct fixture *f = arg;

	(void)err;
	store_free(f->store);
	f->store = NULL;
}

static void a_callback_may_free_the_store(void **state)
{
	struct fixture *f = *state;
	struct store_account account = { .id = 7 };

	fixture_open(f);
	store_account_add(f->store, &account, free_store, f);
	store_account_add(f->store, &account, never, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_null(f->store);
}

static void unknown_urls_are_refused(void **state)
{
	static const char *const urls[] = { "", "redis:localhost", "sqlite", "sqlite:", "/a/path" };
	struct fixture *f = *state;
	struct store *store = NULL;

	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
		assert_int_equal(store_new(&f->loop, urls[i], 1000, &store), -EINVAL);
	assert_null(store);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accounts_come_back_as_they_were_written),
		TEST(every_status_survives),
		TEST(accounts_are_unique_by_id_and_subscription),
		TEST(keys_are_added_all_or_none),
		TEST(a_rotation_ends_the_old_key_and_adds_the_new_one_at_once),
		TEST(revoking_sets_the_time),
		TEST(revoking_all_keys_of_an_account_never_postpones_an_end),
		TEST(keys_are_listed_in_pages_in_the_order_of_creation),
		TEST(usage_written_twice_counts_once),
		TEST(a_load_has_accounts_then_keys_then_current_quotas),
		TEST(a_load_comes_in_batches),
		TEST(a_visitors_error_ends_the_load),
		TEST(calls_complete_in_the_order_they_were_made),
		TEST(nothing_works_before_the_store_is_open),
		TEST(outstanding_calls_are_bounded),
		TEST(freeing_finishes_the_calls_and_drops_the_callbacks),
		TEST(a_callback_may_free_the_store),
		TEST(unknown_urls_are_refused),
	};

	return RUN_TESTS("store", tests);
}
