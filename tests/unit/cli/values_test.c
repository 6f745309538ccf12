/* SPDX-License-Identifier: BSD-2-Clause */
/* values_test: ids and times as people type them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/cli_private.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOW_MS	 1800000000000ULL

static void an_id_is_a_prefix_and_16_digits(void **state)
{
	(void)state;
	assert_true(cli_check_id("acc_0123456789abcdef", "acc_"));
	assert_false(cli_check_id("key_0123456789abcdef", "acc_"));
	assert_false(cli_check_id("acc_0123456789abcde", "acc_"));
	assert_false(cli_check_id("acc_0123456789abcdef0", "acc_"));
	assert_false(cli_check_id("acc_0123456789abcdeg", "acc_"));
	assert_false(cli_check_id("acc", "acc_"));
	assert_false(cli_check_id("", "acc_"));
}

static void since_is_a_duration_or_a_date(void **state)
{
	static const struct {
		const char *text;
		int err;
		uint64_t seconds;
	} rows[] = {
		{ "24h", 0, NOW_MS / 1000 - 86400 },
		{ "7d", 0, NOW_MS / 1000 - 7 * 86400 },
		{ "1970-01-01", 0, 0 },
		{ "2026-01-31", 0, 1769817600 },
		{ "2024-02-29", 0, 1709164800 },
		{ "2026-01-31T12:34:56Z", 0, 1769862896 },
		{ "2026-02-29", -EINVAL, 0 },
		{ "2026-13-01", -EINVAL, 0 },
		{ "2026-00-01", -EINVAL, 0 },
		{ "2026-01-31T24:00:00Z", -EINVAL, 0 },
		{ "2026-01-31T12:00:61Z", -EINVAL, 0 },
		{ "2026-01-31T12:00:00", -EINVAL, 0 },
		{ "2026-1-31", -EINVAL, 0 },
		{ "1969-12-31", -EINVAL, 0 },
		{ "9999-01-01", -EINVAL, 0 },
		{ "yesterday", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t seconds = 0;
		int err = cli_parse_since(text_of(rows[i].text), NOW_MS, &seconds);

		if (err != rows[i].err || seconds != rows[i].seconds)
			fail_msg("'%s': %d, %llu", rows[i].text, err, (unsigned long long)seconds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_is_a_prefix_and_16_digits),
		cmocka_unit_test(since_is_a_duration_or_a_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
