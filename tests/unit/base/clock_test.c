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
		cmocka_unit_test(clocks_do_not_run_backwards),
		cmocka_unit_test(the_boot_id_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
