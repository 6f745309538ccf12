/* SPDX-License-Identifier: BSD-2-Clause */
/* period_test: billing periods, and when quotas start again. */
#include "unit/enforce/enforce_fixture.h"

#include <time.h>

#include "enforce/period.h"

static uint64_t at(const char *text)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%d %H:%M:%S", &tm);

	if (!end || *end)
		fail_msg("no time: %s", text);
	return (uint64_t)timegm(&tm);
}

static void months_are_added_as_people_add_them(void **state)
{
	static const struct {
		const char *from;
		unsigned months;
		const char *to;
	} rows[] = {
		{ "2026-01-15 10:20:30", 1, "2026-02-15 10:20:30" },
		{ "2026-01-31 10:20:30", 1, "2026-02-28 10:20:30" },
		{ "2028-01-31 10:20:30", 1, "2028-02-29 10:20:30" },
		{ "2026-01-31 00:00:00", 2, "2026-03-31 00:00:00" },
		{ "2026-08-31 23:59:59", 6, "2027-02-28 23:59:59" },
		{ "2026-12-01 00:00:00", 13, "2028-01-01 00:00:00" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (period_add_months(at(rows[i].from), rows[i].months) != at(rows[i].to))
			fail_msg("%s + %u", rows[i].from, rows[i].months);
	}
}

static void the_quota_starts_again_with_each_billing_period_and_month(void **state)
{
	static const struct {
		const char *start, *end, *now, *quota_start, *quota_end, *why;
	} rows[] = {
		{ "2026-01-15 10:00:00", "2026-02-15 10:00:00", "2026-01-20 00:00:00",
		  "2026-01-15 10:00:00", "2026-02-15 10:00:00", "a month is a month" },
		{ "2026-01-15 10:00:00", "2026-02-15 10:00:00", "2026-02-15 09:59:59",
		  "2026-01-15 10:00:00", "2026-02-15 10:00:00", "to its last second" },
		{ "2026-01-15 10:00:00", "2026-02-15 10:00:00", "2026-02-15 10:00:00",
		  "2026-02-15 10:00:00", "2026-03-18 10:00:00", "Stripe's event is late" },
		{ "2026-01-31 10:00:00", "2027-01-31 10:00:00", "2026-02-10 00:00:00",
		  "2026-01-31 10:00:00", "2026-02-28 10:00:00", "the first month of a year" },
		{ "2026-01-31 10:00:00", "2027-01-31 10:00:00", "2026-03-01 00:00:00",
		  "2026-02-28 10:00:00", "2026-03-31 10:00:00", "the second" },
		{ "2026-01-31 10:00:00", "2027-01-31 10:00:00", "2027-01-31 09:00:00",
		  "2026-12-31 10:00:00", "2027-01-31 10:00:00", "the last" },
		{ "2026-01-01 00:00:00", "2026-01-08 00:00:00", "2026-01-03 00:00:00",
		  "2026-01-01 00:00:00", "2026-01-08 00:00:00", "a week" },
		{ "2026-01-01 00:00:00", "2026-01-08 00:00:00", "2026-01-16 00:00:00",
		  "2026-01-15 00:00:00", "2026-01-22 00:00:00", "weeks without a word" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t billing = period_span(at(rows[i].start), at(rows[i].end));
		uint64_t span = period_quota_span(billing, at(rows[i].now));

		if (PERIOD_START_S(span) != at(rows[i].quota_start) ||
		    PERIOD_END_S(span) != at(rows[i].quota_end))
			fail_msg("%s: %llu to %llu", rows[i].why,
				 (unsigned long long)PERIOD_START_S(span),
				 (unsigned long long)PERIOD_END_S(span));
	}
}

static void invalid_periods_have_no_span(void **state)
{
	static const struct {
		uint64_t start_s, end_s;
	} rows[] = { { 0, 0 }, { 0, 100 }, { 100, 100 }, { 200, 100 }, { 100, 1ULL << 32 } };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(period_span(rows[i].start_s, rows[i].end_s), 0);
	assert_int_equal(period_quota_span(0, 12345), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(months_are_added_as_people_add_them),
		cmocka_unit_test(the_quota_starts_again_with_each_billing_period_and_month),
		cmocka_unit_test(invalid_periods_have_no_span),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
