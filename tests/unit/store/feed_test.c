/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * feed_test: a host's own changes come back through the feed before their callbacks run, in the
 * order of their commits, both in a store for a single host and in a shared one.
 */
#include "unit/store/feed.h"
#include "unit/store/store_fixture.h"

static struct feed feed;

static int feed_setup(void **state)
{
	struct fixture *f;

	if (fixture_setup(state))
		return -1;
	f = *state;
	fixture_open(f);
	add_account(f, 7); /* before the feed begins: loaded, not reported */
	fixture_load(f);
	memset(&feed, 0, sizeof(feed));
	return store_follow(f->store, &feed_follower, &feed);
}

static int add_account_8(struct fixture *f)
{
	return account_add(f, &(struct store_account){ .id = 8 });
}

static int hold_account_8(struct fixture *f)
{
	return account_set(f, &(struct store_account){ .id = 8, .is_held = true });
}

static int set_unknown_account(struct fixture *f)
{
	return account_set(f, &(struct store_account){ .id = 99 });
}

/* Change nothing but Stripe's time. */
static int move_time_of_8(struct fixture *f)
{
	const struct store_account before = { .id = 8, .is_held = true };
	struct store_account later = before;

	later.as_of_s = 500;
	store_account_set(f->store, &before, &later, 0, fixture_done, f);
	return fixture_wait(f);
}

static int add_keys_1_2(struct fixture *f)
{
	const struct store_key keys[] = { make_key(1, 7), make_key(2, 7) };

	return keys_add(f, keys, 2);
}

static int rotate_key_1(struct fixture *f)
{
	const struct store_key fresh = make_key(3, 7);

	return key_rotate(f, 1, 2000, &fresh);
}

static int revoke_key_2(struct fixture *f)
{
	return key_revoke(f, 2, 3000);
}

static int revoke_keys_of_7(struct fixture *f)
{
	return keys_revoke(f, 7, 1500);
}

static int put_entry(struct fixture *f)
{
	return entry_put(f, &(struct store_entry){ .block.prefix_bits = 100, .list = STORE_ALLOW });
}

static int remove_entry(struct fixture *f)
{
	return entry_remove(f, &(struct cidr){ .prefix_bits = 100 });
}

static int add_event(struct fixture *f)
{
	struct store_task task = make_task("event", "e");

	task.body = (char *)"{}";
	return tasks_add(f, &task, 1);
}

static int claim_key_4(struct fixture *f)
{
	const struct store_task claim = make_task("claim", "c");
	const struct store_key key = make_key(4, 7);

	return key_claim(f, &claim, &key);
}

static void each_change_is_reported_before_its_callback(void **state)
{
	static const struct {
		const char *why;
		int (*call)(struct fixture *f);
		int err;
		const char *alone,
			*shared; /* reported in a store for a single host, and in a shared one */
	} rows[] = {
		{ "an account", add_account_8, 0, "account 8 0\n", "account 8 0\n" },
		{ "its change", hold_account_8, 0, "account 8 1\n", "account 8 1\n" },
		{ "no change", set_unknown_account, -ENOENT, "", "" },
		{ "a time", move_time_of_8, 0, "account 8 1\n", "account 8 1\n" },
		{ "keys", add_keys_1_2, 0, "key 1 0\nkey 2 0\n", "key 1 0\nkey 2 0\n" },
		{ "there already", add_keys_1_2, -EEXIST, "", "" },
		{ "a rotation", rotate_key_1, 0, "key 1 ends at 2000\nkey 3 0\n",
		  "key 1 2000\nkey 3 0\n" },
		{ "a revocation", revoke_key_2, 0, "key 2 ends at 3000\n", "key 2 3000\n" },
		{ "all keys", revoke_keys_of_7, 0, "keys of 7 end at 1500 if created before 0\n",
		  "keys of 7 end at 1500 if created before 1001\n" },
		{ "an entry", put_entry, 0, "entry /100 list 1\n", "entry /100 list 1\n" },
		{ "its removal", remove_entry, 0, "no entry /100\n", "no entry /100\n" },
		{ "not there", remove_entry, -ENOENT, "", "" },
		{ "a task", add_event, 0, "event with its body\n", "event\n" },
		{ "not a second time", add_event, 0, "", "" },
		{ "a claim", claim_key_4, 0, "key 4 0\nanother task\n", "another task\nkey 4 0\n" },
		{ "only once", claim_key_4, -EEXIST, "", "" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *expected = fixture_redis.pid ? rows[i].shared : rows[i].alone;
		int err;

		feed.log[0] = '\0';
		err = rows[i].call(f);
		if (err != rows[i].err || strcmp(feed.log, expected))
			fail_msg("%s: %d, '%s'", rows[i].why, err, feed.log);
	}
}

/* What the feed has reported when each of several concurrent calls completes. */
static char reported_at[3][sizeof(feed.log)];

static void on_answered(void *arg, int err)
{
	assert_int_equal(err, 0);
	snprintf(arg, sizeof(reported_at[0]), "%s", feed.log);
}

static void changes_made_at_once_are_reported_in_order(void **state)
{
	const struct store_account accounts[] = { { .id = 11 }, { .id = 12 }, { .id = 13 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++)
		store_account_add(f->store, &accounts[i], on_answered, reported_at[i]);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_string_equal(feed.log, "account 11 0\naccount 12 0\naccount 13 0\n");
	/* The call's own change is reported by then. A stream may have reported later ones too. */
	assert_non_null(strstr(reported_at[0], "account 11 0\n"));
	assert_non_null(strstr(reported_at[1], "account 11 0\naccount 12 0\n"));
	assert_string_equal(reported_at[2], feed.log);
	if (!fixture_redis.pid)
		assert_string_equal(reported_at[0], "account 11 0\n");
}

static void the_end_of_a_key_is_never_postponed(void **state)
{
	const struct store_key key = make_key(1, 7), fresh = make_key(2, 7);
	struct fixture *f = *state;

	assert_int_equal(keys_add(f, &key, 1), 0);
	assert_int_equal(key_revoke(f, 1, 2000), 0);
	assert_int_equal(key_revoke(f, 1, 5000), 0);
	fixture_load(f);
	assert_int_equal(f->keys[0].revoked_ms, 2000);
	assert_int_equal(key_rotate(f, 1, 5000, &fresh), 0);
	fixture_load(f);
	assert_int_equal(f->keys[0].revoked_ms, 2000);
	assert_int_equal(key_revoke(f, 1, 1000), 0);
	fixture_load(f);
	assert_int_equal(f->keys[0].revoked_ms, 1000);
}

/* A named field is written even if this host believes that it has that value already. */
static void named_fields_are_set_even_if_they_seem_unchanged(void **state)
{
	const struct store_account known = { .id = 7, .tier = "pro" };
	struct store_account theirs = { .id = 7, .tier = "basic", .label = "theirs" };
	struct fixture *f = *state;

	assert_int_equal(account_set(f, &theirs), 0);
	store_account_set(f->store, &known, &known, STORE_FIELD(TIER), fixture_done, f);
	assert_int_equal(fixture_wait(f), 0);
	fixture_load(f);
	assert_string_equal(f->accounts[0].tier, "pro");
	/* Another host's change of another field stays. A single host has no such changes. */
	assert_string_equal(f->accounts[0].label, fixture_redis.pid ? "theirs" : "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, feed_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_change_is_reported_before_its_callback),
		TEST(changes_made_at_once_are_reported_in_order),
		TEST(the_end_of_a_key_is_never_postponed),
		TEST(named_fields_are_set_even_if_they_seem_unchanged),
	};

	return RUN_TESTS("feed", tests);
}
