/* SPDX-License-Identifier: BSD-2-Clause */
/* price_text_test: prices as people read them, from the objects that Stripe sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "portal/price_text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void amounts_are_short_and_clear(void **state)
{
	static const struct {
		const char *amount, *currency, *text;
	} rows[] = {
		{ "499.00", "USD", "$499" },
		{ "4990.00", "USD", "$4,990" },
		{ "12.50", "USD", "$12.50" },
		{ "0.0005", "USD", "$0.0005" },
		{ "0.050", "USD", "$0.05" },
		{ "0.5", "USD", "$0.50" },
		{ "500", "JPY", "¥500" },
		{ "1234567", "KRW", "₩1,234,567" },
		{ "5.00", "CAD", "CA$5" },
		{ "12.50", "CHF", "12.50 CHF" },
		{ "1.250", "KWD", "1.25 KWD" },
		{ "0.00", "EUR", "€0" },
		{ "1000000.00", "XYZ", "1,000,000 XYZ" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[PRICE_TEXT_SIZE];

		assert_string_equal(price_text_amount(rows[i].amount, rows[i].currency, text),
				    rows[i].text);
	}
}

#define PRICE(members) "{\"id\":\"price_1\",\"object\":\"price\",\"active\":true," members "}"
#define MONTH(usage) \
	"\"recurring\":{\"interval\":\"month\",\"interval_count\":1,\"usage_type\":\"" usage "\"}"
#define STEPS(mode)                                                                 \
	"\"currency\":\"usd\",\"billing_scheme\":\"tiered\",\"tiers_mode\":\"" mode \
	"\"," MONTH("metered") ",\"tiers\":"

static void prices_are_described_line_by_line(void **state)
{
	static const struct {
		const char *price;
		const char *lines[6]; /* the headline first */
	} rows[] = {
		{ PRICE("\"currency\":\"usd\",\"unit_amount\":49900," MONTH("licensed")),
		  { "$499", "per month" } },
		{ PRICE("\"currency\":\"usd\",\"unit_amount\":499000,\"recurring\":{\"interval\":"
			"\"year\",\"interval_count\":1,\"usage_type\":\"licensed\"}"),
		  { "$4,990", "per year" } },
		{ PRICE("\"currency\":\"eur\",\"unit_amount\":3000,\"recurring\":{\"interval\":"
			"\"month\",\"interval_count\":3,\"usage_type\":\"licensed\"}"),
		  { "€30", "every 3 months" } },
		{ PRICE("\"currency\":\"usd\",\"unit_amount\":0," MONTH("licensed")),
		  { "Free", "per month" } },
		{ PRICE("\"currency\":\"usd\",\"unit_amount\":1," MONTH("metered")),
		  { "$0.01", "per request, billed monthly" } },
		{ PRICE("\"currency\":\"usd\",\"unit_amount\":null,\"unit_amount_decimal\":\"0."
			"05\"," MONTH("metered")),
		  { "$0.0005", "per request, billed monthly" } },
		{ PRICE("\"currency\":\"usd\",\"unit_amount\":500,\"transform_quantity\":{\"divide_"
			"by\":"
			"1000,\"round\":\"up\"}," MONTH("metered")),
		  { "$5", "per 1,000 requests, billed monthly" } },
		{ PRICE("\"currency\":\"usd\",\"unit_amount\":2,\"product\":{\"id\":\"prod_1\","
			"\"unit_label\":\"page\"}," MONTH("metered")),
		  { "$0.02", "per page, billed monthly" } },
		{ PRICE(STEPS(
			  "graduated") "[{\"up_to\":10000,\"unit_amount\":0,\"flat_amount\":null},"
				       "{\"up_to\":1000000,\"unit_amount_decimal\":\"0.1\"},"
				       "{\"up_to\":null,\"unit_amount_decimal\":\"0.05\"}]"),
		  { "Pay per request", "First 10,000 requests: free",
		    "Next 990,000 requests: $0.001 per request",
		    "Beyond 1,000,000: $0.0005 per request", "Billed monthly" } },
		{ PRICE(STEPS("volume") "[{\"up_to\":100,\"unit_amount\":10},"
					"{\"up_to\":null,\"unit_amount\":5,\"flat_amount\":500}]"),
		  { "Pay per request", "Up to 100 requests: $0.10 per request",
		    "More than 100: $5 plus $0.05 per request",
		    "All units have the price of the level reached. Billed monthly" } },
		{ PRICE(STEPS(
			  "graduated") "[{\"up_to\":1,\"unit_amount\":null,\"flat_amount\":700},"
				       "{\"up_to\":null,\"unit_amount\":100}]"),
		  { "Pay per request", "First 1 request: $7 in total", "Beyond 1: $1 per request",
		    "Billed monthly" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		json_t *object = json_loads(rows[i].price, 0, NULL);
		struct catalog_price price;
		char text[PRICE_TEXT_SIZE];
		const char *line;

		assert_non_null(object);
		assert_true(catalog_read(object, &price));
		json_decref(object);
		assert_string_equal(price_text_headline(&price, text), rows[i].lines[0]);
		for (unsigned k = 0; (line = price_text_line(&price, k, text)); k++) {
			if (!rows[i].lines[k + 1] || strcmp(line, rows[i].lines[k + 1]) != 0)
				fail_msg("row %zu, line %u: %s", i, k, line);
		}
	}
}

static void of_a_product_the_default_price_is_read(void **state)
{
	json_t *product =
		json_loads("{\"id\":\"prod_1\",\"object\":\"product\",\"unit_label\":"
			   "\"page\",\"default_price\":" PRICE(
				   "\"currency\":\"usd\",\"unit_amount\":2," MONTH("metered")) "}",
			   0, NULL);
	struct catalog_price price;

	(void)state;
	assert_true(catalog_read(product, &price));
	assert_string_equal(price.id, "price_1");
	assert_string_equal(price.unit, "page");
	json_object_set_new(product, "default_price", json_null());
	assert_false(catalog_read(product, &price));
	json_decref(product);
}

static void intervals_name_buttons(void **state)
{
	static const struct {
		const char *interval;
		uint32_t count;
		const char *text;
	} rows[] = {
		{ "day", 1, "daily" },
		{ "week", 1, "weekly" },
		{ "month", 1, "monthly" },
		{ "year", 1, "yearly" },
		{ "month", 3, "every 3 months" },
		{ "eon", 1, "every eon" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct catalog_price price = { .interval_count = rows[i].count };
		char text[PRICE_TEXT_SIZE];

		snprintf(price.interval, sizeof(price.interval), "%s", rows[i].interval);
		assert_string_equal(price_text_interval(&price, text), rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(amounts_are_short_and_clear),
		cmocka_unit_test(prices_are_described_line_by_line),
		cmocka_unit_test(of_a_product_the_default_price_is_read),
		cmocka_unit_test(intervals_name_buttons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
