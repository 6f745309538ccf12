/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tasks_test: the durable queues of a store, and keys that are claimed once.
 */
#include "unit/store/store_fixture.h"

#include <sqlite3.h>

static void a_task_comes_back_as_it_was_added(void **state)
{
	struct fixture *f = *state;
	struct store_task task = make_task("event", "evt_1");
	char body[] = "{\"id\": \"evt_1\", \"text\": \"K\xc3\xb6nig\"}";

	strcpy(task.object, "sub_1");
	strcpy(task.note, "so far so good");
	task.account = 77;
	task.created_ms = 11;
	task.due_ms = 12;
	task.tried_ms = 13;
	task.attempts = 14;
	task.body = body;
	fixture_open(f);
	assert_int_equal(tasks_add(f, &task, 1), 0);
	assert_string_equal(f->fresh, "y");
	fixture_reopen(f);
	assert_int_equal(task_find(f, "event", "evt_1"), 0);
	assert_int_equal(f->task_count, 1);
	assert_string_equal(f->tasks[0].body, body);
	assert_int_not_equal(f->tasks[0].seq, 0);
	task.seq = f->tasks[0].seq;
	task.body = f->tasks[0].body;
	assert_memory_equal(&f->tasks[0], &task, sizeof(task));
}

static void records_and_bodies_are_copied(void **state)
{
	struct fixture *f = *state;
	struct store_task task = make_task("event", "evt_1");
	char body[] = "body";

	task.body = body;
	fixture_open(f);
	store_tasks_add(f->store, &task, 1, fixture_added, f);
	memset(body, 'x', sizeof(body) - 1);
	memset(&task, 'x', sizeof(task));
	fixture_wait(f);
	assert_int_equal(task_find(f, "event", "evt_1"), 0);
	assert_string_equal(f->tasks[0].body, "body");
}

static void a_task_is_added_once(void **state)
{
	struct fixture *f = *state;
	struct store_task tasks[] = { make_task("event", "evt_1"), make_task("mail", "evt_1"),
				      make_task("event", "evt_2"), make_task("event", "evt_1") };

	tasks[0].body = (char *)"first";
	tasks[3].body = (char *)"second";
	fixture_open(f);
	assert_int_equal(tasks_add(f, tasks, 4), 0);
	assert_string_equal(f->fresh, "yyyn"); /* ids are unique within a queue */
	tasks[0].state = STORE_TASK_DONE;
	assert_int_equal(tasks_set(f, tasks, 1), 0);
	assert_int_equal(tasks_add(f, &tasks[3], 1), 0); /* not again, even when it is done */
	assert_string_equal(f->fresh, "n");
	assert_int_equal(task_find(f, "event", "evt_1"), 0);
	assert_int_equal(f->tasks[0].state, STORE_TASK_DONE);
	assert_null(f->tasks[0].body);
	assert_int_equal(tasks_add(f, NULL, 0), 0);
}

static void a_body_is_kept_unless_another_one_is_given(void **state)
{
	static const struct {
		const char *given, *then;
	} rows[] = { { NULL, "first" }, { "second", "second" }, { NULL, "second" } };
	struct fixture *f = *state;
	struct store_task task = make_task("event", "evt_1");

	task.body = (char *)"first";
	fixture_open(f);
	assert_int_equal(tasks_add(f, &task, 1), 0);
	for (size_t i = 0; i < 3; i++) {
		task.body = (char *)rows[i].given;
		task.state = i == 1 ? STORE_TASK_FAILED : STORE_TASK_PENDING;
		assert_int_equal(tasks_set(f, &task, 1), 0);
		assert_int_equal(task_find(f, "event", "evt_1"), 0);
		assert_string_equal(f->tasks[0].body, rows[i].then);
	}
}

static void only_a_done_task_loses_its_body(void **state)
{
	static const struct {
		enum store_task_state state;
		bool has_body;
	} rows[] = {
		{ STORE_TASK_PENDING, true },
		{ STORE_TASK_FAILED, true },
		{ STORE_TASK_DONE, false },
	};
	struct fixture *f = *state;
	struct store_task task = make_task("event", "evt_1");

	task.body = (char *)"body";
	fixture_open(f);
	assert_int_equal(tasks_add(f, &task, 1), 0);
	for (size_t i = 0; i < 3; i++) {
		task.state = rows[i].state;
		task.due_ms = 5000 + i;
		task.tried_ms = 2000 + i;
		task.attempts = (uint32_t)i + 1;
		snprintf(task.note, sizeof(task.note), "try %zu", i);
		task.body = NULL; /* unchanged */
		assert_int_equal(tasks_set(f, &task, 1), 0);
		assert_int_equal(task_find(f, "event", "evt_1"), 0);
		assert_int_equal(f->tasks[0].state, rows[i].state);
		assert_int_equal(f->tasks[0].due_ms, task.due_ms);
		assert_int_equal(f->tasks[0].tried_ms, task.tried_ms);
		assert_int_equal(f->tasks[0].attempts, task.attempts);
		assert_string_equal(f->tasks[0].note, task.note);
		assert_int_equal(f->tasks[0].body != NULL, rows[i].has_body);
	}
}

static void setting_skips_missing_tasks(void **state)
{
	struct fixture *f = *state;
	struct store_task tasks[] = { make_task("event", "none"), make_task("event", "evt_1") };

	fixture_open(f);
	assert_int_equal(tasks_add(f, &tasks[1], 1), 0);
	tasks[0].attempts = tasks[1].attempts = 3;
	assert_int_equal(tasks_set(f, tasks, 2), 0);
	assert_int_equal(task_find(f, "event", "evt_1"), 0);
	assert_int_equal(f->tasks[0].attempts, 3);
	assert_int_equal(task_find(f, "event", "none"), 0);
	assert_int_equal(f->task_count, 0);
}

static void due_tasks_are_listed_in_the_order_of_arrival(void **state)
{
	struct fixture *f = *state;
	struct store_task tasks[6];
	uint64_t second;

	for (unsigned i = 0; i < 6; i++) {
		char id[8];

		snprintf(id, sizeof(id), "%u", 9 - i); /* the order does not depend on ids */
		tasks[i] = make_task(i == 3 ? "mail" : "event", id);
		tasks[i].due_ms = 1000 - i;
	}
	tasks[2].due_ms = 5000;
	tasks[4].state = STORE_TASK_FAILED;
	fixture_open(f);
	assert_int_equal(tasks_add(f, tasks, 3), 0);
	assert_int_equal(tasks_add(f, tasks + 3, 3), 0);
	assert_int_equal(tasks_list(f, "event", STORE_TASK_PENDING, 1000, 0, 100), 0);
	assert_int_equal(f->task_count, 3);
	assert_string_equal(f->tasks[0].id, "9");
	assert_string_equal(f->tasks[1].id, "8");
	assert_string_equal(f->tasks[2].id, "4");
	second = f->tasks[1].seq;
	assert_int_equal(tasks_list(f, "event", STORE_TASK_PENDING, 1000, second, 100), 0);
	assert_int_equal(f->task_count, 1);
	assert_string_equal(f->tasks[0].id, "4");
	assert_int_equal(tasks_list(f, "event", STORE_TASK_PENDING, 999, 0, 1), 0);
	assert_int_equal(f->task_count, 1);
	assert_string_equal(f->tasks[0].id, "8"); /* the first one is due a millisecond later */
	assert_int_equal(tasks_list(f, "event", STORE_TASK_PENDING, UINT64_MAX, 0, SIZE_MAX), 0);
	assert_int_equal(f->task_count, 4);
	assert_int_equal(tasks_list(f, "event", STORE_TASK_FAILED, 1000, 0, 100), 0);
	assert_int_equal(f->task_count, 1);
	assert_string_equal(f->tasks[0].id, "5");
}

static void the_seq_of_a_pruned_task_is_not_reused(void **state)
{
	struct fixture *f = *state;
	struct store_task task = make_task("event", "evt_1");
	uint64_t seq;

	fixture_open(f);
	assert_int_equal(tasks_add(f, &task, 1), 0);
	assert_int_equal(task_find(f, "event", "evt_1"), 0);
	seq = f->tasks[0].seq;
	task.state = STORE_TASK_DONE;
	assert_int_equal(tasks_set(f, &task, 1), 0);
	assert_int_equal(tasks_prune(f, "event", 2000), 0);
	fixture_reopen(f);
	task = make_task("event", "evt_2");
	assert_int_equal(tasks_add(f, &task, 1), 0);
	assert_int_equal(tasks_list(f, "event", STORE_TASK_PENDING, 2000, seq, 10), 0);
	assert_int_equal(f->task_count, 1);
}

static void only_old_done_tasks_are_pruned(void **state)
{
	static const struct {
		const char *queue, *id;
		enum store_task_state state;
		uint64_t created_ms;
		bool is_kept;
	} rows[] = {
		{ "event", "old, done", STORE_TASK_DONE, 999, false },
		{ "event", "done just then", STORE_TASK_DONE, 1000, true },
		{ "event", "old, pending", STORE_TASK_PENDING, 1, true },
		{ "event", "old, failed", STORE_TASK_FAILED, 1, true },
		{ "mail", "another queue's", STORE_TASK_DONE, 1, true },
	};
	struct fixture *f = *state;

	fixture_open(f);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct store_task task = make_task(rows[i].queue, rows[i].id);

		task.state = rows[i].state;
		task.created_ms = rows[i].created_ms;
		assert_int_equal(tasks_add(f, &task, 1), 0);
	}
	assert_int_equal(tasks_prune(f, "event", 1000), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(task_find(f, rows[i].queue, rows[i].id), 0);
		if (f->task_count != rows[i].is_kept)
			fail_msg("%s", rows[i].id);
	}
}

static void an_id_must_match_completely(void **state)
{
	struct fixture *f = *state;
	char longest[STORE_TASK_ID_MAX], longer[STORE_TASK_ID_MAX + 1];
	struct store_task task;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	task = make_task("claim", longest);
	fixture_open(f);
	assert_int_equal(tasks_add(f, &task, 1), 0);
	assert_int_equal(task_find(f, "claim", longest), 0);
	assert_int_equal(f->task_count, 1);
	assert_int_equal(task_find(f, "claim", longer), 0);
	assert_int_equal(f->task_count, 0);
	assert_int_equal(task_find(f, "claim", "' OR 1 --"), 0);
	assert_int_equal(f->task_count, 0);
}

static void queues_are_counted_by_state(void **state)
{
	struct fixture *f = *state;
	struct store_task tasks[] = { make_task("mail", "1"), make_task("event", "1"),
				      make_task("event", "2"), make_task("event", "3"),
				      make_task("event", "4") };

	fixture_open(f);
	assert_int_equal(queues_count(f), 0);
	assert_int_equal(f->queue_count, 0);
	tasks[0].state = STORE_TASK_DONE;
	tasks[1].state = STORE_TASK_FAILED;
	tasks[1].created_ms = 1; /* older, but not pending */
	tasks[2].created_ms = 40;
	tasks[3].created_ms = 30;
	tasks[4].created_ms = 50;
	assert_int_equal(tasks_add(f, tasks, 5), 0);
	assert_int_equal(queues_count(f), 0);
	assert_int_equal(f->queue_count, 2);
	assert_string_equal(f->queues[0].queue, "event");
	assert_int_equal(f->queues[0].pending, 3);
	assert_int_equal(f->queues[0].done, 0);
	assert_int_equal(f->queues[0].failed, 1);
	assert_int_equal(f->queues[0].oldest_ms, 30);
	assert_string_equal(f->queues[1].queue, "mail");
	assert_int_equal(f->queues[1].pending, 0);
	assert_int_equal(f->queues[1].done, 1);
	assert_int_equal(f->queues[1].oldest_ms, 0);
}

/* A number that changes when another connection has changed the file. */
static int64_t data_version(sqlite3 *db)
{
	sqlite3_stmt *stmt;
	int64_t version;

	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA data_version", -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	version = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return version;
}

static void a_batch_is_all_or_nothing(void **state)
{
	enum { COUNT = 1000, BODY = 4096 };
	struct fixture *f = *state;
	struct store_task *tasks = calloc(COUNT, sizeof(*tasks));
	char *body = malloc(BODY);
	int64_t before;
	sqlite3 *db;

	memset(body, 'b', BODY - 1);
	body[BODY - 1] = '\0';
	for (unsigned i = 0; i < COUNT; i++) {
		char id[8];

		snprintf(id, sizeof(id), "%u", i);
		tasks[i] = make_task("event", id);
		tasks[i].body = body;
	}
	fixture_open(f);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	before = data_version(db);
	/* A write that fails halfway: the trigger simulates a full disk. */
	assert_int_equal(sqlite3_exec(db,
				      "CREATE TRIGGER t BEFORE INSERT ON tasks WHEN NEW.id = '999' "
				      "BEGIN SELECT RAISE(ABORT, 'no'); END",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_not_equal(tasks_add(f, tasks, COUNT), 0);
	assert_string_equal(f->fresh, "");
	assert_int_equal(data_version(db), before); /* no part of it was ever visible */
	assert_int_equal(sqlite3_exec(db, "DROP TRIGGER t", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(tasks_add(f, tasks, COUNT), 0);
	assert_string_equal(f->fresh, "yyyyyyyyyyyyyyy");
	assert_int_equal(data_version(db), before + 1);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	fixture_reopen(f);
	assert_int_equal(tasks_list(f, "event", STORE_TASK_PENDING, 1000, 0, COUNT), 0);
	assert_int_equal(f->task_count, COUNT);
	assert_string_equal(f->tasks[COUNT - 1].body, body);
	free(tasks);
	free(body);
}

static void a_key_is_claimed_once(void **state)
{
	struct fixture *f = *state;
	struct store_task claim = make_task("claim", "cs_1"), unknown = make_task("claim", "cs_2");
	struct store_key key = make_key(1, 7), second = make_key(2, 7), orphan = make_key(3, 8);

	claim.state = STORE_TASK_DONE;
	fixture_open(f);
	add_account(f, 7);
	assert_int_equal(key_claim(f, &claim, &key), 0);
	assert_int_equal(key_claim(f, &claim, &second), -EEXIST);
	assert_int_equal(key_claim(f, &unknown, &key), -EEXIST);
	assert_int_equal(key_claim(f, &unknown, &orphan), -ENOENT);
	fixture_reopen(f);
	fixture_load(f);
	assert_int_equal(f->key_count, 1); /* the second claim left no key... */
	assert_int_equal(f->keys[0].id, 1);
	assert_int_equal(task_find(f, "claim", "cs_1"), 0);
	assert_int_equal(f->task_count, 1);
	assert_int_equal(f->tasks[0].state, STORE_TASK_DONE);
	assert_int_equal(task_find(f, "claim", "cs_2"), 0);
	assert_int_equal(f->task_count, 0); /* ...and the failed claim left no task */
}

static void an_unknown_state_is_corruption(void **state)
{
	struct fixture *f = *state;
	struct store_task task = make_task("event", "evt_1");

	task.state = (enum store_task_state)STORE_TASK_STATE_COUNT;
	fixture_open(f);
	assert_int_equal(tasks_add(f, &task, 1), 0);
	assert_int_equal(task_find(f, "event", "evt_1"), -EUCLEAN);
	assert_non_null(strstr(store_error(f->store), "task 'evt_1' has an unknown state"));
}

static int account_change(struct fixture *f, const struct store_account_change *change)
{
	store_account_change(f->store, change, fixture_done, f);
	return fixture_wait(f);
}

/* Either the account is written and the tasks are added, or neither. */
static void tasks_are_added_if_and_only_if_their_account_is_written(void **state)
{
	struct store_account account = { .id = 7, .tier = "basic" }, later = account;
	struct store_account other = { .id = 8 };
	struct store_task created = make_task("hook", "created");
	struct store_task changed = make_task("hook", "changed"), none = make_task("hook", "none");
	struct fixture *f = *state;
	struct store_account_change add = {
		.account = &account, .is_new = true, .tasks = &created, .task_count = 1
	};
	struct store_account_change set = {
		.before = &account, .account = &later, .tasks = &changed, .task_count = 1
	};

	created.body = (char *)"first";
	strcpy(later.tier, "pro");
	fixture_open(f);
	assert_int_equal(account_change(f, &add), 0);
	assert_int_equal(account_change(f, &set), 0);
	assert_int_equal(tasks_list(f, "hook", STORE_TASK_PENDING, 1000, 0, 9), 0);
	assert_int_equal(f->task_count, 2);
	assert_string_equal(f->tasks[0].id, "created");
	assert_string_equal(f->tasks[0].body, "first");
	assert_string_equal(f->tasks[1].id, "changed");
	add.tasks = set.tasks = &none;
	assert_int_equal(account_change(f, &add), -EEXIST);
	set.account = &other;
	assert_int_equal(account_change(f, &set), -ENOENT);
	assert_int_equal(task_find(f, "hook", "none"), 0);
	assert_int_equal(f->task_count, 0);
	fixture_load(f);
	assert_string_equal(f->accounts[0].tier, "pro");
}

static void a_task_that_exists_does_not_stop_its_account(void **state)
{
	struct store_account account = { .id = 7, .tier = "basic" }, later = account;
	struct store_task tasks[] = { make_task("hook", "old"), make_task("hook", "new") };
	struct fixture *f = *state;

	strcpy(later.tier, "pro");
	fixture_open(f);
	assert_int_equal(account_add(f, &account), 0);
	tasks[0].body = (char *)"first";
	assert_int_equal(tasks_add(f, tasks, 1), 0);
	tasks[0].body = (char *)"second";
	assert_int_equal(account_change(f, &(struct store_account_change){ .before = &account,
									   .account = &later,
									   .tasks = tasks,
									   .task_count = 2 }),
			 0);
	assert_int_equal(task_find(f, "hook", "old"), 0);
	assert_string_equal(f->tasks[0].body, "first");
	assert_int_equal(task_find(f, "hook", "new"), 0);
	assert_int_equal(f->task_count, 1);
	fixture_load(f);
	assert_string_equal(f->accounts[0].tier, "pro");
}

static void nothing_works_before_the_store_is_open(void **state)
{
	struct fixture *f = *state;
	struct store_task task = make_task("event", "evt_1");
	struct store_usage row = { .account = 7, .units = 1 };
	struct store_key key = make_key(1, 7);

	assert_int_equal(tasks_add(f, &task, 1), -ENOTCONN);
	assert_int_equal(tasks_list(f, "event", STORE_TASK_PENDING, 0, 0, 1), -ENOTCONN);
	assert_int_equal(task_find(f, "event", "evt_1"), -ENOTCONN);
	assert_int_equal(tasks_set(f, &task, 1), -ENOTCONN);
	assert_int_equal(tasks_prune(f, "event", 1), -ENOTCONN);
	assert_int_equal(queues_count(f), -ENOTCONN);
	assert_int_equal(usage_open(f, 0, 1, 1), -ENOTCONN);
	assert_int_equal(usage_close(f, &row, 1, NULL, 0), -ENOTCONN);
	assert_int_equal(key_claim(f, &task, &key), -ENOTCONN);
	assert_int_equal(keys_revoke(f, 7, 1), -ENOTCONN);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_task_comes_back_as_it_was_added),
		TEST(records_and_bodies_are_copied),
		TEST(a_task_is_added_once),
		TEST(a_body_is_kept_unless_another_one_is_given),
		TEST(only_a_done_task_loses_its_body),
		TEST(setting_skips_missing_tasks),
		TEST(due_tasks_are_listed_in_the_order_of_arrival),
		TEST(the_seq_of_a_pruned_task_is_not_reused),
		TEST(only_old_done_tasks_are_pruned),
		TEST(an_id_must_match_completely),
		TEST(queues_are_counted_by_state),
		TEST(a_key_is_claimed_once),
		TEST(tasks_are_added_if_and_only_if_their_account_is_written),
		TEST(a_task_that_exists_does_not_stop_its_account),
		TEST(nothing_works_before_the_store_is_open),
	};

	/* These change SQLite's file directly. */
	const struct CMUnitTest sqlite_tests[] = {
		TEST(a_batch_is_all_or_nothing),
		TEST(an_unknown_state_is_corruption),
	};
	int failed = cmocka_run_group_tests(sqlite_tests, NULL, NULL);

	return failed + RUN_TESTS("tasks", tests);
}
