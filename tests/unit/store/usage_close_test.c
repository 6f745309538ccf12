/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * usage_close_test: every counted unit is closed exactly once, no matter when and in which epoch it
 * was counted.
 */
#include "unit/store/store_fixture.h"

#define HOUR 3600

static void put(struct fixture *f, uint64_t account, uint64_t epoch, uint64_t window_start_s,
		uint64_t units)
{
	const struct store_usage row = { .account = account,
					 .epoch = epoch,
					 .window_start_s = window_start_s,
					 .window_seconds = HOUR,
					 .requests = units ? units : 1,
					 .units = units };

	assert_int_equal(usage_put(f, &row, 1, NULL, 0), 0);
}

/* List the only open row. */
static struct store_usage listed(struct fixture *f, uint64_t ended_by_s)
{
	assert_int_equal(usage_open(f, 0, ended_by_s, 10), 0);
	assert_int_equal(f->usage_count, 1);
	return f->usage[0];
}

static void expect_none_open(struct fixture *f)
{
	assert_int_equal(usage_open(f, 0, UINT64_MAX, 10), 0);
	assert_int_equal(f->usage_count, 0);
}

static void a_window_is_open_until_it_is_closed_and_not_before_its_end(void **state)
{
	struct fixture *f = *state;
	struct store_usage row;

	fixture_open(f);
	put(f, 7, 100, HOUR, 20);
	put(f, 7, 200, HOUR, 3);
	assert_int_equal(usage_open(f, 0, 2 * HOUR - 1, 10), 0);
	assert_int_equal(f->usage_count, 0);
	row = listed(f, 2 * HOUR);
	assert_int_equal(row.account, 7);
	assert_int_equal(row.epoch, 0);
	assert_int_equal(row.window_start_s, HOUR);
	assert_int_equal(row.window_seconds, HOUR);
	assert_int_equal(row.requests, 23);
	assert_int_equal(row.units, 23);
	assert_int_equal(row.closed_units, 0);
	assert_int_equal(row.closings, 0);
	assert_int_equal(usage_close(f, &row, 1, NULL, 0), 0);
	expect_none_open(f);
	fixture_reopen(f);
	expect_none_open(f);
	assert_int_equal(usage_list(f, 7, 0, 10), 0); /* closed usage can still be read */
	assert_int_equal(f->usage[0].units, 23);
	assert_int_equal(f->usage[0].closed_units, 23);
	assert_int_equal(f->usage[0].closings, 1);
}

static void units_counted_after_the_listing_stay_open(void **state)
{
	static const struct {
		uint64_t epoch, units, left;
		const char *why;
	} rows[] = {
		{ 100, 25, 5, "an epoch that was listed counted more" },
		{ 300, 4, 4, "a new epoch" },
		{ 50, 6, 6, "a new epoch before the others" },
	};
	uint64_t sum = 0;
	struct fixture *f = *state;

	fixture_open(f);
	put(f, 7, 100, HOUR, 20);
	put(f, 7, 200, HOUR, 3);
	sum = 23;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct store_usage row = listed(f, 2 * HOUR);

		put(f, 7, rows[i].epoch, HOUR, rows[i].units);
		assert_int_equal(usage_close(f, &row, 1, NULL, 0), 0);
		sum += rows[i].left;
		row = listed(f, 2 * HOUR);
		if (row.units != sum || row.units - row.closed_units != rows[i].left ||
		    row.closings != i + 1)
			fail_msg("%s", rows[i].why);
	}
}

static void a_partly_closed_window_is_listed_again(void **state)
{
	struct fixture *f = *state;
	struct store_usage row;

	fixture_open(f);
	put(f, 7, 100, HOUR, 20);
	row = listed(f, 2 * HOUR);
	put(f, 7, 100, HOUR, 25);
	assert_int_equal(usage_close(f, &row, 1, NULL, 0), 0);
	row = listed(f, 2 * HOUR);
	assert_int_equal(row.units, 25);
	assert_int_equal(row.closed_units, 20);
	put(f, 7, 100, HOUR, 26);
	assert_int_equal(usage_close(f, &row, 1, NULL, 0), 0);
	row = listed(f, 2 * HOUR);
	assert_int_equal(row.closed_units, 25);
	assert_int_equal(row.closings, 2);
}

static void rewritten_totals_open_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_usage row;

	fixture_open(f);
	put(f, 7, 100, HOUR, 20);
	row = listed(f, 2 * HOUR);
	assert_int_equal(usage_close(f, &row, 1, NULL, 0), 0);
	put(f, 7, 100, HOUR, 20);
	put(f, 7, 100, HOUR, 19);
	expect_none_open(f);
	put(f, 7, 100, HOUR, 21);
	row = listed(f, 2 * HOUR);
	assert_int_equal(row.units, 21);
	assert_int_equal(row.closed_units, 20);
	assert_int_equal(usage_close(f, &row, 1, NULL, 0), 0);
	expect_none_open(f);
	assert_int_equal(usage_list(f, 7, 0, 10), 0);
	assert_int_equal(f->usage[0].closings, 2);
}

static void free_requests_need_no_closing(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	put(f, 7, 100, HOUR, 0);
	expect_none_open(f);
	put(f, 7, 100, HOUR, 2);
	assert_int_equal(listed(f, 2 * HOUR).units, 2);
}

static void the_second_of_two_closings_gets_eagain(void **state)
{
	struct fixture *f = *state;
	struct store_task task = make_task("usage", "7-3600-1");
	struct store_usage row;

	fixture_open(f);
	put(f, 7, 100, HOUR, 20);
	row = listed(f, 2 * HOUR);
	assert_int_equal(usage_close(f, &row, 1, &task, 1), 0);
	put(f, 7, 100, HOUR, 30);
	strcpy(task.id, "another");
	assert_int_equal(usage_close(f, &row, 1, &task, 1), -EAGAIN);
	row = listed(f, 2 * HOUR);
	assert_int_equal(row.closed_units, 20);
	assert_int_equal(task_find(f, "usage", "another"), 0);
	assert_int_equal(f->task_count, 0);
}

static void a_closing_is_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_task tasks[] = { make_task("usage", "7"), make_task("usage", "8") };
	struct store_usage rows[2];

	fixture_open(f);
	put(f, 7, 100, HOUR, 20);
	put(f, 8, 100, HOUR, 5);
	assert_int_equal(usage_open(f, 0, 2 * HOUR, 10), 0);
	memcpy(rows, f->usage, sizeof(rows));
	assert_int_equal(rows[1].account, 8);
	rows[1].closed_units = 1;
	assert_int_equal(usage_close(f, rows, 2, tasks, 2), -EAGAIN);
	rows[1].closed_units = 0;
	assert_int_equal(tasks_add(f, &tasks[1], 1), 0);
	assert_int_equal(usage_close(f, rows, 2, tasks, 2), -EEXIST);
	assert_int_equal(usage_close(f, (struct store_usage[]){ rows[0], rows[0] }, 2, tasks, 1),
			 -EAGAIN); /* the same window twice */
	assert_int_equal(usage_open(f, 0, 2 * HOUR, 10), 0);
	assert_int_equal(f->usage_count, 2);
	assert_int_equal(f->usage[0].closed_units, 0);
	assert_int_equal(f->usage[0].closings, 0);
	assert_int_equal(task_find(f, "usage", "7"), 0);
	assert_int_equal(f->task_count, 0);
	assert_int_equal(usage_close(f, rows, 2, tasks, 1), 0);
	expect_none_open(f);
	assert_int_equal(task_find(f, "usage", "7"), 0);
	assert_int_equal(f->task_count, 1);
}

static void units_that_were_never_counted_are_not_closed(void **state)
{
	static const struct {
		uint64_t account, units, closed_units;
		const char *why;
	} rows[] = {
		{ 7, 21, 0, "more than was used" },
		{ 7, 0, 0, "nothing" },
		{ 8, 1, 0, "nobody's" },
	};
	struct fixture *f = *state;

	fixture_open(f);
	put(f, 7, 100, HOUR, 20);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct store_usage row = { .account = rows[i].account,
					   .window_start_s = HOUR,
					   .window_seconds = HOUR,
					   .units = rows[i].units,
					   .closed_units = rows[i].closed_units };

		if (usage_close(f, &row, 1, NULL, 0) != -EINVAL)
			fail_msg("%s: %d", rows[i].why, f->err);
	}
	assert_int_equal(listed(f, 2 * HOUR).closed_units, 0);
}

static void open_windows_come_in_the_order_of_their_end(void **state)
{
	static const struct {
		uint64_t account, window_start_s;
		uint32_t window_seconds;
	} rows[] = { { 9, HOUR, HOUR / 2 },
		     { 7, HOUR, HOUR },
		     { 8, HOUR, HOUR },
		     { 9, 3 * HOUR / 2, HOUR / 2 },
		     { 7, 2 * HOUR, HOUR } };
	struct fixture *f = *state;

	fixture_open(f);
	for (size_t i = 5; i-- > 0;) {
		const struct store_usage row = { .account = rows[i].account,
						 .epoch = 100,
						 .window_start_s = rows[i].window_start_s,
						 .window_seconds = rows[i].window_seconds,
						 .requests = 1,
						 .units = 1 };

		assert_int_equal(usage_put(f, &row, 1, NULL, 0), 0);
	}
	assert_int_equal(usage_open(f, 0, 3 * HOUR, 10), 0);
	assert_int_equal(f->usage_count, 5);
	for (size_t i = 0; i < 5; i++) {
		if (f->usage[i].account != rows[i].account ||
		    f->usage[i].window_start_s != rows[i].window_start_s ||
		    f->usage[i].window_seconds != rows[i].window_seconds)
			fail_msg("row %zu", i);
	}
	assert_int_equal(usage_open(f, 0, 3 * HOUR, 2), 0);
	assert_int_equal(f->usage_count, 2);
	assert_int_equal(f->usage[1].account, 7);
	assert_int_equal(usage_open(f, 0, 3 * HOUR / 2, 10), 0);
	assert_int_equal(f->usage_count, 1);
}

/* Windows that differ from the one before in their end, start, account and length, in that order.
 */
static void open_windows_are_listed_page_by_page(void **state)
{
	static const struct {
		uint64_t account;
		uint64_t window_start_s;
		uint32_t window_seconds;
	} rows[] = { { 9, HOUR, HOUR / 2 },
		     { 7, HOUR / 2, 3 * HOUR / 2 },
		     { 7, HOUR, HOUR },
		     { 0x7abcdef012345678, HOUR, HOUR },
		     { 7, 2 * HOUR, HOUR },
		     { 9, 2 * HOUR, HOUR },
		     { 7, 2 * HOUR + 1, 2 * HOUR } };
	const size_t count = sizeof(rows) / sizeof(rows[0]);
	struct fixture *f = *state;
	struct store_usage after = { 0 };

	fixture_open(f);
	for (size_t i = count; i-- > 0;) {
		for (uint64_t epoch = 100; epoch < 102; epoch++) {
			const struct store_usage row = { .account = rows[i].account,
							 .epoch = epoch,
							 .window_start_s = rows[i].window_start_s,
							 .window_seconds = rows[i].window_seconds,
							 .requests = 1,
							 .units = 1 };

			assert_int_equal(usage_put(f, &row, 1, NULL, 0), 0);
		}
	}
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(usage_open_after(f, 0, UINT64_MAX, i ? &after : NULL, 1), 0);
		assert_int_equal(f->usage_count, 1);
		after = f->usage[0];
		if (after.account != rows[i].account || after.units != 2 ||
		    after.window_start_s != rows[i].window_start_s ||
		    after.window_seconds != rows[i].window_seconds)
			fail_msg("row %zu", i);
		/* The next page does not need this row any more. */
		if (i % 4 == 0)
			assert_int_equal(usage_close(f, &after, 1, NULL, 0), 0);
	}
	assert_int_equal(usage_open_after(f, 0, UINT64_MAX, &after, 1), 0);
	assert_int_equal(f->usage_count, 0);
	after = (struct store_usage){ .account = 7,
				      .window_start_s = HOUR / 2,
				      .window_seconds = 3 * HOUR / 2 };
	assert_int_equal(usage_open_after(f, 7, 0, &after, 10), 0);
	assert_int_equal(f->usage_count, 2);
	assert_int_equal(f->usage[0].window_start_s, HOUR);
	assert_int_equal(f->usage[1].window_start_s, 2 * HOUR + 1);
}

static void open_windows_of_an_account_are_listed_ended_or_not(void **state)
{
	struct fixture *f = *state;
	struct store_usage row;

	fixture_open(f);
	put(f, 7, 100, HOUR, 1);
	put(f, 7, 100, 2 * HOUR, 2);
	put(f, 7, 200, 2 * HOUR, 3);
	put(f, 8, 100, HOUR, 4);
	row = (struct store_usage){
		.account = 7, .window_start_s = HOUR, .window_seconds = HOUR, .units = 1
	};
	assert_int_equal(usage_close(f, &row, 1, NULL, 0), 0);
	assert_int_equal(usage_open(f, 7, 0, 10), 0);
	assert_int_equal(f->usage_count, 1);
	assert_int_equal(f->usage[0].window_start_s, 2 * HOUR);
	assert_int_equal(f->usage[0].units, 5);
	assert_int_equal(usage_open(f, 9, 0, 10), 0);
	assert_int_equal(f->usage_count, 0);
}

static void a_deleted_account_takes_its_keys_and_usage_along(void **state)
{
	const struct store_account accounts[] = {
		{ .id = 7, .tier = "basic", .subscription = "sub_7" },
		{ .id = 8, .tier = "basic", .subscription = "sub_8" }
	};
	const struct store_key keys[] = {
		{ .id = 1, .account = 7, .hash = { 1 }, .created_ms = 1 },
		{ .id = 2, .account = 8, .hash = { 2 }, .created_ms = 1 }
	};
	struct fixture *f = *state;
	struct store_usage row;

	fixture_open(f);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(account_add(f, &accounts[i]), 0);
		put(f, accounts[i].id, 100, HOUR, 5);
		put(f, accounts[i].id, 100, 2 * HOUR, 5);
	}
	assert_int_equal(keys_add(f, keys, 2), 0);
	assert_int_equal(account_delete(f, 7, false), -EBUSY);
	for (uint64_t start_s = HOUR; start_s <= 2 * HOUR; start_s += HOUR) {
		row = (struct store_usage){
			.account = 7, .window_start_s = start_s, .window_seconds = HOUR, .units = 5
		};
		assert_int_equal(usage_close(f, &row, 1, NULL, 0), 0);
	}
	assert_int_equal(account_delete(f, 7, false), 0);
	assert_int_equal(account_delete(f, 7, false), -ENOENT);
	assert_int_equal(account_delete(f, 8, true), 0);
	fixture_reopen(f);
	fixture_load(f);
	assert_int_equal(f->account_count, 0);
	assert_int_equal(f->key_count, 0);
	assert_int_equal(usage_list(f, 0, 0, 10), 0);
	assert_int_equal(f->usage_count, 0);
	assert_int_equal(usage_open(f, 0, UINT64_MAX, 10), 0);
	assert_int_equal(f->usage_count, 0);
	/* Its subscription and its key's hash are free again. */
	assert_int_equal(account_add(f, &accounts[0]), 0);
	assert_int_equal(keys_add(f, keys, 1), 0);
}

static void close_all(struct fixture *f)
{
	assert_int_equal(usage_open(f, 0, UINT64_MAX, 100), 0);
	for (size_t i = f->usage_count; i-- > 0;) {
		const struct store_usage row = f->usage[i];

		assert_int_equal(usage_close(f, &row, 1, NULL, 0), 0);
	}
}

static void old_closed_usage_is_pruned_except_what_slots_may_hold(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	for (unsigned hour = 1; hour <= 5; hour++)
		put(f, 7, 100, hour * HOUR, 3);
	put(f, 7, 200, 5 * HOUR, 3);
	put(f, 9, 100, HOUR, 3);
	close_all(f);
	put(f, 7, 100, 2 * HOUR, 4); /* open again */
	assert_int_equal(usage_prune(f, 4 * HOUR), 0);
	assert_int_equal(usage_list(f, 7, 0, 10), 0);
	assert_int_equal(f->usage_count, 3); /* 1 and 3 are gone; 3 ended exactly at the limit */
	assert_int_equal(f->usage[0].window_start_s, 2 * HOUR);
	assert_int_equal(f->usage[0].closed_units, 3);
	assert_int_equal(f->usage[1].window_start_s, 4 * HOUR);
	assert_int_equal(usage_list(f, 9, 0, 10), 0);
	assert_int_equal(f->usage_count, 1);
	close_all(f);
	assert_int_equal(usage_prune(f, 100 * HOUR), 0);
	assert_int_equal(usage_list(f, 7, 0, 10), 0);
	assert_int_equal(f->usage_count, 2);
	/* Totals that a slot writes again after a restart do not reopen the window. */
	put(f, 7, 100, 4 * HOUR, 3);
	put(f, 7, 200, 5 * HOUR, 3);
	put(f, 9, 100, HOUR, 3);
	expect_none_open(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_window_is_open_until_it_is_closed_and_not_before_its_end),
		TEST(units_counted_after_the_listing_stay_open),
		TEST(a_partly_closed_window_is_listed_again),
		TEST(rewritten_totals_open_nothing),
		TEST(free_requests_need_no_closing),
		TEST(the_second_of_two_closings_gets_eagain),
		TEST(a_closing_is_all_or_nothing),
		TEST(units_that_were_never_counted_are_not_closed),
		TEST(open_windows_come_in_the_order_of_their_end),
		TEST(open_windows_are_listed_page_by_page),
		TEST(a_deleted_account_takes_its_keys_and_usage_along),
		TEST(open_windows_of_an_account_are_listed_ended_or_not),
		TEST(old_closed_usage_is_pruned_except_what_slots_may_hold),
	};

	return RUN_TESTS("usage_close", tests);
}
