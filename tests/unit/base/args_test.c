/* SPDX-License-Identifier: BSD-2-Clause */
/* args_test: options and operands as people type them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/args.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WORDS	 6

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
		.options = (const struct args_option[]){ { "label", &label, NULL, 'l' },
							 { "json", NULL, &json, 0 },
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
		{ { "-l", "l", "a" }, true, 0, "l", "a", false, "a letter and the next word" },
		{ { "-ll", "a" }, true, 0, "l", "a", false, "a letter and its value in one word" },
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
		{ { "a", "-l" }, false, 2, NULL, NULL, false, "a letter's value is missing" },
		{ { "a", "-j" }, false, 2, NULL, NULL, false, "a letter that is not an option's" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check(&rows[i]);
}

/* As the program itself does: its own options end at the subcommand. */
static void parsing_can_stop_at_the_first_operand(void **state)
{
	const char *label = NULL;
	int rest = 0, code;
	const struct args args = {
		.usage = "x",
		.help = "",
		.options = (const struct args_option[]){ { "label", &label, NULL, 'l' }, { 0 } },
		.ret_rest = &rest,
	};
	char *with[] = { (char *)"x", (char *)"-l", (char *)"v", (char *)"sub", (char *)"--json" };
	char *without[] = { (char *)"x", (char *)"--label=w" };

	(void)state;
	assert_true(args_parse(5, with, &args, &code));
	assert_int_equal(rest, 3);
	assert_string_equal(label, "v");
	assert_true(args_parse(2, without, &args, &code));
	assert_int_equal(rest, 2);
	assert_string_equal(label, "w");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_stand_before_and_after_operands),
		cmocka_unit_test(wrong_usage_is_2_and_help_is_0),
		cmocka_unit_test(parsing_can_stop_at_the_first_operand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
