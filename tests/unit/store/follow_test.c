/* SPDX-License-Identifier: BSD-2-Clause */
/* One host's changes reach the others in order and without a gap, or the others notice the gap. */
#include "unit/store/feed.h"
#include "unit/store/store_fixture.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, follow_setup, follow_teardown)

/* Another host, and what is reported to it. */
struct host {
	struct fixture *f; /* its store */
	struct feed feed;
};

static struct host *host;

static void begin_to_follow(struct host *h)
{
	fixture_load(h->f);
	h->feed.log[0] = '\0';
	assert_int_equal(store_follow(h->f->store, &feed_follower, &h->feed), 0);
}

static int follow_setup(void **state)
{
	void *there;

	if (fixture_setup(state) || fixture_setup(&there))
		return -1;
	host = calloc(1, sizeof(*host));
	host->f = there;
	fixture_open(*state);
	fixture_open(host->f);
	begin_to_follow(host);
	return 0;
}

static int follow_teardown(void **state)
{
	void *there = host->f;

	free(host);
	return fixture_teardown(&there) | fixture_teardown(state);
}

/*
 * Run the other host's loop until on_state() was called twice. By then, all earlier changes have
 * been reported.
 */
static void catch_up(void)
{
	unsigned wanted = host->feed.states + 2;
	uv_timer_t keep; /* keeps the loop alive, because the store does not */

	uv_timer_init(&host->f->loop, &keep);
	uv_timer_start(&keep, (uv_timer_cb)(void (*)(void))abort, 20000, 0);
	while (host->feed.states < wanted && host->feed.state_err != -ESTALE)
		uv_run(&host->f->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&keep, NULL);
	uv_run(&host->f->loop, UV_RUN_NOWAIT);
}

static void every_change_is_reported_in_order(void **state)
{
	struct store_key key = make_key(1, 7), fresh = make_key(2, 7);
	struct store_entry entry = { .block.prefix_bits = 100, .list = STORE_ALLOW };
	struct store_task task = make_task("event", "e");
	struct store_account held = { .id = 7, .is_held = true };
	struct fixture *f = *state;

	add_account(f, 7);
	keys_add(f, &key, 1);
	account_set(f, &held);
	key_rotate(f, 1, 50, &fresh);
	keys_revoke(f, 7, 40);
	entry_put(f, &entry);
	tasks_add(f, &task, 1);
	entry_remove(f, &entry.block);
	catch_up();
	assert_string_equal(host->feed.log, "account 7 0\n"
					    "key 1 0\n"
					    "account 7 1\n"
					    "key 1 50\n"
					    "key 2 0\n"
					    "keys of 7 end at 40 if created before 1001\n"
					    "entry /100 list 1\n"
					    "event\n"
					    "no entry /100\n");
	assert_int_equal(host->feed.state_err, 0);
}

static unsigned log_len_at_done;

static void on_own_done(void *arg, int err)
{
	fixture_done(arg, err);
	log_len_at_done = (unsigned)strlen(host->feed.log);
}

static void a_hosts_own_change_is_reported_before_its_callback(void **state)
{
	struct store_account account = { .id = 9 };

	(void)state;
	log_len_at_done = 0;
	store_account_add(host->f->store, &account, on_own_done, host->f);
	while (!log_len_at_done)
		uv_run(&host->f->loop, UV_RUN_ONCE);
	assert_int_equal(log_len_at_done, strlen("account 9 0\n"));
	assert_int_equal(host->f->err, 0);
}

static void on_done_free_store(void *arg, int err)
{
	struct fixture *f = arg;

	fixture_done(f, err);
	store_free(f->store);
	f->store = NULL;
}

/* The agent does this after its last write of usage. The change has come back by then. */
static void a_callback_may_free_a_followed_store(void **state)
{
	struct store_account account = { .id = 9 };

	(void)state;
	store_account_add(host->f->store, &account, on_done_free_store, host->f);
	while (host->f->store)
		uv_run(&host->f->loop, UV_RUN_ONCE);
	assert_int_equal(host->f->err, 0);
	assert_string_equal(host->feed.log, "account 9 0\n");
}

static void a_key_added_after_a_revocation_of_all_survives_it(void **state)
{
	struct store_key old = make_key(1, 7), fresh = make_key(2, 7);
	struct fixture *f = *state;

	add_account(f, 7);
	old.created_ms = 5000;
	keys_add(f, &old, 1);
	keys_revoke(f, 7, 5500);
	fresh.created_ms = 4000; /* from a host whose clock is behind */
	keys_add(f, &fresh, 1);
	fixture_load(f);
	assert_int_equal(f->keys[1].created_ms, 5001);
	assert_int_equal(f->keys[1].revoked_ms, 0);
}

static void a_gap_is_noticed(void **state)
{
	static const struct {
		const char *command;
		bool is_quiet; /* noticed even without a later change */
	} gaps[] = {
		{ "XTRIM tollgate:changes MAXLEN 0", true },
		{ "DEL tollgate:changes", true },
		{ "INCR tollgate:n",
		  false }, /* like an entry that was trimmed before it was read */
		{ "SET tollgate:n 1", false }, /* like a restored backup */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
		print_message("%s\n", gaps[i].command);
		redis_server_do(&fixture_redis, gaps[i].command);
		if (!gaps[i].is_quiet)
			add_account(f, 50 + i);
		while (host->feed.state_err != -ESTALE)
			catch_up();
		assert_true(host->feed.why[0]);
		host->feed.state_err = 0;
		begin_to_follow(host);
		add_account(f, 100 + i);
		catch_up();
		assert_int_equal(host->feed.state_err, 0);
		assert_non_null(strstr(host->feed.log, "account 10"));
	}
}

static void a_lost_store_ends_the_feed_and_is_not_opened(void **state)
{
	(void)state;
	redis_server_do(&fixture_redis, "FLUSHALL");
	while (host->feed.state_err != -ESTALE)
		catch_up();
	assert_int_equal(fixture_try_open(host->f), -EHOSTDOWN);
}

static void the_feed_survives_a_cut_connection_without_a_gap(void **state)
{
	struct fixture *f = *state;

	redis_server_do(&fixture_redis, "CLIENT KILL TYPE normal SKIPME yes");
	while (account_add(f, &(struct store_account){ .id = 7 }) == -EHOSTDOWN)
		continue; /* this host's connection was cut too */
	assert_int_equal(f->err, 0);
	host->feed.state_err = 0;
	catch_up();
	while (host->feed.state_err)
		catch_up();
	assert_string_equal(host->feed.log, "account 7 0\n");
}

/* A 0 would stand for all keys that the follower knows, among them keys made later. */
static void ending_the_keys_of_an_account_without_keys_ends_none(void **state)
{
	struct fixture *f = *state;

	add_account(f, 7);
	keys_revoke(f, 7, 40);
	catch_up();
	assert_string_equal(host->feed.log, "account 7 0\n"
					    "keys of 7 end at 40 if created before 1\n");
}

/* The stream is lost until the store is loaded again; the caller must not wait for it. */
static void a_change_made_while_the_stream_is_lost_is_reported_at_once(void **state)
{
	struct store_task task = make_task("event", "e");

	(void)state;
	redis_server_do(&fixture_redis, "DEL tollgate:changes");
	while (host->feed.state_err != -ESTALE)
		catch_up();
	host->feed.log[0] = '\0';
	add_account(host->f, 9);
	assert_string_equal(host->feed.log, "account 9 0\n");
	/* But no task: it would be processed now, and again when the stream reports it. */
	assert_int_equal(tasks_add(host->f, &task, 1), 0);
	assert_string_equal(host->feed.log, "account 9 0\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_change_is_reported_in_order),
		TEST(a_hosts_own_change_is_reported_before_its_callback),
		TEST(a_callback_may_free_a_followed_store),
		TEST(a_key_added_after_a_revocation_of_all_survives_it),
		TEST(a_gap_is_noticed),
		TEST(a_lost_store_ends_the_feed_and_is_not_opened),
		TEST(the_feed_survives_a_cut_connection_without_a_gap),
		TEST(ending_the_keys_of_an_account_without_keys_ends_none),
		TEST(a_change_made_while_the_stream_is_lost_is_reported_at_once),
	};

	return RUN_REDIS_TESTS("follow", tests);
}
