/* SPDX-License-Identifier: BSD-2-Clause */
/* args_test: options, operands, ids and times as people type them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/args.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WORDS	 6
#define NOW_MS	 1800000000000ULL

struct row {
	const char *words[WORDS]; /* after the subcommand's name */
	bool go_on;
	int code;
	const char *label, *operand;
	bool json;
	const char *why;
};

static void check(const struct row *row)
{
	const char *label = NULL, *operand = NULL;
	bool json = false, go_on;
	const struct args args = {
		.usage = "x",
		.help = "",
		.options = (const struct args_option[]){ { "label", &label, NULL },
							 { "json", NULL, &json },
							 { 0 } },
		.ret_operands = &operand,
		.operand_min = 1,
		.operand_max = 1,
	};
	char *argv[WORDS + 2] = { (char *)"x" };
	int argc = 1, code = -1;

	for (unsigned i = 0; i < WORDS && row->words[i]; i++)
		argv[argc++] = (char *)row->words[i];
	go_on = args_parse(argc, argv, &args, &code);
	if (go_on != row->go_on || (!go_on && code != row->code))
		fail_msg("%s: %d, exit code %d", row->why, go_on, code);
	if (go_on && (!text_equal(text_of(label), text_of(row->label)) || !label != !row->label ||
		      !text_equal(text_of(operand), text_of(row->operand)) || json != row->json))
		fail_msg("%s: label %s, operand %s, json %d", row->why, label, operand, json);
}

static void options_stand_before_and_after_operands(void **state)
{
	static const struct row rows[] = {
		{ { "a" }, true, 0, NULL, "a", false, "an operand alone" },
		{ { "a", "--json" }, true, 0, NULL, "a", true, "a flag after it" },
		{ { "--json", "a" }, true, 0, NULL, "a", true, "a flag before it" },
		{ { "--label", "l", "a" }, true, 0, "l", "a", false, "a value as the next word" },
		{ { "--label=l", "a" }, true, 0, "l", "a", false, "a value behind '='" },
		{ { "--label=", "a" }, true, 0, "", "a", false, "an empty value is one" },
		{ { "--label", "", "a" }, true, 0, "", "a", false, "also as a word" },
		{ { "--label", "--json", "a" },
		  true,
		  0,
		  "--json",
		  "a",
		  false,
		  "a value with dashes" },
		{ { "--label=1", "--label=2", "a" }, true, 0, "2", "a", false, "the last counts" },
		{ { "--", "--json" }, true, 0, NULL, "--json", false, "-- ends the options" },
		{ { "-" }, true, 0, NULL, "-", false, "a dash is an operand" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check(&rows[i]);
}

static void wrong_usage_is_2_and_help_is_0(void **state)
{
	static const struct row rows[] = {
		{ { "--help" }, false, 0, NULL, NULL, false, "help" },
		{ { "a", "-h" }, false, 0, NULL, NULL, false, "help after an operand" },
		{ { NULL }, false, 2, NULL, NULL, false, "the operand is missing" },
		{ { "" }, false, 2, NULL, NULL, false, "an empty operand" },
		{ { "a", "b" }, false, 2, NULL, NULL, false, "an operand too many" },
		{ { "a", "--label" }, false, 2, NULL, NULL, false, "a value is missing" },
		{ { "a", "--json=1" }, false, 2, NULL, NULL, false, "a flag with a value" },
		{ { "a", "--jsn" }, false, 2, NULL, NULL, false, "an unknown option" },
		{ { "a", "--labe", "l" }, false, 2, NULL, NULL, false, "no abbreviations" },
		{ { "a", "-j" }, false, 2, NULL, NULL, false, "no short options" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check(&rows[i]);
}

static void an_id_is_a_prefix_and_16_digits(void **state)
{
	(void)state;
	assert_true(args_check_id("acc_0123456789abcdef", "acc_"));
	assert_false(args_check_id("key_0123456789abcdef", "acc_"));
	assert_false(args_check_id("acc_0123456789abcde", "acc_"));
	assert_false(args_check_id("acc_0123456789abcdef0", "acc_"));
	assert_false(args_check_id("acc_0123456789abcdeg", "acc_"));
	assert_false(args_check_id("acc", "acc_"));
	assert_false(args_check_id("", "acc_"));
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
		int err = args_parse_since(text_of(rows[i].text), NOW_MS, &seconds);

		if (err != rows[i].err || seconds != rows[i].seconds)
			fail_msg("'%s': %d, %llu", rows[i].text, err, (unsigned long long)seconds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_stand_before_and_after_operands),
		cmocka_unit_test(wrong_usage_is_2_and_help_is_0),
		cmocka_unit_test(an_id_is_a_prefix_and_16_digits),
		cmocka_unit_test(since_is_a_duration_or_a_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
