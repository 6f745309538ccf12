/* SPDX-License-Identifier: BSD-2-Clause */
/* words: names, numbers, dates and limits as customers read them. */
#include "portal/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

const char *words_product(const struct stripe_settings *settings)
{
	const char *host = settings->app_url ? strstr(settings->app_url, "//") : NULL;

	if (settings->product_name)
		return settings->product_name;
	return host ? host + 2 : "API";
}

const char *words_number(uint64_t n, char ret_words[WORDS_SIZE])
{
	char digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n), at = 0;

	for (size_t i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			ret_words[at++] = ',';
		ret_words[at++] = digits[i];
	}
	ret_words[at] = '\0';
	return ret_words;
}

static const char *format_time(uint64_t unix_s, const char *format, char ret_words[WORDS_SIZE])
{
	/* Dates after the year 9999 are shown as its end. */
	time_t t = (time_t)(unix_s < 253402300799ULL ? unix_s : 253402300799ULL);
	struct tm tm;

	gmtime_r(&t, &tm);
	if (!strftime(ret_words, WORDS_SIZE, format, &tm))
		ret_words[0] = '\0';
	return ret_words;
}

const char *words_date(uint64_t unix_s, char ret_words[WORDS_SIZE])
{
	return format_time(unix_s, "%-d %b %Y", ret_words);
}

const char *words_time(uint64_t unix_s, char ret_words[WORDS_SIZE])
{
	return format_time(unix_s, "%-d %b %Y, %H:%M UTC", ret_words);
}

struct unit {
	const char *word, *letter;
	uint64_t ns;
};

/*
 * How many requests per @ret_unit an interval allows: the smallest unit of which it gives a whole
 * number, else the largest, rounded down.
 */
static uint64_t rate_of(uint64_t interval_ns, const struct unit **ret_unit)
{
	static const struct unit units[] = {
		{ "second", "s", NS_PER_SECOND },
		{ "minute", "m", 60 * NS_PER_SECOND },
		{ "hour", "h", 3600 * NS_PER_SECOND },
	};

	for (unsigned i = 0; i < 3; i++) {
		uint64_t n = (units[i].ns + interval_ns / 2) / interval_ns;

		*ret_unit = &units[i];
		if (n && units[i].ns / n == interval_ns)
			return n;
	}
	return (*ret_unit)->ns / interval_ns;
}

const char *words_rate(uint64_t interval_ns, char ret_words[WORDS_SIZE])
{
	const struct unit *unit;
	uint64_t n;

	ret_words[0] = '\0';
	if (!interval_ns)
		return ret_words;
	n = rate_of(interval_ns, &unit);
	snprintf(ret_words, WORDS_SIZE, "%" PRIu64 "/%s", n, unit->letter);
	return ret_words;
}

static const char *rate_words(const struct tier *tier, char ret_words[WORDS_SIZE])
{
	char n[WORDS_SIZE], burst[WORDS_SIZE];
	const struct unit *unit;
	uint64_t rate;

	if (!tier->interval_ns)
		return "No rate limit";
	rate = rate_of(tier->interval_ns, &unit);
	snprintf(ret_words, WORDS_SIZE, "%.27s request%s per %s, bursts up to %.27s",
		 words_number(rate, n), rate == 1 ? "" : "s", unit->word,
		 words_number(tier->burst, burst));
	return ret_words;
}

static const char *quota_words(const struct tier *tier, char ret_words[WORDS_SIZE])
{
	char n[WORDS_SIZE];

	if (!tier->quota)
		return tier->meter && !tier->extra_price_count ? "Pay only for what you use"
							       : "No quota";
	snprintf(ret_words, WORDS_SIZE, "%.27s requests per %s", words_number(tier->quota, n),
		 tier->period == TOLLGATE_PERIOD_DAY ? "day" : "month");
	return ret_words;
}

const char *words_limit(const struct tier *tier, unsigned i, char ret_words[WORDS_SIZE])
{
	char n[WORDS_SIZE];

	if (i == 0)
		return rate_words(tier, ret_words);
	if (i == 1)
		return quota_words(tier, ret_words);
	if (i > 2 || !tier->concurrency)
		return NULL;
	snprintf(ret_words, WORDS_SIZE, "%.27s concurrent requests",
		 words_number(tier->concurrency, n));
	return ret_words;
}
