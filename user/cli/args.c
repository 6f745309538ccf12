/* SPDX-License-Identifier: BSD-2-Clause */
/* args: options and operands of one subcommand. */
#include "cli/args.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "cli/output.h"

#define EXIT_USAGE  2
#define OPTIONS_MAX 16 /* of one subcommand; only for the nearest name in a message */

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

/* Take the option at argv[*at], and its value, which may be the next word. */
static bool take_option(int argc, char **argv, int *at, const struct args *args)
{
	const char *word = argv[*at] + 2, *equals = strchr(word, '=');
	struct text name = { word, equals ? (size_t)(equals - word) : strlen(word) };
	const struct args_option *option = find(args->options, name);

	if (!option)
		return fail_unknown(args, name);
	if (!option->ret_value) {
		*option->ret_flag = true;
		if (!equals)
			return true;
		output_error("--%s takes no value", option->name);
		return fail_usage(args);
	}
	if (!equals && ++*at >= argc) {
		output_error("--%s needs a value", option->name);
		return fail_usage(args);
	}
	*option->ret_value = equals ? equals + 1 : argv[*at];
	return true;
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

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

bool args_parse(int argc, char **argv, const struct args *args, int *ret_exit)
{
	bool options_over = false;
	unsigned count = 0;

	*ret_exit = EXIT_USAGE;
	for (int i = 1; i < argc; i++) {
		bool is_option = !options_over && argv[i][0] == '-' && argv[i][1];

		if (is_option && is_help(argv[i])) {
			fprintf(output_stdout(), "usage: tollgate %s\n\n%s", args->usage,
				args->help);
			*ret_exit = output_finish(0);
			return false;
		}
		if (is_option && !strcmp(argv[i], "--")) {
			options_over = true;
		} else if (is_option && argv[i][1] != '-') {
			output_error("options begin with two dashes");
			return fail_usage(args);
		} else if (!(is_option ? take_option(argc, argv, &i, args)
				       : take_operand(argv[i], args, &count))) {
			return false;
		}
	}
	if (count < args->operand_min) {
		output_error("an argument is missing");
		return fail_usage(args);
	}
	return true;
}

int args_dispatch(int argc, char **argv, const struct cli_command *actions, const char *help,
		  const struct cli_options *options)
{
	const char *names[OPTIONS_MAX], *meant;
	size_t count = 0;

	if (argc > 1 && is_help(argv[1])) {
		fputs(help, output_stdout());
		return output_finish(0);
	}
	for (; argc > 1 && actions->name && count < OPTIONS_MAX; actions++) {
		if (!strcmp(argv[1], actions->name))
			return actions->run(argc - 1, argv + 1, options);
		names[count++] = actions->name;
	}
	meant = argc > 1 ? text_nearest(text_of(argv[1]), names, count) : NULL;
	if (meant)
		output_error("%s knows no such action, did you mean '%s'?", argv[0], meant);
	else
		output_error(argc > 1 ? "%s knows no such action" : "%s needs an action", argv[0]);
	fputs(help, stderr);
	return EXIT_USAGE;
}

bool args_check_id(const char *id, const char *prefix)
{
	struct text text = text_of(id);
	size_t len = strlen(prefix);
	uint8_t bytes[8];

	if (text_starts(text, text_of(prefix)) &&
	    !text_parse_hex((struct text){ id + len, text.len - len }, bytes, sizeof(bytes)))
		return true;
	output_error("an id is wrong: expected %s and 16 hex digits", prefix);
	return false;
}

/* Two or more digits at @from of a text whose shape was compared already. */
static int digits(const char *from, unsigned count)
{
	int value = 0;

	while (count--)
		value = value * 10 + (*from++ - '0');
	return value;
}

static bool has_shape(struct text text, const char *shape)
{
	if (text.len != strlen(shape))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		bool is_digit = text.ptr[i] >= '0' && text.ptr[i] <= '9';

		if (shape[i] == '0' ? !is_digit : text.ptr[i] != shape[i])
			return false;
	}
	return true;
}

int args_parse_since(struct text text, uint64_t now_ms, uint64_t *ret_s)
{
	bool has_time = has_shape(text, "0000-00-00T00:00:00Z");
	struct tm tm = { 0 }, back;
	uint64_t ago_ms;
	time_t seconds;

	if (!text_parse_duration_ms(text, &ago_ms)) {
		*ret_s = ago_ms < now_ms ? (now_ms - ago_ms) / 1000 : 0;
		return 0;
	}
	if (!has_time && !has_shape(text, "0000-00-00"))
		return -EINVAL;
	tm.tm_year = digits(text.ptr, 4) - 1900;
	tm.tm_mon = digits(text.ptr + 5, 2) - 1;
	tm.tm_mday = digits(text.ptr + 8, 2);
	if (has_time) {
		tm.tm_hour = digits(text.ptr + 11, 2);
		tm.tm_min = digits(text.ptr + 14, 2);
		tm.tm_sec = digits(text.ptr + 17, 2);
	}
	back = tm;
	seconds = timegm(&back);
	/* timegm() makes 3 March of 31 February: what it changed was no date. */
	if (seconds < 0 || seconds > UINT32_MAX || back.tm_mday != tm.tm_mday ||
	    back.tm_mon != tm.tm_mon || back.tm_hour != tm.tm_hour || back.tm_min != tm.tm_min ||
	    back.tm_sec != tm.tm_sec)
		return -EINVAL;
	*ret_s = (uint64_t)seconds;
	return 0;
}
