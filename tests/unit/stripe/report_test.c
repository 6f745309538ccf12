/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report_test: the arithmetic of identifiers, timestamps and windows, on which exact billing
 * depends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "stripe/report.h"

#define HOUR 3600

static void identifiers_differ_by_account_window_and_closing(void **state)
{
	static const struct {
		uint64_t account, start_s;
		uint32_t seconds, closing;
		const char *id, *old;
	} rows[] = {
		{ 1, 3600, 60, 0, "tg_0000000000000001_3600_60_0", "tg_0000000000000001_3600_0" },
		{ 1, 3600, 61, 0, "tg_0000000000000001_3600_61_0", "tg_0000000000000001_3600_0" },
		{ 1, 3600, 60, 1, "tg_0000000000000001_3600_60_1", "tg_0000000000000001_3600_1" },
		{ 1, 36, 60, 0, "tg_0000000000000001_36_60_0", "tg_0000000000000001_36_0" },
		{ UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX,
		  "tg_ffffffffffffffff_18446744073709551615_4294967295_4294967295",
		  "tg_ffffffffffffffff_18446744073709551615_4294967295" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct store_usage window = { .account = rows[i].account,
						    .window_start_s = rows[i].start_s,
						    .window_seconds = rows[i].seconds };
		char id[REPORT_ID_MAX];

		report_identifier(&window, rows[i].closing, id);
		assert_string_equal(id, rows[i].id);
		assert_true(strlen(id) <= 86); /* Stripe's limit, and room for the retry */
		report_old_identifier(&window, rows[i].closing, id);
		assert_string_equal(id, rows[i].old);
	}
}

static void a_timestamp_is_in_its_window_and_not_in_the_future(void **state)
{
	static const struct {
		uint32_t seconds, closing;
		uint64_t now_s, at_s;
		const char *why;
	} rows[] = {
		{ HOUR, 0, 9 * HOUR, 2 * HOUR - 1, "the last second" },
		{ HOUR, 1, 9 * HOUR, 2 * HOUR - 61, "another minute for another closing" },
		{ HOUR, 59, 9 * HOUR, HOUR + 59, "the last minute of the window" },
		{ HOUR, 60, 9 * HOUR, HOUR, "never before the window" },
		{ HOUR, UINT32_MAX, 9 * HOUR, HOUR, "no wrap" },
		{ HOUR, 0, HOUR + 100, HOUR + 100, "closed early" },
		{ HOUR, 0, HOUR - 100, HOUR, "a clock that is slow" },
		{ HOUR, 0, HOUR - 240, HOUR, "by as much as Stripe accepts, and a minute less" },
		{ HOUR, 0, HOUR - 241, HOUR - 241, "the window is in the future" },
		{ 1, 0, 9 * HOUR, HOUR, "a window of a second" },
		{ 1, 1, 9 * HOUR, HOUR, "and its second closing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t at_s =
			report_timestamp(HOUR, rows[i].seconds, rows[i].closing, rows[i].now_s);

		if (at_s != rows[i].at_s)
			fail_msg("%s: %llu, not %llu", rows[i].why, (unsigned long long)at_s,
				 (unsigned long long)rows[i].at_s);
	}
}

static void windows_grow_until_reports_need_half_of_the_calls(void **state)
{
	static const struct {
		uint64_t accounts, every_s;
		uint32_t calls, factor;
	} rows[] = {
		{ 0, HOUR, 25, 1 },	  { 45000, HOUR, 25, 1 },  { 45001, HOUR, 25, 2 },
		{ 100000, HOUR, 25, 3 },  { 100000, 60, 25, 134 }, { 100000, HOUR, 0, 1 },
		{ 100000, 86400, 25, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(report_factor(rows[i].accounts, rows[i].every_s, rows[i].calls),
				 rows[i].factor);
}

static void units_are_read_from_pending_and_delivered_tasks(void **state)
{
	static const struct {
		const char *body, *note;
		uint64_t units;
	} rows[] = {
		{ "event_name=quantity&identifier=tg_1&timestamp=5&payload%5Bid%5D=c&payload%"
		  "5Bvalue%5D=42",
		  "", 42 },
		{ "action=increment&quantity=7&timestamp=1760000000", "", 7 },
		{ NULL, "13 units of api_requests", 13 },
		{ NULL, "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char body[128];
		struct store_task task = { .body = rows[i].body ? body : NULL };

		snprintf(body, sizeof(body), "%s", rows[i].body ? rows[i].body : "");
		snprintf(task.note, sizeof(task.note), "%s", rows[i].note);
		assert_int_equal(report_task_units(&task), rows[i].units);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifiers_differ_by_account_window_and_closing),
		cmocka_unit_test(a_timestamp_is_in_its_window_and_not_in_the_future),
		cmocka_unit_test(windows_grow_until_reports_need_half_of_the_calls),
		cmocka_unit_test(units_are_read_from_pending_and_delivered_tasks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
