/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * text_test: numbers, durations, sizes and rates as people write them, similar words, and copies.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct row {
	const char *text;
	int err;
	uint64_t value;
};

#define UNTOUCHED 4711

static void check(int (*parse)(struct text, uint64_t *), const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value = UNTOUCHED;
		int err = parse(text_of(rows[i].text), &value);

		if (err != rows[i].err || value != (err ? UNTOUCHED : rows[i].value))
			fail_msg("'%s': %d, %llu", rows[i].text, err, (unsigned long long)value);
	}
}

static int parse_to_1000(struct text t, uint64_t *ret)
{
	return text_parse_u64(t, 1000, ret);
}

static int parse_any(struct text t, uint64_t *ret)
{
	return text_parse_u64(t, UINT64_MAX, ret);
}

static void numbers_are_decimal_digits_only(void **state)
{
	static const struct row small[] = {
		{ "0", 0, 0 },	       { "1000", 0, 1000 },	{ "1001", -ERANGE, 0 },
		{ "", -EINVAL, 0 },    { " 1", -EINVAL, 0 },	{ "1 ", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },  { "-1", -EINVAL, 0 },	{ "0x1", -EINVAL, 0 },
		{ "1.0", -EINVAL, 0 }, { "1_000", -EINVAL, 0 }, { "007", 0, 7 },
	};
	static const struct row large[] = {
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
	};

	(void)state;
	check(parse_to_1000, small, COUNT(small));
	check(parse_any, large, COUNT(large));
}

static void durations_have_a_unit(void **state)
{
	static const struct row rows[] = {
		{ "500ms", 0, 500 },
		{ "30s", 0, 30000 },
		{ "5m", 0, 300000 },
		{ "24h", 0, 86400000 },
		{ "7d", 0, 604800000 },
		{ "0s", 0, 0 },
		{ "30", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "30 s", -EINVAL, 0 },
		{ "30S", -EINVAL, 0 },
		{ "1.5s", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "3654d", -ERANGE, 0 },
		{ "3653d", 0, 315619200000 },
		{ "1w", -EINVAL, 0 },
		{ "18446744073709551615d", -ERANGE, 0 },
	};

	(void)state;
	check(text_parse_duration_ms, rows, COUNT(rows));
}

static void sizes_are_powers_of_1024(void **state)
{
	static const struct row rows[] = {
		{ "512", 0, 512 },
		{ "64k", 0, 65536 },
		{ "10m", 0, 10485760 },
		{ "1g", 0, 1 << 30 },
		{ "1kb", -EINVAL, 0 },
		{ "k", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "1K", -EINVAL, 0 },
		{ "18446744073709551615k", -ERANGE, 0 },
		{ "0", 0, 0 },
		{ "99999999999g", -ERANGE, 0 },
	};

	(void)state;
	check(text_parse_size, rows, COUNT(rows));
}

static void rates_are_rounded_in_favour_of_the_buyer(void **state)
{
	static const struct row rows[] = {
		{ "10/s", 0, 100000000 },    { "600/m", 0, 100000000 },
		{ "3600/h", 0, 1000000000 }, { "3/s", 0, 333333333 },
		{ "1/h", 0, 3600000000000 }, { "1000000000/s", 0, 1 },
		{ "0/s", -ERANGE, 0 },	     { "1000000001/s", -ERANGE, 0 },
		{ "10", -EINVAL, 0 },	     { "/s", -EINVAL, 0 },
		{ "10/d", -EINVAL, 0 },	     { "10/ s", -EINVAL, 0 },
		{ "10/sec", -EINVAL, 0 },    { "", -EINVAL, 0 },
	};

	(void)state;
	check(text_parse_rate, rows, COUNT(rows));
}

static void hex_goes_both_ways(void **state)
{
	uint8_t bytes[4] = { 0 };
	char hex[9];

	(void)state;
	assert_int_equal(text_parse_hex(TEXT("00fFa5B6"), bytes, 4), 0);
	text_hex(bytes, 4, hex);
	assert_string_equal(hex, "00ffa5b6");
	assert_int_equal(text_parse_hex(TEXT("00ffa5b"), bytes, 4), -EINVAL);
	assert_int_equal(text_parse_hex(TEXT("00ffa5b600"), bytes, 4), -EINVAL);
	assert_int_equal(text_parse_hex(TEXT("00ffa5bg"), bytes, 4), -EINVAL);
	assert_int_equal(bytes[3], 0xb6); /* unchanged after errors */
}

static void slices_are_compared_by_their_bytes(void **state)
{
	char *copy;

	(void)state;
	assert_true(text_equal(TEXT(""), (struct text){ NULL, 0 }));
	assert_false(text_equal(TEXT("a"), TEXT("ab")));
	assert_true(text_equal_nocase(TEXT("X-Api-KEY"), TEXT("x-aPI-key")));
	assert_false(text_equal_nocase(TEXT("["),
				       TEXT("{"))); /* they differ by 32 but are not letters */
	assert_false(text_equal_nocase(TEXT("@"), TEXT("`")));
	assert_true(text_starts(TEXT("abc"), TEXT("ab")));
	assert_false(text_starts(TEXT("a"), TEXT("ab")));
	assert_true(text_starts(TEXT("a"), TEXT("")));
	assert_true(text_is(text_trim(TEXT(" \t a b \t")), "a b"));
	assert_int_equal(text_trim(TEXT(" \t ")).len, 0);
	copy = text_dup((struct text){ "abcdef", 3 });
	assert_string_equal(copy, "abc");
	free(copy);
}

static void the_nearest_word_is_one_that_was_meant(void **state)
{
	static const char *const words[] = {
		"tiers", "routes", "listeners", "log", "store", "user"
	};
	static const struct {
		const char *text, *nearest, *why;
	} rows[] = {
		{ "tierz", "tiers", "a letter replaced" },
		{ "tier", "tiers", "a letter missing" },
		{ "tieers", "tiers", "a letter doubled" },
		{ "teirs", "tiers", "two letters changed over" },
		{ "listenrs", "listeners", "a letter missing in the middle" },
		{ "lgo", "log", "short, and changed over" },
		{ "logs", "log", "a letter more" },
		{ "xyz", NULL, "near nothing" },
		{ "", NULL, "nothing" },
		{ "completely_different", NULL, "far from all" },
		{ "tiers", "tiers", "the word itself" },
	};
	static const char long_text[100] = { 'a' };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *nearest = text_nearest(text_of(rows[i].text), words, COUNT(words));

		if (!nearest != !rows[i].nearest || (nearest && strcmp(nearest, rows[i].nearest)))
			fail_msg("'%s': %s, but %s", rows[i].text, nearest ? nearest : "none",
				 rows[i].why);
	}
	assert_null(text_nearest((struct text){ long_text, 100 }, words, COUNT(words)));
	assert_null(text_nearest(TEXT("x"), words, 0));
}

static void a_copy_is_whole_or_empty(void **state)
{
	static const struct {
		const char *from;
		size_t size;
		int err;
	} rows[] = {
		{ "", 1, 0 },
		{ "abc", 4, 0 },
		{ "abc", 8, 0 },
		{ "abc", 3, -ENAMETOOLONG },
		{ "abc", 1, -ENAMETOOLONG },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char to[8] = "xxxxxxx";
		int err = text_copy(to, rows[i].size, rows[i].from);

		if (err != rows[i].err || strcmp(to, err ? "" : rows[i].from))
			fail_msg("'%s' in %zu: %d, '%s'", rows[i].from, rows[i].size, err, to);
		assert_memory_equal(to + rows[i].size, "xxxxxxx" + rows[i].size, 8 - rows[i].size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_decimal_digits_only),
		cmocka_unit_test(durations_have_a_unit),
		cmocka_unit_test(sizes_are_powers_of_1024),
		cmocka_unit_test(rates_are_rounded_in_favour_of_the_buyer),
		cmocka_unit_test(hex_goes_both_ways),
		cmocka_unit_test(slices_are_compared_by_their_bytes),
		cmocka_unit_test(a_copy_is_whole_or_empty),
		cmocka_unit_test(the_nearest_word_is_one_that_was_meant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
