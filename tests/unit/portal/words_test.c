/* SPDX-License-Identifier: BSD-2-Clause */
/* words_test: numbers, dates, rates and amounts are formatted for customers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "portal/words.h"
#include "stripe/catalog.h"

static void numbers_and_dates_are_readable(void **state)
{
	char words[WORDS_SIZE];

	(void)state;
	assert_string_equal(words_number(0, words), "0");
	assert_string_equal(words_number(999, words), "999");
	assert_string_equal(words_number(1000, words), "1,000");
	assert_string_equal(words_number(UINT64_MAX, words), "18,446,744,073,709,551,615");
	assert_string_equal(words_date(1765065600, words), "7 Dec 2025");
	assert_string_equal(words_time(1765116300, words), "7 Dec 2025, 14:05 UTC");
	words_time(UINT64_MAX, words); /* must not crash */
}

static void a_product_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(words_product(&(struct stripe_settings){ .product_name = "Maps",
								     .app_url = "https://a.b" }),
			    "Maps");
	assert_string_equal(words_product(&(struct stripe_settings){ .app_url = "https://a.b:1" }),
			    "a.b:1");
	assert_string_equal(words_product(&(struct stripe_settings){ 0 }), "API");
}

static void rates_are_formatted_as_they_were_written(void **state)
{
	static const char *const rates[] = { "1/s", "3/s", "7/s",  "100/s", "1000000/s",
					     "1/m", "7/m", "90/m", "1/h",   "77/h" };
	char words[WORDS_SIZE];
	uint64_t interval_ns;

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		assert_int_equal(text_parse_rate(text_of(rates[i]), &interval_ns), 0);
		assert_string_equal(words_rate(interval_ns, words), rates[i]);
	}
	assert_string_equal(words_rate(0, words), "");
}

static void amounts_have_the_decimals_of_their_currency(void **state)
{
	static const struct {
		const char *amount, *currency, *text;
	} rows[] = {
		{ "1000", "USD", "10.00" },
		{ "5", "USD", "0.05" },
		{ "0", "EUR", "0.00" },
		{ "0.05", "USD", "0.0005" },
		{ "12.5", "USD", "0.125" },
		{ "500", "JPY", "500" },
		{ "1.5", "JPY", "1.5" },
		{ "500", "UGX", "5.00" },
		{ "1500", "KWD", "1.500" },
		{ "1", "KWD", "0.001" },
		{ "123456", "?", "1234.56" },
		{ "", "USD", NULL },
		{ "-5", "USD", NULL },
		{ "1e5", "USD", NULL },
		{ "5.", "USD", NULL },
		{ "1.2.3", "USD", NULL },
		{ "1234567890123456789012345678901", "USD", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[40] = "";
		bool is_one = catalog_format_amount(rows[i].amount, rows[i].currency, text);

		if (is_one != !!rows[i].text || (is_one && strcmp(text, rows[i].text)))
			fail_msg("%s %s: '%s'", rows[i].amount, rows[i].currency, text);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_and_dates_are_readable),
		cmocka_unit_test(a_product_has_a_name),
		cmocka_unit_test(rates_are_formatted_as_they_were_written),
		cmocka_unit_test(amounts_have_the_decimals_of_their_currency),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
