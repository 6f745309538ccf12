/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * While Redis is unreachable, changes wait in the journal. They survive a restart, and are replayed
 * exactly once, in order.
 */
#include "unit/store/feed.h"
#include "unit/store/store_fixture.h"

#include <sys/stat.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, journal_setup, fixture_teardown)

static void use_journal(struct fixture *f)
{
	char why[256] = "";

	if (store_set_journal(f->store, f->path, why, sizeof(why)))
		fail_msg("%s", why);
}

static int journal_setup(void **state)
{
	int err = fixture_setup(state);

	if (err)
		return err;
	use_journal(*state);
	fixture_open(*state);
	return 0;
}

static void go_away(void)
{
	kill(fixture_redis.pid, SIGSTOP);
}

/* Let Redis continue, and wait until the circuit breaker has let a call through. */
static void come_back(struct fixture *f)
{
	uint64_t waiting, refused;

	kill(fixture_redis.pid, SIGCONT);
	do {
		queues_count(f); /* any call */
		store_journal_counts(f->store, &waiting, &refused);
	} while (f->err || waiting);
}

static uint64_t waiting(const struct fixture *f)
{
	uint64_t count, refused;

	store_journal_counts(f->store, &count, &refused);
	return count;
}

static void changes_wait_and_are_replayed_in_order(void **state)
{
	struct store_account before = { .id = 7 }, after = { .id = 7, .is_held = true };
	struct store_key key = make_key(1, 7), fresh = make_key(2, 7);
	struct store_entry entry = { .block.prefix_bits = 100, .list = STORE_ALLOW };
	struct fixture *f = *state;

	go_away();
	assert_int_equal(account_add(f, &before), 0);
	assert_int_equal(keys_add(f, &key, 1), 0);
	store_account_set(f->store, &before, &after, 0, fixture_done, f);
	assert_int_equal(fixture_wait(f), 0);
	assert_int_equal(key_rotate(f, 1, 50, &fresh), 0);
	assert_int_equal(key_revoke(f, 2, 60), 0);
	assert_int_equal(entry_put(f, &entry), 0);
	assert_int_equal(waiting(f), 6);
	come_back(f);
	fixture_load(f);
	assert_true(f->accounts[0].is_held);
	assert_int_equal(f->keys[0].revoked_ms, 50);
	assert_int_equal(f->keys[1].revoked_ms, 60);
	assert_int_equal(f->entry_count, 1);
}

static void tasks_of_a_waiting_change_wait_with_it(void **state)
{
	struct store_account before = { .id = 7 }, after = { .id = 7, .is_held = true };
	struct store_task task = make_task("hook", "suspended");
	struct fixture *f = *state;

	add_account(f, 7);
	go_away();
	store_account_change(
		f->store,
		&(struct store_account_change){
			.before = &before, .account = &after, .tasks = &task, .task_count = 1 },
		fixture_done, f);
	assert_int_equal(fixture_wait(f), 0);
	assert_int_equal(waiting(f), 1); /* one call, so nothing can come between */
	come_back(f);
	assert_int_equal(task_find(f, "hook", "suspended"), 0);
	assert_int_equal(f->task_count, 1);
	fixture_load(f);
	assert_true(f->accounts[0].is_held);
}

/*
 * While Redis is unreachable, this host's changes are in force here at once. When Redis is back,
 * its stream reports the same changes again, in their place among those of other hosts. Tasks are
 * reported only then, because until then no host can find them in the store.
 */
static void waiting_changes_are_reported_at_once_and_again_in_their_place(void **state)
{
	struct store_key key = make_key(1, 7), fresh = make_key(2, 7);
	struct store_entry entry = { .block.prefix_bits = 100, .list = STORE_ALLOW };
	struct store_task task = make_task("event", "e");
	struct fixture *f = *state;
	struct feed feed = { 0 };

	add_account(f, 7);
	fixture_load(f);
	assert_int_equal(store_follow(f->store, &feed_follower, &feed), 0);
	go_away();
	assert_int_equal(keys_add(f, &key, 1), 0);
	assert_string_equal(feed.log, "key 1 0\n");
	assert_int_equal(key_rotate(f, 1, 2000, &fresh), 0);
	assert_int_equal(key_revoke(f, 2, 3000), 0);
	assert_int_equal(keys_revoke(f, 7, 1500), 0);
	assert_int_equal(entry_put(f, &entry), 0);
	assert_int_equal(tasks_add(f, &task, 1), 0);
	assert_string_equal(feed.log, "key 1 0\n"
				      "key 1 ends at 2000\n"
				      "key 2 0\n"
				      "key 2 ends at 3000\n"
				      "keys of 7 end at 1500 if created before 0\n"
				      "entry /100 list 1\n");
	feed.log[0] = '\0';
	come_back(f);
	while (!strstr(feed.log, "event\n"))
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_string_equal(feed.log, "key 1 0\n"
				      "key 1 2000\n"
				      "key 2 0\n"
				      "key 2 3000\n"
				      "keys of 7 end at 1500 if created before 1001\n"
				      "entry /100 list 1\n"
				      "event\n");
}

static void waiting_changes_survive_the_agent(void **state)
{
	struct store_task task = make_task("event", "e");
	struct fixture *f = *state;
	struct stat st;

	task.body = (char *)"a body\nof\tbytes\\";
	go_away();
	assert_int_equal(tasks_add(f, &task, 1), 0);
	assert_string_equal(f->fresh, "y");
	fixture_free_store(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	kill(fixture_redis.pid, SIGCONT);
	fixture_new_store(f);
	use_journal(f);
	assert_int_equal(waiting(f), 1);
	fixture_open(f);
	come_back(f);
	assert_int_equal(task_find(f, "event", "e"), 0);
	assert_string_equal(f->tasks[0].body, task.body);
}

/* The reply to a replayed call was lost, so it is sent again, and does nothing. */
static void a_repeated_replay_changes_nothing(void **state)
{
	struct store_account held = { .id = 7, .is_held = true }, free_again = { .id = 7 };
	uint64_t left, refused;
	struct fixture *f = *state;
	char saved[200], command[300];

	add_account(f, 7);
	go_away();
	assert_int_equal(account_set(f, &held), 0);
	assert_int_equal(waiting(f), 1);
	fixture_free_store(f);
	snprintf(saved, sizeof(saved), "%s.saved", f->path);
	snprintf(command, sizeof(command), "cp %s %s", f->path, saved);
	assert_int_equal(system(command), 0);
	kill(fixture_redis.pid, SIGCONT);
	fixture_new_store(f);
	use_journal(f);
	fixture_open(f);
	come_back(f);
	fixture_load(f);
	assert_true(f->accounts[0].is_held);
	assert_int_equal(account_set(f, &free_again), 0);
	fixture_free_store(f);

	assert_int_equal(rename(saved, f->path), 0);
	fixture_new_store(f);
	use_journal(f);
	assert_int_equal(waiting(f), 1);
	fixture_open(f);
	come_back(f);
	store_journal_counts(f->store, &left, &refused);
	assert_int_equal(refused, 0);
	fixture_load(f);
	assert_false(f->accounts[0].is_held);
}

static void usage_waits_as_totals_of_constant_size(void **state)
{
	struct store_usage usage = { .account = 7, .epoch = 1, .window_seconds = 60 };
	struct store_quota quota = { .account = 7, .epoch = 1, .period_kind = 1, .period = 20000 };
	struct fixture *f = *state;

	go_away();
	for (unsigned i = 1; i <= 50; i++) {
		usage.requests = usage.units = quota.units = i;
		assert_int_equal(usage_put(f, &usage, 1, &quota, 1), 0);
	}
	assert_int_equal(waiting(f), 2);
	come_back(f);
	usage_list(f, 7, 0, 10);
	assert_int_equal(f->usage[0].units, 50);
	fixture_load(f);
	assert_int_equal(f->quotas[0].units, 50);
}

static void later_changes_queue_behind_waiting_ones(void **state)
{
	struct store_key key = make_key(1, 7);
	struct fixture *f = *state;

	go_away();
	assert_int_equal(account_add(f, &(struct store_account){ .id = 7 }), 0);
	kill(fixture_redis.pid, SIGCONT);
	/* The circuit breaker may still be open. Either way the key comes after its account. */
	assert_int_equal(keys_add(f, &key, 1), 0);
	come_back(f);
	fixture_load(f);
	assert_int_equal(f->key_count, 1);
}

static void refused_calls_are_set_aside(void **state)
{
	uint64_t left, refused;
	struct fixture *f = *state;

	add_account(f, 7);
	go_away();
	assert_int_equal(account_add(f, &(struct store_account){ .id = 7 }), 0);
	assert_int_equal(account_add(f, &(struct store_account){ .id = 8 }), 0);
	come_back(f);
	store_journal_counts(f->store, &left, &refused);
	assert_int_equal(refused, 1);
	fixture_load(f);
	assert_int_equal(f->account_count, 2);
}

/* Otherwise the data would look safe, and be lost when the backup is restored. */
static void nothing_is_written_to_an_emptied_store(void **state)
{
	struct store_usage usage = { .account = 7, .epoch = 1, .window_seconds = 60, .units = 1 };
	struct fixture *f = *state;
	redisReply *reply;

	redis_server_do(&fixture_redis, "FLUSHALL");
	assert_int_equal(usage_put(f, &usage, 1, NULL, 0), 0);
	assert_int_equal(account_add(f, &(struct store_account){ .id = 7 }), 0);
	assert_int_equal(waiting(f), 2);
	reply = redisCommand(fixture_redis.context, "DBSIZE");
	assert_int_equal(reply->integer, 0);
	freeReplyObject(reply);
}

static void a_claim_is_never_journaled(void **state)
{
	struct store_task claim = make_task("claim", "s");
	struct store_key key = make_key(1, 7);
	struct fixture *f = *state;

	add_account(f, 7);
	go_away();
	assert_int_equal(key_claim(f, &claim, &key), -EHOSTDOWN);
	assert_int_equal(waiting(f), 0);
	kill(fixture_redis.pid, SIGCONT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(changes_wait_and_are_replayed_in_order),
		TEST(tasks_of_a_waiting_change_wait_with_it),
		TEST(waiting_changes_are_reported_at_once_and_again_in_their_place),
		TEST(waiting_changes_survive_the_agent),
		TEST(a_repeated_replay_changes_nothing),
		TEST(usage_waits_as_totals_of_constant_size),
		TEST(later_changes_queue_behind_waiting_ones),
		TEST(refused_calls_are_set_aside),
		TEST(nothing_is_written_to_an_emptied_store),
		TEST(a_claim_is_never_journaled),
	};

	return RUN_REDIS_TESTS("journal", tests);
}
