/* SPDX-License-Identifier: BSD-2-Clause */
/* period: when quotas start again. */
#include "enforce/period.h"

#include <time.h>

#define LONGEST_MONTH_S (31 * 86400ULL)
#define MAX_MONTHS	120 /* in a billing period; Stripe's longest is three years */

uint64_t period_span(uint64_t start_s, uint64_t end_s)
{
	if (!start_s || end_s <= start_s || end_s > UINT32_MAX)
		return 0;
	return PERIOD_SPAN(start_s, end_s);
}

static int days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month] + (month == 1 && is_leap);
}

uint64_t period_add_months(uint64_t s, unsigned months)
{
	time_t at = (time_t)s;
	struct tm tm;
	int last;

	gmtime_r(&at, &tm);
	tm.tm_mon += (int)months;
	tm.tm_year += tm.tm_mon / 12;
	tm.tm_mon %= 12;
	last = days_in(tm.tm_year + 1900, tm.tm_mon);
	if (tm.tm_mday > last)
		tm.tm_mday = last;
	return (uint64_t)timegm(&tm);
}

/* The month that holds @now_s, when [start, end) is cut into months. */
static uint64_t month_within(uint64_t start_s, uint64_t end_s, uint64_t now_s)
{
	uint64_t from_s = start_s;

	for (unsigned i = 1; i <= MAX_MONTHS; i++) {
		uint64_t to_s = period_add_months(start_s, i);

		if (to_s >= end_s)
			break;
		if (now_s < to_s)
			return PERIOD_SPAN(from_s, to_s);
		from_s = to_s;
	}
	return PERIOD_SPAN(from_s, end_s);
}

uint64_t period_quota_span(uint64_t billing, uint64_t now_s)
{
	uint64_t start_s = PERIOD_START_S(billing), end_s = PERIOD_END_S(billing);
	uint64_t length_s = end_s - start_s;

	if (!billing)
		return 0;
	if (now_s >= end_s) {
		start_s = end_s + (now_s - end_s) / length_s * length_s;
		end_s = start_s + length_s;
		if (end_s > UINT32_MAX)
			return billing;
	}
	if (length_s <= LONGEST_MONTH_S)
		return PERIOD_SPAN(start_s, end_s);
	return month_within(start_s, end_s, now_s);
}
