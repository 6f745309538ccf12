/* SPDX-License-Identifier: BSD-2-Clause */
/* price_text: see price_text.h. */
#include "portal/price_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portal/words.h"

/*
 * Symbols that are understood without their country, from Unicode's CLDR, locale en-US. Other
 * currencies are shown by their code.
 */
static const char *symbol_of(const char *currency)
{
	static const struct {
		const char *currency, *symbol;
	} symbols[] = {
		{ "USD", "$" },	  { "EUR", "€" },   { "GBP", "£" },   { "JPY", "¥" },
		{ "INR", "₹" },	  { "KRW", "₩" },   { "ILS", "₪" },   { "VND", "₫" },
		{ "AUD", "A$" },  { "BRL", "R$" },  { "CAD", "CA$" }, { "CNY", "CN¥" },
		{ "HKD", "HK$" }, { "MXN", "MX$" }, { "NZD", "NZ$" }, { "TWD", "NT$" },
	};

	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		if (!strcmp(symbols[i].currency, currency))
			return symbols[i].symbol;
	}
	return NULL;
}

/* "4990.00" as "4,990", "0.050" as "0.05", "12.5" as "12.50". */
static void write_digits(const char *amount, char *ret, size_t size)
{
	const char *point = strchr(amount, '.');
	char whole[WORDS_SIZE], fraction[40] = "";
	size_t len;

	words_number(strtoull(amount, NULL, 10), whole);
	if (point)
		snprintf(fraction, sizeof(fraction), "%s", point + 1);
	len = strlen(fraction);
	while (len > 2 && fraction[len - 1] == '0')
		fraction[--len] = '\0';
	if (strspn(fraction, "0") == len)
		snprintf(ret, size, "%s", whole);
	else
		snprintf(ret, size, "%.40s.%.30s%s", whole, fraction, len == 1 ? "0" : "");
}

const char *price_text_amount(const char *amount, const char *currency,
			      char ret_text[PRICE_TEXT_SIZE])
{
	const char *symbol = symbol_of(currency);
	char digits[WORDS_SIZE];

	write_digits(amount, digits, sizeof(digits));
	if (symbol)
		snprintf(ret_text, PRICE_TEXT_SIZE, "%s%s", symbol, digits);
	else
		snprintf(ret_text, PRICE_TEXT_SIZE, "%s %s", digits, currency);
	return ret_text;
}

static bool is_zero(const char *amount)
{
	return amount[strspn(amount, "0.")] == '\0';
}

/* "request", or "requests" if @count is not 1. */
static const char *units(const struct catalog_price *price, uint64_t count, char *ret, size_t size)
{
	const char *unit = price->unit[0] ? price->unit : "request";
	size_t len = strlen(unit);
	bool is_plural = len && unit[len - 1] == 's';

	/* The operator chose the word at Stripe, perhaps in the plural already. */
	if (count == 1 || is_plural)
		snprintf(ret, size, "%s", unit);
	else
		snprintf(ret, size, "%ss", unit);
	return ret;
}

/* "request" or "1,000 requests": what an amount buys. */
static const char *bundle(const struct catalog_price *price, char ret[PRICE_TEXT_SIZE])
{
	char number[WORDS_SIZE], unit[80];

	if (price->divide_by < 2)
		return units(price, 1, ret, PRICE_TEXT_SIZE);
	snprintf(ret, PRICE_TEXT_SIZE, "%.27s %.79s", words_number(price->divide_by, number),
		 units(price, price->divide_by, unit, sizeof(unit)));
	return ret;
}

const char *price_text_interval(const struct catalog_price *price, char ret_text[PRICE_TEXT_SIZE])
{
	static const char *const words[][2] = { { "day", "daily" },
						{ "week", "weekly" },
						{ "month", "monthly" },
						{ "year", "yearly" } };

	for (size_t i = 0; price->interval_count <= 1 && i < 4; i++) {
		if (!strcmp(words[i][0], price->interval)) {
			snprintf(ret_text, PRICE_TEXT_SIZE, "%s", words[i][1]);
			return ret_text;
		}
	}
	if (price->interval_count > 1)
		snprintf(ret_text, PRICE_TEXT_SIZE, "every %u %ss", price->interval_count,
			 price->interval);
	else
		snprintf(ret_text, PRICE_TEXT_SIZE, "every %s", price->interval);
	return ret_text;
}

const char *price_text_headline(const struct catalog_price *price, char ret_text[PRICE_TEXT_SIZE])
{
	char unit[80];

	if (price->step_count) {
		snprintf(ret_text, PRICE_TEXT_SIZE, "Pay per %.79s",
			 units(price, 1, unit, sizeof(unit)));
		return ret_text;
	}
	if (is_zero(price->amount))
		return "Free";
	return price_text_amount(price->amount, price->currency, ret_text);
}

/* "$0.01 per request", "free", "$5 plus $0.01 per request", "$5 in total". */
static void write_step_price(const struct catalog_price *price, const struct catalog_step *step,
			     char ret[PRICE_TEXT_SIZE])
{
	char amount[PRICE_TEXT_SIZE], flat[PRICE_TEXT_SIZE], what[PRICE_TEXT_SIZE];

	price_text_amount(step->amount, price->currency, amount);
	price_text_amount(step->flat, price->currency, flat);
	if (is_zero(step->amount) && is_zero(step->flat))
		snprintf(ret, PRICE_TEXT_SIZE, "free");
	else if (is_zero(step->amount))
		snprintf(ret, PRICE_TEXT_SIZE, "%.60s in total", flat);
	else if (is_zero(step->flat))
		snprintf(ret, PRICE_TEXT_SIZE, "%.60s per %.80s", amount, bundle(price, what));
	else
		snprintf(ret, PRICE_TEXT_SIZE, "%.30s plus %.30s per %.80s", flat, amount,
			 bundle(price, what));
}

/* Graduated: each step's units have their own price. Volume: all have that of the step reached. */
static const char *step_line(const struct catalog_price *price, unsigned i,
			     char ret_text[PRICE_TEXT_SIZE])
{
	const struct catalog_step *step = &price->steps[i];
	uint64_t before = i ? price->steps[i - 1].up_to : 0;
	char number[WORDS_SIZE], unit[80], each[PRICE_TEXT_SIZE];

	write_step_price(price, step, each);
	if (!step->up_to && !i)
		snprintf(ret_text, PRICE_TEXT_SIZE, "%.150s", each);
	else if (!step->up_to)
		snprintf(ret_text, PRICE_TEXT_SIZE, "%s %.27s: %.100s",
			 price->is_volume ? "More than" : "Beyond", words_number(before, number),
			 each);
	else if (price->is_volume)
		snprintf(ret_text, PRICE_TEXT_SIZE, "Up to %.27s %.20s: %.100s",
			 words_number(step->up_to, number),
			 units(price, step->up_to, unit, sizeof(unit)), each);
	else
		snprintf(ret_text, PRICE_TEXT_SIZE, "%s %.27s %.20s: %.100s", i ? "Next" : "First",
			 words_number(step->up_to - before, number),
			 units(price, step->up_to - before, unit, sizeof(unit)), each);
	return ret_text;
}

const char *price_text_line(const struct catalog_price *price, unsigned i,
			    char ret_text[PRICE_TEXT_SIZE])
{
	char every[PRICE_TEXT_SIZE], what[PRICE_TEXT_SIZE];

	if (i < price->step_count)
		return step_line(price, i, ret_text);
	if (i > price->step_count)
		return NULL;
	price_text_interval(price, every);
	if (price->step_count && price->is_volume)
		snprintf(ret_text, PRICE_TEXT_SIZE,
			 "All units have the price of the level reached. Billed %.60s", every);
	else if (price->step_count)
		snprintf(ret_text, PRICE_TEXT_SIZE, "Billed %.60s", every);
	else if (price->is_metered)
		snprintf(ret_text, PRICE_TEXT_SIZE, "per %.90s, billed %.40s", bundle(price, what),
			 every);
	else if (price->interval_count > 1)
		snprintf(ret_text, PRICE_TEXT_SIZE, "%.60s", every);
	else
		snprintf(ret_text, PRICE_TEXT_SIZE, "per %.15s", price->interval);
	return ret_text;
}
