/* SPDX-License-Identifier: BSD-2-Clause */
/* args: the options and operands of a command. */
#include "base/args.h"

#include <stdio.h>
#include <string.h>

#include "base/output.h"

#define OPTIONS_MAX 16 /* of one command; only for the nearest name in a message */

static const struct args_option *find(const struct args_option *options, struct text name)
{
	for (; options->name; options++) {
		if (text_is(name, options->name))
			return options;
	}
	return NULL;
}

static const char *nearest(const struct args_option *options, struct text name)
{
	const char *names[OPTIONS_MAX];
	size_t count = 0;

	for (; options->name && count < OPTIONS_MAX; options++)
		names[count++] = options->name;
	return text_nearest(name, names, count);
}

static bool fail_usage(const struct args *args)
{
	fprintf(stderr, "usage: tollgate %s\n", args->usage);
	return false;
}

static bool fail_unknown(const struct args *args, struct text name)
{
	const char *meant = nearest(args->options, name);

	if (meant)
		output_error("unknown option --%.*s, did you mean --%s?", TEXT_ARG(name), meant);
	else
		output_error("unknown option --%.*s", TEXT_ARG(name));
	return fail_usage(args);
}

/* Give @option the value @value, or else the next word; a flag takes neither. */
static bool take_value(int argc, char **argv, int *at, const struct args *args,
		       const struct args_option *option, const char *value)
{
	if (!option->ret_value) {
		*option->ret_flag = true;
		if (!value)
			return true;
		output_error("--%s takes no value", option->name);
		return fail_usage(args);
	}
	if (!value && ++*at >= argc) {
		output_error("--%s needs a value", option->name);
		return fail_usage(args);
	}
	*option->ret_value = value ? value : argv[*at];
	return true;
}

/* "--name", "--name=value" at argv[*at]. */
static bool take_option(int argc, char **argv, int *at, const struct args *args)
{
	const char *word = argv[*at] + 2, *equals = strchr(word, '=');
	struct text name = { word, equals ? (size_t)(equals - word) : strlen(word) };
	const struct args_option *option = find(args->options, name);

	if (!option)
		return fail_unknown(args, name);
	return take_value(argc, argv, at, args, option, equals ? equals + 1 : NULL);
}

/* "-n" or "-nvalue" at argv[*at]. */
static bool take_letter(int argc, char **argv, int *at, const struct args *args)
{
	const char *word = argv[*at] + 1;
	const struct args_option *option = args->options;

	while (option->name && option->letter != word[0])
		option++;
	if (option->name)
		return take_value(argc, argv, at, args, option, word[1] ? word + 1 : NULL);
	output_error("unknown option -%c; the names of options begin with two dashes", word[0]);
	return fail_usage(args);
}

static bool take_operand(char *word, const struct args *args, unsigned *count)
{
	if (*count == args->operand_max) {
		output_error("too many arguments");
		return fail_usage(args);
	}
	if (!*word) {
		output_error("an argument is empty");
		return fail_usage(args);
	}
	args->ret_operands[(*count)++] = word;
	return true;
}

bool args_is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static bool print_help(const struct args *args, int *ret_exit)
{
	fprintf(output_stdout(), "usage: tollgate %s\n\n%s", args->usage, args->help);
	*ret_exit = output_finish(0);
	return false;
}

/* The word at argv[*at], which begins with a dash. */
static bool take_dashed(int argc, char **argv, int *at, const struct args *args, int *ret_exit)
{
	if (args_is_help(argv[*at]))
		return print_help(args, ret_exit);
	return argv[*at][1] == '-' ? take_option(argc, argv, at, args)
				   : take_letter(argc, argv, at, args);
}

bool args_parse(int argc, char **argv, const struct args *args, int *ret_exit)
{
	bool options_over = false;
	unsigned count = 0;
	int i;

	*ret_exit = EXIT_USAGE;
	for (i = 1; i < argc; i++) {
		bool is_option = !options_over && argv[i][0] == '-' && argv[i][1];

		if (!is_option && args->ret_rest)
			break;
		if (is_option && !strcmp(argv[i], "--"))
			options_over = true;
		else if (is_option ? !take_dashed(argc, argv, &i, args, ret_exit)
				   : !take_operand(argv[i], args, &count))
			return false;
	}
	if (args->ret_rest)
		*args->ret_rest = i;
	if (count < args->operand_min) {
		output_error("an argument is missing");
		return fail_usage(args);
	}
	return true;
}
