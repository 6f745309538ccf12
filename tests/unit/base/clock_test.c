/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clock_test: days and months as in the C library's calendar, and clocks that never run backwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static void days_and_months_are_those_of_the_calendar(void **state)
{
	(void)state;
	for (int64_t day = 0; day < 365L * 400; day++) { /* to the year 2369, with 2000 and 2100 */
		time_t second = day * 86400;
		struct tm tm;
		uint32_t month;

		gmtime_r(&second, &tm);
		month = (uint32_t)((tm.tm_year - 70) * 12 + tm.tm_mon);
		if (clock_month((uint64_t)second * 1000) != month ||
		    clock_month((uint64_t)second * 1000 + 86399999) != month ||
		    clock_day((uint64_t)second * 1000 + 86399999) != day)
			fail_msg("day %lld: %d-%02d-%02d", (long long)day, tm.tm_year + 1900,
				 tm.tm_mon + 1, tm.tm_mday);
		assert_int_equal(clock_day_start_ms((uint32_t)day), (uint64_t)second * 1000);
		if (tm.tm_mday == 1)
			assert_int_equal(clock_month_start_ms(month), (uint64_t)second * 1000);
	}
}

static void the_steady_clock_follows_a_clock_that_was_set_back_after_a_while(void **state)
{
	static const struct {
		uint64_t wall_ms, mono_s, steady_ms;
		const char *why;
	} rows[] = {
		{ 1000000, 100, 1000000, "the first" },
		{ 1001000, 101, 1001000, "forwards" },
		{ 1000500, 102, 1001000, "back by half a second" },
		{ 1001500, 103, 1001500, "caught up" },
		{ 8201500, 103, 8201500, "two hours ahead" },
		{ 1002500, 104, 8201500, "corrected" },
		{ 1046500, 148, 8201500, "not yet" },
		{ 1047500, 149, 1047500, "45 seconds later" },
		{ 1048000, 150, 1048000, "and on" },
		{ 1047999, 151, 1048000, "back a little" },
		{ 1048001, 151, 1048001, "caught up" },
		{ 1048000, 197, 1048001, "back a little again: the wait begins again" },
		{ 1048000, 241, 1048001, "not yet" },
		{ 1048000, 242, 1048000, "45 seconds later" },
	};
	struct clock_steady steady = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (clock_steady_read(&steady, rows[i].wall_ms, rows[i].mono_s * NS_PER_SECOND) !=
		    rows[i].steady_ms)
			fail_msg("%s", rows[i].why);
	}
}

static void a_clock_that_is_set_is_noticed(void **state)
{
	static const struct {
		uint64_t wall_ms, mono_s;
		uint32_t jumps;
		const char *why;
	} rows[] = {
		{ 9000000, 100, 0, "the first reading" },
		{ 9100000, 200, 0, "time passes" },
		{ 9160000, 200, 0, "ahead by a minute" },
		{ 9040000, 200, 0, "behind by a minute" },
		{ 9160001, 200, 1, "by more" },
		{ 9260001, 300, 1, "time passes" },
		{ 9200000, 300, 2, "back" },
		{ 9200000, 300, 2, "the same" },
	};
	struct clock_jumps jumps = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (clock_jumps_read(&jumps, rows[i].wall_ms, rows[i].mono_s * NS_PER_SECOND) !=
		    rows[i].jumps)
			fail_msg("%s", rows[i].why);
	}
}

static void clocks_do_not_run_backwards(void **state)
{
	uint64_t mono = clock_mono_ns(), wall = clock_wall_ms();

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint64_t next_mono = clock_mono_ns(), next_wall = clock_wall_ms();

		assert_true(next_mono >= mono && next_wall >= wall);
		mono = next_mono;
		wall = next_wall;
	}
	assert_in_range(wall / 1000, (uint64_t)time(NULL) - 2, (uint64_t)time(NULL) + 2);
}

static void the_boot_id_stays(void **state)
{
	uint8_t a[16] = { 0 }, b[16] = { 0 }, none[16] = { 0 };

	(void)state;
	assert_int_equal(clock_boot_id(a), 0);
	assert_int_equal(clock_boot_id(b), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, none, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(days_and_months_are_those_of_the_calendar),
		cmocka_unit_test(the_steady_clock_follows_a_clock_that_was_set_back_after_a_while),
		cmocka_unit_test(a_clock_that_is_set_is_noticed),
		cmocka_unit_test(clocks_do_not_run_backwards),
		cmocka_unit_test(the_boot_id_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
